"""Adapting many tasks in one pass is adapting them one after the other."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import r2_score
from torch import nn

from sklearn_meta import MAMLClassifier, MAMLRegressor, ProtoNetClassifier, Task, TaskError
from sklearn_meta.base import predict_tasks
from sklearn_meta.base.predict_tasks import r2_of_tasks
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.exceptions import StaleMetaStateWarning
from sklearn_meta.outer.scaling import scaling_of
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


COLD = ("maml prototype", "regressor of two outputs")  # all train in the same way


@pytest.mark.parametrize(
    ("case", "cold"), [*((case, False) for case in CASES), *((case, True) for case in COLD)]
)
def test_predict_tasks_is_fit_and_predict_in_a_loop(case, cold):
    est, tasks = CASES[case]
    tasks = tasks[:3] if cold else tasks
    est = clone(est) if cold else clone(est).meta_fit(tasks)
    for actual, expected in zip(est.predict_tasks(tasks), in_a_loop(est, tasks), strict=True):
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)
        else:
            np.testing.assert_array_equal(actual, expected)


def test_predict_tasks_of_single_precision():
    tasks = ragged(make_sinusoid_tasks(5, n_rows=14, random_state=0), np.float32)
    est = MAMLRegressor(**SMALL).meta_fit(tasks)
    assert {p.dtype for p in est.meta_state.theta.values()} == {np.dtype(np.float32)}
    for actual, expected in zip(est.predict_tasks(tasks), in_a_loop(est, tasks), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_small_chunks_and_batch_statistics_change_nothing(norm, monkeypatch):
    est = ProtoNetClassifier(norm=norm, n_shot=1, n_query=1, **SMALL)
    even = [split_task(t, n_shot=1, random_state=0) for t in make_blob_tasks(4, n_rows=4)]
    est = est.meta_fit(even)
    sizes = [2, 3, 1, 2]
    tasks = [split_task(t, n_shot=n, random_state=0) for t, n in zip(even, sizes, strict=True)]
    expected = in_a_loop(est, tasks)
    monkeypatch.setitem(predict_tasks.MAX_NUMBERS, "cpu", 1500)
    for actual, alone in zip(est.predict_tasks(tasks), expected, strict=True):
        np.testing.assert_array_equal(actual, alone)


def test_a_foreign_backbone_predicts_many_tasks():
    est = MAMLClassifier(**SMALL | {"backbone": lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh())})
    est = est.meta_fit(BLOBS)
    for actual, expected in zip(est.predict_tasks(BLOBS), in_a_loop(est, BLOBS), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_predictions_are_in_the_order_of_the_tasks():
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
def test_meta_fit_works_under_no_grad(off):
    est = MAMLClassifier(**SMALL)
    on = est.meta_fit(BLOBS).fit(BLOBS[0].X, BLOBS[0].y).predict_proba(BLOBS[0].X)
    many_on = est.predict_tasks(BLOBS)
    with off():
        result = est.meta_fit(BLOBS).fit(BLOBS[0].X, BLOBS[0].y).predict_proba(BLOBS[0].X)
        many_off = est.predict_tasks(BLOBS)
    np.testing.assert_array_equal(result, on)
    assert all(np.array_equal(a, b) for a, b in zip(many_on, many_off, strict=True))


def test_tasks_without_a_fixed_support_are_refused():
    est = ProtoNetClassifier(**SMALL).meta_fit(BLOBS)
    with pytest.raises(TaskError, match=r"Task 1 has no fixed support.*split_task"):
        est.predict_tasks([BLOBS[0], Task(BLOBS[1].X, BLOBS[1].y)], error_score="raise")


@pytest.mark.parametrize("method", ["predict_tasks", "score_tasks"])
def test_a_parameter_out_of_range_is_refused(method):
    est = MAMLClassifier(**SMALL).meta_fit(BLOBS).set_params(inner_steps=-1)
    with pytest.raises(ValueError, match="'inner_steps'"):
        getattr(est, method)(BLOBS)


def test_outputs_that_differ_from_meta_training_are_refused():
    est = MAMLRegressor(**SMALL).meta_fit(WAVES)
    with pytest.raises(TaskError, match=r"Task 0: y has rows of shape 2, .* of shape 1"):
        est.predict_tasks(PAIRS, error_score="raise")


def test_one_query_row_has_a_prediction_but_no_r2():
    rows = np.arange(6.0).reshape(-1, 1)
    task = Task(rows, rows[:, 0], support=np.arange(5))
    reg = MAMLRegressor(hidden_layer_sizes=4, random_state=0)
    assert reg.predict_tasks([task])[0].shape == (1,)
    with pytest.raises(TaskError, match=r"Task 0: R\^2 needs at least two query rows"):
        reg.score_tasks([task])


class Lazy:
    """Tasks that are made on access."""

    def __init__(self, tasks):
        self.tasks, self.asked = tasks, []

    def __len__(self):
        return len(self.tasks)

    def __getitem__(self, i):
        self.asked.append(i)
        return self.tasks[i]


@pytest.mark.parametrize("case", ["maml prototype", "regressor by task", "protonet"])
def test_windows_and_lazy_sequences_change_nothing(case, monkeypatch):
    est, tasks = CASES[case]
    est = clone(est).meta_fit(tasks)
    expected, scores = est.predict_tasks(tasks), est.score_tasks(tasks)
    monkeypatch.setattr(predict_tasks, "N_TASKS", 2)
    lazy = Lazy(tasks)
    for sequence in (tasks, tuple(tasks), lazy):
        np.testing.assert_allclose(est.score_tasks(sequence), scores, rtol=1e-9)
        for one, other in zip(est.predict_tasks(sequence), expected, strict=True):
            if one.dtype.kind == "f":
                np.testing.assert_allclose(one, other, rtol=1e-9)
            else:
                np.testing.assert_array_equal(one, other)
    assert max(np.bincount(lazy.asked)) <= 4  # at most twice for each of two calls


def test_a_cold_start_is_one_for_all_windows(monkeypatch):
    est, tasks = CASES["maml prototype"][0], BLOBS[:3]
    expected = clone(est).predict_tasks(tasks)
    monkeypatch.setattr(predict_tasks, "N_TASKS", 2)
    for one, other in zip(clone(est).predict_tasks(tasks), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: Task(np.where(t.X > 1e9, 0, np.nan), t.y, support=t.support), r"holds nan"),
        (lambda t: Task(t.X, t.y + 0.5, support=t.support), "continuous"),
        (lambda t: Task(t.X[:, :2], t.y, support=t.support), "those of task 0"),
        (lambda t: (t.X[0], t.y), "same number of rows"),
    ],
)
@pytest.mark.parametrize("n", [2, 100])
def test_an_error_names_the_position_of_the_bad_task(spoil, message, n, monkeypatch):
    tasks = [split_task(t, n_shot=1, random_state=0) for t in make_blob_tasks(4, n_features=4)]
    est = ProtoNetClassifier(**SMALL).meta_fit(tasks)
    monkeypatch.setattr(predict_tasks, "N_TASKS", n)
    tasks[3] = spoil(tasks[3])
    with pytest.raises(TaskError, match=f"Task 3.*{message}"):
        est.score_tasks(tasks, error_score="raise")


def test_r2_of_tasks_is_that_of_scikit_learn():
    rng = np.random.RandomState(0)
    for n, k in ((2, 1), (9, 1), (20, 1), (3, 2), (11, 3)):
        truth = rng.normal(size=(6, n, k)).round(1)
        truth[1], truth[2], truth[3, :, 0] = 0.1, 7.3, 2.0
        guess = truth + rng.normal(size=truth.shape)
        guess[2] = truth[2]
        expected = [r2_score(t, g) for t, g in zip(truth, guess, strict=True)]
        np.testing.assert_allclose(r2_of_tasks(truth, guess), expected, rtol=1e-12)


def test_statistics_of_a_stack_are_those_of_each_task():
    rng = np.random.RandomState(0)
    for shape in ((3,), (2, 2)):
        X = 1e6 + rng.normal(size=(4, 5, *shape))
        X[1, :, 0] = 2.0
        y, sizes = rng.normal(size=(4, 5, 2)), [5, 3, 1, 4]
        mask = np.arange(5) < np.array(sizes)[:, None]
        result = scaling_of(X, y, mask)
        for i, n in enumerate(sizes):
            alone = scaling_of(X[i, :n], y[i, :n], np.ones(n))
            for one, other in zip(result, alone, strict=True):
                np.testing.assert_allclose(np.squeeze(one[i]), other, rtol=1e-9)


def test_the_size_of_a_stack_depends_on_the_size_of_its_tasks(monkeypatch):
    est = MAMLRegressor(**SMALL).meta_fit(WAVES)
    _, f, theta = est.make_prior((1,), 1)
    rows, columns = np.full(50, 10), np.ones(50, int)
    sizes = []
    for at_once in (1, 10_000, 20_000):
        monkeypatch.setitem(predict_tasks.MAX_NUMBERS, "cpu", at_once)
        size = predict_tasks.tasks_at_once(f, theta, torch.device("cpu"), None)
        sizes.append(
            (size(rows, rows, columns), size(10 * rows, rows, columns), size(rows, rows, 9 * rows))
        )
    (least, same, of_few_labels), (some, fewer, of_many_labels), (more, _, _) = sizes
    assert least == same == of_few_labels == 1
    assert 1 < fewer < some < more < 50
    assert of_many_labels < some
    at_most = predict_tasks.tasks_at_once(f, theta, torch.device("cpu"), 3)
    assert at_most(rows, rows, columns) == 3


@pytest.mark.parametrize("size", [1, 2, None])
def test_task_chunk_size_changes_no_prediction(size):
    est = MAMLRegressor(**SMALL).meta_fit(WAVES)
    expected = est.score_tasks(WAVES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StaleMetaStateWarning)
        actual = est.set_params(task_chunk_size=size).score_tasks(WAVES)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)
