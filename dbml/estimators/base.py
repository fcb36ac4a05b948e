"""The base of every estimator: fitting over `Data`, prediction by blocks, state for the registry."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from dbml_sql.features import Reading
from dbml_sql.forms import Form

from dbml.errors import InterruptedTraining, InvalidData, listing
from dbml.estimators.announcing import announced
from dbml.estimators.column_importances import ColumnImportances
from dbml.estimators.jobs import most_threads
from dbml.estimators.metadata_routing import RequestsMetadata
from dbml.estimators.random_state import note_seed, noted_seed
from dbml.estimators.sklearn_protocol import SklearnProtocol, not_fitted
from dbml.estimators.sql_options import SqlOptions
from dbml.params import check_params
from dbml.passes.block import Block, SparseRows
from dbml.passes.data import Data
from dbml.passes.dispatch import as_data, find_scorer, readable_again
from dbml.passes.engine import threads_limited
from dbml.passes.labels import label_array
from dbml.passes.plan import Plan
from dbml.passes.progress import listeners
from dbml.passes.schema import LARGEST, Schema, Task
from dbml.passes.vectors import Vectors

if TYPE_CHECKING:
    from dbml.estimators.attributions import Attributions


# Fitted attributes that `from_state` rebuilds from the schema.
_DERIVED = ("schema_", "plan_", "classes_", "feature_names_in_")


@dataclass(frozen=True)
class ModelState:
    """A fitted model as plain data: what the registry stores and rebuilds, without running anything.

    `attributes` holds JSON values, `arrays` holds NumPy arrays of numbers; names are those of the fitted attributes.
    `vectors` holds the rows of a model that keeps some: a table of its own in the registry.
    """

    kind: str
    params: dict[str, Any]
    schema: Schema
    attributes: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    vectors: Vectors | None = None


class Estimator(SklearnProtocol, RequestsMetadata, ColumnImportances, SqlOptions):
    """Base class; see the module `dbml.estimators.linear_regression` for a small whole example.

    A subclass writes `_fit(data)`, which sets fitted attributes (names end with ``_``; numbers, strings, lists and
    dicts of them, or arrays of numbers: all of them are stored by the registry). Iterative solvers call
    `_iteration(number, loss=…)` for every step and `_keep(coef_=…, …)` for the best model so far.

    Class attributes
    ----------------
    task : {"regression", "classification", "none"}
        How the target is read.
    encoding_style : {"terms", "values", "counts", "categories", "keys"}
        What it reads: centred numbers and one-hot levels, plain values with NaN, numbers from 0 on and one-hot levels,
        or levels of all columns; see `dbml.passes.dispatch.as_data`. Or columns of keys, all of whose values are kept
        apart; `_encoding_options` names them.
    encoding_options : mapping
        What it asks of the encoding, besides what a person says in `options`.
    keeps_vectors : bool
        Whether it keeps rows of the training, which the registry stores in a table of their own.
    rules : mapping of str to Rule
        What each hyperparameter may be.
    label_option : str or None
        BigQuery's own name of the option for the label, besides ``input_label_cols``; its default is without ``_col``.
    model_types : tuple of str
        Names in ``OPTIONS (model_type=…)`` besides the class name, BigQuery's first.
    sql_options : mapping of str to callable
        BigQuery option name -> function from its value to a dict of hyperparameters.

    Attributes
    ----------
    schema_ : Schema
        Encoding of the features and the target.
    plan_ : Plan
        What was read and why; `explain()` returns it.
    training_ : list of dict
        One entry per iteration of the solver: ``iteration``, ``seconds`` since the start, and what the solver knows
        (``loss``, ``gap``, …). Empty where a closed form was solved.
    terms_ : tuple of str
        Names of the terms, in the order of the coefficients.
    """

    task: ClassVar[Task] = "none"
    encoding_style: ClassVar[Reading] = "terms"
    encoding_options: ClassVar[Mapping[str, Any]] = {}
    keeps_vectors: ClassVar[bool] = False
    label_option: ClassVar[str | None] = None

    schema_: Schema
    plan_: Plan
    training_: list[dict[str, float]]
    _began: float
    _best: dict[str, Any]

    # fitting ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        con: Any = None,
        options: dict[str, Any] | None = None,
    ) -> Self:
        """Learn from the rows of X.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows.
        y : array of shape (n_rows,) or column name
            The target; None means the column ``label`` where X has columns. Ignored by models without a target.
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
        self._check_hyperparameters()
        return self._train_on(X, y, sample_weight, con, options, self.schema_ if self._goes_on else None, self._fit)

    def _train_on(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        con: Any,
        options: dict[str, Any] | None,
        schema: Schema | None,
        learn: Callable[[Data], None],
    ) -> Self:
        """Read X as the schema says, or learn one (None), and let `learn` train on it: the end of all ways to fit."""
        self._look_at(X)
        schema = None if schema is None else schema.of_other_rows()
        how = {"task": self.task, "con": con, "schema": schema, "encode": self.encoding_style}
        how["options"] = {"owner": type(self).__name__, **self._encoding_options(options)}
        with as_data(X, y, sample_weight=sample_weight, **how) as data:
            self._train(data, lambda: learn(data))
        return self

    def _fit_and_apply(self, method: str, X: Any, y: Any, con: Any, fit_params: dict[str, Any]) -> Any:
        """Learn from the rows of X, and return a method of the same rows."""
        X = readable_again(X)
        return getattr(self.fit(X, y, con=con, **fit_params), method)(X, con=con)

    def _train(self, data: Data, solve: Callable[[], None]) -> None:
        """Run `solve` with the progress events of a training; an interrupt keeps the best model so far.

        An error leaves the model as it was: its predictions are those of the last training that ended.
        """
        name = type(self).__name__
        self._check_target(data)
        self._check_range(data)
        before = dict(vars(self))
        self._began, self._best = time.perf_counter(), {}
        note_seed(self)
        self.training_ = []
        try:
            with announced(f"{name} on {data.plan.source}"), threads_limited(most_threads(self)):
                try:
                    solve()
                except KeyboardInterrupt:
                    if not self._best:
                        raise
                    vars(self).update(self._best)
                    message = (
                        f"{name}: interrupted after {len(self.training_)} iterations; the best model so far is kept"
                    )
                    for listener in listeners():
                        listener.interrupted()
                    warnings.warn(message, InterruptedTraining, stacklevel=4)
                self._check_finite(data)
                self._remember(data)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        del self._began, self._best

    def _check_hyperparameters(self) -> None:
        """Raise `InvalidParameter` for hyperparameters that rules forbid, or that do not go together."""
        check_params(type(self).__name__, self.rules, self.get_params())
        self._check_params()

    def _check_params(self) -> None:
        """Raise `InvalidParameter` for combinations that rules cannot express."""

    def _look_at(self, X: Any) -> None:
        """Look at what a person passed as X, before a training reads it: refuse it, or note what it is."""

    def _encoding_options(self, options: dict[str, Any] | None) -> dict[str, Any]:
        """Return the encoding options of a training: those of the person, and what the estimator asks for."""
        return {**(options or {}), **self.encoding_options}

    @property
    def _goes_on(self) -> bool:
        """Whether `fit` continues with what it learned before, in the encoding that it belongs to."""
        return False

    def _check_target(self, data: Data) -> None:
        """Raise `InvalidData` for a target this estimator cannot learn."""
        target = data.schema.target
        if self.task == "classification" and target is not None and len(target.classes or ()) < 2:
            raise InvalidData(
                f"{type(self).__name__}: the target {target.name!r} must have at least 2 classes; "
                f"got only one class: {(target.classes or ('none',))[0]!r}"
            )

    def _check_range(self, data: Data) -> None:
        """Raise `InvalidData` for columns of values whose squares overflow."""
        features = data.schema.encoding.features
        large = [feature.name for feature in features if any(abs(fill) > LARGEST for fill in feature.fill)]
        if large:
            raise InvalidData(
                f"{type(self).__name__}: values of {data.plan.source} are too large to be squared: their mean must be "
                f"within {LARGEST:g}, and is not in {listing(large)}. Divide the column, or leave it out"
            )

    def _check_finite(self, data: Data) -> None:
        """Raise `InvalidData` where the arithmetic overflowed: such a model predicts nothing."""
        for name in ("coef_", "intercept_"):
            if not np.isfinite(vars(self).get(name, 0.0)).all():
                raise InvalidData(
                    f"{type(self).__name__}: {name} must be finite, and is not: values of {data.plan.source} are too "
                    "large or too uneven. Scale the columns or the target, or leave out the rows of extreme values"
                )

    def _fit(self, data: Data) -> None:
        raise NotImplementedError

    def _iteration(self, number: int, **values: float) -> None:
        """Record and announce one step of the solver."""
        values = {name: float(value) for name, value in values.items()}
        seconds = time.perf_counter() - self._began
        self.training_.append({"iteration": int(number), "seconds": seconds, **values})
        for listener in listeners():
            listener.iteration(number, **values)

    def _keep(self, **attributes: Any) -> None:
        """Remember fitted attributes as the best model so far, should the training be interrupted."""
        self._best = attributes

    def _remember(self, data: Data) -> None:
        self.schema_, self.plan_ = data.schema, data.plan
        self.n_features_in_ = data.schema.n_features
        self._name_features(data.schema)

    def _name_features(self, schema: Schema) -> None:
        if schema.named:
            self.feature_names_in_ = np.array(schema.encoding.columns, dtype=object)
        else:
            vars(self).pop("feature_names_in_", None)
        if schema.target is not None and schema.target.classes is not None:
            self.classes_ = label_array(schema.target.classes)

    def explain(self) -> Plan:
        """Return the plan of the training; printing it shows columns, pruning, order, solver, passes, memory."""
        self._check_fitted()
        return self.plan_

    @property
    def terms_(self) -> tuple[str, ...]:
        """Names of the terms, in the order of the coefficients."""
        self._check_fitted()
        return self.schema_.encoding.terms

    # prediction ------------------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if "schema_" not in vars(self):
            raise not_fitted(type(self).__name__)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether the estimator is fitted, for scikit-learn's `check_is_fitted`."""
        return "schema_" in vars(self)

    def _score(self, X: Any, method: str, by_block: Callable[[Block], np.ndarray], con: Any = None) -> Any:
        """Score X: where it lies if it is a relation, else block by block in row order."""
        self._check_fitted()
        scorer = find_scorer(X)
        if scorer is not None:
            return scorer(self, X, method)
        return self._streamed(X, method, by_block, con)

    def _streamed(self, X: Any, method: str, by_block: Callable[[Block], np.ndarray], con: Any = None) -> Any:
        """Return an array, block by block in row order, of relations too: for what SQL has no column for."""
        self._check_fitted()
        with as_data(X, schema=self.schema_, con=con, options=self._scoring_options()) as data:
            parts = list(data.map(by_block, purpose=method))
        return np.concatenate(parts) if parts else by_block(self._no_rows())

    def _scoring_options(self) -> dict[str, Any]:
        """Return the options of `as_data` by which a fitted model reads rows."""
        return {"owner": type(self).__name__, **({"vectors": "sized"} if self.keeps_vectors else {})}

    def _no_rows(self) -> Block:
        encoding = self.schema_.encoding
        none = SparseRows(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0))
        sparse = none if encoding.n_terms > encoding.n_dense else None
        return Block(np.zeros((0, encoding.n_dense), order="F"), sparse, None, None, 0)

    # state -----------------------------------------------------------------------------------------------------

    def form(self) -> Form | None:
        """Return the model as a form that native SQL scores at least as fast as the kernels, or None."""
        return None

    def query_form(self) -> Form | None:
        """Return the model as a form to write as a query of any size, or None where it has none."""
        return self.form()

    def attributions(self) -> Attributions | None:
        """Return what explains predictions as sums over the input columns, or None."""
        from dbml.estimators.attributions import attributions_of_form

        self._check_fitted()
        return None if self.schema_.target is None else attributions_of_form(self.query_form(), self.schema_.encoding)

    def get_state(self) -> ModelState:
        """Return the fitted model as plain data: every attribute whose name ends with ``_``."""
        self._check_fitted()
        fitted = {
            n: v for n, v in vars(self).items() if n.endswith("_") and not n.startswith("_") and n not in _DERIVED
        }
        arrays = {n: v for n, v in fitted.items() if isinstance(v, np.ndarray)}
        attributes = {n: _plain(v) for n, v in fitted.items() if n not in arrays}
        params = {n: _plain(v) for n, v in self.get_params().items()}
        params.update(noted_seed(self))
        return ModelState(type(self).__name__, params, self.schema_, attributes, arrays)

    @classmethod
    def from_state(cls, state: ModelState) -> Self:
        """Rebuild a fitted model from `get_state`."""
        params = dict(state.params)
        for name, parameter in signature(cls).parameters.items():
            if isinstance(parameter.default, tuple) and isinstance(params.get(name), list):
                params[name] = tuple(params[name])  # stored as JSON, which has no tuples
        model = cls(**params)
        model.schema_, model.plan_ = state.schema, Plan("registry")
        for name, value in {**state.attributes, **state.arrays}.items():
            setattr(model, name, value)
        model._name_features(state.schema)
        return model


def _plain(value: Any) -> Any:
    """Return a value with its NumPy scalars and arrays as Python ones."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
