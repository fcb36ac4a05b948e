"""The number of a label among the classes of a model, whatever type the labels have now."""

from __future__ import annotations

from typing import Any

from dbml_sql.expressions import string
from dbml_sql.score import label_literal, label_text, label_type


def label_number(label: str, type_: str, classes: tuple[Any, ...]) -> str:
    """Return the number of a label among the classes, from 1 on; NULL where it is none of them.

    Labels are compared with texts as their text, with other classes as DuckDB compares: 1.0 is the class 1 and so is
    '1', but 1.5 is none, nor is what cannot be compared at all.

    Parameters
    ----------
    label : str
        A column, whose type may be another one than in training.
    type_ : str
        DuckDB type of the label in training.
    classes : tuple
        Class labels in order.
    """
    if label_type(classes, type_).split("(", 1)[0] in ("VARCHAR", "ENUM"):
        return _place(f"CAST({label} AS VARCHAR)", [string(label_text(c)) for c in classes])
    cases = " ".join(f"WHEN {label_literal(c, type_)} THEN {number}" for number, c in enumerate(classes, 1))
    return f"TRY(CASE {label} {cases} END)"


def predicted_number(predicted: str, type_: str, classes: tuple[Any, ...]) -> str:
    """Return the number of a predicted label, which is one of the classes, from 1 on."""
    return _place(predicted, [label_literal(c, type_) for c in classes])


def _place(value: str, listed: list[str]) -> str:
    return f"nullif(list_position([{', '.join(listed)}], {value}), 0)"
