"""Splitting SQL text into tokens that know their place, so that everything not ours can stay byte for byte.

Knows what DuckDB's lexer knows of strings, quoted names, dollar quotes and (nested) comments, and nothing of grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn

from dbml_sql.errors import SqlError

Kind = Literal["word", "quoted", "string", "number", "parameter", "operator", "comment", "unfinished"]

_PATTERN = re.compile(
    r"""(?P<space>\s+)
    |(?P<line_comment>--[^\n]*)
    |(?P<block_comment>/\*)
    |(?P<escape_string>[eE]'(?:[^'\\]|\\.|'')*')
    |(?P<string>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<word>[^\W\d][\w$]*)
    |(?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?)
    |(?P<dollar_quote>\$(?:[^\W\d]\w*)?\$)
    |(?P<parameter>\$\w+|\?\d*)
    |(?P<unfinished>[eE]?'|")
    |(?P<operator>.)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text: ``text[start:end]``."""

    kind: Kind
    text: str
    start: int
    end: int

    def is_word(self, *words: str) -> bool:
        """Whether this is one of some unquoted words, in any case."""
        return self.kind == "word" and self.text.upper() in words

    def is_operator(self, sign: str) -> bool:
        """Whether this is the one-character operator `sign`."""
        return self.kind == "operator" and self.text == sign

    @property
    def name(self) -> str:
        """The identifier that a word or a quoted name stands for."""
        return self.text[1:-1].replace('""', '"') if self.kind == "quoted" else self.text

    @property
    def string(self) -> str:
        """The characters that a string literal stands for."""
        if self.text[0] == "$":
            tag = self.text[: self.text.index("$", 1) + 1]
            return self.text[len(tag) : -len(tag)]
        if self.text[0] == "'":
            return self.text[1:-1].replace("''", "'")
        body = self.text[2:-1].replace("''", "'")
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), body, flags=re.DOTALL)


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of SQL text, comments included, white space left out.

    A string, name, comment or dollar quote without an end gives one token of kind ``unfinished`` up to the end.
    """
    position = 0
    while position < len(text):
        match = _PATTERN.match(text, position)
        assert match is not None and match.lastgroup is not None
        kind, end = match.lastgroup, match.end()
        if kind == "space":
            position = end
            continue
        if kind == "line_comment":
            kind = "comment"
        elif kind == "escape_string":
            kind = "string"
        elif kind == "block_comment":
            kind, end = "comment", _comment_end(text, end)
        elif kind == "dollar_quote":
            closing = text.find(match[0], end)
            kind, end = "string", closing + len(match[0]) if closing >= 0 else -1
        if kind == "unfinished" or end < 0:
            kind, end = "unfinished", len(text)
        yield Token(kind, text[position:end], position, end)  # type: ignore[arg-type]
        position = end


def _comment_end(text: str, position: int) -> int:
    """Return the end of a block comment opened before `position`, or -1. Block comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return -1


def significant(text: str) -> list[Token]:
    """Return the tokens of SQL text without comments."""
    return [token for token in tokens(text) if token.kind != "comment"]


def split_statements(script: str) -> list[str]:
    """Cut a script after each ``;``. Joined again, the pieces are the script, byte for byte.

    White space and comments before a statement belong to it; what follows the last statement belongs to the last.
    """
    pieces: list[str] = []
    start, filled = 0, False
    for token in tokens(script):
        if token.is_operator(";"):
            if filled or not pieces:
                pieces.append(script[start : token.end])
            else:
                pieces[-1] += script[start : token.end]
            start, filled = token.end, False
        elif token.kind != "comment":
            filled = True
    rest = script[start:]
    if rest and (filled or not pieces):
        pieces.append(rest)
    elif rest:
        pieces[-1] += rest
    return pieces


class Cursor:
    """Reads significant tokens one by one; `fail` raises with the place."""

    def __init__(self, text: str, found: list[Token] | None = None) -> None:
        self.text = text
        self.found = significant(text) if found is None else found
        self.index = 0

    def peek(self, ahead: int = 0) -> Token:
        """Return the next token (or one further on) without reading it; an empty operator at the end."""
        index = self.index + ahead
        end = len(self.text)
        return self.found[index] if index < len(self.found) else Token("operator", "", end, end)

    def take(self) -> Token:
        """Read the next token."""
        token = self.peek()
        self.index += 1
        return token

    @property
    def ended(self) -> bool:
        """Whether only a closing ``;`` is left."""
        return all(token.is_operator(";") for token in self.found[self.index :])

    def accept(self, *words: str) -> bool:
        """Read some words if they come next, all of them; say whether they did."""
        if all(self.peek(i).is_word(word) for i, word in enumerate(words)):
            self.index += len(words)
            return True
        return False

    def accept_operator(self, sign: str) -> bool:
        """Read an operator if it comes next; say whether it did."""
        if self.peek().is_operator(sign):
            self.index += 1
            return True
        return False

    def expect(self, *words: str) -> None:
        """Read some words or fail."""
        for word in words:
            if not self.accept(word):
                self.fail(f"expected {word}")

    def expect_operator(self, sign: str) -> Token:
        """Read an operator or fail."""
        if not self.peek().is_operator(sign):
            self.fail(f"expected {sign}")
        return self.take()

    def expect_end(self) -> None:
        """Fail unless only a closing ``;`` is left."""
        if not self.ended:
            self.fail("expected the end of the statement")

    def fail(self, reason: str, token: Token | None = None) -> NoReturn:
        """Raise `SqlError` at a token, the next one by default."""
        token = token or self.peek()
        came = "the end of the statement" if not token.text else token.text.split("\n", 1)[0][:40]
        if token.kind == "unfinished":
            reason = "this string, name or comment has no end"
        if reason.startswith("expected"):
            reason = f"{reason}; got {came}"
        raise SqlError(reason, self.text, token.start)
