"""The MLAP bound is its formula, and true where the truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from sklearn_meta.analysis import gaussian_kl, linear_mlap_bound, mlap_bound
from sklearn_meta.exceptions import TaskError


def test_the_bound_is_the_sum_of_its_terms():
    losses, rows, kl = [0.1, 0.3], [10, 50], [1.0, 2.0]
    found = mlap_bound(losses, rows, kl, 0.5, delta=0.1)
    terms = [
        math.sqrt((0.5 + k + math.log(2 * 2 * m / 0.1)) / (2 * (m - 1)))
        for m, k in zip(rows, kl, strict=True)
    ]
    environment = math.sqrt((0.5 + math.log(2 * 2 / 0.1)) / 2)
    assert found.task_terms == pytest.approx(terms)
    assert found.environment_term == pytest.approx(environment)
    assert found.bound == pytest.approx(0.2 + np.mean(terms) + environment)
    assert found.vacuous
    assert str(found).startswith("Vacuous")


def test_many_tasks_of_many_rows_leave_the_empirical_loss():
    found = mlap_bound(np.full(10**6, 0.2), 10**7, 1.0, 1.0)
    assert not found.vacuous
    assert found.bound == pytest.approx(0.2, abs=0.01)
    assert "at most 0.20" in str(found)


def test_the_divergence_has_the_factor_of_the_dimension():
    rng, d, q, p = np.random.RandomState(0), 4, 0.5, 2.0
    offset = rng.normal(size=d)
    w = offset + q * rng.normal(size=(20000, d))
    drawn = np.sum(stats.norm.logpdf(w, offset, q) - stats.norm.logpdf(w, 0, p), axis=1)
    assert gaussian_kl(offset, q, p) == pytest.approx(drawn.mean(), abs=5 * stats.sem(drawn))
    assert gaussian_kl(np.zeros(d), p, p) == 0


def drawn_tasks(rng, n_tasks, n, *, labels):
    X = rng.normal(size=(n_tasks, n, 2))
    w = [1.0, -1.0] + 0.3 * rng.normal(size=(n_tasks, 2))
    y = np.einsum("tnd,td->tn", X, w) + 0.1 * rng.normal(size=(n_tasks, n))
    return list(zip(X, np.where(y > 0, "up", "down") if labels else y, strict=True))


@pytest.mark.parametrize("labels", [False, True])
def test_gibbs_losses_and_divergences_are_those_of_draws(labels):
    """Centres from the hyper-posterior, ridge toward each, weights around it, wrong rows."""
    rng = np.random.RandomState(0)
    tasks, theta = drawn_tasks(rng, 2, 8, labels=labels), np.array([0.5, -0.5])
    options = {"fit_intercept": False, "alpha": 3.0, "posterior_scale": 0.4}
    options |= {"hyper_posterior_scale": 0.3, "prior_scale": 0.8, "hyper_prior_scale": 2.0}
    found = linear_mlap_bound(tasks, theta, tolerance=None if labels else 0.5, **options)
    losses, kl = [], []
    for X, y in tasks:
        target = np.where(y == "up", 1.0, -1.0) if labels else y
        centre = theta + 0.3 * rng.normal(size=(20000, 2))
        inverse = np.linalg.inv(X.T @ X + 3 * np.eye(2))
        v = centre + (target - centre @ X.T) @ X @ inverse
        f = (v + 0.4 * rng.normal(size=v.shape)) @ X.T
        losses.append(np.mean(f * target < 0 if labels else np.abs(f - target) > 0.5))
        kl.append(np.mean([gaussian_kl(row, 0.4, 0.8) for row in (v - centre)[:2000]]))
    expected = mlap_bound(losses, 8, kl, gaussian_kl(theta, 0.3, 2.0))
    assert found.empirical == pytest.approx(expected.empirical, abs=0.01)
    assert found.task_terms == pytest.approx(expected.task_terms, abs=0.01)
    assert found.environment_term == pytest.approx(expected.environment_term)


def test_the_certificate_holds_for_new_tasks():
    """Not vacuous, and above the loss of the same rule on tasks never seen, on rows never seen."""
    rng = np.random.RandomState(0)
    tasks, new = drawn_tasks(rng, 300, 200, labels=True), drawn_tasks(rng, 100, 400, labels=True)
    scales = {"posterior_scale": 0.2, "hyper_posterior_scale": 0.1, "prior_scale": 0.5}
    found = linear_mlap_bound(tasks, fit_intercept=False, **scales)
    assert not found.vacuous
    X = np.concatenate([X for X, _ in tasks])
    y = np.concatenate([np.where(y == "up", 1.0, -1.0) for _, y in tasks])
    theta = np.linalg.solve(X.T @ X + np.eye(2), X.T @ y)
    wrong = []
    for X, labels in new:
        y = np.where(labels == "up", 1.0, -1.0)
        centre, A, b = theta + 0.1 * rng.normal(size=2), X[:200], y[:200]
        v = centre + np.linalg.solve(A.T @ A + np.eye(2), A.T @ (b - A @ centre))
        wrong.append(np.mean((X[200:] @ (v + 0.2 * rng.normal(size=2))) * y[200:] < 0))
    assert np.mean(wrong) < found.bound


def test_what_the_bound_is_not_for_is_refused():
    with pytest.raises(ValueError, match=r"losses in \[0, 1\]; losses\[1\] is 1.5"):
        mlap_bound([0.5, 1.5], 10, 1.0, 1.0)
    with pytest.raises(ValueError, match="losses in"):
        mlap_bound([0.5, np.nan], 10, 1.0, 1.0)
    with pytest.raises(ValueError, match="at least 2 tasks"):
        mlap_bound([0.5], 10, 1.0, 1.0)
    with pytest.raises(ValueError, match="n_rows must be finite and at least 2"):
        mlap_bound([0.5, 0.5], 1, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"kl_tasks .* got shape \(3,\) with losses of shape"):
        mlap_bound([0.5, 0.5], 9, [1.0, 1.0, 1.0], 1.0)
    tasks = drawn_tasks(np.random.RandomState(0), 3, 5, labels=False)
    with pytest.raises(ValueError, match="needs a tolerance"):
        linear_mlap_bound(tasks)
    with pytest.raises(ValueError, match=r"theta .* got shape \(2,\) for rows of 3"):
        linear_mlap_bound(tasks, [0.0, 0.0], tolerance=1.0)
    with pytest.raises(TaskError, match="needs two classes in all; there are 3"):
        linear_mlap_bound([([[0.0], [1.0], [2.0]], ["a", "b", "c"])] * 2)
