"""``python -m benchmarks [ROW …] [--rows N] [--json FILE] [--quick]``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks.contenders import Result
from benchmarks.datasets import FOLDER, clean
from benchmarks.report import lines, provenance, summary, to_json
from benchmarks.rows import ROWS
from benchmarks.runner import Settings, make_tables, run_row

QUICK_ROWS = 100_000


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which rows to run (all): {', '.join(ROWS)}")
    parser.add_argument("--rows", dest="limit", type=int, metavar="N", help="at most N rows of every table")
    parser.add_argument("--rounds", type=int, metavar="N", help="start every contender N times")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows, one round: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store every sample, with machine, versions, commit")
    parser.add_argument("--minutes", type=float, default=60.0, help="start nothing new after so long (60)")
    parser.add_argument("--clean", action="store_true", help=f"delete the generated tables in {FOLDER.name}/ and stop")
    parsed = parser.parse_args(arguments)
    unknown = [name for name in parsed.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)} (rows: {', '.join(ROWS)})")
    return parsed


def tell(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def store(path: Path, results: list[Result], about: dict[str, object]) -> None:
    """Write all samples, with when and of which commit each row is; rows of the file that were not run again stay.

    Called after every row, so that an interrupted run leaves what it has.
    """
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    own = {name: about[name] for name in ("when", "commit")}
    rows |= {result.row.name: {**own, **to_json(result)} for result in results}
    path.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


def draw(path: Path, result: Result) -> None:
    """Draw the figure of a row that has one, beside the JSON."""
    if result.row.figure is None or result.error:
        return
    try:
        result.row.figure(result, path.with_name(f"{path.stem}_{result.row.name}.png"))
    except (LookupError, ImportError) as error:
        tell(f"{result.row.name}: no figure: {error}")


def main(arguments: list[str] | None = None) -> int:
    """Run the rows; return 0 if all of them could be measured."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    if options.clean:
        print(f"{clean() / 1e9:.1f} GB deleted")
        return 0
    limit = options.limit or (QUICK_ROWS if options.quick else None)
    rounds = options.rounds or (1 if options.quick else None)
    names = options.rows or list(ROWS)
    make_tables([ROWS[name] for name in names], limit, tell)
    deadline = time.monotonic() + 60 * options.minutes
    settings = Settings(limit, rounds, deadline, tell)
    about = {**provenance(), "row_limit": limit}
    results: list[Result] = []
    for name in names:
        if time.monotonic() > deadline:
            results.append(Result(ROWS[name], {}, error=f"no time left after {options.minutes:g} minutes"))
        else:
            results.append(run_row(ROWS[name], settings))
        print("\n".join(lines(results[-1])), flush=True)
        if options.json:
            store(options.json, results, about)
            draw(options.json, results[-1])
    print("\n".join(summary(results)))
    return 1 if any(result.error for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
