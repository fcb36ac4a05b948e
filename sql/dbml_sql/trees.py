"""Sums over trees as DuckDB expressions.

A tree of few different questions is a lookup in a list, ``CAST('[v0, v1, …]' AS DOUBLE[])[1 + bits]``. The bits are
FLOAT: sums and products of integers are checked for overflow one by one, which costs 5 times the comparison (100
symmetric trees of depth 6: 4.1 us a row with integers, 1.7 us with FLOAT). Other trees are nested CASE.

A value is made ready once a row: a missing number is NaN, which DuckDB orders above all others, where missing goes
right, and -infinity where it goes left. So no comparison is ever NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dbml_sql.decision_table import DecisionTable, decision_table
from dbml_sql.expressions import double, identifier, total
from dbml_sql.features import Encoding
from dbml_sql.forms import Branch, Leaf, Node, Split, TreeForm
from dbml_sql.values import Column, TermValue, term_values

# Symmetric trees, or nearly, are tables: a question costs 2.5 ns a row, a leaf of CASE 2.4 where there are many. Lists
# beyond 2^12 leaves are slow to plan.
_MOST_LEVELS = 12

# Up to here trees are summed one after the other, as the kernels do: the same bits. Long chains are slow to plan.
_CHAINED = 32
_MOST_CHAINED = 500

_MISSING_RIGHT, _MISSING_LEFT = "CAST('nan' AS DOUBLE)", "CAST('-inf' AS DOUBLE)"


class Values:
    """The terms that trees ask about, made ready: never NULL.

    Parameters
    ----------
    encoding : Encoding
        Of style ``values``.
    column : callable
        From the name of an input column to its expression.
    named : callable, optional
        From the number of a value to the name that it has in an inner query; by default each value is written out
        where it is used. DuckDB computes equal parts of a SELECT list once.
    """

    def __init__(self, encoding: Encoding, column: Column, named: Callable[[int], str] | None = None) -> None:
        self._terms = term_values(encoding, column)
        self._named = named
        self._known: dict[tuple[int, bool], str] = {}
        self.definitions: list[str] = []

    def number(self, split: Split) -> str:
        """Return the number that a split compares with its threshold: right where it is above."""
        key = split.term, split.missing_left
        missing = _MISSING_LEFT if split.missing_left else _MISSING_RIGHT
        return self._value(key, lambda term: _ready(term, missing))

    def place(self, split: Split) -> str:
        """Return the place of a category's code, from 1 on; the last one is that of missing values."""
        places = self.n_codes(split) + 1
        return self._value((split.term, False), lambda term: f"coalesce({term.sql} + 1, {places})")

    def n_codes(self, split: Split) -> int:
        """Return the number of codes of the category that a split asks about."""
        return self._terms[split.term].feature.n_codes

    def _value(self, key: tuple[int, bool], write: Callable[[TermValue], str]) -> str:
        if key not in self._known:
            value = write(self._terms[key[0]])
            if self._named is not None:
                self.definitions.append(value)
                value = self._named(len(self.definitions) - 1)
            self._known[key] = value
        return self._known[key]


def _ready(term: TermValue, missing: str) -> str:
    if term.feature.part is not None:  # never NaN
        return f"coalesce(CAST({term.raw} AS DOUBLE), {missing})"
    return f"CASE WHEN isfinite({term.raw}) THEN {term.raw} ELSE {missing} END"


def tree_predictors(form: TreeForm, encoding: Encoding, column: Column = identifier) -> list[str]:
    """Return one DOUBLE expression an output of the form, never NULL.

    Parameters
    ----------
    form, encoding
        The model; the form's trees must ask about dense terms only.
    column : callable
        From the name of an input column to its expression.
    """
    return sums(form, Values(encoding, column))


def sums(form: TreeForm, values: Values) -> list[str]:
    """Return the outputs of a form over values made ready."""
    parts = [[double(baseline)] for baseline in form.baseline]
    for tree in form.trees:
        for k, value in enumerate(_tree(tree.root, values)):
            parts[tree.output + k].append(value)
    chained = _MOST_CHAINED if form.link == "probability" else _CHAINED
    return [_chain(terms) if len(terms) <= chained else total(terms) for terms in parts]


def _chain(terms: Sequence[str]) -> str:
    # Ties between classes are broken as in the kernels only if the sums round alike.
    return f"({' + '.join(terms)})" if len(terms) > 1 else terms[0]


def _tree(root: Node, values: Values) -> list[str]:
    """Return the value of a tree for each of the outputs that it adds to."""
    leaves = list(tree_leaves(root))
    table = decision_table(root, most_splits(len(leaves)))
    if table is not None:
        place = _bits(table, values)
        return [_look_up(of_output, place) for of_output in zip(*table.leaves, strict=True)]
    if len(leaves[0]) == 1:
        return [_case(root, values, lambda leaf: double(leaf[0]))]
    places = {leaf: str(place + 1) for place, leaf in enumerate(dict.fromkeys(leaves))}
    return [_look_up(of_output, _case(root, values, places.__getitem__)) for of_output in zip(*places, strict=True)]


def most_splits(n_leaves: int) -> int:
    """Return how many different questions a tree of so many leaves may ask to be a table."""
    return min((2 * n_leaves - 1).bit_length() - 1, _MOST_LEVELS)


def tree_leaves(root: Node) -> Iterator[Leaf]:
    """Yield the leaves of a tree."""
    waiting = [root]
    for node in waiting:
        if isinstance(node, Branch):
            waiting += (node.left, node.right)
        else:
            yield node


def _look_up(numbers: Sequence[float], place: str) -> str:
    if len(numbers) == 1:
        return double(numbers[0])
    # A cast of text is read much faster than a list of literals.
    return f"CAST('[{', '.join(map(repr, numbers))}]' AS DOUBLE[])[{place}]"


def _bits(table: DecisionTable, values: Values) -> str:
    """Return the place of a row's leaf in a table, from 1 on."""
    parts = ["CAST(1 AS FLOAT)"]
    by_category: dict[int, list[tuple[Split, int]]] = {}
    for bit, split in enumerate(table.splits):
        if split.codes is not None:
            by_category.setdefault(split.term, []).append((split, 1 << bit))
            continue
        went_right = f"CAST({values.number(split)} > {double(_bound(split))} AS FLOAT)"
        parts.append(f"{went_right} * {1 << bit}" if bit else went_right)
    parts += [_category_bits(splits, values) for splits in by_category.values()]
    return f"CAST({total(parts)} AS BIGINT)"


def _category_bits(splits: Sequence[tuple[Split, int]], values: Values) -> str:
    """Return the sum of the bits of all questions about one category: one lookup."""
    place = values.place(splits[0][0])
    codes = [*range(values.n_codes(splits[0][0])), None]
    weights = [sum(bit for split, bit in splits if not goes_left(split, code)) for code in codes]
    different = [code for code, weight in enumerate(weights) if weight]
    if len(different) == 1:
        return f"CAST({place} = {different[0] + 1} AS FLOAT) * {weights[different[0]]}"
    return f"CAST('{weights}' AS FLOAT[])[{place}]"


def goes_left(split: Split, code: int | None) -> bool:
    """Whether a code of a category goes left; None is a missing value."""
    assert split.codes is not None
    return split.missing_left if code is None else code in split.codes


def _bound(split: Split) -> float:
    assert split.threshold is not None
    return split.threshold


def _case(node: Node, values: Values, write: Callable[[Leaf], str]) -> str:
    if not isinstance(node, Branch):
        return write(node)
    left, right = _case(node.left, values, write), _case(node.right, values, write)
    split = node.split
    if split.codes is None:
        return f"CASE WHEN {values.number(split)} <= {double(_bound(split))} THEN {left} ELSE {right} END"
    place, codes = values.place(split), [*range(values.n_codes(split)), None]
    ways = [goes_left(split, code) for code in codes]
    for way, first, second in ((True, left, right), (False, right, left)):
        if ways.count(way) == 1:
            return f"CASE WHEN {place} = {ways.index(way) + 1} THEN {first} ELSE {second} END"
    text = ", ".join("true" if way else "false" for way in ways)
    return f"CASE WHEN CAST('[{text}]' AS BOOLEAN[])[{place}] THEN {left} ELSE {right} END"
