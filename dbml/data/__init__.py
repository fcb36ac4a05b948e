"""Data over tables, queries, files, Arrow, frames and arrays. Importing this package registers their readers.

The order matters: frames also convert to arrays, so the reader of arrays comes last.
"""

from dbml.data import table  # isort: skip
from dbml.data import sparse  # isort: skip
from dbml.data import array  # isort: skip

__all__ = ["array", "sparse", "table"]
