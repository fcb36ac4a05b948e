"""Which way leads to the components at the least cost: seconds that each would take, from measured rates."""

from __future__ import annotations

from dbml.estimators.quadratic import fewer_rows, gram_fits, sparse_entries
from dbml.estimators.row_counts import row_count
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.plan import ExpectedPasses
from dbml.passes.plan_text import size_text

# Nanoseconds on two cores: reading and encoding a value, an entry of a Gram matrix a row, a value times a direction
# there and back, an entry of an eigendecomposition of p^3.
_READ, _GRAM, _SKETCH, _EIGEN = 0.6, 0.015, 0.04, 0.1
_EXPECTED_PASSES = 2
# Seconds below which the exact way is taken whatever the other one costs.
_SOON = 0.2
_PASSES = {
    "covariance_eigh": ExpectedPasses("1", "second moments hold the components"),
    "blockwise": ExpectedPasses("1", "each block becomes a triangle, and triangles are merged"),
    "full": ExpectedPasses("1", "the few rows are kept in memory"),
    "randomized": ExpectedPasses(
        "1 to 8, mostly 2 to 4", "until another one would explain no more, or as many as asked for"
    ),
    "arpack": ExpectedPasses(
        "some dozens", "one for each vector, over encoded blocks that are kept in memory or spilled"
    ),
}
# Directions, as a share of the terms, beyond which a sketch is no smaller than the whole.
_FEW = 0.4


def choose_solver(data: Data, directions: int | None, asked: str = "auto") -> str:
    """Return ``covariance_eigh``, ``randomized``, ``full`` or ``blockwise``, and write the reason into the plan.

    Parameters
    ----------
    data : Data
        Not read, but for statistics.
    directions : int or None
        Width of a sketch: components and oversamples; None where a sketch cannot tell how many to keep.
    asked : str
        The choice of the person, ``auto`` for none.
    """
    choice, reason = (asked, "as asked for") if asked != "auto" else _cheapest(data, directions)
    if choice == "full" and not rows_fit(data):
        choice = "blockwise"
        reason = "the rows are more than the terms or than memory_limit leaves room for: triangles of blocks are merged"
    data.decide_solver(choice, reason, _PASSES[choice])
    return choice


def rows_fit(data: Data) -> bool:
    """Whether there are no more rows than terms, and they fit in memory as one dense matrix, with its factors."""
    p = data.schema.encoding.n_terms
    n = row_count(data)[0]
    if not 0 <= n <= max(p, 64):
        return False
    return fewer_rows(data) and 4 * 8 * n * p <= max(memory_budget().kept, 1 << 24)


def _cheapest(data: Data, directions: int | None) -> tuple[str, str]:
    p = data.schema.encoding.n_terms
    if p > 64 and rows_fit(data):
        return "full", f"fewer rows than the {p:,} terms: they are decomposed in memory"
    sketched = directions is not None and directions < _FEW * p
    if not gram_fits(data):
        if sketched:
            return "randomized", f"the covariance of {p:,} terms takes more than memory_limit leaves for it"
        return "covariance_eigh", "all components are wanted"
    if not sketched:
        why = "all components are wanted" if directions is None else f"{directions:,} directions are most of them"
        return "covariance_eigh", f"{p:,} terms: one pass for their covariance, {why}"
    assert directions is not None
    exact, sketch = covariance_seconds(data), sketch_seconds(data, directions)
    if exact <= max(sketch, _SOON):
        said = f"one pass for their covariance ({size_text(8 * p * p)})"
        return "covariance_eigh", f"{p:,} terms: {said}, about {exact:.2g} s against {sketch:.2g} s of a sketch"
    return "randomized", (
        f"{p:,} terms: {_EXPECTED_PASSES} passes with {directions:,} directions, "
        f"about {sketch:.2g} s against {exact:.2g} s for their covariance"
    )


def covariance_seconds(data: Data) -> float:
    """Return about how long one pass for the covariance takes, and its eigenvectors."""
    n, p = max(row_count(data)[0], 0), data.schema.encoding.n_terms
    used = _entries(data)
    return 1e-9 * (n * used * (_READ + _GRAM * used) + _EIGEN * p**3)


def sketch_seconds(data: Data, directions: int) -> float:
    """Return about how long the passes of a sketch take."""
    n, p = max(row_count(data)[0], 0), data.schema.encoding.n_terms
    kept = p * directions**2 * _EXPECTED_PASSES**2 * _SKETCH
    return 1e-9 * (_EXPECTED_PASSES * n * _entries(data) * (_READ + _SKETCH * directions) + kept)


def _entries(data: Data) -> float:
    """Return about how many terms of a row are not 0."""
    return data.schema.encoding.n_dense + sparse_entries(data)
