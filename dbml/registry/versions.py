"""Names, versions and aliases: ``late`` is the current version, ``late@3`` the third, ``late@champion`` an alias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import duckdb
from dbml_sql import macros
from dbml_sql.errors import SqlError
from dbml_sql.expressions import ZONED
from dbml_sql.statements import ModelReference, parse_reference

from dbml.errors import InvalidParameter, RegistryError, UnknownName, listing, nearest
from dbml.registry.database import Place, attached, other_places, places
from dbml.registry.migrations import schema_number
from dbml.registry.reading import first_row

_TEXTS = 2  # the migration that made the table of texts
_NO_MODELS = """SELECT NULL::VARCHAR AS name, NULL::INTEGER AS version, NULL::VARCHAR AS type, NULL::VARCHAR AS task,
NULL::VARCHAR AS target, NULL::VARCHAR[] AS features, NULL::VARCHAR AS params, NULL::MAP(VARCHAR, DOUBLE) AS metrics,
NULL::BIGINT AS n_rows, NULL::VARCHAR[] AS aliases, NULL::BIGINT AS versions, NULL::TIMESTAMP AS created_at,
NULL::VARCHAR AS dbml_version, NULL::VARCHAR AS query WHERE false"""


@dataclass(frozen=True, slots=True)
class Version:
    """One saved version of a model.

    Attributes
    ----------
    place : Place
        The registry it lies in.
    model_id, version : int
        Its key there.
    name : str
        The model's name as it was first written.
    """

    place: Place
    model_id: int
    name: str
    version: int

    def __str__(self) -> str:
        return f"model '{self.name}@{self.version}'"


def read_reference(reference: str | ModelReference) -> ModelReference:
    """Return the parts of ``late``, ``late@3`` or ``late@champion``."""
    if isinstance(reference, ModelReference):
        return reference
    if not isinstance(reference, str):
        raise InvalidParameter(f"a model's name must be a text such as 'late' or 'late@3'; got {reference!r}")
    try:
        return parse_reference(reference)
    except SqlError as error:
        raise InvalidParameter(f"model {reference!r}: {error.reason}") from error


def check_name(name: str) -> None:
    """Raise `InvalidParameter` for a name that no model can have."""
    if not isinstance(name, str) or not name.strip() or "@" in name or "\0" in name:
        raise InvalidParameter(
            f"a model's name must be a text that is not empty and has no '@' (it stands before versions); got {name!r}"
        )
    try:
        macros.check_name(name)
    except SqlError as error:
        raise InvalidParameter(error.reason) from error


def one_version(model: str | ModelReference, version: int | None = None, alias: str | None = None) -> ModelReference:
    """Return the reference to one version of a model that is named without one; the current one by default."""
    if isinstance(model, ModelReference):
        return ModelReference(model.name, version, alias, model.database)
    return ModelReference(model, version, alias)


def read_target(con: duckdb.DuckDBPyConnection, name: str | ModelReference) -> ModelReference:
    """Return where a new version is saved: ``other.late`` goes to ``other`` if a database of that name is attached.

    A model of the current database whose name has the dot itself comes first.
    """
    if isinstance(name, ModelReference):
        return name
    check_name(name)
    split = None if _named(con, places(con), name) else next(_splits(con, name), None)
    return ModelReference(name) if split is None else ModelReference(split[1], database=split[0].database)


def model_names(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the names of all models, in alphabetical order."""
    return _names_in(con, places(con))


def _names_in(con: duckdb.DuckDBPyConnection, where: list[Place]) -> list[str]:
    found: set[str] = set()
    for place in where:
        found.update(n for (n,) in con.execute(f"SELECT name FROM {place.schema}.registered_models").fetchall())
    return sorted(found)


def models_query(con: duckdb.DuckDBPyConnection) -> str:
    """Return the query of all models, each at its current version: those of ``ml.models``."""
    schemas = [place.schema for place in places(con)]
    if not schemas:
        return _NO_MODELS
    return " UNION ALL BY NAME ".join(f"FROM {schema}.models" for schema in schemas)


def find_version(con: duckdb.DuckDBPyConnection, reference: str | ModelReference) -> Version:
    """Return the version that a reference means now.

    Raises
    ------
    UnknownName
        No such model, version or alias; the message lists what exists.
    """
    wanted = read_reference(reference)
    current = _current(con, wanted)
    if current is None:
        raise _unknown(con, wanted)
    if wanted.version is not None:
        return _numbered(con, current, wanted.version)
    return current if wanted.alias is None else _aliased(con, current, wanted.alias)


def _current(con: duckdb.DuckDBPyConnection, wanted: ModelReference) -> Version | None:
    """Return the current version of a model: of the database that is named, else of the current one.

    A name such as ``other.late`` that is no model there means ``late`` of the attached database ``other``.
    """
    if wanted.database is not None:
        return _named(con, _with_registry(con, attached(con).named(wanted.database)), wanted.name)
    found = _named(con, places(con), wanted.name)
    for place, name in _splits(con, wanted.name) if found is None else ():
        found = found or _named(con, _with_registry(con, place), name)
    return found


def _named(con: duckdb.DuckDBPyConnection, where: list[Place], name: str) -> Version | None:
    for place in where:
        query = f"SELECT model_id, name, current_version FROM {place.schema}.registered_models"
        row = first_row(con.execute(f"{query} WHERE lower(name) = lower(?)", [name]))
        if row is not None:
            return Version(place, *row)
    return None


def _with_registry(con: duckdb.DuckDBPyConnection, place: Place) -> list[Place]:
    return [place] if schema_number(con, place.database) > 0 else []


def _splits(con: duckdb.DuckDBPyConnection, name: str) -> Iterator[tuple[Place, str]]:
    """Yield the attached databases, and names of models in them, that a name with dots may mean."""
    dots = [i for i, sign in enumerate(name) if sign == "." and name[i + 1 :]]
    if not dots:
        return
    databases = attached(con)
    for i in dots:
        place = databases.find(name[:i])
        if place is not None:
            yield place, name[i + 1 :]


def _unknown(con: duckdb.DuckDBPyConnection, wanted: ModelReference) -> UnknownName:
    """Return the error for a model that does not exist, with those that do, of other databases too."""
    if wanted.database is None:
        names, where = model_names(con), ""
    else:
        place = attached(con).named(wanted.database)
        names, where = _names_in(con, _with_registry(con, place)), f" in database {place.database!r}"
    exist = f"models: {listing(names)}" if names else "there are no models yet"
    hint = nearest(wanted.name, names)
    elsewhere = [f"{p.database}.{n}" for p in other_places(con) for n in _names_in(con, [p])]
    if wanted.database is None and elsewhere:
        exist += f"; in other databases: {listing(elsewhere)}"
        same = [name for name in elsewhere if name.partition(".")[2].casefold() == wanted.name.casefold()]
        hint = f"; did you mean {same[0]!r}?" if same else hint
    return UnknownName(f"no model {wanted.name!r}{where}{hint} ({exist})")


def _numbered(con: duckdb.DuckDBPyConnection, current: Version, number: int) -> Version:
    versions = kept_versions(con, current)
    if number in versions:
        return replace(current, version=number)
    exist = listing(map(str, versions))
    raise UnknownName(f"model {current.name!r} has no version {number} (versions: {exist})")


def _aliased(con: duckdb.DuckDBPyConnection, current: Version, alias: str) -> Version:
    query = f"SELECT lower(alias), version FROM {current.place.schema}.aliases WHERE model_id = ? ORDER BY 1"
    aliases = dict(con.execute(query, [current.model_id]).fetchall())
    if alias.lower() in aliases:
        return replace(current, version=aliases[alias.lower()])
    exist = f"aliases: {listing(aliases)}" if aliases else "it has no aliases"
    raise UnknownName(f"model {current.name!r} has no alias {alias!r}{nearest(alias, aliases)} ({exist})")


def kept_versions(con: duckdb.DuckDBPyConnection, of: Version) -> list[int]:
    """Return the version numbers of a model that are kept, ascending."""
    query = f"SELECT version FROM {of.place.schema}.model_versions WHERE model_id = ? ORDER BY version"
    return [version for (version,) in con.execute(query, [of.model_id]).fetchall()]


def unless_dropped(con: duckdb.DuckDBPyConnection, of: Version, error: RegistryError) -> RegistryError | UnknownName:
    """Return an error about a version, or that it is gone: another connection may drop it while this one reads it."""
    query = f"SELECT current_version FROM {of.place.schema}.registered_models WHERE model_id = ?"
    # A version that is to be there, and has no row, is damaged.
    wanted = {version for (version,) in con.execute(query, [of.model_id]).fetchall()}
    return error if of.version in wanted.union(kept_versions(con, of)) else dropped(of)


def dropped(of: Version) -> UnknownName:
    """Return the error for a version that is gone since its name was looked up."""
    return UnknownName(f"{of} was dropped by another connection")


def vector_table(of: Version) -> str:
    """Return the qualified name of the table of the rows that a version keeps, if it keeps some."""
    return f"{of.place.schema}.{vector_table_name(of)}"


def vector_table_name(of: Version) -> str:
    """Return the name of that table in schema ``ml``."""
    return f"vectors_{of.model_id}_{of.version}"


def vector_columns(con: duckdb.DuckDBPyConnection, of: Version) -> set[str]:
    """Return the columns of the table of a version; none where it has no table."""
    query = "SELECT column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = 'ml' AND table_name = ?"
    return {name for (name,) in con.execute(query, [of.place.database, vector_table_name(of)]).fetchall()}


def macro_name(of: Version, bare: bool) -> str | None:
    """Return what follows ``predict_`` in the macros of a version that has some, None where they are not in reach.

    The bare name is always the current version; every version keeps macros of its own, ``predict_late@2``, which a view
    that names a version calls for good.
    """
    if of.place.in_session:
        return None
    return of.name if bare else f"{of.name}@{of.version}"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The input columns of a version.

    Attributes
    ----------
    columns : tuple of str
        In the order of its scoring functions; none where its rows are missing.
    categories : frozenset of str
        Those that are one category each.
    zoned : frozenset of str
        Those that are times, of the type TIMESTAMP WITH TIME ZONE in training.
    types : tuple of str
        The types of the features in training: those of the columns, for models with a feature a column.
    """

    columns: tuple[str, ...]
    categories: frozenset[str]
    zoned: frozenset[str]
    types: tuple[str, ...]


def read_inputs(con: duckdb.DuckDBPyConnection, of: Version) -> Inputs:
    """Return the input columns of a version."""
    rows = con.execute(
        "SELECT position, column_name, values_column, type, kind = 'category' AND part IS NULL, part IS NOT NULL "
        f"FROM {of.place.schema}.features WHERE model_id = ? AND version = ?",
        [of.model_id, of.version],
    ).fetchall()
    rows.sort(key=lambda row: row[0])
    return Inputs(
        tuple(dict.fromkeys(name for _, column, values, *_ in rows for name in (column, values) if name is not None)),
        frozenset(column for _, column, *_, is_category, _ in rows if is_category),
        frozenset(column for _, column, _, type_, _, is_time in rows if is_time and type_ == ZONED),
        tuple(type_ for *_, type_, _, _ in rows),
    )


def set_alias(con: duckdb.DuckDBPyConnection, reference: str | ModelReference, alias: str) -> Version:
    """Let an alias mean a version; it leaves the version it meant before. Runs in the caller's transaction."""
    if not isinstance(alias, str) or not alias.strip() or alias.isdigit() or "@" in alias:
        raise InvalidParameter(f"an alias must be a word that is not a number and has no '@'; got {alias!r}")
    found = find_version(con, reference)
    _delete_alias(con, found, alias)
    con.execute(
        f"INSERT INTO {found.place.schema}.aliases VALUES (?, ?, ?, ?)",
        [found.model_id, alias, found.version, datetime.now(UTC).replace(tzinfo=None)],
    )
    return found


def remove_alias(con: duckdb.DuckDBPyConnection, model: str | ModelReference, alias: str) -> Version:
    """Remove an alias of a model. Runs in the caller's transaction."""
    found = find_version(con, one_version(model, alias=alias))
    _delete_alias(con, found, alias)
    return found


def _delete_alias(con: duckdb.DuckDBPyConnection, of: Version, alias: str) -> None:
    query = f"DELETE FROM {of.place.schema}.aliases WHERE model_id = ? AND lower(alias) = lower(?)"
    con.execute(query, [of.model_id, alias])


def rename_row(con: duckdb.DuckDBPyConnection, found: Version, name: str) -> Version:
    """Give a model another name. Runs in the caller's transaction."""
    check_name(name)
    taken = first_row(
        con.execute(
            f"SELECT name FROM {found.place.schema}.registered_models WHERE lower(name) = lower(?) AND model_id <> ?",
            [name, found.model_id],
        )
    )
    if taken is not None:
        raise RegistryError(f"model {found.name!r} cannot be renamed: there is a model {taken[0]!r} already")
    con.execute(
        f"UPDATE {found.place.schema}.registered_models SET name = ? WHERE model_id = ?", [name, found.model_id]
    )
    return Version(found.place, found.model_id, name, found.version)


def set_current(con: duckdb.DuckDBPyConnection, found: Version) -> None:
    """Let the bare name mean a version. Runs in the caller's transaction."""
    con.execute(
        f"UPDATE {found.place.schema}.registered_models SET current_version = ? WHERE model_id = ?",
        [found.version, found.model_id],
    )


def delete_rows(con: duckdb.DuckDBPyConnection, found: Version, whole: bool) -> None:
    """Delete a version, or all of a model. Runs in the caller's transaction."""
    for number in kept_versions(con, found) if whole else [found.version]:
        con.execute(f"DROP TABLE IF EXISTS {vector_table(replace(found, version=number))}")
    tables = ["model_versions", "aliases", "features", "weights", "arrays"] + ["registered_models"] * whole
    tables += ["text_features"] * (schema_number(con, found.place.database) >= _TEXTS)
    for table in tables:
        condition = "model_id = ?" if whole else "model_id = ? AND version = ?"
        keys = [found.model_id] if whole else [found.model_id, found.version]
        con.execute(f"DELETE FROM {found.place.schema}.{table} WHERE {condition}", keys)
