"""MLPClassifier and MLPRegressor: derivatives, scikit-learn's results, embeddings, epochs, batches, what is stored."""

import warnings
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from dbml_kernels.matrix_tile import product_add
from dbml_kernels.network_activation import LOGISTIC, TANH, activation_rows, units_drop
from sklearn import neural_network
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import dbml
from dbml import MLPClassifier, MLPRegressor
from dbml.engine.local import LocalEngine
from dbml.errors import ConvergenceWarning, ExhaustedMemory, InterruptedTraining, InvalidData, InvalidParameter
from dbml.estimators.discovery import from_options
from dbml.estimators.networks.coordinates import Coordinates
from dbml.estimators.networks.network import Network
from dbml.estimators.networks.step import LOG_LOSS, SOFTMAX, SQUARED, NetworkStep, Optimizer, begun_state
from dbml.estimators.solvers.loss_step import RowReading
from dbml.passes.dispatch import as_data
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited
from dbml.passes.progress import Listener, listening

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
pytestmark = pytest.mark.filterwarnings("ignore::dbml.errors.ConvergenceWarning")


def quadrants(n=2_000, seed=0):
    """What no line tells apart, in columns of very different units."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X * [1e-3, 1.0, 1e6] + [0.0, 1e5, 1e8], (X[:, 0] * X[:, 1] > 0.0).astype(int)


def mixed(n=300, seed=0):
    """Numbers with NULL, a category of few levels and two of many, classes and a number."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "a": rng.normal(size=n),
            "b": [None if i % 7 == 0 else float(i) for i in range(n)],
            "few": [f"v{i % 5}" for i in range(n)],
            "many": [f"w{i % 60}" for i in range(n)],
            "more": [None if i % 11 == 0 else f"x{i % 45}" for i in range(n)],
            "y": rng.integers(0, 3, size=n),
        }
    )


def forward(model, X):
    """The network as its attributes describe it, in NumPy."""
    function = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "logistic": lambda z: 1 / (1 + np.exp(-z))}
    layers = list(zip(model.coefs_, model.intercepts_, strict=True))
    for k, (coef, intercept) in enumerate(layers):
        X = X @ coef + intercept
        if k < len(layers) - 1:
            X = function.get(model.activation, lambda z: z)(X)
    return X


# arithmetic ------------------------------------------------------------------------------------------------------


def value(loss, outputs, y):
    if loss == SQUARED:
        return 0.5 * ((outputs[:, 0] - y) ** 2).sum()
    if loss == LOG_LOSS:
        return (np.logaddexp(0, outputs[:, 0]) - y * outputs[:, 0]).sum()
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    return (np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y.astype(int)]).sum()


@pytest.mark.parametrize(
    ("loss", "hidden", "activation", "dropout"),
    [
        (SOFTMAX, (6, 5), "relu", 0.0),
        (SOFTMAX, (7, 1, 3), "tanh", 0.0),
        (SQUARED, (6,), "logistic", 0.0),
        (SQUARED, (), "relu", 0.0),
        (LOG_LOSS, (5, 4), "identity", 0.0),
        (LOG_LOSS, (6, 5), "tanh", 0.4),
    ],
)
def test_derivatives_are_finite_differences_of_the_loss(loss, hidden, activation, dropout):
    rows = mixed()
    if loss == LOG_LOSS:
        rows = rows.set_column(5, "y", pa.array(np.asarray(rows["y"]) > 0))
    task, target = ("regression", "a") if loss == SQUARED else ("classification", "y")
    with as_data(rows, target, task=task, options={"min_level_rows": 1}) as data:
        block, encoding = data.sample(1_000, 0), data.schema.encoding
    coordinates = Coordinates.of(block, np.ones(300), encoding, loss != SQUARED)
    sizes = (*hidden, 3 if loss == SOFTMAX else 1)
    network = Network.begun(encoding, coordinates, sizes, activation, "auto", np.float64, 0)
    optimizer = Optimizer("sgd", 1.0, 0.0, 0, 0, 1, 0.0, False, 10**9, loss, dropout)
    mean, scale = coordinates.target

    def epoch(params):
        moved = network.moved(params)
        step = NetworkStep(moved, begun_state(moved), optimizer, RowReading())
        state = step.start()
        step.update(state, block)
        return state

    def total(params):
        if dropout:  # the same units are left out again, for the same rows
            return epoch(params)["sums"][1]
        return value(loss, (network.moved(params).outputs(block) - mean) / scale, (block.y - mean) / scale)

    state = epoch(network.params)
    assert state["sums"][1] == pytest.approx(total(network.params), rel=1e-12)
    used = np.flatnonzero(network.params)
    assert not state["gradient"][network.params == 0.0].any()  # padding stays 0
    for i in np.random.default_rng(1).choice(used, 60, replace=False):
        move = np.zeros_like(network.params)
        move[i] = 1e-6
        difference = (total(network.params + move) - total(network.params - move)) / 2e-6
        assert state["gradient"][i] == pytest.approx(difference, rel=1e-5, abs=1e-5)


def test_dropout_leaves_out_a_share_of_the_units_and_none_when_scoring():
    z = np.ones(2_000 * 8)
    units_drop(z, 0, 2_000, 6, 8, 0.25, np.int64(0), np.int64(7))
    z = z.reshape(2_000, 8)
    np.testing.assert_allclose((z[:, :6] == 0).mean(), 0.25, atol=0.01)
    assert set(np.unique(z[:, :6]).tolist()) == {0.0, 1 / 0.75}
    assert (z[:, 6:] == 1).all()
    X, y = quadrants()
    model = MLPClassifier((32,), dropout=0.3, learning_rate_init=0.02, max_iter=40).fit(X, y)
    assert model.score(X, y) > 0.95
    np.testing.assert_allclose(model.decision_function(X), forward(model, X)[:, 0], atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd"}, {"solver": "sgd", "nesterovs_momentum": False}])
def test_steps_are_scikit_learns_steps(settings):
    """From the same weights, on standardised columns, in the same order: the same losses and weights."""
    X, y = quadrants(450)
    X = StandardScaler().fit_transform(X)
    how = {"hidden_layer_sizes": (8, 4), "shuffle": False, "batch_size": 100, "alpha": 0.3, **settings}
    ours = MLPClassifier(**how, max_iter=1, warm_start=True, activation="tanh").fit(X, y)
    theirs = neural_network.MLPClassifier(**how, max_iter=5, warm_start=True, activation="tanh")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.set_params(max_iter=1).fit(X, y)
        theirs.coefs_, theirs.intercepts_ = ours.coefs_, ours.intercepts_
        theirs.set_params(max_iter=5).fit(X, y)
        ours.set_params(max_iter=5).fit(X, y)
    for found, expected in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-9)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-3)  # the penalty is that at the end of the epoch
    assert (ours.n_layers_, ours.n_outputs_, ours.out_activation_) == (4, 1, theirs.out_activation_)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_attributes_describe_the_network_in_the_units_of_the_columns(activation):
    X, y = quadrants()
    model = MLPRegressor((6, 5), activation, max_iter=3).fit(X, 1e4 * y + X[:, 2])
    assert [coef.shape for coef in model.coefs_] == [(3, 6), (6, 5), (5, 1)]
    np.testing.assert_allclose(model.predict(X), forward(model, X)[:, 0], rtol=1e-9)
    sorter = MLPClassifier((6,), activation, max_iter=3).fit(X, y)
    np.testing.assert_allclose(sorter.decision_function(X), forward(sorter, X)[:, 0], atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "k", "n"), [(4, 7, 4), (12, 0, 36), (8, 1, 52), (64, 30, 64)])
def test_products_of_tiles_are_products(dtype, m, k, n):
    rng = np.random.default_rng(0)
    A, B, C = (rng.normal(size=shape).astype(dtype) for shape in ((m, k), (k, n), (m, n)))
    for left, row, column in ((A, k, 1), (A.T, 1, m)):
        a, b, c = np.ascontiguousarray(left).ravel(), B.ravel(), np.concatenate([[7.0], C.ravel(), [7.0]]).astype(dtype)
        a.flags.writeable = b.flags.writeable = False
        product_add(a, 0, np.int64(row), np.int64(column), b, 0, n, c, 1, n, m, k, n)
        np.testing.assert_allclose(c[1:-1].reshape(m, n), C + A @ B, atol=1e-4 if dtype == "float32" else 1e-12)
        assert c[0] == c[-1] == 7.0


@pytest.mark.parametrize(("dtype", "error"), [("float32", 3e-7), ("float64", 1e-15)])
@pytest.mark.parametrize(("code", "function"), [(TANH, np.tanh), (LOGISTIC, lambda z: 1 / (1 + np.exp(-z)))])
def test_activations_are_exact_to_their_precision_and_leave_padding_alone(dtype, error, code, function):
    z = np.append(np.linspace(-100, 100, 2_000), 0.25).astype(dtype)
    found = z.copy()
    activation_rows(code, found, 0, 1, 2_000, 2_001)
    np.testing.assert_allclose(found[:-1], function(z[:-1].astype(float)), atol=error)
    assert found[-1] == 0.25


# quality ---------------------------------------------------------------------------------------------------------


def test_columns_of_any_unit_are_learned():
    X, y = quadrants()
    for precision in ("float64", "float32"):
        model = MLPClassifier((16,), learning_rate_init=0.01, max_iter=60, precision=precision).fit(X, y)
        assert model.score(X, y) > 0.97
    for unit in (1e-6, 1e6):
        signal = unit * (np.abs(X[:, 1] - 1e5) + 1e4)
        assert MLPRegressor((32,), learning_rate_init=0.01, max_iter=60).fit(X, signal).score(X, signal) > 0.99


def peer(rows, target, model, settings):
    columns = make_column_transformer(
        (
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            make_column_selector(dtype_include=[object, "string"]),
        ),
        remainder=StandardScaler(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_pipeline(columns, model(random_state=0, **settings)).fit(rows.drop(columns=target), rows[target])


@pytest.mark.parametrize(
    ("name", "query", "target"),
    [
        ("adult", "SELECT * EXCLUDE (split) REPLACE (rtrim(income, '.') AS income) FROM {}", "income"),
        ("bank_marketing", "SELECT * FROM {}", "y"),
    ],
)
def test_real_tables_are_told_apart_as_well_as_by_scikit_learn(name, query, target):
    path = DATA / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    rows = duckdb.sql(f"FROM ({query.format(repr(str(path)))}) ORDER BY hash(COLUMNS(*)) LIMIT 16000").df()
    train, held = rows[:12_000], rows[12_000:]
    settings = {"hidden_layer_sizes": (32,), "max_iter": 8}
    ours = MLPClassifier(**settings).fit(train, target)
    theirs = peer(train, target, neural_network.MLPClassifier, settings)
    truth = held[target] == ours.classes_[1]
    found, expected = (m.predict_proba(held.drop(columns=target))[:, 1] for m in (ours, theirs))
    assert roc_auc_score(truth, found) > roc_auc_score(truth, expected) - 0.005


def test_a_real_number_is_predicted_as_well_as_by_scikit_learn():
    path = DATA / "bike_hour.parquet"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    columns = "season, yr, mnth, hr, holiday, weekday, workingday, weathersit, temp, atemp, hum, windspeed, cnt"
    rows = duckdb.sql(f"SELECT {columns} FROM '{path}' ORDER BY hash(instant)").df()
    train, held = rows[:13_000], rows[13_000:]
    settings = {"hidden_layer_sizes": (64,), "max_iter": 25}
    ours = MLPRegressor(**settings).fit(train, "cnt")
    theirs = peer(train, "cnt", neural_network.MLPRegressor, settings)
    assert ours.score(held, "cnt") > theirs.score(held.drop(columns="cnt"), held["cnt"]) - 0.01


def test_levels_are_embedded_and_one_hot_levels_give_the_same_kind_of_answer():
    rng = np.random.default_rng(0)
    level, x = rng.integers(0, 200, 8_000), rng.normal(size=8_000)
    effect = rng.normal(size=200)
    rows = pa.table({"shop": [f"shop {i}" for i in level], "x": x, "y": effect[level] * 3 + x})
    fits = {}
    for embedding in ("auto", 2, None):
        model = MLPRegressor((16,), learning_rate_init=0.02, max_iter=12, embedding=embedding).fit(rows, "y")
        fits[embedding] = model
        assert model.score(rows, "y") > 0.95
        assert model.coefs_[0].shape == (201, 16)
    assert [int(fits[key].network_.embedded[0]) for key in ("auto", 2, None)] == [8, 2, 0]
    assert fits["auto"].network_.n_params < fits[None].network_.n_params
    assert np.linalg.matrix_rank(fits[2].coefs_[0][1:], tol=1e-6) == 2
    assert "shop in 8 dimensions, because 200 levels" in str(fits["auto"].explain())
    unseen = fits["auto"].predict(pa.table({"shop": ["no such shop", None], "x": [0.0, 0.0]}))
    assert np.isfinite(unseen).all()


def test_thousands_of_levels_are_a_short_vector_each():
    level = np.random.default_rng(0).integers(0, 3_000, 30_000)
    rows = pa.table({"id": [f"a{i}" for i in level], "kind": [f"b{i % 40}" for i in level], "y": level % 2 * 1.0})
    settings = {"learning_rate_init": 0.02, "max_iter": 8}
    model = MLPRegressor((8,), **settings).fit(rows, "y", options={"max_levels": 5_000, "min_level_rows": 1})
    assert model.score(rows, "y") > 0.9
    assert model.coefs_[0].shape[0] == 3_040
    assert "id in 16, kind in 8 dimensions, because 3,000, 40 levels" in str(model.explain())


def test_sparse_and_dense_rows_are_the_same_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3_000, 20)) * 1e3 * (rng.random((3_000, 20)) < 0.2)
    y = (X @ rng.normal(size=20) + 300 * rng.normal(size=3_000) > 0).astype(int)
    scores = [
        MLPClassifier((8,), max_iter=20, learning_rate_init=0.02).fit(rows, y).score(rows, y)
        for rows in (X, sp.csr_array(X))
    ]
    assert min(scores) > 0.85
    assert scores[1] == pytest.approx(scores[0], abs=0.02)


def test_a_row_of_a_rare_term_moves_as_often_as_it_is_seen():
    """Adam makes up for what the batches between would have done to the moments, by closed form."""
    indices = np.zeros(400, int)
    indices[::100] = 1
    X = sp.csr_array((np.ones(400), (np.arange(400), indices)), shape=(400, 2))
    y = np.where(indices == 1, 5.0, -1.0) + np.arange(400) % 3
    model = MLPRegressor((), max_iter=200, batch_size=50, learning_rate_init=0.05, alpha=0.0).fit(X, y)
    np.testing.assert_allclose(
        model.predict(sp.csr_array(np.eye(2))), [y[indices == 0].mean(), y[indices == 1].mean()], atol=0.4
    )


# epochs ----------------------------------------------------------------------------------------------------------


def test_the_same_bits_for_any_number_of_threads_and_another_seed_gives_others(tmp_path):
    con = dbml.connect(str(tmp_path / "t.duckdb"))
    rows = mixed(4_000)
    con.execute("CREATE TABLE t AS FROM rows")
    found = []
    for threads in (1, 2, 7):
        with using(LocalEngine(threads)):
            found.append(MLPClassifier((8,), max_iter=3, precision="float32").fit(con.table("t"), y="y"))
    assert len({model.network_.params.tobytes() for model in found}) == 1
    other = MLPClassifier((8,), max_iter=3, precision="float32", random_state=1).fit(con.table("t"), y="y")
    assert other.network_.params.tobytes() != found[0].network_.params.tobytes()
    assert rows.num_rows == 4_000


def test_warm_start_goes_on_and_keeps_the_encoding():
    X, y = quadrants()
    model = MLPClassifier((8,), max_iter=2, warm_start=True).fit(X, y)
    first = model.loss_
    for _ in range(3):
        model.fit(X, y)
        assert model.n_iter_ == 2
    assert model.loss_ < first
    assert len(model.loss_curve_) == 8
    cold = MLPClassifier((8,), max_iter=2).fit(X, y)
    assert cold.loss_ == first
    with pytest.raises(InvalidParameter, match=r"hidden_layer_sizes and activation must be .* \(8,\) and 'relu'; got"):
        model.set_params(hidden_layer_sizes=(9,)).fit(X, y)


def test_early_stopping_keeps_the_best_epoch_by_rows_it_does_not_learn_from():
    X, y = quadrants()
    settings = {"early_stopping": True, "learning_rate_init": 0.02, "n_iter_no_change": 4, "max_iter": 60}
    model = MLPClassifier((16,), **settings).fit(X, y)
    assert model.n_iter_ < 60
    assert len(model.validation_scores_) == model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_) > 0.9
    assert model.best_loss_ is None
    number = MLPRegressor((16,), **settings).fit(X, 1e3 * np.abs(X[:, 0]))
    assert number.best_validation_score_ > 0.9
    with pytest.raises(InvalidData, match="early_stopping needs held out rows"):
        MLPClassifier(early_stopping=True, validation_fraction=1e-9).fit(X, y)


def test_training_ends_where_the_loss_no_longer_falls_and_warns_where_it_did_not():
    X, y = quadrants(300)
    model = MLPClassifier((4,), tol=1e-2, n_iter_no_change=3, max_iter=500).fit(X, y)
    assert 4 < model.n_iter_ < 500
    assert model.best_loss_ == min(model.loss_curve_)
    most = model.n_iter_ + 9
    assert MLPClassifier((4,), tol=None, n_iter_no_change=1, max_iter=most).fit(X, y).n_iter_ == most
    with pytest.warns(ConvergenceWarning, match="MLPClassifier: stopped after max_iter=2 epochs, before the loss"):
        MLPClassifier(max_iter=2).fit(X, y)


@pytest.mark.parametrize("rate", ["constant", "invscaling", "adaptive"])
def test_learning_rates_of_gradient_descent(rate):
    X, y = quadrants(600)
    how = {"learning_rate": rate, "learning_rate_init": 0.5, "power_t": 0.2, "max_iter": 60, "n_iter_no_change": 2}
    model = MLPClassifier((8,), solver="sgd", **how).fit(X, y)
    assert model.loss_curve_[-1] < 0.6 * model.loss_curve_[0]


def test_batches_fill_across_blocks_and_calls_and_more_than_all_rows_are_one():
    X, y = quadrants(900)
    whole, clipped = (
        MLPClassifier((4,), batch_size=size, max_iter=3, shuffle=False).fit(X, y) for size in (900, 5_000)
    )
    assert whole.network_.params.tobytes() == clipped.network_.params.tobytes()
    assert "batch_size=5,000 is clipped to all rows" in str(clipped.explain())
    assert int(whole.optimizer_["counts"][1]) == 3
    assert int(MLPClassifier((4,), batch_size=400, max_iter=1).fit(X, y).optimizer_["counts"][1]) == 3


def test_partial_fit_goes_on_where_it_was_also_after_loading(tmp_path):
    X, y = quadrants(4_000)
    names = np.array(["no", "yes"])[y]
    con = dbml.connect(str(tmp_path / "m.duckdb"))
    model = MLPClassifier((16,), learning_rate_init=0.01)
    model.partial_fit(X[:100][y[:100] == 0], names[:100][y[:100] == 0], classes=["no", "yes"])
    for start in range(0, 4_000, 1_000):
        model.partial_fit(X[start : start + 1_000], names[start : start + 1_000])
    con.save_model("m", model)
    loaded = con.load_model("m")
    for _ in range(10):
        for again in (model, loaded):
            again.partial_fit(X, names)
    assert loaded.network_.params.tobytes() == model.network_.params.tobytes()
    assert model.score(X, names) > 0.9
    assert model.n_iter_ == 15
    with pytest.raises(InvalidParameter, match="classes must be those of the first call"):
        model.partial_fit(X, names, classes=["maybe", "no", "yes"])
    with pytest.raises(InvalidParameter, match="partial_fit needs early_stopping=False"):
        MLPRegressor(early_stopping=True).partial_fit(X, y)
    number = MLPRegressor((16,), learning_rate_init=0.01)
    for _ in range(20):
        number.partial_fit(X, np.abs(X[:, 1] - 1e5))
    assert number.score(X, np.abs(X[:, 1] - 1e5)) > 0.9


def test_weights_of_rows_and_classes():
    X, y = quadrants(600)
    weight = np.where(np.arange(600) % 3 == 0, 0.0, 1.0)
    left_out = MLPClassifier((4,), max_iter=5, shuffle=False).fit(X[weight > 0], y[weight > 0])
    weighted = MLPClassifier((4,), max_iter=5, shuffle=False).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(weighted.predict_proba(X), left_out.predict_proba(X), atol=1e-7)
    rare = np.random.default_rng(0).random(600) < 0.05
    plain, balanced = (
        MLPClassifier((4,), max_iter=20, learning_rate_init=0.02, class_weight=how)
        .fit(X, rare)
        .predict_proba(X)[:, 1]
        .mean()
        for how in (None, "balanced")
    )
    assert plain < 0.15
    assert balanced > 0.35
    nothing = pa.table({"x": [1.0, 2.0], "y": [1.0, 2.0], "w": [0.0, 0.0]})
    with pytest.raises(InvalidData, match="weight"):
        MLPRegressor(max_iter=2).fit(nothing, "y", sample_weight="w")
    with pytest.raises(InvalidData, match="at least one positive weight"):
        MLPRegressor(max_iter=2).fit(X, y, sample_weight=np.zeros(600))


class _After(Listener):
    def __init__(self, number):
        self.number = number

    def iteration(self, number, **values):
        if number == self.number:
            raise KeyboardInterrupt


def test_an_interrupted_training_keeps_the_best_epoch_so_far():
    X, y = quadrants(600)
    with pytest.raises(KeyboardInterrupt), listening(_After(1)):
        MLPClassifier().fit(X, y)
    model = MLPClassifier((8,), max_iter=9)
    with pytest.warns(InterruptedTraining), listening(_After(4)):
        model.fit(X, y)
    assert model.n_iter_ == 3
    assert model.predict_proba(X).tobytes() == MLPClassifier((8,), max_iter=3).fit(X, y).predict_proba(X).tobytes()


# around it -------------------------------------------------------------------------------------------------------


def test_three_ways_of_scoring_agree_and_a_stored_model_is_the_same(tmp_path):
    con = dbml.connect(str(tmp_path / "m.duckdb"))
    rows = mixed(3_000)
    con.execute('CREATE TABLE "odd ""name" AS FROM rows')
    table = con.table('"odd ""name"')
    model = MLPClassifier((8, 4), max_iter=3).fit(table, y="y")
    con.save_model("m", model)
    direct = model.predict_proba(rows.drop_columns("y"))
    related = model.predict_proba(table).project("list_transform(predicted_y_probs, lambda p: p.prob) AS p")
    np.testing.assert_allclose(np.stack(related.fetchnumpy()["p"]), direct, atol=1e-12)
    called = con.sql("""SELECT map_values(predict_proba('m', t)) AS p FROM "odd ""name" t""")
    np.testing.assert_allclose(np.stack(called.fetchnumpy()["p"]), direct, atol=1e-12)
    loaded = con.load_model("m")
    assert loaded.predict_proba(rows.drop_columns("y")).tobytes() == direct.tobytes()
    assert loaded.loss_curve_ == model.loss_curve_
    for found, expected in zip(loaded.coefs_, model.coefs_, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_statement_takes_bigquerys_options(tmp_path):
    con = dbml.connect(str(tmp_path / "m.duckdb"))
    con.register("rows", mixed(500))
    con.execute("CREATE TABLE t AS FROM rows")
    con.execute(
        "CREATE MODEL m OPTIONS (model_type = 'dnn_regressor', input_label_cols = ['a'], hidden_units = [8, 4], "
        "activation_fn = 'TANH', optimizer = 'SGD', learn_rate = 0.01, batch_size = 50, max_iterations = 3, "
        "l2_reg = 0.01) AS SELECT * FROM t"
    )
    model = con.load_model("m")
    assert [coef.shape[1] for coef in model.coefs_] == [8, 4, 1]
    assert (model.activation, model.solver, model.batch_size, model.alpha) == ("tanh", "sgd", 50, 0.01)
    assert con.sql("FROM ML.PREDICT(MODEL m, TABLE t)").fetchnumpy()["predicted_a"].std() > 0.0
    plan = str(
        con.sql(
            "EXPLAIN CREATE MODEL m OPTIONS (model_type = 'dnn_classifier', input_label_cols = ['y'], "
            "max_iterations = 7) AS SELECT * FROM t"
        ).fetchall()
    )
    assert "adam" in plan
    assert "at most 7" in plan
    with pytest.raises(InvalidParameter, match=r"activation_fn must be one of 'RELU', 'TANH'.*got 'SELU'"):
        from_options("dnn_classifier", {"activation_fn": "SELU"})
    assert from_options("DNN_CLASSIFIER", {"hidden_units": [5], "auto_class_weights": True}).class_weight == "balanced"


@pytest.mark.parametrize("sizes", [0, (4, 0), "many", (1.5,), -1])
def test_layers_that_are_none_are_refused(sizes):
    with pytest.raises(InvalidParameter, match="hidden_layer_sizes must be a tuple of integers >= 1"):
        MLPClassifier(sizes).fit([[0.0], [1.0]], [0, 1])


def test_what_cannot_be_learned_is_refused_in_words():
    X, y = quadrants(50)
    with pytest.raises(InvalidData, match="at least 2 classes; got 1 class"):
        MLPClassifier().fit(X, np.zeros(50))
    with pytest.raises(InvalidData, match="NaN"):
        MLPRegressor().fit(X, np.where(y, np.nan, 1.0))
    with pytest.raises(InvalidData, match=r"diverged, weights are not finite. Lower learning_rate_init=1e\+30"):
        MLPRegressor(solver="sgd", learning_rate_init=1e30, max_iter=30).fit(X, y)
    with memory_limited("64MiB"), pytest.raises(ExhaustedMemory, match=r"weights takes .* MiB, and 8 MiB are left"):
        MLPClassifier((4_000,)).fit(np.random.default_rng(0).normal(size=(50, 200)), y)
    with pytest.raises(AttributeError, match="not fitted"):
        _ = MLPClassifier().coefs_


def test_few_rows_constants_and_missing_values():
    one = MLPRegressor((4,), max_iter=5).fit([[1.0, 2.0]], [3.0])
    assert one.predict([[1.0, 2.0]]) == pytest.approx([3.0], abs=1.5)
    X = np.array([[1e8, np.nan], [1e8, 1.0], [1e8, np.inf], [1e8, 3.0]])
    model = MLPClassifier((4,), max_iter=5).fit(X, [0, 1, 0, 1])
    assert np.isfinite(model.predict_proba(X)).all()
