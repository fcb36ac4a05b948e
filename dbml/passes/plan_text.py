"""How a plan reads: a few aligned lines for people, a table in notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from dbml.errors import listing

if TYPE_CHECKING:
    from dbml.passes.plan import Pass, Plan

_SHOWN_COLUMNS = 8


def size_text(n: float) -> str:
    """Return a number of bytes in words: ``480.0 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(n) < 1000:
            return f"{n:.0f} bytes" if unit == "bytes" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def plan_sections(plan: Plan) -> list[tuple[str, list[str]]]:
    """Return what is read and why as labels with lines; empty parts are left out."""
    sections = [("source", [plan.source])]
    if plan.columns:
        sections.append(("columns", [f"{len(plan.columns)}: {listing(plan.columns, _SHOWN_COLUMNS)}"]))
    if plan.filters:
        sections.append(("filters", list(plan.filters)))
    if plan.partitions:
        sections.append(("rows", [_geometry(plan)]))
    if plan.block_rows:
        sections.append(("blocks", [f"at most {plan.block_rows:,} rows"]))
    if plan.memory_bytes:
        sections.append(("memory", [f"at most {size_text(plan.memory_bytes)} for blocks, queue and states"]))
    sections += [(d.subject, [f"{d.choice}, because {d.reason}" if d.reason else d.choice]) for d in plan.decisions]
    return sections


def _geometry(plan: Plan) -> str:
    known = all(partition.n_rows >= 0 for partition in plan.partitions)
    rows = f"{sum(partition.n_rows for partition in plan.partitions):,} in " if known else ""
    many = "s" if len(plan.partitions) != 1 else ""
    pruned = f", {plan.pruned:,} row groups pruned by zone maps" if plan.pruned else ""
    return f"{rows}{len(plan.partitions):,} partition{many}{pruned}"


PASS_HEADER = ("pass", "times", "order", "columns", "rows", "bytes", "seconds", "rows/s")


def pass_rows(passes: Sequence[Pass]) -> list[tuple[str, ...]]:
    """Return the passes as rows of `PASS_HEADER`; those of one kind that follow each other are one row, with sums."""
    rows: list[tuple[str, ...]] = []
    for (purpose, order, columns), group in groupby(passes, key=_kind):
        same = list(group)
        n_rows, n_bytes = sum(done.rows for done in same), sum(done.bytes for done in same)
        seconds = sum(done.seconds for done in same)
        speed = f"{n_rows / seconds / 1e6:.1f} M" if seconds > 0 else ""
        times = f"{sum(done.times for done in same):,}"
        words = (purpose or "fold", times, order, f"{columns:,}", f"{n_rows:,}", size_text(n_bytes))
        rows.append((*words, f"{seconds:.3f}", speed))
    return rows


def _kind(done: Pass) -> tuple[str, str, int]:
    """Return what passes of one row share: purpose without a number at its end, order, columns."""
    return done.purpose.rstrip("0123456789").rstrip(), done.order, done.columns


def plan_text(plan: Plan) -> str:
    """Return the plan as aligned lines."""
    sections = plan_sections(plan)
    width = max(len(label) for label, _ in sections)
    lines = [
        f"{label if number == 0 else '':{width}}  {text}"
        for label, texts in sections
        for number, text in enumerate(texts)
    ]
    if plan.passes:
        lines += ["", *_aligned([PASS_HEADER, *pass_rows(plan.passes)])]
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Yield rows of a table: the first and third column to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if number in (0, 2) else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def plan_html(plan: Plan) -> str:
    """Return the plan as HTML tables, for notebooks."""
    lines = [(label, "<br>".join(html.escape(text) for text in texts)) for label, texts in plan_sections(plan)]
    parts = ["<table>"]
    parts += [
        f'<tr><th style="text-align:left">{html.escape(label)}</th><td style="text-align:left">{text}</td></tr>'
        for label, text in lines
    ]
    parts.append("</table>")
    if plan.passes:
        parts.append("<table><tr>" + "".join(f"<th>{name}</th>" for name in PASS_HEADER) + "</tr>")
        for row in pass_rows(plan.passes):
            parts.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>")
        parts.append("</table>")
    return "".join(parts)
