"""scikit-learn's tools run on a meta-fitted estimator, and keep its prior."""

from functools import cache

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_meta import MAMLClassifier, ProtoNetClassifier, Task
from sklearn_meta.datasets import make_blob_tasks

# what tells classes apart is two features of many: few rows cannot show which, many tasks can
FAMILY = {"n_way": 2, "n_rows": 24, "n_features": 16, "n_informative": 2, "n_shot": 6}
GRID = {"inner_lr": [0.003, 0.01], "inner_steps": [1, 5]}


def standardised(task):
    """As a pipeline's StandardScaler sees it: fitted on the support."""
    scaler = StandardScaler().fit(task.X_support)
    return Task(scaler.transform(task.X), task.y, support=task.support)


TRAIN = [standardised(t) for t in make_blob_tasks(60, random_state=0, **FAMILY)]
TEST = [standardised(t) for t in make_blob_tasks(2, random_state=1, **FAMILY)]


@cache
def meta_trained(cls):
    params = {"hidden_layer_sizes": 16, "max_meta_iter": 150, "scaling": None, "random_state": 0}
    return cls(**params).meta_fit([(t.X, t.y) for t in TRAIN])


@pytest.fixture(params=[MAMLClassifier, ProtoNetClassifier], ids=["maml", "protonet"])
def learned(request):
    return meta_trained(request.param)


@pytest.fixture
def maml():
    return meta_trained(MAMLClassifier)


def accuracy(model):
    """Mean over the test tasks of a clone of the model, adapted to each."""
    fitted = [(clone(model).fit(t.X_support, t.y_support), t) for t in TEST]
    return np.mean([np.mean(m.predict(t.X_query) == t.y_query) for m, t in fitted])


TOOLS = {
    "pipeline": lambda e: make_pipeline(StandardScaler(), e),
    "voting": lambda e: VotingClassifier([("a", e), ("b", clone(e))], voting="soft"),
    "calibrated": lambda e: CalibratedClassifierCV(e, cv=2),
    "bagging": lambda e: BaggingClassifier(e, n_estimators=5, random_state=0),
    "one versus rest": OneVsRestClassifier,
    "one versus one": OneVsOneClassifier,
    "threshold": lambda e: TunedThresholdClassifierCV(e, cv=2, thresholds=9),
    "stacking": lambda e: StackingClassifier([("e", e)], LogisticRegression(), cv=2),
}


@cache
def without_prior(tool):
    """All train from scratch in the same way."""
    return accuracy(TOOLS[tool](clone(meta_trained(ProtoNetClassifier)).reset_meta()))


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_keep_the_prior(tool, learned):
    assert accuracy(TOOLS[tool](learned)) > without_prior(tool)


def search(kind, est, **options):
    return kind(est, GRID, cv=2, error_score="raise", **options)


@pytest.mark.parametrize("kind", [GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV])
def test_searches_keep_the_prior(kind, maml):
    options = {"n_iter": 2} if kind is RandomizedSearchCV else {}
    options |= {} if kind is GridSearchCV else {"random_state": 0}
    model = search(kind, maml, **options)
    assert accuracy(model) > accuracy(clone(maml).reset_meta())
    best = model.fit(TEST[0].X_support, TEST[0].y_support).best_estimator_
    assert best.meta_state is maml.meta_state


def test_a_grid_over_the_inner_loop_shows_different_scores(maml):
    grid = GridSearchCV(maml, {"inner_lr": [1e-6, 0.5]}, cv=2, scoring="neg_log_loss")
    scores = grid.fit(TEST[0].X, TEST[0].y).cv_results_["mean_test_score"]
    assert scores[0] != scores[1]


@pytest.mark.slow
def test_two_workers_give_the_same_result(maml):
    X, y = TEST[0].X, TEST[0].y
    one = search(GridSearchCV, maml, n_jobs=1).fit(X, y)
    two = search(GridSearchCV, maml, n_jobs=2).fit(X, y)
    for key in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(two.cv_results_[key], one.cv_results_[key])
    assert one.best_params_ == two.best_params_
    np.testing.assert_allclose(two.predict_proba(X), one.predict_proba(X))


def test_cross_validation_keeps_the_prior(learned):
    def scores(est):
        return [cross_validate(est, t.X, t.y, cv=6)["test_score"].mean() for t in TEST]

    few = [Task(t.X_support, t.y_support) for t in TEST]
    warm = [cross_validate(learned, t.X, t.y, cv=3)["test_score"].mean() for t in few]
    new = clone(learned).reset_meta()
    cold = [cross_validate(new, t.X, t.y, cv=3)["test_score"].mean() for t in few]
    assert np.mean(warm) > np.mean(cold)
    assert np.mean(scores(learned)) >= np.mean(warm) - 0.1  # more rows never hurt much


def test_cross_validation_returns_estimators_with_the_prior(learned):
    X, y = TEST[0].X, TEST[0].y
    folds = cross_validate(learned, X, y, cv=2, return_estimator=True)["estimator"]
    assert [est.meta_state is learned.meta_state for est in folds] == [True, True]


def test_learning_curves_and_several_targets(learned):
    X, y = TEST[0].X, TEST[0].y
    sizes, _, scores = learning_curve(learned, X, y, cv=2, train_sizes=[4, 12], shuffle=True)
    assert sizes.tolist() == [4, 12]
    assert np.isfinite(scores).all()
    both = MultiOutputClassifier(learned).fit(X, np.c_[y, 1 - y]).predict(X)
    assert np.mean(both[:, 0] == y) > 0.5
    np.testing.assert_array_equal(both[:, 0], 1 - both[:, 1])
