"""What a call must know of the model that it names, and who finds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dbml_sql.expressions import identifier, string
from dbml_sql.pruned import TreeModelForm
from dbml_sql.python_functions import function_name
from dbml_sql.retyped import given_values
from dbml_sql.statements import ModelReference


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """What a call must know of the version of a model that it names.

    Attributes
    ----------
    name : str
        Name of the model as the registry spells it.
    model_id, version, run_id : int
        Keys of its rows in schema ``ml``; `run_id` None where no training run was recorded.
    columns : tuple of str
        Input columns in feature order.
    target : str or None
        Label column.
    target_type : str
        DuckDB type of the label.
    task : str
        regression, classification or none.
    classes : tuple or None
        Class labels in order.
    native : str or None
        The name after ``predict_`` and ``predict_proba_`` of the model's macros (its own name; a version that is not
        the current one may have macros under another), None where it has none: then calls stay calls of the UDFs
        ``predict`` and ``predict_proba``.
    probabilities : bool
        Whether it gives probabilities.
    threshold : bool
        Whether predictions take a threshold (two classes, with probabilities).
    type : str
        Class of the estimator.
    predicts : bool
        Whether it predicts: transformers do not.
    groups : bool
        Whether, without a label, it predicts the number of a group.
    transforms : bool
        Whether it turns a row into numbers.
    schema : str
        Schema of its rows and macros, quoted: with its database, where that is not the current one.
    categories : frozenset of str
        Input columns that are one category.
    query : str or None
        Query that it was trained on, where that is known and can run again: it has no parameters.
    types : tuple of str
        DuckDB types of the input columns in training; of matrix factorizations only.
    implicit : bool
        Whether it was trained on implicit feedback.
    zoned : frozenset of str
        Input columns that are times, of the type TIMESTAMP WITH TIME ZONE in training.
    labels : str or None
        The class labels as ``ml.model_versions`` has them.
    database : str or None
        Database whose registry holds it; None in text without a database behind it.
    vectors : str or None
        Table of the rows that it keeps; None where it keeps none.
    ids : bool
        Whether that table has a column ``id``.
    """

    name: str
    model_id: int
    version: int
    columns: tuple[str, ...]
    target: str | None = None
    target_type: str = "DOUBLE"
    task: str = "regression"
    classes: tuple[Any, ...] | None = None
    native: str | None = None
    probabilities: bool = False
    threshold: bool = False
    run_id: int | None = None
    type: str = ""
    predicts: bool = True
    groups: bool = False
    transforms: bool = False
    schema: str = "ml"
    categories: frozenset[str] = frozenset()
    query: str | None = None
    database: str | None = None
    vectors: str | None = None
    ids: bool = False
    types: tuple[str, ...] = ()
    implicit: bool = False
    zoned: frozenset[str] = frozenset()
    labels: str | None = None

    @property
    def follows(self) -> bool:
        """Whether its macros are those of the bare name, which are another version's when that becomes current."""
        return self.native == self.name

    @property
    def one_version(self) -> ModelSignature:
        """Itself, with the macros of its version, which stay what they are."""
        return self if self.native is None else replace(self, native=f"{self.name}@{self.version}")

    @property
    def exact(self) -> str:
        """What the Python functions find this version by: they may look from another database than the statement."""
        name = f"{self.name}@{self.version}"
        return name if self.database is None else f"{self.database}.{name}"

    def python_call(self, function: str, row: str = "t") -> str:
        """Return the call of a Python function with this version of the model and its columns of a row."""
        return f"{function_name(function)}({', '.join([string(self.exact), *self.given(self.of_row(row))])})"

    def of_row(self, row: str = "t") -> list[str]:
        """Return the input columns of a row by its alias."""
        return [f"{row}.{identifier(column)}" for column in self.columns]

    def given(self, values: Sequence[str]) -> list[str]:
        """Return the values of the input columns as Python functions read them: times in the session's time zone."""
        return given_values(f"model '{self.name}'", self.columns, values, self.zoned)

    def about(self, function: str, *more: str) -> str:
        """Return the call of a Python function that needs the model alone, and what more it is told, as SQL."""
        return f"{function_name(function)}({', '.join([string(self.exact), *more])})"


class Resolver(Protocol):
    """Finds models; the connection implements it over the registry."""

    def resolve(self, reference: ModelReference) -> ModelSignature:
        """Return the signature of a model; raise an error that says which models exist for an unknown one."""

    def has_function(self, name: str) -> bool:
        """Return whether the person has a function or macro of a name in lower case, which calls may mean."""

    def placed(self, model: ModelSignature, query: str) -> str:
        """Return the training query of a model with its tables as they are named from where the statement runs."""

    def outputs(self, model: ModelSignature) -> tuple[str, ...]:
        """Return the names of the columns that `transform` of a model makes."""

    def n_components(self, model: ModelSignature) -> int | None:
        """Return the number of principal components of a model, None where it has none."""

    def trees(self, model: ModelSignature) -> TreeModelForm | None:
        """Return the trees of a model that native SQL scores, None where it has none."""
