"""The tables the rows read: generated in SQL, a pure function of the row number, or made from `../shared/data`.

Every database holds the tables of one `Dataset`. The generated ones have `t` (training rows), `holdout` (rows that are
never trained on, the same ones for every size) and `warm` (the first rows of `t`, to warm a process up with).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

FOLDER = Path(__file__).parent / "data"
REAL = Path(__file__).parents[2] / "shared" / "data"
HOLDOUT_ROWS = 200_000
WARM_ROWS = 150_000
HOLDOUT_START = 1_000_000_000
LATENT = 6
MOST_SIGNAL = 40  # columns that the target depends on

# Irwin-Hall: the sum of four 16-bit pieces of a 64-bit hash, scaled to mean 0 and variance 1.
NORMAL = """
CREATE OR REPLACE TEMP MACRO normal(row_number, stream) AS (
    ((hash(row_number * 64 + stream) & 65535) + ((hash(row_number * 64 + stream) >> 16) & 65535)
     + ((hash(row_number * 64 + stream) >> 32) & 65535) + (hash(row_number * 64 + stream) >> 48))::DOUBLE
    / 65536e0 - 2e0) * 1.7320508075688772e0
"""


class Unavailable(Exception):
    """A dataset cannot be made here; the message says why."""


@dataclass(frozen=True)
class Dataset:
    """A database that rows read.

    Attributes
    ----------
    name : str
        First part of the file's name.
    rows : int
        Rows of the full size.
    build : callable
        ``build(con, rows)`` makes the tables.
    features : int
        Columns ``x0 … x{features - 1}``; 0 for the real tables, which keep their own names.
    """

    name: str
    rows: int
    build: Callable[[duckdb.DuckDBPyConnection, int], None]
    features: int = 28


def stream_of(column: int) -> int:
    """Return the number stream of a column: its own for 40 columns, beyond them away from rows, latent and noise."""
    return column if column < 40 else column % 32 + column // 32 * 10**12


def features_sql(features: int, start: int, rows: int) -> str:
    """Return CTEs ending in ``z``: row number `i` and standard normal, correlated ``z0 …``."""
    latent = ", ".join(f"normal(i, {63 - k}) AS f{k}" for k in range(LATENT))
    mixed = ", ".join(
        f"0.6e0 * f{k % LATENT} + 0.35e0 * f{(5 * k + 1) % LATENT} + 0.719e0 * normal(i, {stream_of(k)}) AS z{k}"
        for k in range(features)
    )
    return (
        f"WITH latent AS (SELECT range AS i, {latent} FROM range({start}, {start + rows})), "
        f"z AS (SELECT i, {mixed} FROM latent)"
    )


def columns_sql(features: int) -> str:
    """Return the feature columns: `z` with its own scale (0.5 to 4.4) and offset (0 to 5.6) for each."""
    return ", ".join(f"z{k} * {5 + k}e-1 + {k / 7:.17e} AS x{k}" for k in range(features))


def signal_sql(features: int) -> str:
    """Return the mildly nonlinear signal: three of four features count, less and less; a product and a square."""
    used = [k for k in range(min(features, MOST_SIGNAL)) if k % 4 != 3]
    linear = " + ".join(f"{(-1) ** k / (1 + k / 4):.17e} * z{k}" for k in used)
    return f"({linear} + 0.5e0 * z0 * z1 + 0.5e0 * (z2 * z2 - 1e0) + 0.3e0 * abs(z4))"


def _select(target: str, features: int, start: int, rows: int) -> str:
    return f"{features_sql(features, start, rows)} SELECT {columns_sql(features)}, {target} FROM z"


def _generated(
    target: Callable[[int], str], features: int, warm: int = WARM_ROWS, most_holdout: int = HOLDOUT_ROWS
) -> Callable[[duckdb.DuckDBPyConnection, int], None]:
    def build(con: duckdb.DuckDBPyConnection, rows: int) -> None:
        con.execute(NORMAL)
        con.execute(f"CREATE TABLE t AS {_select(target(features), features, 0, rows)}")
        con.execute(f"CREATE TABLE warm AS FROM t LIMIT {warm}")
        holdout = min(most_holdout, rows)
        con.execute(f"CREATE TABLE holdout AS {_select(target(features), features, HOLDOUT_START, holdout)}")

    return build


def regression_target(features: int) -> str:
    """Return a target of which least squares on 28 features explains about 0.37."""
    return f"{signal_sql(features)} + 2.1e0 * normal(i, 50) AS y"


def class_target(features: int) -> str:
    """Return a 0/1 target that a linear model on 28 features ranks with an area of about 0.74."""
    return f"({signal_sql(features)} + 2.7e0 * normal(i, 50) > 0.24e0)::INTEGER AS label"


def _uniform(con: duckdb.DuckDBPyConnection, rows: int) -> None:
    """Make 28 columns of uniform numbers that share one: a hash a value, since large tables must be made."""
    con.execute("CREATE TEMP MACRO uniform(i, stream) AS (hash(i * 32 + stream) >> 11) * 1.1102230246251565e-16")
    columns = ", ".join(f"({1 + k / 8:.17e} * uniform(i, {k}) + {(k % 5) / 4:.17e} * s) AS x{k}" for k in range(28))
    for table, start, n in (("t", 0, rows), ("warm", 0, WARM_ROWS), ("holdout", HOLDOUT_START, WARM_ROWS)):
        numbered = f"SELECT range AS i, uniform(range, 31) AS s FROM range({start}, {start + n})"
        con.execute(f"CREATE TABLE {table} AS SELECT {columns}, (i % 2)::INTEGER AS label FROM ({numbered})")


def _ordered(con: duckdb.DuckDBPyConnection, rows: int) -> None:
    _generated(class_target, 28)(con, rows)
    con.execute("CREATE TABLE clustered AS FROM t ORDER BY label")
    con.execute("CREATE TABLE warm_clustered AS FROM warm ORDER BY label")


def _real(name: str) -> str:
    path = REAL / f"{name}.parquet"
    if not path.exists():
        raise Unavailable(f"{name}.parquet is not in ../shared/data")
    return str(path)


def _grants(con: duckdb.DuckDBPyConnection, rows: int) -> None:
    described = con.execute("DESCRIBE SELECT * FROM read_parquet($1)", [_real("grants_wide")]).fetchall()
    numbers = [name for name, kind, *_ in described if kind == "INTEGER" and name != "rownames"]
    columns = ", ".join('"' + name.replace('"', '""') + '"' for name in numbers)
    query = f"SELECT {columns}, (class = 'successful')::DOUBLE AS y FROM read_parquet($1) LIMIT {rows}"
    con.execute(f"CREATE TABLE t AS {query}", [_real("grants_wide")])
    con.execute("CREATE TABLE warm AS FROM t")


def _a9a(con: duckdb.DuckDBPyConnection, rows: int) -> None:
    query = "SELECT idx, val::DOUBLE[] AS val, label::DOUBLE AS y FROM read_parquet($1) ORDER BY row_id"
    con.execute(f"CREATE TABLE t AS {query} LIMIT {rows}", [_real("a9a")])
    con.execute("CREATE TABLE warm AS FROM t")


# Real tables for trees: text stays text, what leaks the target or numbers the rows is left out.
REAL_TABLES = {
    "adult": "SELECT * EXCLUDE (split, income), (income LIKE '>50K%')::INTEGER AS target",
    "bank_marketing": "SELECT * EXCLUDE (y), (y = 'yes')::INTEGER AS target",
    "nyc_flights_100k": (
        "SELECT month, carrier, origin, dest, distance, hour, dep_delay, (arr_delay > 15)::INTEGER AS target"
    ),
    "givemecredit": "SELECT * EXCLUDE (row_id, SeriousDlqin2yrs), SeriousDlqin2yrs::INTEGER AS target",
    "diamonds": "SELECT * EXCLUDE (price), price::DOUBLE AS target",
    "bike_hour": "SELECT * EXCLUDE (instant, dteday, casual, registered, cnt), cnt::DOUBLE AS target",
}


def _sms(con: duckdb.DuckDBPyConnection, rows: int) -> None:
    """Every fifth message is held out, the others are repeated to make up the rows."""
    query = "SELECT text AS body, (label = 'spam')::INTEGER AS label, row_number() OVER () AS i FROM read_parquet($1)"
    con.execute(f"CREATE TABLE sms AS {query}", [_real("sms_spam")])
    con.execute("CREATE TABLE holdout AS SELECT body, label FROM sms WHERE i % 5 = 0")
    con.execute("CREATE TABLE warm AS SELECT body, label FROM sms WHERE i % 5 <> 0")
    repeats = f"range({rows} // (SELECT count(*) FROM warm) + 1)"
    con.execute(f"CREATE TABLE t AS SELECT warm.* FROM {repeats} r(n), warm LIMIT {rows}")
    con.execute("DROP TABLE sms")


def _real_tables(con: duckdb.DuckDBPyConnection, rows: int) -> None:
    for name, select in REAL_TABLES.items():
        query = f"FROM ({select} FROM read_parquet($1)) WHERE target IS NOT NULL LIMIT {rows}"
        con.execute(f"CREATE TABLE {name} AS {query}", [_real(name)])


def _patches(con: duckdb.DuckDBPyConnection, rows: int) -> None:
    """Patches of the photographs that scikit-learn brings, their mean taken off, of length about 1."""
    import numpy as np
    import pyarrow as pa

    try:
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise Unavailable("scikit-learn is not installed") from error
    rng = np.random.default_rng(0)
    images = [load_sample_image(name).astype(np.float32) / 255.0 for name in ("china.jpg", "flower.jpg")]
    size = 32
    found = np.empty((rows + 1_000, size * size * 3), np.float32)
    for number, patch in enumerate(found):
        image = images[number % 2]
        i, j = (rng.integers(0, length - size) for length in image.shape[:2])
        patch[:] = image[i : i + size, j : j + size].ravel()
    found -= found.mean(axis=1, keepdims=True)
    found /= np.sqrt(np.mean((found**2).sum(axis=1)))
    columns = {f"x{k}": column for k, column in enumerate(found.T)}
    con.register("patches", pa.table({**columns, "y": np.zeros(len(found))}))
    con.execute(f"CREATE TABLE t AS FROM patches LIMIT {rows}")
    con.execute(f"CREATE TABLE holdout AS FROM patches OFFSET {rows}")
    con.execute("CREATE TABLE warm AS FROM t LIMIT 1000")
    con.unregister("patches")


def _parts(con: duckdb.DuckDBPyConnection, rows: int) -> None:
    """Sums of few nonnegative parts, with noise."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(0)
    n, width, k = rows + 1_000, 64, 16
    H = rng.random((k, width)) * (rng.random((k, width)) < 0.3)
    W = rng.random((n, k)) * (rng.random((n, k)) < 0.3)
    X = W @ H + 0.05 * rng.random((n, width))
    table = pa.table({f"x{j}": X[:, j] for j in range(width)} | {"y": np.zeros(n)})
    con.register("parts", table)
    con.execute(f"CREATE TABLE t AS FROM parts LIMIT {rows}")
    con.execute(f"CREATE TABLE holdout AS FROM parts OFFSET {rows}")
    con.execute("CREATE TABLE warm AS FROM t LIMIT 2000")
    con.unregister("parts")


def _movies(share: int, rating: str) -> Callable[[duckdb.DuckDBPyConnection, int], None]:
    """Ratings of movies, one in `share` of them held out by a hash."""

    def build(con: duckdb.DuckDBPyConnection, rows: int) -> None:
        select = f"SELECT userId, movieId, {rating} AS rating FROM read_parquet($1)"
        held_out = f"hash(userId, movieId) % {share} = 0"
        path = [_real("movielens_small_ratings")]
        con.execute(f"CREATE TABLE t AS {select} WHERE NOT ({held_out}) LIMIT {rows}", path)
        con.execute(f"CREATE TABLE holdout AS {select} WHERE {held_out}", path)
        con.execute("CREATE TABLE warm AS FROM t LIMIT 5000")

    return build


REGRESSION = Dataset("regression", 2_000_000, _generated(regression_target, 28))
REGRESSION_20M = Dataset("regression", 20_000_000, _generated(regression_target, 28))
CLASSES = Dataset("classes", 2_000_000, _generated(class_target, 28))
CLASSES_1M = Dataset("classes", 1_000_000, _generated(class_target, 28))
ORDERED = Dataset("ordered", 1_000_000, _ordered)
WIDE = Dataset("wide", 10_000_000, _generated(regression_target, 40), features=40)
GRANTS = Dataset("grants", 8_190, _grants, features=0)
A9A = Dataset("a9a", 48_842, _a9a, features=0)
CLASSES_10K, CLASSES_200K, CLASSES_20M = (Dataset("classes", n, CLASSES.build) for n in (10_000, 200_000, 20_000_000))
# Models whose every prediction costs all that they learned from are judged on fewer rows, and warm up on fewer.
CLASSES_TO_COMPARE = Dataset("classes_to_compare", 200_000, _generated(class_target, 28, 60_000, 20_000))
CLASSES_BY_WIDTH = tuple(
    Dataset(f"classes_x{n}", 200_000, _generated(class_target, n, 20_000, 1_000), features=n) for n in (10, 100, 1_000)
)
PATCHES = Dataset("patches", 10_000, _patches, features=3_072)
PARTS = Dataset("parts", 200_000, _parts, features=64)
RATINGS = Dataset("ratings", 100_836, _movies(10, "rating"), features=0)
SEEN = Dataset("seen", 100_836, _movies(5, "1.0::DOUBLE"), features=0)
UNIFORM_30M, UNIFORM_2M = (Dataset("uniform", n, _uniform) for n in (30_000_000, 2_000_000))
CLASSES_X2000 = Dataset("classes_x2000", 200_000, _generated(class_target, 2_000, 20_000, 1_000), features=2_000)
SMS = Dataset("sms", 1_000_000, _sms, features=0)
REAL_MIXED = Dataset("real_mixed", 150_000, _real_tables, features=0)


def database(dataset: Dataset, limit: int | None = None) -> Path:
    """Return the path of a dataset with at most `limit` rows; nothing is made."""
    return FOLDER / f"{dataset.name}_{min(dataset.rows, limit or dataset.rows)}.duckdb"


def ensure(dataset: Dataset, limit: int | None = None) -> Path:
    """Return the path of a dataset with at most `limit` rows, made first if it is not there."""
    path = database(dataset, limit)
    if path.exists():
        return path
    FOLDER.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    con = duckdb.connect(str(unfinished))
    try:
        con.execute("SET enable_progress_bar = false")
        dataset.build(con, min(dataset.rows, limit or dataset.rows))
        con.execute("CHECKPOINT")
    finally:
        con.close()
    unfinished.rename(path)
    return path


def clean() -> int:
    """Delete what was generated; return the bytes freed."""
    paths = [path for path in FOLDER.glob("*") if path.is_file()]
    freed = sum(path.stat().st_size for path in paths)
    for path in paths:
        path.unlink()
    return freed
