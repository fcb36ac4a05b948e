"""The error of the language layer; `dbml` turns it into its own `StatementError`."""

from __future__ import annotations


class SqlError(ValueError):
    """A statement or call of ours is not well formed.

    Attributes
    ----------
    reason : str
        What is wrong, on one line.
    line, column : int or None
        Place in the statement, from 1; None where there is no text to point at.
    """

    def __init__(self, reason: str, text: str | None = None, position: int | None = None) -> None:
        self.reason = reason
        self.line: int | None = None
        self.column: int | None = None
        if text is None or position is None:
            super().__init__(reason)
            return
        start = text.rfind("\n", 0, position) + 1
        end = text.find("\n", position)
        shown = text[start : len(text) if end < 0 else end]
        self.line, self.column = text.count("\n", 0, position) + 1, position - start + 1
        caret = "".join("\t" if c == "\t" else " " for c in shown[: position - start]) + "^"
        super().__init__(f"{reason}\nline {self.line}, column {self.column}:\n  {shown}\n  {caret}")
