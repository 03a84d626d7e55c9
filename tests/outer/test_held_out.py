"""Tasks that meta-training holds out where labels are shared."""

import numpy as np
import pytest

from sklearn_meta import PooledClassifier, ProtoNetClassifier
from sklearn_meta.datasets import make_blob_tasks

PARAMS = {"hidden_layer_sizes": 4, "iters_per_epoch": 2, "random_state": 0}


def patients(n_tasks, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n_tasks, 12, 2))
    return [(x, np.where(x[:, 0] + rng.normal(size=12) > 0.5, "yes", "no")) for x in X]


def has_held_out(clf, tasks, **kw):
    return "valid_loss" in clf.meta_fit(tasks, **kw).history_[-1]


@pytest.mark.parametrize(
    ("cls", "meta_lr", "seed"), [(PooledClassifier, 0.03, 1), (ProtoNetClassifier, 0.1, 0)]
)
def test_theta_is_that_of_the_best_epoch(cls, meta_lr, seed):
    params = {"hidden_layer_sizes": 16, "iters_per_epoch": 4, "random_state": seed}
    params |= {"meta_lr": meta_lr, "meta_lr_schedule": "constant", "validation_fraction": 0.2}
    rng = np.random.RandomState(0)
    X = rng.normal(size=(20, 12, 2))
    noise = [(x, np.where(rng.random_sample(12) > 0.7, "yes", "no")) for x in X]
    whole = cls(max_meta_iter=32, **params).meta_fit(noise)
    best = 1 + int(np.argmin(whole.history_[:, "valid_loss"]))
    assert 1 < best < 8
    ended = cls(max_meta_iter=4 * best, **params).meta_fit(noise)
    for name, p in whole.theta_.items():
        np.testing.assert_array_equal(ended.theta_[name], p)


def test_when_tasks_are_held_out():
    clf = PooledClassifier(max_meta_iter=4, **PARAMS)
    assert has_held_out(clf, patients(20))
    assert not has_held_out(clf, patients(19))  # one task would say little
    assert has_held_out(clf.set_params(validation_fraction=0.25), patients(8))
    assert not has_held_out(clf.set_params(max_meta_iter=2), patients(8))  # a single epoch
    assert not has_held_out(clf.set_params(max_meta_iter=4, meta_batch_size=8), patients(8))
    blobs = make_blob_tasks(30, n_shot=2, random_state=0)
    assert not has_held_out(ProtoNetClassifier(max_meta_iter=4, **PARAMS), blobs)  # local labels


def test_validation_tasks_replace_those_that_would_be_held_out():
    params = PARAMS | {"max_meta_iter": 4}
    tasks, valid = patients(20), patients(3, seed=1)
    one = PooledClassifier(**params).meta_fit(tasks, validation_tasks=valid)
    other = PooledClassifier(validation_fraction=None, **params)
    other.meta_fit(tasks, validation_tasks=valid)
    for name, p in one.theta_.items():
        np.testing.assert_array_equal(other.theta_[name], p)


def test_no_label_is_lost_to_the_tasks_that_are_held_out():
    tasks = patients(20)
    rare = [(X, np.append(y[:-1], f"only {i}")) for i, (X, y) in enumerate(tasks[:17])]
    clf = PooledClassifier(max_meta_iter=4, validation_fraction=0.5, **PARAMS)
    assert has_held_out(clf, rare + tasks[17:])  # of the last three
    assert len(clf.meta_state.classes) == 19


def test_the_seed_decides_which_tasks_are_held_out():
    tasks = patients(20)
    clf = PooledClassifier(max_meta_iter=4, **PARAMS)
    losses = [
        clf.set_params(random_state=seed).meta_fit(tasks).history_[:, "valid_loss"]
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_a_network_with_batch_statistics_has_rows_in_each_held_out_support():
    clf = ProtoNetClassifier(max_meta_iter=4, norm="batch", labels="shared", **PARAMS)
    assert has_held_out(clf, patients(20))
