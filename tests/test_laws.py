"""The laws of steps, for every step class of every estimator: merge law, identity, determinism, blocks left alone.

Steps are not listed: every estimator is fitted with each word of its options on small data, and the steps that are
updated on the way are recorded with the rows they saw.
"""

import contextlib
import copy
import importlib
import inspect
import pkgutil
import warnings
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from suited import suited

import dbml.estimators
from dbml.data.derived import MemoryChunk
from dbml.data.sampling import copy_rows
from dbml.engine.local import LocalEngine
from dbml.errors import DbmlError
from dbml.estimators.discovery import estimators
from dbml.params import Either, Options
from dbml.passes.engine import Work

N_ROWS = 240


def step_classes():
    """All classes of the estimators package that are steps."""
    found = set()
    for module in pkgutil.walk_packages(dbml.estimators.__path__, "dbml.estimators."):
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and all(hasattr(value, name) for name in ("start", "update", "merge", "chained")):
                found.add(value)
    return found


def words(rule):
    if isinstance(rule, Either):
        return [word for inner in rule.rules for word in words(inner)]
    return list(rule.words) if isinstance(rule, Options) else []


NUMBERS = {"reduction": 2}  # that choose another way to train, as words do
FEW = {"max_iter": 3, "n_estimators": 3}  # a third round of gradients, or tree, is read as the hundredth is


def variants(estimator):
    """Parameters to fit with: the defaults, each word of each option, and some numbers."""
    yield {}
    yield from ({name: value} for name, value in NUMBERS.items() if name in estimator.rules)
    for name, rule in estimator.rules.items():
        for word in words(rule):
            yield {name: word}


def tables(estimator):
    """Small dense, weighted, sparse and wide data; pairs of keys for those that read them."""
    rng = np.random.default_rng(0)
    if estimator.encoding_style == "keys":
        pairs = rng.integers(0, 12, size=(N_ROWS, 2))
        yield pairs, rng.random(N_ROWS), None
        yield pairs, rng.random(N_ROWS), rng.integers(0, 3, size=N_ROWS).astype(float)
        return
    X = rng.normal(size=(N_ROWS, 5))
    margin = X[:, 0] + rng.normal(size=N_ROWS)
    if estimator.task == "regression":
        y = many = np.exp(margin)
    else:
        y, many = margin > 0, np.digitize(margin, [-0.5, 0.5])
    weight = rng.integers(0, 3, size=N_ROWS).astype(float)
    wide = rng.normal(size=(N_ROWS, 40)) * (rng.random((N_ROWS, 40)) < 0.1)
    wide[:, 0] = X[:, 0]
    X = suited(X, estimator)  # the target is that of the numbers before
    yield X, y, None
    yield X, many, weight
    yield sp.csr_array(wide), y, weight


@cache
def recorded():
    """Steps with rows that they saw, one of each class, shape of state and kind of rows."""
    kept = {}

    def recording(update):
        def record(step, state, block):
            kind = (type(step), *((name, array.shape) for name, array in state.items()))
            kind += (block.sparse is None, block.weight is None)
            if block.n_rows == N_ROWS and kind not in kept:
                kept[kind] = (copy.deepcopy(step), copy_rows(block))
            return update(step, state, block)

        return record

    with pytest.MonkeyPatch.context() as patch:
        for step in step_classes():
            patch.setattr(step, "update", recording(step.update))
        for estimator in estimators().values():
            for params, (X, y, weight) in product(variants(estimator), tables(estimator)):
                if weight is not None and "sample_weight" not in inspect.signature(estimator.fit).parameters:
                    continue
                few = {name: number for name, number in FEW.items() if name in estimator.rules}
                if not {"learning_rate", "learning_rate_init", "batch_size"} & estimator.rules.keys():
                    few.pop("max_iter", None)
                with warnings.catch_warnings(), contextlib.suppress(DbmlError):
                    warnings.simplefilter("ignore")
                    estimator(**few, **params).fit(X, y, **({} if weight is None else {"sample_weight": weight}))
    return list(kept.values())


def part(rows, start, stop):
    block = copy_rows(rows, np.arange(start, stop))
    block.start = start
    return block


def state_of(step, *blocks):
    state = step.start()
    for block in blocks:
        step.update(state, block)
    return state


def magnitude(step, rows):
    """The largest sum of absolute values over small parts, of each array: what rounding errors are measured by."""
    states = [state_of(step, part(rows, start, start + 10)) for start in range(0, N_ROWS, 10)]
    return {name: np.max(sum(np.abs(state[name]) for state in states), initial=0.0) for name in states[0]}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), name


def test_every_step_class_is_run_by_an_estimator():
    missing = step_classes() - {type(step) for step, _ in recorded()}
    assert not missing, f"no fit of an estimator's options runs {missing}"


@settings(max_examples=10)
@given(st.lists(st.integers(60, N_ROWS), max_size=5))
def test_merge_law(cuts):
    """States are compared after merging them into that of 60 earlier rows: what a step measures from may differ."""
    edges = [60, *sorted(cuts), N_ROWS]
    for step, rows in recorded():
        if step.chained:
            continue
        merged = state_of(step, part(rows, 0, 60))
        whole = step.merge(copy.deepcopy(merged), state_of(step, part(rows, 60, N_ROWS)))
        later = step.start()
        for start, stop in pairwise(edges):
            later = step.merge(later, state_of(step, part(rows, start, stop)))
        found = step.merge(merged, later)
        if step.tolerance == 0:
            assert_same(found, whole)
            continue
        sizes = magnitude(step, rows)
        assert found.keys() == whole.keys()
        for name, array in whole.items():
            slack = step.tolerance * sizes[name]
            np.testing.assert_allclose(found[name], array, rtol=step.tolerance, atol=slack, err_msg=name)


def test_the_state_of_no_rows_is_neutral():
    for step, rows in recorded():
        if step.chained:
            continue
        state = state_of(step, rows)
        assert_same(step.merge(copy.deepcopy(state), step.start()), state)
        assert_same(step.merge(step.start(), copy.deepcopy(state)), state)


def test_same_bits_for_any_number_of_threads():
    for step, rows in recorded():
        blocks = [part(rows, start, min(start + 25, N_ROWS)) for start in range(0, N_ROWS, 25)]
        found = [
            LocalEngine(threads).run(iter([MemoryChunk(block) for block in blocks]), [copy.deepcopy(step)], Work())[0]
            for threads in (1, 2, 7)
        ]
        for state in found[1:]:
            assert_same(state, found[0])


def test_steps_leave_blocks_alone():
    for step, rows in recorded():
        block = part(rows, 0, N_ROWS)
        arrays = [block.X, block.y, block.weight, *(block.sparse or ())]
        for array in arrays:
            if array is not None:
                array.flags.writeable = True
        before = [None if array is None else array.copy() for array in arrays]
        step.update(step.start(), block)
        for array, copied in zip(arrays, before, strict=True):
            assert array is None or np.array_equal(array, copied), type(step).__name__


def test_tolerances_are_declared():
    for step in step_classes():
        assert 0.0 <= step.tolerance <= 1e-6, step
