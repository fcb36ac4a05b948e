"""The items of the highest predictions for each user, from factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbml.errors import InvalidParameter
from dbml.estimators.alternating import Side
from dbml.estimators.key_codes import Keys
from dbml.passes.block import Floats

_SCORES = 32 << 20  # bytes of predictions that are held at once


def best_items(
    users: Side, items: Side, mean: float, codes: NDArray, n: int, excluded: Mapping[int, NDArray]
) -> tuple[NDArray, Floats]:
    """Return the codes of the best items of some users, and the predictions.

    Parameters
    ----------
    users, items : Side
        Factors and biases.
    mean : float
        What is added to every prediction.
    codes : ndarray of shape (n_asked,)
        Users; a negative one is unknown.
    n : int
        Items for each, all of them if there are fewer.
    excluded : mapping of int to ndarray
        Codes of items that are left out, by the code of the user.

    Returns
    -------
    best : ndarray of shape (n_asked, n)
        Codes of items, the best first.
    predictions : ndarray of shape (n_asked, n)
        NaN where no item is left.
    """
    n = min(n, len(items.factors))
    best, scores = np.empty((codes.size, n), np.intp), np.empty((codes.size, n))
    size = max(1, _SCORES // (8 * len(items.factors)))
    turned = items.factors.T.astype(np.float64)
    for start in range(0, codes.size, size):
        part = slice(start, min(start + size, codes.size))
        every = _predictions(users, items.bias, turned, mean, codes[part])
        for row, user in enumerate(codes[part].tolist()):
            if user in excluded:
                every[row, excluded[user]] = -np.inf
        best[part], scores[part] = _largest(every, n)
    return best, scores


def item_ranks(users: Side, items: Side, mean: float, user_codes: NDArray, item_codes: NDArray) -> Floats:
    """Return the place of each item, from 1 on, among all items in the order of what is predicted for its user.

    Parameters
    ----------
    users, items : Side
        Factors and biases.
    mean : float
        What is added to every prediction.
    user_codes, item_codes : ndarray of shape (n,)
        The pairs; negative codes are unknown.

    Returns
    -------
    ndarray of shape (n,)
        Of equal predictions the first item comes first; NaN where the user or the item is unknown.
    """
    ranks = np.full(user_codes.size, np.nan)
    known = np.flatnonzero((user_codes >= 0) & (item_codes >= 0))
    asked, place = np.unique(user_codes[known], return_inverse=True)
    n_items = len(items.factors)
    size = max(1, _SCORES // (8 * n_items))
    turned = items.factors.T.astype(np.float64)
    for start in range(0, asked.size, size):
        order = np.argsort(-_predictions(users, items.bias, turned, mean, asked[start : start + size]), kind="stable")
        places = np.empty_like(order)
        np.put_along_axis(places, order, np.arange(1, n_items + 1)[None, :], axis=1)
        here = (place >= start) & (place < start + size)
        ranks[known[here]] = places[place[here] - start, item_codes[known[here]]]
    return ranks


def _predictions(users: Side, item_bias: NDArray, turned: Floats, mean: float, codes: NDArray) -> Floats:
    known = (codes >= 0)[:, None]
    scores = (users.factors[codes] * known).astype(np.float64) @ turned
    scores += mean + (users.bias[codes][:, None] * known).astype(np.float64) + item_bias
    return scores


def _largest(scores: Floats, n: int) -> tuple[NDArray, Floats]:
    """Return places and values of the n largest of each row, falling; of equal ones the first."""
    top = np.argpartition(-scores, n - 1, axis=1)[:, :n]
    top.sort(axis=1)
    of_top = np.take_along_axis(scores, top, axis=1)
    order = np.argsort(-of_top, axis=1, kind="stable")
    of_top = np.take_along_axis(of_top, order, axis=1)
    of_top[np.isneginf(of_top)] = np.nan
    return np.take_along_axis(top, order, axis=1), of_top


def left_out(exclude: Any, users: Keys, items: Keys) -> dict[int, NDArray]:
    """Return the codes of the items that a person excludes, by the code of the user.

    Raises
    ------
    InvalidParameter
        Neither pairs of user and item nor two arrays.
    """
    if exclude is None:
        return {}
    given = exclude
    if not (isinstance(given, tuple) and len(given) == 2):
        array = np.asarray(given)
        if array.ndim != 2 or array.shape[1] != 2:
            raise InvalidParameter(
                f"MatrixFactorization: exclude must hold pairs of user and item, shape (n, 2); got shape {array.shape}"
            )
        given = (array[:, 0], array[:, 1])
    user, item = users.codes_of(given[0]), items.codes_of(given[1])
    known = (user >= 0) & (item >= 0)
    order = np.argsort(user[known], kind="stable")
    user, item = user[known][order], item[known][order]
    if not user.size:
        return {}
    starts = np.flatnonzero(np.r_[True, user[1:] != user[:-1]])
    return {int(user[start]): part for start, part in zip(starts, np.split(item, starts[1:]), strict=True)}
