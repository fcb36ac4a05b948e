"""Linear machines over features of landmarks: what a pass over rows sums for all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dbml_kernels.landmark_sums import landmark_hessian_add, landmark_loss_add
from dbml_kernels.landmark_values import Landmarks
from dbml_kernels.matrix_tile import PANEL
from numpy.typing import NDArray

from dbml.estimators.design import flat
from dbml.estimators.kernel_machines.kernel_function import Singles
from dbml.estimators.kernel_machines.landmarks import NystroemFeatures
from dbml.estimators.solvers.held_rows import chosen_rows
from dbml.estimators.solvers.loss_step import LossStep
from dbml.estimators.solvers.run import Source
from dbml.passes.block import Block, Floats
from dbml.passes.step import State, Step

_PIECE_BYTES = 4 << 20  # of values in double precision that exist at a time on a thread
# Of ``gamma |x|^2``: products in single precision then find values to 1e-5. Rows farther out are compared in double.
_NEAR = 64.0


def _panels(matrix: Floats) -> Singles:
    """Return the rows of a matrix (m, k) side by side in panels, shape (m / PANEL, k, PANEL), zeros beyond the last."""
    m, k = matrix.shape
    padded = np.zeros((-(-m // PANEL) * PANEL, k), np.float32)
    padded[:m] = matrix
    return np.ascontiguousarray(padded.reshape(-1, PANEL, k).transpose(0, 2, 1))


class PackedFeatures:
    """The features of landmarks as kernels take them.

    Parameters
    ----------
    features : NystroemFeatures
    """

    def __init__(self, features: NystroemFeatures) -> None:
        self.features = features
        landmarks = features.landmarks
        panels = _panels(landmarks.rows)
        squares = np.square(panels).sum(axis=1).ravel()
        self.width = len(squares)
        self.landmarks = Landmarks(np.float32(landmarks.kernel.gamma), panels, squares)
        turn = np.zeros((features.n_out, self.width))
        turn[:, : len(landmarks.rows)] = features.normalization
        self.turn = _panels(turn)

    def takes_products(self, block: Block) -> bool:
        """Whether values at near rows are made from products in single precision."""
        return self.features.landmarks.kernel.name == "rbf" and block.sparse is None

    def values(self, block: Block) -> Singles:
        """Return values of the kernel at the landmarks in double precision, rounded, shape (n, M)."""
        out = np.zeros((block.n_rows, self.width), np.float32)
        out[:, : len(self.features.landmarks.rows)] = self.features.landmarks.values(block)
        return out


class LandmarkStep:
    """Several steps of linear machines over features, which share the values of the kernel.

    Features are ``N k`` of the values k at the landmarks. So ``w . N k = (N' w) . k``, and gradients are turned once,
    not row by row. State: ``sums`` (q, 2), ``lowest`` (q,), ``gradient`` (q, M + 1) over values; with Hessians ``gram``
    (q, m, m) over features.
    """

    # Hessians are summed in single precision, tile by tile, and tiles begin with the rows of an update.
    tolerance = 1e-6
    chained = False

    def __init__(self, steps: Sequence[LossStep], packed: PackedFeatures) -> None:
        self.steps, self.packed = steps, packed
        self.hessian = any(step.hessian for step in steps)
        m = len(packed.features.landmarks.rows)
        self.coef = np.zeros((len(steps), packed.width))
        self.coef[:, :m] = np.array([step.coef for step in steps]) @ packed.features.normalization
        self.intercept = np.array([float(step.intercept) for step in steps])
        self.losses = np.array([[step.loss.code, step.loss.a, step.loss.b] for step in steps], dtype=np.float64)

    def start(self) -> State:
        """Return the state of no rows."""
        q, m = len(self.steps), self.packed.features.n_out + 2
        state = {
            "sums": np.zeros((q, 2)),
            "lowest": np.full(q, np.inf),
            "gradient": np.zeros((q, self.packed.width + 1)),
        }
        if self.hessian:
            state["gram"] = np.zeros((q, m, m))
        return state

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        if not block.n_rows:
            return
        y = np.array([step.reading.target(block) for step in self.steps])
        weight = np.array([step.reading.weight(block) for step in self.steps])
        np.minimum(state["lowest"], y.min(axis=1), out=state["lowest"])
        far = np.arange(block.n_rows)
        if self.packed.takes_products(block):
            near = self.packed.features.landmarks.kernel.gamma * np.einsum("ij,ij->i", block.X, block.X) <= _NEAR
            far, rows = np.flatnonzero(~near), np.flatnonzero(near)
            y_near, weight_near = (each.take(rows, axis=1) if len(far) else each for each in (y, weight))
            self._add(state, block, rows, np.empty((0, self.packed.width), np.float32), y_near, weight_near)
        most = max(64, _PIECE_BYTES // (8 * self.packed.width))
        for start in range(0, len(far), most):
            rows = far[start : start + most]
            piece = chosen_rows(block, rows)
            own = y.take(rows, axis=1), weight.take(rows, axis=1)
            self._add(state, piece, np.arange(len(rows)), self.packed.values(piece), *own)

    def _add(
        self, state: State, block: Block, rows: NDArray[np.intp], given: Singles, y: Floats, weight: Floats
    ) -> None:
        """Add some rows of a block, whose values are given or made."""
        packed, x, curvature = self.packed, flat(block.X), np.empty((len(y), len(rows)))
        landmark_loss_add(
            packed.landmarks, x, block.n_rows, rows, given, self.coef, self.intercept, self.losses, y, weight,
            state["sums"], state["gradient"], curvature,
        )  # fmt: skip
        if not self.hessian:
            return
        for own, gram in zip(curvature, state["gram"], strict=True):
            bent = np.flatnonzero(own)
            values = given[bent] if len(given) else given
            landmark_hessian_add(packed.landmarks, x, block.n_rows, rows[bent], values, packed.turn, own[bent], gram)

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        for name in into.keys() - {"lowest"}:
            into[name] += other[name]
        np.minimum(into["lowest"], other["lowest"], out=into["lowest"])
        return into

    def split(self, state: State) -> tuple[State, ...]:
        """Return the states of the steps, over features."""
        turn = self.packed.features.normalization
        found = []
        for i, sums in enumerate(state["sums"]):
            gradient = state["gradient"][i]
            own: dict[str, Any] = {"sums": np.append(sums, 0.0), "lowest": state["lowest"][i : i + 1]}
            own["gradient"] = np.append(turn @ gradient[: turn.shape[1]], gradient[-1])
            if self.steps[i].hessian:
                own["gram"] = state["gram"][i]
            found.append(own)
        return tuple(found)


@dataclass(frozen=True)
class FeatureRows:
    """The features of the rows of `source`; values are made anew in every pass, which costs less than keeping them.

    Attributes
    ----------
    source : Source
    packed : PackedFeatures
    """

    source: Source
    packed: PackedFeatures

    def fold(self, *steps: Step, purpose: str = "") -> tuple[State, ...]:
        """Return the final state of each step of a linear machine."""
        own = [step for step in steps if isinstance(step, LossStep)]
        assert len(own) == len(steps), "only losses are summed over features"
        together = LandmarkStep(own, self.packed)
        (state,) = self.source.fold(together, purpose=purpose)
        return together.split(state)
