"""A task that cannot be predicted costs only that task, unless `error_score` is "raise"."""

import numpy as np
import pytest
from sklearn.exceptions import FitFailedWarning
from sklearn.preprocessing import StandardScaler

from sklearn_meta import (
    GuardedMetaClassifier,
    LazyTasks,
    MAMLRegressor,
    PooledClassifier,
    ProtoNetClassifier,
)
from sklearn_meta.base import predict_tasks
from sklearn_meta.exceptions import TaskError
from sklearn_meta.model_selection import HierarchicalClassifier, HierarchicalRegressor
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.tasks import Task

SMALL = {"max_meta_iter": 2, "hidden_layer_sizes": 4, "random_state": 0}
RNG = np.random.RandomState(0)
CLASS = [Task(X, np.arange(12) % 3, support=range(6)) for X in RNG.normal(size=(6, 12, 3))]
NOISE = RNG.normal(scale=0.3, size=(6, 12))
REAL = [Task(t.X, t.X[:, 0] + i + NOISE[i], support=range(6)) for i, t in enumerate(CLASS)]


def with_gap(task):
    X = task.X.copy()
    X[7, 1] = np.nan
    return Task(X, task.y, support=task.support, name="gap")


SPOIL = {
    "gap": (with_gap, "holds nan"),
    "features": (
        lambda t: Task(t.X[:, :2], t.y, support=t.support),
        "rows of shape|2 features|lacks",
    ),
    "no support": (lambda t: Task(t.X, t.y), "no fixed support"),
    "no task": (lambda t: "task", "must be a Task"),
    "lengths": (lambda t: (t.X[:6], t.y[:5], t.X[6:], t.y[6:]), "same number of rows"),
}
LEARNERS = {
    "protonet": lambda: ProtoNetClassifier(**SMALL),
    "pooled": lambda: PooledClassifier(**SMALL),
    "maml": lambda: MAMLRegressor(**SMALL),
    "hierarchical": HierarchicalRegressor,
    "class means": HierarchicalClassifier,
    "guard": lambda: GuardedMetaClassifier(
        HierarchicalClassifier(), n_support=2, cv=2, n_folds=2, random_state=0
    ),
    "pipeline": lambda: make_meta_pipeline(StandardScaler(), ProtoNetClassifier(**SMALL)),
    "pooled pipeline": lambda: make_meta_pipeline(
        StandardScaler(), ProtoNetClassifier(**SMALL), transform_scope="pooled"
    ),
}


def tasks_of(name):
    return REAL if name in ("maml", "hierarchical") else CLASS


@pytest.fixture(scope="module")
def fitted():
    return {name: make().meta_fit(tasks_of(name)) for name, make in LEARNERS.items()}


FIRST_OR_LATER = [*((name, how, 3) for name in LEARNERS for how in SPOIL)]
FIRST_OR_LATER += [("protonet", how, 0) for how in SPOIL] + [("hierarchical", "features", 0)]


@pytest.mark.parametrize(("name", "how", "place"), FIRST_OR_LATER)
def test_only_the_bad_task_is_lost(fitted, name, how, place):
    est, good, (spoil, message) = fitted[name], tasks_of(name), SPOIL[how]
    tasks = [*good]
    tasks.insert(place, spoil(good[0]))
    with pytest.warns(FitFailedWarning, match=f"1 of 7 tasks.*Task {place}.*({message})"):
        scores = est.score_tasks(tasks)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [place]
    np.testing.assert_allclose(np.delete(scores, place), est.score_tasks(good), rtol=1e-9)
    with pytest.warns(FitFailedWarning, match=message):
        assert est.score_tasks(tasks, error_score=-1.0)[place] == -1
    with pytest.warns(FitFailedWarning, match=message):
        predictions = est.predict_tasks(tasks)
    missing = predictions.pop(place)
    assert all(y is None or np.isnan(y) for y in missing)
    if how == "gap":
        assert len(missing) == 6
    for a, b in zip(predictions, est.predict_tasks(good), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    for method in (est.predict_tasks, est.score_tasks):
        with pytest.raises(ValueError, match=message):
            method(tasks, error_score="raise")


@pytest.mark.parametrize("name", LEARNERS)
def test_what_concerns_all_tasks_is_an_error(fitted, name):
    est, good = fitted[name], tasks_of(name)
    for how in ("gap", "features", "no support"):
        spoil, message = SPOIL[how]
        with pytest.raises(ValueError, match=message):
            est.predict_tasks([spoil(t) for t in good])
    for tasks in ([], good[0], "tasks"):
        with pytest.raises(TaskError):
            est.score_tasks(tasks)


def test_one_query_row_has_a_prediction_but_no_r2(fitted):
    one = Task(REAL[0].X[:7], REAL[0].y[:7], support=range(6))
    for name in ("maml", "hierarchical"):
        est = fitted[name]
        with pytest.warns(FitFailedWarning, match="Task 1: R.2 needs at least two query rows"):
            scores = est.score_tasks([REAL[0], one])
        assert np.isfinite(scores).tolist() == [True, False]
        assert np.isfinite(np.concatenate(est.predict_tasks([REAL[0], one]))).all()


def test_labels_that_the_prior_does_not_know_cost_one_task(fitted):
    new = Task(CLASS[0].X, CLASS[0].y + 1, support=range(6))
    with pytest.warns(FitFailedWarning, match="Task 1: y has labels that no task of meta_fit had"):
        scores = fitted["pooled"].score_tasks([CLASS[0], new, CLASS[1]])
    assert np.isfinite(scores).tolist() == [True, False, True]


@pytest.mark.parametrize("window", [2, 4096])
def test_tasks_that_are_read_are_lost_one_by_one_too(fitted, window, monkeypatch):
    class Files:
        def __len__(self):
            return 8

        def __getitem__(self, i):
            if i == 5:
                raise OSError("no such file")
            return with_gap(CLASS[0]) if i == 2 else CLASS[i % 6]

    monkeypatch.setattr(predict_tasks, "N_TASKS", window)
    expected = fitted["protonet"].score_tasks(CLASS)
    for tasks in (Files(), LazyTasks(Files(), n_workers=2, prefetch=1)):
        with pytest.warns(FitFailedWarning, match=r"2 of 8 tasks.*no such file"):
            scores = fitted["protonet"].score_tasks(tasks)
        assert np.isnan(scores[[2, 5]]).all()
        np.testing.assert_allclose(scores[[0, 1, 3, 4, 6, 7]], expected[[0, 1, 3, 4, 0, 1]])


def test_a_cold_start_loses_only_the_bad_task():
    est, tasks = ProtoNetClassifier(**SMALL), [*CLASS, with_gap(CLASS[0])]
    with pytest.warns(FitFailedWarning, match="'gap'"):
        scores = est.score_tasks(tasks)
    np.testing.assert_allclose(scores[:-1], est.score_tasks(CLASS))
