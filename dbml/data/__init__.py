"""Data over tables, queries, files, Arrow, frames and arrays. Importing this package registers their readers.

The order matters: some sparse matrices are dicts too, and frames also convert to arrays, so that reader comes last.
"""

from dbml.data import sparse  # isort: skip
from dbml.data import table_input  # isort: skip
from dbml.data import array  # isort: skip

__all__ = ["array", "sparse", "table_input"]
