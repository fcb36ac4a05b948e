"""Cross-validation over rows that are binned once: every fold, and every setting, trains on the same shards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dbml.estimators.trees.binning import Binning
from dbml.estimators.trees.boosting import Boosting, Rounds
from dbml.estimators.trees.sampling import Held
from dbml.passes.block import Floats
from dbml.passes.shards import Shards


def fold_losses(shards: Shards, binning: Binning, boosting: Boosting, n_folds: int, seed: int = 0) -> Floats:
    """Return the mean loss of the rows of each fold after each round of trees on the others.

    Parameters
    ----------
    shards : Shards
        Of `bin_rows`, made for the loss and the precision of `boosting`; training leaves the bins as they are.
    binning : Binning
        What the bins are.
    boosting : Boosting
        The setting; what it holds out itself is left aside, and all its rounds are run.
    n_folds, seed : int
        Folds of the rows, by a hash of their position.

    Returns
    -------
    ndarray of shape (n_folds, rounds)
        Where a fold has nothing left to split its last loss is repeated.
    """
    losses = np.empty((n_folds, boosting.rounds))
    for fold in range(n_folds):
        held = Held(1.0 / n_folds, fold / n_folds, seed)
        rounds = Rounds(shards, binning, replace(boosting, held=held, patience=boosting.rounds))
        rounds.begin(rounds.baseline())
        rounds.run(lambda number, loss, of_held: None)
        found = rounds.held_losses[1:]
        losses[fold] = found + [found[-1]] * (boosting.rounds - len(found))
    return losses
