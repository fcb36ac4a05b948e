"""The figures that rows compare with what must hold."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.contenders import Bar, Result


def speedup(limit: float) -> Bar:
    """Seconds of the best peer of equal quality over ours."""
    return Bar("times the best peer", lambda r: r.best_peer.seconds / r.ours.seconds, limit, at_least=True)


def memory_share(limit: float = 0.25) -> Bar:
    """Our peak memory over that of the best peer, both above the imports."""
    return Bar("of its memory", lambda r: r.ours.peak / r.best_peer.peak, limit)


def against_peers(limit: float) -> tuple[Bar, ...]:
    """Speed and memory against the fastest peer, and against the fastest that fetches as people write it."""
    return (
        speedup(limit),
        memory_share(),
        Bar(
            "times the best peer over fetchnumpy", lambda r: r.usual_peer.seconds / r.ours.seconds, limit, at_least=True
        ),
        Bar("of its memory", lambda r: r.ours.peak / r.usual_peer.peak, 0.25),
    )


def quality(metric: str, tolerance: float) -> Bar:
    """Our quality minus the best comparable peer's."""

    def difference(result: Result) -> float:
        return result.ours.quality[metric] - max(p.quality[metric] for p in result.comparable())

    return Bar(f"{metric} above the best peer's", difference, -tolerance, at_least=True)


def objective(tolerance: float) -> Bar:
    """Our objective over the lowest of any peer, minus 1."""

    def excess(result: Result) -> float:
        return result.ours.quality["objective"] / min(p.quality["objective"] for p in result.comparable()) - 1

    return Bar("relative objective above the lowest", excess, tolerance)


def over_floor(limit: float) -> Bar:
    """Our seconds over the floor's."""
    return Bar("times the floor", lambda r: r.ours.seconds / r.floor.seconds, limit)


def over(label: str, name: str, figure: Callable[[Result], float], limit: float) -> Bar:
    """Return a bar for a figure of a row's own."""
    return Bar(f"{name} ({label})" if label else name, figure, limit)
