"""The figures that rows compare with what must hold."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.contenders import Bar, Measured, Result


def speedup(limit: float) -> Bar:
    """Seconds of the best peer of equal quality over ours."""
    return Bar("times the best peer", lambda r: r.best_peer.seconds / r.ours.seconds, limit, at_least=True)


def starting(result: Result, label: str) -> list[Measured]:
    """Return the contenders that finished and whose label starts so."""
    return [m for own, m in result.measured.items() if own.startswith(label) and m.samples]


def faster_than(name: str, starts: str, limit: float, ours: str = "") -> Bar:
    """Seconds of the fastest contender whose label starts so over ours: the first, or the one that is named."""

    def ratio(result: Result) -> float:
        return result.fastest(starting(result, starts)).seconds / (result.one(ours) if ours else result.ours).seconds

    return Bar(f"times {name}", ratio, limit, at_least=True)


def worst_speedup(limit: float) -> Bar:
    """The fastest run of the best peer over the slowest of ours, first runs apart where there are others."""

    def runs(measured: Measured) -> list[float]:
        return [t for s in measured.samples for t in (s.seconds[1:] or s.seconds)]

    return Bar(
        "times the best peer, its fastest run over our slowest",
        lambda r: min(runs(r.best_peer)) / max(runs(r.ours)),
        limit,
        at_least=True,
    )


def memory_share(limit: float = 0.25) -> Bar:
    """Our peak memory over that of the best peer, both above the imports."""
    return Bar("of its memory", lambda r: r.ours.peak / r.best_peer.peak, limit)


def memory_of(name: str, starts: str, leanest: bool = False, limit: float = 0.25) -> Bar:
    """Our peak memory over that of the fastest (or leanest) contender whose label starts so."""

    def share(result: Result) -> float:
        found = starting(result, starts)
        theirs = min(m.peak for m in found) if leanest else result.fastest(found).peak
        return result.ours.peak / theirs

    return Bar(f"of the memory of {name}", share, limit)


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
