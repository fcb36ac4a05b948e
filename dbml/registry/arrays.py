"""Fitted arrays as rows of ``ml.arrays``: bytes, dtype, shape and checksum. Reading one never runs anything."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dbml.errors import RegistryError

# Kinds of NumPy types that are plain numbers: bool, signed and unsigned integers, floats.
_KINDS = "biuf"
_MOST_DIMENSIONS = 8


class StoredArray(NamedTuple):
    """An array as it lies in the database: little endian, row major."""

    name: str
    dtype: str
    shape: list[int]
    data: bytes
    sha256: str


def store_array(owner: str, name: str, array: NDArray) -> StoredArray:
    """Return the row of an array.

    Raises
    ------
    RegistryError
        The array holds something else than numbers or booleans.
    """
    if array.dtype.kind not in _KINDS:
        raise RegistryError(f"{owner}: {name} must be an array of numbers to be saved; got dtype {array.dtype}")
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
    data = plain.tobytes()
    return StoredArray(name, plain.dtype.str, list(array.shape), data, hashlib.sha256(data).hexdigest())


def restore_array(owner: str, stored: StoredArray) -> NDArray:
    """Return the array of a row, writable and in the byte order of this machine, after every check on it.

    Raises
    ------
    RegistryError
        Checksum, dtype, shape or size is not what an undamaged row has; the message names model and array.
    """
    problem = _damage(stored)
    if problem:
        raise RegistryError(
            f"{owner}: array {stored.name!r} is damaged: {problem}; restore the database from a backup, or train again"
        )
    dtype = np.dtype(stored.dtype)
    array = np.frombuffer(stored.data, dtype).reshape(stored.shape)
    return array.astype(dtype.newbyteorder("="), copy=True)


def _damage(stored: StoredArray) -> str:
    """Return what is wrong with a row, or an empty string."""
    found = hashlib.sha256(stored.data).hexdigest()
    if found != stored.sha256:
        return f"its bytes have the checksum {found[:12]}…, {stored.sha256[:12]}… was saved"
    try:
        dtype = np.dtype(stored.dtype)
    except (TypeError, ValueError, SyntaxError):
        return f"{stored.dtype!r} is no NumPy type"
    if dtype.kind not in _KINDS or dtype.str != stored.dtype:
        return f"{stored.dtype!r} is not a type of numbers"
    if len(stored.shape) > _MOST_DIMENSIONS or any(length < 0 for length in stored.shape):
        return f"{stored.shape} is no shape"
    expected = math.prod(stored.shape) * dtype.itemsize
    if expected != len(stored.data):
        return f"shape {stored.shape} of {stored.dtype} takes {expected} bytes, there are {len(stored.data)}"
    return ""
