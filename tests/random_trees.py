"""Random trees over an encoding of plain values, of any shape, for tests."""

import numpy as np

from dbml.estimators.trees.ensemble import Trees


def random_trees(encoding, *, n_trees=5, depth=4, n_values=1, n_outputs=1, symmetric=False, seed=0, grid=None):
    """Return trees that ask about the dense terms of an encoding.

    Parameters
    ----------
    depth : int
        Of each tree; trees that are not symmetric end sooner here and there.
    n_outputs : int
        Trees add to these in turn.
    symmetric : bool
        One question a level.
    grid : sequence of floats, optional
        Thresholds to choose from, normal numbers by default.
    """
    rng = np.random.default_rng(seed)
    nodes, sets, roots = [], [], [0]

    def question():
        term = int(rng.integers(encoding.n_dense))
        n_codes = encoding.n_codes[term]
        if n_codes:
            sets.append(np.r_[rng.random(n_codes) < 0.5, np.zeros(256 - n_codes, bool)])
            return term, np.nan, len(sets) - 1, bool(rng.random() < 0.5)
        threshold = float(rng.normal() if grid is None else rng.choice(grid))
        return term, threshold, -1, bool(rng.random() < 0.5)

    for _ in range(n_trees):
        levels = [question() for _ in range(depth)]
        waiting = [(len(nodes), 0)]
        nodes.append(None)
        for number, level in waiting:
            if level == depth or (not symmetric and level and rng.random() < 0.2):
                nodes[number] = (-1, np.nan, -1, False, -1)
                continue
            nodes[number] = (*(levels[level] if symmetric else question()), len(nodes))
            waiting += [(len(nodes), level + 1), (len(nodes) + 1, level + 1)]
            nodes += [None, None]
        roots.append(len(nodes))
    columns = list(zip(*nodes, strict=True))
    inner = np.array(columns[4]) >= 0
    return Trees(
        roots=np.array(roots, np.int64),
        outputs=np.arange(n_trees) % n_outputs,
        term=np.array(columns[0], np.int32),
        threshold=np.array(columns[1]),
        category_set=np.array(columns[2], np.int32),
        category_sets=np.array(sets, bool).reshape(-1, 256),
        missing_left=np.array(columns[3], bool),
        left=np.array(columns[4], np.int32),
        value=rng.normal(size=(len(nodes), n_values)),
        gain=np.where(inner, rng.random(len(nodes)), 0.0),
        weight=rng.integers(1, 100, len(nodes)).astype(float),
    )
