"""Names of the functions of ours that compute in Python: what rewritten text calls, and what a person may write."""

from __future__ import annotations

PUBLIC = ("predict", "predict_label", "predict_proba", "transform", "add_rows", "train_model")
"""Functions that a person calls by their plain names, where those are free."""


def function_name(name: str) -> str:
    """Return what our own text calls a function by: a macro or function of the person's may have the plain name."""
    return f"dbml_{name}"
