"""How the cost of training grows with rows and with columns: seconds for a row and a feature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Result


@dataclass(frozen=True)
class Point:
    """A training: how large, and nanoseconds a row, feature and tree."""

    rows: int
    columns: int
    seconds: float
    trees: int

    @property
    def nanoseconds(self) -> float:
        """Nanoseconds a row, feature and tree, binning and reading included."""
        return 1e9 * self.seconds / (self.rows * self.columns * self.trees)


def points(result: Result, labels: tuple[str, ...]) -> list[Point]:
    """Return the points of some contenders; each must have finished."""
    measured = [result.one(label) for label in labels]
    return [
        Point(int(m.notes["rows"]), int(m.notes["columns"]), m.seconds, m.contender.params["settings"]["max_iter"])
        for m in measured
    ]


def spread(result: Result, labels: tuple[str, ...]) -> float:
    """Return the largest cost of a row and feature over the smallest."""
    costs = [point.nanoseconds for point in points(result, labels)]
    return max(costs) / min(costs)


def table(result: Result) -> Iterator[str]:
    """Yield the cost of every contender."""
    yield f"{'rows':>12} {'columns':>8} {'seconds':>9} {'ns a row, feature and tree':>28}"
    done = tuple(label for label, m in result.measured.items() if m.samples)
    for point in points(result, done):
        yield f"{point.rows:>12,} {point.columns:>8,} {point.seconds:>9.3f} {point.nanoseconds:>28.3f}"


def draw(result: Result, path: Path, by_rows: tuple[str, ...], by_columns: tuple[str, ...]) -> None:
    """Draw the cost against rows and against columns, on one scale from 0."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    panels = (
        (left, points(result, by_rows), "rows", lambda p: p.rows, lambda p: f"{p.columns} columns"),
        (right, points(result, by_columns), "columns", lambda p: p.columns, lambda p: f"{p.rows:,} rows"),
    )
    for axes, found, name, size, fixed in panels:
        costs = [point.nanoseconds for point in found]
        sizes = [size(point) for point in found]
        axes.axhspan(min(costs), 1.5 * min(costs), color="#d9e8f5", lw=0, label="1.5 times the lowest")
        axes.plot(sizes, costs, "o-", color="#1f5f9e", label="dbml")
        for x, cost in zip(sizes, costs, strict=True):
            axes.annotate(f"{cost:.2f}", (x, cost), (0, 8), textcoords="offset points", ha="center")
        axes.set_xscale("log")
        axes.margins(x=0.12)
        axes.set_xticks(sizes)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel(f"{name} ({fixed(found[0])})")
        axes.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("ns a row, feature and tree")
    left.set_ylim(0, 1.25 * max(p.nanoseconds for _, found, *_ in panels for p in found))
    left.legend(frameon=False, loc="lower left")
    figure.suptitle(f"Boosting from the table, {points(result, by_rows)[0].trees} trees of 31 leaves")
    figure.savefig(path, dpi=130)
