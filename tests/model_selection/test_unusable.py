"""Tasks that cannot be used, in comparisons and estimators over tasks."""

import numpy as np
import pytest
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from sklearn_meta import ProtoNetClassifier
from sklearn_meta.analysis import transfer_gain
from sklearn_meta.exceptions import SkippedTaskWarning, TaskError
from sklearn_meta.model_selection import HierarchicalClassifier, TaskEstimator, compare
from sklearn_meta.tasks import Task, split_task

SMALL = {"max_meta_iter": 2, "hidden_layer_sizes": 4, "random_state": 0, "n_shot": 1}
GOOD = [Task(X, np.arange(12) % 2) for X in np.random.RandomState(0).normal(size=(6, 12, 3))]
GAP = Task(np.full((12, 3), np.nan), np.arange(12) % 2, name="gap")
SHORT = Task(GOOD[0].X[:4], [0, 0, 0, 1], name="short")
ALL = [GAP, *GOOD[:3], SHORT, *GOOD[3:]]
USED = [1, 2, 3, 5, 6, 7]
HOW = {"seeds": 1, "support_sizes": [2], "baselines": ()}
LEARNERS = {"proto": ProtoNetClassifier(**SMALL), "logistic": LogisticRegression()}


def test_a_comparison_skips_tasks_for_all_estimators():
    with pytest.warns(SkippedTaskWarning, match=r"2 of 8 tasks.*'gap'.*'short'") as caught:
        result = compare(LEARNERS, ALL, cv=2, unusable="skip", **HOW)
    assert [w.category for w in caught].count(SkippedTaskWarning) == 1
    assert {r.task for r in result.records} == set(USED)
    folds = [([5, 6, 7], [1, 2, 3]), ([1, 2, 3], [5, 6, 7])]
    sure = [*GOOD]
    sure.insert(0, GOOD[0])
    sure.insert(4, GOOD[0])
    twin = compare(LEARNERS, sure, cv=folds, **HOW)
    for a, b in zip(result.records, twin.records, strict=True):
        assert (a.estimator, a.task, a.score) == (b.estimator, b.task, b.score)
    with pytest.raises(TaskError, match="'gap'"):
        compare(LEARNERS, ALL, cv=2, **HOW)


def test_notes_name_what_an_estimator_was_not_trained_on():
    one = Task(GOOD[0].X + 1, np.zeros(12, int), name="one class")
    tasks = [*GOOD, Task(one.X, one.y, support=range(4), name="one class")]
    learners = {"proto": ProtoNetClassifier(**SMALL), "means": HierarchicalClassifier()}
    result = compare(learners, tasks, cv=2, unusable="skip", **HOW)
    (note,) = [note for note in result.notes if "was not trained" in note]
    assert note.startswith("'proto' was not trained on tasks that it cannot use: 1. Task 6 ('one")


def test_a_gain_is_that_of_the_usable_tasks():
    est = HierarchicalClassifier().meta_fit(GOOD)
    split = [split_task(t, n_shot=2, random_state=0) for t in GOOD]
    how = {"baselines": {"logistic": LogisticRegression()}, "random_state": 0}
    with pytest.warns(SkippedTaskWarning, match="1 of 7 tasks"):
        gain = transfer_gain(est, [*split, GAP], unusable="skip", **how)
    np.testing.assert_array_equal(
        gain["logistic"].gains, transfer_gain(est, split, **how)["logistic"].gains
    )


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("cls", [ProtoNetClassifier, HierarchicalClassifier])
def test_an_estimator_over_tasks_trains_on_the_others(cls, inner):
    kw = SMALL if cls is ProtoNetClassifier else {}
    unusable = {"unusable": "skip"}
    est = TaskEstimator(cls(**kw, **unusable)) if inner else TaskEstimator(cls(**kw), **unusable)
    with pytest.warns(SkippedTaskWarning, match="'gap'"):
        est.fit([GAP, *GOOD])
    assert [t[:2] for t in est.skipped_tasks_] == [(0, "gap")]
    twin = TaskEstimator(cls(**kw), n_support=1).fit(GOOD)
    est.set_params(n_support=1)
    np.testing.assert_array_equal(est.score_tasks(GOOD), twin.score_tasks(GOOD))
    with pytest.raises(TaskError, match="'gap'"):
        TaskEstimator(cls(**kw)).fit([GAP, *GOOD])


@pytest.mark.parametrize("scoring", [None, "accuracy", ["accuracy", "neg_log_loss"]])
def test_a_score_is_lost_for_the_bad_task_alone(scoring):
    est = TaskEstimator(ProtoNetClassifier(**SMALL), scoring=scoring, n_support=2).fit(GOOD)
    with pytest.warns(FitFailedWarning, match=r"2 of 8 tasks.*'gap'.*'short'"):
        scores = est.score_tasks(ALL)
    expected = est.score_tasks(GOOD)
    for name in [None] if scoring in (None, "accuracy") else scoring:
        one, other = (s if name is None else s[name] for s in (scores, expected))
        assert np.flatnonzero(np.isfinite(one)).tolist() == USED
        np.testing.assert_allclose(one[USED], other)
    with pytest.raises(TaskError, match="'gap'"):
        est.set_params(error_score="raise").score_tasks(ALL)


def test_a_search_survives_tasks_that_cannot_be_used():
    est = TaskEstimator(ProtoNetClassifier(**SMALL), n_support=2, unusable="skip")
    grid = {"estimator__meta_lr": [0.01, 0.1]}
    with pytest.warns((SkippedTaskWarning, FitFailedWarning)):
        search = GridSearchCV(est, grid, cv=2, error_score="raise").fit(ALL)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
