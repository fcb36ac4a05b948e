"""What rows of every family are made of."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import Contender

PLENTY = "12GB"
SCAN = Contender("Arrow scan", "floor", "floors:arrow_scan", quality=False)


def ours(estimator: str, label: str = "dbml", run: str = "fit", **changes: Any) -> Contender:
    """Return dbml's contender; keywords that are not of `Contender` are settings of the estimator."""
    known = {name: changes.pop(name) for name in tuple(changes) if name in Contender.__dataclass_fields__}
    return Contender(label, "ours", f"ours:{run}", {"estimator": estimator, "settings": changes}, **known)
