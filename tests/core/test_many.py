"""Adapting many tasks in one pass is adapting them one after the other."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import r2_score
from torch import nn

from sklearn_meta import MAMLClassifier, MAMLRegressor, ProtoNetClassifier, Task, TaskError
from sklearn_meta.core import stack_size
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.tasks import split_task

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 3, "random_state": 0, "device": "cpu"}


def ragged(tasks, dtype=np.float64):
    """Tasks of different rows and classes, their labels strings in some."""
    cut = []
    for i, task in enumerate(tasks):
        some = slice(i % 3, len(task.X))
        if isinstance(task.y.flat[0], np.floating):
            part = Task(task.X[some].astype(dtype), task.y[some])
            cut.append(split_task(part, n_support=3 + i, random_state=i))
            continue
        keep = task.y != (i % 3 if i % 2 else -1)
        y = np.array([f"k{k}" for k in task.y]) if i % 3 == 2 else task.y
        part = Task(task.X[keep].astype(dtype), y[keep])
        cut.append(split_task(part, n_shot=1 + i % 2, random_state=i))
    return cut


BLOBS = ragged(make_blob_tasks(6, n_rows=6, n_features=4, random_state=0))
WAVES = ragged(make_sinusoid_tasks(5, n_rows=14, random_state=0))
PAIRS = [Task(t.X, np.c_[t.y, -2 * t.y + 1], support=t.support) for t in WAVES]


def in_a_loop(est, tasks):
    return [clone(est).fit(t.X_support, t.y_support).predict(t.X_query) for t in tasks]


CASES = {
    "maml prototype": (MAMLClassifier(**SMALL), BLOBS),
    "maml shared": (MAMLClassifier(head="shared", **SMALL), BLOBS),
    "maml fixed": (MAMLClassifier(head="fixed", **SMALL), BLOBS),
    "maml by task": (MAMLClassifier(scaling="task", **SMALL), BLOBS),
    "maml unscaled": (MAMLClassifier(scaling=None, **SMALL), BLOBS),
    "protonet": (ProtoNetClassifier(**SMALL), BLOBS),
    "protonet cosine by task": (
        ProtoNetClassifier(distance="cosine", scaling="task", **SMALL),
        BLOBS,
    ),
    "regressor": (MAMLRegressor(**SMALL), WAVES),
    "regressor by task": (MAMLRegressor(scaling="task", **SMALL), WAVES),
    "regressor of two outputs": (MAMLRegressor(**SMALL), PAIRS),
}


COLD = ("maml prototype", "regressor", "regressor of two outputs")  # all train in the same way


@pytest.mark.parametrize(
    ("case", "cold"), [*((case, False) for case in CASES), *((case, True) for case in COLD)]
)
def test_predict_tasks_is_fit_and_predict_in_a_loop(case, cold):
    est, tasks = CASES[case]
    est = clone(est) if cold else clone(est).meta_fit(tasks)
    for found, expected in zip(est.predict_tasks(tasks), in_a_loop(est, tasks), strict=True):
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
        else:
            np.testing.assert_array_equal(found, expected)


def test_predict_tasks_of_single_precision():
    tasks = ragged(make_sinusoid_tasks(5, n_rows=14, random_state=0), np.float32)
    est = MAMLRegressor(**SMALL).meta_fit(tasks)
    assert {p.dtype for p in est._meta_state.theta.values()} == {np.dtype(np.float32)}
    for found, expected in zip(est.predict_tasks(tasks), in_a_loop(est, tasks), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_small_chunks_and_batch_statistics_change_nothing(norm, monkeypatch):
    est = ProtoNetClassifier(norm=norm, n_shot=1, n_query=1, **SMALL)
    even = [split_task(t, n_shot=1, random_state=0) for t in make_blob_tasks(4, n_rows=4)]
    est = est.meta_fit(even)
    sizes = [2, 3, 1, 2]
    tasks = [split_task(t, n_shot=n, random_state=0) for t, n in zip(even, sizes, strict=True)]
    expected = in_a_loop(est, tasks)
    monkeypatch.setitem(stack_size.AT_ONCE, "cpu", 1500)
    for found, alone in zip(est.predict_tasks(tasks), expected, strict=True):
        np.testing.assert_array_equal(found, alone)


def test_a_foreign_backbone_predicts_many_tasks():
    est = MAMLClassifier(**SMALL | {"backbone": lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh())})
    est = est.meta_fit(BLOBS)
    for found, expected in zip(est.predict_tasks(BLOBS), in_a_loop(est, BLOBS), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_order_of_the_tasks_is_kept():
    est = MAMLRegressor(**SMALL).meta_fit(WAVES)
    forth, back = est.predict_tasks(WAVES), est.predict_tasks(WAVES[::-1])
    for one, other in zip(forth, back[::-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    assert [len(y) for y in forth] == [len(t.y_query) for t in WAVES]


def test_score_tasks_are_accuracies():
    est = ProtoNetClassifier(**SMALL).meta_fit(BLOBS)
    alone = [np.mean(p == t.y_query) for p, t in zip(in_a_loop(est, BLOBS), BLOBS, strict=True)]
    np.testing.assert_allclose(est.score_tasks(BLOBS), alone)


def test_score_tasks_are_r2_in_the_units_of_y():
    tasks = [Task(t.X, 100 * t.y + 7, support=t.support) for t in WAVES]
    est = MAMLRegressor(**SMALL).meta_fit(tasks)
    alone = [r2_score(t.y_query, p) for p, t in zip(in_a_loop(est, tasks), tasks, strict=True)]
    np.testing.assert_allclose(est.score_tasks(tasks), alone, rtol=1e-6)


def test_many_tasks_leave_the_estimator_as_it_was():
    est = ProtoNetClassifier(**SMALL).meta_fit(BLOBS).fit(BLOBS[0].X, BLOBS[0].y)
    before = dict(vars(est))
    est.predict_tasks(BLOBS)
    assert vars(est) == before


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_gradients_may_be_off_outside(off):
    est = MAMLClassifier(**SMALL)
    on = est.meta_fit(BLOBS).fit(BLOBS[0].X, BLOBS[0].y).predict_proba(BLOBS[0].X)
    many_on = est.predict_tasks(BLOBS)
    with off():
        found = est.meta_fit(BLOBS).fit(BLOBS[0].X, BLOBS[0].y).predict_proba(BLOBS[0].X)
        many_off = est.predict_tasks(BLOBS)
    np.testing.assert_array_equal(found, on)
    assert all(np.array_equal(a, b) for a, b in zip(many_on, many_off, strict=True))


def test_tasks_without_a_fixed_support_are_refused():
    est = ProtoNetClassifier(**SMALL).meta_fit(BLOBS)
    with pytest.raises(TaskError, match=r"Task 1 has no fixed support.*split_task"):
        est.predict_tasks([BLOBS[0], Task(BLOBS[1].X, BLOBS[1].y)])


@pytest.mark.parametrize("method", ["predict_tasks", "score_tasks"])
def test_a_parameter_out_of_range_is_refused(method):
    est = MAMLClassifier(**SMALL).meta_fit(BLOBS).set_params(inner_steps=-1)
    with pytest.raises(ValueError, match="'inner_steps'"):
        getattr(est, method)(BLOBS)


def test_outputs_that_differ_from_meta_training_are_refused():
    est = MAMLRegressor(**SMALL).meta_fit(WAVES)
    with pytest.raises(TaskError, match=r"Task 0: y has rows of shape 2, .* of shape 1"):
        est.predict_tasks(PAIRS)


def test_one_query_row_has_a_prediction_but_no_r2():
    rows = np.arange(6.0).reshape(-1, 1)
    task = Task(rows, rows[:, 0], support=np.arange(5))
    reg = MAMLRegressor(hidden_layer_sizes=4, random_state=0)
    assert reg.predict_tasks([task])[0].shape == (1,)
    with pytest.raises(TaskError, match=r"Task 0: R\^2 needs at least two query rows"):
        reg.score_tasks([task])
