"""What MLPClassifier and MLPRegressor share: training, `partial_fit`, fitted attributes, state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np

from dbml.errors import ConvergenceWarning, ExhaustedMemory, InvalidData, InvalidParameter
from dbml.estimators.base import Estimator, ModelState
from dbml.estimators.networks.coordinates import SAMPLE_ROWS, Coordinates
from dbml.estimators.networks.descent import History, NetworkDescent
from dbml.estimators.networks.network import Network
from dbml.estimators.networks.rules import RULES, SQL_OPTIONS, layer_sizes
from dbml.estimators.networks.step import LOG_LOSS, SOFTMAX, SQUARED, Optimizer, begun_state
from dbml.estimators.random_state import seed_of
from dbml.estimators.room import check_room
from dbml.estimators.solvers.descent import epochs_at_most
from dbml.estimators.solvers.loss_step import RowReading
from dbml.estimators.solvers.sgd import Validation
from dbml.params import Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.schema import Schema
from dbml.passes.step import State

_BATCH = 200  # of "auto", as in scikit-learn
_FEW_ROWS = 10_000  # up to which "auto" computes in float64
_COPIES = 8  # of the parameters in memory: what training changes, what an epoch started from, the best so far
_STORED = "network_."
_COORDINATES = tuple(field.name for field in fields(Coordinates))
_MOMENTS = ("first", "second", "seen", "counts")


class NetworkModel(Estimator):
    """Base of multi-layer perceptrons.

    Attributes
    ----------
    network_ : Network
        The parameters, in standardised coordinates.
    optimizer_ : dict of ndarray
        What `partial_fit` goes on from.
    """

    rules: ClassVar[Mapping[str, Rule]] = RULES
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = SQL_OPTIONS

    hidden_layer_sizes: Any
    activation: str
    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float | None
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: int
    dropout: float
    embedding: str | int | None
    precision: str

    network_: Network
    optimizer_: State
    n_iter_: int
    t_: int
    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    out_activation_: str

    # what the network says -------------------------------------------------------------------------------------

    @property
    def coefs_(self) -> list[Floats]:
        """Weights of each layer; the first has a row a term (`terms_`), in the units of the columns."""
        return self._network().coefs()

    @property
    def intercepts_(self) -> list[Floats]:
        """Intercepts of each layer."""
        return self._network().intercepts()

    @property
    def n_layers_(self) -> int:
        """Layers, those of inputs and outputs counted."""
        return len(self._network().sizes) + 1

    @property
    def n_outputs_(self) -> int:
        """Outputs: 1 for a number or two classes, else one a class."""
        return int(self._network().sizes[-1])

    def _network(self) -> Network:
        if "network_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} is not fitted yet; call fit first")
        return self.network_

    def _outputs_block(self, block: Block) -> Floats:
        return self.network_.outputs(block)

    # training --------------------------------------------------------------------------------------------------

    def _outputs(self, schema: Schema) -> tuple[int, int, str]:
        """Return the number of outputs, the loss and the name of the last activation."""
        if self.task == "regression":
            return 1, SQUARED, "identity"
        n = len(schema.classes)
        return (1, LOG_LOSS, "logistic") if n == 2 else (n, SOFTMAX, "softmax")

    @property
    def _goes_on(self) -> bool:
        """Whether `fit` continues with the weights there are."""
        return self.warm_start and "network_" in vars(self)

    def _reading(self, data: Data) -> RowReading:
        """Return how weights are read."""
        return RowReading()

    def _fit(self, data: Data) -> None:
        network = self._prepared(data, self._goes_on)
        history = History()
        if self._goes_on:
            history = History(list(self.loss_curve_), list(self.validation_scores_ or ()))
        descent = self._descent(data, network, history, self._reading(data))
        if self.max_iter > 2:
            with data.materialise() as kept:
                state, n_iter, enough = descent.run(kept, begun_state(network))
                data.plan = kept.plan
        else:
            state, n_iter, enough = descent.run(data, begun_state(network))
        if not enough and self.tol is not None:
            message = (
                f"{type(self).__name__}: stopped after max_iter={self.max_iter} epochs, before the "
                f"{'score' if self.early_stopping else 'loss'} stayed within tol={self.tol:g} for "
                f"{self.n_iter_no_change} epochs"
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=6)
        vars(self).update(self._fitted(network, state, history, n_iter, state["counts"][3]))

    def _partial(self, data: Data) -> None:
        goes_on = "network_" in vars(self)
        network = self._prepared(data, goes_on)
        history = History(list(self.loss_curve_), best_loss=self.best_loss_ or np.inf) if goes_on else History()
        state = begun_state(network)
        if goes_on:
            state.update({name: array.copy() for name, array in self.optimizer_.items()})
        descent = self._descent(data, network, history, self._reading(data))
        n_iter = (self.n_iter_ if goes_on else 0) + 1
        state = descent.epoch(data, state, n_iter - 1)
        history.best_loss = min(history.best_loss, history.losses[-1])
        self._iteration(n_iter, loss=history.losses[-1])
        vars(self).update(self._fitted(network, state, history, n_iter, state["counts"][3]))

    def _prepared(self, data: Data, goes_on: bool) -> Network:
        """Return the network that training starts from, and write into the plan what it is."""
        schema = data.schema
        n_outputs, _, self.out_activation_ = self._outputs(schema)
        sizes = (*layer_sizes(self.hidden_layer_sizes), n_outputs)
        if goes_on:
            network = self.network_
            if tuple(network.sizes.tolist()) != sizes or network.activation != self.activation:
                raise InvalidParameter(
                    f"{type(self).__name__}: hidden_layer_sizes and activation must be those that training goes on "
                    f"from, {tuple(network.sizes[:-1].tolist())} and {network.activation!r}; got {sizes[:-1]} and "
                    f"{self.activation!r}"
                )
        else:
            n_weights = sum(a * b for a, b in pairwise(sizes))
            told = f"{n_weights:,} weights between hidden layers"
            check_room(type(self).__name__, told, 4 * _COPIES * n_weights, "take fewer hidden units")
            rows = data.sample(SAMPLE_ROWS, seed=0)
            weight = rows.weights
            if not weight.any() and rows.n_rows == data.n_rows:
                raise InvalidData(f"{type(self).__name__}: at least 1 row must have a weight above 0; none has")
            coordinates = Coordinates.of(rows, weight, schema.encoding, self.task == "classification")
            network = Network.begun(
                schema.encoding, coordinates, sizes, self.activation, self.embedding, self._dtype(data),
                seed_of(self.random_state),
            )  # fmt: skip
        self._decide(data, network)
        return network

    def _dtype(self, data: Data) -> type:
        if self.precision == "auto":
            return np.float64 if 0 <= data.n_rows <= _FEW_ROWS else np.float32
        return np.float64 if self.precision == "float64" else np.float32

    def _decide(self, data: Data, network: Network) -> None:
        size = network.params.nbytes * _COPIES
        if size > memory_budget().blocks:
            raise ExhaustedMemory(
                f"{type(self).__name__}: training {network.n_params:,} weights takes {size >> 20:,} MiB, and "
                f"{memory_budget().blocks >> 20:,} MiB are left for them. Take fewer hidden units or a smaller "
                "embedding, or raise memory_limit"
            )
        units = " -> ".join(f"{n:,}" for n in (network.encoding.n_terms, *network.sizes.tolist()))
        reason = f"{network.n_params:,} weights in {network.params.dtype}, {self.activation}; terms are standardised"
        data.plan = data.plan.decide("network", units, reason)
        embedded = [pair for pair in zip(network.encoding.features, network.embedded.tolist(), strict=True) if pair[1]]
        if embedded:
            choice = ", ".join(f"{feature.name} in {width}" for feature, width in embedded) + " dimensions"
            levels = ", ".join(f"{len(feature.sparse_terms):,}" for feature, _ in embedded) + " levels"
            data.plan = data.plan.decide("embedding", choice, levels)
        if isinstance(self.batch_size, int) and 0 <= data.n_rows < self.batch_size:
            reason = f"batch_size={self.batch_size:,} is clipped to all rows"
            data.plan = data.plan.decide("batch", f"{data.n_rows:,} rows", reason)
        rate = f"learning rate {self.learning_rate_init:g}"
        data.decide_solver(self.solver, f"batches of {self._batch():,} rows, {rate}", epochs_at_most(self.max_iter))

    def _batch(self) -> int:
        return _BATCH if self.batch_size == "auto" else int(self.batch_size)

    def _descent(self, data: Data, network: Network, history: History, reading: RowReading) -> NetworkDescent:
        _, loss, _ = self._outputs(data.schema)
        seed = seed_of(self.random_state)
        optimizer = Optimizer(
            self.solver, self.learning_rate_init, self.alpha, self.beta_1, self.beta_2, self.epsilon, self.momentum,
            self.nesterovs_momentum, self._batch(), loss, self.dropout, seed,
        )  # fmt: skip

        def report(number: int, state: State) -> None:
            values = {"loss": history.losses[-1]}
            if history.scores:
                values["score"] = history.scores[-1]
            self._iteration(number, **values)
            self._keep(**self._fitted(network, state, history, number, state["counts"][3]))

        return NetworkDescent(
            type(self).__name__, network, optimizer, reading, self.learning_rate, self.power_t, self.max_iter,
            self.tol, self.n_iter_no_change, self.shuffle, seed,
            Validation(self.validation_fraction, seed) if self.early_stopping else None,
            self.task == "classification", history, report,
        )  # fmt: skip

    def _fitted(self, network: Network, state: State, history: History, n_iter: int, rows: int) -> dict[str, Any]:
        """Return the fitted attributes of a state."""
        judged = self.early_stopping
        return {
            "network_": network.moved(state["params"]),
            "optimizer_": {name: state[name] for name in _MOMENTS},
            "out_activation_": self.out_activation_,
            "n_iter_": n_iter,
            "t_": int(rows),
            "loss_": history.losses[-1],
            "loss_curve_": list(history.losses),
            "best_loss_": None if judged else history.best_loss,
            "validation_scores_": list(history.scores) if judged else None,
            "best_validation_score_": history.best_score if judged else None,
        }

    def _check_finite(self, data: Data) -> None:
        if not np.isfinite(self.network_.params).all():
            raise InvalidData(
                f"{type(self).__name__}: training on {data.plan.source} diverged, weights are not finite. Lower "
                f"learning_rate_init={self.learning_rate_init:g}, or leave out the rows of extreme values"
            )

    # state -----------------------------------------------------------------------------------------------------

    def get_state(self) -> ModelState:
        """Return the fitted model as plain data; the arrays of the network are named ``network_.…``."""
        self._check_fitted()
        held = {name: vars(self).pop(name) for name in ("network_", "optimizer_")}
        try:
            state = super().get_state()
        finally:
            vars(self).update(held)
        network = self.network_
        arrays = {name: getattr(network, name) for name in ("sizes", "embedded", "params")}
        arrays |= {name: getattr(network.coordinates, name) for name in _COORDINATES}
        state.arrays.update({_STORED + name: array for name, array in {**arrays, **self.optimizer_}.items()})
        return state

    @classmethod
    def from_state(cls, state: ModelState) -> Self:
        """Rebuild a fitted model from `get_state`."""
        own = {name.removeprefix(_STORED): a for name, a in state.arrays.items() if name.startswith(_STORED)}
        arrays = {name: array for name, array in state.arrays.items() if not name.startswith(_STORED)}
        model = super().from_state(ModelState(state.kind, state.params, state.schema, state.attributes, arrays))
        coordinates = Coordinates(*(own[name] for name in _COORDINATES))
        model.network_ = Network(
            own["sizes"], own["embedded"], coordinates, model.activation, state.schema.encoding, own["params"]
        )
        model.optimizer_ = {name: own[name] for name in _MOMENTS}
        return model
