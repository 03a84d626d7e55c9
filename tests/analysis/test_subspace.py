"""E[y^2 x x'] = 2 Gamma + (tr Gamma + s2) I, and the subspace found by it."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from sklearn_meta.analysis import task_subspace
from sklearn_meta.exceptions import TaskError


def tasks_in(basis, n_tasks, n, noise, seed, *, mix=None, mean=0.0):
    """Tasks w = B a, a ~ N(0, I), with rows N(mean, mix mix')."""
    rng, (d, r) = np.random.RandomState(seed), basis.shape
    X = rng.normal(size=(n_tasks, n, d))
    X = mean + (X if mix is None else X @ mix.T)
    w = rng.normal(size=(n_tasks, r)) @ basis.T
    y = np.einsum("tnd,td->tn", X, w) + noise * rng.normal(size=(n_tasks, n))
    return list(zip(X, y, strict=True)), w


def basis_of(d, r, seed=0):
    return np.linalg.qr(np.random.RandomState(seed).normal(size=(d, r)))[0]


@pytest.mark.parametrize("method", ["squares", "pairs"])
def test_moments_are_those_of_the_identity(method):
    basis = basis_of(6, 2) * [2.0, 1.0]
    tasks, w = tasks_in(basis, 4000, 10, 1.0, 0)
    found = task_subspace(tasks, 2, method=method, n_resamples=20, random_state=0)
    np.testing.assert_allclose(found.moment, w.T @ w / len(w), atol=0.2)
    if method == "squares":  # the estimator is the identity, solved for Gamma
        X, y = np.concatenate([X for X, _ in tasks]), np.concatenate([y for _, y in tasks])
        left = (X * y[:, None] ** 2).T @ X / len(X)
        right = 2 * basis @ basis.T + (5 + 1) * np.eye(6)
        np.testing.assert_allclose(left, right, atol=0.4)
    assert found.task_diversity == pytest.approx(1, abs=0.15)
    assert np.sin(subspace_angles(found.components.T, basis)).max() < 0.15


@pytest.mark.parametrize("method", ["squares", "pairs"])
def test_the_subspace_is_that_of_the_coefficients_given(method):
    """Whitening is undone: rows may be correlated and lie anywhere."""
    basis, mix = basis_of(5, 2, 1), np.linalg.cholesky(0.5 * np.eye(5) + 0.5) * 3
    tasks, _ = tasks_in(basis, 1000, 20, 0.5, 2, mix=mix, mean=0.3)
    found = task_subspace(tasks, method=method, n_resamples=20, random_state=0)
    assert len(found.components) == 2
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(2), atol=1e-12)
    assert np.sin(subspace_angles(found.components.T, basis)).max() < 0.1
    assert found.interval[0] > 0
    assert "in 2 directions. The tasks cover them" in str(found)


def test_a_direction_that_no_task_has_is_told_from_noise():
    tasks, _ = tasks_in(basis_of(4, 1), 200, 10, 1.0, 0)
    found = task_subspace(tasks, 3, method="pairs", n_resamples=50, random_state=0)
    assert found.task_diversity < 0.1 * found.eigenvalues[0]
    assert len(found.components) == 3


def test_pairs_do_not_need_gaussian_rows():
    """With signs as rows, the fourth moments of the identity are others."""
    rng = np.random.RandomState(0)
    X, w = rng.choice([-1.0, 1.0], size=(2000, 10, 3)), np.array([1.0, 0.0, 0.0])
    tasks = [(rows, rows @ w) for rows in X]
    asked = {"target_type": "real", "n_resamples": 5, "random_state": 0}  # y is 1 or -1
    pairs = task_subspace(tasks, 1, method="pairs", **asked)
    np.testing.assert_allclose(pairs.moment, np.outer(w, w), atol=0.05)
    squares = task_subspace(tasks, 1, **asked)
    np.testing.assert_allclose(squares.moment, 0, atol=0.05)


def test_what_cannot_be_found_is_said():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(3, 4, 2))
    with pytest.raises(TaskError, match="do not vary in every direction"):
        task_subspace([(np.column_stack([rows, rows[:, 0]]), rows[:, 0]) for rows in X])
    with pytest.raises(TaskError, match="Task 1: method='pairs' needs at least 2 rows"):
        task_subspace([(X[0], X[0, :, 0]), (X[1, :1], X[1, :1, 0])], method="pairs")
    with pytest.raises(ValueError, match="n_components"):
        task_subspace([(rows, rows[:, 0]) for rows in X], 3)
    with pytest.raises(ValueError, match="'method' parameter"):
        task_subspace([(rows, rows[:, 0]) for rows in X], method="pca")
