"""Learning which words of a text column have a term, and how rare they are: one pass counts their rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dbml_sql.expressions import category, feature_value, identifier
from dbml_sql.features import Feature

from dbml.data.columns import BUCKETS, MOST_WORDS, EncodingOptions, Role
from dbml.data.source import Source
from dbml.data.word_learning import TooManyWords, count_words
from dbml.passes.plan import Decision

_MIN_ROWS = 2  # a word of one row says nothing about others
_FEW_ROWS = 200


@dataclass(frozen=True, slots=True)
class LearnedText:
    """What a text becomes (None where it has no word to learn from), and the choice for the plan."""

    feature: Feature | None
    decision: Decision


def learn_text(source: Source, role: Role, n_rows: int, options: EncodingOptions) -> LearnedText:
    """Learn the terms of a text column."""
    if options.text_features == "hashed":
        return _hashed(source, role, n_rows, options.text_max_terms or BUCKETS, options)
    most = options.text_max_terms or MOST_WORDS
    least = options.text_min_rows or (_MIN_ROWS if n_rows >= _FEW_ROWS else 1)
    counted = _rows_of_words(source, role, least, most)
    n_words, n_kept = (counted[0][2], counted[0][3]) if counted else (0, 0)
    levels = tuple(text for text, *_ in counted)
    choice = f"{len(levels):,} words of {n_words:,}"
    reason = (
        f"those in {least:,} rows or more"
        if n_kept <= most
        else f"text_max_terms, by rows; {n_kept:,} are in {least:,}"
    )
    decision = Decision(f"words of {role.column}", choice, f"{reason}; {_weighed(options)}")
    if not levels:
        return LearnedText(None, decision)
    scale = tuple(_rarity(rows, n_rows) for _, rows, *_ in counted) if options.text_weights == "tfidf" else ()
    feature = Feature(
        role.column,
        role.type,
        "text",
        levels=levels,
        width=len(levels),
        style=options.style,
        weighting=options.text_weights,
        scale=scale,
    )
    return LearnedText(feature, decision)


def _hashed(source: Source, role: Role, n_rows: int, width: int, options: EncodingOptions) -> LearnedText:
    feature = Feature(role.column, role.type, "text", width=width, style=options.style, weighting=options.text_weights)
    if options.text_weights == "tfidf":
        scale = [_rarity(0, n_rows)] * width
        for number, rows, *_ in _rows_of_terms(source, feature, 1, width):
            scale[number] = _rarity(rows, n_rows)
        feature = replace(feature, scale=tuple(scale))
    choice = f"{width:,} buckets"
    return LearnedText(feature, Decision(f"words of {role.column}", choice, f"hashed; {_weighed(options)}"))


def _weighed(options: EncodingOptions) -> str:
    return {
        "count": "a term is the count of its word",
        "binary": "a term is 1 where its word is",
        "tfidf": "a term is the count of its word times its rarity, rows have norm 1",
    }[options.text_weights]


def _rows_of_words(source: Source, role: Role, least: int, most: int) -> list[tuple]:
    """Return (word, rows with it, number of words, of those in `least` rows) of the words in the most rows."""
    try:
        counted = count_words(source, category(identifier(role.column)))
    except TooManyWords:  # DuckDB counts beyond memory
        return _rows_of_terms(source, Feature(role.column, role.type, "text", levels=("",)), least, most)
    kept = sorted((-rows, word) for word, rows in counted if rows >= least)
    return [(word, -rows, len(counted), len(kept)) for rows, word in kept[:most]]


def _rows_of_terms(source: Source, feature: Feature, least: int, most: int) -> list[tuple]:
    """Return (term, rows with it, number of terms, of those in `least` rows) of the terms in the most rows."""
    terms = f"unnest(list_distinct({feature_value(feature)}))"
    grouped = f"SELECT c0, count(*) AS n FROM ({source.select([terms])}) WHERE c0 IS NOT NULL GROUP BY c0"
    counted = (
        f"SELECT c0, n, count(*) OVER () AS words, count(*) FILTER (n >= {least}) OVER () AS kept FROM ({grouped})"
    )
    return source.fetch(f"SELECT * FROM ({counted}) WHERE n >= {least} ORDER BY n DESC, c0 LIMIT {most}")


def _rarity(rows: int, n_rows: int) -> float:
    """Return the inverse document frequency of a term, as if one more row had every term (scikit-learn's)."""
    return math.log((1.0 + n_rows) / (1.0 + rows)) + 1.0
