"""Importances of input columns, from numbers that a model has one of for each term."""

from __future__ import annotations

import numpy as np
from dbml_sql.features import Encoding

from dbml.passes.block import Floats
from dbml.passes.schema import Schema


class ColumnImportances:
    """The importances of an estimator that has coefficients or importances of terms."""

    schema_: Schema

    @property
    def column_importances_(self) -> np.ndarray:
        """Importance of each input column: the sum of |coef_|, or of feature_importances_, over its terms.

        A column of text has a term for each level, and one with missing values a flag besides, so `coef_` may be longer
        than the columns. scikit-learn's `SelectFromModel` and `RFE` choose columns rightly with
        ``importance_getter="column_importances_"``. Shape (n_features_in_,), or (n_classes, n_features_in_).
        """
        self._check_fitted()  # type: ignore[attr-defined]
        of_terms = getattr(self, "coef_", getattr(self, "feature_importances_", None))
        schema = self.schema_
        if of_terms is None or np.shape(of_terms)[-1:] != (schema.encoding.n_terms,):
            raise AttributeError(f"{type(self).__name__} has no coefficient or importance of each term")
        if not schema.named and schema.n_features == schema.encoding.n_terms:  # a wide sparse matrix is one feature
            return np.abs(of_terms)
        return _by_column(np.asarray(of_terms, float), schema.encoding)


def _by_column(of_terms: Floats, encoding: Encoding) -> Floats:
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
