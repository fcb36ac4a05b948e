"""From what a person passed to a `Data`, and from a model to predictions, by the type of X.

Whoever understands a type registers for it: `dbml.data` for what can be read, `dbml.registry` for what is scored in
the database. The packages that register are named by `provide` in `dbml/__init__.py` and loaded at first use, so
that importing dbml stays cheap and no import goes up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dbml.errors import InvalidData

if TYPE_CHECKING:
    from dbml_sql.features import Reading

    from dbml.passes.data import Data
    from dbml.passes.schema import Schema, Task

_providers: list[Callable[[], object]] = []
_readers: list[tuple[Callable[[Any], bool], Callable[..., Data]]] = []
_keepers: list[tuple[Callable[[Any], bool], Callable[[Any], Any]]] = []
_scorers: list[tuple[Callable[[Any], bool], Callable[..., Any]]] = []


def provide(load: Callable[[], object]) -> None:
    """Name a package that registers readers or scorers when it is imported; called once, at first use."""
    _providers.append(load)


def register_reader(accepts: Callable[[Any], bool], read: Callable[..., Data]) -> None:
    """Register `read(X, y, *, sample_weight, task, schema, con, options, encode) -> Data` for the X of `accepts`."""
    _readers.append((accepts, read))


def register_keeper(accepts: Callable[[Any], bool], keep: Callable[[Any], Any]) -> None:
    """Register `keep(X) -> Any`, which `as_data` reads as often as asked, for an X that gives its rows once."""
    _keepers.append((accepts, keep))


def register_scorer(accepts: Callable[[Any], bool], score: Callable[..., Any]) -> None:
    """Register `score(model, X, method) -> Any` for an X that is scored where it lies (a relation)."""
    _scorers.append((accepts, score))


def load_providers() -> None:
    """Import the packages that register readers, scorers and the engine, once."""
    while _providers:
        _providers.pop(0)()


def as_data(
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    task: Task = "none",
    schema: Schema | None = None,
    con: Any = None,
    options: dict[str, Any] | None = None,
    encode: Reading = "terms",
) -> Data:
    """Return the `Data` over X.

    Parameters
    ----------
    X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or SciPy sparse matrix
        The rows.
    y : array, column name or None
        Target. A name when X has columns; None with a `task` means the column ``label``, with a `schema` that of its
        target.
    sample_weight : array, column name or None
        Weights.
    task : {"regression", "classification", "none"}
        How the target is read. Rows with a missing target are left out of tables; in arrays they are an error.
    schema : Schema, optional
        The schema of a fitted model: encode as it says (matching columns by name) instead of learning one.
    con : connection, optional
        Where a table name or SQL is looked up.
    options : dict, optional
        Encoding options: ``max_levels``, ``min_level_rows``, ``sparse``, ``exclude``, ….
    encode : {"terms", "values", "counts", "categories", "keys"}, default="terms"
        What columns become where no `schema` is given (a schema has its own style): ``terms`` are centred numbers with
        flags for missing values and one-hot levels, ``values`` are plain numbers and codes of levels with NaN for
        missing values; see `dbml_sql.features.Feature`. Two more ways to make terms: ``counts`` are centred at 0, so
        that blocks hold numbers as they are and a missing one is 0; with ``categories``, integers and booleans are
        categories too, and other numbers, which must be codes 0, 1, …, are centred at -2^32: a missing one is 0.
        ``keys``: the columns that the option ``keys`` names become plain values, all of which are kept apart; no other
        column is read.

    Raises
    ------
    InvalidData
        No reader understands the type of X, or what it holds cannot be learned from.
    """
    load_providers()
    for accepts, read in _readers:
        if accepts(X):
            how = {"sample_weight": sample_weight, "task": task, "schema": schema, "con": con}
            return read(X, y, **how, options=options or {}, encode=encode)
    raise InvalidData(
        f"X must be a DuckDB relation, a table name or SQL with con=, an Arrow table, a DataFrame, an array or a "
        f"SciPy sparse matrix; got {type(X).__module__}.{type(X).__qualname__}"
    )


def readable_again(X: Any) -> Any:
    """Return X, or its rows kept where it gives them only once (an Arrow reader): for whoever reads X twice."""
    load_providers()
    keep = next((keep for accepts, keep in _keepers if accepts(X)), None)
    return X if keep is None else keep(X)


def find_scorer(X: Any) -> Callable[..., Any] | None:
    """Return the scorer for an X that is scored where it lies, or None: then blocks are streamed through the model."""
    load_providers()
    return next((score for accepts, score in _scorers if accepts(X)), None)
