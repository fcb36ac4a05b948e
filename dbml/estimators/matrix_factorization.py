"""Matrix factorization of ratings in a long table: users, items, ratings."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dbml.errors import ExhaustedMemory, InvalidData, InvalidParameter
from dbml.estimators.alternating import Factors, Grouped, Model, Side, Streamed, codes_of, mean_rating, ratings_of
from dbml.estimators.bigquery_options import early_stop
from dbml.estimators.key_codes import Keys, learn_keys
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.recommending import best_items, item_ranks, left_out
from dbml.estimators.regressor import Regressor
from dbml.estimators.room import check_room
from dbml.estimators.row_counts import pass_rows
from dbml.params import Boolean, Either, Instance, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.engine import current
from dbml.passes.memory import memory_budget
from dbml.passes.plan import ExpectedPasses
from dbml.passes.plan_text import size_text

_PASSES = ExpectedPasses(
    "2 or 3", "ratings that fit in memory are kept, else each round reads them twice or more", however_few=True
)
_START = 0.1  # spread of the factors that items start from


class MatrixFactorization(Regressor):
    """Ratings of items by users as products of factors, learned by alternating least squares from a long table.

    Explicit feedback: ``rating ~ mean + bias of user + bias of item + factors of user . factors of item``. Implicit
    feedback (counts, seconds, clicks: never below 0): the product is near 1 for pairs that came, near 0 for all others,
    with confidence ``1 + alpha rating``.

    Parameters
    ----------
    n_factors : int, default=16
        Factors of each user and item.
    feedback : {"explicit", "implicit"}, default="explicit"
        What ratings are.
    regularization : float, default=0.15
        Penalty of the factors. Of explicit feedback it is multiplied by the number of ratings of the user or item (by
        the sum of their weights).
    biases : bool or "auto", default="auto"
        Whether users and items have a bias; "auto": of explicit feedback.
    bias_regularization : float or None, default=None
        Penalty of the biases, as `regularization`; None: the same.
    alpha : float, default=40.0
        Implicit feedback: how much a rating adds to the confidence.
    max_iter : int, default=20
        Most rounds of factors of users, then of items.
    tol : float, default=1e-4
        Ends when the loss falls by less than this share in a round; 0: never.
    user_col, item_col : str, default="user", "item"
        Columns of users and items: numbers, texts, dates. Other columns are not read. Of an array, the first and the
        second column.
    solver : {"auto", "memory", "passes"}, default="auto"
        ``memory``: ratings are read once, and kept grouped by user and by item. ``passes``: read again for every slice
        of users and items whose normal equations fit in memory. "auto": memory, where they fit.
    random_state : int, RandomState or None, default=None
        Seed of the factors that items start from; None means 0.

    Attributes
    ----------
    user_factors_, item_factors_ : ndarray of shape (n_users, n_factors), (n_items, n_factors), float32
        Factors, in the order of `users_` and `items_`.
    user_bias_, item_bias_ : ndarray of shape (n_users,), (n_items,), float32
        Biases; 0 without.
    mean_ : float
        Mean of the ratings; 0 for implicit feedback.
    user_keys_, item_keys_ : ndarray of float64
        Keys that are numbers, ascending; empty where keys are texts, which are the levels of the encoding.
    loss_ : float
        Loss of the last round over the weight of the ratings: the mean squared error of explicit feedback.
    n_iter_ : int
        Rounds.

    Notes
    -----
    Memory: ``4 (n_users + n_items) (n_factors + 1)`` bytes, which must fit, and 28 bytes a rating (solver ``memory``).
    Cost of a round: ``n_factors^2`` multiplications a rating and ``n_factors^3 / 3`` for each user and item. A pair
    that comes twice counts twice. Rows whose user, item or rating is NULL are left out. A user or an item that training
    never saw has no factors and no bias: the prediction is the mean and the known bias; 0 of implicit feedback.

    References
    ----------
    Hu, Koren & Volinsky 2008; Zhou, Wilkinson, Schreiber & Pan 2008; Koren, Bell & Volinsky 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import MatrixFactorization
    >>> X = [[1, 10], [1, 11], [2, 10], [2, 12], [3, 11], [3, 12]]
    >>> model = MatrixFactorization(2).fit(X, [5.0, 1.0, 4.0, 3.0, 1.0, 2.0])
    >>> items, ratings = model.recommend([3], 1, exclude=X)
    >>> items
    array([[10]])
    """

    encoding_style = "keys"
    label_option = "rating_col"
    model_types: ClassVar[tuple[str, ...]] = ("matrix_factorization",)
    rules: ClassVar[Mapping[str, Rule]] = {
        "n_factors": Integer(ge=1),
        "feedback": Options(("explicit", "implicit")),
        "regularization": Real(ge=0),
        "biases": Either((Boolean(), Options(("auto",)))),
        "bias_regularization": Either((Options((None,)), Real(ge=0))),
        "alpha": Real(ge=0),
        "max_iter": Integer(ge=1),
        "tol": Real(ge=0),
        "user_col": Instance((str,), "the name of a column"),
        "item_col": Instance((str,), "the name of a column"),
        "solver": Options(("auto", "memory", "passes")),
        "random_state": RANDOM_STATE_RULE,
    }
    sql_options: ClassVar[Mapping[str, Any]] = {
        "num_factors": lambda value: {"n_factors": value},
        "feedback_type": lambda value: {"feedback": value.lower() if isinstance(value, str) else value},
        "l2_reg": lambda value: {"regularization": value},
        "wals_alpha": lambda value: {"alpha": value},
        "max_iterations": lambda value: {"max_iter": value},
        "min_rel_progress": lambda value: {"tol": value},
        "early_stop": early_stop,
    }

    user_factors_: Factors
    item_factors_: Factors
    user_bias_: Factors
    item_bias_: Factors
    mean_: float
    user_keys_: Floats
    item_keys_: Floats
    loss_: float
    n_iter_: int

    def __init__(
        self,
        n_factors: int = 16,
        *,
        feedback: str = "explicit",
        regularization: float = 0.15,
        biases: bool | str = "auto",
        bias_regularization: float | None = None,
        alpha: float = 40.0,
        max_iter: int = 20,
        tol: float = 1e-4,
        user_col: str = "user",
        item_col: str = "item",
        solver: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.n_factors = n_factors
        self.feedback = feedback
        self.regularization = regularization
        self.biases = biases
        self.bias_regularization = bias_regularization
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.user_col = user_col
        self.item_col = item_col
        self.solver = solver
        self.random_state = random_state

    # training --------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        con: Any = None,
        options: dict[str, Any] | None = None,
    ) -> Self:
        """Learn from ratings.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, or ndarray of shape (n_rows, 2)
            The rows: a user and an item each.
        y : array of shape (n_rows,) or column name
            The ratings; None means the column ``rating`` where X has columns.
        sample_weight : array of shape (n_rows,) or column name, optional
            Weights of the ratings, not negative.
        con : connection, optional
            Where a table name or SQL is looked up.
        options : dict, optional
            There are none for columns of keys.

        Returns
        -------
        self
        """
        return super().fit(X, "rating" if y is None and _has_columns(X) else y, sample_weight, con=con, options=options)

    def _encoding_options(self, options: dict[str, Any] | None) -> dict[str, Any]:
        return {**(options or {}), "keys": (self.user_col, self.item_col)}

    def _check_params(self) -> None:
        if self.feedback == "implicit" and self.biases is True:
            raise InvalidParameter(
                "MatrixFactorization: biases must be False or 'auto' for implicit feedback, whose pairs that never "
                "came are nearly all; got True"
            )

    def _fit(self, data: Data) -> None:
        implicit = self.feedback == "implicit"
        width = self.n_factors + (not implicit)
        told = f"{self.n_factors} factors, {self.feedback} feedback"
        data.decide_solver("alternating least squares", told, _PASSES)
        keys = learn_keys(data)
        sizes = tuple(key.size for key in keys)
        needed = 4 * sum(sizes) * width
        if needed > memory_budget().kept:
            raise ExhaustedMemory(
                f"MatrixFactorization: the factors of {sizes[0]:,} users and {sizes[1]:,} items take "
                f"{size_text(needed)}, and {size_text(memory_budget().kept)} of memory_limit are for kept rows. Lower "
                "n_factors, or raise memory_limit"
            )
        equations = 8 * width**2
        check_room("MatrixFactorization", f"equations of {self.n_factors:,} factors", equations, "lower n_factors")
        mean, total = mean_rating(data, keys, implicit)
        model = self._model(mean)
        n_rows, _ = pass_rows(data)
        fits = 28 * n_rows + needed <= memory_budget().kept
        grouped = self.solver == "memory" or (self.solver == "auto" and fits)
        with nullcontext(data) if grouped else data.materialise() as kept:
            sides = self._grouped(kept, keys, model) if grouped else [Streamed(kept, keys, side) for side in (0, 1)]
            self._alternate(sides, model, keys, total)
            data.plan = kept.plan
        ratings = "kept in memory, by user and by item" if grouped else "read again for slices of users and items"
        data.plan = data.plan.decide("ratings", ratings, size_text(28 * n_rows))
        data.plan = data.plan.decide("factors", f"{sizes[0]:,} users, {sizes[1]:,} items", size_text(needed))

    def _model(self, mean: float) -> Model:
        implicit = self.feedback == "implicit"
        of_biases = self.regularization if self.bias_regularization is None else self.bias_regularization
        return Model(
            self.n_factors,
            self.regularization,
            of_biases,
            not implicit,
            not implicit if self.biases == "auto" else bool(self.biases),
            implicit,
            self.alpha,
            0.0 if implicit else mean,
        )

    def _grouped(self, data: Data, keys: Sequence[Keys], model: Model) -> list[Any]:
        """Return the ratings grouped by user and by item."""

        def coded(block: Block) -> tuple[NDArray, ...]:
            user, item = codes_of(block, keys)
            known = user >= 0
            values, weights = ratings_of(block, model.mean)
            return user[known], item[known], values[known], weights[known] if weights.size else weights

        parts = list(data.map(coded, purpose="ratings"))
        user, item, values, weights = (np.concatenate([part[n] for part in parts]) for n in range(4))
        del parts
        by_user = Grouped.of(user, item, values, weights, keys[0].size)
        return [by_user, Grouped.of(item, user, values, weights, keys[1].size)]

    def _alternate(self, sides: Sequence[Any], model: Model, keys: Sequence[Keys], total: float) -> None:
        users, items = (Side.of(key.size, model.k) for key in keys)
        generator = np.random.default_rng(seed_of(self.random_state))
        items.factors[:] = _START * generator.normal(size=items.factors.shape)
        before = np.inf
        crew = current().crew(1 << 16)
        try:
            for number in range(1, self.max_iter + 1):
                sides[0].solve(model, users, items, crew)
                loss = sides[1].solve(model, items, users, crew) / total
                self._iteration(number, loss=loss)
                self._keep(**self._fitted(users, items, model, keys, loss, number))
                if number > 1 and before - loss <= self.tol * abs(before):
                    break
                before = loss
        finally:
            crew.close()
        vars(self).update(self._fitted(users, items, model, keys, loss, number))

    def _fitted(
        self, users: Side, items: Side, model: Model, keys: Sequence[Keys], loss: float, number: int
    ) -> dict[str, Any]:
        return {
            "user_factors_": users.factors,
            "item_factors_": items.factors,
            "user_bias_": users.bias,
            "item_bias_": items.bias,
            "mean_": model.mean,
            "user_keys_": keys[0].values,
            "item_keys_": keys[1].values,
            "loss_": float(loss),
            "n_iter_": number,
        }

    def _check_finite(self, data: Data) -> None:
        if not all(np.isfinite(array).all() for array in (self.user_factors_, self.item_factors_)):
            raise InvalidData(
                f"MatrixFactorization: factors must be finite, and are not: ratings of {data.plan.source} are too "
                "large. Scale them"
            )

    # prediction ------------------------------------------------------------------------------------------------

    @property
    def _keys(self) -> tuple[Keys, Keys]:
        users, items = self.schema_.encoding.features
        return Keys(users, self.user_keys_), Keys(items, self.item_keys_)

    @property
    def users_(self) -> NDArray:
        """Users of training, in the order of `user_factors_`: numbers, or the text of other keys."""
        self._check_fitted()
        return self._keys[0].named()

    @property
    def items_(self) -> NDArray:
        """Items of training, in the order of `item_factors_`: numbers, or the text of other keys."""
        self._check_fitted()
        return self._keys[1].named()

    def _codes(self, block: Block) -> tuple[NDArray[np.int32], ...]:
        """Return the numbers of the users and of the items of a block."""
        return tuple(key.codes(np.ascontiguousarray(block.X[:, place])) for place, key in enumerate(self._keys))

    def _rank_block(self, block: Block) -> Floats:
        """Return the place of each item among all items in the order of the predictions for its user, from 1 on."""
        sides = Side(self.user_factors_, self.user_bias_), Side(self.item_factors_, self.item_bias_)
        return item_ranks(*sides, self.mean_, *self._codes(block))

    def _predict_block(self, block: Block) -> Floats:
        users, items = self._codes(block)
        predicted = np.full(block.n_rows, self.mean_)
        for codes, bias in ((users, self.user_bias_), (items, self.item_bias_)):
            known = codes >= 0
            predicted[known] += bias[codes[known]]
        both = np.flatnonzero((users >= 0) & (items >= 0))
        left = self.user_factors_[users[both]].astype(np.float64)
        predicted[both] += np.einsum("ij,ij->i", left, self.item_factors_[items[both]])
        return predicted

    def recommend(self, users: Any = None, n: int = 10, *, exclude: Any = None) -> tuple[NDArray, Floats]:
        """Return the items of the highest predictions for some users.

        Parameters
        ----------
        users : array of keys, optional
            Users; left out, all of `users_`. One that training never saw gets the items of the highest bias.
        n : int, default=10
            Items for each.
        exclude : array of shape (n_pairs, 2) or pair of arrays, optional
            Pairs of user and item that are not recommended: those that were seen.

        Returns
        -------
        items : ndarray of shape (n_users, n)
            Keys of items, the best first; fewer columns where there are fewer items.
        predictions : ndarray of shape (n_users, n)
            Predictions, NaN where fewer items are left: then the item in its place means nothing.
        """
        self._check_fitted()
        if n < 1:
            raise InvalidParameter(f"MatrixFactorization: n must be an integer >= 1; got {n!r}")
        of_users, of_items = self._keys
        codes = np.arange(of_users.size) if users is None else of_users.codes_of(users)
        sides = Side(self.user_factors_, self.user_bias_), Side(self.item_factors_, self.item_bias_)
        best, scores = best_items(*sides, self.mean_, codes, int(n), left_out(exclude, of_users, of_items))
        return of_items.named()[best], scores

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: X are pairs of keys, which its checks do not know how to make."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.sparse = False
        tags.input_tags.categorical = True
        return tags


def _has_columns(X: Any) -> bool:
    """Whether the ratings may be a column of X, rather than an array of their own."""
    if isinstance(X, (np.ndarray, list, tuple)):
        return False
    sparse = sys.modules.get("scipy.sparse")
    return sparse is None or not sparse.issparse(X)
