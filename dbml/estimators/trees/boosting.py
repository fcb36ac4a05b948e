"""Gradient boosting: rounds of trees over shards whose scores stay where the rows lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from dbml_kernels.bytes_copy import bytes_transpose
from dbml_kernels.folds import hash_mix
from numpy.typing import NDArray

from dbml.estimators.trees.binning import Binning
from dbml.estimators.trees.derivatives import (
    DERIVATIVES,
    Derivatives,
    Integers,
    Precision,
    bounds_of,
    exponents_of,
    too_small_for_words,
)
from dbml.estimators.trees.ensemble import Trees
from dbml.estimators.trees.growth import Grower, GrowPolicy, Rules
from dbml.estimators.trees.leaf_quantiles import leaf_quantiles
from dbml.estimators.trees.leaf_values import LeafValues
from dbml.estimators.trees.losses import BoostingLoss, weights_of
from dbml.estimators.trees.nodes import Flat, Node
from dbml.estimators.trees.sampling import ALL_ROWS, NO_ROWS, Draw, Held, Sampling
from dbml.estimators.trees.shard_rows import CopiedShards, ShardRows
from dbml.estimators.trees.symmetric import SymmetricGrower
from dbml.estimators.trees.team_growth import TeamGrower
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.shards import Arrays, Shard, Shards

_GRADIENTS = "trees: gradients, histogram of the root"
_COPIED_SHARE = 0.6  # rows of a larger sample are nearly as close together where they lie


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
        Of rounding, columns and samples; each round has its own, by its number.
    held : Held
        The rows that no tree learns from, for early stopping.
    sampling : Sampling
        Which of the others a tree grows from.
    precision : {"quantized", "float64"}
        Of the derivatives; "quantized" gives way to whole numbers of 32 bits in rounds where rows are very unlike.
    patience, tol : int, float
        Rounds without an improvement of the held-out loss by more than `tol` that end the training.
    done : int
        Rounds of a warm start: those that follow draw what they would have drawn in a training at once.
    """

    loss: BoostingLoss
    rules: Rules
    policy: GrowPolicy
    learning_rate: float
    rounds: int
    seed: int
    held: Held = NO_ROWS
    sampling: Sampling = ALL_ROWS
    precision: Precision = "quantized"
    patience: int = 10
    tol: float = 1e-7
    done: int = 0


def bin_rows(
    data: Data,
    binning: Binning,
    loss: BoostingLoss,
    weighted: bool,
    class_weight: Floats | None,
    first_scores: Callable[[Block], Floats] | None,
    precision: Precision = "quantized",
) -> Shards:
    """Return the rows as shards: bins by row and by column; y, weights and what training changes are resident.

    Several trainings may use them one after the other: `Rounds.begin` starts anew.

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
        more = {"order": np.empty(len(bins), np.int32), **derivatives.room(loss, len(bins))}
        columns = np.empty(bins.shape[::-1], np.uint8)
        bytes_transpose(bins.reshape(-1), 0, *bins.shape, columns.reshape(-1), 0, len(bins))
        return {**arrays, **more, "columns": columns, "scores": np.ascontiguousarray(first.T)}

    derivatives = DERIVATIVES[precision]
    resident = {"y", "order", "scores", *derivatives.arrays}
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

    Attributes
    ----------
    trees : list of Trees
        What was grown, a tree each.
    n_held, n_fine : int
        Rows that are held out; rounds whose derivatives words could not tell.
    losses, held_losses : list of float
        Mean loss of all rows, and of those held out, after 0, 1, … rounds; the first list may lack the last one.
    """

    def __init__(self, shards: Shards, binning: Binning, boosting: Boosting) -> None:
        self.shards, self.binning, self.boosting = shards, binning, boosting
        self.trees: list[Trees] = []
        self.losses: list[float] = []
        self.held_losses: list[float] = []
        self.n_fine = 0
        self._held_weight = 0.0
        self._usual = DERIVATIVES[boosting.precision](boosting.loss, boosting.sampling.factor, shards.n_rows)
        self._use(self._usual)
        self._unlike = False  # the weights
        self._pending: Callable[[Shard], None] | None = None
        self._sizes = np.zeros(len(shards), np.int64)

    def _use(self, derivatives: Derivatives) -> None:
        """Grow from derivatives of this kind from now on."""
        boosting = self.boosting
        self._derivatives, self._histograms = derivatives, derivatives.histograms(self.binning.n_columns)
        self._copies = self._room_for_copies()
        self._rows_of: Callable[[Shard], ShardRows] = self._copies or ShardRows
        self._grower = self._kind_of_grower()(
            self.shards, self.binning, boosting.rules, boosting.policy, self._histograms, self._rows_of
        )

    def _kind_of_grower(self) -> type[Grower]:
        policy = self.boosting.policy
        if policy == "symmetric":
            return SymmetricGrower
        return TeamGrower if TeamGrower.suits(self.shards, self.boosting.rules, policy, self._histograms) else Grower

    def _room_for_copies(self) -> CopiedShards | None:
        """Return room to copy the rows of each sample together, None where rows are not sampled or memory is short."""
        sampling, arrays = self.boosting.sampling, self._derivatives.arrays
        if sampling.share >= _COPIED_SHARE or self.boosting.loss.quantile is not None:
            return None
        words = sum(np.dtype(kind).itemsize for kind in arrays.values()) * self.boosting.loss.n_outputs
        of_row = 2 * self.binning.n_columns + words + 4
        if 1.1 * sampling.share * self.shards.n_rows * of_row > self.shards.spare:
            return None
        return CopiedShards(self.shards, self.binning.n_columns, sampling.share, tuple(arrays))

    def baseline(self) -> Floats:
        """Return the best constant scores of the rows that are not held out."""
        return self.boosting.loss.baseline(self.shards, self.boosting.held.others)

    def begin(self, baseline: Floats | None) -> None:
        """Set all scores to the baseline (None: they are set), and hold rows out."""
        found = self.shards.each(lambda shard: self._begin(shard, baseline), "trees: start")
        self._heaviest = max((heaviest for heaviest, *_ in found), default=1.0)
        self._weight = sum(weight for _, weight, *_ in found)
        self.n_held = sum(n_held for _, _, n_held, _ in found)
        exponents = np.sum([counts for *_, counts in found], axis=0)
        self._unlike = bool(found) and too_small_for_words((self._heaviest,) * 2, np.array([exponents] * 2))

    def _begin(self, shard: Shard, baseline: Floats | None) -> tuple[float, float, int, NDArray[np.int64]]:
        self._derivatives.move_in(shard)
        own = shard.resident
        if baseline is not None:
            own["scores"][:] = baseline[:, None]
        own.pop("held", None)
        n_held = 0
        if self._holds_out:
            own["held"] = self.boosting.held.find(shard)
            n_held = own["held"].size
        w = weights_of(own)
        if not w.size:
            return 1.0, float(shard.n_rows), n_held, exponents_of(w)
        return float(w.max(initial=0.0)), float(w.sum()), n_held, exponents_of(w)

    @property
    def _holds_out(self) -> bool:
        return self.boosting.held.share > 0.0

    def run(self, report: Callable[[int, float, float | None], None]) -> int:
        """Run the rounds; return how many of them to keep. `report` gets number, training loss, held-out loss."""
        boosting = self.boosting
        best, kept = np.inf, 0
        if self._holds_out:
            self.held_losses.append(self._held_loss())
            best = self.held_losses[0] if boosting.done else np.inf
        for number in range(1, boosting.rounds + 1):
            self.losses.append(self._round(number))
            held = None
            if self._holds_out:
                held = self._held_loss()
                self.held_losses.append(held)
            report(number, self.losses[-1], held)
            if held is None or held < best - boosting.tol:
                best, kept = held if held is not None else best, number
            elif number - kept >= boosting.patience:
                break
            if all(tree.term.size == 1 for tree in self.trees[-boosting.loss.n_outputs :]):
                break  # there is nothing left to split
        return kept

    def complete_losses(self) -> None:
        """Add the loss after the last round to `losses`."""

        def work(shard: Shard) -> float:
            self._catch_up(shard)
            own = shard.resident
            return self.boosting.loss.total(own["scores"], own["y"], weights_of(own))

        found = self.shards.each(work, "trees: loss after the last round")
        self._pending = None
        self.losses.append(float(sum(found)) / max(self._weight, 1e-300))

    def scores(self, kept: int) -> tuple[Floats, Floats]:
        """Return the opposite of the mean loss of rows that trees grow from, and of those held out.

        After 0, 1, … `kept` rounds, as far as it is known; empty where no rows are held out.
        """
        n = min(kept + 1, len(self.losses), len(self.held_losses))
        if not n:
            return np.empty(0), np.empty(0)
        losses, held = np.array(self.losses[:n]), np.array(self.held_losses[:n])
        share = self._held_weight / max(self._weight, 1e-300)
        return -(losses - share * held) / max(1.0 - share, 1e-300), -held

    def _round(self, number: int) -> float:
        """Grow a tree for each output; return the mean loss before the round."""
        n_outputs = self.boosting.loss.n_outputs
        seed = int(hash_mix(self.boosting.done + number, self.boosting.seed)) & 0x7FFFFFFF
        draw = Draw(self.boosting.sampling, self.boosting.held, seed)
        steps = self._take(*self._bounds())
        total = self._rank(draw, seed) if self.boosting.sampling.top is not None else 0.0
        for output in range(n_outputs):
            sums, loss = self._start(output, draw, seed)
            total += loss
            begins = np.zeros(len(self.shards), np.int64)
            root = self._grower.grow(sums, begins, self._sizes, steps, output, seed + output)
            self._keep(root, output)
        return total / max(self._weight, 1e-300)

    # gradients -------------------------------------------------------------------------------------------------

    def _bounds(self) -> tuple[tuple[float, float], bool]:
        """Return the largest gradient and hessian, and whether words would tell little of the others."""
        bound = self.boosting.loss.bound
        if bound is not None:
            return (bound[0] * self._heaviest, bound[1] * self._heaviest), self._unlike
        if not self._needs_bounds:
            return (1.0, 1.0), False
        found = self.shards.each(self._bound, "trees: largest gradient")
        self._pending = None
        most = max(g for g, _, _ in found), max(h for _, h, _ in found)
        return most, too_small_for_words(most, reduce(np.add, [counts for *_, counts in found]))

    @property
    def _needs_bounds(self) -> bool:
        """Whether derivatives are rounded or ranked."""
        return self.boosting.precision == "quantized" or self.boosting.sampling.top is not None

    def _bound(self, shard: Shard) -> tuple[float, float, NDArray[np.int64]]:
        self._catch_up(shard)
        return bounds_of(self.boosting.loss, shard, self.shards.n_rows)

    def _take(self, bound: tuple[float, float], unlike: bool) -> Floats:
        """Choose the kind of derivatives of a round; return their units."""
        unlike &= self.boosting.precision == "quantized"
        self.n_fine += unlike
        if unlike != isinstance(self._derivatives, Integers):
            n_rows = self.shards.n_rows
            self._use(Integers(self.boosting.loss, self.boosting.sampling.factor, n_rows) if unlike else self._usual)
            self.shards.each(self._derivatives.move_in, "trees: room for gradients")
        return self._derivatives.steps(bound)

    def _rank(self, draw: Draw, seed: int) -> float:
        """Write all derivatives, and find out which of them are large; return the loss."""

        def work(shard: Shard) -> float:
            self._catch_up(shard)
            return self._derivatives.write(shard, seed)

        losses = self.shards.each(work, _GRADIENTS)
        self._pending = None
        draw.rank(self.shards, self._derivatives, "trees: sizes of gradients")
        return float(sum(losses))

    def _start(self, output: int, draw: Draw, seed: int) -> tuple[Floats, float]:
        """Start a tree: derivatives (for the first output), rows, histogram of the root; return that and the loss."""
        ranked = draw.sampling.top is not None
        sizes = self._sizes.copy()

        def draw_rows(shard: Shard) -> float:
            self._catch_up(shard)
            loss = self._derivatives.write(shard, seed) if not ranked else 0.0
            sizes[shard.number] = draw.write(shard, self._derivatives)
            return loss

        def add(shard: Shard) -> float:
            number, loss = shard.number, 0.0
            if self._copies is not None:
                self._copies(shard).number()
            elif output == 0:
                loss = draw_rows(shard)
            else:  # growing shuffled the rows among themselves
                self._catch_up(shard)
                shard.resident["order"][: sizes[number]].sort()
            rows, size = self._rows_of(shard), int(sizes[number])
            with self._histograms.filling(number) as buffer:
                if size == rows.n_rows:
                    buffer.add_all(rows, output)
                else:
                    buffer.add(rows, output, np.array([0]), np.array([size]))
            return loss

        losses, shards = [0.0], list(range(len(self.shards)))
        if self._copies is not None:
            shards = self._copies.standing
            if output == 0:
                losses = self.shards.each(draw_rows, _GRADIENTS)
                sizes = self._copies.take(sizes, _GRADIENTS)
            else:
                self.shards.each(self._catch_up, _GRADIENTS)
        self._histograms.need(1, shards)
        losses += self.shards.each(add, _GRADIENTS, only=shards)
        self._pending, self._sizes = None, sizes
        return self._histograms.drain(1)[0], float(sum(losses))

    # scores ----------------------------------------------------------------------------------------------------

    def _keep(self, root: Node, output: int) -> None:
        """Store a grown tree; its values are added to the scores of a shard when that is next worked on."""
        rate, flat = self.boosting.learning_rate, Flat.of(root, self.binning)
        values = rate * self._grower.values(flat.nodes)
        level, monotonic = self.boosting.loss.quantile, self.boosting.rules.monotonic
        if level is not None:
            values[flat.leaves] = rate * leaf_quantiles(self.shards, flat, self._sizes, level, monotonic)
        self.trees.append(flat.trees(values, self.binning, output))
        copied = self._copies is not None
        self._pending = LeafValues(flat, values, output, self.binning.n_columns, self._sizes, copied).add_to

    def _catch_up(self, shard: Shard) -> None:
        if self._pending is not None:
            self._pending(shard)

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
        total, self._held_weight = map(float, found.sum(axis=0))
        return total / max(self._held_weight, 1e-300)
