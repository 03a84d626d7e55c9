"""Pipelines refuse bad input before their transformers see it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import sklearn_meta
from sklearn_meta import (
    HierarchicalClassifier,
    ProtoNetClassifier,
    SaveError,
    SkippedTaskWarning,
    TaskError,
)
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.model_selection import TaskEstimator, compare
from sklearn_meta.pipeline import MetaPipeline, make_meta_pipeline

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "random_state": 0, "device": "cpu"}
BLOBS = make_blob_tasks(6, n_way=3, n_rows=8, n_features=3, n_shot=2, random_state=0)
FRAMES = [(pd.DataFrame(t.X, columns=list("abc")), t.y) for t in BLOBS]
each_scope = pytest.mark.parametrize("scope", ["task", "pooled"])


def scaled(scope="task", steps=()):
    return make_meta_pipeline(
        *steps, StandardScaler(), ProtoNetClassifier(**SMALL), transform_scope=scope
    )


@each_scope
def test_rows_of_one_task_do_not_get_the_labels_of_another(scope):
    X, y = BLOBS[0].X, BLOBS[0].y
    shifted = [(X, y[:-1]), (X, np.r_[y, 0])]  # as many labels as rows, of both together
    with pytest.raises(TaskError, match=r"Task 0: X and y .* \(24, 3\) and y of shape \(23,\)"):
        scaled(scope).meta_fit(shifted)
    with pytest.raises(TaskError, match=r"Task 1: its support: X and y .* \(9,\)"):
        scaled(scope).meta_fit([(X, y), (X[:8], y[:9], X[8:], y[9:])])
    with pytest.raises(TaskError, match=r"Task 1: X of shape \(0, 3\) has no rows"):
        scaled(scope).meta_fit([(X, y), (X[:0], y[:0])])


@each_scope
def test_columns_of_other_names_are_refused(scope):
    X, y = FRAMES[1]
    for other in (X[["c", "b", "a"]], X.rename(columns={"a": "z"})):
        with pytest.raises(TaskError, match=r"Task 1: its feature names .* task 0 are \('a', 'b'"):
            scaled(scope).meta_fit([FRAMES[0], (other, y), *FRAMES[2:]])
        with pytest.raises(TaskError, match=r"Task 1: its query: its feature names .* support are"):
            scaled(scope).meta_fit([FRAMES[0], (X[:6], y[:6], other[6:], y[6:])])
        with pytest.raises(TaskError, match=r"In validation_tasks: Task 0: its feature names"):
            scaled(scope).meta_fit(FRAMES, validation_tasks=[(other, y)])


@each_scope
def test_columns_are_compared_with_those_of_meta_fit(scope, tmp_path):
    pipe = scaled(scope).meta_fit(FRAMES)
    pipe.save(tmp_path / "pipe")
    X, y = FRAMES[0]
    other = X[["b", "a", "c"]]
    for twin in (pipe, clone(pipe), sklearn_meta.load(tmp_path / "pipe")):
        assert twin.fit(X, y).predict(X).shape == y.shape
        with pytest.raises(ValueError, match=r"columns|feature names"):
            twin.fit(other, y)
        with pytest.raises(ValueError, match=r"columns|feature names"):
            twin.score_tasks([(other[:6], y[:6], other[6:], y[6:])])
        twin.reset_meta().fit(other, y)


def test_arrays_and_frames_mix():
    mixed = [FRAMES[0], *((X.to_numpy(), y) for X, y in FRAMES[1:])]
    pipe, (X, y) = scaled().meta_fit(mixed), FRAMES[0]
    assert pipe.predict_tasks(BLOBS[:1])[0].shape == (18,)
    assert pipe.fit(X.to_numpy(), y).predict(X.to_numpy()).shape == y.shape


def test_frames_that_cannot_be_stacked():
    pl = pytest.importorskip("polars")
    whole, real = pl.DataFrame({"a": [1, 2, 3, 4]}), pl.DataFrame({"a": [1.0, 2, 3, 4]})
    for other in (real, real.to_numpy(), pd.DataFrame({"a": [1.0, 2, 3, 4]})):
        tasks = [(whole, [0, 0, 1, 1]), (other, [0, 0, 1, 1])]
        if isinstance(other, np.ndarray):
            assert scaled("pooled").meta_fit(tasks).theta_
            continue
        with pytest.raises(TaskError, match=r"cannot be stacked: .*same types"):
            scaled("pooled").meta_fit(tasks)


@each_scope
def test_a_series_as_x_is_refused(scope):
    with pytest.raises(ValueError, match="Expected a 2-dimensional container but got"):
        scaled(scope).meta_fit([(pd.Series([1.0, 2, 3, 4]), [0, 0, 1, 1])] * 2)


@each_scope
def test_a_step_may_be_none(scope):
    steps = [("nothing", None), ("scale", StandardScaler()), ("net", ProtoNetClassifier(**SMALL))]
    pipe = MetaPipeline(steps, transform_scope=scope).meta_fit(BLOBS)
    plain = scaled(scope).meta_fit(BLOBS)
    np.testing.assert_array_equal(pipe.score_tasks(BLOBS), plain.score_tasks(BLOBS))
    task = BLOBS[0]
    np.testing.assert_array_equal(
        pipe.fit(task.X, task.y).predict_proba(task.X),
        plain.fit(task.X, task.y).predict_proba(task.X),
    )


def test_pooled_steps_that_were_added_or_left_out_are_refused():
    pipe = scaled("pooled", [PCA(2)]).meta_fit(BLOBS)
    for steps in (pipe.steps[1:], [pipe.steps[1], pipe.steps[0], pipe.steps[2]]):
        other = clone(pipe)
        other.steps = steps
        with pytest.raises(ValueError, match=r"fitted by meta_fit are \['pca', 'st"):
            other.fit(BLOBS[0].X, BLOBS[0].y)


def test_a_pipeline_in_a_pipeline_is_searched_as_one():
    nested = MetaPipeline([("scale", StandardScaler()), ("inner", scaled(steps=[PCA(2)]))])
    score = TaskEstimator(nested).fit(FRAMES).score(FRAMES)
    steps = [t for _, t in scaled(steps=[PCA(2)]).steps]
    flat = make_meta_pipeline(StandardScaler(), *steps, transform_scope="task")
    assert score == TaskEstimator(flat).fit(FRAMES).score(FRAMES)


class MyPipeline(MetaPipeline):
    """Of a user."""


def test_every_kind_of_pipeline_is_saved(tmp_path):
    learner = ("net", ProtoNetClassifier(**SMALL))
    for pipe in (
        MyPipeline([learner]),
        MetaPipeline([("inner", MetaPipeline([learner]))]),
        make_meta_pipeline(StandardScaler(), HierarchicalClassifier()),
    ):
        pipe.meta_fit(BLOBS).save(tmp_path / "file")
        same = sklearn_meta.load(tmp_path / "file", types=[MyPipeline])
        assert type(same) is type(pipe)
        for a, b in zip(same.predict_tasks(BLOBS), pipe.predict_tasks(BLOBS), strict=True):
            np.testing.assert_array_equal(a, b)
    MyPipeline([learner]).save(tmp_path / "file")
    with pytest.raises(SaveError, match=r"types that are not trusted: .*MyPipeline"):
        sklearn_meta.load(tmp_path / "file")


def test_a_missing_label_of_a_table_costs_one_task():
    table = pd.concat([f.assign(y=y.astype(str), name=f"t{i}") for i, (f, y) in enumerate(FRAMES)])
    table.iloc[30, 3] = None  # of the second task
    learner = HierarchicalClassifier(unusable="skip")
    pipe = make_meta_pipeline(StandardScaler(), learner, transform_scope="pooled")
    with pytest.warns(SkippedTaskWarning, match=r"1 of 6.*Task 1 \('t1'\): y of shape"):
        pipe.meta_fit(table, "y", "name")
    with pytest.warns(SkippedTaskWarning):
        outer = TaskEstimator(pipe, task="name").fit(table.drop(columns="y"), table["y"])
    assert [entry[:2] for entry in outer.skipped_tasks_] == [(1, "t1")]
    how = {"cv": 2, "seeds": 1, "support_sizes": 1, "baselines": [], "unusable": "skip"}
    with pytest.warns(SkippedTaskWarning):
        result = compare(pipe, table, "y", "name", **how)
    assert {record.task for record in result.records} == {0, 2, 3, 4, 5}
    with pytest.raises(TaskError, match=r"Task 1 \('t1'\): y of shape \(24,\) holds nan at row 6"):
        pipe.set_params(hierarchicalclassifier__unusable="raise").meta_fit(table, "y", "name")
