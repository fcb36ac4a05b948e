"""Data over arrays and sparse matrices: what blocks hold, and what is refused."""

import warnings
from decimal import Decimal

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dbml.errors import DbmlWarning, InvalidData, InvalidParameter, UnknownName, UnsupportedColumn
from dbml.passes.dispatch import as_data

RNG = np.random.default_rng(0)


def design(data):
    """The whole design as a dense matrix: blocks in order, centre added again."""

    def dense(block):
        out = np.zeros((block.n_rows, data.n_terms))
        out[:, : block.X.shape[1]] = block.X
        if block.sparse is not None:
            rows = np.repeat(np.arange(block.n_rows), np.diff(block.sparse.indptr))
            np.add.at(out, (rows, block.sparse.indices), block.sparse.values)
        return out

    return np.concatenate(list(data.map(dense))) + np.array(data.schema.encoding.centre())


def targets(data):
    return np.concatenate(list(data.map(lambda block: block.y.copy())))


# what blocks hold ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float32, np.float16, np.int8, np.uint64, np.int64, bool, np.longdouble]
)
@pytest.mark.parametrize("layout", ["C", "F", "strided", "read-only"])
def test_every_dtype_and_layout(dtype, layout):
    X = RNG.integers(0, 2, size=(700, 5)).astype(dtype)
    if layout == "F":
        X = np.asfortranarray(X)
    elif layout == "strided":
        X = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    elif layout == "read-only":
        X.flags.writeable = False
    data = as_data(X)
    np.testing.assert_allclose(design(data), X.astype(float), atol=1e-12)
    assert data.schema.encoding.columns == ("x0", "x1", "x2", "x3", "x4")
    assert not data.schema.named


def test_blocks_are_centred_and_column_major():
    X = 1e8 + RNG.normal(size=(30_000, 3))
    data = as_data(X)

    def check(block):
        assert block.X.flags.f_contiguous and block.X.dtype == np.float64 and block.X.flags.writeable
        return block.start, block.n_rows, block.X.mean()

    found = list(data.map(check))
    assert [(start, n) for start, n, _ in found] == [(0, 12_288), (12_288, 12_288), (24_576, 5_424)]
    assert max(abs(mean) for _, _, mean in found) < 0.1


def test_missing_values_take_the_mean_and_are_flagged():
    X = np.array([[1.0, 5.0], [np.nan, 6.0], [3.0, np.inf], [-np.inf, 7.0]])
    data = as_data(X)
    features = data.schema.encoding.features
    assert [feature.fill[0] for feature in features] == [2.0, 6.0]
    assert all(feature.flag for feature in features)
    assert design(data).tolist() == [[1, 0, 5, 0], [2, 1, 6, 0], [3, 0, 6, 1], [2, 1, 7, 0]]


def test_missing_values_in_scoring_only_take_the_mean():
    trained = as_data(np.array([[1.0], [3.0]]))
    assert design(as_data(np.array([[np.nan], [4.0]]), schema=trained.schema)).tolist() == [[2.0], [4.0]]


def test_large_finite_values_are_not_missing():
    X = np.array([[1e308, 1.0], [1e308, 2.0], [1e308, 3.0]])
    data = as_data(X)
    assert not any(feature.flag for feature in data.schema.encoding.features)
    np.testing.assert_allclose(design(data), X)


def test_column_without_any_value():
    data = as_data(np.array([[np.nan, 1.0], [np.nan, 2.0]]))
    assert design(data).tolist() == [[0, 1, 1], [0, 1, 2]]


def test_masked_and_object_arrays():
    masked = np.ma.MaskedArray([[1.0, 2.0], [3.0, 4.0]], mask=[[True, False], [False, False]])
    assert as_data(masked).schema.encoding.features[0].flag
    mixed = np.array([[1, Decimal("2.5")], [None, True]], dtype=object)
    assert design(as_data(mixed)).tolist() == [[1, 0, 2.5], [1, 1, 1]]
    assert design(as_data([[1, 2], [3, 4]])).tolist() == [[1, 2], [3, 4]]


def test_one_row():
    data = as_data(np.array([[3.0, 4.0]]), [1.0], task="regression")
    assert design(data).tolist() == [[3, 4]] and targets(data).tolist() == [1]


@settings(max_examples=30)
@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(width=16)))
def test_any_matrix_comes_back(X):
    data = as_data(X)
    encoding = data.schema.encoding
    found = design(data)
    for j, (first, _) in enumerate(encoding.offsets()):
        finite = np.isfinite(X[:, j])
        np.testing.assert_allclose(found[finite, first], X[finite, j], rtol=1e-9, atol=1e-6)
        assert np.allclose(found[~finite, first], encoding.features[j].fill[0])
        assert encoding.features[j].flag == (not finite.all())


def test_statistics():
    X = RNG.normal(5.0, 3.0, size=(5_000, 2))
    X[:, 1] = 7.0
    found = as_data(X).statistics
    np.testing.assert_allclose(found.scale, [X[:, 0].std(), 1.0])
    assert (found.n_rows, found.exact_rows, found.n_terms, found.density) == (5_000, True, 2, 1.0)


def test_sample_is_spread_owned_and_repeatable():
    X = np.arange(400_000.0)[:, None]
    data = as_data(X, X[:, 0], task="regression")
    block = data.sample(1_000, seed=1)
    again = data.sample(1_000, seed=1)
    assert block.n_rows == 1_000 and np.array_equal(block.y, again.y)
    assert len(np.unique(block.y)) == 1_000 and len(np.unique(block.y // 122_880)) == 4
    assert data.sample(500_000, seed=1).n_rows == 400_000


def test_take_reads_some_terms():
    X = RNG.normal(size=(20_000, 4))
    X[3, 1] = np.nan
    data = as_data(X)
    taken = data.take([0, 2, 4])
    found = np.concatenate(list(taken.map(lambda block: block.X.copy())))
    whole = np.concatenate(list(data.map(lambda block: block.X.copy())))
    assert np.array_equal(found, whole[:, [0, 2, 4]]) and taken.n_terms == 3
    assert np.array_equal(taken.statistics.scale, data.statistics.scale[[0, 2, 4]])
    assert np.array_equal(taken.take([1]).sample(50_000, 0).X[:, 0], whole[:, 2])
    taken.fold(purpose="working set")
    assert data.plan.passes[-1].purpose == "working set"
    with pytest.raises(InvalidParameter, match="ascending"):
        data.take([2, 1])


def test_lookup():
    data = as_data(np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 5.0]]), [0.0, 1.0, 2.0], task="regression")
    assert data.lookup(np.array([5.0]), "x1").y.tolist() == [0, 2]
    with pytest.raises(UnknownName, match=r"no column 'x7' in the array.*\(columns: x0, x1\)"):
        data.lookup(np.array([5.0]), "x7")


# targets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "classes", "type_name"),
    [
        (["b", "a", "b"], ("a", "b"), "VARCHAR"),
        (np.array(["b", "a", "b"], dtype=object), ("a", "b"), "VARCHAR"),
        ([True, False, True], (False, True), "BOOLEAN"),
        ([7, -3, 7], (-3, 7), "BIGINT"),
        ([2**62, 1, 2**62], (1, 2**62), "BIGINT"),
        ([2.0, 1.0, 2.0], (1.0, 2.0), "DOUBLE"),
        ([1e300, 1.0, 1e300], (1.0, 1e300), "DOUBLE"),
        (np.array([5, 0, 5], np.uint8), (0, 5), "UTINYINT"),
    ],
)
def test_labels_keep_their_type(y, classes, type_name):
    data = as_data(np.ones((3, 1)), y, task="classification")
    target = data.schema.target
    assert (target.classes, target.counts, target.type) == (classes, (1, 2), type_name)
    assert [type(label) for label in target.classes] == [type(label) for label in classes]
    assert targets(data).tolist() == [1, 0, 1]


def test_later_rows_are_encoded_with_the_known_classes():
    schema = as_data(np.ones((3, 1)), ["b", "a", "c"], task="classification").schema
    assert targets(as_data(np.ones((2, 1)), ["c", "b"], schema=schema)).tolist() == [2, 1]
    with pytest.raises(InvalidData, match=r"y must hold classes of the model \('a', 'b', 'c'\); got 'z'"):
        as_data(np.ones((2, 1)), ["z", "b"], schema=schema)


def test_weights():
    data = as_data(np.ones((3, 1)), [1, 2, 3], task="regression", sample_weight=[1, 0, 2])
    assert next(data.map(lambda block: block.weight.tolist())) == [1, 0, 2]
    data = as_data(np.ones((3, 1)), [1, 2, 3], task="regression", sample_weight=2)
    assert next(data.map(lambda block: block.weight.tolist())) == [2, 2, 2]


def test_column_vector_warns():
    with pytest.warns(UserWarning, match="A column-vector y was passed when a 1d array was expected"):
        data = as_data(np.ones((3, 1)), [[1.0], [2.0], [3.0]], task="regression")
    assert targets(data).tolist() == [1, 2, 3]


def test_column_vector_warns_as_scikit_learn_does():
    exceptions = pytest.importorskip("sklearn.exceptions")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        as_data(np.ones((2, 1)), [[1.0], [2.0]], task="regression")
    assert caught[0].category is exceptions.DataConversionWarning or caught[0].category is DbmlWarning


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones(3), "Expected 2D array, got 1D array instead.*Reshape your data"),
        (np.ones((2, 2, 2)), "Expected 2D array, got 3D array"),
        (np.ones((2, 2)) * 1j, "Complex data not supported"),
        (np.ones((2, 0)), r"0 feature\(s\) \(shape=\(2, 0\)\) while a minimum of 1 is required."),
        (np.ones((0, 2)), r"0 sample\(s\)"),
        (np.array([["a", "b"]]), "X must hold numbers.*Pass a DataFrame"),
        (np.array([[{}, 1]], dtype=object), "argument must be a string that spells a number, or a real number"),
        (np.array([["2020-01-01"]], dtype="M8[D]"), "X must hold numbers"),
        (sp.csr_array((2, 0)), "0 feature"),
        (sp.csr_array(np.ones((2, 2)) * 1j), "Complex data not supported"),
    ],
)
def test_matrices_that_are_refused(X, message):
    with pytest.raises((InvalidData, UnsupportedColumn), match=message):
        as_data(X)


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        (None, "regression", "requires y to be passed, but the target y is None"),
        ("late", "regression", "got the column name 'late'"),
        ([1.0, 2.0], "regression", "inconsistent numbers of samples"),
        ([1.0, np.nan, 2.0], "regression", "Input y contains NaN"),
        ([1.0, np.inf, 2.0], "regression", r"Input y contains infinity or a value too large for dtype\('float64'\)"),
        ([1.0, np.nan, 2.0], "classification", "Input y contains NaN"),
        ([1j, 2, 3], "regression", "Complex data not supported"),
        (["a", "b", "c"], "regression", "y must hold numbers"),
        (np.ones((3, 2)), "regression", r"y should be a 1d array; .*MultiOutputRegressor or MultiOutputCl"),
        ([0.5, 1.5, 2.5], "classification", "Unknown label type: continuous"),
        ([1, 1, 1], "classification", "at least 2 classes; got 1 class"),
        (np.array(["a", 1, "b"], dtype=object), "classification", "Unknown label type: mixed int, str"),
        (np.array(["a", None, "b"], dtype=object), "classification", "contains NaN or None"),
        (np.array(["2020", "2021", "2022"], dtype="M8[Y]"), "classification", "Unknown label type"),
    ],
)
def test_targets_that_are_refused(y, task, message):
    with pytest.raises((InvalidData, UnsupportedColumn), match=message):
        as_data(np.ones((3, 1)), y, task=task)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, 2.0], "one value per row: 3; got 2"),
        (np.ones((3, 2)), "must be a 1D array"),
        ([1.0, -1.0, 1.0], "not negative"),
        ([1.0, np.nan, 1.0], "finite"),
        ([0.0, 0.0, 0.0], "at least one positive weight"),
        ("w", "got the column name 'w'"),
    ],
)
def test_weights_that_are_refused(weight, message):
    with pytest.raises(InvalidData, match=message):
        as_data(np.ones((3, 1)), [1, 2, 3], task="regression", sample_weight=weight)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_another_number_of_columns_than_in_training(make):
    schema = as_data(np.ones((3, 5))).schema
    with pytest.raises(InvalidData, match="X has 3 features, but Ridge is expecting 5 features as input"):
        as_data(make(np.ones((2, 3))), schema=schema, options={"owner": "Ridge"})


# sparse matrices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_array, sp.coo_array, sp.csr_matrix, sp.lil_matrix])
@pytest.mark.parametrize("shape", [(200, 7), (200, 90)])
def test_sparse_matrices(container, shape):
    D = RNG.normal(size=shape) * (RNG.random(shape) < 0.1)
    X = container(D)
    data = as_data(X)
    np.testing.assert_allclose(design(data), D, atol=1e-12)
    assert data.schema.n_features == shape[1]
    assert data.schema.encoding.n_dense == (7 if shape[1] == 7 else 0)
    np.testing.assert_allclose(data.statistics.scale, np.where(D.std(axis=0) > 0, D.std(axis=0), 1.0))


def test_sparse_indices_ascend_and_the_matrix_is_left_alone():
    D = sp.csr_array((np.array([1.0, 2.0, 4.0]), np.array([80, 3, 3]), np.array([0, 3])), shape=(1, 90))
    before = D.indices.copy()
    block = as_data(D).sample(10, 0)
    assert block.sparse.indices.tolist() == [3, 80] and block.sparse.values.tolist() == [6, 1]
    assert np.array_equal(D.indices, before)


def test_sparse_missing_values_count_as_zero():
    D = np.zeros((3, 90))
    D[1, 4], D[2, 5] = np.nan, 2.0
    assert as_data(sp.csr_array(D)).sample(10, 0).sparse.values.tolist() == [0.0, 2.0]


def test_dense_and_sparse_score_alike():
    D = RNG.normal(size=(300, 90)) * (RNG.random((300, 90)) < 0.1)
    for trained, other in ((D, sp.csr_array(D)), (sp.csr_array(D), D)):
        schema = as_data(trained).schema
        np.testing.assert_allclose(design(as_data(other, schema=schema)), D, atol=1e-12)


def test_sparse_take():
    D = RNG.normal(size=(300, 90)) * (RNG.random((300, 90)) < 0.1)
    taken = as_data(sp.csr_array(D)).take([3, 50, 89])
    block = taken.sample(300, 0)
    found = sp.csr_array((block.sparse.values, block.sparse.indices, block.sparse.indptr), shape=(300, 3))
    assert np.array_equal(found.toarray(), D[:, [3, 50, 89]])
