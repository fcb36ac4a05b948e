"""The tables of schema ``ml``: numbered migrations, shipped as .sql files beside this module."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Migration:
    """A change of schema ``ml``: its number, the name of its file, and its statements.

    Statements run in one transaction with the row that records the number in ``ml.migrations`` (the first migration
    makes that table). Applied ones are never edited: a change is a new file.
    """

    number: int
    name: str
    sql: str

    @property
    def writes_macros(self) -> bool:
        """Whether the macros of models that are there are written anew: their text is another since.

        A change of that text ships with a file of this name, so that databases of older versions get it too.
        """
        return self.name.endswith("_macros")


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all migrations in order: numbers 1, 2, … without gaps."""
    found = [
        Migration(int(file.name[:4]), file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
        for file in files(__name__).iterdir()
        if file.name.endswith(".sql")
    ]
    return tuple(sorted(found, key=lambda migration: migration.number))
