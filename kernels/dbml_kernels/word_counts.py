"""Words of documents -> compressed rows: how often each term stands in each document, weighted.

``count``: n. ``binary``: 1. ``tfidf``: ``n s_j / sqrt(sum_j (n_j s_j)^2)`` with the inverse document frequency s_j
(Manning, Raghavan & Schuetze 2008, introduction to information retrieval, chapter 6).
"""

from __future__ import annotations

import math

import numpy as np

from dbml_kernels.jit import kernel

COUNT, BINARY, TFIDF = range(3)


@kernel
def ascending_sort(values, n):
    """Sort the first n values in place (Shell 1959): rows are short, and no memory is taken."""
    gap = n // 2
    while gap > 0:
        for i in range(gap, n):
            value, j = values[i], i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value
        gap = 1 if gap == 2 else int(gap * 5 / 11)


@kernel
def words_count(starts, stops, codes, weighting, scale, offsets, terms, values):
    """Count the codes of each document; those below 0 count nothing.

    Parameters
    ----------
    starts, stops : int64 of shape (n,)
        Where the codes of each document begin and end.
    codes : int64 of shape (n_words,)
        Term of each word.
    weighting : int64
        COUNT, BINARY or TFIDF.
    scale : float64 of shape (n_terms,)
        Of TFIDF, else not read.
    offsets : int32 of shape (n + 1,)
        Output: where the terms of each document begin and end.
    terms, values : int64 and float64 of shape (n_words,)
        Output: terms, ascending in a document and each once, and their values.
    """
    at = 0
    offsets[0] = 0
    for i in range(starts.shape[0]):
        begin, length = at, 0
        for e in range(starts[i], stops[i]):
            if codes[e] >= 0:
                terms[begin + length] = codes[e]
                length += 1
        ascending_sort(terms[begin : begin + length], length)
        squares = 0.0
        e = begin
        while e < begin + length:
            term, first = terms[e], e
            while e < begin + length and terms[e] == term:
                e += 1
            value = 1.0 if weighting == BINARY else float(e - first)
            if weighting == TFIDF:
                value *= scale[term]
                squares += value * value
            terms[at], values[at] = term, value
            at += 1
        if weighting == TFIDF and squares > 0.0:
            norm = math.sqrt(squares)
            for k in range(begin, at):
                values[k] /= norm
        offsets[i + 1] = np.int32(at)
