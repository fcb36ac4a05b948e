"""How terms enter a network: standardised, so that columns and targets of any unit can be learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_sql.features import Encoding

from dbml.passes.block import Block, Floats

SAMPLE_ROWS = 20_000


@dataclass(frozen=True)
class Coordinates:
    """What enters: of a dense term ``(x + offset) inverse``, of a sparse one ``factor x``, ``(y - mean) / scale``.

    Attributes
    ----------
    offset, inverse : ndarray of shape (n_dense,)
        Over centred terms.
    factor : ndarray of shape (n_sparse,)
        1 for levels of categories; of lists and maps the inverse of the root mean square of what is not 0.
    target : ndarray of shape (2,)
        Mean and standard deviation of a number; (0, 1) for classes.
    """

    offset: Floats
    inverse: Floats
    factor: Floats
    target: Floats

    @classmethod
    def of(cls, rows: Block, weight: Floats, encoding: Encoding, classes: bool) -> Coordinates:
        """Return the coordinates that a sample of weighted rows shows."""
        share = weight / max(float(weight.sum()), 1e-300)
        mean = share @ rows.X
        scale = _spread(np.sqrt(share @ (rows.X - mean) ** 2), mean)
        flags = np.array([name.endswith(" IS NULL") for name in encoding.terms[: encoding.n_dense]], dtype=bool)
        mean[flags], scale[flags] = 0.0, 1.0
        target = np.array([0.0, 1.0])
        if not classes and rows.n_rows:
            assert rows.y is not None, "a supervised estimator sees targets"
            centre = float(share @ rows.y)
            target = np.array([centre, _spread(np.sqrt(share @ (rows.y - centre) ** 2), np.array(centre))])
        return cls(-mean, 1.0 / scale, _factors(rows, encoding), target)


def _spread(scale: Floats, mean: Floats) -> Floats:
    """Return standard deviations, 1 for those that are nothing but rounding."""
    return np.where(scale > 1e-12 * np.abs(mean) + 1e-300, scale, 1.0)


def _factors(rows: Block, encoding: Encoding) -> Floats:
    n_sparse = encoding.n_terms - encoding.n_dense
    factor = np.ones(n_sparse)
    measured = [f for f in encoding.features if f.kind in ("lists", "map")]
    if not measured or rows.sparse is None:
        return factor
    term = rows.sparse.indices - encoding.n_dense
    count = np.bincount(term, rows.sparse.values != 0.0, n_sparse)
    square = np.bincount(term, rows.sparse.values**2, n_sparse)
    size = np.sqrt(square / np.maximum(count, 1.0))
    for feature, (_, first) in zip(encoding.features, encoding.offsets(), strict=True):
        if feature in measured:
            own = slice(first - encoding.n_dense, first - encoding.n_dense + len(feature.sparse_terms))
            factor[own] = np.where(size[own] > 0.0, 1.0 / np.where(size[own] > 0.0, size[own], 1.0), 1.0)
    return factor
