"""Dictionary learning: atoms of which every row is a sparse sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from dbml_kernels.pursuit_codes import pursuit_codes

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.dictionary_step import (
    DONE,
    LOSS,
    ROWS,
    STEPS,
    DictionaryStep,
    Learning,
    first_state,
)
from dbml.estimators.jobs import JOBS_RULE
from dbml.estimators.plain_rows import plain_tiles, rows_times
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.room import check_room
from dbml.estimators.row_counts import pass_rows
from dbml.estimators.solvers.descent import MINIBATCHES
from dbml.estimators.sparse_codes import improve_codes
from dbml.estimators.subsampled_dictionary import SubsampledStep, with_gradient, with_moments
from dbml.estimators.transformer import UnweightedTransformer
from dbml.params import Boolean, Either, Instance, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.step import Sequential, Shuffled, State

_EXACT = 1e-6


class MiniBatchDictionaryLearning(UnweightedTransformer):
    """Atoms of which every row is a sparse sum, learned from minibatches.

    Minimises ``|X - C D|^2 / 2 + alpha |C|_1`` over codes C and atoms D of length 1 or less.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of atoms; None: as many as terms.
    alpha : float, default=1.0
        Penalty of the codes.
    max_iter : int, default=1000
        Most passes over the rows.
    fit_algorithm : {"cd"}, default="cd"
        How codes are found in training: coordinate descent on the lasso. (``"lars"`` is refused: it solves the same
        problem.)
    batch_size : int, default=256
        Rows of a minibatch. Minibatches are cut inside blocks of at most 12,288 rows.
    shuffle : bool, default=True
        Whether passes read the rows in random order, where the data lie clustered.
    dict_init : ndarray of shape (n_components, n_terms) or None, default=None
        Atoms to start from, on the scale of the values; None: rows drawn at random.
    transform_algorithm : {"omp", "lasso_cd", "threshold"}, default="omp"
        How `transform` finds codes: orthogonal matching pursuit, the lasso, or projections less the penalty.
    transform_n_nonzero_coefs : int or None, default=None
        Most entries of a code by "omp"; None: a tenth of the terms.
    transform_alpha : float or None, default=None
        Penalty of "lasso_cd" and "threshold"; None: `alpha`.
    split_sign : bool, default=False
        Whether `transform` returns positive and negative parts of codes as columns of their own.
    random_state : int, RandomState or None, default=None
        Seed of the first atoms, the order of the rows and the features that are read; None means 0.
    positive_code, positive_dict : bool, default=False
        Whether codes, or atoms, must not be negative. Not for "omp".
    transform_max_iter : int, default=1000
        Most sweeps of coordinate descent over a code.
    tol : float, default=1e-3
        Ends when a minibatch moves the atoms by less than this, per atom; 0: never.
    max_no_improvement : int or None, default=10
        Ends after so many minibatches in a row that did not lower the smoothed loss; None: never.
    reduction : int, default=1
        1: every minibatch is read in all features. r > 1: coded by one in r, drawn at random, and learned from in up to
        three times as many others: minibatches that cost a part, for rows of very many features, which repeat
        themselves. Atoms have noise left in them, the more the larger r is.
    n_jobs : int, optional
        Most threads of the training; None or -1 for all. The model is the same for any.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_terms)
        Atoms, on the scale of the values.
    n_iter_ : int
        Passes.
    n_steps_ : int
        Minibatches.
    code_moments_ : ndarray of shape (n_components, n_components)
    data_moments_ : ndarray of shape (n_components, n_terms)
    moment_weights_ : ndarray of shape (n_terms + 1,)
        Means over codes, and codes and rows, and what they weigh: from here `partial_fit` goes on.

    Notes
    -----
    Memory: the atoms twice, and a minibatch of plain values. Rows are kept encoded (in memory or spilled) between
    passes. The codes of a minibatch are found by all threads. Values are not centred: subtract the mean of patches
    first. A missing value takes the mean of its column, and a term of its own marks it.

    References
    ----------
    Mairal, Bach, Ponce & Sapiro 2010, online learning for matrix factorization and sparse coding; Mensch, Mairal,
    Thirion & Varoquaux 2018, stochastic subsampling for factorizing huge matrices.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import MiniBatchDictionaryLearning
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3)) * (rng.random((500, 3)) < 0.3) @ rng.normal(size=(3, 8))
    >>> model = MiniBatchDictionaryLearning(3, alpha=0.1, transform_algorithm="lasso_cd").fit(X)
    >>> model.components_.shape, model.transform(X).shape
    ((3, 8), (500, 3))
    """

    model_types: ClassVar[tuple[str, ...]] = ("dictionary_learning",)
    rules: ClassVar[Mapping[str, Rule]] = {
        "n_components": Either((Options((None,)), Integer(ge=1))),
        "alpha": Real(ge=0),
        "max_iter": Integer(ge=1),
        "fit_algorithm": Options(("cd",)),
        "batch_size": Integer(ge=1),
        "shuffle": Boolean(),
        "dict_init": Either((Options((None,)), Instance((np.ndarray, list, tuple), "an array of atoms"))),
        "transform_algorithm": Options(("omp", "lasso_cd", "threshold")),
        "transform_n_nonzero_coefs": Either((Options((None,)), Integer(ge=1))),
        "transform_alpha": Either((Options((None,)), Real(ge=0))),
        "split_sign": Boolean(),
        "random_state": RANDOM_STATE_RULE,
        "positive_code": Boolean(),
        "positive_dict": Boolean(),
        "transform_max_iter": Integer(ge=1),
        "tol": Real(ge=0),
        "max_no_improvement": Either((Options((None,)), Integer(ge=1))),
        "reduction": Integer(ge=1),
        "n_jobs": JOBS_RULE,
    }
    sql_options: ClassVar[Mapping[str, Any]] = {
        "num_components": lambda value: {"n_components": value},
        "l1_reg": lambda value: {"alpha": value},
        "max_iterations": lambda value: {"max_iter": value},
    }

    components_: Floats
    n_iter_: int
    n_steps_: int
    code_moments_: Floats
    data_moments_: Floats
    moment_weights_: Floats

    def __init__(
        self,
        n_components: int | None = None,
        *,
        alpha: float = 1.0,
        max_iter: int = 1000,
        fit_algorithm: str = "cd",
        batch_size: int = 256,
        shuffle: bool = True,
        dict_init: Any = None,
        transform_algorithm: str = "omp",
        transform_n_nonzero_coefs: int | None = None,
        transform_alpha: float | None = None,
        split_sign: bool = False,
        random_state: Any = None,
        positive_code: bool = False,
        positive_dict: bool = False,
        transform_max_iter: int = 1000,
        tol: float = 1e-3,
        max_no_improvement: int | None = 10,
        reduction: int = 1,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.max_iter = max_iter
        self.fit_algorithm = fit_algorithm
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.dict_init = dict_init
        self.transform_algorithm = transform_algorithm
        self.transform_n_nonzero_coefs = transform_n_nonzero_coefs
        self.transform_alpha = transform_alpha
        self.split_sign = split_sign
        self.random_state = random_state
        self.positive_code = positive_code
        self.positive_dict = positive_dict
        self.transform_max_iter = transform_max_iter
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.reduction = reduction
        self.n_jobs = n_jobs

    def _check_params(self) -> None:
        if self.positive_code and self.transform_algorithm == "omp":
            raise InvalidParameter(
                "MiniBatchDictionaryLearning: positive_code must be False for transform_algorithm 'omp'; got True. "
                "Hint: transform_algorithm='lasso_cd'"
            )

    # training --------------------------------------------------------------------------------------------------

    def _fit(self, data: Data) -> None:
        choice = "online" if self.reduction == 1 else f"online, one feature in {self.reduction:,} a minibatch"
        data.decide_solver(choice, f"atoms are improved after every {self.batch_size:,} rows", MINIBATCHES)
        centre, seed = np.array(data.schema.encoding.centre()), seed_of(self.random_state)
        state = first_state(self._first_atoms(data, centre, seed))
        with data.materialise() as kept:
            n_rows, _ = pass_rows(kept)
            for number in range(1, self.max_iter + 1):
                order = Shuffled(seed, number - 1) if self.shuffle else Sequential()
                state = self._pass(kept, state, centre, n_rows, order)
                self._keep(**self._fitted(state), n_iter_=number)
                if state["progress"][DONE]:
                    break
            data.plan = kept.plan
        vars(self).update(self._fitted(state), n_iter_=number)

    def _pass(self, data: Data, state: State, centre: Floats, n_rows: int, order: Any, partial: bool = False) -> State:
        state["progress"][[LOSS, ROWS]] = 0.0
        how = Learning(
            self.alpha,
            self.batch_size,
            self.transform_max_iter,
            self.positive_code,
            self.positive_dict,
            self.reduction,
            0.0 if partial else self.tol,
            None if partial else self.max_no_improvement,
            seed_of(self.random_state) if not isinstance(self.random_state, np.random.RandomState) else 0,
        )
        if self.reduction == 1 or len(centre) < 2 * self.reduction:
            (state,) = data.fold(DictionaryStep(state, centre, how, n_rows), order=order, purpose="minibatches")
        else:
            step = SubsampledStep(with_gradient(state), centre, how, n_rows)
            (state,) = data.fold(step, order=order, purpose="minibatches")
            state = with_moments(state)
        progress = state["progress"]
        self._iteration(len(self.training_) + 1, loss=progress[LOSS] / max(1.0, progress[ROWS]))
        return state

    def _first_atoms(self, data: Data, centre: Floats, seed: int) -> Floats:
        """Return the atoms to start from: those given, or rows of length 1."""
        n_terms = data.schema.encoding.n_terms
        k = n_terms if self.n_components is None else int(self.n_components)
        check_room(type(self).__name__, f"{k:,} atoms", 8 * k * (7 * n_terms + 2 * k), "lower n_components")
        if self.dict_init is not None:
            atoms = np.array(self.dict_init, dtype=np.float64)
            if atoms.shape != (k, n_terms):
                raise InvalidParameter(
                    f"{type(self).__name__}: dict_init must have shape ({k}, {n_terms}), n_components by terms; got "
                    f"{atoms.shape}"
                )
            return atoms
        sample = data.sample(4 * k, seed)
        if not sample.n_rows:
            raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows to learn from")
        rows = np.concatenate([tile for _, tile in plain_tiles(sample, centre)])
        generator = np.random.default_rng([seed, 0])
        chosen = rows[np.resize(generator.permutation(len(rows)), k)]
        # Rows that are there twice, or all 0, are told apart by a little noise.
        chosen = chosen + generator.normal(0.0, 0.01 * (rows.std() or 1.0), size=chosen.shape)
        if self.positive_dict:
            chosen = np.maximum(chosen, 0.0)
        norms = np.sqrt((chosen * chosen).sum(axis=1))
        return chosen / np.where(norms > 0.0, norms, 1.0)[:, None]

    def _fitted(self, state: State) -> dict[str, Any]:
        return {
            "components_": state["atoms"],
            "code_moments_": state["code_moments"],
            "data_moments_": state["data_moments"],
            "moment_weights_": state["moment_weights"],
            "n_steps_": int(state["progress"][STEPS]),
        }

    def partial_fit(self, X: Any, y: Any = None, *, con: Any = None, options: dict[str, Any] | None = None) -> Self:
        """Go through the rows of X once, in their order, in minibatches.

        Parameters
        ----------
        X, con, options
            As in `fit`. The encoding is that of the first call.
        y : ignored
            There for scikit-learn's pipelines.
        """
        self._check_hyperparameters()
        return self._train_on(X, None, None, con, options, vars(self).get("schema_"), self._partial)

    def _partial(self, data: Data) -> None:
        centre = np.array(data.schema.encoding.centre())
        if "code_moments_" in vars(self):
            state = first_state(self.components_)
            state["code_moments"] = self.code_moments_.copy()
            state["data_moments"] = self.data_moments_.copy()
            state["moment_weights"] = self.moment_weights_.copy()
            state["progress"][STEPS] = self.n_steps_
        else:
            state = first_state(self._first_atoms(data, centre, seed_of(self.random_state)))
        state = self._pass(data, state, centre, max(1, data.n_rows), Sequential(), partial=True)
        vars(self).update(self._fitted(state), n_iter_=1)

    def _check_finite(self, data: Data) -> None:
        if not np.isfinite(self.components_).all():
            raise InvalidData(
                f"{type(self).__name__}: components_ must be finite, and are not: values of {data.plan.source} are too "
                "large. Scale the columns"
            )

    # transforming ----------------------------------------------------------------------------------------------

    def _transform_block(self, block: Block) -> Floats:
        atoms = self.components_
        k, n_terms = atoms.shape
        centre = np.array(self.schema_.encoding.centre())
        projection = rows_times(block, np.ascontiguousarray(atoms.T), centre)
        alpha = self.alpha if self.transform_alpha is None else self.transform_alpha
        codes = np.zeros((block.n_rows, k))
        if self.transform_algorithm == "lasso_cd":
            gram = atoms @ atoms.T
            improve_codes(gram, projection, alpha, self.positive_code, self.transform_max_iter, _EXACT, codes)
        elif self.transform_algorithm == "threshold":
            codes = np.sign(projection) * np.maximum(np.abs(projection) - alpha, 0.0)
            if self.positive_code:
                np.maximum(codes, 0.0, out=codes)
        else:
            most = self.transform_n_nonzero_coefs or max(n_terms // 10, 1)
            most = min(int(most), k)
            scratch = (np.empty(k), np.empty((most, most)), np.empty(most, np.intp), np.empty(most))
            pursuit_codes(atoms @ atoms.T, projection, most, codes, *scratch)
        if self.split_sign:
            return np.hstack([np.maximum(codes, 0.0), -np.minimum(codes, 0.0)])
        return codes

    def _names_out(self) -> list[str]:
        n = len(self.components_) * (2 if self.split_sign else 1)
        return [f"minibatchdictionarylearning{number}" for number in range(n)]

    def inverse_transform(self, X: Any) -> Floats:
        """Return the rows that codes stand for, ``X components_``, shape (n_rows, n_terms), on the scale of the values.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_outputs)
            Codes, as `transform` returns them.
        """
        self._check_fitted()
        codes = np.asarray(X, dtype=np.float64)
        if self.split_sign:
            half = codes.shape[1] // 2
            codes = codes[:, :half] - codes[:, half:]
        return codes @ self.components_
