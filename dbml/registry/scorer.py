"""A fitted model as a function of Arrow columns: what the SQL functions and the scoring of relations call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from dbml.data.vector_lengths import check_lengths, vector_widths
from dbml.errors import InvalidParameter, UnknownName, listing
from dbml.estimators.attributions import Attributions
from dbml.estimators.base import Estimator
from dbml.passes.block import Block
from dbml.registry.missing import missing_columns


class Scorer:
    """Scores Arrow columns with one model; any thread may call it.

    Parameters
    ----------
    name : str
        Name of the model, for errors.
    model : Estimator
        Fitted.
    """

    def __init__(self, name: str, model: Estimator) -> None:
        from dbml.data.arrow_encoder import ArrowEncoder

        self.name, self.model = name, model
        self.columns = model.schema_.encoding.columns
        self.classes = None if model.schema_.target is None else model.schema_.target.classes
        self._encoder = ArrowEncoder(model.schema_.encoding, f"model {name!r}")
        self._has_vectors = bool(vector_widths(model.schema_.encoding))
        self._folded = [column.casefold() for column in self.columns]

    def columns_of(self, arguments: Sequence[pa.ChunkedArray]) -> list[pa.Array]:
        """Return the input columns from the arguments of a function: a row by its alias, or the columns in order."""
        arrays = [_one_array(argument) for argument in arguments]
        if len(arrays) == 1 and pa.types.is_struct(arrays[0].type):
            return self._fields(arrays[0])
        if len(arrays) != len(self.columns):
            raise InvalidParameter(
                f"model {self.name!r} takes a row by its alias, or its {len(self.columns)} columns in the order "
                f"{listing(self.columns, 40)}; got {len(arrays)} values"
            )
        return arrays

    def _fields(self, rows: pa.StructArray) -> list[pa.Array]:
        names = [rows.type.field(i).name for i in range(rows.type.num_fields)]
        positions: dict[str, int] = {}
        for i, name in enumerate(names):
            positions.setdefault(name.casefold(), i)
        found = []
        for column, folded in zip(self.columns, self._folded, strict=True):
            position = names.index(column) if column in names else positions.get(folded)
            if position is None:
                raise self._missing(names)
            # A row that is NULL as a whole has NULL in every column.
            found.append(rows.field(position) if not rows.null_count else rows.flatten()[position])
        return found

    def _missing(self, names: Sequence[str]) -> UnknownName:
        error = missing_columns(f"model {self.name!r}", self.columns, names)
        assert error is not None
        return error

    def block(self, columns: Sequence[pa.Array]) -> Block:
        """Return the encoded rows; they are valid until this thread encodes again.

        Raises
        ------
        InvalidData
            A vector has another length than those of the training.
        """
        if self._has_vectors:
            check_lengths(f"model {self.name!r}", self.model.schema_.encoding, columns)
        return self._encoder.encode(columns)

    @cached_property
    def attributions(self) -> Attributions | None:
        """What explains the predictions of the model, or None."""
        return self.model.attributions()

    def method(self, name: str) -> Callable[[Block], np.ndarray]:
        """Return how a method of the model computes a block."""
        return getattr(self.model, _BLOCK_METHODS[name])

    def has(self, name: str) -> bool:
        """Whether the model has a method: ``predict``, ``predict_proba``, ``decision_function``."""
        return hasattr(self.model, name)


_BLOCK_METHODS = {
    "predict": "_predict_block",
    "class": "_class_block",
    "predict_proba": "_proba_block",
    "decision_function": "_decision_block",
    "anomaly_score": "_anomaly_block",
    "score_samples": "_samples_block",
    "transform": "_transform_block",
    "item_rank": "_rank_block",
}


def _one_array(argument: Any) -> pa.Array:
    if isinstance(argument, pa.ChunkedArray):
        return argument.chunk(0) if argument.num_chunks == 1 else argument.combine_chunks()
    return argument
