"""`score_tasks` by any metric: names of scikit-learn's scorers, and functions of the user."""

import warnings
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning, UndefinedMetricWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.preprocessing import StandardScaler

from sklearn_meta import (
    GuardedMetaClassifier,
    HierarchicalClassifier,
    HierarchicalRegressor,
    MAMLRegressor,
    ProtoNetClassifier,
    Task,
    TaskConformalClassifier,
    TaskError,
)
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.model_selection import TaskEstimator, compare
from sklearn_meta.pipeline import make_meta_pipeline

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "random_state": 0, "device": "cpu"}
WAVES = make_sinusoid_tasks(6, n_rows=14, n_support=5, random_state=0)
PAIRS = make_blob_tasks(8, n_way=2, n_rows=8, n_features=3, n_shot=2, random_state=0)
TRIPLES = make_blob_tasks(4, n_way=3, n_rows=8, n_features=3, n_shot=2, random_state=0)


def protonet(**params):
    return ProtoNetClassifier(**SMALL, **params)


LEARNERS = {
    "local labels": protonet(),
    "shared labels": protonet(labels="shared"),
    "pipeline": make_meta_pipeline(StandardScaler(), protonet()),
    "hierarchical": HierarchicalClassifier(),
    "guarded": GuardedMetaClassifier(HierarchicalClassifier(), random_state=0),
    "conformal": TaskConformalClassifier(HierarchicalClassifier(), random_state=0),
}


@cache
def learned(name):
    tasks = WAVES if name == "maml" else PAIRS
    est = MAMLRegressor(**SMALL) if name == "maml" else clone(LEARNERS[name])
    return est.meta_fit(tasks)


def in_a_loop(est, tasks, scoring):
    est, scorer = clone(est), get_scorer(scoring)
    return [scorer(est.fit(t.X_support, t.y_support), t.X_query, t.y_query) for t in tasks]


def without_label(task, label, name=None):
    """The task without the query rows of a label."""
    is_support = np.isin(np.arange(len(task)), task.support)
    rows = np.flatnonzero(is_support | (task.y != label))
    return Task(task.X[rows], task.y[rows], support=np.flatnonzero(is_support[rows]), name=name)


SOME = [*PAIRS[:2], without_label(PAIRS[2], PAIRS[2].y[0], "ann"), PAIRS[3]]


@pytest.mark.parametrize("name", LEARNERS)
def test_names_of_scorers_give_the_scores_of_a_loop(name):
    est, tasks = learned(name), PAIRS[:3]
    for scoring in ("accuracy", "balanced_accuracy", "f1", "average_precision", "roc_auc"):
        scores = est.score_tasks(tasks, scoring=scoring)
        np.testing.assert_allclose(scores, in_a_loop(est, tasks, scoring), err_msg=scoring)
    losses = est.score_tasks(tasks, scoring="neg_log_loss")
    np.testing.assert_allclose(losses, in_a_loop(est, tasks, "neg_log_loss"), rtol=1e-4)
    by_default = est.score_tasks(tasks)
    np.testing.assert_array_equal(est.score_tasks(tasks, scoring="accuracy"), by_default)


@pytest.mark.parametrize("est", [MAMLRegressor(**SMALL), HierarchicalRegressor()])
def test_errors_of_regressors(est):
    est = clone(est).meta_fit(WAVES)
    for scoring in ("neg_mean_absolute_error", "neg_root_mean_squared_error", "r2"):
        scores = est.score_tasks(WAVES, scoring=scoring)
        np.testing.assert_allclose(scores, in_a_loop(est, WAVES, scoring), rtol=1e-4)
    np.testing.assert_array_equal(est.score_tasks(WAVES, scoring="r2"), est.score_tasks(WAVES))
    single = Task(WAVES[0].X[:6], WAVES[0].y[:6], support=range(5))  # one query row
    assert est.score_tasks([single], scoring="neg_mean_absolute_error") < 0


@pytest.mark.parametrize("name", LEARNERS)
def test_a_function_gets_an_adapted_estimator(name):
    est = learned(name)

    def accuracy(adapted, X, y):  # its name is no name of scikit-learn's
        assert adapted is not est
        return (adapted.predict(X) == y).mean() - 2

    scores = est.score_tasks(PAIRS[:3], scoring=accuracy)
    np.testing.assert_allclose(scores, est.score_tasks(PAIRS[:3]) - 2)


@pytest.mark.parametrize("name", ["local labels", "pipeline", "hierarchical"])
def test_a_query_with_one_label_has_no_auc(name):
    est = learned(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scores = est.score_tasks(SOME, scoring="roc_auc")
    assert [w.category for w in caught] == [UndefinedMetricWarning]
    assert str(caught[0].message).startswith(
        "Scoring failed on 1 of 4 tasks, whose score is nan. Task 2 ('ann'): its roc_auc is nan. "
        "Only one class"
    )
    assert caught[0].filename == __file__
    expected = est.score_tasks([*SOME[:2], SOME[3]], scoring="roc_auc")
    np.testing.assert_array_equal(scores, np.insert(expected, 2, np.nan))
    with pytest.warns(UndefinedMetricWarning, match="whose score is 0.5"):
        assert est.score_tasks(SOME, scoring="roc_auc", error_score=0.5)[2] == 0.5
    with pytest.raises(TaskError, match=r"Task 2 \('ann'\): its roc_auc is nan"):
        est.score_tasks(SOME, scoring="roc_auc", error_score="raise")


def test_other_tools_say_the_same_of_such_a_query():
    est = TaskEstimator(learned("local labels"), prefit=True).fit(PAIRS)
    for scoring in ("roc_auc", ["roc_auc", "accuracy"]):
        with pytest.warns(UndefinedMetricWarning, match=r"\('ann'\): its roc_auc is nan. Only"):
            scores = est.score_tasks(SOME, scoring=scoring)
    assert np.isnan(scores["roc_auc"]).tolist() == [False, False, True, False]
    assert np.isfinite(scores["accuracy"]).all()
    how = {"cv": [([0, 1], [2, 3])], "seeds": 1, "baselines": [], "scoring": "roc_auc"}
    with pytest.warns(FitFailedWarning, match=r"'ann'.*its roc_auc is nan. Only one class"):
        compare(LogisticRegression(), SOME, **how)


def test_an_error_of_a_scorer_costs_one_task_or_is_raised():
    est, tasks = protonet().meta_fit(TRIPLES), [*TRIPLES[:2], without_label(TRIPLES[2], 0, "bob")]
    with pytest.warns(UndefinedMetricWarning, match=r"1 of 3 .*'bob'\): roc_auc_ovr fails: "):
        scores = est.score_tasks(tasks, scoring="roc_auc_ovr")
    assert np.isfinite(scores).tolist() == [True, True, False]
    with pytest.raises(TaskError, match=r"Task 0: roc_auc fails: .*multi_class"):
        est.score_tasks(TRIPLES, scoring="roc_auc")  # which is for two labels
    with pytest.raises(TaskError, match=r"Task 0: picky fails: no rows of class 7"):
        est.score_tasks(TRIPLES, scoring=picky)


def picky(est, X, y):
    raise ZeroDivisionError("no rows of class 7")


def test_a_task_that_cannot_be_used_costs_its_own_score():
    est, odd = learned("local labels"), Task(PAIRS[0].X[:, :2], PAIRS[0].y, support=range(4))
    for scoring in ("roc_auc", lambda est, X, y: est.score(X, y)):
        with pytest.warns(FitFailedWarning, match="1 of 3 tasks.*Task 1"):
            scores = est.score_tasks([PAIRS[0], odd, PAIRS[1]], scoring=scoring)
        assert np.isnan(scores).tolist() == [False, True, False]
        with pytest.raises(TaskError, match="Task 1"):
            est.score_tasks([PAIRS[0], odd], scoring=scoring, error_score="raise")


@pytest.mark.parametrize("scoring", ["roc_auc", "neg_log_loss", "accuracy", "f1"])
def test_a_row_of_weight_two_counts_as_two(scoring):
    task, est = PAIRS[0], learned("local labels")
    query = np.setdiff1d(np.arange(len(task)), task.support)
    weight = np.ones(len(task))
    weight[query[:3]] = 2
    weighted = Task(task.X, task.y, support=task.support, sample_weight=weight)
    rows = np.r_[np.arange(len(task)), query[:3]]
    twice = Task(task.X[rows], task.y[rows], support=task.support)
    for learner in (est, learned("hierarchical")):
        one, other = (learner.score_tasks([t], scoring=scoring) for t in (weighted, twice))
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("name", ["local labels", "hierarchical"])
def test_bad_metrics_are_refused(name):
    with pytest.raises(ValueError, match="accurracy"):
        learned(name).score_tasks(PAIRS, scoring="accurracy")
    for scoring in (["accuracy"], 3):
        with pytest.raises(TypeError, match="scoring must be a name of scikit-learn's or a call"):
            learned(name).score_tasks(PAIRS, scoring=scoring)


@pytest.mark.parametrize("scoring", ["roc_auc", "f1_macro", "neg_brier_score"])
def test_an_estimator_over_tasks_scores_by_name_as_one_by_one(scoring):
    for name in ("local labels", "pipeline", "hierarchical"):
        est = TaskEstimator(learned(name), scoring=scoring, prefit=True).fit(PAIRS)
        by_name, one_by_one = est.score_tasks(PAIRS), est.score_tasks(PAIRS, scoring=[scoring])
        np.testing.assert_allclose(by_name, one_by_one[scoring], rtol=1e-4)
