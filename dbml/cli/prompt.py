"""The interactive part of the shell: reading lines, history, completion, errors that do not end it."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from dbml.cli.output import one_line
from dbml.cli.script import Lines, Printer, run_complete
from dbml.errors import DbmlError

_KEYWORDS = """
SELECT FROM WHERE GROUP BY ORDER LIMIT CREATE OR REPLACE MODEL OPTIONS DROP EXPLAIN TABLE VIEW AS JOIN ON USING
HAVING DISTINCT INSERT INTO UPDATE DELETE SUMMARIZE DESCRIBE ALTER SHOW MODELS
ML.PREDICT( ML.EVALUATE( ML.WEIGHTS( ML.FEATURE_INFO( ML.TRAINING_INFO( ML.CONFUSION_MATRIX( ML.ROC_CURVE(
ML.EXPLAIN_PREDICT( ML.GLOBAL_EXPLAIN( ML.FEATURE_IMPORTANCE( ML.PERMUTATION_IMPORTANCE( ML.PARTIAL_DEPENDENCE(
ML.TREES( ML.RECOMMEND( predict( predict_proba(
model_type input_label_cols .help .models .tables .timer .read .quit
""".split()
_HISTORY_LENGTH = 2000
_NAMES_LIVE_SECONDS = 2.0


class Completer:
    """Completes keywords, and names of tables, columns and models of the database."""

    def __init__(self, con: Any) -> None:
        self._con = con
        self._names: list[str] = []
        self._read_at = float("-inf")
        self._matches: list[str] = []

    def names(self) -> list[str]:
        """Return the names in the database; read again when they are some seconds old."""
        import duckdb

        if time.monotonic() - self._read_at > _NAMES_LIVE_SECONDS:
            queries = (
                "SELECT name FROM ml.models",
                "SELECT table_name FROM information_schema.tables WHERE table_schema <> 'ml'",
                "SELECT DISTINCT column_name FROM information_schema.columns WHERE table_schema <> 'ml'",
            )
            found: list[str] = []
            for query in queries:
                try:
                    found += [name for (name,) in self._con.sql(query).fetchall()]
                except duckdb.Error:
                    continue  # inside a failed transaction no name can be read: completion offers keywords only
            self._names, self._read_at = found, time.monotonic()
        return self._names

    def matches(self, text: str) -> list[str]:
        """Return what `text` may become, keywords last."""
        start = text.casefold()
        names = [name for name in self.names() if name.casefold().startswith(start)]
        words = [word for word in _KEYWORDS if word.casefold().startswith(start)]
        if text.islower():
            words = [word.lower() if word.isupper() else word for word in words]
        return list(dict.fromkeys(names + words))

    def __call__(self, text: str, state: int) -> str | None:
        """Return the match number `state`, as readline asks for it."""
        if state == 0:
            self._matches = self.matches(text)
        return self._matches[state] if state < len(self._matches) else None


def history_file() -> Path:
    """Return where the history is kept."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(base) / "dbml" / "history"


class Prompt:
    """Reads statements line by line until .quit or the end of input."""

    def __init__(self, con: Any, printer: Printer) -> None:
        self._con = con
        self._printer = printer

    def loop(self) -> None:
        """Run statements as they are completed; an error is printed on one line and the shell goes on."""
        forget = self._start_readline()
        lines = Lines()
        try:
            while True:
                try:
                    line = input("   ... " if lines.pending else "dbml > ")
                except EOFError:
                    click.echo()
                    return
                except KeyboardInterrupt:
                    click.echo()
                    lines = Lines()
                    continue
                text = lines.take(line)
                if text is not None and not self._guarded(partial(run_complete, self._con, self._printer, text)):
                    return
        finally:
            forget()

    def _guarded(self, action: Any) -> bool:
        """Run an action; print an error or an interruption and go on. False only if the action says so."""
        import duckdb

        try:
            return action() is not False
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
        except (DbmlError, duckdb.Error, OSError) as error:
            click.echo(f"error: {one_line(error)}", err=True)
        return True

    def _start_readline(self) -> Any:
        """Switch on history and completion where Python has readline; return what saves the history."""
        try:
            import readline
        except ImportError:  # Python without readline (Windows): plain input
            return lambda: None
        path = history_file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                readline.read_history_file(path)
        except OSError as error:
            click.echo(f"no history: {error}", err=True)
        readline.set_history_length(_HISTORY_LENGTH)
        readline.set_completer(Completer(self._con))
        readline.set_completer_delims(" \t\n,;()'\"=")
        readline.parse_and_bind("tab: complete")

        def save() -> None:
            try:
                readline.write_history_file(path)
            except OSError as error:
                click.echo(f"history not saved: {error}", err=True)

        return save
