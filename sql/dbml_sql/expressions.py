"""SQL pieces that the training scan and the scoring expressions share, each rule in one place.

All functions take and return SQL text for DuckDB. A `value` argument is an expression, already quoted. Any column type
is accepted everywhere: a value that cannot be what the model needs becomes NULL, never an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from dbml_sql.features import Feature, Part

_REFUSAL = "dbml: "
MICROSECONDS_PER_DAY = 86_400_000_000
ZONED = "TIMESTAMP WITH TIME ZONE"

# A word: two or more letters (with their marks), digits or underscores of any script, in lower case.
_WORD = r"[\p{L}\p{M}\p{N}_]{2,}"


def identifier(name: str) -> str:
    """Return a quoted name: ``"dep hour"``."""
    return '"' + name.replace('"', '""') + '"'


def string(text: str) -> str:
    """Return a string literal."""
    return "'" + text.replace("'", "''") + "'"


def refusal(message: str, type_: str) -> str:
    """Return an expression of a type that is an error with a message, itself an expression; NULL where that is NULL.

    A cast that fails, not ``error()``: DuckDB takes that for a side effect, and refuses the alias of an expression that
    holds it in WHERE, and the expression itself in a window.
    """
    return f"CAST('{_REFUSAL}' || {message} AS {type_})"


def refusal_in(error: str) -> str | None:
    """Return the message of a `refusal` in DuckDB's error; None where the error is another."""
    found = re.search(rf"Could not convert string '{_REFUSAL}(.*)' to (?:BOOL|DOUBLE|INT32)", error, re.DOTALL)
    return None if found is None else found[1]


def double(number: float) -> str:
    """Return a DOUBLE literal that reads back bit for bit (a bare ``1.5`` would be a DECIMAL)."""
    if not math.isfinite(number):
        return f"CAST('{number}' AS DOUBLE)"
    text = repr(float(number))
    return text if "e" in text else f"{text}e0"


def total(parts: Sequence[str], operator: str = "+") -> str:
    """Join expressions by an operator as a balanced tree (DuckDB allows a depth of 1,000), in parentheses."""
    level = list(parts)
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [f"({f' {operator} '.join(pair)})" if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


def number(value: str) -> str:
    """Return the value as DOUBLE: NULL where it cannot be cast; NaN and infinities stay (see `missing`)."""
    return f"TRY_CAST({value} AS DOUBLE)"


def missing(number_value: str) -> str:
    """Return whether a DOUBLE is missing: NULL, NaN or infinite. Never NULL itself."""
    return f"(NOT coalesce(isfinite({number_value}), false))"


def finite(number_value: str) -> str:
    """Return a DOUBLE, NULL where it is missing."""
    return f"CASE WHEN isfinite({number_value}) THEN {number_value} END"


def category(value: str) -> str:
    """Return the text of a category's value; NULL stays NULL."""
    return f"CAST({value} AS VARCHAR)"


def vector(value: str) -> str:
    """Return FLOAT[d], DOUBLE[d] or a list as DOUBLE[]: element i is ``vector[i]``, NULL beyond its end."""
    return f"TRY_CAST({value} AS DOUBLE[])"


def indices(value: str) -> str:
    """Return the indices of sparse rows as BIGINT[]."""
    return f"TRY_CAST({value} AS BIGINT[])"


def text_map(value: str) -> str:
    """Return a MAP (or a STRUCT) as MAP(VARCHAR, DOUBLE): keys by their text."""
    return f"TRY_CAST({value} AS MAP(VARCHAR, DOUBLE))"


def words(value: str) -> str:
    """Return the words of a text as VARCHAR[], in order; NULL for NULL."""
    return f"regexp_extract_all(lower({value}), {string(_WORD)})"


def words_beyond_ascii(text: str) -> str:
    """Return the words of a text that has characters beyond ASCII, NULL for others."""
    return f"CASE WHEN strlen({text}) <> length({text}) THEN {words(text)} END"


def bucket(word: str, width: int) -> str:
    """Return the bucket of a word, from 0 on: its MD5, which is the same in every version of DuckDB, modulo `width`."""
    return f"CAST(md5_number_lower({word}) % {width} AS BIGINT)"


def text_terms(feature: Feature, value: str) -> str:
    """Return a text as the list of its words, or of their buckets where words have no terms of their own."""
    found = words(category(value))
    return found if feature.levels else f"list_transform({found}, lambda dbml_w: {bucket('dbml_w', feature.width)})"


def to_zoned(value: str) -> str:
    """Return the value as TIMESTAMP WITH TIME ZONE: what has no offset is in the session's time zone."""
    return f"TRY_CAST({value} AS TIMESTAMPTZ)"


def utc_timestamp(value: str, trained: str) -> str:
    """Return a DATE or any TIMESTAMP as TIMESTAMP in UTC, whatever the session's time zone.

    Where the type was TIMESTAMP WITH TIME ZONE when the model was `trained`, any other is cast to it: texts by their
    offset, those without and plain TIMESTAMPs in the session's time zone.

    ``CAST(timestamptz AS TIMESTAMP)`` would give local time and ``month(timestamptz)`` is 20 times slower, so those go
    through microseconds since 1970. DuckDB folds the test of the type away when it binds the query.
    """
    zoned = f"make_timestamp(epoch_us({to_zoned(value)}))"
    if trained == ZONED:
        return zoned
    plain = f"TRY_CAST({value} AS TIMESTAMP)"
    return f"CASE WHEN typeof({value}) = '{ZONED}' THEN {zoned} ELSE {plain} END"


def calendar_part(value: str, part: Part, trained: str) -> str:
    """Return a calendar part in UTC, NULL for NULL and for infinite dates.

    ``epoch`` is DOUBLE, days since 1970 with a fraction for the time of day (microseconds as BIGINT divided by
    8.64e10, so that every reader gets the same bits). ``year``, ``month`` (1 to 12), ``weekday`` (0 = Sunday, DuckDB's
    ``weekday``) and ``hour`` (0 to 23) are BIGINT; where they are categories, by their text.
    """
    utc = utc_timestamp(value, trained)
    if part == "epoch":
        return f"(epoch_us({utc}) / {double(MICROSECONDS_PER_DAY)})"
    return f"{part}({utc})"


def feature_value(feature: Feature, value: str | None = None) -> str:
    """Return what a feature reads from its column, before levels, fill and flag.

    Parameters
    ----------
    feature : Feature
        ``number`` and part ``epoch`` give DOUBLE, other parts BIGINT as a ``number``, VARCHAR as a ``category``;
        ``category`` gives VARCHAR, ``vector`` DOUBLE[],
        ``lists`` its indices as BIGINT[] (its values, in another column, are a `vector`), ``map``
        MAP(VARCHAR, DOUBLE), ``text`` the words as VARCHAR[] or their buckets as BIGINT[].
    value : str, optional
        Expression of the column; its quoted name by default.
    """
    value = identifier(feature.column) if value is None else value
    if feature.part is not None:
        read = calendar_part(value, feature.part, feature.type)
        return read if feature.kind == "number" else category(read)
    if feature.kind == "text":
        return text_terms(feature, value)
    readers = {"number": number, "category": category, "vector": vector, "lists": indices, "map": text_map}
    return readers[feature.kind](value)
