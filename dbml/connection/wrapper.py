"""The connection a person holds: DuckDB's own, plus statements about models."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any, Self

import duckdb
from dbml_sql.expressions import refusal_in

from dbml import errors
from dbml.connection.caller import in_frame, own_error
from dbml.connection.inputs import as_written, missing_input, no_row
from dbml.connection.script import Prepared, may_be_ours, prepare
from dbml.passes.memory import memory_limited
from dbml.registry import versions
from dbml.registry.freshness import registry_changed
from dbml.registry.functions import is_made, unregister
from dbml.registry.registering import register
from dbml.registry.rewriting import rewrite

_JUPYSQL = "sql.connection.connection"
_NO_REGISTRY = 'because schema "ml" does not exist'
_TRAINS = re.compile(r"\btrain_model\s*\(", re.IGNORECASE)

# What reads the result of `execute`. The one of a model statement is handed to DuckDB when it is asked for: left
# unread there, it would keep the connection from other work, as no CREATE TABLE does.
_READING = frozenset(
    "fetchone fetchmany fetchall fetchnumpy fetchdf fetch_df fetch_df_chunk fetch_arrow_table fetch_record_batch df pl "
    "arrow to_arrow_table to_arrow_reader torch tf description rowcount".split()
)


class Connection:
    """A DuckDB connection that also understands models.

    Statements about models (``CREATE MODEL``, ``ML.PREDICT``, ``predict(…)``) are understood in `sql`, `query` and
    `execute`; every other statement reaches DuckDB byte for byte, and every other attribute is DuckDB's.

    Attributes
    ----------
    duckdb : duckdb.DuckDBPyConnection
        The connection beneath.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        owns: bool,
        memory_limit: int | float | str | None = None,
        registers: bool = True,
        of_cell: bool = False,
    ) -> None:
        self.duckdb = connection
        self._owns = owns
        self._memory_limit = memory_limit
        self._registers = registers
        self._of_cell = of_cell
        self._trained: str | None = None
        self._made: tuple[str, list[Any]] | None = None
        self._unread: tuple[str, list[Any]] | None = None
        if registers:
            register(connection, memory_limit)

    def __getattr__(self, name: str) -> Any:
        if name in _READING and self._unread is not None:
            unread, self._unread = self._unread, None
            self.duckdb.execute(*unread)
        elif self._of_cell and name in ("df", "pl") and self._made is not None:
            # JupySQL has read rows of a model statement by then, and its DataFrame would be what is left: none.
            self.duckdb.execute(*self._made)
        return getattr(self.duckdb, name)

    def __repr__(self) -> str:
        return f"<dbml.Connection over {self.duckdb!r}>"

    # statements ------------------------------------------------------------------------------------------------

    def sql(self, query: Any, *, alias: str = "", params: Any = None) -> Any:
        """Return the relation of a query, as DuckDB's `sql` does; a model statement runs at once, and only once."""
        return self._relation(sys._getframe(1), query, alias, params)

    def query(self, query: Any, *, alias: str = "", params: Any = None) -> Any:
        """Do the same as `sql`."""
        return self._relation(sys._getframe(1), query, alias, params)

    def from_query(self, query: Any, *, alias: str = "", params: Any = None) -> Any:
        """Do the same as `sql`."""
        return self._relation(sys._getframe(1), query, alias, params)

    def execute(self, query: Any, parameters: Any = None) -> Self:
        """Run statements and keep the result of the last one, for `fetchall` and the rest."""
        frame = sys._getframe(1)
        if self._of_cell and isinstance(query, str) and _TRAINS.search(query):
            query = self._trained_once(query, frame)
        for piece in prepare(self.duckdb, query):
            self._execute(piece, parameters if piece.is_last else None, frame)
        return self

    def _trained_once(self, query: str, frame: FrameType) -> str:
        """Return what reads the rows of a SELECT that trains: JupySQL runs a SELECT again to make a DataFrame."""
        from dbml_sql.query_text import looks_like_query

        if not looks_like_query(query):
            return query
        if query != self._trained:
            kept = f"CREATE OR REPLACE TEMP TABLE dbml_cell AS {query.rstrip().rstrip(';')}"
            self._execute(Prepared(rewrite(self.duckdb, kept)), None, frame)
            self._trained = query
        return "FROM temp.dbml_cell"

    def executemany(self, query: Any, parameters: Any = None) -> Self:
        """Run a statement once for each set of parameters."""
        self.duckdb.executemany(query, parameters)
        return self

    def begin(self) -> Self:
        """Begin a transaction; models that are saved take part in it."""
        self.duckdb.begin()
        return self

    def commit(self) -> Self:
        """Commit the transaction."""
        self.duckdb.commit()
        registry_changed()
        return self

    def rollback(self) -> Self:
        """Roll the transaction back, models that were saved in it included."""
        self.duckdb.rollback()
        registry_changed()
        return self

    def cursor(self) -> Connection:
        """Return an independent connection to the same database, for another thread.

        JupySQL opens one for every cell; there it is this connection itself, so that a cell sees the temporary tables
        of the cells before it.
        """
        if sys._getframe(1).f_globals.get("__name__") == _JUPYSQL:
            return Connection(self.duckdb, False, self._memory_limit, registers=False, of_cell=True)
        return Connection(self.duckdb.cursor(), True, self._memory_limit, registers=False)

    duplicate = cursor

    def create_function(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Do what DuckDB's `create_function` does; a name that dbml's functions have here is refused.

        DuckDB would take it for another overload of `predict`, and calls for either of the two.
        """
        if is_made(self.duckdb, name):
            raise errors.InvalidParameter(
                f"create_function: {name!r} is one of dbml's functions on this connection; give yours another name, or "
                "make it before dbml.attach, which leaves such a name to you"
            )
        return self.duckdb.create_function(name, *args, **kwargs)

    # models ----------------------------------------------------------------------------------------------------

    def save_model(self, name: str, model: Any) -> int:
        """Save a fitted estimator as a new version of a model, with its SQL functions; return the version's number.

        Raises
        ------
        RegistryError
            See `dbml.registry.store.save_model`.
        """
        from dbml.registry import store

        return store.save_model(self.duckdb, name, model).version

    def load_model(self, name: str, version: int | str | None = None) -> Any:
        """Return the fitted estimator of ``late``, ``late@3`` or ``late@champion``.

        Parameters
        ----------
        name : str
            Name of the model, with ``@version`` or ``@alias`` if not the current one is meant.
        version : int or str, optional
            Version number or alias, instead of ``@``.
        """
        from dbml.registry import store

        return store.load_model(self.duckdb, name if version is None else f"{name}@{version}")

    def extend_model(self, name: str, rows: Any) -> int:
        """Add rows to a model of neighbours, without training again; return how many were added.

        They are found from then on by everyone who asks that version. Cells stay as they are: train again when the new
        rows are many, or lie elsewhere.

        Parameters
        ----------
        name : str
            Name of the model, with ``@version`` or ``@alias`` if not the current one is meant.
        rows : relation or str
            The rows, or their query: the columns of the training, with the target and the ids where it had some.
        """
        from dbml.registry.neighbors import extend_model

        with self._within_limit():
            return extend_model(self.duckdb, name, self.sql(rows) if isinstance(rows, str) else rows)

    def import_model(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        target: str = "label",
        classes: Sequence[Any] | None = None,
        features: Mapping[str, str] | Sequence[str] | None = None,
        categories: Mapping[str, Sequence[Any]] | None = None,
        iterations: int | None = None,
    ) -> int:
        """Save a model that LightGBM or XGBoost trained as a new version of a model; return the version's number.

        Neither library is needed, and nothing in the file is executed.

        Parameters
        ----------
        name : str
            Name of the model.
        path : str or path
            LightGBM's text file (``Booster.save_model``) or JSON dump (``dump_model``), XGBoost's ``.json`` or ``.ubj``
            (``Booster.save_model``).
        target : str, default "label"
            Name of the column that it predicts.
        classes : sequence, optional
            The labels in the order in which they were numbered; the numbers 0, 1, … by default.
        features : mapping of str to str or sequence of str, optional
            Columns by the names in the file, or all columns in order; the names in the file by default.
        categories : mapping of str to sequence, optional
            The levels of categorical features in the order of their codes, where the file does not hold them.
        iterations : int, optional
            Use the first iterations only. By default those that early stopping chose, where the file says so, else all.

        Raises
        ------
        UnknownName
            No such file or feature.
        InvalidData
            No model file, damaged, or a model that cannot be imported.
        """
        from dbml_sql.statements import ModelReference

        from dbml.registry.importing import ImportOrder, import_model
        from dbml.registry.versions import read_target

        options = {
            "model_path": os.fspath(path),
            "input_label_cols": [target],
            "classes": None if classes is None else list(classes),
            "features": features,
            "categories": categories,
            "iterations": iterations,
        }
        given = {option: value for option, value in options.items() if value is not None}
        place = read_target(self.duckdb, name)
        model = ModelReference(place.name, database=place.database)
        return import_model(self.duckdb, ImportOrder(model, given)).saved.version

    def rewritten(self, query: str) -> str:
        """Return a query as DuckDB understands it: its calls about models are replaced.

        Raises
        ------
        StatementError
            A call is not well formed.
        UnknownName
            A call names a model that does not exist.
        """
        return rewrite(self.duckdb, query)

    def prune_versions(self, name: str, keep: int = 1) -> list[int]:
        """Drop old versions of a model and return their numbers.

        Parameters
        ----------
        name : str
            Name of the model.
        keep : int, default 1
            The newest versions to keep. The current one and those with an alias are kept besides.

        Raises
        ------
        UnknownName
            No such model.
        """
        from dbml.registry import changes

        return changes.prune_versions(self.duckdb, name, keep)

    def models(self) -> Any:
        """Return the relation of the models: name, version, type, target, features, metrics, …"""
        return self.duckdb.sql(versions.models_query(self.duckdb))

    # life ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take dbml's functions away; close the connection if dbml opened it."""
        if self._registers or self._owns:  # relations of a cursor are scored by functions that it makes
            unregister(self.duckdb)
        if self._owns:
            self.duckdb.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    # beneath ---------------------------------------------------------------------------------------------------

    def _refuse_unfinished(self) -> None:
        """Raise what DuckDB raises for a relation while a result of `execute` is not read to its end.

        Looking into the registry would drop that result, and a loop over it would end early without a word.
        """
        self.duckdb.sql("SELECT 1").fetchall()

    def _relation(self, frame: FrameType, query: Any, alias: str, params: Any) -> Any:
        relation = None
        if may_be_ours(query):
            self._refuse_unfinished()
        self._unread = None
        for piece in prepare(self.duckdb, query, lazy=True):
            if not piece.is_last:
                self._execute(piece, None, frame)
                continue
            text, values = self._for_duckdb(piece, params, frame)
            with self._explaining(piece.written, params, frame):
                relation = in_frame(frame, self.duckdb.sql, text, alias=alias, params=values)
        return relation

    def _execute(self, piece: Prepared, parameters: Any, frame: FrameType) -> None:
        text, values = self._for_duckdb(piece, parameters, frame)
        self._unread = self._made = None
        if piece.statement is not None:
            self._unread = self._made = text, values
            return
        try:
            with self._explaining(piece.written, parameters, frame):
                in_frame(frame, self.duckdb.execute, text, *([] if values is None else [values]))
        except duckdb.InvalidInputException as error:
            raise own_error(error) from error

    def _for_duckdb(self, piece: Prepared, parameters: Any, frame: FrameType) -> tuple[Any, Any]:
        """Return what DuckDB is to run; a statement of ours has run then, and this reads its result."""
        if piece.statement is None:
            return piece.text, parameters
        # Training brings estimators, kernels and readers with it: a connection that only scores loads none of them.
        from dbml.connection.statements import execute_statement

        def relate(query: str, written: str) -> Any:
            with self._explaining(None if query == written else written, parameters, frame):
                return in_frame(frame, self.duckdb.sql, query, params=parameters)

        with self._within_limit():
            return execute_statement(self.duckdb, piece.statement, relate).as_query()

    def _within_limit(self) -> AbstractContextManager[None]:
        return nullcontext() if self._memory_limit is None else memory_limited(self._memory_limit)

    @contextmanager
    def _explaining(self, written: str | None, parameters: Any, frame: FrameType) -> Iterator[None]:
        """Raise our error where the rows of a call in a statement lack columns that its model needs."""
        try:
            yield
        except duckdb.BinderException as error:

            def refusal(text: str) -> str:
                try:
                    in_frame(frame, self.duckdb.execute, text, *([] if parameters is None else [parameters]))
                except duckdb.Error as refused:
                    return str(refused)
                return ""

            if written is None:
                raise
            explained = missing_input(self.duckdb, written, refusal) or no_row(self.duckdb, written, str(error))
            if explained is None:
                raise as_written(error) from None
            raise explained from error
        except duckdb.Error as error:
            if isinstance(error, duckdb.CatalogException) and _NO_REGISTRY in str(error):
                hint = "this database has no models yet: CREATE MODEL makes the first one, SHOW MODELS lists them"
                raise type(error)(f"{error}\nHint: {hint}") from None
            if (refused := refusal_in(str(error))) is not None:
                raise duckdb.InvalidInputException(f"Invalid Input Error: {refused}") from None
            if written is None:
                raise
            raise as_written(error) from None
