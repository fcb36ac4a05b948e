"""What the rewriting of calls asks about models."""

from __future__ import annotations

import json
from typing import Any

import duckdb
from dbml_sql.forms import TreeForm
from dbml_sql.groups import GROUP_LINKS
from dbml_sql.pruned import TreeModelForm
from dbml_sql.query_text import has_parameters
from dbml_sql.recommend import FACTORIZATION
from dbml_sql.signature import ModelSignature
from dbml_sql.statements import ModelReference
from dbml_sql.transform import TRANSFORM_LINKS

from dbml.errors import RegistryError
from dbml.registry.plain_json import labels_of, load
from dbml.registry.query_tables import query_to_read
from dbml.registry.reading import first_row
from dbml.registry.versions import (
    find_version,
    macro_name,
    read_inputs,
    unless_dropped,
    vector_columns,
    vector_table_name,
)

_PROBABLE = ("logistic", "softmax", "one_vs_rest", "probability")


class RegistryResolver:
    """Finds models in the registry of a connection, inside its own open transaction."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con

    def resolve(self, reference: ModelReference) -> ModelSignature:
        """Return the signature of a model.

        Raises
        ------
        UnknownName
            No such model, version or alias; the message lists what exists.
        RegistryError
            Rows of the model are missing.
        """
        found = find_version(self._con, reference)
        row = first_row(
            self._con.execute(
                "SELECT current_database(), type, task, target, target_type, classes, link, run_id, query, params "
                f"FROM {found.place.schema}.model_versions WHERE model_id = ? AND version = ?",
                [found.model_id, found.version],
            )
        )
        inputs = read_inputs(self._con, found)
        if row is None or not inputs.columns:
            damaged = RegistryError(
                f"{found} is damaged: rows of it are missing in schema ml; restore the database from a backup, or "
                "train again"
            )
            raise unless_dropped(self._con, found, damaged)
        current, kind, task, target, target_type, classes, link, run_id, query, params = row
        labels = labels_of(str(found), classes)
        bare = reference.version is None and reference.alias is None
        native = None if link is None else macro_name(found, bare)
        probable = _has_probable_link(link, params) if native else _gives_probabilities(kind, params)
        kept = set() if native else vector_columns(self._con, found)
        own = found.place.database == current
        return ModelSignature(
            name=found.name,
            model_id=found.model_id,
            version=found.version,
            columns=inputs.columns,
            target=target,
            target_type=target_type or "DOUBLE",
            task=task,
            classes=labels,
            native=native,
            probabilities=(labels is not None or target is None) and probable,
            threshold=labels is not None and len(labels) == 2 and probable,
            run_id=run_id,
            type=kind,
            predicts=target is not None or (link in GROUP_LINKS if native else _has(kind, "predict")),
            groups=target is None and (link in GROUP_LINKS if native else _is_clusterer(kind)),
            transforms=target is None and (link in TRANSFORM_LINKS if native else _has(kind, "transform")),
            categories=inputs.categories,
            zoned=inputs.zoned,
            query=None if query is None or has_parameters(query) else query,
            schema="ml" if own else found.place.schema,
            database=found.place.database,
            vectors=f"{'ml' if own else found.place.schema}.{vector_table_name(found)}" if kept else None,
            ids="id" in kept,
            types=inputs.types if kind == FACTORIZATION else (),
            labels=classes,
            implicit=kind == FACTORIZATION and json.loads(params).get("feedback") == "implicit",
        )

    def has_function(self, name: str) -> bool:
        """Return whether there is a function or macro of a name in lower case that is not ours."""
        query = (
            "SELECT count(*) FROM duckdb_functions() WHERE lower(function_name) = ? AND schema_name <> 'ml' "
            "AND NOT (function_type = 'scalar' AND varargs IS NOT DISTINCT FROM 'ANY')"  # as ours are
        )
        row = first_row(self._con.execute(query, [name]))
        return row is not None and row[0] > 0

    def placed(self, model: ModelSignature, query: str) -> str:
        """Return the training query of a model with its tables as they are named from where the statement runs."""
        assert model.database is not None
        return query_to_read(self._con, f"{model.name}@{model.version}", query, model.database)

    def outputs(self, model: ModelSignature) -> tuple[str, ...]:
        """Return the names of the columns that `transform` of a model makes."""
        from dbml.registry.macros import outputs_of

        return tuple(outputs_of(self._load(model)))

    def n_components(self, model: ModelSignature) -> int | None:
        """Return the number of principal components of a model, None where it has none."""
        query = (
            f"SELECT max(shape[1]) FILTER (name = 'components_'), bool_or(name = 'explained_variance_ratio_') "
            f"FROM {model.schema}.arrays WHERE model_id = ? AND version = ?"
        )
        row = first_row(self._con.execute(query, [model.model_id, model.version]))
        return row[0] if row is not None and row[1] else None

    def trees(self, model: ModelSignature) -> TreeModelForm | None:
        """Return the trees of a model that native SQL scores, None where it has none."""
        query = f"SELECT bool_and(fill = []) FROM {model.schema}.features WHERE model_id = ? AND version = ?"
        row = first_row(self._con.execute(query, [model.model_id, model.version]))
        if row is None or not row[0]:  # terms of a linear model: its estimator is not loaded in vain
            return None
        loaded = self._load(model)
        form, schema = loaded.form(), loaded.schema_
        if not isinstance(form, TreeForm) or schema.target is None:
            return None
        return TreeModelForm(form, schema.encoding, schema.target)

    def _load(self, model: ModelSignature) -> Any:
        from dbml.registry.store import load_version

        reference = ModelReference(model.name, version=model.version, database=model.database)
        return load_version(self._con, find_version(self._con, reference))


def _has(kind: str, method: str) -> bool:
    # Estimators bring the kernels with them, which a model in SQL does not need.
    from dbml.estimators.discovery import stored_kind

    return hasattr(stored_kind(kind), method)


def _has_probable_link(link: str | None, params: str) -> bool:
    """Whether native SQL gives probabilities; dbml 0.1 stored ``one_vs_rest`` of machines that have none, too."""
    return link in _PROBABLE and (link != "one_vs_rest" or json.loads(params).get("loss") == "log_loss")


def _gives_probabilities(kind: str, params: str) -> bool:
    """Whether a model has probabilities: of some estimators a hyperparameter says so."""
    from dbml.estimators.discovery import stored_kind

    found = stored_kind(kind)
    if found is None or not hasattr(found, "predict_proba"):
        return False
    return hasattr(found(**load(params, f"a model of type {kind}: hyperparameters")), "predict_proba")


def _is_clusterer(kind: str) -> bool:
    from dbml.estimators.discovery import stored_kind

    return getattr(stored_kind(kind), "_estimator_type", None) == "clusterer"
