"""Nystroem: features whose products are about the values of a kernel."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dbml.errors import DbmlWarning, InvalidParameter
from dbml.estimators.jobs import JOBS_RULE
from dbml.estimators.kernel_machines.kernel_function import CODES, KernelFunction, Vectors
from dbml.estimators.kernel_machines.kernel_model import resolved_gamma, tell_scales
from dbml.estimators.kernel_machines.landmarks import NystroemFeatures, normalization
from dbml.estimators.kernel_machines.row_steps import HashedDrawStep, SpreadStep
from dbml.estimators.kernel_machines.streamed import drawn_landmarks
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.room import check_room
from dbml.estimators.transformer import Transformer
from dbml.params import Either, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses

_COEF0, _DEGREE = 1.0, 3  # where they are None, as in scikit-learn's kernels
_TAKES = {"poly": ("gamma", "coef0", "degree"), "sigmoid": ("gamma", "coef0"), "linear": ()}


class Nystroem(Transformer):
    """Features of a kernel from some rows: a linear model over them is about a kernel machine.

    Parameters
    ----------
    kernel : {"rbf", "linear", "poly", "sigmoid", "laplacian"}, default="rbf"
        ``exp(-gamma |x - v|^2)``, ``x . v``, ``(gamma x . v + coef0)^degree``, ``tanh(gamma x . v + coef0)``,
        ``exp(-gamma |x - v|_1)``.
    gamma : "scale" or float, optional
        None is ``1 / n_terms``, "scale" is ``1 / (n_terms * variance of all entries)``.
    coef0 : float, optional
        Of "poly" and "sigmoid"; None is 1.
    degree : int, optional
        Of "poly"; None is 3.
    n_components : int, default=100
        Rows that are drawn, and features; at most as many as there are different rows.
    random_state : int, RandomState or None, default=None
        Seed of the rows; None means 0, so that a fit can be repeated.
    n_jobs : int, optional
        Most threads of the training; None or -1 for all. The model is the same for any.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_terms)
        The rows drawn, in the units of the columns.
    component_indices_ : ndarray of shape (n_components,)
        Their positions in the source.
    normalization_ : ndarray of shape (n_components, n_components)
        ``K(components, components)^(-1/2)``.
    gamma_ : float
        The value of gamma.

    Notes
    -----
    One pass; different rows are drawn, each as likely, by random numbers of their values: the same for any order of the
    rows and number of threads. Weights do not count, but for rows of weight 0, which are left out. `transform` costs
    a value of the kernel for each row and component, and a product with the normalization. A missing value takes the
    mean of its column, and a flag term marks it.

    References
    ----------
    Williams & Seeger 2001, using the Nystroem method to speed up kernel machines.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import Nystroem
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> features = Nystroem(n_components=3, gamma=1.0).fit_transform(X)
    >>> (features @ features.T).round(3)
    array([[1.   , 0.368, 0.   ],
           [0.368, 1.   , 0.018],
           [0.   , 0.018, 1.   ]])
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "kernel": Options(tuple(CODES)),
        "gamma": Either((Options((None, "scale")), Real(ge=0))),
        "coef0": Either((Options((None,)), Real())),
        "degree": Either((Options((None,)), Integer(ge=1))),
        "n_components": Integer(ge=1),
        "random_state": RANDOM_STATE_RULE,
        "n_jobs": JOBS_RULE,
    }

    components_: Floats
    component_indices_: NDArray[np.int64]
    normalization_: Floats
    gamma_: float

    def __init__(
        self,
        kernel: str = "rbf",
        *,
        gamma: Any = None,
        coef0: float | None = None,
        degree: int | None = None,
        n_components: int = 100,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.coef0 = coef0
        self.degree = degree
        self.n_components = n_components
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _check_params(self) -> None:
        takes = _TAKES.get(self.kernel, ("gamma",))
        for name in ("gamma", "coef0", "degree"):
            if getattr(self, name) is not None and name not in takes:
                raise InvalidParameter(
                    f"{type(self).__name__}: {name} must be None for kernel={self.kernel!r}, which has none; "
                    f"got {getattr(self, name)!r}"
                )

    def _fit(self, data: Data) -> None:
        name, encoding = type(self).__name__, data.schema.encoding
        n_terms, centre = encoding.n_terms, np.array(encoding.centre())
        reason = f"{self.n_components:,} rows drawn at random are compared with each other"
        data.decide_solver("nystroem", reason, ExpectedPasses("1", "rows are drawn while spreads are summed"))
        # More than all rows are never drawn.
        n_drawn = min(self.n_components, data.n_rows if data.n_rows >= 0 else self.n_components)
        told = f"{n_drawn:,} rows drawn and compared with each other"
        check_room(name, told, 8 * n_drawn * (2 * n_terms + 3 * n_drawn), "lower n_components")
        draw = HashedDrawStep(n_drawn, centre, seed_of(self.random_state))
        spread, drawn = data.fold(SpreadStep(n_terms), draw, purpose="components")
        tell_scales(data, spread)
        self.gamma_ = resolved_gamma("auto" if self.gamma is None else self.gamma, spread, centre)
        landmarks = drawn_landmarks(drawn, self._kernel(), centre, name)
        rows, self.component_indices_ = HashedDrawStep.drawn(drawn)
        self.components_, self.normalization_ = rows + centre, normalization(landmarks)
        if len(rows) < self.n_components:
            source = f"{data.plan.source} has {len(rows):,} different rows"
            message = f"{name}: n_components is {self.n_components:,}, and {source}: there is a component for each"
            warnings.warn(message, DbmlWarning, stacklevel=5)

    def _kernel(self) -> KernelFunction:
        coef0 = _COEF0 if self.coef0 is None else float(self.coef0)
        return KernelFunction(self.kernel, self.gamma_, coef0, _DEGREE if self.degree is None else int(self.degree))

    def _transform_block(self, block: Block) -> Floats:
        kernel, centre = self._kernel(), np.array(self.schema_.encoding.centre())
        origin = kernel.origin(centre)
        vectors = Vectors(self.components_ - centre + origin, origin, kernel)
        return NystroemFeatures(vectors, self.normalization_).features(block)

    def _names_out(self) -> list[str]:
        return [f"nystroem{i}" for i in range(len(self.components_))]
