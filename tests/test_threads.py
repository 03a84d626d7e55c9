"""Equal seeds give equal bits: in threads, in processes, and under another default dtype."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from sklearn_meta import MAMLClassifier, MAMLRegressor, ProtoNetClassifier
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.testing import all_estimators

LABELS = make_blob_tasks(6, n_shot=2, n_rows=20, n_features=3, random_state=0)
REALS = list(make_linear_tasks(6, n_features=3, random_state=0).tasks)
SMALL = {"max_meta_iter": 2, "meta_batch_size": 2, "random_state": 0}
PROFILED = {"hidden_layer_sizes": (256, 256), **SMALL}  # large enough that memory is estimated
each_estimator = pytest.mark.parametrize(("name", "cls"), all_estimators())


class Noisy(nn.Module):
    """Draws in its forward pass, in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 5)

    def forward(self, X):
        return self.linear(X + 0.1 * torch.randn_like(X)).relu()


def foreign():
    return nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.Tanh())


def outcome(est, tasks):
    """Everything that a run computes, as one vector."""
    X, y = tasks[0].X[:8], tasks[0].y[:8]
    cold = est.reset_meta().fit(X, y).predict(X)
    est = est.meta_fit(tasks, validation_tasks=tasks[:2])
    learned = [p.ravel() for p in est.theta_.values()]
    adapted = est.fit(X, y).predict(X)
    parts = [*learned, est.history_[:, "valid_loss"], cold.ravel(), adapted.ravel()]
    return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])


def of(name, cls, **params):
    return cls(**{"hidden_layer_sizes": 4, **SMALL, **params}), (
        LABELS if name.endswith("Classifier") else REALS
    )


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.slow
@each_estimator
def test_torchs_default_dtype_changes_nothing(name, cls):
    est, tasks = of(name, cls)
    fixed = [type(t)(t.X, t.y, support=[0, 1, 2, -1, -2, -3]) for t in REALS]
    fixed = tasks if tasks is LABELS else fixed
    expected = outcome(est, tasks), est.score_tasks(fixed)
    with default_dtype(torch.float64):
        actual = outcome(est, tasks), est.score_tasks(fixed)
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("backbone", [foreign, Noisy])
def test_torchs_default_dtype_changes_no_custom_network(backbone):
    est, tasks = of("MAMLClassifier", MAMLClassifier, backbone=backbone)
    expected = outcome(est, tasks)
    with default_dtype(torch.float64):
        np.testing.assert_array_equal(outcome(est, tasks), expected)


CASES = {
    "ProtoNet": (ProtoNetClassifier(**PROFILED), LABELS),
    "MAML": (MAMLClassifier(**PROFILED), LABELS),
    "MAML, a network of the user's": (MAMLClassifier(backbone=foreign, **SMALL), LABELS),
    "MAML, a network that draws": (
        MAMLRegressor(backbone=Noisy, activation_checkpointing=True, **SMALL),
        REALS,
    ),
}


def run(case, seed):
    est, tasks = CASES[case]
    return outcome(type(est)(**est.get_params() | {"random_state": seed}), tasks)


@pytest.mark.slow
def test_fifty_runs_in_threads_and_processes():
    torch_state = torch.get_rng_state()
    alone = {(case, seed): run(case, seed) for case in CASES for seed in (0, 1)}
    for case in CASES:
        assert not np.array_equal(alone[case, 0], alone[case, 1])
    jobs = (list(alone) * 4)[:25]
    for backend, n_jobs in (("threading", 4), ("loky", 2)):
        many = joblib.Parallel(n_jobs, backend=backend)(joblib.delayed(run)(*job) for job in jobs)
        for job, values in zip(jobs, many, strict=True):
            np.testing.assert_array_equal(values, alone[job])
    assert torch.equal(torch_state, torch.get_rng_state())


def test_memory_is_estimated_in_threads():
    est = MAMLClassifier(**PROFILED, inner_steps=2)
    alone = est.estimate_memory(LABELS).total
    with ThreadPoolExecutor(3) as pool:
        totals = list(pool.map(lambda _: est.estimate_memory(LABELS).total, range(3)))
    assert set(totals) == {alone}


def test_meta_fit_under_the_users_own_profiler():
    with torch.profiler.profile() as profiler:
        MAMLClassifier(**PROFILED).meta_fit(LABELS)
    assert len(profiler.key_averages()) > 0


@pytest.mark.slow
@each_estimator
def test_every_estimator_in_threads(name, cls):
    est, tasks = of(name, cls)
    expected = outcome(est, tasks)

    def run(_):
        return outcome(type(est)(**est.get_params()), tasks)

    with ThreadPoolExecutor(3) as pool:
        for values in pool.map(run, range(3)):
            np.testing.assert_array_equal(values, expected)
