"""Rules for hyperparameters, as data: declared on the class, checked once in `fit`, read by the common checks."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dbml.errors import InvalidParameter


class Rule(Protocol):
    """A set of allowed values."""

    def allows(self, value: Any) -> bool:
        """Whether the value is allowed."""

    def describe(self) -> str:
        """What the value must be, in words that follow "must be"."""

    def bad_values(self) -> list[Any]:
        """Some values that are not allowed, for the common checks."""


@dataclass(frozen=True, slots=True)
class Real:
    """A real number within bounds: greater or equal, greater than, less or equal, less than.

    Infinity is a number only where `infinite` says so, and NaN nowhere.
    """

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    integer: bool = False
    infinite: bool = False

    def allows(self, value: Any) -> bool:
        kind: Any = numbers.Integral if self.integer else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind):
            return False
        whole = isinstance(value, numbers.Integral)  # of any size, which a float is not
        if not whole and not (math.isfinite(value) or (self.infinite and math.isinf(value))):
            return False
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def describe(self) -> str:
        bounds = [(">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt)]
        limits = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
        bounded = (self.ge, self.gt) != (None, None) and (self.le, self.lt) != (None, None)
        number = "a number" if self.infinite or bounded else "a finite number"
        return f"{'an integer' if self.integer else number} {limits}".strip()

    def bad_values(self) -> list[Any]:
        lower = self.ge if self.ge is not None else self.gt
        upper = self.le if self.le is not None else self.lt
        values: list[Any] = ["not a number", float("nan")]
        if not self.infinite:
            values += [math.inf, -math.inf]
        if lower is not None:
            values.append(lower - 1)
        if upper is not None:
            values.append(upper + 1)
        return values


def Integer(ge: int | None = None, gt: int | None = None, le: int | None = None) -> Real:  # noqa: N802
    """Return the rule of an integer within bounds."""
    return Real(ge=ge, gt=gt, le=le, integer=True)


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or False."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")

    def describe(self) -> str:
        return "True or False"

    def bad_values(self) -> list[Any]:
        return ["yes"]


@dataclass(frozen=True, slots=True)
class Options:
    """One of some words (None may be one of them)."""

    words: tuple[Any, ...]

    def allows(self, value: Any) -> bool:
        return any(value is word or (isinstance(value, str) and value == word) for word in self.words)

    def describe(self) -> str:
        return "one of " + ", ".join(repr(word) for word in self.words)

    def bad_values(self) -> list[Any]:
        return ["no such option"]


@dataclass(frozen=True, slots=True)
class Instance:
    """Any value of some types, for parameters whose content is checked where it is used."""

    types: tuple[type, ...]
    words: str

    def allows(self, value: Any) -> bool:
        return isinstance(value, self.types)

    def describe(self) -> str:
        return self.words

    def bad_values(self) -> list[Any]:
        return [object()]


@dataclass(frozen=True, slots=True)
class Either:
    """A value that one of several rules allows."""

    rules: tuple[Rule, ...]

    def allows(self, value: Any) -> bool:
        return any(rule.allows(value) for rule in self.rules)

    def describe(self) -> str:
        return " or ".join(rule.describe() for rule in self.rules)

    def bad_values(self) -> list[Any]:
        return [bad for rule in self.rules for bad in rule.bad_values() if not self.allows(bad)]


def check_params(owner: str, rules: Mapping[str, Rule], values: Mapping[str, Any]) -> None:
    """Raise `InvalidParameter` for the first value that its rule does not allow."""
    for name, rule in rules.items():
        if not rule.allows(values[name]):
            raise InvalidParameter(f"{owner}: {name} must be {rule.describe()}; got {values[name]!r}")
