"""How a plan reads: a few aligned lines for people, a table in notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

Sections = Sequence[tuple[str, Sequence[str]]]
Rows = Sequence[Sequence[str]]


def size_text(n: float) -> str:
    """Return a number of bytes in words: ``480.0 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(n) < 1000:
            return f"{n:.0f} bytes" if unit == "bytes" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def aligned_text(sections: Sections, table: Rows) -> str:
    """Return labels with their lines and, below, a table whose first row is its header, as aligned lines."""
    width = max(len(label) for label, _ in sections)
    lines = [
        f"{label if number == 0 else '':{width}}  {text}"
        for label, texts in sections
        for number, text in enumerate(texts)
    ]
    if table:
        lines += ["", *_aligned(table)]
    return "\n".join(lines)


def _aligned(rows: Rows) -> Iterable[str]:
    """Yield rows of a table: the first and third column to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if number in (0, 2) else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def html_tables(sections: Sections, table: Rows) -> str:
    """Return the same as HTML tables, for notebooks."""
    lines = [(label, "<br>".join(html.escape(text) for text in texts)) for label, texts in sections]
    parts = ["<table>"]
    parts += [
        f'<tr><th style="text-align:left">{html.escape(label)}</th><td style="text-align:left">{text}</td></tr>'
        for label, text in lines
    ]
    parts.append("</table>")
    if table:
        parts.append("<table><tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in table[0]) + "</tr>")
        for row in table[1:]:
            parts.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>")
        parts.append("</table>")
    return "".join(parts)
