"""What a run prints and stores."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.contenders import Bar, Measured, Result

PACKAGES = (
    "dbml",
    "duckdb",
    "numpy",
    "scipy",
    "numba",
    "pyarrow",
    "scikit-learn",
    "scikit-learn-intelex",
    "lightgbm",
    "xgboost",
    "shap",
)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parents[1]), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def provenance() -> dict[str, Any]:
    """Return when, on which machine, with which versions and commit the run was made."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_gib": round(memory, 1),
            "system": platform.platform(),
        },
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
    }


def _bar_value(bar: Bar, result: Result) -> tuple[float | None, str]:
    try:
        return float(bar.value(result)), ""
    except (LookupError, ValueError, ZeroDivisionError) as error:
        return None, str(error)


def bar_line(bar: Bar, result: Result) -> str:
    """Return what was measured against what must hold."""
    sign = ">=" if bar.at_least else "<="
    value, why = _bar_value(bar, result)
    if value is None:
        return f"  n/a   {bar.name}: {why} (must be {sign} {bar.limit:g})"
    verdict = "holds" if bar.holds(value) else "SHORT"
    return f"  {verdict} {bar.name}: {value:.4g} (must be {sign} {bar.limit:g})"


def _quality(measured: Measured) -> str:
    return " ".join(f"{name} {value:.6g}" for name, value in measured.quality.items())


def _line(measured: Measured) -> str:
    contender = measured.contender
    if not measured.samples:
        return f"  {contender.kind:5} {contender.label:45} failed: {measured.error}"
    notes = " ".join(f"{k} {v:.4g}" for k, v in measured.notes.items() if isinstance(v, int | float))
    return (
        f"  {contender.kind:5} {contender.label:45} {measured.first:8.3f} {measured.seconds:8.3f} "
        f"{measured.peak:8.0f}  {_quality(measured)}  {notes}"
    )


def lines(result: Result) -> Iterator[str]:
    """Yield the report of a row: every contender, then what must hold."""
    yield f"\n{result.row.name}: {result.row.title}"
    if result.error:
        yield f"  not run: {result.error}"
        return
    yield f"  {'':5} {'':45} {'first s':>8} {'again s':>8} {'peak MiB':>8}  quality, notes"
    for measured in result.measured.values():
        yield _line(measured)
    if result.row.table is not None:
        yield from (f"  {line}" for line in result.row.table(result))
    for bar in result.row.bars:
        yield bar_line(bar, result)
    if any(m.samples and m.contender.kind == "ours" for m in result.measured.values()):
        for fetch, words in (("", ""), ("fetchnumpy", " that fetches with fetchnumpy")):
            peers = [m for m in result.comparable() if m.samples and fetch in ("", m.contender.params.get("fetch"))]
            if peers:
                ratio = min(m.first for m in peers) / result.ours.first
                yield f"  first runs only: {ratio:.4g} times the best peer{words}"


def summary(results: list[Result]) -> Iterator[str]:
    """Yield a table of all rows: floor, ours, best peer, ratio, quality and memory of both."""
    heads = (
        "row",
        "floor s",
        "dbml s",
        "peer s",
        "ratio",
        "metric",
        "dbml",
        "peer",
        "dbml MiB",
        "peer MiB",
        "must hold",
    )
    widths = (24, 8, 8, 8, 7, 9, 9, 9, 9, 9, 10)
    yield ""
    yield " ".join(head.rjust(width) for head, width in zip(heads, widths, strict=True))
    for result in results:
        cells = [result.row.name, *_figures(result), _verdict(result)]
        yield " ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def _verdict(result: Result) -> str:
    values = [(bar, _bar_value(bar, result)[0]) for bar in result.row.bars]
    if any(value is None for _, value in values):
        return "n/a"
    return "holds" if all(bar.holds(value) for bar, value in values if value is not None) else "SHORT"


def _figures(result: Result) -> list[str]:
    def of(kind: str) -> Measured | None:
        try:
            return {"floor": lambda: result.floor, "ours": lambda: result.ours, "peer": lambda: result.best_peer}[
                kind
            ]()
        except LookupError:
            return None

    floor, ours, peer = of("floor"), of("ours"), of("peer")

    def show(measured: Measured | None, digits: int, figure: str) -> str:
        return "-" if measured is None else f"{getattr(measured, figure):.{digits}f}"

    def judged(measured: Measured | None) -> str:
        known = {} if measured is None else measured.quality
        return f"{known[result.row.metric]:.5f}" if result.row.metric in known else "-"

    ratio = f"{peer.seconds / ours.seconds:.1f}" if peer and ours else "-"
    seconds = [show(m, 3, "seconds") for m in (floor, ours, peer)]
    memory = [show(m, 0, "peak") for m in (ours, peer)]
    return [*seconds, ratio, result.row.metric or "-", judged(ours), judged(peer), *memory]


def to_json(result: Result) -> dict[str, Any]:
    """Return a row with all samples as plain JSON values."""
    contenders = {
        label: {
            "kind": m.contender.kind,
            "params": m.contender.params,
            "error": m.error,
            **({"seconds": m.seconds, "first_seconds": m.first, "peak_mib": m.peak} if m.samples else {}),
            "samples": [asdict(sample) for sample in m.samples],
        }
        for label, m in result.measured.items()
    }
    held = []
    for bar in result.row.bars:
        value, why = _bar_value(bar, result)
        held.append({
            "name": bar.name, "value": value, "limit": bar.limit, "at_least": bar.at_least,
            "holds": value is not None and bar.holds(value), "error": why,
        })  # fmt: skip
    try:
        best = result.best_peer.contender.label
    except LookupError:
        best = None
    return {
        "title": result.row.title, "memory_limit": result.row.memory_limit, "error": result.error,
        "best_peer": best, "contenders": contenders, "must_hold": held,
    }  # fmt: skip
