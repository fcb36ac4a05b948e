"""From rows to a spectrum: by their covariance, by a sketch, by triangles of blocks, or with all rows in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dbml.errors import InvalidData
from dbml.estimators.components.krylov import Krylov
from dbml.estimators.components.sample import first_directions
from dbml.estimators.components.sketch_step import SketchStep
from dbml.estimators.components.spectrum import Spectrum, freedom_of, of_gram, settled
from dbml.estimators.components.triangle_step import Centred, TriangleStep
from dbml.estimators.components.view import View, variation
from dbml.estimators.design import dense_rows
from dbml.estimators.gram_step import GramStep, Moments
from dbml.estimators.moment_steps import beyond_rounding
from dbml.estimators.quadratic import require_gram
from dbml.passes.block import Floats
from dbml.passes.data import Data

_MOST_PASSES = 8
_FAR = 1e4  # times the squares about the mean: where those of the mean are more, digits are lost in their sum

Report = Callable[[int, float], None]


@dataclass(frozen=True)
class Aim:
    """What is to be decomposed, and how far.

    Attributes
    ----------
    owner : str
        Class of the estimator, for errors.
    n : int or None
        Components wanted; None: all.
    centred : bool
        About the mean (principal components), or about 0 in the units of the columns (singular vectors).
    scaled : bool
        Whether terms are divided by their standard deviations.
    """

    owner: str
    n: int | None
    centred: bool = True
    scaled: bool = False


@dataclass(frozen=True)
class Sketching:
    """How a sketch goes about it.

    Attributes
    ----------
    oversamples : int
        Directions beyond the components wanted.
    powers : int or None
        Passes after the first; None: until another one would add less than `tol`.
    tol : float
        Share of the sum of squares found.
    seed : int
        Of the sample and the first directions.
    """

    oversamples: int
    powers: int | None
    tol: float
    seed: int


def by_covariance(data: Data, aim: Aim) -> tuple[Spectrum, Floats]:
    """Return the spectrum from one pass for the second moments, and the scale of the terms."""
    require_gram(data)
    encoding = data.schema.encoding
    (state,) = data.fold(GramStep(encoding.n_terms), purpose="covariance" if aim.centred else "second moments")
    require_rows(data, aim, int(state["count"].sum()), float(state["gram"][0, 0, 0]))
    moments = Moments.of(state)
    variation = moments.gram.diagonal()
    spread = np.sqrt(variation / freedom_of(moments.weight, moments.count))
    scale = scale_of(spread, aim.scaled)
    about_mean = total = float((variation / scale**2).sum())
    gram, along = moments.gram / scale / scale[:, None], None
    if aim.centred:
        components, squares = of_gram(gram, aim.n)
    else:
        mean = (moments.x_mean + np.array(encoding.centre())) / scale
        total += moments.weight * float(mean @ mean)
        components, squares = _about_zero(gram, np.sqrt(moments.weight) * mean, aim.n)
        along = np.maximum(np.einsum("ij,ij->i", components @ gram, components), 0.0)
    found = Spectrum(components, squares, total, moments.x_mean, moments.weight, moments.count, about_mean, along)
    return found, scale


def _about_zero(gram: Floats, mean: Floats, n: int | None) -> tuple[Floats, Floats]:
    """Return the first n components about 0, and the squares along them, from second moments about the mean.

    Where the mean is far from 0 its square would swamp them: a root of the moments and the mean are decomposed as rows.
    """
    if float(mean @ mean) <= _FAR * float(gram.trace()):
        return of_gram(gram + np.outer(mean, mean), n)
    values, vectors = np.linalg.eigh(gram)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    components, squares = _decomposed(np.vstack([mean, root]))
    return components[:n], squares[:n]


def by_blocks(data: Data, aim: Aim) -> tuple[Spectrum, Floats]:
    """Return the spectrum about the mean from one pass for the triangles of blocks, and the scale of the terms."""
    require_gram(data)
    (state,) = data.fold(TriangleStep(data.schema.encoding.n_terms), purpose="triangles of blocks")
    count = int(state["count"][0])
    require_rows(data, aim, count, float(state["triangle"][0, 0]) ** 2)
    found = Centred.of(state["triangle"])
    variation = np.einsum("ij,ij->j", found.triangle, found.triangle)
    variation = beyond_rounding(variation, variation + found.weight * found.mean**2)
    scale = scale_of(np.sqrt(variation / freedom_of(found.weight, count)), aim.scaled)
    components, squares = _decomposed(found.triangle / scale)
    total = float(squares.sum())
    return Spectrum(components, squares, total, found.mean, found.weight, count, total), scale


def in_memory(data: Data, aim: Aim) -> tuple[Spectrum, Floats]:
    """Return the spectrum of rows that are held in memory, and the scale of the terms."""
    rows = data.sample(max(data.statistics.n_rows, 1), seed=0)
    weight = rows.weights
    count, total = int(np.count_nonzero(weight)), float(weight.sum())
    require_rows(data, aim, count, total)
    X = dense_rows(rows, data.schema.encoding.n_terms, order="F")
    mean = weight @ X / total
    about = mean if aim.centred else -np.array(data.schema.encoding.centre())
    X = (X - about) * np.sqrt(weight)[:, None]
    variation = np.einsum("ij,ij->j", X, X)
    variation = beyond_rounding(variation, variation + total * mean**2)
    scale = scale_of(np.sqrt(variation / freedom_of(total, count)), aim.scaled)
    components, squares = _decomposed(X / scale)
    whole = float(squares.sum())
    shift = (mean - about) / scale
    about_mean, along = max(whole - total * float(shift @ shift), 0.0), None
    if not aim.centred:
        X = X / scale - np.outer(np.sqrt(weight), shift)
        about_mean, along = float(np.square(X).sum()), np.square(X @ components.T).sum(axis=0)
    return Spectrum(components, squares, whole, mean, total, count, about_mean, along), scale


def _decomposed(rows: Floats) -> tuple[Floats, Floats]:
    """Return the right singular vectors as rows, and the squares of the singular values."""
    if not np.isfinite(rows).all():
        raise InvalidData("values of a column are too large: the sum of their squares must be below 1.8e308")
    _, singular, components = np.linalg.svd(rows, full_matrices=False)
    squares = singular**2
    return settled(components, squares, (rows.shape[1] * np.finfo(float).eps) ** 2), squares


def by_sketch(data: Data, aim: Aim, how: Sketching, report: Report) -> tuple[Spectrum, Floats, int]:
    """Return the leading part of the spectrum, the scale of the terms, and how many passes it took.

    The first directions are those of a sample; every pass multiplies them by the second moments of all rows, and all
    products together span the space that the components are taken from.
    """
    encoding = data.schema.encoding
    p, n = encoding.n_terms, aim.n if aim.n is not None else encoding.n_terms
    scale = np.ones(p)
    if aim.scaled:
        (state,) = data.fold(SketchStep(np.empty((p, 0)), True), purpose="standard deviations")
        require_rows(data, aim, int(state["count"][0]), float(state["weight"][0]))
        divisor = freedom_of(float(state["weight"][0]), int(state["count"][0]))
        scale = scale_of(np.sqrt(variation(state) / divisor), True)
    view = View(scale, np.array(encoding.centre()), aim.centred)
    start = first_directions(data, view, n, min(p, n + how.oversamples), how.tol, how.seed)
    data.plan = data.plan.decide("sample", f"{start.n_rows:,} rows", "passes begin with its leading directions")
    data.plan = data.plan.decide("precision", "single" if start.single else "double", start.reason)
    block, single = start.directions, start.single
    space, number = Krylov(p), 0
    most = _MOST_PASSES if how.powers is None else how.powers + 1
    while True:
        number += 1
        (state,) = data.fold(view.step(block, number == 1, single), purpose=f"sketch {number}")
        require_rows(data, aim, int(state["count"][0]), float(state["weight"][0]))
        if number == 1:
            first, (total, about_mean) = state, view.totals(state)
        image = view.image(state, block, first)
        if not np.isfinite(image).all():
            if not single:
                raise InvalidData("values of a column are too large: the sum of their squares must be below 1.8e308")
            single, number = False, number - 1  # rows that the sample did not show: this pass once more
            continue
        space.add(block, image)
        components, squares, gain = space.leading(n)
        report(number, float(squares.sum()) / total if total > 0.0 else 0.0)
        block = space.following(image)
        if number >= most or not block.size or (how.powers is None and gain <= how.tol):
            break
    weight, count = float(first["weight"][0]), int(first["count"][0])
    mean = first["sums"] / weight
    return Spectrum(components, squares, total, mean, weight, count, about_mean), scale, number


def scale_of(spread: Floats, scaled: bool) -> Floats:
    """Return what terms are divided by: their standard deviation, 1 for constant ones; or 1 for all."""
    if not scaled:
        return np.ones(len(spread))
    return np.where(spread > 0.0, spread, 1.0)


def require_rows(data: Data, aim: Aim, count: int, weight: float) -> None:
    """Raise `InvalidData` where no row or, about the mean, a single one has a positive weight."""
    if count == 0 or not weight > 0.0:
        raise InvalidData(f"{aim.owner}: {data.plan.source} has no rows to learn from (of positive weight)")
    if count == 1 and aim.centred:
        raise InvalidData(
            f"{aim.owner}: components need at least 2 rows; {data.plan.source} has n_samples=1 (of positive weight)"
        )


def by_lanczos(data: Data, aim: Aim, tol: float, seed: int) -> tuple[Spectrum, Floats]:
    """Return the leading part of the spectrum by the Lanczos method (ARPACK): a pass for each vector."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    assert aim.n is not None
    encoding = data.schema.encoding
    p = encoding.n_terms
    start, scale = np.random.default_rng(seed).normal(size=(p, 1)), np.ones(p)
    view = View(scale, np.array(encoding.centre()), aim.centred)
    (first,) = data.fold(SketchStep(np.empty((p, 0)), True), purpose="squares")
    weight, count = float(first["weight"][0]), int(first["count"][0])
    require_rows(data, aim, count, weight)
    total, about_mean = view.totals(first)

    def image(vector: Floats) -> Floats:
        block = vector.reshape(-1, 1)
        (state,) = data.fold(view.step(block, False, False), purpose="Lanczos vector")
        return view.image(state, block, first)[:, 0]

    mean = first["sums"] / weight
    if total <= 0.0:
        return Spectrum(np.eye(p)[: aim.n], np.zeros(aim.n), total, mean, weight, count, about_mean), scale
    squares, vectors = eigsh(LinearOperator((p, p), matvec=image, dtype=float), aim.n, tol=tol, v0=start[:, 0])
    order = np.argsort(squares)[::-1]
    components = np.ascontiguousarray(vectors[:, order].T)
    return Spectrum(components, np.maximum(squares[order], 0.0), total, mean, weight, count, about_mean), scale
