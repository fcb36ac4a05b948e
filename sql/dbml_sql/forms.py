"""Forms a model can take as an expression: what an estimator hands over so that SQL can score it.

Plain data. An estimator without a form is scored by the vectorised UDF and by streaming only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Link = Literal["identity", "log", "logistic", "softmax", "one_vs_rest", "margin"]


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
    link : {"identity", "log", "logistic", "softmax", "one_vs_rest", "margin"}
        ``identity`` and ``log`` predict ``eta`` and ``exp(eta)``. ``logistic`` (one row, two classes) and ``softmax``
        give probabilities. ``margin`` and ``one_vs_rest`` pick the class by sign or largest ``eta``: no probabilities
        for ``margin``; ``one_vs_rest`` normalises logistic values.
    """

    coef: tuple[tuple[float, ...], ...]
    intercept: tuple[float, ...]
    link: Link
