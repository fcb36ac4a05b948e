"""The call of an ML function as its writer sees it: the model, the rows, the options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbml_sql.call_options import are_options, read_options
from dbml_sql.conditions import Conditions, conditions_around
from dbml_sql.errors import SqlError
from dbml_sql.expressions import string
from dbml_sql.named_arguments import argument_name
from dbml_sql.option_values import numbers
from dbml_sql.signature import ModelSignature

if TYPE_CHECKING:
    from dbml_sql.calls import Rewriter


@dataclass(frozen=True, slots=True)
class Call:
    """The call of an ML function: its model and its arguments, numbered from 0 (the model)."""

    rewriter: Rewriter
    model: ModelSignature
    ranges: list[tuple[int, int]]
    place: int
    probed: bool = False

    @property
    def n_arguments(self) -> int:
        """Number of arguments, the model included."""
        return len(self.ranges)

    def error(self, reason: str) -> SqlError:
        """Return an error that points at the function."""
        return SqlError(reason, self.rewriter.text, self.rewriter.found[self.place].start)

    def numbers(self, number: int, what: str) -> str | None:
        """Return an argument that is a list of numbers; None where it is not given."""
        if number >= self.n_arguments:
            return None
        start, end = self.ranges[number]
        first = self.rewriter.found[start]
        text = self.rewriter.emit(start, end)
        if first.kind in ("number", "string") or first.text in ("-", "{") or first.is_word("NULL", "TRUE", "FALSE"):
            raise self.error(f"{what} must be a list of numbers, such as [0.25, 0.5]; got {text}")
        return numbers(text, what)

    def source(self, number: int = 1) -> str:
        """Return the query of an argument, the second: ``TABLE t`` or ``(query)``."""
        if self.n_arguments <= number:
            raise self.error("expected rows after the model: TABLE name or (query)")
        start, end = self.ranges[number]
        found = self.rewriter.found
        if found[start].is_word("TABLE") and end > start + 1:
            return f"FROM {self.rewriter.emit(start + 1, end)}"
        if found[start].is_operator("(") and found[end - 1].is_operator(")"):
            return self.rewriter.emit(start + 1, end - 1)
        return str(self.rewriter.fail("expected TABLE name or (query)", start))

    @property
    def outlives(self) -> bool:
        """Whether the text is kept and may run when the model has another version."""
        return self.rewriter.outlives

    @property
    def has_source(self) -> bool:
        """Whether rows are given after the model, rather than options or nothing."""
        return self.n_arguments > 1 and not are_options(self.rewriter.found, self.ranges[1][0])

    def training_query(self) -> str | None:
        """Return the query that the model was trained on, as it runs here; None where there is none that can run."""
        model = self.model
        if model.query is None:
            return None
        return self.rewriter.resolver.placed(model, self.rewriter.rewritten(model.query))

    def whole_number(self, options: dict[str, str], name: str, default: int, least: int) -> int:
        """Return the value of an option that must be written as a whole number."""
        text = options.get(name, str(default))
        if not text.isdecimal() or int(text) < least:
            raise self.error(f"{name} must be a whole number, at least {least}; got {text}")
        return int(text)

    def yes_or_no(self, options: dict[str, str], name: str) -> bool:
        """Return the value of an option that must be written as TRUE or FALSE; FALSE where it is not given."""
        text = options.get(name, "false").lower()
        if text not in ("true", "false"):
            raise self.error(f"{name} must be TRUE or FALSE; got {options[name]}")
        return text == "true"

    def word(self, options: dict[str, str], name: str, default: str | None, known: Sequence[str]) -> str:
        """Return the value of an option that must be written as one of some words; as they are spelled."""
        text = options.get(name)
        if text is None and default is not None:
            return default
        written = "" if text is None else text.strip("'\"").casefold()
        for word in known:
            if word.casefold() == written:
                return word
        got = "nothing" if text is None else text
        raise self.error(f"{name} must be one of {', '.join(map(string, known))}; got {got}")

    def conditions(self) -> Conditions | None:
        """Return what ``(SELECT * FROM t WHERE …)`` says of its rows, None for others, and in text that is kept."""
        if self.n_arguments < 2 or self.outlives:
            return None
        start, end = self.ranges[1]
        found = self.rewriter.found
        plain = end - start > 4 and found[start].is_operator("(") and found[start + 1].is_word("SELECT")
        if not plain or not found[start + 2].is_operator("*") or not found[start + 3].is_word("FROM"):
            return None
        return conditions_around(found, start + 2)

    def named(self, number: int, known: tuple[str, ...]) -> dict[str, str]:
        """Return the options of all arguments from a number on, as SQL by name.

        ``name => value`` (or ``name := value``), a plain value (the first option), or a STRUCT.
        """
        found: dict[str, str] = {}
        tokens = self.rewriter.found
        for place in range(number, self.n_arguments):
            start, end = self.ranges[place]
            named = argument_name(tokens, start, end)
            if are_options(tokens, start):
                more = self.options(place, known)
            elif named is not None:
                name = named.lower()
                if name not in known:
                    self.rewriter.fail(f"no option {name} here (options: {', '.join(known)})", start)
                if end - start < 4:
                    self.rewriter.fail(f"option {name} has no value", start)
                more = {name: self.rewriter.emit(start + 3, end)}
            else:
                more = {known[0]: self.rewriter.emit(start, end)}
            twice = found.keys() & more.keys()
            if twice:
                self.rewriter.fail(f"option {min(twice)} is given twice", start)
            found |= more
        return found

    def options(self, number: int, known: tuple[str, ...]) -> dict[str, str]:
        """Return the options of an argument ``STRUCT(value AS name)`` or ``{'name': value}``, as SQL by name."""
        if number >= self.n_arguments:
            return {}
        start, _ = self.ranges[number]
        if not are_options(self.rewriter.found, start):
            self.rewriter.fail("expected STRUCT(value AS name)", start)
        return read_options(self.rewriter, self.ranges[number], self.model, known)


def probe(row: str, *more: str | None) -> str:
    """Return an expression that cannot be bound, for an error that says which columns a row has.

    DuckDB names the type of each argument where no function takes it, a row's with all its columns.
    """
    return f"sin({', '.join([row, *(argument for argument in more if argument)])})"


def probed(source: str, *more: str | None) -> str:
    """Return the rows of a source with `probe` in place of what a function makes of them."""
    return f"(SELECT {probe('dbml_row', *more)} FROM ({source}) dbml_row)"
