"""The seed that a ``random_state`` stands for."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from dbml.params import Either, Instance, Integer, Options

RANDOM_STATE_RULE = Either((Options((None,)), Integer(ge=0), Instance((np.random.RandomState,), "a RandomState")))


def next_seed(random_state: np.random.RandomState) -> int:
    """Return what `seed_of` will draw next, without drawing it."""
    return seed_of(deepcopy(random_state))


def seed_of(random_state: Any) -> int:
    """Return the seed of an int, a RandomState or None: 0 for None, so that a fit can be repeated."""
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return int(random_state or 0)
