"""Kernels of narrow products: dense and compressed rows times several columns, and back, from read-only memory."""

import numpy as np
import pytest
import scipy.sparse as sp
from dbml_kernels.column_products import columns_times_add, columns_transposed_add
from dbml_kernels.sparse_products import sparse_times_add, sparse_transposed_times_add


def frozen(*arrays):
    for array in arrays:
        array.flags.writeable = False
    return arrays


@pytest.mark.parametrize(("n", "d", "width"), [(1, 1, 1), (777, 13, 7), (600, 16, 8), (5, 3, 0), (130, 9, 5)])
def test_dense_products_are_those_of_numpy(n, d, width):
    rng = np.random.default_rng(0)
    x, m = frozen(rng.normal(size=n * d), rng.normal(size=(d, width)))
    X = x.reshape((n, d), order="F")
    z = np.ones(n * width)
    columns_times_add(x, n, d, m, z)
    np.testing.assert_allclose(z.reshape((n, width), order="F"), 1.0 + X @ m, atol=1e-12)
    (z,) = frozen(z)
    out = np.ones((d + 1, width))
    columns_transposed_add(x, n, d, z, width, out)
    np.testing.assert_allclose(out[:d], 1.0 + X.T @ z.reshape((n, width), order="F"), atol=1e-10)
    assert (out[d] == 1.0).all()


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
