"""When cached models must be looked up again: a counter that every change of a registry in this process raises."""

from __future__ import annotations

import itertools

_changes = itertools.count(1)
_latest = [0]


def registry_changed() -> None:
    """Note that a registry changed: models that are cached are looked up again."""
    _latest[0] = next(_changes)


def change_number() -> int:
    """Return the number of the last change."""
    return _latest[0]
