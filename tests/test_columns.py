"""Columns are compared by name and order with those of meta_fit or fit, wherever frames go."""

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import sklearn_meta
from sklearn_meta import MAMLRegressor, ProtoNetClassifier, Task
from sklearn_meta.analysis import (
    GuardedMetaClassifier,
    GuardedMetaRegressor,
    TaskEmbedding,
    gradient_distances,
    nearest_tasks,
    parameter_distances,
    representation_change,
    select_tasks,
    task2vec,
    transfer_gain,
)
from sklearn_meta.model_selection import (
    HierarchicalClassifier,
    HierarchicalRegressor,
    TaskEstimator,
)
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.tasks import GaussianTaskDistribution, MixtureTaskDistribution, TaskNovelty

SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 1, "meta_batch_size": 2, "random_state": 0}


def _tasks(classify):
    rng, tasks = np.random.RandomState(0), []
    for _ in range(8):
        X = pd.DataFrame(rng.normal(size=(16, 3)), columns=list("abc"))
        y = X.to_numpy() @ [3.0, 1.0, -1.0] + 0.1 * rng.normal(size=16)
        y = np.arange(16) % 2 if classify else y
        tasks.append(Task(X, y, support=np.arange(8)))
    return tasks


def _frame(task, columns="abc"):
    return pd.DataFrame(task.X, columns=list("abc"))[list(columns)]


REAL, LABELS = _tasks(False), _tasks(True)
ORDERS = {"reversed": "cba", "others": "abd"}


def _other(task, order):
    """Give a task the columns of another order, or another name."""
    X = (
        _frame(task).rename(columns={"c": "d"})[list("abd")]
        if order == "abd"
        else _frame(task, order)
    )
    return Task(X, task.y, support=task.support)


@cache
def _maml():
    return MAMLRegressor(**SMALL).meta_fit(REAL)


@cache
def _guard():
    guard = GuardedMetaRegressor(HierarchicalRegressor(), n_folds=2, cv=2, random_state=0)
    return guard.meta_fit(REAL)


@cache
def _guard_of_classes():
    guard = GuardedMetaClassifier(ProtoNetClassifier(**SMALL), n_folds=2, cv=2, random_state=0)
    return guard.meta_fit(LABELS)


@cache
def _pipeline(scope):
    pipe = make_meta_pipeline("passthrough", MAMLRegressor(**SMALL), transform_scope=scope)
    return pipe.meta_fit([(_frame(t), t.y) for t in REAL])


@cache
def _density():
    return GaussianTaskDistribution(max_iter=3, tol=10.0).fit(REAL)


LEARNERS = {
    "MAMLRegressor": (_maml, REAL),
    "GuardedMetaRegressor": (_guard, REAL),
    "GuardedMetaClassifier": (_guard_of_classes, LABELS),
    "HierarchicalRegressor": (lambda: HierarchicalRegressor().meta_fit(REAL), REAL),
    "HierarchicalClassifier": (lambda: HierarchicalClassifier().meta_fit(LABELS), LABELS),
    "MetaPipeline, task": (lambda: _pipeline("task"), REAL),
    "MetaPipeline, pooled": (lambda: _pipeline("pooled"), REAL),
}
TASKS = {  # what takes tasks with what was fitted to other tasks
    "MAMLRegressor.score_tasks": lambda t: _maml().score_tasks(t),
    "GuardedMetaRegressor.weights_tasks": lambda t: _guard().weights_tasks(t),
    "GuardedMetaRegressor.score_tasks": lambda t: _guard().score_tasks(t),
    "TaskEstimator.score": lambda t: TaskEstimator(_maml(), prefit=True).fit(None).score(t),
    "GaussianTaskDistribution": lambda t: _density().score_samples(t),
    "GaussianTaskDistribution.strangeness": lambda t: _density().strangeness(t),
    "MixtureTaskDistribution": lambda t: MixtureTaskDistribution([_density()]).score_samples(t),
    "TaskNovelty": lambda t: (
        TaskNovelty(GaussianTaskDistribution(max_iter=3, tol=10.0), n_support=8)
        .fit(REAL)
        .p_values(t)
    ),
    "TaskEmbedding": lambda t: TaskEmbedding().fit(REAL).transform(t),
    "gradient_distances": lambda t: gradient_distances(t, _maml(), 0),
    "parameter_distances": lambda t: parameter_distances(t, _maml(), 0),
    "task2vec": lambda t: task2vec(t, 0, estimator=_maml()),
    "representation_change": lambda t: representation_change(_maml(), t),
    "transfer_gain": lambda t: transfer_gain(
        HierarchicalRegressor().meta_fit(REAL),
        t,
        baselines={"hierarchical": HierarchicalRegressor()},
    ),
}
WORDS = r"feature names should match those that were passed to (meta_)?fit\. Got \["


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_refuses_other_columns_than_those_of_meta_fit(name, order, tmp_path):
    make, (task, *_) = LEARNERS[name]
    est, other = clone(make()), _other(task, order)
    X, y = _frame(task), task.y
    rows = (pd.DataFrame(other.X, columns=other.feature_names_in), y)
    twins = [est, clone(est)]
    if hasattr(est, "save") and name != "GuardedMetaRegressor":  # which guards what has no file
        est.save(tmp_path / "file")
        twins.append(sklearn_meta.load(tmp_path / "file"))
    for twin in twins:
        fitted = twin.fit(X, y).predict(X)
        with pytest.raises(ValueError, match=WORDS):
            twin.fit(*rows)
        with pytest.raises(ValueError, match=WORDS):
            twin.predict_tasks([other])
        np.testing.assert_array_equal(twin.predict(X), fitted)  # the refused rows changed nothing
        twin.fit(X.to_numpy(), y)  # an array has no names
        assert twin.reset_meta() is twin


@pytest.mark.parametrize("name", LEARNERS)
def test_predict_refuses_other_columns_than_those_of_fit(name):
    make, (task, *_) = LEARNERS[name]
    if name.startswith("MetaPipeline"):
        pytest.skip("its steps check themselves, as those of a Pipeline do")
    est = clone(make()).fit(_frame(task), task.y)
    with pytest.raises(ValueError, match="feature names should match"):
        est.predict(_frame(task, "cba"))


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("name", TASKS)
def test_fitted_objects_refuse_tasks_of_other_columns(name, order):
    with pytest.raises(ValueError, match=rf"Task 0: The {WORDS}"):
        TASKS[name]([_other(task, order) for task in REAL])


@pytest.mark.parametrize("call", [nearest_tasks, select_tasks])
def test_tasks_are_compared_with_tasks_of_the_same_columns(call):
    other = [_other(task, "cba") for task in REAL]
    how = {"metric": "mmd", "n": 1}
    with pytest.raises(ValueError, match="Task 0 of the new tasks: its feature names"):
        call(REAL, other[0] if call is nearest_tasks else other, **how)


def test_predict_rows_refuses_other_columns():
    est, task = TaskEstimator(_maml(), prefit=True).fit(None), REAL[0]
    y = np.where(np.arange(16) < 8, task.y, np.nan)
    assert est.predict_rows(_frame(task), y, np.zeros(16)).y.shape == (8,)
    with pytest.raises(ValueError, match=WORDS):
        est.predict_rows(_frame(task, "cba"), y, np.zeros(16))


def test_densities_refuse_other_columns():
    density = _density()
    assert density.feature_names_in_.tolist() == list("abc")
    assert density.sample(random_state=0)[0].feature_names_in == tuple("abc")
    arrays = [Task(np.asarray(t.X), t.y, support=t.support) for t in REAL]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of three steps of EM
        unnamed = clone(density).fit(arrays)
    assert not hasattr(unnamed, "feature_names_in_")
    assert unnamed.score_samples(REAL).shape == (8,)
