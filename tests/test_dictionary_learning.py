"""Dictionary learning: codes and losses beside scikit-learn's, subsampled features, partial fits, bad input."""

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from dbml_kernels.atoms_improve import gradient_improve
from dbml_kernels.feature_sample import less_changes, sampled_gram, sampled_projection
from dbml_kernels.pursuit_codes import pursuit_codes
from dbml_kernels.sparse_residuals import LANES, entries_of, entry_products, residual_sums
from sklearn import decomposition

import dbml
from dbml import MiniBatchDictionaryLearning
from dbml.engine.local import LocalEngine
from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.dictionary_step import improve_atoms
from dbml.estimators.sparse_codes import improve_codes
from dbml.passes.engine import using

pytestmark = pytest.mark.filterwarnings("ignore:Objective did not converge")


def planted(n=1_000, p=16, k=6, seed=0):
    """Rows that are sparse sums of atoms."""
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(k, p))
    atoms /= np.linalg.norm(atoms, axis=1)[:, None]
    return (rng.normal(size=(n, k)) * (rng.random((n, k)) < 0.3)) @ atoms + 0.01 * rng.normal(size=(n, p)), atoms


def objective(atoms, X, alpha):
    codes = decomposition.sparse_encode(X, atoms, algorithm="lasso_cd", alpha=alpha, max_iter=5_000)
    return (0.5 * ((X - codes @ atoms) ** 2).sum() + alpha * np.abs(codes).sum()) / len(X)


def test_atoms_are_found_again():
    X, atoms = planted()
    model = MiniBatchDictionaryLearning(6, alpha=0.05, max_iter=60, tol=0.0, max_no_improvement=None).fit(X)
    alike = np.abs(model.components_ @ atoms.T).max(axis=0)
    assert np.sort(alike)[1:].min() > 0.95
    assert np.linalg.norm(model.components_, axis=1).max() <= 1.0 + 1e-12


@pytest.mark.parametrize("how", [{}, {"positive_code": True}, {"positive_dict": True}])
def test_the_loss_is_that_of_scikit_learn(how):
    X, _ = planted()
    same = {"alpha": 0.1, "max_iter": 10, "tol": 0.0, "max_no_improvement": None, "transform_algorithm": "lasso_cd"}
    ours = MiniBatchDictionaryLearning(8, **same, **how).fit(X)
    theirs = decomposition.MiniBatchDictionaryLearning(8, **same, fit_algorithm="cd", random_state=0, **how).fit(X)
    if how.get("positive_dict"):
        assert (ours.components_ >= 0.0).all()
    if how.get("positive_code"):
        assert (ours.transform(X) >= 0.0).all()
    assert objective(ours.components_, X, 0.1) <= 1.03 * objective(theirs.components_, X, 0.1)
    assert ours.n_steps_ == 10 * 4


@pytest.mark.parametrize("algorithm", ["omp", "lasso_cd", "threshold"])
def test_codes_are_those_of_scikit_learn(algorithm):
    X, _ = planted(200)
    model = MiniBatchDictionaryLearning(
        20, alpha=0.2, max_iter=3, transform_algorithm=algorithm, transform_n_nonzero_coefs=4
    ).fit(X)
    how = {"n_nonzero_coefs": 4} if algorithm == "omp" else {"alpha": 0.2}
    expected = decomposition.sparse_encode(X, model.components_, algorithm=algorithm, max_iter=50_000, **how)
    found = model.transform(X)
    if algorithm == "lasso_cd":  # scikit-learn's ends at a gap of 1e-4
        expected = objective(model.components_, X, 0.2)
        loss = 0.5 * ((X - found @ model.components_) ** 2).sum() + 0.2 * np.abs(found).sum()
        assert loss / len(X) <= expected * (1.0 + 1e-6)
    else:
        np.testing.assert_allclose(found, expected, atol=1e-7)
    np.testing.assert_allclose(model.inverse_transform(found), found @ model.components_)


def test_split_signs_are_columns_of_their_own():
    X, _ = planted(100)
    whole = MiniBatchDictionaryLearning(5, max_iter=2, alpha=0.1).fit(X)
    split = MiniBatchDictionaryLearning(5, max_iter=2, alpha=0.1, split_sign=True).fit(X)
    codes = split.transform(X)
    assert (codes >= 0.0).all()
    np.testing.assert_array_equal(codes[:, :5] - codes[:, 5:], whole.transform(X))
    np.testing.assert_allclose(split.inverse_transform(codes), whole.inverse_transform(whole.transform(X)))
    assert len(split.get_feature_names_out()) == 10


def test_atoms_are_improved_one_by_one():
    rng = np.random.default_rng(3)
    atoms, codes, X = rng.normal(size=(20, 7)), rng.normal(size=(50, 20)), rng.normal(size=(50, 7))
    atoms /= np.linalg.norm(atoms, axis=1)[:, None]
    A, B = codes.T @ codes, codes.T @ X
    expected = atoms.copy()
    for j in range(20):
        new = expected[j] + (B[j] - A[j] @ expected) / A[j, j]
        expected[j] = new / max(1.0, np.linalg.norm(new))
    start = atoms.copy()
    moved = improve_atoms(atoms, A, B, np.zeros(20), False, np.zeros(20, bool))
    assert moved == pytest.approx(np.sum((atoms - start) ** 2))
    np.testing.assert_allclose(atoms, expected, rtol=1e-10, atol=1e-12)
    gradient, changes, lengths = B - A @ start, np.empty((20, 8)), np.ones(20)
    padded, gradient = np.pad(start, ((0, 0), (0, 1))), np.pad(gradient, ((0, 0), (0, 1)))
    moved = gradient_improve(padded, gradient, A, -A, lengths, False, np.zeros(20, bool), changes)
    less_changes(-A, changes, 0, 8, gradient)
    assert moved == pytest.approx(np.sum((atoms - start) ** 2))
    np.testing.assert_allclose(padded[:, :7], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradient[:, :7], B - A @ expected, atol=1e-9)
    np.testing.assert_allclose(lengths, (expected**2).sum(axis=1))


def test_some_features_are_copied_together_for_products():
    rng = np.random.default_rng(11)
    X, centre, atoms = np.asfortranarray(rng.normal(size=(40, 90))), rng.normal(size=90), rng.normal(size=(90, 6))
    terms = np.sort(rng.permutation(90)[:71])
    X.flags.writeable = False
    part, gram, projection = np.empty((71, 8)), np.empty((6, 6)), np.empty((11, 6))
    sampled_gram(atoms, terms, 3.0, part, np.zeros((8, 8)), gram)
    np.testing.assert_allclose(gram, 3.0 * atoms[terms].T @ atoms[terms])
    sampled_projection(X, 5, centre, terms, part, 3.0, np.empty((71, 12)), np.zeros((12, 8)), projection)
    np.testing.assert_allclose(projection, 3.0 * (X + centre)[5:16, terms] @ atoms[terms])


def test_what_atoms_gain_is_summed_over_the_entries_of_codes():
    rng = np.random.default_rng(7)
    X, centre, atoms = np.asfortranarray(rng.normal(size=(40, 300))), rng.normal(size=300), rng.normal(size=(6, 200))
    codes = rng.normal(size=(11, 6)) * (rng.random((11, 6)) < 0.3)
    terms = np.sort(rng.permutation(300)[:200])
    starts, places, entries = np.empty(12, np.intp), np.empty(66, np.intp), np.empty(66)
    entries_of(codes, starts, places, entries)
    X.flags.writeable = False
    sums, scratch = np.empty((6, 200)), (np.empty((11, LANES)), np.empty((6, LANES)), np.empty((6, LANES)))
    squares = residual_sums(X, 5, centre, terms, atoms, starts, places, entries, 0, 200, sums, *scratch)
    products = np.zeros((6, 6))
    entry_products(starts, places, entries, products)
    np.testing.assert_allclose(products, codes.T @ codes)
    left = (X + centre)[5:16, terms] - codes @ atoms
    np.testing.assert_allclose(sums, codes.T @ left, atol=1e-12)
    assert squares == pytest.approx((left**2).sum())


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("k", [5, 90])
def test_codes_meet_the_conditions_of_the_lasso(positive, k):
    """Of many atoms, some alike and one of zeros: no entry can lower the loss, from 0 and from other codes."""
    rng = np.random.default_rng(8)
    atoms = rng.normal(size=(k, 30))
    atoms[1], atoms[2], atoms[3] = atoms[0], 0.0, 2.0 * atoms[0] + 1e-9
    X = rng.normal(size=(50, 30))
    gram, projection = atoms @ atoms.T, X @ atoms.T
    for codes in (np.zeros((50, k)), rng.random((50, k)) * (rng.random((50, k)) < 0.5)):
        improve_codes(gram, projection, 0.5, positive, 5_000, 1e-9, codes)
        gradient = projection - codes @ gram
        assert (np.abs(gradient - 0.5 * np.sign(codes))[codes != 0.0] < 1e-5).all()
        assert ((gradient if positive else np.abs(gradient))[codes == 0.0] < 0.5 + 1e-5).all()


def test_subsampled_features_learn_the_same_atoms_of_wide_rows():
    X, _ = planted(1_500, 200, 6)
    how = {"alpha": 0.05, "tol": 0.0, "max_no_improvement": None, "batch_size": 100, "random_state": 1}
    whole = MiniBatchDictionaryLearning(6, max_iter=10, **how).fit(X)
    some = MiniBatchDictionaryLearning(6, max_iter=10, reduction=4, **how).fit(X)
    assert np.linalg.norm(some.components_, axis=1).max() <= 1.0 + 1e-9
    assert objective(some.components_, X, 0.05) <= 1.02 * objective(whole.components_, X, 0.05)
    assert "one feature in 4" in str(some.explain())


def test_sparse_rows_are_dense_rows():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(300, 40)) * (rng.random((300, 40)) < 0.1)
    for reduction in (1, 3):
        how = {"alpha": 0.1, "max_iter": 3, "reduction": reduction, "shuffle": False}
        dense = MiniBatchDictionaryLearning(6, **how).fit(X)
        sparse = MiniBatchDictionaryLearning(6, **how).fit(sp.csr_array(X))
        np.testing.assert_allclose(dense.components_, sparse.components_, atol=1e-8)
        np.testing.assert_allclose(dense.transform(X), sparse.transform(sp.csr_array(X)), atol=1e-8)


def test_partial_fits_go_on_also_after_loading(raw):
    X, _ = planted(600)
    model = MiniBatchDictionaryLearning(6, alpha=0.1, batch_size=50).partial_fit(X[:300])
    con = dbml.attach(raw)
    con.save_model("atoms", model)
    again = con.load_model("atoms")
    before = objective(model.components_, X, 0.1)
    for _ in range(3):
        model.partial_fit(X)
        again.partial_fit(X)
    np.testing.assert_array_equal(model.components_, again.components_)
    assert objective(model.components_, X, 0.1) < before
    assert model.n_steps_ == 6 + 36


def test_training_ends_where_nothing_moves():
    X, _ = planted(400)
    model = MiniBatchDictionaryLearning(6, alpha=0.05, max_iter=1_000).fit(X)
    assert model.n_iter_ < 1_000


@pytest.mark.parametrize("reduction", [1, 3])
def test_threads_do_not_change_the_model(reduction):
    X, _ = planted(700, 400)
    found = []
    for threads in (1, 2, 7):
        with using(LocalEngine(threads)):
            found.append(MiniBatchDictionaryLearning(6, alpha=0.1, max_iter=3, reduction=reduction).fit(X).components_)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_bad_input_says_what_is_wrong():
    X, _ = planted(50)
    with pytest.raises(InvalidParameter, match=r"dict_init must have shape \(3, 16\)"):
        MiniBatchDictionaryLearning(3, dict_init=np.ones((2, 16))).fit(X)
    with pytest.raises(InvalidParameter, match="fit_algorithm must be one of 'cd'; got 'lars'"):
        MiniBatchDictionaryLearning(3, fit_algorithm="lars").fit(X)
    with pytest.raises(InvalidParameter, match="positive_code must be False for transform_algorithm 'omp'"):
        MiniBatchDictionaryLearning(3, positive_code=True).fit(X)
    with pytest.raises(InvalidData, match=r"0 sample\(s\)"):
        MiniBatchDictionaryLearning(3).fit(X[:0])


def test_sql_and_relations_transform_as_arrays_do(raw):
    con = dbml.attach(raw)
    raw.register("given", pa.table({f"x{j}": column for j, column in enumerate(planted(80)[0].T)}))
    raw.execute("CREATE TABLE t AS FROM given")
    options = "model_type = 'dictionary_learning', num_components = 3, l1_reg = 0.1, max_iterations = 2"
    con.execute(f"CREATE MODEL m OPTIONS ({options}, transform_algorithm = 'lasso_cd') AS FROM t")
    model = con.load_model("m")
    expected = model.transform(raw.table("t").df())
    assert (model.alpha, model.n_iter_, expected.shape) == (0.1, 2, (80, 3))
    by_sql = con.sql("FROM ML.TRANSFORM(MODEL m, TABLE t)").fetchnumpy()
    for found in (model.transform(con.table("t")).fetchnumpy(), by_sql):
        names = model.get_feature_names_out()
        np.testing.assert_allclose(np.column_stack([found[name] for name in names]), expected, atol=1e-9)


def test_missing_values_and_categories_are_read():
    rng = np.random.default_rng(5)
    table = pa.table(
        {
            "a": pa.array([None if i % 5 == 0 else float(v) for i, v in enumerate(rng.normal(size=150))]),
            "kind": [("x", "y")[i % 2] for i in range(150)],
            "constant": np.full(150, 2.0),
        }
    )
    model = MiniBatchDictionaryLearning(3, alpha=0.1, max_iter=3).fit(table)
    assert model.components_.shape == (3, 5)
    assert np.isfinite(model.transform(table)).all()
    one = MiniBatchDictionaryLearning(2, max_iter=2).fit(np.ones((1, 4)))
    assert one.transform(np.ones((1, 4))).shape == (1, 2)


def test_kernels_take_what_is_read_only():
    rng = np.random.default_rng(6)
    atoms, X = rng.normal(size=(5, 9)), rng.normal(size=(7, 9))
    gram, projection = atoms @ atoms.T, X @ atoms.T
    writable, frozen = np.zeros((7, 5)), np.zeros((7, 5))
    scratch = (np.empty(5), np.empty((3, 3)), np.empty(3, np.intp), np.empty(3))
    pursuit_codes(gram, projection, 3, writable, *scratch)
    for array in (gram, projection):
        array.flags.writeable = False
    pursuit_codes(gram, projection, 3, frozen, *scratch)
    np.testing.assert_array_equal(frozen, writable)
    improve_codes(gram, projection, 0.1, False, 100, 1e-9, frozen)
    left = projection - frozen @ gram
    np.testing.assert_allclose(np.abs(left[frozen != 0.0]), 0.1, atol=1e-6)
    assert np.abs(left).max() <= 0.1 + 1e-6
