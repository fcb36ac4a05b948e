"""Scores by trees that a query's conditions have made smaller, where the types of its columns allow that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dbml_sql.conditions import Conditions
from dbml_sql.expressions import total
from dbml_sql.features import Encoding
from dbml_sql.forms import TreeForm
from dbml_sql.macros import probability_struct
from dbml_sql.prune import prune
from dbml_sql.score import Scores, Target
from dbml_sql.tokens import Token
from dbml_sql.trees import Values, sums
from dbml_sql.values import Column

# How texts compare where they are compared by their bytes: no case, accents, normal forms or languages. An expression
# that never takes the column's value has its collation all the same; DuckDB folds the comparison when it plans.
_BY_BYTES = (("a", ">", "B"), ("\u00e9", "<>", "e"), ("e\u0301", "<>", "\u00e9"))

# Types that compare with a constant as their value as DOUBLE does; FLOAT rounds the constant, text is cast.
_NUMBERS = "DOUBLE BIGINT INTEGER SMALLINT TINYINT UBIGINT UINTEGER USMALLINT UTINYINT".split()


@dataclass(frozen=True, slots=True)
class TreeModelForm:
    """A tree model as SQL knows it."""

    form: TreeForm
    encoding: Encoding
    target: Target


@dataclass(frozen=True, slots=True)
class Pruned:
    """A tree model and what it becomes for the rows of a query.

    Attributes
    ----------
    model : TreeModelForm
        The whole model.
    form : TreeForm
        Its trees without the branches that those rows cannot reach.
    tested : dict of str to str
        The columns that this rests on, and as what they were compared: ``number`` or ``text``.
    """

    model: TreeModelForm
    form: TreeForm
    tested: dict[str, str]

    def predictors(self, values: Values, column: Column) -> list[str]:
        """Return the outputs over values made ready; DuckDB drops one side of each CASE when it plans the query."""
        small, whole = sums(self.form, values), sums(self.model.form, values)
        tests = [_type_test(column(name), how) for name, how in self.tested.items()]
        if not tests:
            return small
        guard = total(tests, "AND")
        return [f"CASE WHEN {guard} THEN {s} ELSE {w} END" for s, w in zip(small, whole, strict=True)]

    def expression(self, columns: Mapping[str, str], threshold: str | None) -> str:
        """Return the prediction, or with `threshold` None the probabilities, over expressions of the input columns."""
        model = self.model
        values = Values(model.encoding, columns.__getitem__)
        predictors = tuple(self.predictors(values, columns.__getitem__))
        scores = Scores(predictors, model.target.classes, model.target.type, model.form.link)
        return scores.prediction(threshold) if threshold is not None else str(probability_struct(scores, model.form))


def _type_test(column: str, how: str) -> str:
    if how == "text":
        collated = [f"CASE WHEN false THEN {column} ELSE '{a}' END {sign} '{b}'" for a, sign, b in _BY_BYTES]
        return total([f"typeof({column}) = 'VARCHAR'", *collated], "AND")
    return f"typeof({column}) IN ({', '.join(map(repr, _NUMBERS))})"


def pruned_model(model: TreeModelForm, conditions: Conditions, columns: Mapping[str, str]) -> Pruned | None:
    """Return a model made smaller by conditions, None where nothing goes.

    Parameters
    ----------
    columns : mapping of str to str
        The column of the table, in lower case, that each input of the model is read from as it is.
    """
    known = {name: conditions.known[column] for name, column in columns.items() if column in conditions.known}
    form = prune(model.form, model.encoding, known)
    if all(old.root is new.root for old, new in zip(model.form.trees, form.trees, strict=True)):
        return None
    tested = {name: conditions.tested[columns[name]] for name in known}
    return Pruned(model, form, {name: how for name, how in tested.items() if how != "null"})


def pruned_for(
    find: Callable[[], TreeModelForm | None], conditions: Conditions | None, columns: Mapping[str, str]
) -> Pruned | None:
    """Return a model made smaller by the conditions of a statement; it is looked up only where they say something."""
    if conditions is None or not any(column in conditions.known for column in columns.values()):
        return None
    model = find()
    return None if model is None else pruned_model(model, conditions, columns)


def read_columns(
    found: Sequence[Token], arguments: Sequence[tuple[int, int]], names: Sequence[str], row: str | None, table: str
) -> dict[str, str]:
    """Return the column of a table, in lower case, that each input of a call is read from as it is.

    Parameters
    ----------
    arguments : sequence of pairs
        Ranges of tokens, one an input; not used where the call takes a row.
    names : sequence of str
        Inputs of the model.
    row : str or None
        The row that the call takes, as written.
    """
    if row is not None:
        whole = row.strip('"').lower() == table or row.startswith("struct_pack(*")
        return {name: name.lower() for name in names} if whole else {}
    read = {}
    for name, (start, end) in zip(names, arguments, strict=True):
        tokens = found[start:end]
        if len(tokens) == 3 and tokens[1].is_operator(".") and tokens[0].name.lower() == table:
            tokens = tokens[2:]
        if len(tokens) == 1 and tokens[0].kind in ("word", "quoted"):
            read[name] = tokens[0].name.lower()
    return read
