"""Folds of cross-validation by a hash of the row's position: the same for any batching, order or number of threads."""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel


@kernel
def hash_mix(position, seed):
    """64 mixed bits of (position, seed): splitmix64, Steele, Lea & Flood 2014."""
    z = np.uint64(position) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def folds_assign(start, n_folds, seed, folds):
    """``folds[i]`` = fold of the row at position ``start + i``, in [0, n_folds); folds (n,) int64."""
    for i in range(folds.shape[0]):
        folds[i] = np.int64(hash_mix(start + i, seed) % np.uint64(n_folds))
