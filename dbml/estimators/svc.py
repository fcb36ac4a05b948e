"""SVC: support vector classifier with a kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from dbml_sql.forms import LinearForm
from numpy.typing import NDArray

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.class_weight import CLASS_WEIGHT_OPTIONS, CLASS_WEIGHT_RULE, class_weights
from dbml.estimators.classifier import SometimesProbabilistic
from dbml.estimators.kernel_machines.exact import Task, class_task, gathered, held_out_sigmoids, read_rows, solve_tasks
from dbml.estimators.kernel_machines.held_out import held_out_curves
from dbml.estimators.kernel_machines.kernel_model import KERNEL_RULES, KernelModel
from dbml.estimators.kernel_machines.one_vs_one import (
    one_vs_rest_decision,
    packed_coefficients,
    pairs_of,
    unpacked_coefficients,
    votes,
)
from dbml.estimators.kernel_machines.over_features import train_over_features
from dbml.estimators.kernel_machines.platt import couple, pair_probabilities
from dbml.estimators.kernel_machines.streamed import Machines, PairReading, train_over_terms
from dbml.estimators.linear_model import raw_intercept
from dbml.estimators.losses import hinge
from dbml.estimators.random_state import seed_of
from dbml.params import Boolean, Options, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data

# Of the rounded corner, in margins: over features one, few passes; over terms ever smaller ones, as in LinearSVC.
_WIDTHS, _LINEAR_WIDTHS = (4.0, 1.5, 0.5), (1.5, 0.5, 0.15, 0.05, 0.015)


class SVC(KernelModel, SometimesProbabilistic):
    """Support vector classifier with a kernel, one machine for each pair of classes.

    Minimises ``C * sum hinge(margin) + |w|^2 / 2`` in the space of the kernel, as scikit-learn does with LIBSVM.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty. Weights of rows multiply it.
    kernel : {"rbf", "linear", "poly", "sigmoid"}, default="rbf"
        ``exp(-gamma |x - v|^2)``, ``x . v``, ``(gamma x . v + coef0)^degree``, ``tanh(gamma x . v + coef0)``. The last
        two see the columns as they are, and depend on their origin.
    degree : int, default=3
        Of "poly".
    gamma : {"scale", "auto"} or float, default="scale"
        "scale" is ``1 / (n_terms * variance of all entries)``, "auto" is ``1 / n_terms``.
    coef0 : float, default=0.0
        Of "poly" and "sigmoid".
    shrinking : bool, default=True
        Whether rows that can no longer matter are left out on the way.
    probability : bool, default=False
        Whether there is `predict_proba`; fits five times more machines, on four fifths of the rows each. Its largest
        probability may be that of another class than `predict` gives: it is learned from machines of its own.
    tol : float, default=1e-3
        Stops where no pair of rows violates the optimum by more, in margins.
    cache_size : float, default=200
        Megabytes of kernel rows that are kept; at most an eighth of ``memory_limit``.
    class_weight : dict or "balanced", optional
        Factor on C for each class.
    max_iter : int, default=-1
        Most steps of the exact solver for a pair of classes, -1 for no limit.
    decision_function_shape : {"ovr", "ovo"}, default="ovr"
        For more than two classes: one decision per class (votes of the pairs with confidences added), or one per pair.
    break_ties : bool, default=False
        Whether classes with equally many votes are told apart by their confidences; else the first wins.
    solver : {"auto", "exact", "nystroem"}, default="auto"
        "exact" solves the dual over all rows in memory. "nystroem" passes over rows that stay where they are: values of
        the kernel at `n_components` landmarks are the terms of a linear machine (with a linear kernel there is nothing
        to approximate). "auto": exact up to 50,000 rows that fit in memory.
    n_components : int, optional
        Landmarks; more come nearer to the exact machine. Passes take time in proportion to their number, the solver
        before them to its cube. None chooses by rows, pairs of classes and memory; the plan says how many, and why.
    random_state : int, RandomState or None, default=None
        Seed of landmarks and folds; None means 0, so that a fit can be repeated.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order.
    solver_ : str
        "exact", "nystroem", or "primal" for a linear kernel over passes.
    gamma_ : float
        The value of gamma.
    support_, support_vectors_, n_support_ : ndarray of shape (n_vectors,), (n_vectors, n_terms), (n_classes,)
        Of the exact solver: positions of the support vectors in the source, the vectors, sorted by class, and how many
        each class has.
    dual_coef_ : ndarray of shape (n_classes - 1, n_vectors)
        Weights of the support vectors, in LIBSVM's order.
    landmarks_, landmark_coef_ : ndarray of shape (m, n_terms), (n_machines, m)
        Of "nystroem": the landmarks, and their weights.
    intercept_ : ndarray of shape (n_machines,)
        One per pair of classes.
    coef_, centred_intercept_ : ndarray of shape (n_machines, n_terms), (n_machines,)
        Of a linear kernel: coefficients of the terms, and intercepts over centred terms.
    n_iter_ : ndarray of shape (n_machines,)
        Steps of the solver.
    fit_status_ : int
        0, or 1 where the solver stopped early.
    probA_, probB_ : ndarray of shape (n_machines,)
        With ``probability=True``: the probability of the first class of a pair is ``1 / (1 + exp(A decision + B))``.

    Notes
    -----
    Exact: one pass; rows in memory with 12 bytes a term, and the cache. Time grows with the square of the rows. Working
    sets of 512 rows are solved by steps of second order, kernel rows are computed on all cores in single precision.
    Beyond: a pass draws the landmarks, a sample is solved in memory, and some five passes go on from there, in single
    precision; memory does not grow with the rows. The hinge has its corner rounded over half a margin. Prediction costs
    one value of the kernel for each row and vector. A missing value takes the mean of its column, and a flag term marks
    it. "scale" weighs rows with their weights. Columns are not scaled; the plan tells where they are so uneven that the
    kernel sees only some.

    References
    ----------
    Chang & Lin 2011, LIBSVM. Fan, Chen & Lin 2005, working set selection using second order information. Williams &
    Seeger 2001, using the Nystroem method to speed up kernel machines. Rudi, Camoriano & Rosasco 2015, less is more:
    Nystroem computational regularization.

    Examples
    --------
    >>> from dbml import SVC
    >>> X = [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
    >>> SVC(C=10.0, gamma=1.0).fit(X, ["same", "same", "other", "other"]).predict([[0.1, 0.9], [0.9, 0.9]])
    array(['other', 'same'], dtype='<U5')
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        **KERNEL_RULES,
        "probability": Boolean(),
        "class_weight": CLASS_WEIGHT_RULE,
        "decision_function_shape": Options(("ovr", "ovo")),
        "break_ties": Boolean(),
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        "max_iterations": lambda value: {"max_iter": value},
        **CLASS_WEIGHT_OPTIONS,
    }

    support_: NDArray[np.int32]
    n_support_: NDArray[np.int32]
    dual_coef_: Floats
    n_iter_: NDArray[np.int64]
    probA_: Floats  # noqa: N815, scikit-learn's name
    probB_: Floats  # noqa: N815

    def __init__(
        self,
        *,
        C: float = 1.0,
        kernel: str = "rbf",
        degree: int = 3,
        gamma: str | float = "scale",
        coef0: float = 0.0,
        shrinking: bool = True,
        probability: bool = False,
        tol: float = 1e-3,
        cache_size: float = 200,
        class_weight: dict[Any, float] | str | None = None,
        max_iter: int = -1,
        decision_function_shape: str = "ovr",
        break_ties: bool = False,
        solver: str = "auto",
        n_components: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.C = C
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.shrinking = shrinking
        self.probability = probability
        self.tol = tol
        self.cache_size = cache_size
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.decision_function_shape = decision_function_shape
        self.break_ties = break_ties
        self.solver = solver
        self.n_components = n_components
        self.random_state = random_state

    def _check_params(self) -> None:
        if self.break_ties and self.decision_function_shape == "ovo":
            raise InvalidParameter(
                f"{type(self).__name__}: break_ties must be False when decision_function_shape is 'ovo'; got True"
            )

    # training --------------------------------------------------------------------------------------------------

    def _fit(self, data: Data) -> None:
        self._forget()
        self.solver_ = self._choose(data, len(pairs_of(len(data.schema.classes))))
        if self.solver_ == "exact":
            self._fit_exact(data)
        else:
            self._fit_streamed(data)
        self._tell_solver(data)

    def _sign(self, n_classes: int) -> float:
        """Return the sign of stored machines: of two classes the second is positive, as in scikit-learn."""
        return -1.0 if n_classes == 2 else 1.0

    def _fit_exact(self, data: Data) -> None:
        name, classes = type(self).__name__, data.schema.classes
        rows = read_rows(data, name)
        weights = class_weights(name, self.class_weight, data, bool((rows.weight != 1.0).any()))
        labels, k = rows.y.astype(np.intp), len(classes)
        counts = np.bincount(labels, minlength=k)
        if not counts.all():
            missing = classes[int(np.argmin(counts))]
            raise InvalidData(f"{name}: every class must have rows of positive weight; {missing!r} has none")
        kernel = self._make_kernel(data, rows.spread)
        centre = np.array(data.schema.encoding.centre())
        seen = rows.X + kernel.origin(centre) if kernel.moves else rows.X
        bound = self.C * rows.weight * (1.0 if weights is None else weights[labels])
        tasks = []
        for i, j in pairs_of(k):
            members = np.flatnonzero((labels == i) | (labels == j))
            tasks.append(class_task(members, labels[members] == i, bound[members]))
        solved = solve_tasks(seen, kernel, tasks, self._limits(), name, self._report_gap)
        used, by_pair = gathered(tasks, solved)
        packed, order = packed_coefficients(by_pair, labels[used], k)
        used, by_pair, sign = used[order], by_pair[:, order], self._sign(k)
        self.support_ = rows.position[used].astype(np.int32)
        self.n_support_ = np.bincount(labels[used], minlength=k).astype(np.int32)
        self.support_vectors_, self.dual_coef_ = rows.X[used] + centre, sign * packed
        self.n_iter_ = np.array([max(1, one.steps) for one in solved])
        self.fit_status_ = int(not all(one.converged for one in solved))
        intercepts = sign * np.array([one.intercept for one in solved])
        if self.kernel == "linear":
            self._set_linear(data, sign * (by_pair @ rows.X[used]), intercepts)
        else:
            self.intercept_ = intercepts
        if self.probability:
            self._set_curves(self._exact_curves(seen, kernel, tasks, rows.weight))

    def _exact_curves(self, seen: Floats, kernel: Any, tasks: list[Task], weight: Floats) -> list[tuple[float, float]]:
        seed, name = seed_of(self.random_state), type(self).__name__
        return held_out_sigmoids(seen, kernel, tasks, weight, self._limits(), seed, name)

    def _fit_streamed(self, data: Data) -> None:
        k, sign = len(data.schema.classes), self._sign(len(data.schema.classes))
        features = None if self.solver_ == "primal" else self._landmark_features(data)
        weighted = self.class_weight == "balanced" and data.sample(1, 0).weight is not None
        weights = class_weights(type(self).__name__, self.class_weight, data, weighted)
        readings = [PairReading(i, weights, j) for i, j in pairs_of(k)]
        widths = _LINEAR_WIDTHS if features is None else _WIDTHS
        machines = Machines([hinge(width) for width in widths], readings, self.C, 0.0, 2.0 / k)
        if features is None:
            solved = train_over_terms(self, data, machines)
        else:
            solved = train_over_features(self, data, features, machines)
        self.n_iter_, self.fit_status_ = np.array(solved.steps), int(not solved.converged)
        if features is None:
            self._set_linear(data, sign * solved.coef, sign * solved.intercept)
        else:
            self._set_landmarks(data, features, sign * solved.coef, sign * solved.intercept)
        if self.probability:
            self._set_curves(held_out_curves(self, data, features, machines, solved, seed_of(self.random_state)))

    def _set_linear(self, data: Data, coef: Floats, centred: Floats) -> None:
        self.coef_, self.centred_intercept_ = coef, centred
        self.intercept_ = np.asarray(raw_intercept(data.schema, coef, centred))

    def _set_curves(self, curves: list[tuple[float, float]]) -> None:
        self.probA_, self.probB_ = (np.array(values) for values in zip(*curves, strict=True))

    # prediction ------------------------------------------------------------------------------------------------

    def _weights(self) -> Floats:
        return unpacked_coefficients(self.dual_coef_, self.n_support_.astype(np.int64))

    def _decision_block(self, block: Block) -> Floats:
        outputs, k = self._outputs_block(block), len(self.classes_)
        if k == 2:
            return outputs[:, 0]
        return outputs if self.decision_function_shape == "ovo" else one_vs_rest_decision(outputs, k)

    def _class_block(self, block: Block) -> NDArray[np.intp]:
        k = len(self.classes_)
        if k == 2 or self.break_ties:
            return super()._class_block(block)
        return votes(self._outputs_block(block), k).argmax(axis=1)

    def _proba_block(self, block: Block) -> Floats:
        k = len(self.classes_)
        decision = self._sign(k) * self._outputs_block(block)
        return couple(pair_probabilities(decision, self.probA_, self.probB_), pairs_of(k), k)

    def _proba_needs(self) -> str:
        return "" if self.probability else "probability=True; got probability=False"

    def form(self) -> LinearForm | None:
        """Return the linear machine of two classes as a form for SQL; None for others, and with probabilities."""
        self._check_fitted()
        if self.kernel != "linear" or self.probability or len(self.classes_) > 2:
            return None
        return LinearForm((tuple(self.coef_[0].tolist()),), tuple(self.centred_intercept_.tolist()), "margin")
