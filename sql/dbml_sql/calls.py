"""Rewriting of calls about models inside any statement: only their spans change, the rest stays byte for byte.

predict('late', f)                   a row by its alias (or a STRUCT)
predict('late', a, b, {'threshold': 0.3})   columns in feature order
predict_proba('late', f)['true']
transform('pca', f)                  a list of numbers
add_rows('near', 'SELECT …'), train_model('late', 'SELECT …', {…})   where the statement runs
ML.PREDICT(MODEL late, TABLE t | (query) [, STRUCT(0.3 AS threshold)]) and the other functions of `dbml_sql.functions`
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from dbml_sql.call import Call, probe
from dbml_sql.call_inputs import Inputs, read_inputs
from dbml_sql.call_options import are_options, read_options
from dbml_sql.conditions import conditions_around
from dbml_sql.errors import SqlError
from dbml_sql.expressions import identifier, string
from dbml_sql.functions import (
    FUNCTIONS,
    WITH_LABELS,
    calls_python,
    make_call,
    predict_function,
    predicted_type,
)
from dbml_sql.kept_text import outlives, refuse_kept_python
from dbml_sql.macros import (
    DEFAULT_THRESHOLD,
    parameters,
    predict_macro,
    proba_macro,
    threshold_parameter,
    transform_macro,
)
from dbml_sql.named_arguments import argument_name
from dbml_sql.pruned import Pruned, pruned_for, read_columns
from dbml_sql.python_functions import function_name
from dbml_sql.signature import ModelSignature, Resolver
from dbml_sql.statements import ModelReference, parse_reference, read_reference
from dbml_sql.tokens import Cursor, Token, significant
from dbml_sql.without_label import row_function

_OURS = re.compile(r"\b(?:predict(?:_proba)?|transform|add_rows|train_model)\s*\(|\bml\s*\.", re.IGNORECASE)
_SCORING = ("PREDICT", "PREDICT_PROBA", "TRANSFORM")
_MACROS = {"PREDICT": predict_macro, "PREDICT_PROBA": proba_macro, "TRANSFORM": transform_macro}
_CHANGING = {"ADD_ROWS": 2, "TRAIN_MODEL": 3}  # functions that change models, and the values they are given
_BEFORE_A_TABLE = ("INTO", "TABLE", "VIEW", "UPDATE", "EXISTS", "COPY")


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A statement with its calls replaced.

    Attributes
    ----------
    sql : str
        The statement for DuckDB; the very text that came in where nothing in it is ours.
    models : tuple of ModelSignature
        Models that its calls name, in order of appearance.
    label : str or None
        The label that the rows of the probed call must have besides the columns of its model.
    changes : tuple of str
        Functions that change models, as they are called in it.
    """

    sql: str
    models: tuple[ModelSignature, ...] = ()
    label: str | None = None
    changes: tuple[str, ...] = ()


def rewrite_calls(text: str, resolver: Resolver, probed: int | None = None, lazy: bool = False) -> Rewritten:
    """Replace the calls about models in one statement.

    Parameters
    ----------
    probed : int, optional
        The number of a call, in the order of `Rewritten.models`, that `dbml_sql.functions.probe` takes the place of.
    lazy : bool, default False
        Whether the statement runs later than now, or more than once, as a relation does: models may change until then.

    Raises
    ------
    SqlError
        A call is not well formed, with its place; or a view or macro, which outlives the session, would hold a call of
        a Python function.
    """
    if _OURS.search(text) is None:
        return Rewritten(text)
    rewriter = Rewriter(text, significant(text), resolver, probed, lazy)
    sql = rewriter.emit(0, len(rewriter.found))
    plain = [f"{m.name} has no native SQL form, only a Python function" for m in rewriter.models if m.native is None]
    refuse_kept_python(text, rewriter.found, [*plain, *rewriter.python])
    return Rewritten(sql, tuple(rewriter.models), rewriter.label, tuple(rewriter.changes))


@dataclass(slots=True)
class Rewriter:
    """One statement while its calls are replaced."""

    text: str
    found: list[Token]
    resolver: Resolver
    probed: int | None = None
    lazy: bool = False
    models: list[ModelSignature] = field(default_factory=list)
    label: str | None = None
    python: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    def rewritten(self, query: str) -> str:
        """Return a stored query with the calls about models in it replaced."""
        return rewrite_calls(query, self.resolver).sql

    def emit(self, start: int, end: int) -> str:
        """Return tokens ``start`` to ``end`` (exclusive) with their calls replaced, and all text between them as it is.

        From the beginning of the first token to the end of the last; of the whole statement, everything.
        """
        whole = start == 0 and end == len(self.found)
        position = 0 if whole else self.found[start].start
        last = len(self.text) if whole else self.found[end - 1].end
        pieces, index = [], start
        while index < end:
            replaced = self._call(index, end)
            if replaced is None:
                index += 1
                continue
            text, after = replaced
            pieces += [self.text[position : self.found[index].start], text]
            position, index = self.found[after - 1].end, after
        return "".join([*pieces, self.text[position:last]])

    def _call(self, index: int, end: int) -> tuple[str, int] | None:
        token = self.found[index]
        if token.kind not in ("word", "quoted"):
            return None
        word = token.name.upper()
        if word in _SCORING and self.is_sign(index + 1, "("):
            return self._predict(index, end)
        if word in _CHANGING and self.is_sign(index + 1, "("):
            return self._change(index, end)
        if word == "ML" and self.is_sign(index + 1, ".") and self.is_sign(index + 3, "(") and index + 4 < end:
            return self._function(index, end)
        return None

    def is_sign(self, index: int, sign: str) -> bool:
        return index < len(self.found) and self.found[index].is_operator(sign)

    def arguments(self, opening: int, end: int) -> tuple[list[tuple[int, int]], int]:
        """Return the token ranges between the commas of a parenthesis, and the index after its end."""
        ranges: list[tuple[int, int]] = []
        depth, start = 0, opening + 1
        for index in range(opening, end):
            token = self.found[index]
            if token.kind == "operator" and token.text in "([{":
                depth += 1
            elif token.kind == "operator" and token.text in ")]}":
                depth -= 1
                if depth == 0:
                    if index > start or ranges:
                        ranges.append((start, index))
                    return ranges, index + 1
            elif depth == 1 and token.is_operator(","):
                ranges.append((start, index))
                start = index + 1
        return self.fail("this parenthesis has no end", opening)

    def fail(self, reason: str, index: int) -> Any:
        """Raise `SqlError` at a token."""
        return Cursor(self.text, self.found).fail(reason, self.found[min(index, len(self.found) - 1)])

    def resolve(self, reference: ModelReference) -> ModelSignature:
        """Find a model and remember that the statement uses it."""
        signature = self.resolver.resolve(reference)
        self.models.append(signature)
        return signature

    @property
    def is_probed(self) -> bool:
        """Whether the call whose model was just resolved is the one to look into."""
        return self.probed == len(self.models) - 1

    # predict, predict_proba and transform ----------------------------------------------------------------------

    def _is_called(self, index: int) -> bool:
        """Whether a name before a parenthesis is a call of it, not one in a schema, or a definition."""
        before = self.found[index - 1] if index else None
        return before is None or not (before.is_operator(".") or before.is_word("MACRO", "FUNCTION", "EXISTS"))

    def _predict(self, index: int, end: int) -> tuple[str, int] | None:
        ranges, after = self.arguments(index + 1, end) if self._is_called(index) else ([], index)
        if not ranges or ranges[0][1] - ranges[0][0] != 1 or self.found[ranges[0][0]].kind != "string":
            self._refuse_names(ranges, index)
            return None
        reference = parse_reference(self.found[ranges[0][0]].string)
        word = self.found[index].name.upper()
        try:
            model = self.resolve(reference)
        except LookupError:
            if self.resolver.has_function(word.lower()):
                return None
            raise
        probed = self.is_probed
        self._check_method(model, word, index)
        arguments, options = ranges[1:], ""
        if len(arguments) > 1 and are_options(self.found, arguments[-1][0]):
            known = ("threshold",) if word == "PREDICT" and model.target is not None else ()
            threshold = read_options(self, arguments.pop(), model, known).get("threshold")
            options = "" if threshold is None else threshold
        inputs = read_inputs(self, arguments, model, index)
        columns = inputs.columns
        if probed and inputs.row:
            return probe(inputs.row, options), after
        if model.native is None:
            given = f", {{'threshold': {options}}}" if options else ""
            # This version and no later one: its columns are those that stand here.
            values = f"{string(model.exact)}, {', '.join(model.given(columns))}{given}"
            if word != "PREDICT":
                return f"{function_name(word.lower())}({values})", after
            return f"CAST({function_name(predict_function(model))}({values}) AS {predicted_type(model)})", after
        smaller = self._pruned(model, inputs, index) if word != "TRANSFORM" else None
        if smaller is not None:
            by_name = dict(zip(model.columns, columns, strict=True))
            expression = smaller.expression(by_name, None if word != "PREDICT" else options or DEFAULT_THRESHOLD)
            return expression, after
        macro = _MACROS[word](model.native, model.schema)
        # Views, and relations that are not read yet, outlive the model: replaced by one with other columns, they must
        # fail, not take one for another.
        names = parameters(model.columns)
        named = [f"{identifier(name)} := {value}" for name, value in zip(names, columns, strict=True)]
        if options:
            named.append(f"{identifier(threshold_parameter(model.columns))} := {options}")
        return f"{macro}({', '.join(named)})", after

    def _refuse_names(self, ranges: list[tuple[int, int]], index: int) -> None:
        """Fail where a call of our function in Python has named arguments: DuckDB keeps their order and drops names."""
        named = next((start for start, end in ranges if argument_name(self.found, start, end) is not None), None)
        function = self.found[index].name.lower()
        if named is not None and not self.resolver.has_function(function):
            self.fail(f"expected the model as text first, {function}('model', …), where arguments have names", named)

    def _change(self, index: int, end: int) -> tuple[str, int] | None:
        """Tell a function that changes a model where it is asked: it runs on a connection of its own."""
        ranges, after = self.arguments(index + 1, end) if self._is_called(index) else ([], index)
        name = self.found[index]
        function = name.name.lower()
        if len(ranges) != _CHANGING[function.upper()] or self._is_persons(function, ranges[0]):
            return None
        values = self.emit(index + 1, after - 1)
        self.changes.append(function)
        return f"{function_name(function)}{values}, current_database(), current_schema())", after

    def _is_persons(self, function: str, named: tuple[int, int]) -> bool:
        """Whether a call that changes a model is one of a function of the person's: not where it names a model."""
        token = self.found[named[0]]
        if named[1] - named[0] == 1 and token.kind == "string":
            try:
                self.resolver.resolve(parse_reference(token.string))
            except (LookupError, SqlError):
                return self.resolver.has_function(function)
            return False
        return self.resolver.has_function(function)

    def _check_method(self, model: ModelSignature, word: str, index: int) -> None:
        """Fail where a model has not what a call asks for; say what it has."""
        name, use = model.name, "predict" if model.predicts else "transform"
        if not model.predicts and not model.transforms:
            use = f"FROM ML.{row_function(model)}(MODEL …, TABLE …)"
        if word == "PREDICT" and not model.predicts:
            self.fail(f"{name} is a {model.type}, which predicts nothing: use {use}", index)
        if word == "PREDICT_PROBA" and not model.probabilities:
            self.fail(f"{name} is a model without probabilities: use {use}", index)
        if word == "TRANSFORM" and not model.transforms:
            self.fail(f"{name} is a model that transforms nothing: use {use}", index)

    def _pruned(self, model: ModelSignature, inputs: Inputs, index: int) -> Pruned | None:
        """Return a model of trees made smaller by the WHERE clause around a call; not in text that outlives it."""
        conditions = None if self.outlives else conditions_around(self.found, index)
        if conditions is None:
            return None
        read = read_columns(self.found, inputs.spans, model.columns, inputs.row, conditions.table)
        return pruned_for(lambda: self.resolver.trees(model), conditions, read)

    # ML functions ----------------------------------------------------------------------------------------------

    def _function(self, index: int, end: int) -> tuple[str, int] | None:
        name = self.found[index + 2].name.upper()
        ranges, after = self.arguments(index + 3, end)
        by_model = bool(ranges) and self.found[ranges[0][0]].is_word("MODEL")
        if name not in FUNCTIONS:
            if by_model:
                known = ", ".join(f"ML.{function}" for function in FUNCTIONS)
                self.fail(f"no function ML.{name} (functions: {known})", index + 2)
            return None
        if not by_model and self._is_table(index):
            return None
        if not by_model:
            self.fail(f"expected ML.{name}(MODEL name, …)", index + 4)
        first, last = ranges[0]
        cursor = Cursor(self.text, self.found[first + 1 : last] + self.found[last : last + 1])
        model = self.resolve(read_reference(cursor))
        probed = self.is_probed
        if cursor.index < last - first - 1:
            cursor.fail("expected , or ) after the name of the model")
        if probed and name in WITH_LABELS:
            self.label = model.target
        call = Call(self, model, ranges, index + 2, probed)
        if calls_python(name, call):
            self.python.append(f"ML.{name} calls a Python function")
        return make_call(name, call), after

    def _is_table(self, index: int) -> bool:
        """Whether a name in schema ml, before a parenthesis, is that of a table: ``INSERT INTO ml.weights (…)``."""
        return index > 0 and (self.found[index - 1].is_operator(".") or self.found[index - 1].is_word(*_BEFORE_A_TABLE))

    @property
    def outlives(self) -> bool:
        """Whether the text is kept, in the database or the session, and may run when a model has another version."""
        return self.lazy or outlives(self.found)
