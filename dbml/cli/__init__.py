"""The command line `dbml`. Commands load what they need when they run: help is quick."""

from __future__ import annotations

import os
import sys
import warnings

import click

from dbml import __version__
from dbml.cli.demo import demo
from dbml.cli.doctor import doctor
from dbml.cli.evaluate import evaluate
from dbml.cli.imports import import_
from dbml.cli.models import export, models, show
from dbml.cli.output import one_line
from dbml.cli.predict import predict
from dbml.cli.shell import sql
from dbml.cli.train import train
from dbml.errors import DbmlError, DbmlWarning

OK, USER_ERROR, USAGE_ERROR, INTERRUPTED = 0, 1, 2, 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 an error of the input, 2 wrong usage, 130 interrupted.",
)
@click.version_option(__version__, "-V", "--version", message="dbml %(version)s")
def cli() -> None:
    """Machine learning where the data already is: train and score models inside DuckDB.

    \b
    Examples:
      dbml demo                                    see everything once, on data that comes with it
      dbml train houses.csv --target price         a model from a file no one has loaded yet
      dbml sql flights.duckdb                      a shell that understands CREATE MODEL
      dbml predict price new.csv -o scored.parquet
    """


for command in (demo, sql, train, import_, predict, evaluate, models, show, export, doctor):
    cli.add_command(command)


def _is_input_error(error: Exception) -> bool:
    """Whether an error is about what came in: ours, DuckDB's, a file's. Any other is a bug and keeps its trace."""
    duckdb = sys.modules.get("duckdb")
    return isinstance(error, DbmlError | OSError) or (duckdb is not None and isinstance(error, duckdb.Error))


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"dbml: warning: {' '.join(str(message).split())}", err=True)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; errors and warnings go to stderr on one line each."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", DbmlWarning)
            warnings.showwarning = _warn
            code = cli.main(arguments, prog_name="dbml", standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "dbml"
        click.echo(f"{where}: {error.format_message()} (see {where} --help)", err=True)
        return USAGE_ERROR
    except click.ClickException as error:
        click.echo(f"dbml: {one_line(error)}", err=True)
        return USER_ERROR
    except (click.Abort, KeyboardInterrupt):
        click.echo("dbml: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nobody is left to tell. What is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if not _is_input_error(error):
            raise
        click.echo(f"dbml: {one_line(error)}", err=True)
        return USER_ERROR
    return code if isinstance(code, int) else OK


def main() -> None:
    """Entry point of the command `dbml`."""
    sys.exit(run())
