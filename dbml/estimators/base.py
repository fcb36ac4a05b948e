"""The base of every estimator: parameters, fitting over `Data`, prediction by blocks, state for the registry."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from dbml.errors import InvalidParameter, NotFitted, nearest
from dbml.params import Rule, check_params
from dbml.passes.block import Block
from dbml.passes.data import Data
from dbml.passes.dispatch import as_data, find_scorer
from dbml.passes.plan import Plan
from dbml.passes.progress import listeners
from dbml.passes.schema import Schema, Task
from dbml_sql.forms import LinearForm


@dataclass(frozen=True)
class ModelState:
    """A fitted model as plain data: what the registry stores and rebuilds, without running anything.

    `attributes` holds JSON values, `arrays` holds NumPy arrays of numbers; names are those of the fitted attributes.
    """

    kind: str
    params: dict[str, Any]
    schema: Schema
    attributes: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


class Estimator:
    """Base class; see the module `dbml.estimators.linear_regression` for a small whole example.

    Class attributes
    ----------------
    task : {"regression", "classification", "none"}
        How the target is read.
    rules : mapping of str to Rule
        What each hyperparameter may be.
    model_types : tuple of str
        Names in ``OPTIONS (model_type=…)`` besides the class name, BigQuery's first.
    sql_options : mapping of str to callable
        BigQuery option name -> function from its value to a dict of hyperparameters.
    """

    task: ClassVar[Task] = "none"
    rules: ClassVar[Mapping[str, Rule]] = {}
    model_types: ClassVar[tuple[str, ...]] = ()
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {}

    schema_: Schema
    plan_: Plan

    # parameters ------------------------------------------------------------------------------------------------

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the hyperparameters by name."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set hyperparameters by name and return self."""
        known = self._parameter_names()
        for name, value in params.items():
            if name not in known:
                raise InvalidParameter(
                    f"{type(self).__name__}: no parameter {name!r}{nearest(name, known)} (parameters: {', '.join(known)})"
                )
            setattr(self, name, value)
        return self

    # fitting ---------------------------------------------------------------------------------------------------

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, con: Any = None, options: dict[str, Any] | None = None
    ) -> Self:
        """Learn from the rows of X.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows.
        y : array of shape (n_rows,) or column name
            The target; None means the column ``label`` where X has columns.
        sample_weight : array of shape (n_rows,) or column name, optional
            Weights, not negative.
        con : connection, optional
            Where a table name or SQL is looked up.
        options : dict, optional
            Encoding options, see `dbml.passes.dispatch.as_data`.

        Returns
        -------
        self
        """
        check_params(type(self).__name__, self.rules, self.get_params())
        started = time.perf_counter()
        with as_data(X, y, sample_weight=sample_weight, task=self.task, con=con, options=options) as data:
            for listener in listeners():
                listener.started(f"{type(self).__name__} on {data.plan.source}")
            self._fit(data)
            self._remember(data)
        for listener in listeners():
            listener.ended(time.perf_counter() - started)
        return self

    def _fit(self, data: Data) -> None:
        raise NotImplementedError

    def _remember(self, data: Data) -> None:
        self.schema_, self.plan_ = data.schema, data.plan
        self.n_features_in_ = data.schema.n_features
        if data.schema.named:
            self.feature_names_in_ = np.array(data.schema.encoding.columns, dtype=object)

    def explain(self) -> Plan:
        """Return the plan of the training; printing it shows columns, pruning, order, solver, passes, memory."""
        self._check_fitted()
        return self.plan_

    # prediction ------------------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if not hasattr(self, "schema_"):
            raise NotFitted(f"{type(self).__name__} is not fitted yet; call fit first")

    def _score(self, X: Any, method: str, by_block: Callable[[Block], np.ndarray], con: Any = None) -> Any:
        """Score X: where it lies if it is a relation, else block by block in row order."""
        self._check_fitted()
        scorer = find_scorer(X)
        if scorer is not None:
            return scorer(self, X, method)
        with as_data(X, schema=self.schema_, con=con, options={"owner": type(self).__name__}) as data:
            return np.concatenate(list(data.map(by_block, purpose=method)))

    # state -----------------------------------------------------------------------------------------------------

    def form(self) -> LinearForm | None:
        """Return the model as a form that SQL can score, or None."""
        return None

    def get_state(self) -> ModelState:
        """Return the fitted model as plain data."""
        self._check_fitted()
        fitted = {n: v for n, v in vars(self).items() if n.endswith("_") and not n.startswith("_")}
        kept = {n: v for n, v in fitted.items() if n not in ("schema_", "plan_", "classes_", "feature_names_in_")}
        arrays = {n: v for n, v in kept.items() if isinstance(v, np.ndarray)}
        scalars = {n: v.item() if isinstance(v, np.generic) else v for n, v in kept.items() if n not in arrays}
        return ModelState(type(self).__name__, self.get_params(), self.schema_, scalars, arrays)

    @classmethod
    def from_state(cls, state: ModelState) -> Self:
        """Rebuild a fitted model from `get_state`."""
        model = cls(**state.params)
        model.schema_, model.plan_ = state.schema, Plan("registry")
        for name, value in {**state.attributes, **state.arrays}.items():
            setattr(model, name, value)
        if state.schema.named:
            model.feature_names_in_ = np.array(state.schema.encoding.columns, dtype=object)
        target = state.schema.target
        if target is not None and target.classes is not None:
            model.classes_ = np.array(target.classes)
        return model
