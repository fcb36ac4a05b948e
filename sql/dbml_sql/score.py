"""Predictions of a model as DuckDB expressions over its input columns: the link, the labels, the probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dbml_sql.expressions import double, identifier, string, total
from dbml_sql.features import EXACT, Encoding
from dbml_sql.forms import Binned, Form, LinearForm, Marked, QuadraticForm, TermwiseForm, TreeForm
from dbml_sql.linear import Column, linear_predictors, number_sums, predictor_list
from dbml_sql.quadratic import quadratic_predictors
from dbml_sql.terms import outputs
from dbml_sql.termwise import termwise_outputs
from dbml_sql.trees import tree_leaves, tree_predictors

# A scalar expression has no place to keep a value, so probabilities of K classes name each predictor K times.
_MOST_WEIGHTS = 50_000
_MOST_LIST_WIDTH = 20_000
_MOST_OUTPUTS = 5_000
_MOST_LEAVES = 100_000
_MOST_DEPTH = 200  # DuckDB allows expressions of depth 1,000


class Target(Protocol):
    """The label column of a model: name, DuckDB type, class labels in order (None in regression)."""

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> str: ...

    @property
    def classes(self) -> tuple[Any, ...] | None: ...


@dataclass(frozen=True, slots=True)
class Scores:
    """What a form computes of one row, as expressions.

    Attributes
    ----------
    predictors : tuple of str
        Predictors, one an output.
    classes : tuple or None
        Class labels, None in regression.
    type : str
        DuckDB type of the target.
    link : str
        Link of the form.
    listed : str or None
        The predictors as one DOUBLE[] that computes each once; made of `predictors` by default.
    sums : tuple of str or None
        The plain and the careful sum of a single predictor over numbers (see `dbml_sql.linear.number_sums`).
    """

    predictors: tuple[str, ...]
    classes: tuple[Any, ...] | None
    type: str
    link: str
    listed: str | None = None
    sums: tuple[str, str] | None = None

    def prediction(self, threshold: str = "5e-1") -> str:
        """Return the predicted value or label.

        With two classes the second is predicted where its probability is above `threshold` (its predictor above the
        logit, or that predictor where it is the probability); the predictor itself above 0 for ``margin``. With more,
        the class of the largest predictor, the first one of equals.
        """
        if self.classes is None:
            eta = self.predictors[0]
            return f"exp({eta})" if self.link == "log" else eta
        labels = [label_literal(label, self.type) for label in self.classes]
        if len(self.predictors) == 2 and self.link == "softmax" and threshold not in ("5e-1", "0.5"):
            above = f"({self.predictors[1]}) - ({self.predictors[0]}) > ln({threshold} / (1e0 - {threshold}))"
            return f"CASE WHEN {above} THEN {labels[1]} ELSE {labels[0]} END"
        if len(self.predictors) == 1:
            logit = f"ln({threshold} / (1e0 - {threshold}))"
            limit = "0e0" if self.link == "margin" or threshold in ("5e-1", "0.5") else logit
            limit = threshold if self.link == "probability" else limit
            return f"CASE WHEN {self._above(limit)} THEN {labels[1]} ELSE {labels[0]} END"
        listed = self.listed or f"[{', '.join(self.predictors)}]"
        # The lambda names the list twice and computes it once, in filters too.
        largest = f"list_transform([{listed}], lambda dbml_z: list_position(dbml_z, list_max(dbml_z)))[1]"
        return f"[{', '.join(labels)}][{largest}]"

    def _above(self, limit: str) -> str:
        """Return whether the predictor is above a limit; a sum that is no finite number is NULL as BIGINT."""
        if self.sums is None:
            return f"{self.predictors[0]} > {limit}"
        plain, careful = self.sums
        margin = plain if limit == "0e0" else f"({plain} - {limit})"
        return f"coalesce(TRY_CAST(ceil({margin}) AS BIGINT) > 0, {careful} > {limit})"

    def probabilities(self) -> tuple[str, ...] | None:
        """Return the probability of each class, or None where the form has none.

        Safe at any size of the predictors: ``1 / (1 + exp(-eta))`` and ``1 / sum_j exp(eta_j - eta_k)``; an overflow of
        exp is infinite and its inverse 0. The first of two classes is ``1 / (1 + exp(eta))``, exact near 0.
        """
        if self.classes is None or self.link == "margin":
            return None
        if len(self.predictors) == 1:
            eta = self.predictors[0]
            if self.link == "probability":
                return f"1e0 - {eta}", eta
            return f"1e0 / (1e0 + exp({eta}))", f"1e0 / (1e0 + exp(-({eta})))"
        if self.link == "probability":
            return self.predictors
        if self.link == "softmax":
            return tuple(self._softmax(k) for k in range(len(self.predictors)))
        odds = [f"1e0 / (1e0 + exp(-({eta})))" for eta in self.predictors]
        return tuple(f"({one} / {total(odds)})" for one in odds)

    def _softmax(self, k: int) -> str:
        others = [f"exp(({eta}) - ({self.predictors[k]}))" for j, eta in enumerate(self.predictors) if j != k]
        return f"1e0 / {total(['1e0', *others])}"

    def probability_struct(self) -> str | None:
        """Return ``{'label': probability, …}``: a STRUCT, or a MAP where the labels cannot name its fields.

        Fields of a STRUCT are read for free and a wrong label is an error; a MAP costs 10 times as much. A STRUCT
        cannot hold an empty name, nor names that differ in case only.
        """
        probabilities = self.probabilities()
        if probabilities is None or self.classes is None:
            return None
        texts = [label_text(label) for label in self.classes]
        if names_a_struct(texts):
            fields = ", ".join(f"{identifier(t)} := {p}" for t, p in zip(texts, probabilities, strict=True))
            return f"struct_pack({fields})"
        return f"MAP {{{', '.join(f'{string(t)}: {p}' for t, p in zip(texts, probabilities, strict=True))}}}"

    def probability_list(self) -> str | None:
        """Return BigQuery's list of ``{label, prob}``, the most probable class not first but in class order."""
        probabilities = self.probabilities()
        if probabilities is None or self.classes is None:
            return None
        labels = [label_literal(label, self.type) for label in self.classes]
        items = (f"{{'label': {label}, 'prob': {p}}}" for label, p in zip(labels, probabilities, strict=True))
        return f"[{', '.join(items)}]"


def predictors_of(form: Form, encoding: Encoding, column: Column = identifier) -> list[str]:
    """Return one DOUBLE expression an output of a form; `column` makes one of an input column's name.

    Never NULL, but where a `TermwiseForm` lets a missing value be missing.
    """
    if isinstance(form, TreeForm):
        return tree_predictors(form, encoding, column)
    if isinstance(form, TermwiseForm):
        return termwise_outputs(form, encoding, column)
    if isinstance(form, QuadraticForm):
        return quadratic_predictors(form, encoding, column)
    return linear_predictors(form, encoding, column)


def form_scores(form: Form, encoding: Encoding, target: Target, column: Column = identifier) -> Scores:
    """Return the expressions of a model."""
    predictors = tuple(predictors_of(form, encoding, column))
    if not isinstance(form, LinearForm):
        return Scores(predictors, target.classes, target.type, form.link)
    listed = predictor_list(form, encoding, column) if len(predictors) > 1 else None
    sums = number_sums(form, encoding, column)
    return Scores(predictors, target.classes, target.type, form.link, listed, sums)


def too_large(form: Form, encoding: Encoding) -> str | None:
    """Return why a form is too large to be an expression, or None: the UDF and streaming score such a model."""
    if isinstance(form, TreeForm):
        return _trees_too_large(form, encoding)
    if isinstance(form, TermwiseForm):
        return _termwise_too_large(form)
    if isinstance(form, QuadraticForm):
        return _quadratic_too_large(form, encoding)
    found = outputs(form, encoding)
    widest = max((f.width for f in encoding.features if f.kind == "lists"), default=0)
    if widest > _MOST_LIST_WIDTH:
        return f"a sparse feature of {widest:,} terms; native SQL holds {_MOST_LIST_WIDTH:,}"
    repeats = len(found) if form.link in ("softmax", "one_vs_rest") else 1
    weights = repeats * sum(output.n_weights for output in found)
    if weights > _MOST_WEIGHTS:
        return f"{weights:,} weights; native SQL holds {_MOST_WEIGHTS:,}"
    return None


def _quadratic_too_large(form: QuadraticForm, encoding: Encoding) -> str | None:
    if encoding.has_entries:
        return "squared distances of sparse rows"
    weights = form.n_outputs * encoding.n_terms + sum(map(bool, (s for row in form.square for s in row)))
    return f"{weights:,} weights; native SQL holds {_MOST_WEIGHTS:,}" if weights > _MOST_WEIGHTS else None


def _termwise_too_large(form: TermwiseForm) -> str | None:
    if form.n_outputs > _MOST_OUTPUTS:
        return f"{form.n_outputs:,} outputs; native SQL holds {_MOST_OUTPUTS:,}"
    numbers = sum(len(function.edges) for function in form.functions if isinstance(function, Binned))
    numbers += sum(len(function.values) for function in form.functions if isinstance(function, Marked))
    return f"{numbers:,} constants; native SQL holds {_MOST_WEIGHTS:,}" if numbers > _MOST_WEIGHTS else None


def _trees_too_large(form: TreeForm, encoding: Encoding) -> str | None:
    nodes = list(form.inner_nodes())
    if any(node.split.term >= encoding.n_dense for node, _ in nodes):
        return "trees that ask about a value of sparse rows"
    deepest = max((depth for _, depth in nodes), default=0)
    if deepest > _MOST_DEPTH:
        return f"a tree of depth {deepest:,}; native SQL holds {_MOST_DEPTH:,}"
    n_leaves = sum(1 for tree in form.trees for _ in tree_leaves(tree.root))
    if n_leaves > _MOST_LEAVES:
        return f"{n_leaves:,} leaves; native SQL holds {_MOST_LEAVES:,}"
    return None


def label_text(label: Any) -> str:
    """Return the text of a class label as DuckDB writes it: the key of its probability."""
    if isinstance(label, bool):
        return "true" if label else "false"
    return str(label)


def fit_double(classes: Sequence[Any]) -> bool:
    """Whether a DOUBLE tells all class labels apart: text never, nor whole numbers beyond 2^53."""
    return all(isinstance(c, (bool, float)) or (isinstance(c, int) and abs(c) <= EXACT) for c in classes)


def label_literal(label: Any, type_: str) -> str:
    """Return a class label as a literal of the target's type (of its Python type where that is none of DuckDB's)."""
    if isinstance(label, bool):
        literal = "true" if label else "false"
    elif isinstance(label, int):
        literal = str(label)
    else:
        literal = double(label) if isinstance(label, float) else string(str(label))
    own, written = _own_type(label), label_type((label,), type_)
    return literal if written == own and own in ("BOOLEAN", "VARCHAR") else f"CAST({literal} AS {written})"


def label_type(classes: Sequence[Any] | None, type_: str) -> str:
    """Return the DuckDB type of predicted labels; DOUBLE in regression."""
    if classes is None:
        return "DOUBLE"
    return type_ if _is_duckdb_type(type_) else _own_type(classes[0])


def _own_type(label: Any) -> str:
    if isinstance(label, bool):
        return "BOOLEAN"
    if isinstance(label, int):
        return "BIGINT" if -(2**63) <= label < 2**63 else "HUGEINT"
    return "DOUBLE" if isinstance(label, float) else "VARCHAR"


def _is_duckdb_type(type_: str) -> bool:
    """Whether a type is DuckDB's: they are spelled in capitals (NumPy's are not), ENUMs with their values."""
    return type_.split("(", 1)[0].replace(" ", "").isalpha() and type_.split("(", 1)[0].isupper()


def names_a_struct(texts: Sequence[str]) -> bool:
    """Whether some texts can name the fields of a STRUCT: not empty, and different in more than case."""
    return all(texts) and len({text.casefold() for text in texts}) == len(texts)
