"""What `transform` of arrays and frames gives: an array, or a frame of pandas or polars, as `set_output` says."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from dbml.errors import InvalidData, InvalidParameter

OUTPUTS = ("default", "pandas", "polars")


def check_output(owner: str, transform: Any) -> None:
    """Raise `InvalidParameter` for a kind of output that there is not."""
    if transform not in OUTPUTS:
        raise InvalidParameter(
            f"{owner}: set_output takes transform = one of {', '.join(map(repr, OUTPUTS))}, or None; got {transform!r}"
        )


def wanted_output(own: str | None) -> str:
    """Return the kind of output: that of the estimator, else of scikit-learn's configuration where that is loaded."""
    sklearn = sys.modules.get("sklearn")
    return own or ("default" if sklearn is None else sklearn.get_config().get("transform_output") or "default")


def in_frame(owner: str, kind: str, made: Any, names: Sequence[str], X: Any) -> Any:
    """Return what `transform` made of X as a frame of `kind`; a relation, and with ``default`` anything, as it is."""
    sparse = hasattr(made, "toarray")
    if kind == "default" or not (sparse or isinstance(made, np.ndarray)):
        return made
    check_output(owner, kind)
    if sparse:
        raise InvalidData(
            f"{owner}: {kind} output does not support sparse data. Set sparse_output=False (encode='onehot-dense'), or "
            "set_output(transform='default')"
        )
    library = importlib.import_module(kind)
    if kind == "polars":
        return library.DataFrame(made, schema=list(names), orient="row")
    index = X.index if isinstance(X, library.DataFrame) else None
    return library.DataFrame(made, index=index, columns=list(names), copy=False)
