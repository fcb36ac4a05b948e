"""Words of plain texts: two or more letters, digits or underscores, in lower case, found in a hash table on the way.

Plain texts have no letters, marks or numbers beyond ASCII; others are left to a reader that knows Unicode. A table is
open addressed: `slots` (a power of two, at most half full) hold word numbers, -1 for none; word w is
``words[bounds[w]:bounds[w + 1]]``, hashed by FNV-1a (Fowler, Noll & Vo 1991).
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

_LETTERS = [(b if (48 <= b <= 57 or 97 <= b <= 122 or b == 95) else b + 32 if 65 <= b <= 90 else 0) for b in range(256)]
LOWER = np.array(_LETTERS, np.uint8)  # of a byte of a word, its lower case; 0 for a byte between words
LATIN_WORD = np.array([0x80 + low in (0xAA, 0xB2, 0xB3, 0xB5, 0xB9, 0xBA, 0xBC, 0xBD, 0xBE) for low in range(64)])
SEED, PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_HALF = np.uint64(32)


@kernel
def is_plain(data, begin, end):
    """Return whether no character is a letter, mark or number beyond ASCII, as far as can be told at a glance.

    Signs of Latin-1, general punctuation and currency signs stand between words, whatever the version of Unicode.
    """
    i = begin
    while i < end:
        byte = data[i]
        if byte < 128:
            i += 1
        elif byte == 0xC2:
            if LATIN_WORD[data[i + 1] & 63]:
                return False
            i += 2
        elif byte == 0xE2:
            code = (np.int64(data[i + 1] & 63) << 6) | np.int64(data[i + 2] & 63)
            if not (code < 0x70 or (code >= 0xA0 and code < 0xD0)):
                return False
            i += 3
        else:
            return False
    return True


@kernel
def word_find(data, begin, end, code, slots, bounds, words):
    """Return the number of a word whose hash is `code`, or -1 less the slot where it belongs."""
    mask = np.uint64(slots.shape[0] - 1)
    at = np.int64((code ^ (code >> _HALF)) & mask)
    while slots[at] >= 0:
        word = slots[at]
        first = bounds[word]
        if bounds[word + 1] - first == end - begin:
            i = 0
            while i < end - begin and words[first + i] == LOWER[data[begin + i]]:
                i += 1
            if i == end - begin:
                return word
        at = at + 1 if at + 1 < slots.shape[0] else 0
    return -1 - at


@kernel
def words_place(bounds, words, n, slots):
    """Put the first n words, all different, into empty slots."""
    mask = np.uint64(slots.shape[0] - 1)
    for word in range(n):
        code = SEED
        for i in range(bounds[word], bounds[word + 1]):
            code = (code ^ np.uint64(words[i])) * PRIME
        at = np.int64((code ^ (code >> _HALF)) & mask)
        while slots[at] >= 0:
            at = at + 1 if at + 1 < slots.shape[0] else 0
        slots[at] = word


@kernel
def texts_look_up(offsets, data, slots, bounds, words, starts, stops, codes):
    """Write the numbers of the known words of each plain text to `codes`, in order; return how many.

    Parameters
    ----------
    offsets, data : int32 of shape (n + 1,), uint8
        Texts as Arrow lays them out.
    slots, bounds, words
        The table.
    starts, stops : int64 of shape (n,)
        Output: where the numbers of a text begin and end; -1 as the end of a text that is not plain.
    codes : int64
        Output, with room for a third of the bytes and one more a text.
    """
    found = 0
    for i in range(starts.shape[0]):
        p, end = offsets[i], offsets[i + 1]
        starts[i], stops[i] = found, -1
        if not is_plain(data, p, end):
            continue
        while p < end:
            if LOWER[data[p]] == 0:
                p += 1
                continue
            begin, code = p, SEED
            while p < end and LOWER[data[p]] != 0:
                code = (code ^ np.uint64(LOWER[data[p]])) * PRIME
                p += 1
            if p - begin >= 2:
                word = word_find(data, begin, p, code, slots, bounds, words)
                if word >= 0:
                    codes[found] = word
                    found += 1
        stops[i] = found
    return found


@kernel
def texts_count(offsets, data, first, document, slots, bounds, words, rows, last, used, others):
    """Count the texts that have each word, from text `first` on; return the number of the text that found no room.

    Parameters
    ----------
    offsets, data
        As in `texts_look_up`.
    first, document : int64
        Text to begin with, and the number of text 0 among all texts.
    slots, bounds, words
        The table, which takes new words.
    rows, last : int64
        Texts with each word, and the number of the last of them.
    used : int64 of shape (1,)
        Words in the table.
    others : bool of shape (n,)
        Set for texts that are not plain.
    """
    n = others.shape[0]
    for i in range(first, n):
        p, end = offsets[i], offsets[i + 1]
        most = used[0] + (end - p) // 3 + 1
        if most > rows.shape[0] or 2 * most > slots.shape[0] or bounds[used[0]] + end - p > words.shape[0]:
            return i
        if not is_plain(data, p, end):
            others[i] = True
            continue
        while p < end:
            if LOWER[data[p]] == 0:
                p += 1
                continue
            begin, code = p, SEED
            while p < end and LOWER[data[p]] != 0:
                code = (code ^ np.uint64(LOWER[data[p]])) * PRIME
                p += 1
            if p - begin < 2:
                continue
            word = word_find(data, begin, p, code, slots, bounds, words)
            if word < 0:
                slots[-1 - word], word = used[0], used[0]
                for k in range(p - begin):
                    words[bounds[word] + k] = LOWER[data[begin + k]]
                bounds[word + 1] = bounds[word] + p - begin
                rows[word], last[word] = 0, -1
                used[0] += 1
            if last[word] != document + i:
                rows[word] += 1
                last[word] = document + i
    return n
