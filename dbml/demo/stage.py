"""How the demo speaks: headings, statements with colours, results as tables, the time of each step."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

_WIDTH = 100
_INDENT = 2


class Stage:
    """Prints the demo and remembers how long each step took."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.console.width = min(self.console.width, _WIDTH)
        self.steps: list[tuple[str, float]] = []
        self._under_heading = False

    def heading(self, text: str) -> None:
        """Start a part."""
        self.console.print()
        self.console.print(Rule(Text(text, "bold cyan"), align="left", style="cyan"))
        self._under_heading = True

    def say(self, text: str) -> None:
        """Print a sentence or two, set off from what stands above."""
        if not self._under_heading:
            self.console.print()
        self._under_heading = False
        self._note(text)

    def _note(self, text: str) -> None:
        self.console.print(Padding(Text.from_markup(text), (0, 0, 0, _INDENT), expand=False))

    def show(self, statement: str) -> None:
        """Print a statement as it is typed."""
        code = Syntax(
            textwrap.dedent(statement).strip(), "sql", theme="ansi_dark", background_color="default", word_wrap=True
        )
        self._under_heading = False
        self.console.print()
        self.console.print(Padding(code, (0, 0, 0, _INDENT), expand=False))

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Measure a step and print its time."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self.steps.append((step, seconds))
        self.console.print(Padding(Text(f"{step}: {seconds:.2f} s", "green"), (0, 0, 0, _INDENT), expand=False))

    def run(self, con: Any, step: str, statement: str, rows: int = 12) -> list[tuple[Any, ...]]:
        """Show a statement, run it, print its result and its time; return the rows."""
        self.show(statement)
        with self.timed(step):
            result = con.sql(statement.strip().rstrip(";"))
            columns, found = (result.columns, result.fetchall()) if result is not None else ([], [])
            if columns:
                self.table(columns, found[:rows], left_out=len(found) - rows)
        return found

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], left_out: int = 0) -> None:
        """Print rows without columns that say nothing; a single row wider than the page takes one line a column."""
        kept = [i for i in range(len(columns)) if not rows or any(row[i] not in (None, "", {}) for row in rows)]
        columns, rows = [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]
        if len(rows) == 1 and _width(columns, rows[0]) > self.console.width - _INDENT:
            self._print(["", ""], list(zip(columns, rows[0], strict=True)))
            return
        self._print(columns, rows)
        if left_out > 0:
            self._note(f"[dim]… {left_out} more[/dim]")

    def _print(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        shown.show_header = any(columns)
        for i, name in enumerate(columns):
            shown.add_column(name, justify="right" if _numbers([row[i] for row in rows]) else "left", overflow="fold")
        for row in rows:
            shown.add_row(*(Text(cell(value)) for value in row))
        self.console.print(Padding(shown, (0, 0, 0, _INDENT), expand=False))

    def plan(self, text: str) -> None:
        """Print a plan as it is."""
        self.console.print(Padding(Text(text.rstrip()), (0, 0, 0, _INDENT), expand=False))

    def steps_table(self) -> None:
        """Print how long each step took."""
        total = ("all of it", sum(seconds for _, seconds in self.steps))
        self.table(["step", "seconds"], [(step, f"{seconds:7.2f}") for step, seconds in (*self.steps, total)])


def _width(columns: Sequence[str], row: Sequence[Any]) -> int:
    """Return the characters that a row takes with its header."""
    return sum(max(len(name), len(cell(value))) + 3 for name, value in zip(columns, row, strict=True))


def _numbers(values: list[Any]) -> bool:
    """Whether all values of a column are numbers or NULL."""
    return bool(values) and all(isinstance(v, int | float | None) and not isinstance(v, bool) for v in values)


def cell(value: Any) -> str:
    """Return a value as a person reads it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    return str(value)
