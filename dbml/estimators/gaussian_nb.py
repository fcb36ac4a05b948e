"""Gaussian naive Bayes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from dbml_kernels.class_moments import class_moments_add, scaled_squares_add
from dbml_kernels.class_sums import class_sums_add_sparse
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import QuadraticForm

from dbml.errors import InvalidData
from dbml.estimators.design import flat
from dbml.estimators.naive_bayes import PRIORS_RULE, NaiveBayes, logs
from dbml.params import Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.schema import Schema
from dbml.passes.step import State


class ClassMomentsStep:
    """Weight, means and squared deviations of the terms by class.

    State: ``weight`` (n_classes,); of dense terms ``mean`` and ``m2`` (n_classes, n_dense), the deviations about that
    mean; of sparse ones ``sums`` and ``squares`` (n_classes, n_terms - n_dense). One addition and two multiplications
    a value and pass over a slice in cache, two passes.

    Parameters
    ----------
    n_classes, n_dense, n_terms : int
        Shape of the design and the target.
    """

    # Means move with every slice.
    tolerance = 1e-9
    chained = False

    def __init__(self, n_classes: int, n_dense: int, n_terms: int) -> None:
        self.n_classes, self.n_dense, self.n_terms = n_classes, n_dense, n_terms

    def start(self) -> State:
        """Return the state of no rows."""
        dense, sparse = (self.n_classes, self.n_dense), (self.n_classes, self.n_terms - self.n_dense)
        state = {"weight": np.zeros(self.n_classes), "mean": np.zeros(dense), "m2": np.zeros(dense)}
        return {**state, "sums": np.zeros(sparse), "squares": np.zeros(sparse)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        assert block.y is not None
        n, d = block.X.shape
        weighted = block.weight is not None
        weight = block.weight if block.weight is not None else block.y
        class_moments_add(flat(block.X), n, d, block.y, weight, weighted, state["weight"], state["mean"], state["m2"])
        if block.sparse is not None:
            indptr, indices, values = block.sparse
            rest, first = (block.y, weight, weighted, np.zeros(0)), np.int64(d)
            lowest = np.zeros(self.n_terms - d)
            class_sums_add_sparse(indptr, indices, values, *rest, first, state["sums"], lowest)
            class_sums_add_sparse(indptr, indices, values * values, *rest, first, state["squares"], lowest)

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        merged = merged_moments(
            (into["weight"], into["mean"], into["m2"]), (other["weight"], other["mean"], other["m2"])
        )
        into["weight"], into["mean"], into["m2"] = merged
        into["sums"] += other["sums"]
        into["squares"] += other["squares"]
        return into


_Moments = tuple[Floats, Floats, Floats]


_NONE = 1e-12  # a share of rows that is rounding


def flagged(encoding: Encoding) -> list[tuple[Feature, slice, int]]:
    """Return each feature with a flag, the dense terms of its values, and the term of the flag."""
    found = []
    for feature, (first, _) in zip(encoding.features, encoding.offsets(), strict=True):
        if feature.flag:
            end = first + len(feature.dense_terms) - 1
            found.append((feature, slice(first, end), end))
    return found


def moments_of_present(encoding: Encoding, moments: _Moments) -> _Moments:
    """Return weight (k, p), mean and m2 (k, p) of the rows in which a number is not missing.

    A missing number is 0 in a block, and the mean of its flag says in which share of the rows of a class: what these
    rows brought is taken out. Vectors keep it, since only some of their elements may be missing. A class in which a
    column is missing in all rows has the mean of all classes, with weight 0.
    """
    weight, mean, m2 = moments
    present, mean, m2 = np.repeat(weight[:, None], mean.shape[1], axis=1), mean.copy(), m2.copy()
    for feature, values, flag in flagged(encoding):
        if feature.kind == "vector":
            continue
        d, missing = values.start, mean[:, flag]
        share = np.where(missing < 1.0 - _NONE, 1.0 - missing, 0.0)
        some = share > 0.0
        ratio = np.divide(missing, share, out=np.zeros_like(share), where=some)
        m2[:, d] = np.where(some, np.maximum(m2[:, d] - weight * mean[:, d] ** 2 * ratio, 0.0), 0.0)
        mean[:, d] = np.divide(mean[:, d], share, out=np.zeros_like(share), where=some)
        present[:, d] = weight * share
        mean[:, d] = np.where(some, mean[:, d], _common(present[:, d], mean[:, d]))
    return present, mean, m2


def _common(present: Floats, mean: Floats) -> Floats:
    """Return the mean of all rows from those of the classes."""
    return (present * mean).sum(axis=0) / np.maximum(present.sum(axis=0), np.finfo(float).tiny)


def merged_moments(one: _Moments, other: _Moments) -> _Moments:
    """Return weight (k,), mean and m2 (k, p) of the rows of both."""
    (w, mean, m2), (v, other_mean, other_m2) = one, other
    total = w + v
    share = np.divide(v, total, out=np.zeros_like(total), where=total > 0.0)[:, None]
    delta = np.where(v[:, None] > 0.0, other_mean - mean, 0.0)
    return total, mean + delta * share, m2 + other_m2 + delta * delta * (w[:, None] * share)


class _Parts(NamedTuple):
    """What the log density of a row is made of, by class.

    ``scale (t - theta)^2`` of a sparse term is ``scale theta^2`` where it is 0, which is in the constant, and
    ``scale t^2 - 2 scale theta t`` more elsewhere. A missing value adds nothing: its `density` takes back what the
    constant holds of it. Flags have no weight.

    Attributes
    ----------
    constant : ndarray of shape (k,)
        Log prior and log densities.
    theta, density : ndarray of shape (k, n_dense)
        Means of centred terms, and ``log(2 pi var) / 2``.
    scale : ndarray of shape (k, n_terms)
        Weights of squared differences.
    linear : ndarray of shape (k, n_terms - n_dense)
        Linear weights of sparse terms.
    """

    constant: Floats
    theta: Floats
    scale: Floats
    linear: Floats
    density: Floats


class GaussianNB(NaiveBayes):
    """Naive Bayes with a normal distribution of each term in each class.

    Parameters
    ----------
    priors : array of shape (n_classes,), optional
        Probabilities of the classes; left out, their shares of the rows.
    var_smoothing : float, default=1e-9
        Share of the largest variance of a term that is added to all variances.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order.
    class_count_, class_prior_ : ndarray of shape (n_classes,)
        Weight of the rows of each class, and the probability of the class.
    theta_, var_ : ndarray of shape (n_classes, n_terms)
        Mean and variance of each term (`terms_`) in each class.
    epsilon_ : float
        What was added to the variances.
    centred_theta_, deviations_ : ndarray of shape (n_classes, n_terms)
        Means of the centred terms (`Encoding.centre`), and sums of squared deviations from them: what `partial_fit` and
        `forget` go on from.

    Notes
    -----
    One pass, which keeps pace with the reading of the table; memory for 4 numbers a class and term. Means and
    deviations are merged, not sums of squares, so that large offsets cancel. A level of a category is a 0/1 term. Where
    training saw a number missing, means and variances are those of the other rows, and a missing value adds nothing to
    the density: the term that flags it has no part in predictions. A vector with a missing element adds nothing either;
    in its means and variances, missing elements count as the mean. Where training saw none missing, a missing value
    takes the mean of its column. A row of weight w counts as w rows, also in the largest variance, which is that of all
    rows learned.

    References
    ----------
    Chan, Golub & LeVeque 1983, algorithms for computing the sample variance.

    Examples
    --------
    >>> from dbml import GaussianNB
    >>> X = [[-2.0], [-1.0], [1.0], [2.0]]
    >>> GaussianNB().fit(X, ["low", "low", "high", "high"]).predict([[-0.8], [0.9]])
    array(['low', 'high'], dtype='<U4')
    """

    rules: ClassVar[Mapping[str, Rule]] = {"priors": PRIORS_RULE, "var_smoothing": Real(ge=0)}
    model_types: ClassVar[tuple[str, ...]] = ("naive_bayes",)
    _priors_name = "priors"

    class_prior_: Floats
    theta_: Floats
    var_: Floats
    epsilon_: float
    centred_theta_: Floats
    deviations_: Floats

    def __init__(self, *, priors: Any = None, var_smoothing: float = 1e-9) -> None:
        self.priors = priors
        self.var_smoothing = var_smoothing

    # learning ---------------------------------------------------------------------------------------------------------

    def _step(self, data: Data) -> ClassMomentsStep:
        encoding = data.schema.encoding
        return ClassMomentsStep(len(data.schema.classes), encoding.n_dense, encoding.n_terms)

    def _checked(self, state: State, schema: Schema) -> State:
        weight = state["weight"][:, None]
        mean = np.divide(state["sums"], weight, out=np.zeros_like(state["sums"]), where=weight > 0.0)
        m2 = np.maximum(state["squares"] - mean * state["sums"], 0.0)
        return {
            "weight": state["weight"],
            "mean": np.hstack([state["mean"], mean]),
            "m2": np.hstack([state["m2"], m2]),
        }

    def _restored(self) -> State:
        return {"weight": self.class_count_, "mean": self.centred_theta_, "m2": self.deviations_}

    def _added(self, state: State, more: State) -> State:
        merged = merged_moments(*((s["weight"], s["mean"], s["m2"]) for s in (state, more)))
        return dict(zip(("weight", "mean", "m2"), merged, strict=True))

    def _removed(self, state: State, fewer: State, schema: Schema) -> State:
        left = self._check_removal(state["weight"] - fewer["weight"], state["weight"], schema.classes, "class")
        self._check_left(left)
        w, v = left[:, None], fewer["weight"][:, None]
        some, all_of = w > 0.0, state["weight"][:, None]
        share = np.divide(v, w, out=np.zeros_like(w), where=some)
        delta = np.where(some & (v > 0.0), fewer["mean"] - state["mean"], 0.0)
        mean = np.where(some, state["mean"] - delta * share, 0.0)
        m2 = np.where(some, state["m2"] - fewer["m2"] - delta * delta * all_of * share, 0.0)
        terms = schema.encoding.terms
        # What is subtracted may be large where classes are far from the mean of their rows.
        scale = state["m2"] + all_of * delta * delta
        return {"weight": left, "mean": mean, "m2": self._check_removal(m2, scale, terms, "the deviations of term")}

    def _learn(self, state: State, schema: Schema) -> None:
        weight, mean, m2 = state["weight"], state["mean"], state["m2"]
        total = weight.sum()
        if self.priors is not None:
            prior = self._check_priors(self.priors, len(weight))
        elif total > 0.0:
            prior = weight / total
        else:
            raise InvalidData(f"{type(self).__name__}: the weights of all rows are 0")
        encoding = schema.encoding
        present, own_mean, own_m2 = moments_of_present(encoding, (weight, mean, m2))
        between = own_mean - _common(present, own_mean)
        counted = np.maximum(present.sum(axis=0), np.finfo(float).tiny)
        variance = (own_m2.sum(axis=0) + (present * between * between).sum(axis=0)) / counted
        counts = np.ones(encoding.n_terms, dtype=bool)
        counts[[flag for *_, flag in flagged(encoding)]] = False
        largest = float(variance[counts].max())
        # Of rows that are all the same, any variance says the same of every class.
        epsilon = self.var_smoothing * (largest if largest > 0.0 else 1.0)
        own = np.divide(own_m2, present, out=np.zeros_like(m2), where=present > 0.0)
        # A class that has a column missing in all rows knows of it what all rows together do.
        own = np.where((present == 0.0) & (weight[:, None] > 0.0), variance, own)
        var = own + epsilon
        if not var[:, counts].all():
            at, term = np.argwhere((var == 0.0) & counts)[0]
            raise InvalidData(
                f"{type(self).__name__}: var_smoothing must be > 0 where a term has one value in a class; "
                f"{schema.encoding.terms[term]!r} has in {schema.classes[at]!r}; got {self.var_smoothing!r}"
            )
        self.class_count_, self.class_prior_ = weight, prior
        self.centred_theta_, self.deviations_ = mean, m2
        self.theta_, self.var_ = own_mean + np.array(encoding.centre()), var
        self.epsilon_ = float(epsilon)

    # prediction -------------------------------------------------------------------------------------------------------

    def _parts(self) -> _Parts:
        encoding = self.schema_.encoding
        n_dense = encoding.n_dense
        _, theta, _ = moments_of_present(encoding, (self.class_count_, self.centred_theta_, self.deviations_))
        flags = [flag for *_, flag in flagged(encoding)]
        with np.errstate(divide="ignore"):  # variances of flags, which have no weight
            scale, density = -0.5 / self.var_, 0.5 * np.log(2.0 * np.pi * self.var_)
        scale[:, flags] = density[:, flags] = 0.0
        sparse = theta[:, n_dense:]
        constant = logs(self.class_prior_) - density.sum(axis=1) + (scale[:, n_dense:] * sparse * sparse).sum(axis=1)
        return _Parts(constant, theta[:, :n_dense], scale, -2.0 * scale[:, n_dense:] * sparse, density[:, :n_dense])

    def _joint_block(self, block: Block) -> Floats:
        n, d = block.X.shape
        parts, missing = self._parts(), []
        for _, values, flag in flagged(self.schema_.encoding):
            rows = np.flatnonzero(block.X[:, flag])
            if len(rows):
                missing.append((values, rows))
        X = np.array(block.X, order="F") if missing else block.X
        joint = np.empty((n, len(parts.constant)))
        entries = (
            np.repeat(np.arange(n), np.diff(block.sparse.indptr)) if block.sparse is not None else np.empty(0, int)
        )
        for c in range(len(parts.constant)):
            eta = np.full(n, parts.constant[c])
            for values, rows in missing:  # where the density is the largest: what it adds there is taken back
                X[rows, values] = parts.theta[c, values]
                eta[rows] += parts.density[c, values].sum()
            if d:
                scaled_squares_add(flat(X), n, d, parts.theta[c], parts.scale[c, :d], eta)
            if block.sparse is not None:
                _, indices, values_of = block.sparse
                added = values_of * (parts.linear[c, indices - d] + values_of * parts.scale[c, indices])
                eta = eta + np.bincount(entries, added, n)
            joint[:, c] = eta
        return joint

    def form(self) -> QuadraticForm | None:
        """Return the model as a form that SQL can score, None where sparse terms are other numbers than 0 and 1."""
        self._check_fitted()
        encoding = self.schema_.encoding
        if any(feature.kind not in ("number", "vector", "category") for feature in encoding.features):
            return None
        d, parts = encoding.n_dense, self._parts()
        coef = np.hstack([np.zeros((len(parts.constant), d)), parts.linear + parts.scale[:, d:]])
        dense = (coef, parts.scale[:, :d], parts.theta, parts.density)
        rows = [tuple(map(tuple, a.tolist())) for a in dense]
        return QuadraticForm(rows[0], tuple(parts.constant.tolist()), rows[1], rows[2], "softmax", rows[3])
