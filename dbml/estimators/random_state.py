"""The seed that a ``random_state`` stands for."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from dbml.params import Either, Instance, Integer, Options

RANDOM_STATE_RULE = Either((Options((None,)), Integer(ge=0), Instance((np.random.RandomState,), "a RandomState")))


def note_seed(estimator: Any) -> None:
    """Note which seed the coming training of an estimator will draw, where its ``random_state`` is a RandomState."""
    given = vars(estimator).get("random_state")
    if isinstance(given, np.random.RandomState):
        estimator._drawn_seed = seed_of(deepcopy(given))


def noted_seed(estimator: Any) -> dict[str, int | None]:
    """Return the hyperparameter ``random_state`` as data where it is a RandomState: the seed that the training drew."""
    if not isinstance(vars(estimator).get("random_state"), np.random.RandomState):
        return {}
    return {"random_state": vars(estimator).get("_drawn_seed")}


def seed_of(random_state: Any) -> int:
    """Return the seed of an int, a RandomState or None: 0 for None, so that a fit can be repeated."""
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return int(random_state or 0)
