"""scikit-learn's own checks, on every estimator that is found; and its tools with ours inside."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils._test_common.instance_generator import INIT_PARAMS, PER_ESTIMATOR_XFAIL_CHECKS
from sklearn.utils.estimator_checks import estimator_checks_generator
from suited import suited

from dbml.estimators.discovery import estimators
from dbml.params import Real

FOUND = estimators()

# What scikit-learn declares for its own estimators of the same name, read from where it declares it.
DECLARED = {kind.__name__: checks for kind, checks in PER_ESTIMATOR_XFAIL_CHECKS.items() if isinstance(checks, dict)}
SETTINGS = {kind.__name__: settings for kind, settings in INIT_PARAMS.items() if isinstance(settings, dict)}
SETTINGS |= {name: {"max_iter": 40} for name in ("MLPClassifier", "MLPRegressor", "NMF")}  # fewer still
SETTINGS["HuberRegressor"] = {}  # takes more steps than 5 to the minimum, which a check counts on


def _short(kind):
    """Return an estimator that trains as few rounds, trees and folds as scikit-learn's own checks let its own train."""
    few = {"alphas": 10, **SETTINGS.get(kind.__name__, {})}
    names = {name for name in ("max_iter", "n_estimators", "cv", "alphas") if name in kind.rules and name in few}
    return kind(**{name: few[name] for name in names})


def _checks():
    for name, estimator in FOUND.items():
        seen = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            generated = list(estimator_checks_generator(_short(estimator), legacy=True))
        for model, check in generated:
            label = getattr(check, "__name__", None) or check.func.__name__
            seen[label] = seen.get(label, 0) + 1
            declared = DECLARED.get(name, {}).get(label)
            marks = [pytest.mark.xfail(reason=declared, strict=False)] if declared else []
            yield pytest.param(model, check, id=f"{name}-{label}-{seen[label]}", marks=marks)


@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings on purpose, and fit few iterations
@pytest.mark.parametrize(("estimator", "check"), list(_checks()))
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def _table(name):
    if FOUND[name].task == "classification":
        return make_classification(200, 5, random_state=0)
    X, y = make_regression(200, 5, noise=1.0, random_state=0)
    return X, np.abs(y) / 100 + 0.1  # positive and small: what every loss takes


@pytest.mark.filterwarnings("ignore::dbml.errors.ConvergenceWarning")
@pytest.mark.parametrize("name", [name for name, kind in FOUND.items() if kind.encoding_style != "keys"])
def test_ours_work_inside_pipelines_searches_and_cross_validation(name):
    X, y = _table(name)
    fitting = FunctionTransformer(suited, kw_args={"estimator": FOUND[name]})
    model = make_pipeline(StandardScaler(), fitting, _short(FOUND[name]))
    if FOUND[name].task == "none":
        model.fit(X)
        asked = next(name for name in ("predict", "transform", "kneighbors_graph") if hasattr(model[-1], name))
        made = model[-1].kneighbors_graph(model[0].transform(X)) if "graph" in asked else getattr(model, asked)(X)
        assert made.shape[0] == 200
        return
    scores = cross_val_score(model, X, y, cv=3)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()
    numeric = [n for n, rule in FOUND[name].rules.items() if isinstance(rule, Real) and n in ("alpha", "C", "tol")]
    if numeric:
        step = model.steps[-1][0]
        default = getattr(FOUND[name](), numeric[0])
        search = GridSearchCV(model, {f"{step}__{numeric[0]}": [default, default * 0.5]}, cv=2, error_score="raise")
        assert search.fit(X, y).best_score_ > -np.inf
        assert search.best_estimator_[-1].get_params()[numeric[0]] in (default, default * 0.5)


@pytest.mark.parametrize("name", FOUND)
def test_a_clone_has_the_same_parameters_and_nothing_learned(name):
    model = FOUND[name]()
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not [attribute for attribute in vars(copy) if attribute.endswith("_")]
    assert repr(copy) == f"{name}()"
