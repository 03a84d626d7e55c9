"""Maximum mean discrepancy: the U-statistic, and its mean in closed form."""

import tracemalloc

import numpy as np
import pytest

from sklearn_meta.analysis import nearest_tasks, task_distances
from sklearn_meta.tasks import Task


def squared(tasks, bandwidth, **params):
    params = {"scale": False, "squared": True, "bandwidth": bandwidth, **params}
    return task_distances(tasks, metric="mmd", metric_params=params)


def kernel(a, b, width):
    return np.exp(-((a[:, None] - b) ** 2).sum(axis=-1) / (2 * width**2))


def u_statistic(a, b, width):
    def within(x):
        return kernel(x, x, width)[~np.eye(len(x), dtype=bool)].mean()

    return within(a) + within(b) - 2 * kernel(a, b, width).mean()


def of_gaussians(m1, S1, m2, S2, width):
    def mean_kernel(m, S, n, T):
        d, eye = m - n, np.eye(len(m))
        middle = np.linalg.solve(width**2 * eye + S + T, d)
        return np.linalg.det(eye + (S + T) / width**2) ** -0.5 * np.exp(-0.5 * d @ middle)

    both = mean_kernel(m1, S1, m2, S2)
    return mean_kernel(m1, S1, m1, S1) + mean_kernel(m2, S2, m2, S2) - 2 * both


M1, M2 = np.array([0.0, 0.0]), np.array([0.7, -0.2])
S1, S2 = np.array([[1.0, 0.3], [0.3, 0.5]]), np.array([[0.6, -0.1], [-0.1, 1.4]])


def test_it_is_the_u_statistic_of_ragged_tasks_in_parts_or_not(monkeypatch):
    rng = np.random.RandomState(0)
    X = [rng.normal(i, 1, (n, 3)) for i, n in enumerate((2, 7, 30, 4, 11))]
    tasks = [(x, np.arange(len(x)) % 2) for x in X]
    expected = [[0.0 if a is b else u_statistic(a, b, 1.7) for b in X] for a in X]
    np.testing.assert_allclose(squared(tasks, 1.7), expected, atol=1e-12)
    far = [(x + 1e6, y) for x, y in tasks]
    np.testing.assert_allclose(squared(far, 1.7), expected, atol=1e-8)
    for at_once in (1, 500):
        monkeypatch.setattr("sklearn_meta.analysis._mmd.AT_ONCE", at_once)
        np.testing.assert_allclose(squared(tasks, 1.7), expected, atol=1e-12)


@pytest.mark.slow
def test_memory_is_bounded_however_large_a_task(monkeypatch):
    monkeypatch.setattr("sklearn_meta.analysis._mmd.AT_ONCE", 2**16)
    rng = np.random.RandomState(0)
    tasks = [Task(rng.normal(size=(n, 1)), np.arange(n) % 2) for n in (1500, 1500)]
    whole = 8 * 1500**2  # bytes of the kernel of one task
    for n_tasks in (2, 1):  # among themselves, and a new one alone
        tracemalloc.start()
        params = {"metric": "mmd", "metric_params": {"bandwidth": 1}}
        nearest_tasks(tasks[:n_tasks], tasks[-1], **params)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < whole / 4


@pytest.mark.slow
def test_its_mean_over_small_samples_is_the_closed_form():
    rng = np.random.RandomState(0)
    truth, result = of_gaussians(M1, S1, M2, S2, 1.2), []
    for _ in range(400):
        a, b = rng.multivariate_normal(M1, S1, 8), rng.multivariate_normal(M2, S2, 12)
        result.append(squared([(a, np.arange(8) % 2), (b, np.arange(12) % 2)], 1.2)[0, 1])
    error = np.std(result) / 20
    assert abs(np.mean(result) - truth) < 3 * error < truth / 4  # no bias that shows


def test_regression_compares_inputs_and_targets_together():
    rng = np.random.RandomState(0)
    truth = of_gaussians(M1, S1, M2, S2, 1.0)
    a, b = rng.multivariate_normal(M1, S1, 1500), rng.multivariate_normal(M2, S2, 1500)
    result = squared([(a[:, :1], a[:, 1]), (b[:, :1], b[:, 1])], 1.0)
    np.testing.assert_allclose(result[0, 1], truth, atol=0.01)
    assert truth > 0.05


def test_the_bandwidth_is_the_median_distance_and_distances_are_roots():
    X = np.array([[0.0], [1.0], [3.0], [7.0]])  # distances 1, 2, 3, 4, 6, 7
    tasks = [(X[:2], [0, 1]), (X[2:], [0, 1])]
    np.testing.assert_allclose(squared(tasks, None), squared(tasks, 3.5))
    rooted = squared(tasks, None, squared=False)
    np.testing.assert_allclose(rooted**2, np.maximum(squared(tasks, 3.5), 0))
    same = [(np.zeros((3, 2)), [0, 1, 1])] * 2  # no two rows differ
    assert (task_distances(same, metric="mmd") == 0).all()


def test_the_bandwidth_of_many_rows_is_that_of_some():
    rng = np.random.RandomState(0)
    tasks = [(rng.normal(m, 1, (700, 2)), np.arange(700) % 2) for m in (0, 1)]
    first, again, other = (
        task_distances(tasks, metric="mmd", random_state=seed)[0, 1] for seed in (0, 0, 1)
    )
    assert first == again != other
    np.testing.assert_allclose(first, other, rtol=0.02)


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan])
def test_a_bandwidth_is_positive(width):
    with pytest.raises(ValueError, match="'bandwidth' parameter of metric='mmd'"):
        squared([(np.eye(2), [0, 1])], width)
