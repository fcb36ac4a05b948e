"""Shapley values of trees: the definition, the sum, the `shap` package, and what people call."""

import itertools
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from dbml_sql.features import Encoding, Feature
from hypothesis import given, settings
from hypothesis import strategies as st
from random_trees import random_trees

from dbml import HistGradientBoostingClassifier
from dbml.estimators.trees.attributions import TreeAttributions
from dbml.estimators.trees.ensemble import Trees
from dbml.passes.block import Block, SparseRows


def numbers(n):
    return tuple(Feature(f"x{i}", "DOUBLE", "number", style="values") for i in range(n))


with warnings.catch_warnings():  # it warns of matplotlib
    warnings.simplefilter("ignore")
    import shap

MIXED = Encoding((*numbers(2), Feature("c", "VARCHAR", "category", levels=tuple("abcde"), style="values")))


def weighed(trees):
    """Return the trees with weights that add up, as training gives them; a few leaves have none."""
    weight = np.where(trees.left < 0, trees.weight.astype(int) % 7, 0).astype(float)
    for node in range(trees.term.size - 1, -1, -1):
        if trees.left[node] >= 0:
            weight[node] = weight[trees.left[node]] + weight[trees.left[node] + 1]
    return replace(trees, weight=weight)


def block(X):
    return Block(np.asfortranarray(X, dtype=float), None, None, None, 0)


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(n, 2)), rng.integers(0, 5, n)])
    X[rng.random(X.shape) < 0.15] = np.nan
    return X


def expectation(trees, x, known, node):
    """The value of a tree for a row of which only some terms are known: the definition."""
    if trees.left[node] < 0:
        return trees.value[node]
    left = trees.left[node]
    if trees.term[node] not in known:
        total = trees.weight[node]
        shares = [0.5, 0.5] if total == 0 else [trees.weight[left] / total, trees.weight[left + 1] / total]
        return sum(s * expectation(trees, x, known, left + i) for i, s in enumerate(shares))
    value = x[trees.term[node]]
    if np.isnan(value):
        goes_left = trees.missing_left[node]
    elif trees.category_set[node] >= 0:
        goes_left = trees.category_sets[trees.category_set[node], int(value)]
    else:
        goes_left = value <= trees.threshold[node]
    return expectation(trees, x, known, left + (not goes_left))


def shapley(trees, X, n_terms, n_outputs):
    """Shapley values by their definition, over all subsets of the terms."""
    out = np.zeros((len(X), n_terms, n_outputs))
    for (r, x), tree in itertools.product(enumerate(X), range(trees.n_trees)):
        root, first = trees.roots[tree], trees.outputs[tree]
        for j in range(n_terms):
            others = [k for k in range(n_terms) if k != j]
            for size in range(n_terms):
                weight = math.factorial(size) * math.factorial(n_terms - size - 1) / math.factorial(n_terms)
                for known in itertools.combinations(others, size):
                    with_j = expectation(trees, x, {*known, j}, root)
                    gained = with_j - expectation(trees, x, set(known), root)
                    out[r, j, first : first + gained.size] += weight * gained
    return out


@pytest.mark.parametrize(("n_values", "n_outputs", "depth"), [(1, 1, 2), (1, 3, 5), (2, 1, 6)])
def test_they_are_shapley_values(n_values, n_outputs, depth):
    trees = weighed(random_trees(MIXED, n_trees=4, depth=depth, n_values=n_values, n_outputs=n_outputs, seed=depth))
    X = rows(15)
    start = np.arange(float(trees.n_outputs))
    explained = TreeAttributions(trees, start, MIXED)
    np.testing.assert_allclose(explained.by_term(block(X)), shapley(trees, X, 3, trees.n_outputs), atol=1e-12)
    mean = start.copy()
    for tree, output in enumerate(trees.outputs):
        mean[output : output + n_values] += expectation(trees, X[0], set(), trees.roots[tree])
    np.testing.assert_allclose(explained.baseline, mean, atol=1e-12)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 12), st.integers(1, 3), st.integers(0, 200))
def test_they_sum_to_the_prediction(seed, depth, n_outputs, n_rows):
    trees = weighed(random_trees(MIXED, n_trees=3, depth=depth, n_outputs=n_outputs, seed=seed))
    start = np.zeros(n_outputs)
    explained = TreeAttributions(trees, start, MIXED)
    X = block(rows(n_rows, seed))
    n = trees.n_outputs
    total = explained.baseline + explained.by_term(X).sum(axis=1)
    np.testing.assert_allclose(total[:, :n], explained.raw(X)[:, :n], atol=1e-10)


def test_rows_in_blocks_and_read_only_arrays_give_the_same_bits():
    trees = weighed(random_trees(MIXED, n_trees=3, depth=6))
    for array in trees.arrays().values():
        array.flags.writeable = False
    explained = TreeAttributions(trees, np.zeros(1), MIXED)
    X = rows(300)
    X.flags.writeable = False
    whole = explained.by_term(block(X))
    parts = [explained.by_term(block(X[a : a + 37])) for a in range(0, 300, 37)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_columns_are_sums_of_their_terms():
    vector = Feature("v", "DOUBLE[3]", "vector", width=3, style="values")
    lists = Feature("i", "INTEGER[]", "lists", width=4, values="w", style="values")
    encoding = Encoding((vector, Feature("x", "DOUBLE", "number", style="values"), lists))
    trees = weighed(random_trees(Encoding(numbers(8)), n_trees=4, depth=5, seed=3))
    rng = np.random.default_rng(0)
    sparse = SparseRows(np.arange(0, 41, 2), np.tile([4, 6], 20).astype(np.int32), rng.normal(size=40))
    X = Block(np.asfortranarray(rng.normal(size=(20, 4))), sparse, None, None, 0)
    explained = TreeAttributions(trees, np.zeros(1), encoding)
    by_term, by_column = explained.by_term(X), explained.by_column(X)
    assert encoding.columns == ("v", "x", "i", "w")
    np.testing.assert_allclose(by_column[:, 0], by_term[:, :3].sum(axis=1), atol=1e-14)
    np.testing.assert_array_equal(by_column[:, 1], by_term[:, 3])
    np.testing.assert_allclose(by_column[:, 2], by_term[:, 4:].sum(axis=1), atol=1e-14)
    assert not by_column[:, 3].any()
    np.testing.assert_allclose(explained.baseline + by_column.sum(axis=1), explained.raw(X), atol=1e-12)


# the shap package ---------------------------------------------------------------------------------------------


def from_sklearn(tree, scale=1.0):
    """Return a tree of scikit-learn as `Trees`: children side by side, in the order of levels."""
    order, number = [0], {0: 0}
    for old in order:
        if tree.children_left[old] >= 0:
            for child in (tree.children_left[old], tree.children_right[old]):
                number[child] = len(order)
                order.append(child)
    order = np.array(order)
    inner = tree.children_left[order] >= 0
    n = len(order)
    left = [number[tree.children_left[old]] if tree.children_left[old] >= 0 else -1 for old in order]
    return Trees(
        roots=np.array([0, n]),
        outputs=np.zeros(1, np.int64),
        term=np.where(inner, tree.feature[order], -1).astype(np.int32),
        threshold=np.where(inner, tree.threshold[order], np.nan),
        category_set=np.full(n, -1, np.int32),
        category_sets=np.zeros((0, 256), bool),
        missing_left=tree.missing_go_to_left[order].astype(bool) & inner,
        left=np.array(left, np.int32),
        value=scale * tree.value[order, 0, :],
        gain=np.zeros(n),
        weight=tree.weighted_n_node_samples[order],
    )


@pytest.mark.parametrize("max_depth", [3, None])
def test_a_forest_is_explained_as_by_the_shap_package(max_depth):
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(0)
    # The shap package compares numbers of 32 bits with thresholds of 64.
    X = rng.normal(size=(600, 6)).astype(np.float32).astype(float)
    y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int) + (X[:, 3] > 1)
    forest = RandomForestClassifier(5, max_depth=max_depth, random_state=0).fit(X, y)
    trees = Trees.joined([from_sklearn(e.tree_, 1 / 5) for e in forest.estimators_])
    explained = TreeAttributions(trees, np.zeros(3), Encoding(numbers(6)))
    theirs = shap.TreeExplainer(forest)
    np.testing.assert_allclose(explained.by_term(block(X[:100])), theirs.shap_values(X[:100]), atol=1e-9)
    np.testing.assert_allclose(explained.baseline, theirs.expected_value, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_boosted_trees_are_explained_as_by_the_shap_package(classes):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3_000, 6))
    X[rng.random(X.shape) < 0.1] = np.nan
    y = np.digitize(np.nansum(X[:, :3], axis=1) + rng.normal(size=3_000), [0.0, 1.0][: classes - 1])
    model = HistGradientBoostingClassifier(max_iter=15, max_leaf_nodes=31).fit(X, y)
    ours = model.shap_values(X[:200])
    start = np.atleast_1d(model.baseline_)
    total, expected = 0.0, start.copy()
    for tree in range(model.trees_.n_trees):
        alone = shap.TreeExplainer(_for_shap(model.trees_.take(slice(tree, tree + 1))))
        output = model.trees_.outputs[tree]
        values = np.zeros((200, 6, start.size))
        values[:, :, output] = alone.shap_values(X[:200])
        total = total + values
        expected[output] += float(np.ravel(alone.expected_value)[0])
    np.testing.assert_allclose(ours, total[:, :, 0] if classes == 2 else total, atol=1e-9)
    np.testing.assert_allclose(model.expected_value_, expected, atol=1e-9)


def _for_shap(trees):
    """Return one tree as the shap package takes it from anyone."""
    inner = trees.left >= 0
    return {
        "trees": [
            {
                "children_left": trees.left.astype(int),
                "children_right": np.where(inner, trees.left + 1, -1).astype(int),
                "children_default": np.where(
                    inner, np.where(trees.missing_left, trees.left, trees.left + 1), -1
                ).astype(int),
                "features": np.where(inner, trees.term, -2).astype(int),
                "thresholds": np.where(inner, trees.threshold, -2.0),
                "values": trees.value,
                "node_sample_weight": trees.weight,
            }
        ]
    }
