"""Importances of input columns, from numbers that a model has one of for each term."""

from __future__ import annotations

import numpy as np
from dbml_sql.features import Encoding

from dbml.passes.block import Floats


def by_column(of_terms: Floats, encoding: Encoding) -> Floats:
    """Return the sums of the absolute values of the terms of each column, shape (…, n_columns).

    Parameters
    ----------
    of_terms : ndarray of shape (…, n_terms)
        Coefficients or importances.
    encoding : Encoding
        Where each column's terms stand.
    """
    place = {column: number for number, column in enumerate(encoding.columns)}
    owner = np.empty(encoding.n_terms, np.intp)
    for feature, (dense, sparse) in zip(encoding.features, encoding.offsets(), strict=True):
        owner[dense : dense + len(feature.dense_terms)] = place[feature.column]
        owner[sparse : sparse + len(feature.sparse_terms)] = place[feature.column]
    found = np.zeros((*of_terms.shape[:-1], len(place)))
    np.add.at(found.T, owner, np.abs(of_terms).T)
    return found
