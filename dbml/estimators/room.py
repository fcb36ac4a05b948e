"""Whether what a person asks for fits in memory: asked before it is taken."""

from __future__ import annotations

from dbml.errors import ExhaustedMemory
from dbml.passes.memory import memory_budget
from dbml.passes.plan_text import size_text


def check_room(owner: str, what: str, n_bytes: int, remedy: str) -> None:
    """Raise `ExhaustedMemory` where a state of a training does not fit beside the blocks of a pass.

    Parameters
    ----------
    owner : str
        The estimator.
    what : str
        What takes the memory, in the plural.
    n_bytes : int
        How much of it.
    remedy : str
        What to do, besides raising the limit: ``lower n_components``.
    """
    room = memory_budget().kept
    if n_bytes > room:
        raise ExhaustedMemory(
            f"{owner}: {what} take {size_text(n_bytes)}, and {size_text(room)} of memory_limit are left for them: "
            f"{remedy}, or raise memory_limit"
        )
