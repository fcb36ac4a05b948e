"""RBFSampler: random features whose products are about the values of the rbf kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dbml.errors import InvalidData
from dbml.estimators.kernel_machines.kernel_function import sparse_terms
from dbml.estimators.kernel_machines.kernel_model import resolved_gamma, tell_scales
from dbml.estimators.kernel_machines.row_steps import SpreadStep
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.room import check_room
from dbml.estimators.transformer import Transformer
from dbml.params import Either, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses


class RBFSampler(Transformer):
    """Random Fourier features: ``sqrt(2 / n) cos(x . w + offset)``, whose products are about ``exp(-gamma |x - v|^2)``.

    Parameters
    ----------
    gamma : "scale" or float, default=1.0
        "scale" is ``1 / (n_terms * variance of all entries)``.
    n_components : int, default=100
        Features; the error of the kernel falls with the root of their number.
    random_state : int, RandomState or None, default=None
        Seed; None means 0, so that a fit can be repeated. The same seed gives the same features as in scikit-learn.

    Attributes
    ----------
    random_weights_ : ndarray of shape (n_terms, n_components)
        Directions w, normal with variance ``2 gamma``.
    random_offset_ : ndarray of shape (n_components,)
        Offsets, uniform in [0, 2 pi), in the units of the columns.
    centred_offset_ : ndarray of shape (n_components,)
        Offsets for centred terms: what rows are transformed with, exact where columns have large offsets.
    gamma_ : float
        The value of gamma.

    Notes
    -----
    One pass for a gamma of "scale", and to see uneven scales; no more memory than the weights. A missing value takes
    the mean of its column, and a flag term marks it.

    References
    ----------
    Rahimi & Recht 2007, random features for large-scale kernel machines.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import RBFSampler
    >>> features = RBFSampler(gamma=0.5, n_components=20_000).fit_transform(np.array([[0.0], [1.0]]))
    >>> bool(abs(features[0] @ features[1] - np.exp(-0.5)) < 0.02)
    True
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "gamma": Either((Options(("scale",)), Real(gt=0))),
        "n_components": Integer(ge=1),
        "random_state": RANDOM_STATE_RULE,
    }

    random_weights_: Floats
    random_offset_: Floats
    centred_offset_: Floats
    gamma_: float

    def __init__(self, *, gamma: Any = 1.0, n_components: int = 100, random_state: Any = None) -> None:
        self.gamma = gamma
        self.n_components = n_components
        self.random_state = random_state

    def _fit(self, data: Data) -> None:
        encoding = data.schema.encoding
        taken = 16 * encoding.n_terms * self.n_components
        check_room(type(self).__name__, f"{self.n_components:,} random directions", taken, "lower n_components")
        reason = f"{self.n_components:,} random directions, whatever the rows"
        data.decide_solver("random features", reason, ExpectedPasses("1", "spreads tell the scale of each column"))
        (spread,) = data.fold(SpreadStep(encoding.n_terms), purpose="scales")
        if not spread["weight"][0] > 0.0:
            raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows of positive weight to learn from")
        tell_scales(data, spread)
        centre = np.array(encoding.centre())
        self.gamma_ = resolved_gamma(self.gamma, spread, centre)
        random = np.random.RandomState(seed_of(self.random_state))
        weights = random.normal(size=(encoding.n_terms, self.n_components))
        self.random_weights_ = np.sqrt(2.0 * self.gamma_) * weights
        self.random_offset_ = random.uniform(0.0, 2.0 * np.pi, size=self.n_components)
        self.centred_offset_ = np.mod(self.random_offset_ + centre @ self.random_weights_, 2.0 * np.pi)

    def _transform_block(self, block: Block) -> Floats:
        d, weights = block.X.shape[1], self.random_weights_
        out = np.ascontiguousarray(weights[:d].T) @ block.X.T
        matrix = sparse_terms(block, len(weights))
        if matrix is not None:
            out += (matrix @ weights[d:]).T
        out += self.centred_offset_[:, None]
        np.cos(out, out=out)
        out *= np.sqrt(2.0 / self.n_components)
        return out.T

    def _names_out(self) -> list[str]:
        return [f"rbfsampler{i}" for i in range(self.random_weights_.shape[1])]
