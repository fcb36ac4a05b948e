"""How every kernel is compiled: on first use, without the GIL, cached on disk, and announced."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba import njit
from numba.core import event
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher

# Sums may be reordered and fused (that vectorises them); NaN and infinity keep their meaning, so isnan works.
FASTMATH = frozenset({"reassoc", "contract"})

_PACKAGE = __name__.rpartition(".")[0]


class KernelCache(FunctionCache):
    """numba's cache on disk, with two differences.

    A kernel is stale also when the file of another kernel that its module imports has changed: the other's code is
    inlined into it. A full or failing disk costs the cached copy only, never the computation.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        own = self._impl.locator.get_source_stamp()
        self.stamp = (own, *sorted(FASTMATH), *sorted({str(stamp) for stamp in _called_stamps(function)}))
        self._cache_file = IndexDataCacheFile(self.cache_path, self._impl.filename_base, self.stamp)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:
            self.disable()


def _called_stamps(function: Callable[..., Any]) -> Iterator[Any]:
    for value in function.__globals__.values():
        if isinstance(value, Dispatcher) and value.py_func.__module__ != function.__module__:
            cache = vars(value).get("_cache")
            if isinstance(cache, KernelCache):
                yield cache.stamp


def kernel(function: Callable[..., Any] | None = None, *, exact: bool = False, part: bool = False) -> Any:
    """Compile a function for arrays: ``@kernel``, or ``@kernel(exact=True)`` where sums must keep their order.

    ``@kernel(part=True)`` is for a part of one other kernel, which is compiled with it, as its code would be: not first
    by itself, which takes as long again.
    The first call with new types compiles (or loads from the cache: beside the source, else in the user's cache
    folder, else there is none and each process compiles anew). Division by zero gives infinity or NaN, as in NumPy.
    """
    if function is None:
        return lambda inner: kernel(inner, exact=exact, part=part)
    fastmath = False if exact else set(FASTMATH)
    inline = "always" if part else "never"
    compiled = njit(nogil=True, no_cfunc_wrapper=True, error_model="numpy", fastmath=fastmath, inline=inline)(function)
    try:
        vars(compiled)["_cache"] = KernelCache(function)
    except RuntimeError:  # numba found no folder it can write to
        return compiled
    return compiled


class _Compilations(event.Listener):
    """Tells subscribers of compilations of kernels of this package (not of those that a cache holds)."""

    def __init__(self) -> None:
        self.subscribers: list[Callable[[str], None]] = []

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        if function.__module__.startswith(_PACKAGE):
            for subscriber in tuple(self.subscribers):
                subscriber(function.__name__)

    def on_end(self, event: Any) -> None:
        """Do nothing: numba asks for the method."""


_compilations = _Compilations()
_lock = threading.Lock()


@contextmanager
def announcing_compilations(subscriber: Callable[[str], None]) -> Iterator[None]:
    """Call `subscriber(kernel_name)` before each compilation that no cache spares, on the thread it happens."""
    with _lock:
        if not _compilations.subscribers:
            event.register("numba:compile", _compilations)
        _compilations.subscribers.append(subscriber)
    try:
        yield
    finally:
        with _lock:
            _compilations.subscribers.remove(subscriber)
            if not _compilations.subscribers:
                event.unregister("numba:compile", _compilations)
