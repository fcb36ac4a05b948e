"""A table larger than the memory it may use: trained in one pass, at the same peak as a small one.

python examples/out_of_core.py [rows]
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import dbml
from dbml import LinearRegression

N_COLUMNS = 20


def main(n_rows: int) -> None:
    columns = ", ".join(f"(hash(i * 32 + {j}) % 2000)::DOUBLE / 1000 - 1 AS x{j}" for j in range(N_COLUMNS))
    signal = " + ".join(f"{j} * x{j}" for j in range(N_COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        con = dbml.connect(Path(folder) / "large.duckdb", memory_limit="1GB")  # for DuckDB and dbml together
        con.execute(
            f"CREATE TABLE t AS SELECT {columns}, {signal} + (hash(-i) % 1000) / 1000 AS y FROM range({n_rows}) n(i)"
        )
        size = n_rows * (N_COLUMNS + 1) * 8 / 2**20

        started = time.perf_counter()
        model = LinearRegression().fit(con.table("t"), y="y")
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{n_rows:,} rows, {size:,.0f} MiB of numbers: {seconds:.2f} s, peak of this process {peak:,.0f} MiB")
        print("coefficients of x0, x1, x2:", [round(float(c), 2) + 0.0 for c in model.coef_[:3]])
        print(model.explain())
        con.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000)
