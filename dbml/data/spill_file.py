"""An anonymous file for what does not fit in memory.

It has no name in its folder, so the system frees its space when it is closed or when the process ends, even by
``kill -9``.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dbml.errors import ExhaustedMemory

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class SpillFile:
    """Bytes written one after the other, by one thread, and read at any place, from any thread.

    Parameters
    ----------
    directory : str or None
        Where the file lies: DuckDB's temp directory (its parent where it does not exist yet); None: the system's.
    what : str
        What is spilled, for the error of a full disk.

    Attributes
    ----------
    nbytes : int
        Bytes written.
    """

    closed = False  # for Arrow, which takes this object as a file

    def __init__(self, directory: str | None, what: str) -> None:
        while directory and not os.path.isdir(directory):
            directory = os.path.dirname(os.path.abspath(directory))
        self.directory, self.what = directory or tempfile.gettempdir(), what
        self._raw: Any = tempfile.TemporaryFile(buffering=0, dir=self.directory)  # noqa: SIM115 - closed by `close`
        weakref.finalize(self, self._raw.close)  # a fitted model may hold its rows here until it is collected
        self._lock = threading.Lock()
        self.nbytes = 0

    def write(self, data: Any) -> int:
        """Write all of what is given at the end, or fail: nothing stays in a buffer after a failure."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while len(rest):
            rest = rest[self._raw.write(rest) :]
        self.nbytes += size
        return size

    def flush(self) -> None:
        """Nothing is buffered."""

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn the errors of a full disk into words.

        Raises
        ------
        ExhaustedMemory
            The disk is full; the file is gone then.
        """
        try:
            yield
        except OSError as error:
            self.close()
            if error.errno not in _FULL:
                raise
            raise ExhaustedMemory(
                f"no room left in {self.directory} to spill {self.what} ({self.nbytes:,} bytes written). Raise "
                "memory_limit, free space there, or set DuckDB's temp_directory to another disk"
            ) from error

    def read_into(self, target: memoryview, begin: int) -> None:
        """Fill `target` with the bytes from `begin` on."""
        done = 0
        while done < len(target):
            if hasattr(os, "preadv"):
                count = os.preadv(self._raw.fileno(), [target[done:]], begin + done)
            else:
                with self._lock:
                    self._raw.seek(begin + done)
                    count = self._raw.readinto(target[done:])
            if count == 0:
                raise ExhaustedMemory(
                    f"{self.what} spilled to {self.directory} end early: the file was cut from outside"
                )
            done += count

    def expect(self, begin: int, size: int) -> None:
        """Let the system read ahead what will be asked for next, where it can."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._raw.fileno(), begin, size, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Free the space."""
        self._raw.close()
