"""The progress of a training on a terminal or in a notebook: pass, rows a second, loss, time left.

Silent where standard error is no terminal. `show_progress` or ``DBML_PROGRESS=0`` (or ``1``) decides otherwise.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from typing import Any

from dbml.passes.progress import Listener

_PATIENCE = 0.5  # seconds that a training may take before anything is shown
_COMPILING = "compiling kernels (once per machine) …"


class ProgressDisplay(Listener):
    """Shows the running training on one line, which goes away when it ends.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to show it; standard error when left out.
    patience : float
        Seconds before anything is shown.
    """

    def __init__(self, console: Any = None, patience: float = _PATIENCE) -> None:
        self.console, self.patience = console, patience
        self._lock = threading.RLock()
        self._depth = 0
        self._display: Any = None
        self._task: Any = None
        self._began = 0.0
        self._title, self._purpose, self._state = "", "", ""
        self._total, self._rows = -1, 0

    def started(self, what: str) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._title, self._purpose, self._state = what, "", ""
                self._began = time.monotonic()

    def compiling(self, what: str) -> None:
        with self._lock:
            self._state = _COMPILING
            self._show(at_once=True)

    def pass_started(self, purpose: str, n_rows: int) -> None:
        with self._lock:
            self._purpose, self._total, self._rows = purpose, n_rows, 0
            if self._display is not None:
                self._display.reset(self._task, total=_known(n_rows), start=True, **self._words())

    def rows(self, n: int) -> None:
        with self._lock:
            self._rows += n
            if self._state == _COMPILING:
                self._state = ""
            self._show()

    def pass_ended(self, seconds: float) -> None:
        with self._lock:
            self._show()

    def iteration(self, number: int, **values: float) -> None:
        with self._lock:
            words = [f"{name.replace('_', ' ')} {value:.6g}" for name, value in values.items()]
            self._state = ", ".join([f"iteration {number}", *words])
            self._show()

    def ended(self, seconds: float) -> None:
        with self._lock:
            self._depth = max(0, self._depth - 1)
            if self._depth == 0 and self._display is not None:
                self._display.stop()
                self._display = None

    def _words(self) -> dict[str, str]:
        return {"description": self._title, "purpose": self._purpose, "state": self._state}

    def _show(self, at_once: bool = False) -> None:
        if self._display is None:
            if self._depth == 0 or not (at_once or time.monotonic() - self._began >= self.patience):
                return
            self._display = _display(self.console)
            self._task = self._display.add_task(self._title, total=_known(self._total), purpose="", state="")
            self._display.start()
        self._display.update(self._task, completed=self._rows, **self._words())


def _known(n_rows: int) -> int | None:
    return n_rows if n_rows >= 0 else None


def _display(console: Any) -> Any:
    """Return a rich display: title, pass, bar, rows a second, time left, state of the solver."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Speed(ProgressColumn):
        """Rows a second."""

        def render(self, task: Any) -> Text:
            return Text(f"{task.speed / 1e6:.2f}M rows/s" if task.speed else "", style="cyan")

    return Progress(
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[purpose]}", style="dim", markup=False),
        BarColumn(bar_width=20),
        Speed(Column(no_wrap=True)),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        console=console or Console(stderr=True),
        transient=True,
        refresh_per_second=5,
    )


_shown = ProgressDisplay()
_choice: list[bool] = []


def show_progress(on: bool | None) -> None:
    """Show the progress of trainings always (True), never (False), or on terminals and in notebooks (None)."""
    _choice[:] = [] if on is None else [bool(on)]


def active_display() -> Listener | None:
    """Return the display if progress is to be shown now."""
    if _choice:
        return _shown if _choice[0] else None
    asked = os.environ.get("DBML_PROGRESS", "")
    if asked in ("0", "1"):
        return _shown if asked == "1" else None
    return _shown if _in_notebook() or _on_terminal() else None


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _in_notebook() -> bool:
    """Whether this is a notebook that rich can draw in: it needs ipywidgets and warns where they are missing."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    is_kernel = shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
    return is_kernel and importlib.util.find_spec("ipywidgets") is not None
