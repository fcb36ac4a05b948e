"""``ML.RECOMMEND``, ``ML.WEIGHTS`` and ``ML.EVALUATE`` of matrix factorizations.

Queries over keys, factors and ordinary predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dbml_sql.call import probed
from dbml_sql.expressions import identifier, string
from dbml_sql.stored import stored_metrics

if TYPE_CHECKING:
    from dbml_sql.call import Call
    from dbml_sql.signature import ModelSignature

FACTORIZATION = "MatrixFactorization"


def recommend(call: Call) -> str:
    """Return pairs of user and item with their prediction: those of the rows, or all there are.

    Rows with users alone are paired with all items, rows with items alone with all users, as in BigQuery. ``k`` keeps
    the best of each user (of each item, where rows have items alone); ``exclude_seen`` leaves out the pairs of the
    training.
    """
    model = call.model
    if model.type != FACTORIZATION:
        raise call.error(
            f"{model.name} is no matrix factorization. "
            "Hint: CREATE MODEL … OPTIONS (model_type = 'matrix_factorization')"
        )
    options = call.options(2 if call.has_source else 1, ("k", "exclude_seen"))
    best = call.whole_number(options, "k", 0, 1) if "k" in options else None
    seen = call.yes_or_no(options, "exclude_seen")
    pairs = _pairs(call, model)
    if seen:
        pairs = _without_seen(call, model, pairs)
    user, item = (identifier(column) for column in model.columns[:2])
    predicted = f"predicted_{model.target}" + "_confidence" * model.implicit
    value = model.about("predict", "dbml_user", "dbml_item")
    made = f"dbml_user AS {user}, dbml_item AS {item}, {value} AS {identifier(predicted)}"
    if best is None:
        return f"({pairs} SELECT {made} FROM dbml_pairs)"
    group = (
        "dbml_by_item, CASE WHEN dbml_by_item THEN NULL ELSE dbml_user END, CASE WHEN dbml_by_item THEN dbml_item END"
    )
    scored = f"SELECT dbml_user, dbml_item, dbml_by_item, {value} AS dbml_value FROM dbml_pairs"
    order = "dbml_value DESC, dbml_item, dbml_user"
    ranked = f"row_number() OVER (PARTITION BY {group} ORDER BY {order})"
    return (
        f"({pairs} SELECT dbml_user AS {user}, dbml_item AS {item}, dbml_value AS {identifier(predicted)} "
        f"FROM ({scored}) QUALIFY {ranked} <= {best})"
    )


def _pairs(call: Call, model: ModelSignature) -> str:
    """Return a WITH clause that ends with ``dbml_pairs``: user, item, and whether the rows have items alone."""
    keys = ", ".join(
        f"dbml_{side}s AS MATERIALIZED "
        f"(SELECT CAST(unnest({model.about('factor_keys', string(side))}) AS {type_}) AS dbml_{side})"
        for side, type_ in zip(("user", "item"), model.types, strict=True)
    )
    if not call.has_source:
        every = "SELECT dbml_user, dbml_item, false AS dbml_by_item FROM dbml_users, dbml_items"
        return f"WITH {keys}, dbml_pairs AS ({every})"
    user, item = model.columns[:2]
    folded = "list_transform(struct_keys(dbml_row), lambda dbml_name: lower(dbml_name))"
    has = [f"list_contains({folded}, {string(column.lower())})" for column in (user, item)]
    none = string(f"ML.RECOMMEND: the rows must have a column {user} or {item}, or both")
    asked = (
        f"SELECT dbml_row.*, {has[0]} AS dbml_has_user, "
        f"CASE WHEN {has[0]} OR {has[1]} THEN {has[1]} ELSE error({none}) END AS dbml_has_item "
        f"FROM ({call.source()}) dbml_row"
    )
    typed = ", ".join(
        f"CAST(NULL AS {type_}) AS {identifier(column)}"
        for column, type_ in zip((user, item), model.types, strict=True)
    )
    # So that both columns are there, whichever the rows have.
    asked = f"{asked} UNION ALL BY NAME SELECT {typed} WHERE false"
    columns = identifier(user), identifier(item)
    both = f"SELECT {columns[0]} AS dbml_user, {columns[1]} AS dbml_item, false AS dbml_by_item FROM dbml_asked"
    users = f"SELECT {columns[0]}, dbml_item, false FROM (FROM dbml_asked WHERE NOT dbml_has_item), dbml_items"
    items = f"SELECT dbml_user, {columns[1]}, true FROM dbml_users, (FROM dbml_asked WHERE NOT dbml_has_user)"
    every = f"{both} WHERE dbml_has_user AND dbml_has_item UNION ALL {users} UNION ALL {items}"
    return f"WITH {keys}, dbml_asked AS MATERIALIZED ({asked}), dbml_pairs AS ({every})"


def _without_seen(call: Call, model: ModelSignature, pairs: str) -> str:
    trained_on = call.training_query()
    if trained_on is None:
        raise call.error(
            f"exclude_seen: {model.name} was not trained on a query that could be read again. Hint: leave the pairs "
            "out with an ANTI JOIN"
        )
    user, item = (identifier(column) for column in model.columns[:2])
    same = f"s.{user} = p.dbml_user AND s.{item} = p.dbml_item"
    left = f"SELECT p.* FROM dbml_every p ANTI JOIN ({trained_on}\n) s ON {same}"
    return f"{pairs.replace('dbml_pairs AS (', 'dbml_every AS (')}, dbml_pairs AS ({left})"


RANKING_METRICS = (
    "mean_average_precision",
    "mean_squared_error",
    "normalized_discounted_cumulative_gain",
    "average_rank",
)


def evaluate_rankings(call: Call) -> str:
    """Return the query of ``ML.EVALUATE`` for implicit feedback."""
    model = call.model
    call.options(2, ())
    if call.n_arguments == 1:
        return stored_metrics(model, RANKING_METRICS, call.outlives)
    source = call.source()
    if call.probed:
        return probed(source)
    predicted, rows = identifier(f"predicted_{model.target}"), summed_pairs(f"({source})", model.columns, model.target)
    made = f"{model.python_call('predict')} AS {predicted}, {model.python_call('item_rank')} AS dbml_rank"
    n_items = f"len({model.about('factor_keys', string('item'))})"
    return f"({rankings(f'(SELECT t.*, {made} FROM ({rows}) t)', model.columns[0], model.target, n_items)})"


def summed_pairs(source: str, columns: Sequence[str], target: str | None) -> str:
    """Return the query of pairs of user and item with the sum of their ratings, one user after the other."""
    user, item = map(identifier, columns[:2])
    rating = identifier(str(target))
    return (
        f"SELECT {user}, {item}, sum(CAST({rating} AS DOUBLE)) AS {rating} FROM {source} "
        f"WHERE {rating} IS NOT NULL AND {user} IS NOT NULL AND {item} IS NOT NULL GROUP BY ALL ORDER BY {user}"
    )


def rankings(scored: str, user: str, target: str | None, n_items: str) -> str:
    """Return the query of how well the items of users are ranked.

    Parameters
    ----------
    scored : str
        Pairs in parentheses: user, rating, ``predicted_<rating>``, ``dbml_rank``, the place of the item.
    user, target : str
        Columns of the users and of the ratings.
    n_items : str
        Expression of the number of items.

    Notes
    -----
    A pair with a rating above 0 is one that came. Average precision, over the pairs of a user that came: how many of
    them rank as high, through the rank. Discounted cumulative gain: ratings through ``log2(rank + 1)``, over that of
    the best order (Jarvelin & Kekalainen 2002). Both are means over the users. Average rank: from 0 for the first
    item to 1 for the last, weighted by the rating (Hu, Koren & Volinsky 2008). The squared error is that from 1 for a
    pair that came, from 0 for others. Pairs of users or items that training did not see have no rank, but an error.
    """
    rating, predicted = identifier(str(target)), identifier(f"predicted_{target}")
    return f"""WITH s AS (
  SELECT {identifier(user)} AS u, {rating} AS y, {predicted} AS p, dbml_rank AS place FROM {scored}
), came AS (
  SELECT u, y, place, row_number() OVER (PARTITION BY u ORDER BY place) AS nth,
    row_number() OVER (PARTITION BY u ORDER BY y DESC) AS best
  FROM s WHERE y > 0 AND place IS NOT NULL
), users AS (
  SELECT avg(nth / place) AS precision, sum(y / log2(place + 1)) / sum(y / log2(best + 1)) AS gain
  FROM came GROUP BY u
), total AS (
  SELECT sum(y * (place - 1)) / nullif(sum(y) * ({n_items} - 1), 0) AS average_rank FROM came
), errors AS (
  SELECT avg(pow(p - CAST(y > 0 AS INTEGER), 2)) AS mean_squared_error FROM s
)
SELECT (SELECT avg(precision) FROM users) AS mean_average_precision, mean_squared_error,
  (SELECT avg(gain) FROM users) AS normalized_discounted_cumulative_gain, average_rank
FROM errors, total"""


def factor_weights(call: Call) -> str:
    """Return BigQuery's columns: a row a user, a row an item, and one for the mean."""
    return f"(SELECT w.* FROM (SELECT unnest({call.model.about('factor_weights')}) AS w))"
