"""Forms a model can take as an expression: what an estimator hands over so that SQL can score it.

Plain data. An estimator without a form is scored by the vectorised UDF and by streaming only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Link = Literal["identity", "log", "logistic", "softmax", "one_vs_rest", "margin", "values"]
QuadraticLink = Literal["softmax", "nearest"]
TermwiseLink = Literal["termwise"]
TreeLink = Literal["identity", "log", "logistic", "softmax", "probability"]


@dataclass(frozen=True, slots=True)
class LinearForm:
    """A linear predictor per output over the *centred* terms of an encoding, and a link.

    ``eta_k = intercept_k + sum_j coef_kj * (term_j - centre_j)``, with ``centre`` from `Encoding.centre`.

    Attributes
    ----------
    coef : tuple of tuples, shape (n_outputs, n_terms)
        One row for regression and binary classification, one per class otherwise.
    intercept : tuple of float, shape (n_outputs,)
        Intercepts of the centred predictor.
    link : {"identity", "log", "logistic", "softmax", "one_vs_rest", "margin", "values"}
        ``identity`` and ``log`` predict ``eta`` and ``exp(eta)``. ``logistic`` (one row, two classes) and ``softmax``
        give probabilities. ``margin`` and ``one_vs_rest`` pick the class by sign or largest ``eta``: no probabilities
        for ``margin``; ``one_vs_rest`` normalises logistic values. ``values``: the outputs themselves are what
        `transform` gives (a projection).
    """

    coef: tuple[tuple[float, ...], ...]
    intercept: tuple[float, ...]
    link: Link

    @property
    def n_outputs(self) -> int:
        """Number of predictors."""
        return len(self.intercept)


@dataclass(frozen=True, slots=True)
class QuadraticForm:
    """A linear predictor and weighted squared distances per output, and a link.

    ``eta_k = intercept_k + sum_j coef_kj * t_j + sum_d square_kd * (t_d - origin_kd)^2`` over the centred terms t of an
    encoding without lists and maps; d runs over its dense terms only, as the square of a 0/1 level is the level itself.

    Attributes
    ----------
    coef : tuple of tuples, shape (n_outputs, n_terms)
        Linear part.
    intercept : tuple of float, shape (n_outputs,)
        Constants.
    square, origin : tuple of tuples, shape (n_outputs, n_dense)
        Weight of each squared difference, and what it is measured from.
    link : {"softmax", "nearest"}
        ``softmax``: probabilities, the largest ``eta`` is predicted (naive Bayes, mixtures). ``nearest``: ``eta`` is a
        squared distance, the number of the smallest one is predicted (the first of equals), and `transform` gives
        ``sqrt(eta)``, 0 where rounding made it negative (k-means).
    missing : tuple of tuples, shape (n_outputs, n_dense), or ()
        What a dense term of a feature with a flag adds in place of all else where it is missing, a vector with all its
        elements; the flag itself has no weight then. Without it a missing value is 0, as in other forms.
    """

    coef: tuple[tuple[float, ...], ...]
    intercept: tuple[float, ...]
    square: tuple[tuple[float, ...], ...]
    origin: tuple[tuple[float, ...], ...]
    link: QuadraticLink
    missing: tuple[tuple[float, ...], ...] = ()

    @property
    def n_outputs(self) -> int:
        """Number of predictors."""
        return len(self.intercept)


@dataclass(frozen=True, slots=True)
class Scaled:
    """``(x - shift) / divisor + offset``, not below `low` nor above `high`; missing stays missing."""

    term: int
    shift: float
    divisor: float
    offset: float = 0.0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """``x``, and `value` where it is missing; where `value` is None, missing stays missing."""

    term: int
    value: float | None


@dataclass(frozen=True, slots=True)
class Marked:
    """1 where the term is one of `values`, or is missing where `missing` says so; else 0.

    With `others`, 1 where it is none of `values` and not missing.
    """

    term: int
    values: tuple[float, ...]
    missing: bool = False
    others: bool = False


@dataclass(frozen=True, slots=True)
class Binned:
    """The number of `edges` (ascending) that are at or below ``x``; missing stays missing.

    With `only`, 1 where that number is `only` and 0 elsewhere.
    """

    term: int
    edges: tuple[float, ...]
    only: int | None = None


TermFunction = Scaled | Filled | Marked | Binned


@dataclass(frozen=True, slots=True)
class TermwiseForm:
    """What `transform` gives: each output is a function of one dense term of an encoding of plain values.

    Attributes
    ----------
    functions : tuple of TermFunction
        One an output.
    known : tuple of (int, tuple of float, bool)
        Terms whose values must be some that training saw: term, values, whether it may be missing. Another value is
        an error.
    link : "termwise"
        What it is called in the registry.
    """

    functions: tuple[TermFunction, ...]
    known: tuple[tuple[int, tuple[float, ...], bool], ...] = ()
    link: TermwiseLink = "termwise"

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return len(self.functions)


@dataclass(frozen=True, slots=True)
class Split:
    """The question of a node about one term of an encoding of plain values.

    Attributes
    ----------
    term : int
        Number of a dense term.
    threshold : float or None
        A number goes left where it is at most this; None for a category.
    codes : frozenset of int or None
        Codes of the category that go left; None for a number.
    missing_left : bool
        Where a missing value goes.
    """

    term: int
    threshold: float | None
    codes: frozenset[int] | None
    missing_left: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """An inner node."""

    split: Split
    left: Node
    right: Node


Leaf = tuple[float, ...]
Node = Branch | Leaf


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree: value k of the leaf that a row ends in is added to output ``output + k``."""

    output: int
    root: Node


@dataclass(frozen=True, slots=True)
class TreeForm:
    """A sum over trees per output, and a link.

    Attributes
    ----------
    trees : tuple of Tree
        The trees.
    baseline : tuple of float, shape (n_outputs,)
        What each sum starts with.
    link : {"identity", "log", "logistic", "softmax", "probability"}
        As in `LinearForm`. ``probability``: the sums are probabilities, one a class, or that of the second of two.
    """

    trees: tuple[Tree, ...]
    baseline: tuple[float, ...]
    link: TreeLink

    @property
    def n_outputs(self) -> int:
        """Number of predictors."""
        return len(self.baseline)

    def inner_nodes(self) -> Iterator[tuple[Branch, int]]:
        """Yield the inner nodes of all trees with their depths, 1 for a root."""
        for tree in self.trees:
            waiting = [(tree.root, 1)]
            for node, depth in waiting:
                if isinstance(node, Branch):
                    yield node, depth
                    waiting += ((node.left, depth + 1), (node.right, depth + 1))


Form = LinearForm | QuadraticForm | TermwiseForm | TreeForm
