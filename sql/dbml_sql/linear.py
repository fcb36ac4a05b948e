"""Linear predictors as DuckDB expressions: one expression an output, missing values and unseen levels included.

The numbers of a row are summed plainly first. Only where that sum is NULL, NaN or infinite does DuckDB evaluate the
careful sum, in which each missing value takes its mean: a CASE evaluates ELSE for the rows that need it. 10M rows of 20
numbers: the plain sum takes 1.3 times a sum of the columns, both together 1.4, the careful sum alone 1.65.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dbml_sql.expressions import double, feature_value, identifier, string, text_map, total, vector
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import LinearForm
from dbml_sql.terms import FeatureWeights, Output, outputs
from dbml_sql.text_table import constants, hashed, listed

Column = Callable[[str], str]

# Centres go into the intercept (one operation less a term) where the link makes an absolute error of the predictor a
# relative error of the prediction, and rounding of the folded products stays below 1e-11.
_FOLD_LINKS = ("logistic", "softmax", "one_vs_rest", "log")
_FOLD_LIMIT = 1e4

# Short lists of levels are searched one by one, once a value where the column is a dictionary; longer ones are hashed
# row by row. Seconds of processor for 5M rows of 100 levels: list .02 of a dictionary, .47 of plain texts (.65 unseen),
# hashed .15 and .24 (.20); of 1,000 levels, list .12 of a dictionary, hashed .23 and .32 (.30). A correlated subquery
# is a hash join and faster yet, but DuckDB keeps no order of rows through a join: predictions would not lie next to
# arrays made of the same table, nor would a table made of them keep its zone maps. Nor may one stand in a lambda.
_LIST_LEVELS = 100
_MAP_LEVELS = 16


def linear_predictors(form: LinearForm, encoding: Encoding, column: Column = identifier) -> list[str]:
    """Return one DOUBLE expression an output of the form, never NULL.

    Parameters
    ----------
    form, encoding
        The model.
    column : callable
        From the name of an input column to its expression.
    """
    fold = form.link in _FOLD_LINKS
    return [_predictor(output, column, fold) for output in outputs(form, encoding)]


def number_sums(form: LinearForm, encoding: Encoding, column: Column = identifier) -> tuple[str, str] | None:
    """Return the plain and the careful sum of a form of one output over numbers alone, None for any other.

    The plain one is NULL, NaN or infinite where a value is missing. A filter does not share equal parts of an
    expression, so a condition that names each sum once takes 1.3 times a sum of the columns, not 1.6.
    """
    found = outputs(form, encoding)
    if len(found) != 1 or not found[0].features or any(f.feature.kind != "number" for f in found[0].features):
        return None
    numbers = list(found[0].features)
    fold = form.link in _FOLD_LINKS and _products(numbers) <= _FOLD_LIMIT
    return _sums(numbers, found[0].intercept, column, fold)


def predictor_list(form: LinearForm, encoding: Encoding, column: Column = identifier) -> str:
    """Return DOUBLE[] whose largest element stands where the largest output of a form does, each computed once a row.

    It holds the outputs less the first one: a sum less to compute. Of numbers alone, one test a row decides between the
    plain sums and the careful ones: whether the sum of the numbers is finite.
    """
    form = _less_the_first(form)
    found = outputs(form, encoding)
    features = [weights for output in found for weights in output.features]
    numbers_only = all(f.feature.kind == "number" for f in features)
    used = {f.position: f.feature for f in features if f.values[0]} if numbers_only else {}
    if not used:
        return f"[{', '.join(linear_predictors(form, encoding, column))}]"
    known = total([feature_value(feature, column(feature.column)) for feature in used.values()])
    sums = []
    for output in found:
        fold = form.link in _FOLD_LINKS and _products(output.features) <= _FOLD_LIMIT
        sums.append(_sums(output.features, output.intercept, column, fold))
    plain, careful = zip(*sums, strict=True)
    return f"CASE WHEN isfinite({known}) THEN [{', '.join(plain)}] ELSE [{', '.join(careful)}] END"


def _less_the_first(form: LinearForm) -> LinearForm:
    """Return a form whose first output is 0 and whose others lie above it as they did."""
    coef = tuple(tuple(a - b for a, b in zip(row, form.coef[0], strict=True)) for row in form.coef)
    return LinearForm(coef, tuple(a - form.intercept[0] for a in form.intercept), form.link)


def _products(numbers: Sequence[FeatureWeights]) -> float:
    return sum(abs(weights.values[0] * weights.feature.fill[0]) for weights in numbers)


def _predictor(output: Output, column: Column, fold: bool) -> str:
    numbers = [f for f in output.features if f.feature.kind == "number"]
    others = [f for f in output.features if f.feature.kind != "number"]
    fold = fold and _products(numbers) <= _FOLD_LIMIT
    parts = [_numbers(numbers, output.intercept, column, fold)]
    writers = {"category": category_weight, "vector": _vector, "lists": _lists, "map": _map, "text": _text}
    parts += [writers[weights.feature.kind](weights, column) for weights in others]
    return total(parts)


def _numbers(numbers: Sequence[FeatureWeights], intercept: float, column: Column, fold: bool) -> str:
    if not numbers:
        return double(intercept)
    plain, careful = _sums(numbers, intercept, column, fold)
    return f"CASE WHEN isfinite({plain}) THEN {plain} ELSE {careful} END"


def _sums(numbers: Sequence[FeatureWeights], intercept: float, column: Column, fold: bool) -> tuple[str, str]:
    values = [feature_value(weights.feature, column(weights.feature.column)) for weights in numbers]
    plain, careful, shift = [], [double(intercept)], 0.0
    for weights, value in zip(numbers, values, strict=True):
        weight, centre = weights.values[0], weights.feature.fill[0]
        centred = _times(weight, _minus(value, centre))
        careful.append(f"CASE WHEN isfinite({value}) THEN {centred} ELSE {double(weights.missing)} END")
        if weight == 0.0:  # only the flag counts: a sum with the value would be no cheaper
            plain.append(careful[-1])
        elif fold:
            plain.append(_times(weight, value))
            shift += weight * centre
        else:
            plain.append(centred)
    return total([double(intercept - shift), *plain]), total(careful)


def _times(weight: float, value: str) -> str:
    return value if weight == 1.0 else f"{double(weight)} * {value}"


def _minus(value: str, centre: float) -> str:
    return value if centre == 0.0 else f"({value} - {double(centre)})"


def _vector(weights: FeatureWeights, column: Column) -> str:
    value = vector(column(weights.feature.column))
    elements = [f"{value}[{i + 1}]" for i in range(weights.feature.width)]
    used = list(zip(elements, weights.values, weights.feature.fill, strict=True))
    centred = [(element, _times(weight, _minus(element, centre))) for element, weight, centre in used if weight]
    careful = [f"CASE WHEN isfinite({element}) THEN {term} ELSE 0e0 END" for element, term in centred]
    if weights.missing:
        finite = total([f"isfinite({element})" for element in elements], "AND")
        careful.append(f"CASE WHEN coalesce({finite}, false) THEN 0e0 ELSE {double(weights.missing)} END")
        return total(careful)
    plain = total([term for _, term in centred])
    return f"CASE WHEN isfinite({plain}) THEN {plain} ELSE {total(careful)} END"


def category_weight(weights: FeatureWeights, column: Column) -> str:
    """Return what a category adds to one output, never NULL."""
    text = feature_value(weights.feature, column(weights.feature.column))
    pairs = list(zip(weights.feature.levels, weights.values, strict=True))
    if not weights.other:  # then a level without a weight is as good as unseen
        pairs = [(level, weight) for level, weight in pairs if weight]
    found = look_up(text, pairs)
    if weights.missing == weights.other:
        return f"coalesce({found}, {double(weights.other)})"
    unknown = f"CASE WHEN {text} IS NULL THEN {double(weights.missing)} ELSE {double(weights.other)} END"
    return f"coalesce({found}, {unknown})"


def look_up(text: str, pairs: Sequence[tuple[str, float]]) -> str:
    """Return the number that goes with a text, NULL for NULL and for a text that is not in `pairs`."""
    if not pairs:
        return "CAST(NULL AS DOUBLE)"
    levels, values = zip(*pairs, strict=True)
    if len(pairs) <= _LIST_LEVELS:
        return listed(text, levels, list(map(double, values)))
    return hashed(text, levels, [repr(float(value)) for value in values], "DOUBLE")


def _lists(weights: FeatureWeights, column: Column) -> str:
    feature = weights.feature
    assert feature.values is not None
    pairs = f"list_zip({feature_value(feature, column(feature.column))}, {vector(column(feature.values))})"
    table = f"[{', '.join(map(double, weights.values))}]"
    place = "dbml_z[1] + 1" if feature.first_index == 0 else "dbml_z[1]"
    known = f"dbml_z[1] >= {feature.first_index} AND isfinite(dbml_z[2])"
    product = f"CASE WHEN {known} THEN {table}[{place}] * dbml_z[2] END"
    return f"coalesce(list_sum(list_transform({pairs}, lambda dbml_z: {product})), 0e0)"


def _map(weights: FeatureWeights, column: Column) -> str:
    value = text_map(column(weights.feature.column))
    pairs = [(level, weight) for level, weight in zip(weights.feature.levels, weights.values, strict=True) if weight]
    if len(pairs) <= _MAP_LEVELS:
        entries = [(f"{value}[{string(level)}]", weight) for level, weight in pairs]
        return total([f"CASE WHEN isfinite({v}) THEN {_times(w, v)} ELSE 0e0 END" for v, w in entries])
    table = f"MAP {{{', '.join(f'{string(level)}: {double(weight)}' for level, weight in pairs)}}}"
    product = f"CASE WHEN isfinite(dbml_z['value']) THEN {table}[dbml_z['key']] * dbml_z['value'] END"
    return f"coalesce(list_sum(list_transform(map_entries({value}), lambda dbml_z: {product})), 0e0)"


def _text(weights: FeatureWeights, column: Column) -> str:
    """Return the sum of the weights of the words of a text, each as often as it counts, by looking every one up."""
    feature = weights.feature
    terms = feature_value(feature, column(feature.column))
    if feature.weighting == "count":
        return f"coalesce({_sum_of_terms(terms, feature, weights.values)}, 0e0)"
    if feature.weighting == "binary":
        return f"coalesce({_sum_of_terms(f'list_distinct({terms})', feature, weights.values)}, 0e0)"
    scaled = [weight * scale for weight, scale in zip(weights.values, feature.scale, strict=True)]
    # Never dbml_z.key: DuckDB takes the column of such a name for the parameter of a lambda.
    scale_of = _of_term("dbml_z['key']", feature, feature.scale)
    value = f"({scale_of} * dbml_z['value'])"
    squares = f"list_sum(list_transform(map_entries(list_histogram({terms})), lambda dbml_z: {value} * {value}))"
    return f"coalesce({_sum_of_terms(terms, feature, scaled)} / sqrt(nullif({squares}, 0e0)), 0e0)"


def _sum_of_terms(terms: str, feature: Feature, values: Sequence[float]) -> str:
    return f"list_sum(list_transform({terms}, lambda dbml_z: {_of_term('dbml_z', feature, values)}))"


def _of_term(term: str, feature: Feature, values: Sequence[float]) -> str:
    """Return the number that goes with a word or a bucket; NULL for a word without a term."""
    if not feature.levels:
        return f"{constants([repr(float(value)) for value in values], 'DOUBLE')}[{term} + 1]"
    return look_up(term, [(word, value) for word, value in zip(feature.levels, values, strict=True) if value])
