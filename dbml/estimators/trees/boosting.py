"""Gradient boosting: rounds of trees over shards whose scores stay where the rows lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from dbml_kernels.folds import folds_assign, hash_mix
from dbml_kernels.tree_gradients import (
    GRADIENT_STEPS,
    HESSIAN_STEPS,
    gradients_bound,
    gradients_quantize,
    softmax_quantize,
)
from dbml_kernels.tree_rows import bins_leaves_add, leaves_add, rows_number
from numpy.typing import NDArray

from dbml.estimators.trees.binning import Binning
from dbml.estimators.trees.ensemble import Trees
from dbml.estimators.trees.growth import Grower, GrowPolicy, Rules
from dbml.estimators.trees.histograms import Buffers
from dbml.estimators.trees.losses import BoostingLoss, leaf_quantiles, weights_of
from dbml.estimators.trees.nodes import Flat, Node
from dbml.estimators.trees.symmetric import SymmetricGrower
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.shards import Arrays, Shard, Shards

_SLICES = 1 << 20  # of rows, by hash: what is held out is a share of them


@dataclass(frozen=True)
class Boosting:
    """How rounds are made.

    Attributes
    ----------
    loss : BoostingLoss
        What trees lower.
    rules : Rules
        When nodes are split.
    policy : {"leafwise", "depthwise", "symmetric"}
        Which nodes are split next.
    learning_rate : float
        What a tree's values are multiplied by.
    rounds : int
        Most rounds; one tree for each output in a round.
    seed : int
        Of rounding, columns and held-out rows.
    held_share : float
        Share of the rows that no tree learns from, for early stopping; 0 for none.
    patience, tol : int, float
        Rounds without an improvement of the held-out loss by more than `tol` that end the training.
    """

    loss: BoostingLoss
    rules: Rules
    policy: GrowPolicy
    learning_rate: float
    rounds: int
    seed: int
    held_share: float = 0.0
    patience: int = 10
    tol: float = 1e-7


def bin_rows(
    data: Data,
    binning: Binning,
    loss: BoostingLoss,
    weighted: bool,
    class_weight: Floats | None,
    first_scores: Callable[[Block], Floats] | None,
) -> Shards:
    """Return the rows as shards: bins by row and by column; y, weights and what training changes are resident.

    `first_scores` gives the scores (n, n_outputs) of a block to begin with; None: `Rounds.begin` sets them.
    """

    def make(block: Block) -> Arrays:
        assert block.y is not None
        made: Arrays = {"bins": binning.bins_of(block)}
        made["y"] = 2.0 * block.y - 1.0 if loss.link == "logistic" else block.y.copy()
        if class_weight is not None:
            of_rows = class_weight[block.y.astype(np.intp)]
            made["weight"] = of_rows if block.weight is None else of_rows * block.weight
        elif block.weight is not None:
            made["weight"] = block.weight.copy()
        if first_scores is not None:
            made["first"] = first_scores(block)
        return made

    def finish(arrays: Arrays) -> Arrays:
        bins, first = arrays["bins"], arrays.pop("first", np.zeros((len(arrays["bins"]), loss.n_outputs)))
        more = {name: np.empty(len(bins), np.int32) for name in ("order",)}
        more["words"] = np.empty((loss.n_outputs, len(bins)), np.int32)
        columns = np.ascontiguousarray(bins.T)
        return {**arrays, **more, "columns": columns, "scores": np.ascontiguousarray(first.T)}

    resident = {"y", "words", "order", "scores"}
    if weighted:
        resident.add("weight")
    return data.derive(make, finish=finish, resident=resident, purpose="trees: bins of all rows")


class Rounds:
    """Rounds of boosting over binned rows.

    Parameters
    ----------
    shards : Shards
        Of `bin_rows`.
    binning : Binning
        What the bins are.
    boosting : Boosting
        How.
    """

    def __init__(self, shards: Shards, binning: Binning, boosting: Boosting) -> None:
        self.shards, self.binning, self.boosting = shards, binning, boosting
        self.trees: list[Trees] = []
        grower = SymmetricGrower if boosting.policy == "symmetric" else Grower
        self._grower = grower(shards, binning, boosting.rules, boosting.policy)
        self._root = Buffers(binning.n_columns)
        self._root.need(1)
        self._pending: Callable[[Shard], None] | None = None

    def begin(self, baseline: Floats | None) -> None:
        """Set all scores to the baseline (None: they are set), and hold rows out."""
        found = self.shards.each(lambda shard: self._begin(shard, baseline), "trees: start")
        self._sizes = np.array([size for size, _, _ in found], np.int64)
        self._heaviest = max((heaviest for _, heaviest, _ in found), default=1.0)
        self._weight = sum(weight for _, _, weight in found)

    def _begin(self, shard: Shard, baseline: Floats | None) -> tuple[int, float, float]:
        own = shard.resident
        if baseline is not None:
            own["scores"][:] = baseline[:, None]
        size = shard.n_rows
        if self.boosting.held_share > 0.0:
            slices = np.empty(shard.n_rows, np.int64)
            folds_assign(shard.start, _SLICES, self.boosting.seed, slices)
            held = slices < self.boosting.held_share * _SLICES
            own["held"], own["kept"] = (np.flatnonzero(rows).astype(np.int32) for rows in (held, ~held))
            size = own["kept"].size
        w = weights_of(own)
        return size, float(w.max(initial=0.0)) if w.size else 1.0, float(w.sum()) if w.size else float(shard.n_rows)

    def run(self, report: Callable[[int, float, float | None], None]) -> int:
        """Run the rounds; return how many of them to keep. `report` gets number, training loss, held-out loss."""
        boosting = self.boosting
        best, kept = np.inf, 0
        for number in range(1, boosting.rounds + 1):
            loss = self._round(number)
            held = self._held_loss() if boosting.held_share > 0.0 else None
            report(number, loss, held)
            if held is None or held < best - boosting.tol:
                best, kept = held if held is not None else best, number
            elif number - kept >= boosting.patience:
                break
            if all(tree.term.size == 1 for tree in self.trees[-boosting.loss.n_outputs :]):
                break  # there is nothing left to split
        return kept

    def _round(self, number: int) -> float:
        """Grow a tree for each output; return the mean loss before the round."""
        n_outputs = self.boosting.loss.n_outputs
        seed = int(hash_mix(number, self.boosting.seed)) & 0x7FFFFFFF
        steps = self._steps()
        total = 0.0
        for output in range(n_outputs):
            sums, loss = self._start(output, steps, seed)
            total += loss
            begins = np.zeros(len(self.shards), np.int64)
            root = self._grower.grow(sums, begins, self._sizes, steps, output, seed + output)
            self._keep(root, output)
        return total / max(self._weight, 1e-300)

    # gradients -------------------------------------------------------------------------------------------------

    def _steps(self) -> Floats:
        """Return the units of the words: the largest gradient and hessian, over the steps they are rounded to."""
        bound = self.boosting.loss.bound
        if bound is None:
            found = self.shards.each(self._bound, "trees: largest gradient")
            self._pending = None
            bound = (max(g for g, _, _ in found), max(h for _, h, _ in found))
        else:
            bound = (bound[0] * self._heaviest, bound[1] * self._heaviest)
        return np.maximum(bound, 1e-300) / np.array([GRADIENT_STEPS, HESSIAN_STEPS])

    def _bound(self, shard: Shard) -> tuple[float, float, float]:
        self._catch_up(shard)
        loss, own = self.boosting.loss, shard.resident
        return gradients_bound(loss.code, loss.a, own["scores"][0], own["y"], weights_of(own))

    def _start(self, output: int, steps: Floats, seed: int) -> tuple[Floats, float]:
        """Start a tree: words of all rows (before the first output), order, histogram of the root; return that."""

        def work(shard: Shard) -> float:
            self._catch_up(shard)
            loss = self._quantize(shard, steps, seed) if output == 0 else 0.0
            own = shard.resident
            run = None
            if "kept" in own:
                run = (0, own["kept"].size)
                own["order"][: run[1]] = own["kept"]
            else:
                rows_number(own["order"])
            buffer = self._root.take()
            try:
                buffer.add(0, shard, output, run)
            finally:
                self._root.give(buffer)
            return loss

        losses = self.shards.each(work, "trees: gradients, histogram of the root")
        self._pending = None
        return self._root.drain(1)[0], float(sum(losses))

    def _quantize(self, shard: Shard, steps: Floats, seed: int) -> float:
        loss, own = self.boosting.loss, shard.resident
        units = (float(steps[0]), float(steps[1]))
        scores, y, w, words = own["scores"], own["y"], weights_of(own), own["words"]
        if loss.n_outputs > 1:
            return softmax_quantize(scores, y, w, shard.start, seed, *units, words)
        return gradients_quantize(loss.code, loss.a, scores[0], y, w, shard.start, seed, *units, words[0])

    # scores ----------------------------------------------------------------------------------------------------

    def _keep(self, root: Node, output: int) -> None:
        """Store a grown tree; its values are added to the scores of a shard when that is next worked on."""
        rate, flat = self.boosting.learning_rate, Flat.of(root, self.binning)
        values = np.array([rate * self._grower.value(node) for node in flat.nodes])
        at = np.flatnonzero(flat.left < 0)
        begins = np.array([flat.nodes[number].begins for number in at])
        ends = np.array([flat.nodes[number].ends for number in at])
        if self.boosting.loss.quantile is not None:
            values[at] = rate * self._leaf_quantiles(begins, ends, self.boosting.loss.quantile)
        tree = flat.trees(values, self.binning, output)
        self.trees.append(tree)

        def catch_up(shard: Shard) -> None:
            own, number = shard.resident, shard.number
            scores = own["scores"][output]
            runs = (np.ascontiguousarray(bounds[:, number]) for bounds in (begins, ends))
            leaves_add(own["order"], *runs, values[at], scores)
            if "held" in own:
                bins, width = shard.read("bins").reshape(-1), self.binning.n_columns
                walked = (flat.column, flat.left, flat.goes_left, values)
                bins_leaves_add(bins, width, own["held"], *walked, scores)

        self._pending = catch_up

    def _catch_up(self, shard: Shard) -> None:
        if self._pending is not None:
            self._pending(shard)

    def _leaf_quantiles(self, begins: NDArray[np.int64], ends: NDArray[np.int64], level: float) -> Floats:
        """Return the quantile of the residuals of each leaf."""
        by_place = np.argsort(begins.sum(axis=1) + ends.sum(axis=1), kind="stable")

        def work(shard: Shard) -> tuple[Floats, Floats]:
            own = shard.resident
            rows = own["order"][: self._sizes[shard.number]]
            w = weights_of(own)
            return own["y"][rows] - own["scores"][0][rows], w[rows] if w.size else np.ones(rows.size)

        parts = self.shards.each(work, "trees: quantiles of the leaves")
        runs = [np.append(begins[by_place, number], ends[by_place[-1], number]) for number in range(len(parts))]
        found = np.empty(by_place.size)
        found[by_place] = leaf_quantiles(parts, runs, level)
        return found

    def _held_loss(self) -> float:
        """Return the mean loss of the held-out rows."""

        def work(shard: Shard) -> tuple[float, float]:
            self._catch_up(shard)
            own = shard.resident
            held, w = own["held"], weights_of(own)
            w = w[held] if w.size else np.ones(held.size)
            return self.boosting.loss.total(own["scores"][:, held], own["y"][held], w), float(w.sum())

        found = np.array(self.shards.each(work, "trees: loss of the held-out rows"))
        self._pending = None
        total, weight = found.sum(axis=0)
        return float(total / max(weight, 1e-300))
