"""Losses as data: the code and parameters of a kernel, and what the loss asks of the target.

A new loss is a function and a branch in `dbml_kernels.losses` and a line here; every solver then takes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dbml_kernels import losses as codes


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss of the linear predictor.

    Attributes
    ----------
    name : str
        What plans and messages call it.
    code : int
        Which of `dbml_kernels.losses`.
    a, b : float
        Parameters of the kernel.
    signed : bool
        The target is a class, -1 or 1.
    at_least, above : float or None
        Bounds of the target's domain: ``y >= at_least``, ``y > above``.
    """

    name: str
    code: int
    a: float = 0.0
    b: float = 0.0
    signed: bool = False
    at_least: float | None = None
    above: float | None = None

    @property
    def unitless(self) -> bool:
        """Whether the predictor has a unit of its own, not that of the target: log odds, margins, log means."""
        return self.signed or self.code in (codes.POISSON, codes.GAMMA, codes.TWEEDIE_LOG)

    def allows(self, lowest: float) -> bool:
        """Whether a target with this smallest value lies in the domain."""
        return (self.at_least is None or lowest >= self.at_least) and (self.above is None or lowest > self.above)

    def domain(self) -> str:
        """Return the domain of the target in words."""
        return f"> {self.above:g}" if self.above is not None else f">= {self.at_least or 0:g}"


SQUARED_ERROR = Loss("squared error", codes.SQUARED_ERROR)
LOGISTIC = Loss("logistic", codes.LOGISTIC, signed=True)
SQUARED_HINGE = Loss("squared hinge", codes.SQUARED_HINGE, signed=True)
POISSON = Loss("Poisson", codes.POISSON, at_least=0.0)
GAMMA = Loss("gamma", codes.GAMMA, above=0.0)


def hinge(width: float) -> Loss:
    """Return the hinge with its corner rounded over `width`."""
    return Loss("hinge", codes.HINGE, b=width, signed=True)


def epsilon_insensitive(epsilon: float, width: float) -> Loss:
    """Return the epsilon-insensitive loss with its corners rounded over `width`."""
    return Loss("epsilon insensitive", codes.EPSILON_INSENSITIVE, epsilon, width)


def squared_epsilon_insensitive(epsilon: float) -> Loss:
    """Return the squared epsilon-insensitive loss."""
    return Loss("squared epsilon insensitive", codes.SQUARED_EPSILON_INSENSITIVE, epsilon)


def huber(epsilon: float) -> Loss:
    """Return the Huber loss with a scale that is estimated too."""
    return Loss("Huber", codes.HUBER, epsilon)


def tweedie(power: float, link: str) -> Loss:
    """Return half the Tweedie deviance of variance ``mean ** power`` for a link, "log" or "identity"."""
    domain: dict[str, Any] = {"at_least": 0.0} if 0 < power < 2 else {"above": 0.0} if power >= 2 else {}
    name = f"Tweedie({power:g}), {link} link"
    if link == "identity":
        code = codes.SQUARED_ERROR if power == 0 else codes.TWEEDIE_IDENTITY
        return Loss(name, code, float(power), **domain)
    if power in (1, 2):
        return POISSON if power == 1 else GAMMA
    return Loss(name, codes.TWEEDIE_LOG, float(power), **domain)
