"""Threads that work off a round of tasks together, inside a kernel: a round costs a microsecond, not a call of Python.

One thread leads. It publishes rounds of numbered tasks, takes part in them, and goes on when all are done. Others
help: they take tasks while there are some, until the leader ends the work. Nobody waits for a helper that holds no
task, so one that comes late, or that the system leaves waiting, costs nothing but its help.

What the leader writes before it publishes a round is seen by all who take its tasks, and what they write by the leader
after it. Helpers that find no task spin for some microseconds, and then let other threads of the machine go first.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dbml_kernels.jit import kernel

ir = cgutils.ir

MOST_TASKS = (1 << 16) - 1

# Words of a team, each in a cache line of its own: a round's number, tasks and next task; the tasks done; the end.
_TICKET, _DONE, _ENDED, SIZE = 0, 8, 16, 24
_TASKS_AT, _ROUND_AT = np.int64(16), np.int64(32)
_PATIENCE = 2_000  # looks for a task, some 50 us, before other threads go first


def _address(context, builder, signature, arguments):
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.gep(data, [arguments[1]])


@intrinsic
def _load(typing_context, words, position):
    """Return ``words[position]`` as the thread that stored it last left it, with all that it wrote before."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(_address(context, builder, signature, arguments), "acquire", 8)

    return types.int64(words, types.int64), generate


@intrinsic
def _store(typing_context, words, position, value):
    """``words[position] = value``, after all that this thread wrote before."""

    def generate(context, builder, signature, arguments):
        builder.store_atomic(arguments[2], _address(context, builder, signature, arguments), "release", 8)
        return context.get_dummy_value()

    return types.void(words, types.int64, types.int64), generate


@intrinsic
def _add_one(typing_context, words, position):
    """``words[position] += 1``, whoever else does so at the same time."""

    def generate(context, builder, signature, arguments):
        one = context.get_constant(types.int64, 1)
        builder.atomic_rmw("add", _address(context, builder, signature, arguments), one, "acq_rel")
        return context.get_dummy_value()

    return types.void(words, types.int64), generate


@intrinsic
def _replace(typing_context, words, position, old, new):
    """``words[position] = new`` if it is `old`; return whether it was."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments)
        return builder.extract_value(builder.cmpxchg(address, arguments[2], arguments[3], "acq_rel", "acquire"), 1)

    return types.boolean(words, types.int64, types.int64, types.int64), generate


@intrinsic
def _pause(typing_context):
    """Let the other thread of this core go first, where the processor has a word for that."""

    def generate(context, builder, signature, arguments):
        if builder.module.triple.startswith(("x86_64", "i686", "i386")):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _let_others(typing_context):
    """Let other threads that wait for this core go first, where the system has a call for that."""

    def generate(context, builder, signature, arguments):
        if "windows" not in builder.module.triple:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


def new_team():
    """Return the words of a team that has no round yet."""
    return np.zeros(SIZE, np.int64)


@kernel
def publish(team, n_tasks):
    """Begin a round of `n_tasks`, at most `MOST_TASKS`; the leader calls it when the round before is over."""
    _store(team, _DONE, 0)
    round_number = (_load(team, _TICKET) >> _ROUND_AT) + 1
    _store(team, _TICKET, (round_number << _ROUND_AT) | (np.int64(n_tasks) << _TASKS_AT))


@kernel
def take(team):
    """Return the number of a task that nobody has taken, or -1."""
    while True:
        ticket = np.int64(_load(team, _TICKET))
        task = ticket & MOST_TASKS
        if task >= (ticket >> _TASKS_AT) & MOST_TASKS:
            return np.int64(-1)
        if _replace(team, _TICKET, ticket, ticket + 1):
            return task


@kernel
def tell_done(team):
    """Say that a task that was taken is done."""
    _add_one(team, _DONE)


@kernel
def wait_for(team, n_tasks):
    """Wait until all tasks of the round are done."""
    looks = 0
    while _load(team, _DONE) < n_tasks:
        looks += 1
        _pause()
        if looks > _PATIENCE:
            _let_others()


@kernel
def end(team):
    """Send the helpers away; the leader calls it after its last round."""
    _store(team, _ENDED, 1)


@kernel
def wait_to_help(team):
    """Return the number of a task as soon as there is one, or -1 when the leader has ended the work."""
    looks = 0
    while True:
        task = take(team)
        if task >= 0:
            return task
        if _load(team, _ENDED) != 0:
            return np.int64(-1)
        looks += 1
        _pause()
        if looks > _PATIENCE:
            _let_others()
