"""Runs the code blocks of a Markdown file in order, as a reader would, and compares what they show.

```sql      statements on the dbml connection of the document's database
```python   code, all blocks of a document in one namespace, in the document's folder
```console  lines after ``$ `` that start with ``dbml``, in the document's folder; other commands are not run
```text     right after one of them: what it prints (for SQL, the rows of its last statement)
```

A block after ``<!-- not run: reason -->`` is left alone.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dbml
from dbml.cli.script import statements
from dbml.connection import Connection

_BLOCK = re.compile(r"(?P<skip><!-- not run: [^>]+ -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
_NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?![\w.])")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, line, and the output shown after it (None where none is shown)."""

    language: str
    text: str
    line: int
    shown: str | None


def blocks(path: Path) -> list[Block]:
    """Return the blocks of a document that are run."""
    text = path.read_text()
    found = [m for m in _BLOCK.finditer(text) if m["skip"] is None]
    kept = []
    for i, match in enumerate(found):
        after = found[i + 1] if i + 1 < len(found) else None
        close = after is not None and after["language"] == "text" and not text[match.end() : after.start()].strip()
        line = text.count("\n", 0, match.start("language")) + 1
        if match["language"] in ("sql", "python", "console"):
            kept.append(Block(match["language"], match["text"], line, after["text"] if close else None))
    return kept


def assert_same(shown: str, printed: str, where: str) -> None:
    """Compare what a document shows with what was printed; decimals may differ in the last digit shown."""
    left, right = ([line.rstrip() for line in text.strip().splitlines()] for text in (shown, printed))
    assert len(left) == len(right), f"{where} shows\n{shown}\nbut prints\n{printed}"
    for one, other in zip(left, right, strict=True):
        assert _NUMBER.sub("#", one) == _NUMBER.sub("#", other), f"{where} shows\n{shown}\nbut prints\n{printed}"
        for a, b in zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True):
            last_digit = 10.0 ** -len(a.partition(".")[2])
            assert abs(float(a) - float(b)) <= 1.01 * last_digit, f"{where} shows {a} but prints {b}"


class Reader:
    """Follows a document in a folder of its own, on a database file there."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = folder / database
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self._con: Any = None

    def follow(self, path: Path) -> int:
        """Run all blocks of a document; return how many."""
        found = blocks(path)
        with contextlib.chdir(self.folder):
            for block in found:
                printed = getattr(self, f"_{block.language}")(block.text)
                if block.shown is not None:
                    assert_same(block.shown, printed, f"{path.name}:{block.line}")
            self._close()
        return len(found)

    def _close(self) -> None:
        if self._con is not None:
            self._con.close()
            self._con = None

    def _sql(self, text: str) -> str:
        if self._con is None:
            self._con = dbml.connect(str(self.database))
        result = None
        for statement in statements(text):
            result = self._con.sql(statement)
            if result is not None:
                result.fetchall()
        printed = io.StringIO()
        if result is not None:
            with contextlib.redirect_stdout(printed):
                result.show(max_width=120)
        return printed.getvalue()

    def _python(self, text: str) -> str:
        self._close()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text, "<document>", "exec"), self.namespace)
        return printed.getvalue()

    def _console(self, text: str) -> str:
        self._close()
        for value in self.namespace.values():
            if isinstance(value, Connection):
                value.close()
        printed = ""
        for line in text.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if line.startswith("$ ") and words and words[0] == "dbml":
                command = [sys.executable, "-m", "dbml", *words[1:]]
                environment = {**os.environ, "COLUMNS": "100"}
                done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
                assert done.returncode == 0, f"{line}\n{done.stderr}"
                printed += done.stdout
        return printed
