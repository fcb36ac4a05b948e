"""Growth of one tree: splits against brute force, policies, constraints, samples; the same bits however rows lie."""

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from dbml_kernels.tree_histogram import N_BINS
from dbml_kernels.tree_rows import bins_copy, bins_leaves_add, rows_split
from dbml_kernels.tree_sample import (
    N_RANKS,
    WHOLE,
    ranks_count,
    rows_draw,
    rows_draw_ranked,
    words_multiply,
    words_rank,
)
from dbml_kernels.tree_split import GAIN, LEFT_HESSIAN, TERM, split_find

from dbml import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from dbml.engine.local import LocalEngine
from dbml.estimators.trees.leaf_masks import LeafMasks
from dbml.estimators.trees.leaf_values import bin_questions
from dbml.estimators.trees.nodes import Flat
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited

MISSING = N_BINS - 1
ARRAYS = ("term", "threshold", "left", "value", "gain", "weight", "category_sets", "missing_left")


def bits(model):
    return [np.ascontiguousarray(getattr(model.trees_, name)).tobytes() for name in ARRAYS]


def table(n=3_000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    X[:, 3] = np.round(X[:, 3])
    X[rng.random(n) < 0.2, 1] = np.nan
    score = X[:, 0] * np.nan_to_num(X[:, 1], nan=1.0) + np.sin(3 * X[:, 2]) + X[:, 3]
    return X, score + 0.5 * rng.normal(size=n)


# the best split of a node ------------------------------------------------------------------------------------------


def gain_of(gradient, hessian, l2):
    return gradient**2 / (hessian + l2)


def brute_force(bins, g, h, n_bins, categorical, way, least_rows, l2):
    """The largest gain of all splits of all columns, by trying them on the rows."""
    best = 0.0
    whole = gain_of(g.sum(), h.sum(), l2)
    for column in range(bins.shape[1]):
        own, n = bins[:, column], n_bins[column]
        if categorical[column]:
            levels = [b for b in [*range(n), MISSING] if (own == b).any()]
            sides = [np.isin(own, chosen) for chosen in combinations(levels, 1)]
        else:
            missing = own == MISSING
            sides = [(own <= b) & ~missing | missing & left for b in range(n) for left in (False, True)]
        for left in sides:
            if min(left.sum(), (~left).sum()) < least_rows:
                continue
            values = [-g[side].sum() / (h[side].sum() + l2) for side in (left, ~left)]
            if way[column] * (values[1] - values[0]) < 0:
                continue
            gain = gain_of(g[left].sum(), h[left].sum(), l2) + gain_of(g[~left].sum(), h[~left].sum(), l2) - whole
            best = max(best, gain)
    return best


def histogram(bins, g, h):
    sums = np.zeros((2, N_BINS * bins.shape[1]))
    for column in range(bins.shape[1]):
        at = N_BINS * column + bins[:, column].astype(int)
        np.add.at(sums[0], at, g)
        np.add.at(sums[1], at, h)
    return sums


@pytest.mark.parametrize("seed", range(8))
def test_the_split_of_a_node_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    n, n_bins = 400, np.array([6, 30, 2, 4, 3])
    bins = np.column_stack([rng.integers(0, k, n) for k in n_bins]).astype(np.uint8)
    bins[rng.random(n) < 0.3, 1] = bins[rng.random(n) < 0.1, 3] = MISSING
    categorical, way = np.array([0, 0, 0, 0, 1]), np.array([0, seed % 3 - 1, 0, -(seed % 2), 0])
    g, h, l2, least_rows = rng.normal(size=n), np.ones(n), float(seed % 2), 15 + 10 * (seed % 3)
    layout = np.full((5, 6), -1)
    layout[:, 0], layout[:, 1], layout[:, 2] = n_bins, categorical, np.arange(5)
    sums = histogram(bins, g, h)
    best, goes_left = np.zeros(6), np.zeros(N_BINS, np.uint8)
    whole = gain_of(g.sum(), h.sum(), l2)
    best[GAIN], best[TERM] = whole, -1.0
    for array in (sums, layout, way):
        array.flags.writeable = False
    node, rule = (g.sum(), h.sum(), 1.0, -np.inf, np.inf), (l2, float(least_rows), 1e-3)
    split_find(sums, np.ones(2), np.arange(5), layout, way, node, rule, np.empty((5, 256)), best, goes_left)
    expected = brute_force(bins, g, h, n_bins, categorical, way, least_rows, l2)
    assert best[GAIN] - whole == pytest.approx(expected, rel=1e-9)
    left = goes_left[bins[:, int(best[TERM])]].astype(bool)
    assert best[LEFT_HESSIAN] == pytest.approx(h[left].sum())
    found = gain_of(g[left].sum(), h[left].sum(), l2) + gain_of(g[~left].sum(), h[~left].sum(), l2)
    assert found == pytest.approx(best[GAIN], rel=1e-9)


def test_many_levels_are_split_as_well_as_any_grouping_of_them():
    """Fisher: the best of all groupings lies in the order of the means; here all groupings of 8 levels are tried."""
    rng = np.random.default_rng(0)
    level = np.repeat(np.arange(8), 100)
    y = rng.normal(size=8)[level] + 0.1 * rng.normal(size=level.size)
    X = pa.table({"level": [f"level {i}" for i in level]})
    model = HistGradientBoostingRegressor(max_iter=1, max_leaf_nodes=2, learning_rate=1.0, precision="float64").fit(
        X, y
    )
    best = min(
        sum(((y[side] - y[side].mean()) ** 2).sum() for side in (np.isin(level, chosen), ~np.isin(level, chosen)))
        for k in range(1, 5)
        for chosen in combinations(range(8), k)
    )
    sides = model.trees_.leaves(model_block(model, X))[:, 0]
    found = sum(((y[sides == leaf] - y[sides == leaf].mean()) ** 2).sum() for leaf in np.unique(sides))
    assert found == pytest.approx(best, rel=1e-6)


def model_block(model, X):
    from dbml.passes.dispatch import as_data

    with as_data(X, None, task="none", schema=model.schema_) as data:
        return data.sample(100_000, 0)


# rows --------------------------------------------------------------------------------------------------------------


def test_rows_keep_their_order_on_both_sides():
    rng = np.random.default_rng(0)
    order, column = rng.permutation(1_000).astype(np.int32), rng.integers(0, 9, 1_000).astype(np.uint8)
    goes_left = (np.arange(256) % 3 == 0).astype(np.uint8)
    before = order.copy()
    middle = rows_split(order, 100, 900, column, goes_left, np.empty(1_000, np.int32))
    left = goes_left[column[before[100:900]]] == 1
    assert (order[100:middle] == before[100:900][left]).all()
    assert (order[middle:900] == before[100:900][~left]).all()
    assert (np.delete(order, np.s_[100:900]) == np.delete(before, np.s_[100:900])).all()


def test_walking_by_bins_ends_in_the_leaf():
    rng = np.random.default_rng(0)
    bins = rng.integers(0, 4, (101, 3)).astype(np.uint8)
    column, left = np.array([2, 0, 0, 0, 0]), np.array([1, 1, 3, 3, 4])  # the root, a leaf, a node with two leaves
    goes_left = np.ones((5, 256), np.uint8)
    goes_left[0, 2:], goes_left[2, 1:] = 0, 0
    scores = np.zeros(101)
    rows = rng.permutation(101)[:77].astype(np.int32)
    bins_leaves_add(bins.reshape(-1), 3, rows, column, left, goes_left, np.array([0.0, 1, 0, 2, 3]), scores)
    expected = np.where(bins[:, 2] < 2, 1.0, np.where(bins[:, 0] < 1, 2.0, 3.0))
    expected[np.setdiff1d(np.arange(101), rows)] = 0.0
    assert (scores == expected).all()


@pytest.mark.parametrize("n_columns", [1, 3, 15, 16, 28, 40, 100])
@pytest.mark.parametrize("n", [0, 1, 16, 63, 65, 1_017])
def test_rows_are_copied_by_row_and_by_column(n, n_columns):
    rng = np.random.default_rng(0)
    bins = rng.integers(0, 256, (2_000, n_columns)).astype(np.uint8)
    rows = np.sort(rng.permutation(2_000)[:n]).astype(np.int32)
    copies, columns = np.zeros(n * n_columns, np.uint8), np.zeros((n_columns, n + 50), np.uint8)
    bins_copy(bins.reshape(-1), n_columns, rows, copies, columns.reshape(-1), 7, n + 50)
    assert (copies.reshape(n, n_columns) == bins[rows]).all()
    assert (columns[:, 7 : 7 + n] == bins[rows].T).all()
    assert not columns[:, :7].any() and not columns[:, 7 + n :].any()


@pytest.mark.parametrize("n_leaves", [2, 8, 31, 64])
def test_masks_over_bins_end_in_the_leaf(n_leaves):
    """Questions of numbers with missing values on either side, of runs in the middle, and of sets."""
    rng = np.random.default_rng(n_leaves)
    left, leaves = [-1], [0]
    while len(leaves) < n_leaves:
        node = leaves.pop(rng.integers(len(leaves)))
        left[node] = len(left)
        leaves += [len(left), len(left) + 1]
        left += [-1, -1]
    n_nodes, bins = len(left), np.arange(256)
    goes_left = np.zeros((n_nodes, 256), np.uint8)
    kinds = [
        lambda low: bins <= low,
        lambda low: (bins <= low) | (bins == 255),
        lambda low: (bins >= low) & (bins < low + 40),
        lambda low: bins % (2 + low % 5) == 0,
        lambda low: bins < 256,
        lambda low: bins < 0,
    ]
    for node in np.flatnonzero(np.array(left) >= 0):
        goes_left[node] = kinds[rng.integers(len(kinds))](rng.integers(255))
    column = np.where(np.array(left) >= 0, rng.integers(0, 3, n_nodes), 0)
    flat = Flat([], column, np.array(left), goes_left)
    rows = rng.integers(0, 256, (1_001, 3)).astype(np.uint8)
    values, walked, masked = rng.normal(size=n_nodes), np.zeros(1_001), np.zeros((1_001, 1))
    order = np.arange(1_001, dtype=np.int32)
    bins_leaves_add(rows.reshape(-1), 3, order, *flat.walk(), values, walked)
    LeafMasks(flat.left, np.array([0, n_nodes]), bin_questions(flat), values[:, None], np.zeros(1, np.int64)).add_to(
        np.ascontiguousarray(rows.T).reshape(-1), masked
    )
    assert (masked[:, 0] == walked).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_rows_are_drawn_by_position_and_never_those_held_out(share):
    n, cut = 20_000, 7_123
    held = (5, 0, 1 << 18)  # a quarter

    def draw(start, n):
        order = np.empty(n, np.int32)
        drawn = rows_draw(start, held, 9, round(share * WHOLE), order)
        assert sorted(order) == list(range(n))
        assert (np.diff(order[:drawn]) > 0).all()
        return set((order[:drawn] + start).tolist())

    whole = draw(0, n)
    assert whole == draw(0, cut) | draw(cut, n - cut)
    assert len(whole) == pytest.approx(0.75 * share * n, abs=4 * np.sqrt(n))


def test_gradient_based_samples_hold_the_largest_and_stand_for_all():
    rng = np.random.default_rng(0)
    n, top, other, none = 50_000, 0.2, 0.1, (0, 0, 0)
    g, h = rng.integers(-1000, 1001, n), rng.integers(0, 2000, n)
    words = ((g << 16) | h).astype(np.int32).reshape(1, -1)
    ranks, counts = np.empty(n, np.uint16), np.zeros(N_RANKS, np.int64)
    words_rank(words, ranks)
    assert (ranks == np.abs(g)).all()
    ranks_count(0, none, ranks, counts)
    assert (counts[:1001] == np.bincount(np.abs(g), minlength=1001)).all()
    order = np.empty(n, np.int32)
    drawn = rows_draw_ranked(0, none, 3, 800, 0, round(other / (1 - top) * WHOLE), ranks, order)
    rows = order[:drawn]
    large = np.abs(g) > 800
    assert np.isin(np.flatnonzero(large), rows).all()
    assert (ranks == (np.isin(np.arange(n), rows) & ~large)).all()
    words_multiply(0, 3, ranks, 8.0, words)
    sums = (words[0, rows].astype(np.int64) >> 16).sum(), (words[0, rows].astype(np.int64) & 0xFFFF).sum()
    assert sums[0] == pytest.approx(g.sum(), abs=6 * 8 * 460 * np.sqrt(n * other))
    assert sums[1] == pytest.approx(h.sum(), rel=0.05)


# policies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["leafwise", "depthwise", "symmetric"])
def test_limits_hold(policy):
    X, y = table()
    model = HistGradientBoostingRegressor(
        max_iter=5, max_leaf_nodes=11, max_depth=4, min_samples_leaf=40, grow_policy=policy, early_stopping=False
    ).fit(X, y)
    trees = model.trees_
    leaf = trees.left < 0
    for tree in range(trees.n_trees):
        nodes = trees.nodes_of(tree)
        assert leaf[nodes].sum() <= (8 if policy == "symmetric" else 11)
    assert max(trees.depths()) <= 4
    if policy != "symmetric":
        assert trees.weight[leaf].min() >= 40


def test_leaf_wise_growth_splits_the_largest_gain_first():
    X, y = table()
    small, large = (
        HistGradientBoostingRegressor(max_iter=1, max_leaf_nodes=leaves).fit(X, y).trees_ for leaves in (4, 5)
    )
    known = np.sort(small.gain[small.left >= 0])
    more = np.sort(large.gain[large.left >= 0])
    assert more.size == known.size + 1
    assert np.isin(known, more).all()


def test_depth_wise_growth_fills_a_level_before_the_next():
    X, y = table()
    trees = HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=16, grow_policy="depthwise").fit(X, y).trees_
    assert list(trees.depths()) == [4, 4, 4]


@pytest.mark.parametrize("categories", [False, True])
def test_all_nodes_of_a_level_of_a_symmetric_tree_test_the_same(categories):
    X, y = table()
    if categories:
        letters = np.random.default_rng(1).choice(list("abcdefgh"), len(X))
        X = pa.table({**{f"x{j}": X[:, j] for j in range(5)}, "letter": letters})
        y = y + 3.0 * np.isin(letters, list("adf"))
    model = HistGradientBoostingRegressor(max_iter=10, max_leaf_nodes=32, grow_policy="symmetric").fit(X, y)
    trees = model.trees_
    assert set(trees.depths()) == {5}
    assert (trees.category_set >= 0).any() == categories
    for tree in range(trees.n_trees):
        level = [int(trees.roots[tree])]
        while trees.left[level[0]] >= 0:
            tests = {
                (trees.term[i], trees.threshold[i].tobytes(), trees.missing_left[i],
                 trees.category_sets[trees.category_set[i]].tobytes() if trees.category_set[i] >= 0 else b"")
                for i in level
            }  # fmt: skip
            assert len(tests) == 1
            level = [child for i in level for child in (trees.left[i], trees.left[i] + 1)]
        assert len(level) == 32


def test_a_symmetric_split_gains_most_over_the_level():
    """The second split of y = sign(x0) * x1-like data is the one that helps both halves, found by brute force."""
    X, y = table(1_500)
    X = np.round(X, 1)
    model = HistGradientBoostingRegressor(
        max_iter=1,
        max_leaf_nodes=4,
        grow_policy="symmetric",
        precision="float64",
        learning_rate=1.0,
        min_samples_leaf=1,
    ).fit(X, y)
    trees = model.trees_
    root_left = side_of(X, trees, 0)
    found = loss_of(y, root_left, side_of(X, trees, 1))
    losses = [
        loss_of(y, root_left, np.where(np.isnan(X[:, j]), missing, X[:, j] <= edge))
        for j in range(5)
        for edge in np.unique(X[~np.isnan(X[:, j]), j])
        for missing in (False, True)
    ]
    assert found == pytest.approx(min(losses), rel=1e-9)


def side_of(X, trees, node):
    column = X[:, trees.term[node]]
    return np.where(np.isnan(column), trees.missing_left[node], column <= trees.threshold[node]).astype(bool)


def loss_of(y, first, second):
    groups = 2 * first.astype(int) + second.astype(int)
    return sum(((y[groups == k] - y[groups == k].mean()) ** 2).sum() for k in np.unique(groups))


def test_symmetric_depth_comes_from_both_limits():
    from dbml.estimators.trees.growth import Rules
    from dbml.estimators.trees.symmetric import symmetric_depth

    none = np.zeros(1, np.int64)
    depths = [symmetric_depth(Rules(none, leaves, depth)) for leaves, depth in ((31, None), (64, None), (None, None))]
    assert depths == [5, 6, 6]
    assert symmetric_depth(Rules(none, 31, 3)) == 3
    assert symmetric_depth(Rules(none, None, 8)) == 8
    assert symmetric_depth(Rules(none, 2, None)) == 1


def test_a_side_without_rows_has_the_value_of_its_node():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    X[:, 1] = np.where(X[:, 0] > 0, 5.0, X[:, 1])  # half of the rows have one value
    y = 4.0 * (X[:, 0] > 0) + X[:, 1] * (X[:, 0] <= 0)
    model = HistGradientBoostingRegressor(max_iter=1, max_leaf_nodes=8, grow_policy="symmetric").fit(X, y)
    trees = model.trees_
    poor = np.flatnonzero((trees.left < 0) & (trees.weight < 20))
    assert poor.size
    parent = {int(child): i for i in np.flatnonzero(trees.left >= 0) for child in (trees.left[i], trees.left[i] + 1)}
    for leaf in poor:
        assert trees.value[leaf, 0] == trees.value[parent[int(leaf)], 0]


# constraints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["leafwise", "depthwise", "symmetric"])
@pytest.mark.parametrize("way", [1, -1])
def test_monotonic_constraints_hold_everywhere(policy, way):
    X, y = table()
    X = np.nan_to_num(X)
    model = HistGradientBoostingRegressor(
        max_iter=30, monotonic_cst=[way, 0, 0, 0, 0], grow_policy=policy, early_stopping=False, min_samples_leaf=5
    ).fit(X, way * (X[:, 0] + np.sin(4 * X[:, 0])) + y)
    grid = np.linspace(-3, 3, 61)
    rows = np.repeat(X[:60], grid.size, axis=0)
    rows[:, 0] = np.tile(grid, 60)
    predicted = model.predict(rows).reshape(60, -1)
    assert (way * np.diff(predicted, axis=1) >= 0).all()
    assert np.ptp(predicted, axis=1).max() > 0.5


@pytest.mark.parametrize("policy", ["leafwise", "symmetric"])
@pytest.mark.parametrize("loss", [{"loss": "absolute_error"}, {"loss": "quantile", "quantile": 0.3}])
def test_monotonic_constraints_hold_where_leaves_take_quantiles(policy, loss):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    y = np.exp(X[:, 1] + np.sin(3 * X[:, 0]) + 0.3 * rng.normal(size=600))
    model = HistGradientBoostingRegressor(monotonic_cst=[-1, 1, 0, 0], grow_policy=policy, max_iter=40, **loss)
    predicted = model.fit(X, y).predict(X)
    assert np.abs(y - predicted).mean() < 0.8 * np.abs(y - np.median(y)).mean()
    for column, way in ((0, -1), (1, 1)):
        rows = np.repeat(X[:60], 101, axis=0)
        rows[:, column] = np.tile(np.linspace(-3, 3, 101), 60)
        assert (way * np.diff(model.predict(rows).reshape(60, -1), axis=1) >= -1e-12).all()


def branches(trees):
    """The terms tested on the way to each leaf."""
    for tree in range(trees.n_trees):
        waiting = [(int(trees.roots[tree]), frozenset())]
        while waiting:
            node, used = waiting.pop()
            if trees.left[node] < 0:
                yield used
                continue
            used = used | {int(trees.term[node])}
            waiting += [(int(trees.left[node]) + side, used) for side in (0, 1)]


@pytest.mark.parametrize("policy", ["leafwise", "symmetric"])
@pytest.mark.parametrize(
    ("given", "sets"),
    [
        ([{0, 1}, {2}], [{0, 1}, {2}, {3, 4}]),
        ("no_interactions", [{i} for i in range(5)]),
        ("pairwise", [{i, j} for i in range(5) for j in range(i)]),
    ],
)
def test_terms_meet_only_within_their_sets(given, sets, policy):
    X, y = table()
    trees = HistGradientBoostingRegressor(max_iter=20, interaction_cst=given, grow_policy=policy).fit(X, y).trees_
    found = set(branches(trees))
    assert all(any(used <= group for group in sets) for used in found)
    assert len(set().union(*found)) >= 2


def test_each_node_draws_its_terms():
    X, y = table()
    first = {}
    for seed in range(8):
        model = HistGradientBoostingRegressor(max_iter=1, max_features=0.2, random_state=seed).fit(X, y)
        first[seed] = int(model.trees_.term[0])
    assert len(set(first.values())) > 1


# the same bits -----------------------------------------------------------------------------------------------------

VARIANTS = {
    "leafwise": {},
    "depthwise": {"grow_policy": "depthwise"},
    "symmetric": {"grow_policy": "symmetric"},
    "held out": {"early_stopping": True},
    "subsample": {"subsample": 0.5},
    "goss": {"sampling_method": "goss"},
    "few columns": {"max_features": 0.5},
}


def fit(X, y, **params):
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=10, **{"early_stopping": False, **params})
    return bits(model.fit(X, y))


@pytest.fixture(scope="module")
def rows():
    X, y = table(20_000)
    return X, np.digitize(y, [-1.0, 1.0])


def assert_same_bits(grown, monkeypatch):
    """Training with a number of threads gives the same bits for any number, any memory and any shards."""
    expected = grown(1)
    assert grown(2) == expected
    assert grown(7) == expected
    with memory_limited("64MiB"):
        monkeypatch.setattr(
            "dbml.data.shards.LocalShards._check_resident", lambda self: setattr(self._room, "nbytes", 0)
        )
        assert grown(2) == expected  # all spilled
    monkeypatch.undo()
    for size in (4_096, 7_777):
        monkeypatch.setattr("dbml.data.shard_filling.rows_of_a_shard", lambda *_, size=size: size)
        assert grown(2) == expected


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS)
def test_same_bits_for_any_threads_shards_and_memory(rows, params, monkeypatch):
    def with_threads(n):
        with using(LocalEngine(n)):
            return fit(*rows, **params)

    assert_same_bits(with_threads, monkeypatch)


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS)
def test_same_bits_where_rows_are_too_unlike_for_words(params, monkeypatch):
    X, y = table(20_000)
    y[0] = 1e6

    def grown(n_threads):
        with using(LocalEngine(n_threads)):
            model = HistGradientBoostingRegressor(max_iter=5, **{"early_stopping": False, **params}).fit(X, y)
        assert "32 bits in " in str(model.explain())
        return bits(model)

    assert_same_bits(grown, monkeypatch)


@pytest.mark.parametrize("kind", ["squared_error", "weights", "goss", "classes with weights"])
def test_the_first_scores_are_the_same_for_any_shards(kind, monkeypatch):
    """Sums of targets round; the last bit of a mean would become another tree where leaves hold few rows."""
    X, y = table(30_000)
    X = np.nan_to_num(X)
    y, w = 1e3 * np.sin(1e4 * X[:, 1]) + y + 1 / 3, 0.1 + np.abs(X[:, 2])
    params = {"max_iter": 3, "max_leaf_nodes": 150, "min_samples_leaf": 1, "early_stopping": False}

    def grown():
        if kind == "classes with weights":
            labels = np.digitize(y, [-300.0, 300.0])
            return bits(HistGradientBoostingClassifier(**params).fit(X, labels, sample_weight=w))
        sampling = "goss" if kind == "goss" else "uniform"
        model = HistGradientBoostingRegressor(**params, sampling_method=sampling)
        return bits(model.fit(X, y, sample_weight=w if kind == "weights" else None))

    expected = grown()
    for size in (4_096, 7_777):
        monkeypatch.setattr("dbml.data.shard_filling.rows_of_a_shard", lambda *_, size=size: size)
        assert grown() == expected


@pytest.mark.parametrize("threads", [2, 7])
def test_float64_has_the_same_bits_for_any_threads(rows, threads):
    with using(LocalEngine(1)):
        expected = fit(*rows, precision="float64")
    with using(LocalEngine(threads)):
        assert fit(*rows, precision="float64") == expected


def test_float64_differs_by_rounding_where_shards_do(rows, monkeypatch):
    def probabilities():
        model = HistGradientBoostingClassifier(max_iter=5, precision="float64", early_stopping=False)
        return model.fit(*rows).predict_proba(rows[0])

    expected = probabilities()
    monkeypatch.setattr("dbml.data.shard_filling.rows_of_a_shard", lambda *_: 4_321)
    np.testing.assert_allclose(probabilities(), expected, rtol=1e-6)
