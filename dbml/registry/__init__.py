"""Models as rows of the person's own database, their SQL functions, and the scoring of relations."""

from __future__ import annotations

from typing import Any

from dbml.passes.dispatch import register_scorer


def _is_relation(X: Any) -> bool:
    from dbml.data.duck import is_relation

    return is_relation(X)


def _score(model: Any, X: Any, method: str) -> Any:
    from dbml.registry.scoring import score_relation

    return score_relation(model, X, method)


register_scorer(_is_relation, _score)
