"""Two ways from rows to leaves: down the nodes, and by the masks of all questions."""

import numpy as np
import pytest
from dbml_sql.features import Encoding, Feature
from random_trees import random_trees

from dbml.passes.block import Block

ENCODING = Encoding(
    (
        Feature("a", "DOUBLE", "number", style="values"),
        Feature("b", "DOUBLE", "number", style="values"),
        Feature("c", "VARCHAR", "category", levels=tuple("uvwxyz"), other_level=True, style="values"),
    )
)


def rows(n):
    rng = np.random.default_rng(3)
    X = np.asfortranarray(np.column_stack([rng.normal(size=(n, 2)).round(1), rng.integers(0, 7, n)]))
    X[rng.random(X.shape) < 0.2] = np.nan
    return Block(X, None, None, None, 0)


def added(trees, block):
    out = np.zeros((block.n_rows, trees.n_outputs))
    trees.add_to(block, out)
    return out


def walked(trees, block):
    """Sum the leaves that rows walk to, tree by tree."""
    out = np.zeros((block.n_rows, trees.n_outputs))
    for leaf, output in zip(trees.leaves(block).T, trees.outputs, strict=True):
        out[:, output : output + trees.value.shape[1]] += trees.value[leaf]
    return out


@pytest.mark.parametrize("depth", [1, 3, 5, 6, 7])
@pytest.mark.parametrize("n", [1, 255, 700])
def test_masks_find_the_leaves_that_rows_walk_to(depth, n):
    """Words of 32 bits up to depth 5, of 64 at 6; deeper trees are walked."""
    trees = random_trees(ENCODING, n_trees=9, depth=depth)
    assert (trees.walk._masks is None) == (np.diff(trees.roots).max() > 127)
    np.testing.assert_array_equal(added(trees, rows(n)), walked(trees, rows(n)))


def test_trees_without_a_question():
    trees = random_trees(ENCODING, n_trees=3, depth=0)
    np.testing.assert_array_equal(added(trees, rows(5)), np.full((5, 1), trees.value.sum()))


def test_no_rows():
    assert added(random_trees(ENCODING, n_trees=3, depth=3), rows(0)).shape == (0, 1)
