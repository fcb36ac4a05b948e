"""What a solver minimises: mean loss plus penalty, as a function of one vector of parameters.

Parameters ``theta`` are the coefficients and the intercept of each output, one output after the other, then the scale
of losses that estimate one. Blocks are centred. A free intercept is that of the centred terms, which keeps Hessians
well conditioned at any offset; without one, or with a penalised one, it is in the units of the columns, and the centred
intercept of the pass is ``b + coef . centre``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from dbml_kernels import losses as codes
from numpy.typing import NDArray

from dbml.errors import InvalidData
from dbml.estimators.losses import Loss
from dbml.estimators.penalties import Penalty
from dbml.estimators.solvers.held_rows import HeldRows
from dbml.estimators.solvers.loss_step import LossStep, RowReading, SoftmaxStep
from dbml.passes.block import Floats
from dbml.passes.step import State, Step


class Request(NamedTuple):
    """What a solver asks of a pass: the objective at `theta`, with the Hessian or without."""

    theta: Floats
    hessian: bool


class Evaluation(NamedTuple):
    """What a pass gives: `value` with all penalties, `gradient` and `hessian` without l1, all of the mean loss.

    Along the rows of `flat`, unit vectors, the objective never changes; there are none without a Hessian.
    """

    theta: Floats
    value: float
    gradient: Floats
    hessian: Floats | None
    l1: Floats
    weight: float
    flat: Floats


@dataclass
class Objective:
    """The objective of one output.

    Attributes
    ----------
    loss : Loss
    penalty : Penalty
    n_terms : int
    centre : ndarray of shape (n_terms,)
        What was subtracted from the terms.
    fit_intercept : bool
    reading : RowReading
        Target and weights.
    total_weight : float or None
        Weight of all rows, where the pass sees only a sample of them.
    owner : str
        Whom messages name.
    """

    loss: Loss
    penalty: Penalty
    n_terms: int
    centre: Floats
    fit_intercept: bool = True
    reading: RowReading = field(default_factory=RowReading)
    total_weight: float | None = None
    owner: str = ""
    n_outputs: int = 1

    @property
    def has_scale(self) -> bool:
        """Whether the last parameter is a scale."""
        return self.loss.code == codes.HUBER

    @property
    def raw(self) -> bool:
        """Whether the intercept is in the units of the columns."""
        return not self.fit_intercept or self.penalty.moves_intercept

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.n_outputs * (self.n_terms + self.fit_intercept) + self.has_scale

    def theta(self, coef: Floats, centred_intercept: Floats, scale: float = 1.0) -> Floats:
        """Return the parameters of coefficients (n_outputs, n_terms) and centred intercepts (n_outputs,)."""
        rows = np.atleast_2d(coef)
        if self.fit_intercept:
            intercept = centred_intercept - (rows @ self.centre if self.raw else 0.0)
            rows = np.column_stack([rows, np.broadcast_to(intercept, len(rows))])
        return np.append(rows.ravel(), [scale] * self.has_scale)

    def split(self, theta: Floats) -> tuple[Floats, Floats, float]:
        """Return coefficients (n_outputs, n_terms), centred intercepts (n_outputs,) and the scale (0 for none)."""
        scale = float(theta[-1]) if self.has_scale else 0.0
        rows = theta[: len(theta) - self.has_scale].reshape(self.n_outputs, -1)
        coef = np.ascontiguousarray(rows[:, : self.n_terms])
        intercept = rows[:, -1].copy() if self.fit_intercept else np.zeros(self.n_outputs)
        return coef, intercept + coef @ self.centre if self.raw else intercept, scale

    def step(self, request: Request) -> Step:
        """Return the step that evaluates a request."""
        coef, intercept, scale = self.split(request.theta)
        if self.has_scale and scale <= 0.0:
            scale = 1.0  # the value is infinite there, see `evaluate`
        return LossStep(self.loss, self.reading, coef[0], float(intercept[0]), scale, request.hessian)

    def evaluate(self, request: Request, state: State) -> Evaluation:
        """Return the evaluation that the final state of the step of `request` holds."""
        seen = float(state["sums"][0])
        self._check(state, seen)
        theta = request.theta
        mean_loss, gradient, hessian = self._mean_loss(theta, state, seen)
        factor = 1.0 / (self.total_weight or seen) if self.penalty.per_sum else 1.0
        l2, l1 = (self._strengths(order) * factor for order in (2, 1))
        value = mean_loss + 0.5 * float(l2 @ theta**2) + float(l1 @ np.abs(theta))
        if self.has_scale and theta[-1] <= 0.0:
            value = np.inf
        if hessian is not None:
            hessian[np.diag_indices_from(hessian)] += l2
        value = value if np.isfinite(value) else np.inf
        free = np.flatnonzero((l2 == 0.0) & (l1 == 0.0)) if hessian is not None else np.zeros(0, np.intp)
        return Evaluation(theta, value, gradient + l2 * theta, hessian, l1, seen, self._flat(free, len(theta)))

    def _flat(self, free: NDArray[np.intp], size: int) -> Floats:
        """Return the directions, of so many parameters, along which nothing changes; `free` ones have no penalty."""
        return np.zeros((0, size))

    def l2(self, seen: float) -> Floats:
        """Return the strength of l2 on each parameter, for rows of that weight in all."""
        return self._strengths(2) / ((self.total_weight or seen) if self.penalty.per_sum else 1.0)

    def output_hessians(self, theta: Floats, rows: HeldRows) -> Iterator[Floats]:
        """Yield for each output the Hessian of the smooth part by its own parameters, over some rows."""
        request = Request(theta, True)
        hessian = self.evaluate(request, rows.fold(self.step(request))[0]).hessian
        assert hessian is not None
        yield hessian

    def _check(self, state: State, seen: float) -> None:
        if not seen > 0.0:
            raise InvalidData(f"{self.owner}: the weights of the rows must not all be 0; got a sum of {seen:g}")
        lowest = float(state["lowest"][0]) if "lowest" in state else np.inf
        if not self.loss.allows(lowest):
            raise InvalidData(
                f"{self.owner}: Some value(s) of y are out of the valid range of the loss {self.loss.name}: "
                f"y must be {self.loss.domain()}; the smallest is {lowest:g}"
            )

    def _strengths(self, order: int) -> Floats:
        row = self.penalty.strengths(order, self.n_terms, self.n_outputs, self.fit_intercept)
        return np.append(row, [0.0] * self.has_scale)

    def _mean_loss(self, theta: Floats, state: State, seen: float) -> tuple[float, Floats, Floats | None]:
        """Return mean loss, gradient and Hessian by theta, without penalties."""
        value = float(state["sums"][1]) / seen
        gradient = self._pulled_back(state["gradient"]) / seen
        hessian = self._hessian(state["gram"] / seen) if "gram" in state else None
        if self.has_scale:
            value += theta[-1]
            gradient = np.append(gradient, 1.0 + state["sums"][2] / seen)
        return value, gradient, hessian

    def _hessian(self, lower: Floats) -> Floats:
        """Return the Hessian by theta from the lower triangle of ``[1 z X]' diag(h) [1 z X]``."""
        full = np.tril(lower)
        full += np.tril(lower, -1).T
        order = np.r_[2 : self.n_terms + 2, 0]
        hessian = self._pulled_back(self._pulled_back(full[np.ix_(order, order)]).T)
        if not self.has_scale:
            return hessian
        cross = self._pulled_back(full[order, 1])
        return np.block([[hessian, cross[:, None]], [cross[None], full[1:2, 1:2]]])

    def _pulled_back(self, by_centred: Floats) -> Floats:
        """Turn derivatives by (coef, centred intercept), along the first axis, into derivatives by theta."""
        by_coef, by_intercept = by_centred[:-1], by_centred[-1:]
        if self.raw:
            centre = self.centre[:, None] if by_centred.ndim == 2 else self.centre
            by_coef = by_coef + centre * by_intercept
        return np.concatenate([by_coef, by_intercept]) if self.fit_intercept else by_coef


class SoftmaxObjective(Objective):
    """The objective of the multinomial logistic loss: one output per class."""

    def step(self, request: Request) -> Step:
        """Return the step that evaluates a request."""
        coef, intercept, _ = self.split(request.theta)
        return SoftmaxStep(self.reading, coef, intercept, request.hessian)

    def output_hessians(self, theta: Floats, rows: HeldRows) -> Iterator[Floats]:
        """Yield for each class the Hessian of the smooth part by its own parameters, over some rows."""
        coef, intercept, _ = self.split(theta)
        step = SoftmaxStep(self.reading, coef, intercept, True)
        for output in range(self.n_outputs):
            gram = np.zeros((self.n_terms + 2, self.n_terms + 2))
            seen = sum(step.add_curvature(block, output, gram) for block in rows.blocks)
            hessian = self._hessian(gram / seen)
            hessian[np.diag_indices_from(hessian)] += self.l2(seen)[: len(hessian)]
            yield hessian

    def _mean_loss(self, theta: Floats, state: State, seen: float) -> tuple[float, Floats, Floats | None]:
        gradient = np.concatenate([self._pulled_back(row) for row in state["gradient"]]) / seen
        value = float(state["sums"][1]) / seen
        if "gram" not in state:
            return value, gradient, None
        k, m = self.n_outputs, self.n_terms + self.fit_intercept
        hessian, pair = np.empty((k, m, k, m)), 0
        for left in range(k):
            for right in range(left + 1):
                hessian[left, :, right] = hessian[right, :, left] = self._hessian(state["gram"][pair] / seen)
                pair += 1
        return value, gradient, hessian.reshape(k * m, k * m)

    def _flat(self, free: NDArray[np.intp], size: int) -> Floats:
        # What moves a parameter of all classes alike: nearly always the intercept.
        m = size // self.n_outputs
        first = free[free < m]
        rows = np.zeros((len(first), self.n_outputs, m))
        rows[np.arange(len(first)), :, first] = 1.0 / np.sqrt(self.n_outputs)
        return rows.reshape(len(first), size)
