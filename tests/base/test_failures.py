"""A task on which adapting fails loses only its score: in predictions, scores, searches, tables."""

import warnings
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.model_selection import cross_val_score, cross_validate
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_meta import (
    ANILRegressor,
    CAVIARegressor,
    FineTuneRegressor,
    IMAMLRegressor,
    LSTMMetaLearnerRegressor,
    MAMLClassifier,
    MAMLRegressor,
    PooledRegressor,
    ReptileRegressor,
    Task,
    TaskError,
)
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.model_selection import (
    HierarchicalRegressor,
    TaskEstimator,
    TaskKFold,
    task_scorer,
)
from sklearn_meta.pipeline import make_meta_pipeline

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "random_state": 0, "device": "cpu"}
WAVES = make_sinusoid_tasks(6, n_rows=14, n_support=5, random_state=0)
BLOBS = make_blob_tasks(4, n_way=3, n_rows=8, n_features=4, n_shot=3, random_state=0)


def scaled(task, factor, name=None):
    return Task(task.X, factor * task.y, support=task.support, name=name)


def diverging(task, name="ann"):
    return scaled(task, 1e200, name)


MIXED = [*WAVES[:2], diverging(WAVES[2]), WAVES[3]]
FAILED = r"Adapting failed on 1 of 4 tasks, whose score is .* Task 2 \('ann'\): adapting diverged"


@cache
def prior():
    return MAMLRegressor(**SMALL).meta_fit(WAVES)


@pytest.mark.parametrize(
    "cls",
    [
        MAMLRegressor,
        ANILRegressor,
        CAVIARegressor,
        FineTuneRegressor,
        IMAMLRegressor,
        LSTMMetaLearnerRegressor,
        PooledRegressor,
        ReptileRegressor,
    ],
)
def test_one_task_that_diverges_changes_no_bit_of_the_others(cls):
    est = cls(**SMALL).meta_fit(WAVES)
    expected = est.score_tasks(WAVES[:4])
    predictions = est.predict_tasks(WAVES[:4])
    with pytest.warns(FitFailedWarning, match=FAILED) as caught:
        scores = est.score_tasks(MIXED)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.isnan(scores[2])
    np.testing.assert_array_equal(np.delete(scores, 2), np.delete(expected, 2))
    with pytest.warns(FitFailedWarning, match=FAILED):
        actual = est.predict_tasks(MIXED)
    for i in (0, 1, 3):
        np.testing.assert_array_equal(actual[i], predictions[i])
    assert actual[2].shape == predictions[2].shape
    assert np.isnan(actual[2]).all()


@pytest.mark.parametrize("how", [make_meta_pipeline, lambda *steps: steps[-1]])
def test_scoring_decides_the_score(how):
    est = how(StandardScaler(), MAMLRegressor(**SMALL)).meta_fit(WAVES)
    with pytest.warns(FitFailedWarning, match=r"whose score is -7\.5"):
        scores = est.score_tasks(MIXED, error_score=-7.5)
    assert scores[2] == -7.5
    np.testing.assert_array_equal(
        est.score_tasks(WAVES, error_score="raise"), est.score_tasks(WAVES)
    )
    for method in (est.score_tasks, est.predict_tasks):
        with pytest.raises(FloatingPointError, match=r"Task 2 \('ann'\): adapting diverged"):
            method(MIXED, error_score="raise")
        with pytest.raises(ValueError, match=r"'error_score' parameter of .* must be 'raise' or a"):
            method(MIXED, error_score="ignore")


def test_labels_that_are_missing_are_none():
    clf = MAMLClassifier(head="prototype", **SMALL).meta_fit(BLOBS)
    clf.set_params(inner_lr=1e6, inner_steps=300)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = clf.predict_tasks(BLOBS[:2])
    kinds = {w.category: str(w.message) for w in caught}
    assert "Task 1: adapting diverged" in kinds[FitFailedWarning]
    assert "Task 0: after adapting" in kinds[ConvergenceWarning]
    assert result[0].dtype == BLOBS[0].y.dtype
    assert result[1].tolist() == [None] * len(BLOBS[1].y_query)


def test_tasks_with_the_same_failure_are_named_in_one_warning():
    several = [WAVES[0], diverging(WAVES[1]), *(diverging(t, None) for t in WAVES[2:4])]
    with pytest.warns(FitFailedWarning, match=r"3 of 4 .* Task 1 \('ann'\), Task 2, Task 3: adap"):
        prior().score_tasks(several)


def test_doubtful_tasks_are_named_in_one_warning_and_keep_their_scores():
    est = clone(prior()).set_params(inner_lr=0.3)
    tasks = [WAVES[0], scaled(WAVES[1], 9, "bob"), scaled(WAVES[2], 9)]
    with pytest.warns(
        ConvergenceWarning, match=r"Task 1 \('bob'\): after .* Task 2: after"
    ) as seen:
        scores = est.score_tasks(tasks)
    assert len(seen) == 1
    assert np.isfinite(scores).all()


class Cubes(nn.Module):
    """Overflows where a row is large."""

    def forward(self, x):
        return x**3


def test_a_task_whose_query_predictions_overflow_fails():
    rows = np.isin(np.arange(14), WAVES[0].support)[:, None]
    far = Task(np.where(rows, WAVES[0].X, 1e200), WAVES[0].y, support=WAVES[0].support)
    est = MAMLRegressor(
        **SMALL | {"backbone": lambda: nn.Sequential(Cubes(), nn.Linear(1, 4))}
    ).meta_fit(WAVES)
    with pytest.warns(FitFailedWarning, match=r"Task 1: its predictions are not finite\. Lower"):
        scores = est.score_tasks([WAVES[1], far])
    assert np.isfinite(scores).tolist() == [True, False]


def test_bad_data_is_refused_before_any_fit():
    holed = Task(np.where(np.arange(14)[:, None] == 3, np.nan, WAVES[0].X), WAVES[0].y, support=[0])
    with pytest.raises(TaskError, match=r"Task 1: X of shape .* holds nan"):
        prior().score_tasks([WAVES[1], holed], error_score="raise")


def test_tasks_that_fail_in_hierarchical_learners(monkeypatch):
    est = HierarchicalRegressor().meta_fit(WAVES)
    expected = est.predict_tasks(WAVES[:4])
    monkeypatch.setattr(np.linalg, "eigh", fails_at(2, np.linalg.eigh))  # one a task
    with pytest.warns(FitFailedWarning, match=r"1 of 4 tasks.*Task 2 .*: did not converge"):
        actual = est.predict_tasks(WAVES[:4])
    assert np.isnan(actual[2]).all()
    np.testing.assert_array_equal(actual[3], expected[3])


def fails_at(n, function):
    calls = []

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) == n + 1:
            raise np.linalg.LinAlgError("did not converge")
        return function(*args, **kwargs)

    return failing


# ---- tasks as rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("scoring", [None, "neg_mean_squared_error"])
def test_the_mean_of_tasks_is_over_those_that_have_a_score(scoring):
    est = TaskEstimator(MAMLRegressor(**SMALL), scoring=scoring).fit(WAVES)
    expected = est.score_tasks([*WAVES[:2], WAVES[3]]).mean()
    with pytest.warns(FitFailedWarning, match=FAILED):
        assert est.score(MIXED) == pytest.approx(expected)
    with pytest.warns(FitFailedWarning, match=FAILED):
        assert task_scorer("r2")(est, MIXED) < 1
    with pytest.warns(FitFailedWarning, match="1 of 1 tasks"):
        assert np.isnan(est.score(MIXED[2:3]))
    est.set_params(error_score=-2.0)
    with pytest.warns(FitFailedWarning, match=FAILED):
        assert est.score(MIXED) == pytest.approx((3 * expected - 2) / 4)
    est.set_params(error_score="raise")
    with pytest.raises(FloatingPointError, match=r"Task 2 \('ann'\): adapting diverged"):
        est.score(MIXED)


def test_cross_validation_names_the_task_and_loses_no_fold():
    est, tasks = TaskEstimator(MAMLRegressor(**SMALL), prefit=True), [*MIXED, *WAVES[4:]]
    est.set_params(estimator=prior())
    how = {"cv": TaskKFold(2), "error_score": "raise"}
    with pytest.warns(FitFailedWarning, match=r"1 of 3 tasks.*\('ann'\): adapting diverged"):
        scores = cross_val_score(est, tasks, **how)
    assert np.isfinite(scores).all()
    scoring = {name: task_scorer(name) for name in ("r2", "neg_mean_absolute_error")}
    with pytest.warns(FitFailedWarning, match=r"\('ann'\): adapting diverged"):
        result = cross_validate(est, tasks, scoring=scoring, **how)
    np.testing.assert_allclose(result["test_r2"], scores, rtol=1e-6)


def test_rows_of_a_task_that_diverges_have_no_prediction():
    tasks = MIXED
    X, y = np.concatenate([t.X for t in tasks]), np.concatenate([t.y for t in tasks])
    who = np.repeat(["a", "b", "c", "d"], 14)
    gaps = np.where(np.arange(len(y)) % 3 == 0, np.nan, y)
    est = TaskEstimator(MAMLRegressor(**SMALL)).fit(WAVES)
    with pytest.warns(FitFailedWarning, match="1 of 4 tasks.*Task 'c': adapting diverged"):
        result = est.predict_rows(X, gaps, who)
    np.testing.assert_array_equal(np.isnan(result.y), result.task == "c")
    with pytest.raises(FloatingPointError, match="Task 'c': adapting diverged"):
        est.set_params(error_score="raise").predict_rows(X, gaps, who)


def test_rows_of_a_task_that_diverges_have_no_label():
    X, y = np.concatenate([t.X for t in BLOBS]), np.concatenate([t.y for t in BLOBS])
    who = np.repeat(list("abcd"), 24)
    labels = np.array(["x", "y", "z"], dtype=object)[y]
    labels[np.arange(len(y)) % 5 == 0] = None
    est = TaskEstimator(MAMLClassifier(**SMALL)).fit(BLOBS)
    est.estimator_.set_params(inner_lr=1e6, inner_steps=300)
    with pytest.warns((FitFailedWarning, ConvergenceWarning)):
        result = est.predict_rows(X, labels, who)
    missing = np.array([label is None for label in result.y])
    assert 0 < missing.sum() < len(missing)
    np.testing.assert_array_equal(np.isnan(result.proba).any(axis=1), missing)
    assert result.classes_.tolist() == ["x", "y", "z"]
