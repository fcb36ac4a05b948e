"""Platt's curves of linear machines: from what they say of rows of a sample that they were not trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dbml.estimators.base import Estimator
from dbml.estimators.design import times
from dbml.estimators.kernel_machines.exact import N_FOLDS
from dbml.estimators.kernel_machines.landmark_step import FeatureRows, PackedFeatures
from dbml.estimators.kernel_machines.landmarks import NystroemFeatures, rows_as_block
from dbml.estimators.kernel_machines.over_features import in_pieces
from dbml.estimators.kernel_machines.platt import fit_sigmoid
from dbml.estimators.kernel_machines.streamed import Machines, Solved, machine_objectives, machine_sample, silent
from dbml.estimators.solvers.held_rows import chosen_rows
from dbml.estimators.solvers.newton import newton
from dbml.estimators.solvers.objective import Objective
from dbml.estimators.solvers.run import Source, run
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data

_TOL, _MOST_STEPS = 1e-2, 50


def held_out_curves(
    model: Estimator, data: Data, features: NystroemFeatures | None, machines: Machines, solved: Solved, seed: int
) -> list[tuple[float, float]]:
    """Return A and B of Platt's curve for each machine, from decisions on rows of a sample held out of five folds.

    Each fold starts from the machine over all rows, which is near its own minimum. Without `features` machines are over
    the terms of the rows.
    """
    encoding = data.schema.encoding
    m, centre = encoding.n_terms, np.array(encoding.centre())
    if features is not None:
        m, centre = features.n_out, np.zeros(features.n_out)
    folds = _Folds(machine_sample(data, m, machines.share), features, seed)
    objectives = machine_objectives(type(model).__name__, m, centre, machines.losses[-1], machines)
    return [
        folds.curve(objective, objective.theta(coef, np.array([intercept])))
        for objective, coef, intercept in zip(objectives, solved.coef, solved.intercept, strict=True)
    ]


class _Folds:
    """Rows of a sample, dealt out to folds."""

    def __init__(self, sample: Block, features: NystroemFeatures | None, seed: int) -> None:
        self.sample, self.features = sample, features
        self.packed = None if features is None else PackedFeatures(features)
        self.fold = np.random.RandomState(seed).permutation(sample.n_rows) % N_FOLDS

    def curve(self, objective: Objective, start: Floats) -> tuple[float, float]:
        """Return A and B of one machine."""
        weight, target = objective.reading.weight(self.sample), objective.reading.target(self.sample)
        rows, decision = np.flatnonzero(weight > 0.0), np.zeros(self.sample.n_rows)
        for k in range(N_FOLDS):
            train, held = rows[self.fold[rows] != k], rows[self.fold[rows] == k]
            if len(np.unique(target[train])) < 2:
                decision[held] = np.sign(target[train].sum())
                continue
            moved = replace(objective, total_weight=float(weight.sum()))
            (found,) = run(
                self._source(chosen_rows(self.sample, train)), [moved], [newton([start], _TOL, _MOST_STEPS)], "", silent
            )
            coef, intercept, _ = moved.split(found.theta)
            decision[held] = times(self._terms(chosen_rows(self.sample, held)), coef[0], float(intercept[0]))
        return fit_sigmoid(decision[rows], target[rows] > 0.0, weight[rows])

    def _source(self, rows: Block) -> Source:
        held = in_pieces(rows)
        return held if self.packed is None else FeatureRows(held, self.packed)

    def _terms(self, rows: Block) -> Block:
        return rows if self.features is None else rows_as_block(self.features.features(rows))
