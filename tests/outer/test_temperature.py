"""The temperature of class probabilities: its closed form, and where it is used."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

import sklearn_meta
from sklearn_meta import MAMLClassifier, NewLabelsWarning, PooledClassifier, ProtoNetClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.outer.temperature import best_temperature
from sklearn_meta.tasks import Task

SMALL = {"hidden_layer_sizes": 16, "max_meta_iter": 40, "iters_per_epoch": 20, "random_state": 0}


def patients(n_tasks, seed, n_rows=20):
    rng = np.random.RandomState(seed)
    tasks = []
    for _ in range(n_tasks):
        X = rng.normal(size=(n_rows, 3))
        y = np.where(X @ [1, 1, 0] + rng.normal(size=n_rows) > 0.8 + rng.normal(), "yes", "no")
        tasks.append(Task(X, y, support=np.arange(5)))
    return tasks


TASKS = patients(40, 0)


def overconfident(cls):
    """A learner that has learned the rows of its tasks by heart."""
    return cls(**SMALL | {"meta_lr": 0.05, "hidden_layer_sizes": 64}, scaling=None)


def without(clf):
    """Remove the temperature of a prior."""
    object.__setattr__(clf.meta_state, "temperature", None)


@pytest.mark.parametrize("share", [0.5, 0.2])
@pytest.mark.parametrize(("size", "n_right"), [(2.0, 7), (3.0, 6), (5.0, 9)])
def test_the_best_temperature_of_one_margin_has_a_closed_form(size, n_right, share):
    """Logits (a, 0) that are right for a share q of the rows: b + (a - b) / T = logit(q)."""
    logits = torch.tensor([[[size, 0.0]] * 10])
    y = torch.eye(2)[[0] * n_right + [1] * (10 - n_right)][None]
    q, b = n_right / 10, np.log(share / (1 - share))
    expected = (size - b) / (np.log(q / (1 - q)) - b)
    weight = torch.tensor([[1.0] * 10 + [0.0] * 3])  # rows without weight do not count
    logits = torch.cat([logits, torch.full((1, 3, 2), 9.0)], 1)
    y = torch.cat([y, torch.zeros(1, 3, 2)], 1)
    found = best_temperature([(logits, y, weight)], np.array([share, 1 - share]))
    assert pytest.approx(expected, rel=1e-3) == found.T
    np.testing.assert_allclose(softmax(found(logits[0, :1].numpy()), axis=1)[:, 0], q, rtol=1e-3)


def test_the_temperature_stays_in_bounds_and_never_raises_the_loss():
    right, wrong = torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[-3.0, 0.0]]])
    y, weight, shares = torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1), np.array([0.5, 0.5])
    assert best_temperature([(right, y, weight)], shares) is None  # never below 1
    assert 9.9 < best_temperature([(wrong, y, weight)], shares).T <= 10
    assert best_temperature([(torch.zeros(1, 1, 2), y, weight)], shares) is None


@pytest.mark.parametrize("cls", [ProtoNetClassifier, MAMLClassifier, PooledClassifier])
def test_probabilities_are_those_of_the_logits_divided_by_the_temperature(cls, tmp_path):
    clf = overconfident(cls).meta_fit(TASKS)
    found, task = clf.meta_state.temperature, patients(1, 7)[0]
    P = clf.fit(task.X_support, task.y_support).predict_proba(task.X_query)
    np.testing.assert_allclose(clf.predict_tasks_with_proba([task])[0].proba, P, rtol=1e-6)
    clf.save(tmp_path / "fitted")
    loaded = sklearn_meta.load(tmp_path / "fitted")
    assert loaded.meta_state.temperature.T == found.T
    np.testing.assert_array_equal(loaded.predict_proba(task.X_query), P)
    without(clf)
    raw = clf.fit(task.X_support, task.y_support).predict_proba(task.X_query)
    np.testing.assert_allclose(softmax(found(np.log(raw)), axis=1), P, rtol=1e-5)
    assert np.abs(raw - P).max() > 0.01


def test_without_validation_local_or_new_labels_have_no_temperature():
    clf = ProtoNetClassifier(validation_fraction=None, **SMALL).meta_fit(TASKS)
    assert clf.meta_state.temperature is None
    clf = overconfident(ProtoNetClassifier).meta_fit(TASKS[:30], validation_tasks=TASKS[30:])
    assert clf.meta_state.temperature.T > 1
    task = TASKS[0]
    other = np.where(task.y_support == "yes", "a", "b")
    with pytest.warns(NewLabelsWarning):
        P = clf.fit(task.X_support, other).predict_proba(task.X_query)
    without(clf)
    with pytest.warns(NewLabelsWarning):
        same = clf.fit(task.X_support, other).predict_proba(task.X_query)
    np.testing.assert_array_equal(P, same)
    blobs = make_blob_tasks(24, random_state=0)
    local = ProtoNetClassifier(**SMALL).meta_fit(blobs[:20], validation_tasks=blobs[20:])
    assert local.meta_state.temperature is None
