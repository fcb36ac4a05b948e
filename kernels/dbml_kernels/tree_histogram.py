"""Sums of gradient and hessian by column and bin, over rows in order or over some rows.

A row's gradient and hessian are small integers in one word (`tree_gradients`), so that one addition adds both, and
sums are exact: the same for any order, partition or number of threads. A histogram holds ``gradient << 32 | hessian``
for at most `MOST_ROWS` rows before `histogram_widen` takes it over.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.prefetch import prefetch

N_BINS = 256  # of a column; the last one is of missing values
MOST_ROWS = 1 << 20

_COLUMNS = 64  # of rows from all over, added in one go: their histograms stay in the cache, their bins in a line of it
_AHEAD = 16  # rows
# Of rows in order: few columns over a tile of rows, whose histograms stay in the nearest cache. Where columns have few
# bins, a load also waits less often for a store that is not done: fewer of them are under way in the same 4 KiB.
_GROUP, _HALF = 8, 4
_TILE = 256  # rows

_LOW = np.int64(0xFFFF)
_COLUMN_AT = np.uint64(8)


@kernel
def widened(word):
    """Return a row's word, gradient in the high 16 of 32 bits, with the gradient moved to the high 32 of 64."""
    both = np.int64(word)
    return ((both >> 16) << 32) | (both & _LOW)


@kernel
def _columns_add(bins, row, n_columns, tile, size, first, width, histogram):
    """Add `size` rows from `row` on, whose words are in `tile`, to `width` columns; made for a `width` known here."""
    at, stride = np.uint64(row * n_columns + first), np.uint64(n_columns)
    for i in range(size):
        word = tile[i]
        for c in range(np.uint64(width)):
            histogram[((np.uint64(first) + c) << _COLUMN_AT) + np.uint64(bins[at + c])] += word
        at += stride


@kernel
def histogram_add(bins, n_columns, words, begin, end, histogram):
    """``histogram[256 c + bins[r, c]] += word r`` for rows ``begin <= r < end``.

    Shapes: `bins` (n_rows * n_columns,) uint8, row by row, `words` (n_rows,) int32, `histogram` (256 n_columns,) int64.
    """
    tile = np.empty(_TILE, np.int64)
    for row in range(begin, end, _TILE):
        size = min(_TILE, end - row)
        for i in range(size):
            tile[i] = widened(words[row + i])
        first = 0
        while first + _GROUP <= n_columns:
            _columns_add(bins, row, n_columns, tile, size, first, _GROUP, histogram)
            first += _GROUP
        while first + _HALF <= n_columns:
            _columns_add(bins, row, n_columns, tile, size, first, _HALF, histogram)
            first += _HALF
        while first < n_columns:
            _columns_add(bins, row, n_columns, tile, size, first, 1, histogram)
            first += 1


@kernel
def histogram_add_rows(bins, n_columns, words, order, begin, end, histogram):
    """``histogram[256 c + bins[r, c]] += word r`` for the rows ``order[begin:end]``; see `histogram_add`.

    Shape of `order`: (n_rows,) int32.
    """
    for low in range(0, n_columns, _COLUMNS):
        first, last = np.uint64(low), np.uint64(min(low + _COLUMNS, n_columns))
        for i in range(begin, end):
            coming = np.int64(order[min(i + _AHEAD, end - 1)])
            prefetch(bins, coming * n_columns + low)
            prefetch(bins, coming * n_columns + np.int64(last) - 1)
            prefetch(words, coming)
            row = np.int64(order[i])
            word = widened(words[np.uint64(row)])
            at = np.uint64(row * n_columns)
            for column in range(first, last):
                histogram[(column << _COLUMN_AT) | np.uint64(bins[at + column])] += word


@kernel
def histogram_add_runs(bins, n_columns, words, order, begins, ends, histograms):
    """Add the rows ``order[begins[i]:ends[i]]`` to ``histograms[i]``, (n, 256 n_columns); see `histogram_add_rows`."""
    for i in range(begins.shape[0]):
        histogram_add_rows(bins, n_columns, words, order, begins[i], ends[i], histograms[i])


@kernel
def histogram_widen(histogram, sums):
    """Add a histogram of words to `sums` of shape (2, size), gradients and hessians as whole float64, and clear it."""
    for i in range(histogram.shape[0]):
        word = histogram[i]
        hessian = word & np.int64(0xFFFFFFFF)
        sums[0, i] += np.float64((word - hessian) >> 32)
        sums[1, i] += np.float64(hessian)
        histogram[i] = 0


@kernel
def histogram_add_floats(bins, n_columns, gradient, hessian, order, begin, end, sums):
    """``sums[0, 256 c + bins[r, c]] += gradient[r]``, `sums[1, …]` the hessians, for the rows ``order[begin:end]``.

    Sums of float64 depend on the order of rows in their last bits, those of whole numbers do not. Shapes: `gradient`,
    `hessian` (n_rows,) float64 or int32, `sums` (256 n_columns, 2).
    """
    for i in range(begin, end):
        row = np.int64(order[i])
        g, h = gradient[row], hessian[row]
        at = np.uint64(row * n_columns)
        for column in range(np.uint64(n_columns)):
            place = (column << _COLUMN_AT) | np.uint64(bins[at + column])
            sums[0, place] += g
            sums[1, place] += h
