"""Least squares with an l2 penalty, by whichever reading of the rows fits: Gram matrix, rows in memory, or passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from dbml.errors import ExhaustedMemory
from dbml.estimators.design import times, transposed
from dbml.estimators.gram_step import GramStep, Moments
from dbml.estimators.least_squares import LeastSquares, not_negative, ridge
from dbml.estimators.moment_steps import ResidualStep
from dbml.estimators.row_counts import row_count
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.plan import ExpectedPasses
from dbml.passes.plan_text import size_text

# A Gram matrix of doubles loses this much: beyond, one more pass refines the solution.
ILL_CONDITIONED = 1e8
# Terms beyond which factoring the Gram matrix costs more than passes of conjugate gradients.
WIDEST_GRAM = 4_000
# Terms up to which a Gram matrix is taken without a look at statistics, which cost a sample.
ALWAYS_GRAM = 200
# Rows up to which their products with each other are solved instead.
MOST_ROWS = 3_000

_PASSES = {
    "cholesky": ExpectedPasses(
        "1, or 2 where terms are nearly collinear", "second moments say all about a least squares fit"
    ),
    "svd": ExpectedPasses("1", "the few rows are kept in memory"),
    "sparse_cg": ExpectedPasses("some dozens", "one for each step of conjugate gradients"),
}


# Singular values of more terms are not looked for: they would take longer than the coefficients.
_SINGULAR_TERMS = 1_000


@dataclass(frozen=True)
class Solved:
    """Coefficients over centred terms and the intercept there; rank and singular values of the design; passes of an
    iteration. None where they are not known."""

    coef: Floats
    centred_intercept: float
    rank: int | None = None
    n_iter: int | None = None
    singular: Floats | None = None


def gram_fits(data: Data, n_folds: int = 1) -> bool:
    """Whether the states of a `GramStep` fit in the memory of a pass: one per block in flight, about 8 of them."""
    m = data.schema.encoding.n_terms + 2
    return 8 * 8 * n_folds * m * m <= max(memory_budget().blocks, 1 << 24)


def require_gram(data: Data, n_folds: int = 1) -> None:
    """Raise `ExhaustedMemory` where the states of a `GramStep` do not fit."""
    if not gram_fits(data, n_folds):
        p = data.schema.encoding.n_terms
        raise ExhaustedMemory(
            f"the Gram matrix of {p:,} terms takes {8 * n_folds * (p + 2) ** 2:,} bytes per block in flight, more than "
            "memory_limit leaves; raise memory_limit, pool levels with max_levels, or choose another solver"
        )


def sparse_entries(data: Data) -> float:
    """Return about how many sparse terms of a row are not 0: one per category; statistics know of lists and maps."""
    encoding = data.schema.encoding
    sparse = [feature.kind for feature in encoding.features if feature.sparse_terms]
    if all(kind == "category" for kind in sparse):
        return float(len(sparse))
    return max(data.statistics.density * encoding.n_terms - encoding.n_dense, 0.0)


def fewer_rows(data: Data) -> bool:
    """Whether there are fewer rows than terms, few enough to hold."""
    most = min(data.schema.encoding.n_terms, MOST_ROWS)
    return row_count(data)[0] <= most and data.statistics.exact_rows and data.statistics.n_rows <= most


def choose_solver(data: Data, asked: str, positive: bool = False) -> str:
    """Return ``cholesky``, ``svd`` or ``sparse_cg`` and write the choice with its reason into the plan."""
    p = data.schema.encoding.n_terms
    if asked == "svd":
        choice, reason = _as_svd(data)
    elif asked != "auto":
        choice, reason = asked, "as asked for"
    elif positive:
        choice, reason = "cholesky", "coefficients that are not negative are found from the Gram matrix"
    elif p > ALWAYS_GRAM and fewer_rows(data):
        choice, reason = "svd", f"fewer rows than the {p:,} terms: they are solved in memory"
    elif p <= WIDEST_GRAM and gram_fits(data):
        choice, reason = "cholesky", f"{p:,} terms: one pass for their Gram matrix ({8 * (p + 2) ** 2:,} bytes)"
    else:
        choice, reason = "sparse_cg", f"{p:,} terms: a Gram matrix would cost more than passes of conjugate gradients"
    if choice == "cholesky":
        require_gram(data)
    data.decide_solver(choice, reason, _PASSES[choice])
    return choice


def _as_svd(data: Data) -> tuple[str, str]:
    """Return how to solve by singular values: of the rows in memory, or of the Gram matrix where they are many.

    Raises
    ------
    ExhaustedMemory
        Neither fits.
    """
    encoding = data.schema.encoding
    n, p = row_count(data)[0], encoding.n_terms
    n_bytes = 8 * n * (3 * n + encoding.n_dense)  # products of rows, their vectors, and the rows
    if n <= max(p, MOST_ROWS) and n_bytes <= memory_budget().kept:
        return "svd", "as asked for"
    if gram_fits(data):
        return "cholesky", f"the Gram matrix of {p:,} terms says what singular values of {n:,} rows would"
    raise ExhaustedMemory(
        f"solver='svd' needs the products of {n:,} rows with each other, {size_text(n_bytes)}, or the Gram matrix of "
        f"{p:,} terms, {size_text(8 * (p + 2) ** 2)} per block in flight: both are more than memory_limit leaves. "
        "Raise memory_limit, or use solver='sparse_cg'"
    )


def ridge_of(moments: Moments, centre: Floats, alpha: float, fit_intercept: bool) -> Floats:
    """Return the coefficients of `ridge` from moments about the means.

    Without an intercept the moments about 0 are those about the means and a product of the means. The product is not
    added, which would swamp the spread of columns far from 0, but solved for (Sherman & Morrison 1950); with a penalty:
    without one collinear columns have no unique solution.
    """
    if alpha == 0.0 and not fit_intercept:
        used = moments.about_zero(centre)
        return ridge(used.gram, used.xy, alpha)
    coef = ridge(moments.gram, moments.xy, alpha)
    if fit_intercept:
        return coef
    mean = moments.x_mean + centre
    along = ridge(moments.gram, mean, alpha)
    missing = (moments.y_mean - float(mean @ coef)) / (1.0 + moments.weight * float(mean @ along))
    return coef + moments.weight * missing * along


def solve_gram(data: Data, alpha: float, fit_intercept: bool, positive: bool) -> Solved:
    """Solve from one pass for the Gram matrix; a second one refines it where terms are nearly collinear."""
    encoding = data.schema.encoding
    centre = np.array(encoding.centre())
    (state,) = data.fold(GramStep(encoding.n_terms), purpose="gram")
    moments = Moments.of(state)
    used = moments if fit_intercept else moments.about_zero(centre)
    rank, singular = None, None
    if positive:
        coef = not_negative(used.gram, used.xy, alpha)
    elif alpha > 0.0:
        coef = ridge_of(moments, centre, alpha, fit_intercept)
    else:
        solver = LeastSquares(used.gram)
        coef, rank = solver.solve(used.xy), solver.rank
        if encoding.n_terms <= _SINGULAR_TERMS:
            singular = _roots(linalg.eigvalsh(used.gram), row_count(data)[0])
        if solver.condition > ILL_CONDITIONED:
            data.plan = data.plan.decide(
                "refinement", "one more pass", "terms are nearly collinear: residuals restore the digits a square loses"
            )
            intercept = moments.centred_intercept(coef, centre, fit_intercept)
            (state,) = data.fold(ResidualStep(coef, intercept), purpose="refinement")
            residual = state["sums"][1]
            gradient = state["gradient"] + (-residual * moments.x_mean if fit_intercept else residual * centre)
            coef = coef + solver.solve(gradient)
    return Solved(coef, moments.centred_intercept(coef, centre, fit_intercept), rank, singular=singular)


def _roots(eigenvalues: Floats, at_most: int) -> Floats:
    """Return singular values from the eigenvalues of products, largest first."""
    return np.sqrt(np.maximum(eigenvalues[::-1], 0.0))[:at_most]


def solve_rows(data: Data, alpha: float, fit_intercept: bool) -> Solved:
    """Solve with all rows in memory, from their products with each other: ``w = X' (X X' + alpha)^+ y``."""
    encoding = data.schema.encoding
    centre = np.array(encoding.centre())
    block = data.sample(max(data.statistics.n_rows, 1), seed=0)
    assert block.y is not None
    root = np.ones(block.n_rows) if block.weight is None else np.sqrt(block.weight)
    products = block.X @ block.X.T
    if block.sparse is not None:
        from scipy.sparse import csr_array

        indptr, indices, values = block.sparse
        sparse = csr_array((values, indices, indptr), shape=(block.n_rows, encoding.n_terms))
        products += (sparse @ sparse.T).toarray()
    if fit_intercept:
        weight = root**2 / (root @ root)
        y_mean, row_mean = float(weight @ block.y), products @ weight
        products += weight @ row_mean - row_mean[:, None] - row_mean
        x_mean = transposed(block, weight, encoding.n_terms)
    else:
        at_centre = times(block, centre)
        products += at_centre[:, None] + at_centre + centre @ centre
        y_mean, x_mean = 0.0, -centre
    products *= root[:, None] * root
    values, vectors = linalg.eigh(products)
    kept = values > np.finfo(float).eps * block.n_rows * max(values[-1], 0.0)
    basis, shifted = vectors[:, kept], values[kept] + alpha
    target = root * (block.y - y_mean)
    dual = basis @ ((basis.T @ target) / shifted)
    dual += basis @ ((basis.T @ (target - products @ dual - alpha * dual)) / shifted)
    dual *= root
    coef = transposed(block, dual, encoding.n_terms) - x_mean * dual.sum()
    intercept = y_mean - float(x_mean @ coef) if fit_intercept else float(centre @ coef)
    return Solved(coef, intercept, int(kept.sum()), singular=_roots(values, encoding.n_terms))
