"""How rows are looked at while their components are sought: from the mean or from 0, terms divided by a scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dbml.estimators.components.sketch_step import SketchStep
from dbml.estimators.moment_steps import squares_about_mean
from dbml.passes.block import Floats
from dbml.passes.step import State


@dataclass(frozen=True)
class View:
    """What a `SketchStep` of blocks, which are centred somewhere near the mean, says of the rows as they are seen.

    Attributes
    ----------
    scale : ndarray of shape (n_terms,)
        What terms are divided by.
    centre : ndarray of shape (n_terms,)
        What blocks are centred by.
    centred : bool
        Whether rows are taken about their mean, or about 0 in the units of the columns.
    """

    scale: Floats
    centre: Floats
    centred: bool

    def step(self, directions: Floats, moments: bool, single: bool) -> SketchStep:
        """Return the step for directions of the rows as they are seen."""
        return SketchStep(directions / self.scale[:, None], moments, single)

    def image(self, state: State, directions: Floats, moments: State) -> Floats:
        """Return what the second moments of the rows make of directions; not finite where they overflow.

        Parameters
        ----------
        state, moments : State
            Of the step of these directions, and of one over the same rows that made moments.
        """
        sums, weight = moments["sums"], float(moments["weight"][0])
        mean, basis = sums / weight, directions / self.scale[:, None]
        image = state["products"] - np.outer(mean, sums @ basis)
        if not self.centred:
            about = mean + self.centre
            image += weight * np.outer(about, about @ basis)
        return image / self.scale[:, None]

    def totals(self, moments: State) -> tuple[float, float]:
        """Return the sum of squares over all directions, and that about the mean."""
        weight = float(moments["weight"][0])
        about_mean = float((variation(moments) / self.scale**2).sum())
        if self.centred:
            return about_mean, about_mean
        origin = (moments["sums"] / weight + self.centre) / self.scale
        return about_mean + weight * float((origin**2).sum()), about_mean


def variation(moments: State) -> Floats:
    """Return the sum of squares of every term about its mean."""
    return squares_about_mean(moments["squares"], moments["sums"], float(moments["weight"][0]))
