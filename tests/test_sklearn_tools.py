"""scikit-learn's tools keep the prior of a meta-fitted estimator."""

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
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_meta import MAMLClassifier, ProtoNetClassifier
from sklearn_meta.datasets import make_blob_tasks

TASKS = make_blob_tasks(5, n_way=2, n_rows=24, n_features=4, n_shot=6, random_state=0)
X, Y = TASKS[-1].X, TASKS[-1].y
GRID = {"inner_lr": [0.003, 0.01], "inner_steps": [1, 5]}


@cache
def meta_trained(cls):
    return cls(hidden_layer_sizes=8, max_meta_iter=5, random_state=0).meta_fit(TASKS[:-1])


@pytest.fixture(params=[MAMLClassifier, ProtoNetClassifier], ids=["maml", "protonet"])
def learned(request):
    return meta_trained(request.param)


@pytest.fixture
def maml():
    return meta_trained(MAMLClassifier)


TOOLS = {  # the tool, and the estimators inside it
    "pipeline": (lambda e: make_pipeline(StandardScaler(), e), lambda t: [t[-1]]),
    "voting": (
        lambda e: VotingClassifier([("a", e), ("b", clone(e))], voting="soft"),
        lambda t: t.estimators_,
    ),
    "calibrated": (
        lambda e: CalibratedClassifierCV(e, cv=2),
        lambda t: [c.estimator for c in t.calibrated_classifiers_],
    ),
    "bagging": (
        lambda e: BaggingClassifier(e, n_estimators=5, random_state=0),
        lambda t: t.estimators_,
    ),
    "one versus rest": (OneVsRestClassifier, lambda t: t.estimators_),
    "one versus one": (OneVsOneClassifier, lambda t: t.estimators_),
    "threshold": (
        lambda e: TunedThresholdClassifierCV(e, cv=2, thresholds=9),
        lambda t: [t.estimator_],
    ),
    "stacking": (
        lambda e: StackingClassifier([("e", e)], LogisticRegression(), cv=2),
        lambda t: t.estimators_,
    ),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_keep_the_prior(tool, learned):
    make, estimators_of = TOOLS[tool]
    model = make(learned).fit(X, Y)
    estimators = estimators_of(model)
    assert estimators
    assert all(est.meta_state is learned.meta_state for est in estimators)
    assert set(model.predict(X)) <= set(Y)


def search(kind, est, **options):
    return kind(est, GRID, cv=2, error_score="raise", **options)


@pytest.mark.parametrize("kind", [GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV])
def test_searches_keep_the_prior(kind, maml):
    options = {"n_iter": 2} if kind is RandomizedSearchCV else {}
    options |= {} if kind is GridSearchCV else {"random_state": 0}
    model = search(kind, maml, **options)
    best = model.fit(X, Y).best_estimator_
    assert best.meta_state is maml.meta_state


def test_a_grid_over_the_inner_loop_shows_different_scores(maml):
    grid = GridSearchCV(maml, {"inner_lr": [1e-6, 0.5]}, cv=2, scoring="neg_log_loss")
    scores = grid.fit(X, Y).cv_results_["mean_test_score"]
    assert scores[0] != scores[1]


@pytest.mark.slow
def test_two_workers_give_the_same_result(maml):
    one = search(GridSearchCV, maml, n_jobs=1).fit(X, Y)
    two = search(GridSearchCV, maml, n_jobs=2).fit(X, Y)
    for key in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(two.cv_results_[key], one.cv_results_[key])
    assert one.best_params_ == two.best_params_
    np.testing.assert_allclose(two.predict_proba(X), one.predict_proba(X))


def test_cross_validation_keeps_the_prior(learned):
    result = cross_validate(learned, X, Y, cv=2, return_estimator=True)
    assert all(est.meta_state is learned.meta_state for est in result["estimator"])
    folds = StratifiedKFold(2).split(X, Y)
    by_hand = [learned.fit(X[i], Y[i]).score(X[j], Y[j]) for i, j in folds]
    np.testing.assert_array_equal(result["test_score"], by_hand)


def test_learning_curves_and_several_targets(learned):
    sizes, _, scores = learning_curve(learned, X, Y, cv=2, train_sizes=[4, 12], shuffle=True)
    assert sizes.tolist() == [4, 12]
    assert np.isfinite(scores).all()
    both = MultiOutputClassifier(learned).fit(X, np.c_[Y, 1 - Y]).predict(X)
    assert np.mean(both[:, 0] == Y) > 0.5
    np.testing.assert_array_equal(both[:, 0], 1 - both[:, 1])
