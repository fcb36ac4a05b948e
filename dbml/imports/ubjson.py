"""UBJSON (draft 12), in which XGBoost saves models: bytes -> dicts, lists, texts and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from dbml.errors import InvalidData

_NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_INTEGERS = b"iUIlL"
_CONSTANTS = {b"T": True, b"F": False, b"Z": None}
_DEEPEST = 100


def read_ubjson(content: bytes, source: str) -> Any:
    """Return the value that a file holds; arrays of numbers of one type are NumPy arrays.

    Raises
    ------
    InvalidData
        Truncated, or bytes that mean nothing.
    """
    reader = _Reader(content, source)
    return reader.value(reader.take(1), 0)


class _Reader:
    def __init__(self, content: bytes, source: str) -> None:
        self._content, self._source, self._at = content, source, 0

    def take(self, n: int) -> bytes:
        end = self._at + n
        if n < 0 or end > len(self._content):
            raise InvalidData(f"{self._source} is truncated or damaged at byte {self._at:,}; save the model again")
        found, self._at = self._content[self._at : end], end
        return found

    def _accept(self, marker: bytes) -> bool:
        found = self._content[self._at : self._at + 1] == marker
        self._at += found
        return found

    def _fail(self, what: str) -> InvalidData:
        return InvalidData(f"{self._source} is damaged: {what} at byte {self._at:,}; save the model again")

    def _number(self, marker: bytes) -> Any:
        kind = np.dtype(_NUMBERS[marker])
        return np.frombuffer(self.take(kind.itemsize), kind)[0].item()

    def _size(self) -> int:
        marker = self.take(1)
        if marker not in _INTEGERS:
            raise self._fail(f"a length of the type {marker!r}")
        return self._number(marker)

    def _text(self) -> str:
        try:
            return self.take(self._size()).decode()
        except UnicodeDecodeError as error:
            raise self._fail("a text that is not UTF-8") from error

    def value(self, marker: bytes, depth: int) -> Any:
        if depth > _DEEPEST:
            raise self._fail(f"values inside values, more than {_DEEPEST} deep,")
        if marker in _NUMBERS:
            return self._number(marker)
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker == b"S":
            return self._text()
        if marker == b"[":
            return self._array(depth)
        if marker == b"{":
            return self._object(depth)
        raise self._fail(f"a value of the type {marker!r}")

    def _header(self) -> tuple[bytes | None, int | None]:
        """Return the type and the number of the values of a container, None where they are not said."""
        kind = self.take(1) if self._accept(b"$") else None
        count = self._size() if self._accept(b"#") else None
        if kind is not None and count is None:
            raise self._fail("a typed array without its length")
        if count is not None and not 0 <= count <= len(self._content):
            raise self._fail(f"a length of {count:,}")
        return kind, count

    def _array(self, depth: int) -> Any:
        kind, count = self._header()
        if kind in _NUMBERS and count is not None:
            dtype = np.dtype(_NUMBERS[kind])
            return np.frombuffer(self.take(dtype.itemsize * count), dtype).astype(dtype.newbyteorder("="))
        found: list[Any] = []
        while len(found) < count if count is not None else not self._accept(b"]"):
            found.append(self.value(kind or self.take(1), depth + 1))
        return found

    def _object(self, depth: int) -> dict[str, Any]:
        kind, count = self._header()
        found: dict[str, Any] = {}
        read = 0
        while read < count if count is not None else not self._accept(b"}"):
            name = self._text()
            found[name] = self.value(kind or self.take(1), depth + 1)
            read += 1
        return found
