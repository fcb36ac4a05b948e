"""Codes of rows under an l1 penalty, from the Gram matrix of the atoms."""

from __future__ import annotations

import numpy as np
from dbml_kernels.lasso_codes import MOST, lasso_codes
from dbml_kernels.nonnegative_sweeps import LANES, nonnegative_sweeps

from dbml.passes.block import Floats


def improve_codes(
    gram: Floats,
    projection: Floats,
    l1: float,
    positive: bool,
    max_sweeps: int,
    tol: float,
    codes: Floats,
) -> None:
    """Improve `codes` (n, k), in place, from where they are; see `dbml_kernels.lasso_codes`."""
    k = len(gram)
    scratch = (np.empty((3, k)), np.empty(k, np.intp), np.empty((MOST, MOST)))
    lasso_codes(gram, projection, float(l1), positive, max_sweeps, tol, codes, *scratch)


def sweep_nonnegative(gram: Floats, projection: Floats, l1: float, sweeps: int, codes: Floats) -> None:
    """Sweep over `codes` (n, k) that are nearly right, in place; see `dbml_kernels.nonnegative_sweeps`."""
    nonnegative_sweeps(gram, projection, float(l1), sweeps, codes, np.empty((3, len(gram), LANES)))
