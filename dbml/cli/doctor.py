"""`dbml doctor`: whether this machine and this database are ready, and what to do where they are not."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from dbml.cli.database import db_option, json_option, opened, with_options

_NEEDED = {"duckdb": (2, 0), "numpy": (2, 0), "numba": (0, 61), "pyarrow": (20,), "scipy": (1, 13), "sqlglot": (26,)}
_LEAST_FREE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it is, and what to do about it."""

    name: str
    state: Literal["ok", "note", "wrong"]
    found: str
    remedy: str = ""


def check_versions() -> Iterator[Check]:
    """Python and the libraries, against the oldest that work."""
    from importlib import metadata

    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name, least in _NEEDED.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, "wrong", "not installed", f"pip install '{name}>={'.'.join(map(str, least))}'")
            continue
        parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        old = parts < least
        wanted = ".".join(map(str, least))
        yield Check(name, "wrong" if old else "ok", version, f"pip install -U '{name}>={wanted}'" if old else "")


def check_threads() -> Check:
    """Cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS")
    found = f"{cores} cores" + (f", OMP_NUM_THREADS={limit}" if limit else "")
    return Check("threads", "ok", found)


def check_blas() -> Check:
    """The library that NumPy multiplies matrices with."""
    import numpy as np

    built: Any = np.show_config(mode="dicts")
    blas = built["Build Dependencies"]["blas"]
    if not blas.get("found"):
        return Check("blas", "note", "none: large solves are slow", "install NumPy from a wheel (pip install numpy)")
    return Check("blas", "ok", f"{blas['name']} {blas['version']}")


def check_kernel_cache() -> Check:
    """Whether compiled kernels survive this process."""
    from dbml_kernels.gram import gram_add

    folder = gram_add.stats.cache_path
    if folder is None:
        remedy = "set NUMBA_CACHE_DIR to a folder you can write to"
        return Check("kernel cache", "note", "nowhere to write: every process compiles anew, some seconds each", remedy)
    return Check("kernel cache", "ok", folder if Path(folder).exists() else f"{folder} (made at first use)")


def check_temporary_folder() -> Check:
    """Room to spill blocks that do not fit in memory."""
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    found = f"{folder}, {free / 2**30:.0f} GiB free"
    if free < _LEAST_FREE_BYTES:
        return Check("temporary files", "note", found, "free some room, or set TMPDIR to a larger disk")
    return Check("temporary files", "ok", found)


def check_memory() -> Check:
    """What DuckDB takes as its limit here."""
    import duckdb

    with duckdb.connect() as con:
        ((limit, threads),) = con.sql("SELECT current_setting('memory_limit'), current_setting('threads')").fetchall()
    return Check("memory", "ok", f"limit {limit}, {threads} DuckDB threads; smaller: SET memory_limit = '1GB'")


def check_training() -> Check:
    """The whole road once: a table, a model, a score."""
    import dbml

    con = dbml.connect(":memory:")
    try:
        con.execute("CREATE TABLE line AS SELECT i::DOUBLE AS x, 2.0 * i + 1 AS y FROM range(100) t(i)")
        con.execute("CREATE MODEL line OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS FROM line")
        ((score,),) = con.execute("SELECT predict('line', 200.0)").fetchall()
    finally:
        con.close()
    good = abs(score - 401) < 1e-6
    return Check("training", "ok" if good else "wrong", f"trained a line and scored it: {score:.6g} (should be 401)")


def check_database(db: Path) -> Iterator[Check]:
    """Every version of every model of a database, read whole and compared with its checksum."""
    free = shutil.disk_usage(db.parent).free
    yield Check("database", "ok", f"{db}, {db.stat().st_size / 2**20:.1f} MiB, {free / 2**30:.0f} GiB free beside it")
    with opened(db, read_only=True) as con:
        for name, current in con.models().select("name, version").fetchall():
            yield from _check_model(con.duckdb, db, name, current)


def _check_model(con: Any, db: Path, name: str, current: int) -> Iterator[Check]:
    """The versions of a model; where one is damaged the others are kept."""
    import duckdb

    from dbml.errors import DbmlError
    from dbml.registry.store import check_version
    from dbml.registry.versions import find_version, kept_versions, one_version

    damaged: dict[int, str] = {}
    kept = kept_versions(con, find_version(con, one_version(name)))
    for number in kept:
        try:
            check_version(con, find_version(con, one_version(name, number)))
        except (DbmlError, duckdb.Error) as error:
            damaged[number] = str(error)
    whole = [number for number in kept if number not in damaged]
    for number in kept:
        if number in damaged:
            remedy = _remedy(db, name, number, current, whole)
            yield Check(f"model {name}@{number}", "wrong", damaged[number], f"{remedy}, or restore a copy")
        else:
            yield Check(f"model {name}@{number}", "ok", "read whole, checksum right")


def _remedy(db: Path, name: str, number: int, current: int, whole: list[int]) -> str:
    """Return the command that takes a damaged version away, and no other one."""
    from dbml_sql.expressions import identifier

    model, gone = identifier(name), f"DROP MODEL {identifier(f'{name}@{number}')}"
    if number != current:
        statements, more = gone, ""
    elif whole:
        statements, more = f"ALTER MODEL {model} ROLLBACK TO VERSION {whole[-1]}; {gone}", ""
    else:
        statements, more = f"DROP MODEL {model}", " and train it again"
    return f"dbml sql {shlex.quote(str(db))} -c {shlex.quote(statements)}{more}"


def checks(db: Path | None) -> Iterator[Check]:
    """Yield all checks; one that fails to run is itself a finding."""
    from dbml.errors import DbmlError

    yield from check_versions()
    single: tuple[Callable[[], Check], ...] = (check_threads, check_blas, check_kernel_cache, check_temporary_folder)
    for check in (*single, check_memory, check_training):
        try:
            yield check()
        except (ImportError, OSError, DbmlError) as error:
            name = check.__name__.removeprefix("check_").replace("_", " ")
            yield Check(name, "wrong", f"{type(error).__name__}: {error}", "pip install --force-reinstall dbml")
    if db is not None:
        yield from check_database(db)


@click.command(short_help="Check this machine, a database and its models.")
@with_options(db_option, json_option)
def doctor(db: Path | None, as_json: bool) -> None:
    """Check this machine (and with --db a database and its models); say what to do where something is wrong.

    \b
    Examples:
      dbml doctor
      dbml doctor --db flights.duckdb
      dbml doctor --json
    """
    from dbml.cli.output import echo_json

    if db is not None and not db.exists():
        raise click.BadParameter(f"no database {str(db)!r}", param_hint="--db")
    done = []
    for check in checks(db):
        done.append(check)
        if not as_json:
            sign = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}[check.state]
            click.echo(f"{sign} {check.name:<16} {check.found}")
            if check.remedy:
                click.echo(f"      {'':<16} -> {check.remedy}")
    if as_json:
        echo_json([{"name": c.name, "state": c.state, "found": c.found, "remedy": c.remedy} for c in done])
    if any(check.state == "wrong" for check in done):
        click.get_current_context().exit(1)
