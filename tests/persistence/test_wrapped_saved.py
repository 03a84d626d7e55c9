"""Pipelines around guards, guards around pipelines, and imputers: saved and loaded."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import sklearn_meta
from sklearn_meta import MAMLRegressor, ProtoNetClassifier, TaskError
from sklearn_meta.analysis import GuardedMetaClassifier, GuardedMetaRegressor
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.pipeline import make_meta_pipeline

pytestmark = pytest.mark.slow  # many trainings

SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 1, "random_state": 0}
LINEAR = make_linear_tasks(6, n_rows=12, n_features=3, n_support=6, random_state=0).tasks
BLOBS = make_blob_tasks(6, n_way=2, n_rows=8, n_features=3, n_shot=3, random_state=0)
QUICK = {"n_folds": 2, "cv": 2, "random_state": 0}


def regressor():
    return MAMLRegressor(**SMALL)


def classifier():
    return ProtoNetClassifier(**SMALL)


def piped(learner, scope):
    return make_meta_pipeline(StandardScaler(), learner, transform_scope=scope)


MAKERS = {
    "guard in a pipeline": lambda scope: piped(GuardedMetaRegressor(regressor(), **QUICK), scope),
    "guard of a pipeline": lambda scope: GuardedMetaRegressor(piped(regressor(), scope), **QUICK),
    "guard of a pipeline, classes": lambda scope: GuardedMetaClassifier(
        piped(classifier(), scope), **QUICK
    ),
    "guard of a pipeline in a pipeline": lambda scope: piped(
        GuardedMetaRegressor(piped(regressor(), scope), **QUICK), scope
    ),
}


@pytest.mark.parametrize("scope", ["task", "pooled"])
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("state", ["meta-fitted", "adapted"])
def test_wrapped_learners_are_loaded_unchanged(name, scope, state, tmp_path):
    est, tasks = MAKERS[name](scope), BLOBS if "classes" in name else LINEAR
    first, second = tasks[:2]
    est.meta_fit(tasks)
    if state == "adapted":
        est.fit(first.X_support, first.y_support)
    est.save(tmp_path / "file")
    same = sklearn_meta.load(tmp_path / "file")
    assert type(same) is type(est)
    assert repr(same) == repr(est)
    if state == "adapted":
        np.testing.assert_array_equal(same.predict(first.X_query), est.predict(first.X_query))
    twins = [twin.fit(second.X_support, second.y_support) for twin in (est, clone(same), same)]
    expected, *actual = (twin.predict(second.X_query) for twin in twins)
    for predicted in actual:
        np.testing.assert_array_equal(predicted, expected)
    np.testing.assert_array_equal(same.score_tasks(tasks), est.score_tasks(tasks))
    with pytest.raises((ValueError, TaskError)):
        same.fit(second.X_support[:, :2], second.y_support)


def test_unfitted_wrappers_are_loaded(tmp_path):
    for make in MAKERS.values():
        make("task").save(tmp_path / "file")
        assert repr(sklearn_meta.load(tmp_path / "file")) == repr(make("task"))


def test_parameters_of_load_are_those_of_the_wrapped_learner(tmp_path):
    guard = GuardedMetaRegressor(piped(regressor(), "pooled"), **QUICK).meta_fit(LINEAR)
    guard.save(tmp_path / "file")
    same = sklearn_meta.load(tmp_path / "file", task_chunk_size=3)
    assert same.estimator[-1].task_chunk_size == 3


@pytest.mark.parametrize("scope", ["task", "pooled"])
def test_imputers_and_encoders_need_no_trust(scope, tmp_path):
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"x": rng.normal(size=48), "k": np.resize(["a", "b"], 48)})
    frame.loc[::5, "x"] = np.nan
    y, who = np.arange(48) // 2 % 2, np.repeat(range(4), 12)
    steps = make_column_transformer((SimpleImputer(), ["x"]), (OneHotEncoder(), ["k"]))
    pipe = make_meta_pipeline(steps, classifier(), transform_scope=scope).meta_fit(frame, y, who)
    pipe.fit(frame[:12], y[:12]).save(tmp_path / "file")
    same = sklearn_meta.load(tmp_path / "file")
    np.testing.assert_array_equal(same.predict_proba(frame), pipe.predict_proba(frame))
    same.fit(frame[12:24], y[12:24])
    with pytest.raises(ValueError, match="feature names should match"):
        same.fit(frame[["k", "x"]][:12], y[:12])
