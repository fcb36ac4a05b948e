"""What classifier and regressor by boosting share: hyperparameters, and the training from data to trees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dbml.errors import InvalidData, InvalidParameter, nearest
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.trees.binning import MOST_BINS, Binning, sample_rows
from dbml.estimators.trees.boosting import Boosting, Rounds, bin_rows
from dbml.estimators.trees.constraints import interaction_groups, monotonic_columns
from dbml.estimators.trees.derivatives import Precision
from dbml.estimators.trees.ensemble import Trees
from dbml.estimators.trees.folds import fold_losses
from dbml.estimators.trees.growth import GrowPolicy, Rules
from dbml.estimators.trees.losses import BoostingLoss
from dbml.estimators.trees.model import TreeModel
from dbml.estimators.trees.sampling import ALL_ROWS, Held, Sampling
from dbml.estimators.trees.symmetric import symmetric_depth
from dbml.params import Boolean, Either, Instance, Integer, Options, Real, Rule, check_params
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.shards import Shards

_STRATEGIES = {"bagging": "uniform"}  # LightGBM's words
_ENOUGH_ROWS = 10_000  # early_stopping='auto' holds rows out above that
_TREE_ROWS = 500_000  # sampling_method='auto' lets a tree grow from at least so many
_SHARED = ("loss", "quantile", "class_weight", "max_bins", "precision", "random_state", "warm_start")
_MOST_SAMPLED = 0.8  # a larger share of the rows costs what all of them do


class GradientBoosting(TreeModel):
    """Base of boosted trees."""

    rules: ClassVar[Mapping[str, Rule]] = {
        "learning_rate": Real(gt=0),
        "max_iter": Integer(ge=1),
        "max_leaf_nodes": Either((Options((None,)), Integer(ge=2))),
        "max_depth": Either((Options((None,)), Integer(ge=1))),
        "min_samples_leaf": Integer(ge=1),
        "min_child_weight": Real(ge=0),
        "l2_regularization": Real(ge=0),
        "max_features": Real(gt=0, le=1),
        "subsample": Real(gt=0, le=1),
        "sampling_method": Options(("auto", "uniform", "goss")),
        "top_rate": Real(gt=0, lt=1),
        "other_rate": Real(gt=0, lt=1),
        "precision": Options(("quantized", "float64")),
        "max_bins": Integer(ge=2, le=MOST_BINS),
        "grow_policy": Options(("leafwise", "depthwise", "symmetric")),
        "monotonic_cst": Either((Options((None,)), Instance((Mapping, list, tuple, np.ndarray), "a dict or a list"))),
        "interaction_cst": Either(
            (Options((None, "pairwise", "no_interactions")), Instance((list, tuple), "a list of sets of columns"))
        ),
        "warm_start": Boolean(),
        "early_stopping": Either((Options(("auto",)), Boolean())),
        "validation_fraction": Real(gt=0, lt=1),
        "n_iter_no_change": Integer(ge=1),
        "tol": Real(ge=0),
        "random_state": RANDOM_STATE_RULE,
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        "max_iterations": lambda value: {"max_iter": value},
        "learn_rate": lambda value: {"learning_rate": value},
        "l2_reg": lambda value: {"l2_regularization": value},
        "max_tree_depth": lambda value: {"max_depth": value},
        "min_tree_child_weight": lambda value: {"min_child_weight": value},
        "data_sample_strategy": lambda value: {"sampling_method": _STRATEGIES.get(value, value)},
        "colsample_bynode": lambda value: {"max_features": value},
        "early_stop": lambda value: {"early_stopping": value},
        "min_rel_progress": lambda value: {"tol": value},
    }

    learning_rate: float
    max_iter: int
    max_leaf_nodes: int | None
    max_depth: int | None
    min_samples_leaf: int
    min_child_weight: float
    l2_regularization: float
    max_features: float
    subsample: float
    sampling_method: str
    top_rate: float
    other_rate: float
    precision: Precision
    max_bins: int
    grow_policy: GrowPolicy
    monotonic_cst: Any
    interaction_cst: Any
    warm_start: bool
    early_stopping: bool | str
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    random_state: Any
    n_iter_: int
    train_score_: Floats
    validation_score_: Floats

    def _boosting_loss(self, data: Data) -> BoostingLoss:
        raise NotImplementedError

    def _class_weights(self, data: Data, weighted: bool) -> Floats | None:
        return None

    def _check_params(self) -> None:
        name = type(self).__name__
        if self.top_rate + self.other_rate > 1.0:
            raise InvalidParameter(
                f"{name}: top_rate + other_rate must be at most 1; got {self.top_rate} + {self.other_rate}"
            )
        if self.sampling_method == "goss" and self.subsample < 1.0:
            raise InvalidParameter(
                f"{name}: subsample must be 1.0 with sampling_method='goss', whose sample top_rate and other_rate "
                f"give; got {self.subsample}"
            )

    def _sampling(self, loss: BoostingLoss, n_rows: int) -> tuple[Sampling, str]:
        """Return which rows trees grow from, and why."""
        method = self.sampling_method
        if method == "uniform" or (method == "auto" and self.subsample < 1.0):
            return Sampling(self.subsample), f"subsample={self.subsample:g}"
        if method == "goss" and loss.quantile is not None:
            raise InvalidParameter(
                f"{type(self).__name__}: sampling_method must be 'uniform' (or 'auto') with this loss, whose gradients "
                "tell only on which side of its prediction a row is; got 'goss'"
            )
        share = self.top_rate + self.other_rate
        if method == "goss":
            return Sampling(top=self.top_rate, other=self.other_rate), "sampling_method='goss'"
        share, few = max(share, _TREE_ROWS / max(n_rows, 1)), share
        if share > _MOST_SAMPLED or loss.quantile is not None:
            return ALL_ROWS, "sampling_method='auto'"
        sampling = Sampling(top=self.top_rate * share / few, other=self.other_rate * share / few)
        return sampling, f"sampling_method='auto': {n_rows:,} rows are more than a tree needs"

    @property
    def do_early_stopping_(self) -> bool:
        """Whether rows were held out to end the training."""
        self._check_fitted()
        return self.validation_score_.size > 0

    @property
    def n_trees_per_iteration_(self) -> int:
        """Trees of a round: one, or one for each of more than two classes."""
        self._check_fitted()
        return int(self.baseline_.size)

    @property
    def is_categorical_(self) -> NDArray[np.bool_] | None:
        """Which columns are categories, shape (n_features_in_,); None where none is."""
        self._check_fitted()
        encoding = self.schema_.encoding
        categories = {feature.column for feature in encoding.features if feature.kind == "category"}
        return np.array([name in categories for name in encoding.columns]) if categories else None

    @property
    def _goes_on(self) -> bool:
        """Whether training continues with the trees there are."""
        return self.warm_start and "trees_" in vars(self)

    def _fit(self, data: Data) -> None:
        loss = self._boosting_loss(data)
        before = self._before(loss)
        with self._binned(data, loss, before) as (shards, binning, sampled):
            rounds = Rounds(shards, binning, self._boosting(data, loss, before))
            baseline = rounds.baseline() if before is None else self.baseline_
            rounds.begin(baseline if before is None else None)
            try:
                kept = rounds.run(self._report)
            except KeyboardInterrupt:
                done = len(rounds.trees) // loss.n_outputs
                if done:
                    fitted = self._fitted(rounds.trees, done, loss, baseline, before)
                    self._keep(**fitted, **self._scores(rounds, done, before))
                raise
            if rounds.n_held and kept == len(rounds.losses):
                rounds.complete_losses()
        scores = self._scores(rounds, kept, before)
        vars(self).update(self._fitted(rounds.trees, kept, loss, baseline, before), **scores)
        self._tell(data, loss, rounds, sampled)

    @contextmanager
    def _binned(self, data: Data, loss: BoostingLoss, before: Trees | None) -> Iterator[tuple[Shards, Binning, int]]:
        """Provide the rows as bins, what these are, and of how many rows they were learned."""
        sample = data.sample(sample_rows(data.schema.encoding), seed_of(self.random_state))
        if not sample.n_rows:
            raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows to learn from")
        binning = Binning.learn(sample, data.schema.encoding, self.max_bins, share=True)
        weighted, first_scores = sample.weight is not None, None if before is None else self._raw_block
        sampled = sample.n_rows
        del sample
        of_classes = self._class_weights(data, weighted)
        weighted |= of_classes is not None
        with bin_rows(data, binning, loss, weighted, of_classes, first_scores, self.precision) as shards:
            yield shards, binning, sampled

    def cross_val_losses(
        self,
        X: Any,
        y: Any = None,
        settings: Sequence[Mapping[str, Any]] = ({},),
        cv: int = 5,
        *,
        sample_weight: Any = None,
        con: Any = None,
        options: dict[str, Any] | None = None,
    ) -> Floats:
        """Return the held-out loss of some settings after each round, by folds; rows are read and binned once for all.

        Nothing of this model changes. Cost: one scan, and the rounds of ``len(settings) * cv`` trainings.

        Parameters
        ----------
        X, y, sample_weight, con, options
            As in `fit`.
        settings : sequence of dict
            Hyperparameters that differ from this model's. Those that decide what all trainings share may not differ:
            the loss, class weights, bins and their precision.
        cv : int
            Folds of the rows, by a hash of their position, with `random_state`.

        Returns
        -------
        ndarray of shape (n_settings, cv, max_iter)
            Mean loss of the rows of a fold after each round of trees on the others; where there is nothing left to
            split the last one is repeated, and beyond a setting's own `max_iter` it is NaN. Early stopping is left
            aside: ``losses.mean(axis=1)`` tells how many rounds are best.

        Raises
        ------
        InvalidParameter
            A hyperparameter that does not exist, is out of range, or may not differ; fewer than 2 folds.

        Examples
        --------
        >>> import numpy as np
        >>> from dbml import HistGradientBoostingRegressor
        >>> X = np.linspace(0.0, 1.0, 200).reshape(-1, 1)
        >>> model = HistGradientBoostingRegressor(max_iter=20)
        >>> losses = model.cross_val_losses(X, X[:, 0] ** 2, [{"learning_rate": 0.02}, {"learning_rate": 0.2}], cv=3)
        >>> losses.shape, int(losses.mean(axis=1)[:, -1].argmin())
        ((2, 3, 20), 1)
        """
        check_params(f"{type(self).__name__}.cross_val_losses", {"cv": Integer(ge=2)}, {"cv": cv})
        models = [self._differing(setting) for setting in settings]
        losses = np.full((len(models), cv, max((model.max_iter for model in models), default=0)), np.nan)

        def learn(data: Data) -> None:
            loss, seed = models[0]._boosting_loss(data), seed_of(self.random_state)
            with models[0]._binned(data, loss, None) as (shards, binning, _):
                for model, found in zip(models, losses, strict=True):
                    boosting = model._boosting(data, loss, None)
                    found[:, : model.max_iter] = fold_losses(shards, binning, boosting, cv, seed)

        if models:
            models[0]._train_on(X, y, sample_weight, con, options, None, learn)
        return losses

    def _differing(self, setting: Mapping[str, Any]) -> Self:
        """Return a model that differs in some hyperparameters."""
        own = self.get_params()
        for name in setting:
            if name not in own or name in _SHARED:
                may = [name for name in own if name not in _SHARED]
                raise InvalidParameter(
                    f"{type(self).__name__}: {name!r} cannot differ between settings{nearest(name, may)} "
                    f"(these can: {', '.join(may)})"
                )
        model = type(self)(**{**own, "warm_start": False, **setting})
        model._check_hyperparameters()
        return model

    def _tell(self, data: Data, loss: BoostingLoss, rounds: Rounds, sampled: int) -> None:
        """Say in the plan what was made of the rows."""
        binning, boosting, plan = rounds.binning, rounds.boosting, data.plan
        n_categories = int(binning.categorical.sum())
        bins = f"{binning.n_columns:,} columns of at most {self.max_bins} bins and one for missing values"
        bins += f", {n_categories:,} of categories" if n_categories else ""
        if binning.n_shared:
            bins += f", {binning.n_shared:,} shared by terms that rows rarely have together"
        plan = plan.decide("bins", f"{binning.n_terms:,} terms in {bins}", f"quantiles of {sampled:,} rows")
        shape = f"depth {symmetric_depth(boosting.rules)}" if self.grow_policy == "symmetric" else ""
        shape = shape or (f"at most {self.max_leaf_nodes} leaves" if self.max_leaf_nodes else "")
        policy = f"{self.trees_.n_trees:,} in {self.n_iter_:,} rounds, {self.grow_policy}"
        plan = plan.decide("trees", f"{policy}, {shape}" if shape else policy, f"loss: {loss.name}")
        if not boosting.sampling.whole:
            why = self._sampling(loss, data.n_rows)[1]
            plan = plan.decide("rows of a tree", str(boosting.sampling), why)
        if self.precision != "quantized":
            plan = plan.decide("gradients", self.precision, "precision")
        elif rounds.n_fine:
            reason = "11 bits of the largest one tell little of most others"
            plan = plan.decide("gradients", f"32 bits in {rounds.n_fine:,} rounds", reason)
        if rounds.n_held:
            grown = len(rounds.trees) // loss.n_outputs
            plan = plan.decide(
                "rows held out", f"{rounds.n_held:,}", f"their loss says how many of the {grown:,} new rounds to keep"
            )
        data.plan = plan

    def _boosting(self, data: Data, loss: BoostingLoss, before: Trees | None) -> Boosting:
        done = 0 if before is None else before.n_trees // loss.n_outputs
        seed = seed_of(self.random_state)
        return Boosting(
            loss,
            self._rules(data),
            self.grow_policy,
            self.learning_rate,
            self.max_iter - done,
            seed,
            Held(self.validation_fraction if self._stops_early(data) else 0.0, seed=seed),
            self._sampling(loss, data.n_rows)[0],
            self.precision,
            self.n_iter_no_change,
            self.tol,
            done,
        )

    def _fitted(
        self, trees: list[Trees], rounds: int, loss: BoostingLoss, baseline: Floats, before: Trees | None
    ) -> dict[str, Any]:
        """Return the fitted attributes of some rounds."""
        whole = Trees.joined(([] if before is None else [before]) + trees[: rounds * loss.n_outputs])
        done = whole.n_trees // loss.n_outputs
        return {"trees_": whole, "baseline_": baseline, "link_": loss.link, "n_iter_": done}

    def _scores(self, rounds: Rounds, kept: int, before: Trees | None) -> dict[str, Floats]:
        """Return scores of the rounds as attributes; a warm start adds them to those there are."""
        found = {}
        for name, scores in zip(("train_score_", "validation_score_"), rounds.scores(kept), strict=True):
            earlier = np.empty(0) if before is None else vars(self).get(name, np.empty(0))
            found[name] = np.concatenate([earlier, scores[1:]]) if earlier.size else scores
        return found

    def _staged(self, X: Any, con: Any) -> Iterator[Floats]:
        """Yield the sums of all rows of X after each round, shape (n, n_outputs), in one array that changes.

        X is read once: kept are the leaves of each row, 4 bytes a tree.
        """
        self._check_fitted()
        trees = self.trees_
        leaves = self._streamed(X, "leaves", trees.leaves, con)
        raw = np.tile(self.baseline_, (len(leaves), 1))
        for tree in range(trees.n_trees):
            raw[:, trees.outputs[tree]] += trees.value[leaves[:, tree], 0]
            if (tree + 1) % self.baseline_.size == 0:
                yield raw

    def _report(self, number: int, loss: float, held: float | None) -> None:
        self._iteration(number, loss=loss, **({} if held is None else {"validation_loss": held}))

    def _rules(self, data: Data) -> Rules:
        name = type(self).__name__
        return Rules(
            monotonic_columns(name, self.monotonic_cst, data.schema),
            self.max_leaf_nodes,
            self.max_depth,
            self.min_samples_leaf,
            self.min_child_weight,
            self.l2_regularization,
            groups=interaction_groups(name, self.interaction_cst, data.schema),
            columns_share=self.max_features,
        )

    def _stops_early(self, data: Data) -> bool:
        if self.early_stopping == "auto":
            return data.n_rows > _ENOUGH_ROWS
        return bool(self.early_stopping)

    def _before(self, loss: BoostingLoss) -> Trees | None:
        """Return the trees that a warm start goes on from."""
        if not self._goes_on:
            return None
        done = self.trees_.n_trees // loss.n_outputs
        if self.max_iter < done:
            raise InvalidParameter(
                f"{type(self).__name__}: max_iter must be at least the {done} iterations that warm_start=True goes on "
                f"from; got {self.max_iter}"
            )
        return self.trees_
