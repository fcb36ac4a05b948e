"""Vectors that are shorter or longer than those of a model; the type of a LIST does not tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dbml_sql.expressions import identifier, vector
from dbml_sql.features import Encoding

from dbml.data.source import Source
from dbml.errors import InvalidData

if TYPE_CHECKING:
    import pyarrow as pa


def vector_widths(encoding: Encoding) -> Mapping[str, int]:
    """Return the length of the vectors of each column that holds some."""
    return {feature.column: feature.width for feature in encoding.features if feature.kind == "vector"}


def check_lengths(who: str, encoding: Encoding, columns: Sequence[pa.Array]) -> None:
    """Raise `InvalidData` where an input column of a model has a vector of another length; NULL is none."""
    widths = vector_widths(encoding)
    for name, column in zip(encoding.columns, columns, strict=True):
        if name in widths:
            _refuse(who, name, widths[name], _lengths(column))


def _lengths(column: pa.Array) -> list[int]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_fixed_size_list(column.type):
        return [column.type.list_size] if len(column) > column.null_count else []
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return pc.list_value_length(column).unique().drop_null().to_pylist()
    return []


def _refuse(who: str, name: str, width: int, lengths: Iterable[int]) -> None:
    wrong = [length for length in lengths if length != width]
    if wrong:
        raise InvalidData(f"{who}: column {name!r} must hold vectors of {width:,} numbers; got one of {wrong[0]:,}")


def lists_among(encoding: Encoding, types: Mapping[str, str]) -> Mapping[str, int]:
    """Return the length of the vectors of each column that is a list now, of which the type tells no length.

    Parameters
    ----------
    encoding : Encoding
        Of the model.
    types : mapping
        Types of the columns of the rows, whatever the case of their names.
    """
    folded = {name.casefold(): kind for name, kind in types.items()}
    widths = vector_widths(encoding)
    return {name: width for name, width in widths.items() if folded.get(name.casefold(), "").endswith("[]")}


def types_of(relation: Any) -> dict[str, str]:
    """Return the types of the columns of a relation."""
    return {name: str(kind) for name, kind in zip(relation.columns, relation.types, strict=True)}


def check_relation(who: str, encoding: Encoding, relation: Any) -> None:
    """Raise `InvalidData` where a relation has a vector of another length: a pass over its columns of lists, if any."""
    for name, width in lists_among(encoding, types_of(relation)).items():
        length = f"len({vector(identifier(name))})"
        rows = relation.filter(f"{length} <> {width}").project(f"{length} AS n").limit(1).fetchall()
        _refuse(who, name, width, [n for (n,) in rows])


def check_source(who: str, encoding: Encoding, source: Source, whole: bool) -> None:
    """Raise `InvalidData` where a table or query has a vector of another length, or none at all if they must be whole.

    A pass over its vectors; over its lists alone where NULL is allowed.
    """
    for name, width in vector_widths(encoding).items():
        column = source.find(name, "column")
        if not whole and not source.columns[column].endswith("[]"):
            continue
        length = f"len({vector(identifier(column))})"
        counts = ["count(*)", f"count({identifier(column)})", f"any_value({length}) FILTER ({length} <> {width})"]
        n_rows, n_vectors, wrong = source.fetch(source.select(counts))[0]
        _refuse(who, name, width, [] if wrong is None else [wrong])
        if whole and n_vectors < n_rows:
            raise no_vector(who, name, n_rows - n_vectors, n_rows)


def no_vector(who: str, name: str, n_missing: int, n_rows: int) -> InvalidData:
    """Return the error of NULL in place of whole vectors: the mean of all vectors is no query."""
    return InvalidData(
        f"{who}: column {name!r} must hold a vector in every row; {n_missing:,} of these {n_rows:,} rows hold NULL. "
        f"Leave them out with WHERE {identifier(name)} IS NOT NULL"
    )
