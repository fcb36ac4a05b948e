"""A model as a query of another database: plain CASE, EXP and arithmetic, with the same rules for missing values.

Written in a small common dialect and rendered by sqlglot. What differs more than in spelling (calendar parts) is a
template a dialect. Nothing is looked up in schema ``ml``: levels are written out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dbml_sql.errors import SqlError
from dbml_sql.export_outputs import group_of_distances, names_beside_inputs, own_query, termwise_outputs
from dbml_sql.export_trees import TreeWriter
from dbml_sql.expressions import double, identifier, string, total
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import Form, LinearForm, QuadraticForm, TermwiseForm, TreeForm
from dbml_sql.groups import GROUP, GROUP_LINKS
from dbml_sql.macros import DEFAULT_THRESHOLD, scored_query
from dbml_sql.quadratic import number_parts
from dbml_sql.score import Target, label_text
from dbml_sql.terms import FeatureWeights, Output, outputs

# False for NULL and infinities everywhere, and for NaN whether a database orders it last or compares it with nothing.
_FINITE = "ABS({0}) <= 1.7976931348623157e308"

# Predictors beyond this are 0 or 1 as probabilities; some databases raise an error where exp overflows or underflows.
_LIMIT = "7e2"

# Days since 1970 and the weekday (0 = Sunday) of a timestamp; the other parts are EXTRACT in each of them.
_DATES = {
    "postgres": ("EXTRACT(EPOCH FROM {0}) / 8.64e4", "EXTRACT(DOW FROM {0})"),
    "redshift": ("EXTRACT(EPOCH FROM {0}) / 8.64e4", "EXTRACT(DOW FROM {0})"),
    "snowflake": ("DATE_PART(EPOCH_MICROSECOND, {0}) / 8.64e10", "MOD(DAYOFWEEKISO({0}), 7)"),
    "bigquery": ("UNIX_MICROS(TIMESTAMP({0})) / 8.64e10", "EXTRACT(DAYOFWEEK FROM {0}) - 1"),
    "mysql": ("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {0}) / 8.64e10", "DAYOFWEEK({0}) - 1"),
    "tsql": (
        "DATEDIFF_BIG(MICROSECOND, '1970-01-01', {0}) / 8.64e10",
        "(DATEPART(WEEKDAY, {0}) + @@DATEFIRST - 1) % 7",
    ),
    "sqlite": ("JULIANDAY({0}) - 2440587.5", "CAST(STRFTIME('%w', {0}) AS INTEGER)"),
}
_SQLITE_PARTS = {"year": "%Y", "month": "%m", "hour": "%H"}
_FOLDS_TO_UPPER = ("snowflake", "oracle")
_SHALLOW_CASE = ("tsql", "fabric")  # at most 10 CASE in one another


def export(
    form: Form,
    encoding: Encoding,
    target: Target | None,
    dialect: str,
    table: str = "input_table",
    names: Sequence[str] = (),
) -> str:
    """Return a query that scores a table of another database.

    Parameters
    ----------
    form, encoding, target
        The model; without a target it tells groups, or transforms.
    dialect : str
        A dialect of sqlglot: postgres, snowflake, bigquery, sqlite, mysql, tsql, …; duckdb gives DuckDB's own query.
    table : str
        Name of the table to score, ``schema.table`` too.
    names : sequence of str
        Names of the outputs of a model that transforms.

    Returns
    -------
    str
        ``SELECT`` of the table's columns, the predictors (``eta_0``, …; before them what trees ask about, ``value_0``,
        …), ``predicted_<target>`` and, for classifiers with probabilities, ``probability_<label>`` for each class.
        Of groups ``centroid_id`` and ``centroid_distance``, or ``probability_<number>`` for each group. Of a model that
        transforms, a column for each output and no predictors (see `dbml_sql.export_outputs` for their names).

    Raises
    ------
    SqlError
        The dialect is unknown, or has no way to read a feature of the model (sparse rows, maps, vectors, dates).
    """
    name = dialect.lower()
    if name == "duckdb":
        source = ".".join(identifier(part) for part in table.split("."))
        if target is None:
            return own_query(source, form, encoding, names)
        return scored_query(source, form, encoding, target, DEFAULT_THRESHOLD)
    exporter = _Exporter(name)
    rows = f"{exporter.table(table)} AS t"
    if isinstance(form, TermwiseForm):
        predictors = termwise_outputs(form, encoding, exporter.value)
    elif isinstance(form, TreeForm):
        predictors, rows = exporter.trees(form, encoding, rows)
    elif isinstance(form, QuadraticForm):
        predictors = [exporter.quadratic(form, k, encoding) for k in range(form.n_outputs)]
    else:
        predictors = [exporter.linear(output) for output in outputs(form, encoding)]
    if target is None and form.link not in GROUP_LINKS:
        return exporter.transformed(predictors, names_beside_inputs(names, encoding), rows)
    return exporter.query(predictors, form.link, target, rows)


class _Exporter:
    """Writes the common dialect; columns are placeholders until `_render` puts their names and templates in."""

    def __init__(self, dialect: str) -> None:
        import sqlglot
        from sqlglot.dialects import DIALECTS

        known = sorted(name.lower() for name in DIALECTS)
        if dialect not in known:
            raise SqlError(f"no dialect {dialect!r} (dialects: {', '.join(known)})")
        self._dialect = sqlglot.Dialect.get_or_raise(dialect)
        self._name = dialect
        self._raw: dict[str, str] = {}

    def table(self, name: str) -> str:
        """Return a quoted name in the common dialect."""
        return ".".join(self._placeholder(self._identifier(part)) for part in name.split("."))

    def query(self, predictors: list[str], link: str, target: Target | None, rows: str) -> str:
        """Return the whole query of predictors over the columns of ``t``, the alias of `rows`."""
        etas = [f"eta_{k}" for k in range(len(predictors))]
        inner = ", ".join(f"{predictor} AS {eta}" for predictor, eta in zip(predictors, etas, strict=True))
        source, best = f"(SELECT t.*, {inner} FROM {rows}) AS t", etas[0]
        if len(predictors) > 1:
            best, chosen = ("eta_least", "LEAST") if link == "nearest" else ("eta_most", "GREATEST")
            source = f"(SELECT t.*, {chosen}({', '.join(etas)}) AS {best} FROM {source}) AS t"
        if target is not None:
            scores = _scores(etas, link, target, "CAST({0} AS BOOLEAN)" if self._name == "tsql" else None)
        elif link == "nearest":
            scores = group_of_distances(etas, best)
        else:
            numbers = list(map(str, range(len(etas))))
            scores = [(GROUP, _of_largest(etas, best, numbers)), *_probabilities(etas, best, link, numbers)]
        return self._render(f"SELECT t.*, {self._named(scores)} FROM {source}")

    def transformed(self, outputs: list[str], names: list[str], rows: str) -> str:
        """Return the whole query of outputs, a column each."""
        return self._render(f"SELECT t.*, {self._named(list(zip(names, outputs, strict=True)))} FROM {rows}")

    def _named(self, columns: list[tuple[str, str]]) -> str:
        return ", ".join(f"{made} AS {self._placeholder(self._identifier(name))}" for name, made in columns)

    def trees(self, form: TreeForm, encoding: Encoding, rows: str) -> tuple[list[str], str]:
        """Return the sums over trees, and the rows with the values that they ask about.

        The trees are written as they will stand: the parser is slow and shallow, and CASE is the same everywhere.
        """
        writer = TreeWriter(form, encoding, self._text, nested=self._name not in _SHALLOW_CASE)
        values = []
        for name, feature in writer.values():
            values.append(f"{self.value(feature)} AS {name}")
        predictors = []
        for output, baseline in enumerate(form.baseline):
            start, written = f"CAST({double(baseline)} AS DOUBLE)", writer.output(output)
            predictors.append(f"{start} + {self._placeholder(written)}" if written else start)
        return predictors, f"(SELECT t.*{''.join(f', {value}' for value in values)} FROM {rows}) AS t"

    def value(self, feature: Feature) -> str:
        """Return the value of a feature read as plain values: a finite number or a text, NULL where it is missing."""
        if feature.kind not in ("number", "category"):
            raise self._refuse(feature, f"a feature of kind {feature.kind}")
        value = self._value(feature)
        if feature.part is not None:
            return f"CAST({value} AS DOUBLE)"
        return f"CASE WHEN {_FINITE.format(value)} THEN {value} END" if feature.kind == "number" else value

    def _text(self, text: str) -> str:
        """Return a string literal as the dialect escapes it."""
        from sqlglot import exp

        return exp.Literal.string(text).sql(dialect=self._dialect)

    def linear(self, output: Output) -> str:
        """Return a linear predictor."""
        # The cast makes databases that read literals as exact decimals compute in floating point.
        return total(
            [f"CAST({double(output.intercept)} AS DOUBLE)", *(self._feature(weights) for weights in output.features)]
        )

    def quadratic(self, form: QuadraticForm, k: int, encoding: Encoding) -> str:
        """Return the predictor of output k of a form with squares."""
        vectors = [feature for feature in encoding.features if feature.kind not in ("number", "category")]
        if vectors:
            raise self._refuse(vectors[0], f"a feature of kind {vectors[0].kind}")
        constant, numbers = number_parts(form, k, encoding)
        parts = [f"CAST({double(constant)} AS DOUBLE)"]
        for number in numbers:
            value, fill = self._value(number.feature), number.feature.fill[0]
            centred = f"({value} - {double(fill)})" if fill else value
            apart = f"({centred} - {double(number.origin)})" if number.origin else centred
            present = f"{double(number.linear)} * {centred} + {double(number.square)} * ({apart} * {apart})"
            parts.append(f"CASE WHEN {_FINITE.format(value)} THEN {present} ELSE {double(number.missing)} END")
        linear = outputs(LinearForm(form.coef, form.intercept, "values"), encoding)[k]
        parts += [self._feature(weights) for weights in linear.features if weights.feature.kind == "category"]
        return total(parts)

    def _feature(self, weights: FeatureWeights) -> str:
        feature = weights.feature
        if feature.kind == "number":
            value = self._value(feature)
            return _number(value, weights.values[0], feature.fill[0], weights.missing)
        if feature.kind == "category":
            pairs = zip(feature.levels, weights.values, strict=True)
            return _category(self._value(feature), list(pairs), weights.missing, weights.other)
        raise self._refuse(feature, f"a feature of kind {feature.kind}")

    def _value(self, feature: Feature) -> str:
        column = self._identifier(feature.column)
        if feature.part is not None:
            part = self._placeholder(self._calendar(feature, column))
            return part if feature.kind == "number" else f"CAST(CAST({part} AS INTEGER) AS VARCHAR)"
        value = self._placeholder(column)
        if feature.kind == "category" and feature.type == "BOOLEAN":
            return f"CASE WHEN {value} THEN 'true' WHEN NOT {value} THEN 'false' END"
        if feature.kind == "category":
            return value if feature.type.startswith(("VARCHAR", "ENUM")) else f"CAST({value} AS VARCHAR)"
        if feature.type == "BOOLEAN":
            return f"CASE WHEN {value} THEN 1e0 WHEN NOT {value} THEN 0e0 END"
        return f"CAST({value} AS DOUBLE)"

    def _calendar(self, feature: Feature, column: str) -> str:
        if self._name not in _DATES:
            raise self._refuse(feature, "a calendar part")
        if "TIME ZONE" in feature.type:
            if self._name != "postgres":
                raise self._refuse(feature, "a time with a time zone")
            column = f"({column} AT TIME ZONE 'UTC')"
        epoch, weekday = _DATES[self._name]
        if feature.part in ("epoch", "weekday"):
            return f"({(epoch if feature.part == 'epoch' else weekday).format(column)})"
        if self._name == "sqlite":
            return f"STRFTIME('{_SQLITE_PARTS[str(feature.part)]}', {column})"
        if self._name == "tsql":
            return f"DATEPART({str(feature.part).upper()}, {column})"
        return f"EXTRACT({str(feature.part).upper()} FROM {column})"

    def _refuse(self, feature: Feature, what: str) -> SqlError:
        return SqlError(f"column {feature.column!r} is {what}, which export to {self._name} does not write")

    def _placeholder(self, text: str) -> str:
        key = f"dbml_{len(self._raw)}_"
        self._raw[key] = text
        return key

    def _identifier(self, name: str) -> str:
        """Return a quoted name; bare where the database folds bare names to capitals and this one is plain."""
        from sqlglot import exp

        keywords = {keyword.lower() for keyword in self._dialect.tokenizer_class.KEYWORDS}
        plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name) is not None and name not in keywords
        quoted = not (plain and self._name in _FOLDS_TO_UPPER)
        return exp.to_identifier(name, quoted=quoted).sql(dialect=self._dialect)

    def _render(self, query: str) -> str:
        import sqlglot

        written = sqlglot.transpile(query, read="duckdb", write=self._dialect, pretty=True)[0]
        return re.sub(r"dbml_\d+_", lambda match: self._raw[match[0]], written)


def _number(value: str, weight: float, centre: float, missing: float) -> str:
    centred = f"({value} - {double(centre)})" if centre else value
    return f"CASE WHEN {_FINITE.format(value)} THEN {double(weight)} * {centred} ELSE {double(missing)} END"


def _category(value: str, pairs: list[tuple[str, float]], missing: float, other: float) -> str:
    kept = [(level, weight) for level, weight in pairs if weight or other]
    known = double(other)
    if kept:
        cases = " ".join(f"WHEN {string(level)} THEN {double(weight)}" for level, weight in kept)
        known = f"CASE {value} {cases} ELSE {double(other)} END"
    return f"CASE WHEN {value} IS NULL THEN {double(missing)} ELSE {known} END"


def _scores(etas: list[str], link: str, target: Target, boolean: str | None) -> list[tuple[str, str]]:
    """Return the output columns and their expressions over the columns of linear predictors."""
    predicted = f"predicted_{target.name}"
    if target.classes is None:
        value = f"CASE WHEN eta_0 < -{_LIMIT} THEN 0e0 ELSE EXP(eta_0) END" if link == "log" else "eta_0"
        return [(predicted, value)]
    labels = [_label(label, boolean) for label in target.classes]
    texts = [label_text(label) for label in target.classes]
    if len(etas) == 1:
        limit, made = "0e0", [_logistic("-eta_0"), _logistic("eta_0")]
        if link == "probability":
            limit, made = "5e-1", ["1e0 - eta_0", "eta_0"]
        found = [(predicted, f"CASE WHEN eta_0 > {limit} THEN {labels[1]} ELSE {labels[0]} END")]
        named = [(f"probability_{text}", share) for text, share in zip(texts, made, strict=True)]
        return found if link == "margin" else found + named
    found = [(predicted, _of_largest(etas, "eta_most", labels))]
    return found if link == "margin" else found + _probabilities(etas, "eta_most", link, texts)


def _of_largest(etas: list[str], most: str, labels: list[str]) -> str:
    """Return the label of the largest predictor, the first of equals."""
    cases = " ".join(f"WHEN {eta} = {most} THEN {label}" for eta, label in zip(etas, labels, strict=True))
    return f"CASE {cases} END"


def _probabilities(etas: list[str], most: str, link: str, texts: list[str]) -> list[tuple[str, str]]:
    """Return the columns of the probabilities of several labels, named by their texts."""
    names = [f"probability_{text}" for text in texts]
    if link == "probability":
        return list(zip(names, etas, strict=True))
    powers = [
        f"CASE WHEN {eta} - {most} < -{_LIMIT} THEN 0e0 ELSE EXP({eta} - {most}) END"
        if link == "softmax"
        else _logistic(eta)
        for eta in etas
    ]
    return [(name, f"{power} / {total(powers)}") for name, power in zip(names, powers, strict=True)]


def _logistic(eta: str) -> str:
    tails = f"WHEN {eta} < -{_LIMIT} THEN 0e0 WHEN {eta} > {_LIMIT} THEN 1e0"
    return f"CASE {tails} ELSE 1e0 / (1e0 + EXP(-({eta}))) END"


def _label(label: Any, boolean: str | None) -> str:
    if isinstance(label, bool):
        return boolean.format(int(label)) if boolean else str(label).upper()
    if isinstance(label, int):
        return str(label)
    return double(label) if isinstance(label, float) else string(str(label))
