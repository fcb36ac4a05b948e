"""Lloyd's iteration: on rows in memory, and on all rows by few passes that a sample corrects.

One look at all rows gives the exact sums S(C) and weights N(C) of the rows nearest to centres C. What they become when
centres move is estimated by the sample s, and only the change:

    S(C') ~ S(C) + r (S_s(C') - S_s(C)),    N(C') alike,    r the weight of all rows over that of the sample

(a control variate, as in Johnson & Zhang 2013). So Lloyd's iteration goes on over the sample as if all rows were
there, and the next look at all rows finds centres that hardly move. Where it finds a larger sum of squares than before,
the way went too far: a shorter one is taken from the same place, in the end the plain step, which makes no sum larger.

The sum of squares is sum_k (Q_k - 2 S_k C_k + N_k |C_k|^2); so the sample tells also how much smaller it will be

    F(C) - F(C')    ~ r (F_s(C) - F_s(C')) + sum_k 2 R_k (C'_k - C_k) - M_k (|C'_k|^2 - |C_k|^2),
                      R = S(C) - r S_s(C),  M = N(C) - r N_s(C),

and no pass is made for less than the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dbml.estimators.clusters.centres import Centres, CentreStep, WeightedDrawStep
from dbml.estimators.clusters.rows import Rows
from dbml.estimators.clusters.start import Fold
from dbml.estimators.clusters.tracking import Tracked
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.step import State, Step

_NOISE = 0.1  # of the sampling error of the centres: iterations on a sample that move them less are of no use
_INNER, _FEWEST, _CUT = 96, 4, 8  # most and fewest iterations between two looks at all rows; what is too many by
_INNER_SHARE = 0.1  # of the tolerance
_PLAIN, _LENGTHS = 3, (1.06, 1.82, 6.2)  # steps of length 1, then of these: Chebyshev's for what moves slowly
_SLACK = 1e-12  # relative rounding of the sum of squares

Report = Callable[[int, Centres, State, float], None]


@dataclass
class CentresSeen:
    """Centres, what one look at the rows from there gave, the iterations that led there, and the last shift."""

    centres: Centres
    state: State
    n_iter: int
    shift: float = np.inf

    @property
    def inertia(self) -> float:
        """Sum of the squared distances to the nearest centre."""
        return float(self.state["totals"][1].sum())

    def step(self, fold: Fold, seed: int) -> Centres:
        """Return the centres of a step of Lloyd's algorithm; see `moved`."""
        return moved(self.centres, self.state["sums"], self.state["totals"][0], fold, seed)


@dataclass(frozen=True)
class Ends:
    """When passes over all rows end: centres move by less than `shift`, or the sum of squares falls by less.

    Attributes
    ----------
    shift : float
        Sum of the squares of how far a plain step moves the centres.
    fall : float
        What the last pass lowered the sum of squares by, or the next one is expected to, relative to it.
    """

    shift: float
    fall: float


def shift_between(old: Centres, new: Centres) -> float:
    """Return the sum of the squares of how far centres moved."""
    return float(((new.points - old.points) ** 2).sum())


def moved(centres: Centres, sums: Floats, weight: Floats, fold: Fold, seed: int) -> Centres:
    """Return the means of the rows of each centre; one without rows starts anew from a row far from all of them.

    Such rows are drawn in proportion to the squared distance, as in k-means++. Where all rows lie on centres, a centre
    without rows stays where it is.
    """
    new = centres.at(centres.means(sums, weight))
    empty = np.flatnonzero(weight <= 0.0)
    if len(empty):
        far = WeightedDrawStep.drawn(fold(WeightedDrawStep(centres, len(empty), seed), "rows far from all centres"))
        new.points[empty[: len(far)]] = far
    return new


def descend(rows: Rows, centres: Centres, tol: float, max_iter: int, seed: int, exact: bool) -> CentresSeen:
    """Iterate on rows in memory until centres move less than `tol`, or where not `exact` than sampling is worth."""
    shift, n_iter = np.inf, 0
    tracked = Tracked(rows, centres)

    def fold(step: Step, purpose: str) -> State:
        return rows.fold(step)[0]

    if not exact:
        tol = max(tol, _NOISE * _sampling_error(fold(CentreStep(centres), ""), rows.n_rows))
    while shift > tol and n_iter < max_iter:
        tracked.look(centres)
        new = moved(centres, tracked.sums, tracked.weight, fold, seed + n_iter)
        shift = shift_between(centres, new)
        centres = new
        n_iter += 1
    return CentresSeen(centres, fold(CentreStep(centres), ""), n_iter, shift)


def _sampling_error(state: State, n_rows: int) -> float:
    """Return about the sum of the variances of the means of a sample: squared distances by the rows of each centre."""
    weight, squares = state["totals"][0], state["totals"][1]
    used = weight > 0.0
    rows = weight[used] / weight.sum() * n_rows
    return float((squares[used] / weight[used] / rows).sum())


@dataclass
class _Candidate:
    """Centres on their way over all rows."""

    centres: Centres
    tracked: Tracked
    best: CentresSeen | None = None
    inner: int = _INNER
    expected: float = 0.0
    done: bool = False


def refine(
    data: Data, rows: Rows, starts: Sequence[Centres], ends: Ends, max_iter: int, seed: int, report: Report
) -> CentresSeen:
    """Iterate over all rows until it `ends`; several starts share the passes.

    Returns the descent of the smallest sum of squares.
    """
    candidates = [_Candidate(start, Tracked(rows, start.plain())) for start in starts]

    def fold(step: Step, purpose: str) -> State:
        return data.fold(step, purpose=purpose)[0]

    for number in range(1, max_iter + 1):
        active = [candidate for candidate in candidates if not candidate.done]
        if not active:
            break
        states = data.fold(*(CentreStep(candidate.centres) for candidate in active), purpose=f"centres {number}")
        for candidate, state in zip(active, states, strict=True):
            shift = _advance(candidate, CentresSeen(candidate.centres, state, number), ends, fold, seed + number)
        best = min((c.best for c in candidates if c.best is not None), key=lambda d: d.inertia)
        report(number, best.centres, best.state, shift)
    return min((c.best for c in candidates if c.best is not None), key=lambda d: d.inertia)


def _advance(candidate: _Candidate, found: CentresSeen, ends: Ends, fold: Fold, seed: int) -> float:
    """Take in one look at all rows, and choose the centres of the next; return how far the plain step moves them."""
    best = candidate.best
    too_far = best is not None and found.inertia > best.inertia * (1.0 + _SLACK)
    fell = np.inf if best is None or too_far else best.inertia - found.inertia
    if best is not None and too_far:
        found = best
    new = found.step(fold, seed)
    shift = shift_between(found.centres, new)
    if too_far:
        candidate.inner //= _CUT  # from the best again, less far, in the end by the plain step
    elif best is not None:
        noisy = shift > 2.0 * candidate.expected  # the sample did not tell all: what it cannot tell grows with the way
        candidate.inner = max(candidate.inner // _CUT, _FEWEST) if noisy else min(2 * candidate.inner, _INNER)
    candidate.best = replace(found, shift=shift)
    candidate.done = shift <= ends.shift
    if candidate.done:
        return shift
    if not (found.state["totals"][0] > 0.0).all():  # what a row far from all centres will bring is not known
        candidate.centres = new
        return shift
    candidate.done = fell < ends.fall * found.inertia
    if not candidate.done:
        candidate.centres, fall = _corrected(found, new, candidate, ends)
        candidate.done = fall < ends.fall * found.inertia
    return shift


def _corrected(found: CentresSeen, first: Centres, candidate: _Candidate, ends: Ends) -> tuple[Centres, float]:
    """Go on from the step to `first` over the sample, as if it were all rows; see the module.

    Returns the centres, and what the sum of squares of all rows is expected to fall by.
    """
    tracked, start = candidate.tracked, found.centres.plain()
    tracked.look(start)
    sums, weight = found.state["sums"], found.state["totals"][0]
    ratio = weight.sum() / tracked.weight.sum()
    # of what the sample saw from there, the part that stays
    rest_sums, rest_weight = sums - ratio * tracked.sums, weight - ratio * tracked.weight
    centres, candidate.expected = first.plain(), 0.0
    enough = _INNER_SHARE**2 * ends.fall * found.inertia
    for number in range(candidate.inner):
        tracked.look(centres)
        new_weight = rest_weight + ratio * tracked.weight
        new_weight[new_weight < 0.1 * weight] = 0.0  # too few rows to tell: the centre stays
        new = centres.at(centres.means(rest_sums + ratio * tracked.sums, new_weight))
        steps = ((new.points - centres.points) ** 2).sum(axis=1)
        candidate.expected = float(steps.sum())
        length = _LENGTHS[number % len(_LENGTHS)] if number >= _PLAIN else 1.0
        centres = centres.at(centres.points + length * (new.points - centres.points))
        if candidate.expected <= _INNER_SHARE * ends.shift or float(weight @ steps) <= enough:
            break
    way = centres.points - start.points
    seen = squares_of(tracked.rows, start) - squares_of(tracked.rows, centres)
    rest = 2.0 * rest_sums.T - rest_weight[:, None] * (centres.points + start.points)
    plain = float(weight @ ((first.points - start.points) ** 2).sum(axis=1))  # what the plain step is sure to bring
    return found.centres.at(centres.points), max(plain, ratio * seen + float((rest * way).sum()))


def squares_of(rows: Rows, centres: Centres) -> float:
    """Return the sum of the squared distances of rows in memory to the nearest centre."""
    return float(rows.fold(CentreStep(centres))[0]["totals"][1].sum())


def mean_variance(rows: Rows) -> float:
    """Return the mean over the terms of the variance of the rows: what a tolerance is measured by."""
    n_terms = rows.n_terms
    weight, first, second = 0.0, np.zeros(n_terms), np.zeros(n_terms)
    for part in rows.parts:
        w = part.weights
        d = part.X.shape[1]
        weight += w.sum()
        first[:d] += w @ part.X
        second[:d] += w @ (part.X * part.X)
        if part.sparse is not None:
            values, lengths = part.sparse.values, np.diff(part.sparse.indptr)
            of_entry = np.repeat(w, lengths)
            first += np.bincount(part.sparse.indices, of_entry * values, n_terms)
            second += np.bincount(part.sparse.indices, of_entry * values * values, n_terms)
    variance = np.maximum(second / weight - (first / weight) ** 2, 0.0)
    return float(variance.mean())
