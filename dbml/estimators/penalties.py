"""Penalties as data: strengths of l1 and l2 on the coefficients and on the intercept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dbml.passes.block import Floats


@dataclass(frozen=True, slots=True)
class Penalty:
    """``l1 |w|_1 + l2 |w|^2 / 2`` and the same of the intercept b, added to the mean of the loss.

    Attributes
    ----------
    l1, l2 : float
        Strengths on the coefficients.
    intercept_l1, intercept_l2 : float
        Strengths on the intercept in the units of the columns; 0 leaves it free.
    per_sum : bool
        The strengths are relative to the *sum* of the loss over (weighted) rows, as scikit-learn's ``C`` means them;
        False: to its mean, as ``alpha`` does.
    """

    l1: float = 0.0
    l2: float = 0.0
    intercept_l1: float = 0.0
    intercept_l2: float = 0.0
    per_sum: bool = False

    @property
    def moves_intercept(self) -> bool:
        """Whether the intercept is penalised."""
        return self.intercept_l1 > 0.0 or self.intercept_l2 > 0.0

    def strengths(self, order: int, n_terms: int, n_outputs: int, has_intercept: bool) -> Floats:
        """Return the strength of l1 (`order` 1) or l2 (2) on each parameter.

        Parameters stand as coefficients then intercept, one output after the other.
        """
        row = np.full(n_terms + has_intercept, float(self.l1 if order == 1 else self.l2))
        if has_intercept:
            row[-1] = self.intercept_l1 if order == 1 else self.intercept_l2
        return np.tile(row, n_outputs)


def elastic_net(C: float, l1_ratio: float) -> Penalty:
    """Return scikit-learn's elastic net of strength ``1 / C``, none for an infinite C."""
    strength = 0.0 if np.inf == C else 1.0 / C
    return Penalty(l1=strength * l1_ratio, l2=strength * (1.0 - l1_ratio), per_sum=True)
