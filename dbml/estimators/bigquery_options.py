"""Options that BigQuery has and a model type here does not: what to use instead.

An option of a model type stands in its `sql_options`; only the others are looked up here, by their name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dbml.errors import InvalidParameter

_SEARCH = "GridSearchCV in Python searches hyperparameters, and LassoCV, RidgeCV and ElasticNetCV find their penalty"
_OF_THE_CLOUD = "that is about Google's cloud; leave it out"
_STEPS = "the solver finds its own steps; leave it out, or train with SGDClassifier or SGDRegressor"
_BY_TOLERANCE = "leave it out: where a model iterates, tol says when it ends"
_EXPLAINED = "leave it out: ML.GLOBAL_EXPLAIN needs no preparation"
_BY_NODE = "colsample_bynode draws columns for each split"

INSTEAD = {
    "approx_global_feature_contrib": _EXPLAINED,
    "booster_type": "boosted trees are gbtree; leave it out",
    "calculate_p_values": "there are no p-values; ML.PERMUTATION_IMPORTANCE tells which columns matter",
    "category_encoding_method": "categories become what their model needs; ML.FEATURE_INFO shows it",
    "colsample_bylevel": _BY_NODE,
    "colsample_bytree": _BY_NODE,
    "dart_normalize_type": "boosted trees are gbtree; leave it out",
    "early_stop": _BY_TOLERANCE,
    "enable_global_explain": _EXPLAINED,
    "hparam_tuning_algorithm": _SEARCH,
    "hparam_tuning_objectives": _SEARCH,
    "integrated_gradients_num_steps": "ML.PERMUTATION_IMPORTANCE explains networks",
    "kmeans_init_col": "kmeans_init_method = 'KMEANS++'; in Python, init takes an array of centres",
    "kms_key_name": _OF_THE_CLOUD,
    "l1_reg": "this model type has no l1 penalty; l2_reg where it has one",
    "l2_reg": "this model type has no l2 penalty; leave it out",
    "learn_rate": _STEPS,
    "learn_rate_strategy": _STEPS,
    "ls_init_learn_rate": _STEPS,
    "max_parallel_trials": _SEARCH,
    "min_rel_progress": "this model type has no iterations that could end early; leave it out",
    "min_split_loss": "min_tree_child_weight or max_tree_depth; of forests min_impurity_decrease",
    "model_registry": _OF_THE_CLOUD,
    "num_parallel_tree": "boosting grows a tree a round; random_forest_classifier and _regressor grow several",
    "num_trials": _SEARCH,
    "optimize_strategy": "the solver is chosen by the data; in Python, solver names it",
    "tf_version": _OF_THE_CLOUD,
    "tree_method": "trees are always grown on histograms; leave it out",
    "vertex_ai_model_id": _OF_THE_CLOUD,
    "vertex_ai_model_version_aliases": _OF_THE_CLOUD,
    "warm_start": "leave it out: CREATE OR REPLACE MODEL trains anew",
    "xgboost_version": _OF_THE_CLOUD,
}


def early_stop(value: Any, endless: float | None = 0.0) -> dict[str, Any]:
    """Return the hyperparameters of ``early_stop`` where iterations end by a tolerance; `endless` ends none early."""
    if not isinstance(value, bool):
        raise InvalidParameter(f"early_stop must be TRUE or FALSE; got {value!r}")
    return {} if value else {"tol": endless}


def early_stop_of_epochs(value: Any) -> dict[str, Any]:
    """Return the hyperparameters of ``early_stop`` where losses of epochs may rise: only None ends none early."""
    return early_stop(value, None)


def inverse_penalty(option: str, penalty: str | None = None) -> Callable[[Any], dict[str, Any]]:
    """Return what turns the weight of a penalty into ``C``, its inverse, and names the penalty where there are two."""

    def hyperparameters(value: Any) -> dict[str, Any]:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < float("inf"):
            raise InvalidParameter(f"{option} must be a finite number > 0; got {value!r}")
        return {"C": 1.0 / value} | ({} if penalty is None else {"penalty": penalty})

    return hyperparameters
