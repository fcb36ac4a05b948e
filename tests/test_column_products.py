"""Kernels of narrow products: dense and compressed rows times several columns, and back, from read-only memory."""

import numpy as np
import pytest
import scipy.sparse as sp
from dbml_kernels.column_products import (
    STRIP,
    columns_there_and_back,
    columns_times_add,
    matrix_of,
    tiles_empty,
    tiles_of,
)
from dbml_kernels.sparse_products import sparse_times_add, sparse_transposed_times_add


def frozen(*arrays):
    for array in arrays:
        array.flags.writeable = False
    return arrays


SHAPES = [(1, 1, 1), (777, 13, 7), (600, 16, 8), (130, 9, 5), (192, 240, 17), (385, 483, 33)]
CLOSE = {np.float32: 2e-5, np.float64: 1e-12}


def drawn(n, d, width, dtype):
    rng = np.random.default_rng(0)
    x, m, w = frozen(rng.normal(size=n * d), tiles_of(rng.normal(size=(d, width)), dtype), rng.random(n))
    return x, x.reshape((n, d), order="F"), m, matrix_of(m, d, width), w


def assert_near(found, expected, dtype):
    np.testing.assert_allclose(found, expected, atol=CLOSE[dtype] * (1.0 + np.abs(expected).max()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d", "width"), SHAPES)
def test_dense_products_are_those_of_numpy(n, d, width, dtype):
    x, X, m, M, _ = drawn(n, d, width, dtype)
    z = tiles_of(np.ones((n, width)), dtype)
    columns_times_add(x, n, d, m, np.zeros(STRIP * m.shape[1], dtype), z)
    assert_near(matrix_of(z, n, width), 1.0 + X @ M, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d", "width"), SHAPES)
def test_there_and_back_is_the_second_moment_of_rows(n, d, width, dtype):
    x, X, m, M, w = drawn(n, d, width, dtype)
    z, out = tiles_of(np.ones((n, width)), dtype), tiles_of(np.ones((d, width)), dtype)
    sums, squares = np.ones(d), np.ones(d)
    columns_there_and_back(x, n, d, m, w, np.zeros(STRIP * m.shape[1], dtype), z, out, sums, squares)
    expected = w[:, None] * (1.0 + X @ M)
    assert_near(matrix_of(z, n, width), expected, dtype)
    assert_near(matrix_of(out, d, width), 1.0 + X.T @ expected, dtype)
    np.testing.assert_allclose(sums, 1.0 + X.T @ w)
    np.testing.assert_allclose(squares, 1.0 + (X * X).T @ w)


def test_rows_kept_in_single_precision_give_both_products():
    x, X, m, M, w = drawn(777, 13, 7, np.float32)
    (kept,) = frozen(x.astype(np.float32))
    z, out, none = tiles_empty(777, 7, np.float32), tiles_empty(13, 7, np.float32), np.empty(0)
    columns_there_and_back(kept, 777, 13, m, w, np.zeros(STRIP * m.shape[1], np.float32), z, out, none, none)
    assert_near(matrix_of(out, 13, 7), X.T @ (w[:, None] * (X @ M)), np.float32)


def test_tiles_hold_a_matrix():
    matrix = np.arange(70.0).reshape(7, 10)
    for dtype in CLOSE:
        np.testing.assert_array_equal(matrix_of(tiles_of(matrix, dtype), 7, 10), matrix)


def test_products_of_compressed_rows_are_those_of_the_dense_matrix():
    S = sp.random(50, 20, 0.2, format="csr", random_state=0)
    rng = np.random.default_rng(1)
    rows = frozen(S.indptr.astype(np.int64), S.indices.astype(np.int32), S.data)
    m, z = frozen(rng.normal(size=(20, 3)), rng.normal(size=(50, 3)))
    out, back = np.ones((50, 3)), np.ones((20, 3))
    sparse_times_add(*rows, m, out)
    sparse_transposed_times_add(*rows, z, back)
    np.testing.assert_allclose(out, 1.0 + S.toarray() @ m, atol=1e-12)
    np.testing.assert_allclose(back, 1.0 + S.toarray().T @ z, atol=1e-12)
