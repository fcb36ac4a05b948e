"""Keys and factors of a matrix factorization as rows, for ``ML.RECOMMEND`` and ``ML.WEIGHTS``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from dbml.errors import InvalidData, InvalidParameter
from dbml.registry.scorer import Scorer

_SIDES = ("user", "item")


def keys_function(find: Callable[[str], Scorer]) -> Callable[..., pa.Array]:
    """Return ``factor_keys(name, side)``: the text of the keys of users, or of items, in the order of the model."""

    def factor_keys(*arguments: pa.ChunkedArray) -> pa.Array:
        if len(arguments) != 2:
            raise InvalidParameter("expected factor_keys('model', 'user'), or 'item'")
        pairs = zip(*(argument.to_pylist() for argument in arguments), strict=True)
        return _lists([_texts(_factorization(find(name)), _SIDES.index(side)) for name, side in pairs])

    return factor_keys


def weights_function(find: Callable[[str], Scorer]) -> Callable[..., pa.Array]:
    """Return ``factor_weights(name)``: one struct a user and item, and one for the mean."""

    def factor_weights(*arguments: pa.ChunkedArray) -> pa.Array:
        if len(arguments) != 1:
            raise InvalidParameter("expected factor_weights('model')")
        return _lists([_rows(find(name)) for name in arguments[0].to_pylist()])

    return factor_weights


def item_rank(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None = None) -> pa.Array:
    """Return the place of each item among all items for its user, from 1 on; NULL where one of them is unknown."""
    _factorization(scorer)
    if threshold is not None:
        raise InvalidParameter("item_rank takes no threshold")
    ranks = scorer.method("item_rank")(scorer.block(columns))
    return pa.array(ranks, mask=np.isnan(ranks))


def _lists(arrays: list[pa.Array]) -> pa.Array:
    offsets = np.cumsum([0, *map(len, arrays)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.concat_arrays(arrays))


def _factorization(scorer: Scorer) -> Any:
    from dbml.estimators.matrix_factorization import MatrixFactorization

    if not isinstance(scorer.model, MatrixFactorization):
        kind = type(scorer.model).__name__
        raise InvalidData(
            f"model {scorer.name!r} is a {kind}, which has no users and items. "
            "Hint: CREATE MODEL … OPTIONS (model_type = 'matrix_factorization')"
        )
    return scorer.model


def _texts(model: Any, side: int) -> pa.Array:
    keys = (model.users_, model.items_)[side]
    if keys.dtype.kind == "O":
        return pa.array(keys.tolist(), pa.string())
    return pa.array(keys).cast(pa.string())


def _rows(scorer: Scorer) -> pa.StructArray:
    model = _factorization(scorer)
    columns = model.schema_.encoding.columns
    keys = [_texts(model, side) for side in (0, 1)]
    factors = np.concatenate([model.user_factors_, model.item_factors_]).astype(np.float64)
    n, k = factors.shape
    inputs = [*[columns[0]] * len(keys[0]), *[columns[1]] * len(keys[1]), "global__intercept__"]
    numbers = pa.array(np.tile(np.arange(1, k + 1, dtype=np.int32), n))
    pairs = pa.StructArray.from_arrays([numbers, pa.array(factors.ravel())], ["factor", "weight"])
    offsets = np.append(np.arange(0, n * k + 1, k), n * k).astype(np.int32)
    biases = np.concatenate([model.user_bias_, model.item_bias_, [model.mean_]]).astype(np.float64)
    made = {
        "processed_input": pa.array(inputs),
        "feature": pa.concat_arrays([*keys, pa.nulls(1, pa.string())]),
        "factor_weights": pa.ListArray.from_arrays(pa.array(offsets), pairs),
        "intercept": pa.array(biases),
    }
    return pa.StructArray.from_arrays(list(made.values()), list(made))
