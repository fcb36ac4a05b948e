"""Learning the encoding: what the roles of the columns need to know of the rows, asked in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbml_sql.expressions import feature_value, identifier, text_map
from dbml_sql.features import CENTRES, Encoding, Feature, Reading, Style

from dbml.data.columns import MIN_LEVEL_ROWS, MOST_CODES, EncodingOptions, Role
from dbml.data.presence import Presence, find_presence
from dbml.data.snapshot import Snapshot
from dbml.data.source import Source
from dbml.data.statistics import NumberStatistics, number_statistics
from dbml.errors import InvalidData, UnsupportedColumn, listing
from dbml.passes.plan import Decision

if TYPE_CHECKING:
    from dbml.data.text_learning import LearnedText

_AT_ONCE = 16  # categories counted in one pass
_ID_ROWS = 50  # with fewer rows, a level for each is no sign of an identifier
_MOST_WIDTH = 10_000_000


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels of a category or the keys of a map: (text, rows) by falling rows, at most one more than asked for."""

    counts: tuple[tuple[str, int], ...]
    n_levels: int
    n_null: int
    n_rows: int


def learn_encoding(
    source: Source, roles: Sequence[Role], n_rows: int, options: EncodingOptions, snapshot: Snapshot | None = None
) -> tuple[Encoding, list[Decision]]:
    """Learn the encoding of some columns from the rows of a source.

    Returns
    -------
    encoding : Encoding
        One feature per role, but those of columns that are all NULL or a constant category.
    decisions : list of Decision
        What was left out, or pooled.

    Raises
    ------
    UnsupportedColumn
        A category that looks like an identifier or free text.
    InvalidData
        No column is left.
    """
    known = _learn_numbers(source, roles, n_rows, options.reading, snapshot)
    levels = count_levels(source, [role for role in roles if role.kind in ("category", "map")], options)
    texts = _learn_texts(source, [role for role in roles if role.kind == "text"], n_rows, options)
    known |= {role: text.feature for role, text in texts.items()}
    features, dropped, ids = [], [], {}
    for role in roles:
        if role in known:
            feature = known[role]
        elif role.kind == "lists":
            feature = _lists(source, role, options.style)
        elif role.kind == "map":
            feature = _map(role, levels[role], options)
        else:
            if role.part is None and not options.every_level and looks_like_id(levels[role], n_rows, options):
                ids[role.column] = f"{levels[role].n_levels:,} different values in {n_rows:,} rows"
                continue
            feature = _category(role, levels[role], n_rows, options)
        if feature is None:
            dropped.append(f"{role.column}.{role.part}" if role.part else role.column)
        else:
            features.append(feature)
    if ids:
        raise UnsupportedColumn(
            f"{source.name}: these look like identifiers or free text, which say nothing about other rows: "
            f"{listing(f'{name} ({found})' for name, found in ids.items())}. Read the words of a text with "
            f"options={{'text': [{next(iter(ids))!r}]}}, in SQL OPTIONS (text = [{next(iter(ids))!r}]); leave others "
            "out with options={'exclude': [...]} or SELECT * EXCLUDE (...)"
        )
    if not features:
        left = _why_none([role.column for role in texts], dropped)
        raise InvalidData(f"{source.name}: no column is left to learn from ({left})")
    decisions = _decisions(features, dropped, options) + [text.decision for text in texts.values()]
    for role in roles:
        if role.kind == "map" and levels[role].n_levels > options.most("map"):
            choice = f"the {options.most('map'):,} most frequent of {levels[role].n_levels:,}"
            decisions.append(Decision(f"keys of {role.column}", choice, "max_levels"))
    return Encoding(tuple(features)), decisions


def _why_none(texts: Sequence[str], dropped: Sequence[str]) -> str:
    """Return why no column is left to learn from."""
    others = [name for name in dropped if name not in texts]
    reasons = [f"all NULL or constant: {listing(others)}"] if others else []
    if texts:
        reasons.append(f"no word of two letters or more in enough rows (text_min_rows): {listing(texts)}")
    return "; ".join(reasons) or "there is none besides target and weights"


def _learn_texts(
    source: Source, roles: Sequence[Role], n_rows: int, options: EncodingOptions
) -> dict[Role, LearnedText]:
    if not roles:
        return {}
    from dbml.data.text_learning import learn_text  # it brings Arrow and kernels with it

    return {role: learn_text(source, role, n_rows, options) for role in roles}


def _decisions(features: Sequence[Feature], dropped: Sequence[str], options: EncodingOptions) -> list[Decision]:
    found = []
    if dropped:
        found.append(Decision("columns left out", listing(dropped), "all NULL, or a single category"))
    # Where every level is kept, the shared one is for values that training did not see.
    pooled = [feature.name for feature in features if feature.other_level and not options.every_level]
    if pooled:
        found.append(Decision("rare levels", f"pooled in {listing(pooled)}", "too few rows, or more than max_levels"))
    return found


def _learn_numbers(
    source: Source, roles: Sequence[Role], n_rows: int, reading: Reading, snapshot: Snapshot | None
) -> dict[Role, Feature | None]:
    """Return the feature of each number and vector, None of one that says nothing."""
    roles = [role for role in roles if role.kind in ("number", "vector")]
    if reading == "values":
        return {role: _value(role, seen) for role, seen in find_presence(source, roles, snapshot).items()}
    found = number_statistics(source, roles, n_rows, snapshot)
    return {role: _number(role, known, CENTRES.get(reading)) for role, known in found.items()}


def _value(role: Role, seen: Presence) -> Feature | None:
    if not (seen.any_value and seen.varies):
        return None
    return Feature(role.column, role.type, role.kind, role.part, width=role.width, style="values")


def _number(role: Role, known: NumberStatistics, centre: float | None) -> Feature | None:
    if known.all_missing or (role.part == "epoch" and known.constant):
        return None
    fill = known.mean if centre is None else (centre,) * len(known.mean)
    return Feature(role.column, role.type, role.kind, role.part, fill=fill, flag=known.has_missing, width=role.width)


def looks_like_id(levels: Levels, n_rows: int, options: EncodingOptions) -> bool:
    """Return whether nearly every row has a level of its own, or no level comes often enough to learn from."""
    present = levels.n_rows - levels.n_null
    if levels.n_levels < _ID_ROWS:
        return False
    return levels.n_levels >= 0.9 * present or levels.counts[0][1] < least_rows(n_rows, options)


def least_rows(n_rows: int, options: EncodingOptions) -> int:
    """Return the fewest rows of a level with a term of its own: 10, or a hundredth of the rows of a small table."""
    if options.min_level_rows is not None:
        return options.min_level_rows
    return max(1, min(MIN_LEVEL_ROWS, n_rows // 100))


def _category(role: Role, levels: Levels, n_rows: int, options: EncodingOptions) -> Feature | None:
    if options.every_level:
        return _every_level(role, levels, options)
    if levels.n_levels + (levels.n_null > 0) < 2 or not levels.n_levels:
        return None
    least = 1 if role.part else least_rows(n_rows, options)
    # A literal cannot hold NUL; such a level is pooled with the rare ones.
    kept = [text for text, n in levels.counts[: options.most("category")] if n >= least and "\0" not in text]
    if role.part:
        kept.sort(key=int)
    values = options.style == "values"
    if values and len(kept) < levels.n_levels:
        kept = kept[: MOST_CODES - 1]
    return Feature(
        role.column,
        role.type,
        "category",
        role.part,
        levels=tuple(kept),
        null_level=levels.n_null > 0 and not values,
        other_level=len(kept) < levels.n_levels,
        style=options.style,
    )


def _every_level(role: Role, levels: Levels, options: EncodingOptions) -> Feature | None:
    if not levels.n_levels:
        return None
    if levels.n_levels > options.most("category") and options.max_levels is None:
        raise UnsupportedColumn(
            f"column {role.column!r} has {levels.n_levels:,} different values; at most {options.most('category'):,} "
            "can have a column each. Leave it out, or keep the most frequent ones: options={'max_levels': 1000}"
        )
    kept = tuple(text for text, _ in levels.counts[: options.most("category")] if "\0" not in text)
    return Feature(role.column, role.type, "category", levels=kept, other_level=True, style="values")


def _map(role: Role, levels: Levels, options: EncodingOptions) -> Feature | None:
    kept = tuple(text for text, _ in levels.counts[: options.most("map")] if "\0" not in text)
    return Feature(role.column, role.type, "map", levels=kept, style=options.style) if kept else None


def _lists(source: Source, role: Role, style: Style) -> Feature | None:
    """Learn the range of the indices of sparse rows."""
    values = identifier(role.values or "")
    codes = identifier(role.column)
    asked = [f"min(list_min({codes}))", f"max(list_max({codes}))"]
    asked.append(f"count(CASE WHEN len({codes}) <> len({values}) THEN 1 END)")
    low, high, uneven = source.fetch(source.select(asked))[0]
    if uneven:
        raise InvalidData(
            f"{source.name}: {role.column} and {role.values} must have as many entries as each other; in {uneven:,} "
            "rows they have not"
        )
    if low is None:
        return None
    first = 1 if low >= 1 else 0
    if low < 0 or high - first >= _MOST_WIDTH:
        raise InvalidData(
            f"{source.name}: indices in {role.column} must be between 0 and {_MOST_WIDTH - 1:,}; "
            f"they are {low:,} to {high:,}"
        )
    width = high - first + 1
    return Feature(role.column, role.type, "lists", width=width, values=role.values, first_index=first, style=style)


def count_levels(source: Source, roles: Sequence[Role], options: EncodingOptions) -> dict[Role, Levels]:
    """Count the levels of categories (several in one pass) and the keys of maps; keep the most frequent ones."""
    found: dict[Role, Levels] = {}
    categories = [role for role in roles if role.kind == "category"]
    for first in range(0, len(categories), _AT_ONCE):
        found |= _count_categories(source, categories[first : first + _AT_ONCE], options.most("category"))
    for role in roles:
        if role.kind == "map":
            keys = f"unnest(map_keys({text_map(identifier(role.column))}))"
            grouped = f"SELECT c0, count(*) AS n, 0 AS g FROM ({source.select([keys])}) GROUP BY c0"
            found |= _read_levels(source, grouped, [role], options.most("map"))
    return found


def _count_categories(source: Source, roles: Sequence[Role], most: int) -> dict[Role, Levels]:
    texts = [feature_value(_as_feature(role)) for role in roles]
    columns = [f"c{number}" for number in range(len(roles))]
    if len(roles) == 1:
        grouped = f"SELECT c0, count(*) AS n, 0 AS g FROM ({source.select(texts)}) GROUP BY c0"
        return _read_levels(source, grouped, roles, most)
    # One grouping set per column: in it all the others are NULL, and their bits are set in grouping().
    listed = ", ".join(columns)
    every = 2 ** len(columns) - 1
    sets = ", ".join(f"({column})" for column in columns)
    number = " ".join(f"WHEN {every - 2 ** (len(columns) - 1 - i)} THEN {i}" for i in range(len(columns)))
    grouped = (
        f"SELECT coalesce({listed}) AS c0, count(*) AS n, CASE grouping({listed}) {number} END AS g "
        f"FROM ({source.select(texts)}) GROUP BY GROUPING SETS ({sets})"
    )
    return _read_levels(source, grouped, roles, most)


def _as_feature(role: Role) -> Feature:
    return Feature(role.column, role.type, role.kind, role.part)


def _read_levels(source: Source, grouped: str, roles: Sequence[Role], most: int) -> dict[Role, Levels]:
    window = "OVER (PARTITION BY g)"
    ranked = (
        f"SELECT g, c0, n, count(c0) {window} AS d, sum(n) {window} AS r, "
        f"row_number() OVER (PARTITION BY g ORDER BY c0 IS NULL DESC, n DESC, c0) AS k FROM ({grouped})"
    )
    rows = source.fetch(f"SELECT g, c0, n, d, CAST(r AS BIGINT) FROM ({ranked}) WHERE k <= {most + 2} ORDER BY g, k")
    found = {}
    for number, role in enumerate(roles):
        own: list[tuple[Any, ...]] = [row for row in rows if row[0] == number]
        n_null = sum(n for _, text, n, _, _ in own if text is None)
        counts = tuple((text, n) for _, text, n, _, _ in own if text is not None)
        found[role] = Levels(counts, own[0][3] if own else 0, n_null, own[0][4] if own else 0)
    return found
