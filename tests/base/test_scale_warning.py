"""A support in other units than those of meta-training warns, once, with the factor."""

import re
import warnings

import numpy as np
import pytest
from sklearn.base import clone

import sklearn_meta
from sklearn_meta import MAMLRegressor, ProtoNetClassifier, ScaleWarning, Task
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.tasks import LazyTasks, split_task


def linear_tasks(n, random_state):
    return make_linear_tasks(n, 20, 3, random_state=random_state).tasks


SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 1, "random_state": 0}
REG = MAMLRegressor(**SMALL, inner_steps=0).meta_fit(linear_tasks(20, random_state=0))
NEW = [split_task(t, n_support=5, random_state=0) for t in linear_tasks(8, random_state=1)]
TARGETS = {
    "a thousand times as large": lambda y: 1e3 * y,
    "a million times as large": lambda y: 1e6 * y,
    "a million times as small": lambda y: 1e-6 * y,
    "ten thousand more": lambda y: y + 1e4,
}


def changed(task, X=lambda X: X, y=lambda y: y):
    return Task(X(task.X), y(task.y), support=task.support, name=task.name)


def fit(est, task):
    return est.fit(task.X_support, task.y_support)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("of", ["X", "y"])
@pytest.mark.parametrize("scaling", ["pooled", None])
def test_fit_and_predict_tasks_warn(of, kind, scaling):
    est = clone(REG).reset_meta().set_params(scaling=scaling)
    est.meta_fit(linear_tasks(20, random_state=0))
    how = {of: TARGETS[kind]}
    tasks = [task if i != 5 else changed(task, **how) for i, task in enumerate(NEW)]
    with pytest.warns(
        ScaleWarning, match=rf"^The support is far .*{of} is .*scaling='task'"
    ) as seen:
        fit(est, tasks[5])
    assert len(seen) == 1
    assert seen[0].filename == __file__
    for method in (est.predict_tasks, est.score_tasks):
        with pytest.warns(ScaleWarning, match=r"^Task 5 is far .*") as seen:
            method(tasks)
        assert len(seen) == 1
        assert seen[0].filename == __file__


@pytest.mark.parametrize("factor", [1e3, 1e6, 1e-6])
def test_the_warning_names_the_factor(factor):
    task = changed(NEW[0], y=lambda y: factor * y)
    with pytest.warns(ScaleWarning) as seen:
        fit(REG, task)
    ratio = float(re.search(r"([\d.e+-]+) times", str(seen[0].message))[1])
    assert factor / 30 < ratio < 30 * factor


def test_many_tasks_give_one_warning():
    tasks = [changed(task, y=lambda y: 1e6 * y) for task in NEW]
    tasks[0] = NEW[0]
    tasks[1].name = "ann"
    with pytest.warns(ScaleWarning, match=r"^Task 1 .*ann.* So are 6 more of 8 tasks\.") as seen:
        REG.predict_tasks(tasks)
    assert len(seen) == 1


def test_a_column_is_named():
    pandas = pytest.importorskip("pandas")
    tasks = linear_tasks(20, random_state=0)
    frames = [(pandas.DataFrame(t.X, columns=["age", "dose", "mass"]), t.y) for t in tasks]
    est = MAMLRegressor(**SMALL, inner_steps=0).meta_fit(frames)
    X, y = frames[0]
    with pytest.warns(ScaleWarning, match="column 'dose' of X is .* times as far out"):
        est.fit(X.assign(dose=1e3 * X["dose"]), y)
    with pytest.warns(ScaleWarning, match="column 'dose' of X is only .* times as spread out"):
        est.fit(X.assign(dose=1e-6 * X["dose"]), y)


def test_scaling_by_task_does_not_warn():
    est = MAMLRegressor(**SMALL, scaling="task", inner_steps=0)
    est.meta_fit(linear_tasks(20, random_state=0))
    for how in TARGETS.values():
        fit(est, changed(NEW[0], X=how, y=how))


FAMILIES = {
    "sinusoids": (MAMLRegressor, make_sinusoid_tasks, "n_support"),
    "linear": (MAMLRegressor, linear_tasks, "n_support"),
    "blobs": (ProtoNetClassifier, make_blob_tasks, "n_shot"),
}


@pytest.mark.parametrize("n_rows", [1, 2, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_ordinary_tasks_do_not_warn(family, n_rows):
    cls, make, argument = FAMILIES[family]
    est = cls(**SMALL).meta_fit(make(10, random_state=0))
    many = make(300, random_state=1)
    est.score_tasks([split_task(t, **{argument: n_rows}, random_state=0) for t in many])


def test_a_warm_start_widens_the_limits():
    far = [changed(task, y=lambda y: 1e3 * y) for task in linear_tasks(20, random_state=0)]
    est = clone(REG).set_params(warm_start=True).meta_fit(far)
    fit(est, NEW[0])
    fit(est, changed(NEW[0], y=lambda y: 1e3 * y))


def test_lazy_tasks_are_compared_unless_scaling_is_none():
    tasks = linear_tasks(20, random_state=0)
    far = changed(NEW[0], y=lambda y: 1e6 * y)
    est = clone(REG).reset_meta()
    with pytest.warns(ScaleWarning):
        fit(est.meta_fit(LazyTasks(tasks)), far)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(est.set_params(scaling=None).meta_fit(LazyTasks(tasks)), far)


def test_saved_estimators_warn_too(tmp_path):
    REG.save(tmp_path / "file")
    with pytest.warns(ScaleWarning):
        fit(sklearn_meta.load(tmp_path / "file"), changed(NEW[0], y=lambda y: 1e6 * y))
    assert np.isfinite(fit(sklearn_meta.load(tmp_path / "file"), NEW[0]).predict(NEW[0].X)).all()
