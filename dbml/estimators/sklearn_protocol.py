"""What scikit-learn's tools ask of an estimator. scikit-learn itself is needed by none of it, unless it is asking."""

from __future__ import annotations

import inspect
import sys
from typing import Any, ClassVar, Self

import numpy as np

from dbml.errors import InvalidParameter, NotFitted, nearest


def not_fitted(name: str) -> NotFitted:
    """Return the error of an estimator used before `fit`: also scikit-learn's own where that is loaded."""
    message = f"{name} is not fitted yet; call fit first"
    sklearn = sys.modules.get("sklearn.exceptions")
    if sklearn is None:
        return NotFitted(message)
    both = type("NotFitted", (NotFitted, sklearn.NotFittedError), {"__module__": NotFitted.__module__})
    return both(message)


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return np.array_equal(left, right)
    return type(left) is type(right) and (left == right or left != left)  # noqa: PLR0124, NaN equals itself here


class SklearnProtocol:
    """Hyperparameters by name, tags and the printed form, as scikit-learn's `clone`, pipelines and searches expect."""

    task: ClassVar[Any]

    @classmethod
    def _parameter_names(cls) -> list[str]:
        if cls.__init__ is object.__init__:
            return []
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the hyperparameters by name; `deep` changes nothing, no estimator here holds another."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set hyperparameters by name and return self.

        Raises
        ------
        InvalidParameter
            No such parameter; the nearest known one is named.
        """
        known = self._parameter_names()
        for name in params:
            if name not in known:
                exist = f"(parameters: {', '.join(known)})"
                raise InvalidParameter(f"{type(self).__name__}: no parameter {name!r}{nearest(name, known)} {exist}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Return the call that makes this estimator, without the parameters that have their default."""
        signature = inspect.signature(type(self).__init__).parameters
        changed = [f"{n}={v!r}" for n, v in self.get_params().items() if not _equal(v, signature[n].default)]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: sparse input and missing values are fine, one target column."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        kind = {"regression": "regressor", "classification": "classifier"}.get(self.task)
        return Tags(
            estimator_type=kind,
            target_tags=TargetTags(required=kind is not None),
            classifier_tags=ClassifierTags() if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
            input_tags=InputTags(sparse=True, allow_nan=True),
        )
