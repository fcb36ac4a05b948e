"""Every error and warning a person can meet, under one base.

A message says who, what must be, what came, what exists, and a hint: build it with `describe`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# How alike two names must be for a hint (difflib's ratio). Options are words that share parts and mean other things.
_SIMILAR, ALIKE = 0.55, 0.75


class DbmlError(Exception):
    """Base of every error that dbml raises on purpose."""


class InvalidParameter(DbmlError, ValueError):
    """A hyperparameter or option has a value outside its declared rule."""


class InvalidData(DbmlError, ValueError):
    """The rows cannot be learned from or scored: none left, one class, a target that is all NULL."""


class UnknownName(DbmlError, LookupError):
    """A table, column, model, version, option or model type does not exist."""


class UnknownOption(UnknownName):
    """A model type has no such option.

    Attributes
    ----------
    owner, option : str
        The estimator, and the option in lower case.
    known : tuple of str
        The options it has.
    hint : str
        What to use instead, or the nearest of them, or an empty string.
    """

    def __init__(self, owner: str, option: str, known: Iterable[str], instead: str | None = None) -> None:
        self.owner, self.option, self.known = owner, option, tuple(known)
        self.hint = f". Hint: {instead}" if instead else nearest(option, self.known, ALIKE)
        super().__init__(self.text(self.hint))

    def text(self, hint: str) -> str:
        """Return the message with a hint."""
        return f"{self.owner} has no option {self.option!r}{hint} (options: {listing(self.known, 40)})"


class UnsupportedColumn(DbmlError, TypeError):
    """A column cannot be a feature, or has another type than the model needs."""


class NotFitted(DbmlError, ValueError, AttributeError):
    """The estimator has not been fitted yet."""


class RegistryError(DbmlError):
    """A model could not be saved, read or changed: damaged bytes, a newer version, a read-only database."""


class StatementError(DbmlError, ValueError):
    """A model statement is not well formed."""


class ExhaustedMemory(DbmlError, MemoryError):
    """The work does not fit in `memory_limit`, or there is no room left to spill."""


class MissingExtra(DbmlError, ImportError):
    """A package is needed that only an extra (``dbml[demo]``, ``dbml[plot]``) brings."""


class DbmlWarning(UserWarning):
    """Base of every warning that dbml emits."""


class ConvergenceWarning(DbmlWarning):
    """A solver stopped before it reached its tolerance."""


class InterruptedTraining(DbmlWarning):
    """Training was interrupted; the best model so far was kept."""


def nearest(name: str, known: Iterable[str], likeness: float = _SIMILAR) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name closest to `name`, or an empty string."""
    close = nearest_name(name, known, likeness)
    return "" if close is None else f"; did you mean {close!r}?"


def nearest_name(name: str, known: Iterable[str], likeness: float = _SIMILAR) -> str | None:
    """Return the known name closest to `name`, or None where none is close."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=likeness)
    return folded[close[0]] if close else None


def listing(names: Iterable[str], most: int = 12) -> str:
    """Return names joined by commas, cut after `most` with the number left out."""
    names = list(names)
    shown = ", ".join(names[:most])
    return shown + (f", … {len(names) - most} more" if len(names) > most else "")
