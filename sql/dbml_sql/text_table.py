"""A hash table over constant texts as a DuckDB expression: the value that goes with a text, at one price for any text.

A list of constants is searched from its start; a cast to ENUM hashes but takes microseconds for a text that is none of
its values; a join loses the order of the rows. So the texts lie where DuckDB's own ``hash`` sends them, and the one
found there is compared: unseen texts cost what seen ones do. DuckDB may change that function, so the expression first
asks whether it is the one known here (a constant, which DuckDB folds when it binds the query), and searches a list if
not.
"""

from __future__ import annotations

from collections.abc import Sequence

from dbml_sql.expressions import string, total

_64_BITS = 0xFFFF_FFFF_FFFF_FFFF
# Texts of each way through the function: empty, in one word, in two, longer than DuckDB keeps inside a value.
_PROBES = ("", "a level", "ten levels", "é", "a text of several words")
# Texts that share one displacement. More are fewer numbers in the query, and take longer to place.
_PER_BUCKET = 4
_SEPARATORS = ("|", ",", ";", "\t", "\n", "\x1f", "\x1e")


def listed(text: str, keys: Sequence[str], values: Sequence[str]) -> str:
    """Return the value of a text by searching a list; NULL for NULL and for a text that is not in `keys`."""
    return f"[{', '.join(values)}][list_position([{', '.join(map(string, keys))}], {text})]"


def hashed(text: str, keys: Sequence[str], values: Sequence[str], type_: str) -> str:
    """Return the value of a text by hashing it; NULL for NULL and for a text that is not in `keys`.

    The table is perfect (hash and displace: Belazzougui, Botelho, Dietzfelbinger, 2009): the hash picks a bucket, the
    bucket a divisor, and the remainders of the texts by their buckets' divisors are places of their own.

    Parameters
    ----------
    text : str
        Expression of the text.
    keys : sequence of str
        Different texts.
    values : sequence of str
        Number of each, as text.
    type_ : str
        Type of the values.
    """
    first: dict[int, int] = {}
    for number, key in enumerate(keys):
        first.setdefault(text_hash(key) >> 1, number)
    divisors, slots = _placed(list(first))
    placed = list(first.values())
    # An empty place holds any other text: that one has its own place.
    order = [placed[slot or 0] for slot in slots]
    # DuckDB computes what has one input once a value of a dictionary, and the remainder by the divisor once a row.
    hash_ = f"CAST(hash({text}) >> 1 AS BIGINT)"
    place = f"{hash_} % {constants(list(map(str, divisors)), 'BIGINT')}[{hash_} % {len(divisors)} + 1]"
    texts = constants([keys[number] for number in order])
    found = f"WHEN {texts}[{place}] = {text} THEN {place}"
    rest = sorted(set(range(len(keys))) - set(placed))
    if rest:  # texts of one hash do happen: of 10,000 that repeat a few words, some pairs
        others = ", ".join(string(keys[number]) for number in rest)
        found += f" ELSE {len(order)} + nullif(list_position([{others}], {text}), 0)"
    known = total([f"hash({string(probe)}) = {text_hash(probe)}" for probe in _PROBES], "AND")
    all_texts = constants([keys[number] for number in (*order, *rest)])
    found = f"CASE WHEN NOT {known} THEN list_position({all_texts}, {text}) {found} END"
    return f"{constants([values[number] for number in (*order, *rest)], type_)}[{found}]"


def constants(items: Sequence[str], type_: str = "VARCHAR") -> str:
    """Return a list as one text to split: DuckDB reads it 10 times as fast as a list of literals, and folds it."""
    separator = next((sign for sign in _SEPARATORS if not any(sign in item for item in items)), None)
    if separator is None:
        return f"CAST([{', '.join(map(string, items))}] AS {type_}[])"
    return f"CAST(string_split({string(separator.join(items))}, {string(separator)}) AS {type_}[])"


def text_hash(text: str) -> int:
    """Return what DuckDB's ``hash`` gives for a text: words of 8 bytes, little endian, folded in one by one."""
    data = text.encode()
    value = 0xE17A1465 ^ (len(data) * 0xC6A4A7935BD1E995 & _64_BITS)
    for start in range(0, len(data), 8):
        value = (value ^ int.from_bytes(data[start : start + 8], "little")) * 0xD6E8FEB86659FD93 & _64_BITS
    for _ in range(2):
        value = (value ^ value >> 32) * 0xD6E8FEB86659FD93 & _64_BITS
    return value ^ value >> 32


def _placed(hashes: Sequence[int]) -> tuple[list[int], list[int | None]]:
    """Return the divisor of each bucket, and for each place from 1 on the number of the text that lies there."""
    buckets: list[list[int]] = [[] for _ in range(len(hashes) // _PER_BUCKET + 1)]
    for number, value in enumerate(hashes):
        buckets[value % len(buckets)].append(number)
    size = len(hashes) + len(hashes) // 4 + 8
    while (found := _divided(hashes, buckets, size)) is None:
        size += size // 8
    return found


def _divided(hashes: Sequence[int], buckets: list[list[int]], size: int) -> tuple[list[int], list[int | None]] | None:
    """Return divisors whose remainders are below `size`, not 0 and all different, and the places; None if none do."""
    divisors = [size] * len(buckets)
    slots: list[int | None] = [0, *[None] * (size - 1)]  # a list has no element 0: no text may lie there
    for bucket in sorted(range(len(buckets)), key=lambda number: -len(buckets[number])):
        numbers = buckets[bucket]
        for divisor in range(size, size // 3, -1):
            places = [hashes[number] % divisor for number in numbers]
            if len(set(places)) == len(places) and all(slots[place] is None for place in places):
                break
        else:
            return None
        divisors[bucket] = divisor
        for place, number in zip(places, numbers, strict=True):
            slots[place] = number
    return divisors, slots[1:]
