"""Options of BigQuery for the model types that are here too: each works, or is refused with what to use instead."""

import pytest

from dbml.errors import InvalidParameter, UnknownOption
from dbml.estimators.bigquery_options import INSTEAD
from dbml.estimators.discovery import from_options

WORKS = {
    "linear_reg": {"optimize_strategy": "NORMAL_EQUATION", "l1_reg": 0.1, "l2_reg": 0.1, "fit_intercept": True},
    "logistic_reg": {
        "l1_reg": 0.1,
        "l2_reg": 0.1,
        "max_iterations": 5,
        "min_rel_progress": 0.01,
        "auto_class_weights": True,
        "class_weights": [("a", 1.0)],
        "fit_intercept": True,
        "warm_start": True,
    },
    "kmeans": {
        "num_clusters": 3,
        "kmeans_init_method": "KMEANS++",
        "distance_type": "EUCLIDEAN",
        "standardize_features": True,
        "max_iterations": 5,
        "early_stop": True,
        "min_rel_progress": 0.01,
    },
    "pca": {
        "num_principal_components": 2,
        "pca_explained_variance_ratio": 0.9,
        "scale_features": True,
        "pca_solver": "FULL",
    },
    "matrix_factorization": {
        "feedback_type": "IMPLICIT",
        "num_factors": 3,
        "user_col": "u",
        "item_col": "i",
        "wals_alpha": 40,
        "l2_reg": 0.1,
        "max_iterations": 5,
        "early_stop": False,
        "min_rel_progress": 0.01,
    },
    "dnn_classifier": {
        "activation_fn": "RELU",
        "batch_size": 10,
        "dropout": 0.1,
        "early_stop": True,
        "hidden_units": [3],
        "l2_reg": 0.1,
        "learn_rate": 0.1,
        "max_iterations": 5,
        "min_rel_progress": 0.01,
        "optimizer": "ADAM",
        "warm_start": False,
    },
    "boosted_tree_classifier": {
        "max_tree_depth": 3,
        "min_tree_child_weight": 1,
        "colsample_bynode": 0.5,
        "subsample": 0.5,
        "l2_reg": 0.1,
        "learn_rate": 0.1,
        "max_iterations": 5,
    },
    "random_forest_classifier": {"num_parallel_tree": 5, "max_tree_depth": 3, "subsample": 0.5},
}
REFUSED = {
    "linear_reg": ("learn_rate", "learn_rate_strategy", "early_stop", "ls_init_learn_rate", "calculate_p_values"),
    "logistic_reg": ("category_encoding_method", "enable_global_explain", "num_trials", "hparam_tuning_algorithm"),
    "kmeans": ("kmeans_init_col", "warm_start", "model_registry"),
    "dnn_classifier": ("l1_reg", "integrated_gradients_num_steps", "tf_version"),
    "boosted_tree_classifier": (
        "booster_type",
        "dart_normalize_type",
        "num_parallel_tree",
        "colsample_bytree",
        "colsample_bylevel",
        "min_split_loss",
        "tree_method",
        "l1_reg",
        "xgboost_version",
    ),
    "random_forest_classifier": ("tree_method", "l1_reg", "l2_reg", "early_stop", "min_rel_progress"),
}


@pytest.mark.parametrize(("model_type", "option"), [(t, option) for t in WORKS for option in WORKS[t]])
def test_an_option_works(model_type, option):
    from_options(model_type, {option: WORKS[model_type][option]})


@pytest.mark.parametrize(("model_type", "option"), [(t, option) for t in REFUSED for option in REFUSED[t]])
def test_an_option_is_refused_with_what_to_use_instead(model_type, option):
    with pytest.raises(UnknownOption) as refused:
        from_options(model_type, {option: 1})
    assert f"has no option '{option}'. Hint: {INSTEAD[option]} (options: " in str(refused.value)


def test_without_early_stop_all_iterations_run():
    assert from_options("kmeans", {"early_stop": False}).tol == 0.0
    for model_type in ("dnn_classifier", "SGDRegressor"):
        endless = from_options(model_type, {"early_stop": False})
        assert endless.tol is None
        assert from_options(model_type, {"early_stop": True}).get_params() == from_options(model_type, {}).get_params()
        with pytest.raises(InvalidParameter, match="early_stop must be TRUE or FALSE; got 1"):
            from_options(model_type, {"early_stop": 1})
    assert from_options("kmeans", {"early_stop": True, "min_rel_progress": 0.5}).tol == 0.5
    with pytest.raises(InvalidParameter, match="KMeans: early_stop must be TRUE or FALSE; got 'no'"):
        from_options("kmeans", {"early_stop": "no"})


BAD_VALUES = [
    ("LinearSVC", "l2_reg", 0, r"LinearSVC: l2_reg must be a finite number > 0; got 0"),
    ("LinearSVC", "l1_reg", "x", r"LinearSVC: l1_reg must be a finite number > 0; got 'x'"),
    ("LinearSVR", "l2_reg", float("nan"), r"LinearSVR: l2_reg must be a finite number > 0; got nan"),
    ("logistic_reg", "class_weights", "x", r"class_weights must be a list of pairs such as \('late', 2.0\); got 'x'"),
    ("SVC", "class_weights", [1, 2], r"SVC: class_weights must be a list of pairs"),
    ("MiniBatchKMeans", "kmeans_init_method", "x", r"^MiniBatchKMeans: kmeans_init_method must be 'KMEANS\+\+' or"),
    ("kmeans", "distance_type", "COSINE", r"^KMeans: distance_type must be 'EUCLIDEAN'; got 'COSINE'"),
]


@pytest.mark.parametrize(("model_type", "option", "value", "words"), BAD_VALUES)
def test_a_value_that_cannot_be_is_named(model_type, option, value, words):
    with pytest.raises(InvalidParameter, match=words):
        from_options(model_type, {option: value})
