"""Rules and option names of networks."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dbml.errors import InvalidParameter, listing
from dbml.estimators.bigquery_options import early_stop_of_epochs
from dbml.estimators.networks.network import ACTIVATIONS
from dbml.estimators.random_state import RANDOM_STATE_RULE
from dbml.params import Boolean, Either, Integer, Options, Real, Rule

_UNITS = Integer(ge=1)


@dataclass(frozen=True, slots=True)
class LayerSizes:
    """A number of units, or a sequence of them."""

    def allows(self, value: Any) -> bool:
        if isinstance(value, (list, tuple, np.ndarray)):
            return all(_UNITS.allows(units) for units in value)
        return _UNITS.allows(value)

    def describe(self) -> str:
        return "a tuple of integers >= 1, the units of each hidden layer, or one such integer"

    def bad_values(self) -> list[Any]:
        return ["many", 0, (10, 0), (-1,), (1.5,), None]


def layer_sizes(value: Any) -> tuple[int, ...]:
    """Return the units of the hidden layers."""
    return (int(value),) if isinstance(value, numbers.Integral) else tuple(int(units) for units in value)


RULES: Mapping[str, Rule] = {
    "hidden_layer_sizes": LayerSizes(),
    "activation": Options(tuple(ACTIVATIONS)),
    "solver": Options(("adam", "sgd")),
    "alpha": Real(ge=0),
    "batch_size": Either((Options(("auto",)), Integer(ge=1))),
    "learning_rate": Options(("constant", "invscaling", "adaptive")),
    "learning_rate_init": Real(gt=0),
    "power_t": Real(ge=0),
    "max_iter": Integer(ge=1),
    "shuffle": Boolean(),
    "random_state": RANDOM_STATE_RULE,
    "tol": Either((Options((None,)), Real(ge=0))),
    "warm_start": Boolean(),
    "momentum": Real(ge=0, le=1),
    "nesterovs_momentum": Boolean(),
    "early_stopping": Boolean(),
    "validation_fraction": Real(gt=0, lt=1),
    "beta_1": Real(ge=0, lt=1),
    "beta_2": Real(ge=0, lt=1),
    "epsilon": Real(gt=0),
    "n_iter_no_change": Integer(ge=1),
    "dropout": Real(ge=0, lt=1),
    "embedding": Either((Options(("auto", None)), Integer(ge=1))),
    "precision": Options(("auto", "float32", "float64")),
}

_BIGQUERY_ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic", "identity": "identity"}


def _word(option: str, known: Mapping[str, str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        found = known.get(str(value).lower())
        if found is None:
            names = listing([repr(name.upper()) for name in known])
            raise InvalidParameter(f"{option} must be one of {names}; got {value!r}")
        return found

    return read


_activation = _word("activation_fn", {**_BIGQUERY_ACTIVATIONS, "logistic": "logistic"})
_optimizer = _word("optimizer", {"adam": "adam", "sgd": "sgd"})

SQL_OPTIONS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "hidden_units": lambda value: {"hidden_layer_sizes": value},
    "activation_fn": lambda value: {"activation": _activation(value)},
    "optimizer": lambda value: {"solver": _optimizer(value)},
    "learn_rate": lambda value: {"learning_rate_init": value},
    "max_iterations": lambda value: {"max_iter": value},
    "min_rel_progress": lambda value: {"tol": value},
    "early_stop": early_stop_of_epochs,
    "l2_reg": lambda value: {"alpha": value},
}
