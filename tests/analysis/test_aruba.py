"""ARUBA's inequality holds on every path; V / D says what the start saves."""

import numpy as np
import pytest
from scipy.optimize import minimize

from sklearn_meta.analysis import aruba_regret
from sklearn_meta.datasets import make_linear_tasks


def random_tasks(seed):
    """Tasks of any size, scale and relation, regression or classification, sometimes separable."""
    rng = np.random.RandomState(seed)
    d, scale = rng.randint(1, 6), 10 ** rng.uniform(-1, 1)
    mean, tasks = rng.normal(size=d) * rng.choice([0, 3]), []
    for n in rng.randint(2, 25, rng.randint(2, 7)):
        X = scale * rng.normal(size=(n, d))
        y = X @ (mean + rng.uniform(0, 2) * rng.normal(size=d)) + rng.uniform(0, 2) * rng.normal(
            size=n
        )
        tasks.append((X, np.where(y > np.median(y), "a", "b") if seed % 2 else y))
    return tasks, d


@pytest.mark.parametrize("block", range(4))
def test_the_inequality_holds_on_every_run(block):
    for seed in range(50 * block, 50 * block + 50):
        tasks, d = random_tasks(seed)
        start = ["mean", "online", np.full(d + 1, 0.5)][seed % 3]
        found = aruba_regret(tasks, start)
        slack = 1e-9 * (1 + np.abs(found.bound))
        assert np.all(found.regret <= found.bound + slack)
        assert np.all(found.regret_from_zero <= found.bound_from_zero + slack)


def test_the_path_is_that_of_a_plain_loop():
    tasks, d = random_tasks(4)
    found = aruba_regret(tasks, np.ones(d), eta=0.01, fit_intercept=False)
    for t, (X, y) in enumerate(tasks):
        best = np.linalg.solve(X.T @ X + 0.01 * np.eye(d), X.T @ y)
        w, regret, squares = np.ones(d), 0.0, 0.0
        for x, target in zip(X, y, strict=True):
            g = (x @ w - target) * x
            regret += (x @ w - target) ** 2 / 2 - (x @ best - target) ** 2 / 2
            squares += g @ g
            w = w - 0.01 * g
        assert found.regret[t] == pytest.approx(regret)
        bound = np.sum((best - 1) ** 2) / 0.02 + 0.005 * squares
        assert found.bound[t] == pytest.approx(bound)


@pytest.mark.parametrize("separable", [False, True])
def test_best_weights_of_labels_are_the_penalised_optimum(separable):
    rng = np.random.RandomState(0)
    X = 3 * rng.normal(size=(30, 2))
    y = X[:, 0] + (0 if separable else 3) * rng.normal(size=30) > 0
    found = aruba_regret([(X, y), (X, ~y)], fit_intercept=False)
    sign = np.where(y, 1.0, -1.0)

    def objective(w):
        return np.logaddexp(0, -sign * (X @ w)).sum() + 0.005 * w @ w

    expected = minimize(objective, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-8}).x
    np.testing.assert_allclose(found.best, [expected, -expected], rtol=1e-4, atol=1e-5)


def test_a_start_near_the_tasks_saves_what_v_over_d_says():
    near = make_linear_tasks(60, 20, 3, mean=[5, 5, 5], noise=0.5, random_state=0).tasks
    found = aruba_regret(near, fit_intercept=False)
    assert found.ratio == pytest.approx(np.sqrt(3 / 78), rel=0.2)
    assert found.measured_ratio < 0.5
    assert "saves" in str(found)
    online = aruba_regret(near, "online", fit_intercept=False)
    assert found.V < online.V < 0.5 * online.D
    assert online.start.shape == (60, 3)
    away = aruba_regret(near, [-5.0, 0.0, 0.0], fit_intercept=False)
    assert away.ratio > 1
    assert "adds" in str(away)


def test_bad_parameters_are_named():
    tasks, d = random_tasks(2)
    with pytest.raises(ValueError, match="'start' parameter of aruba_regret"):
        aruba_regret(tasks, "zero")
    with pytest.raises(ValueError, match="start must be finite, one entry a coefficient"):
        aruba_regret(tasks, np.zeros(d))
    with pytest.raises(ValueError, match="'eta' parameter"):
        aruba_regret(tasks, eta=0.0)
    long = make_linear_tasks(2, 300, 3, random_state=0).tasks
    with pytest.raises(ValueError, match="Task 0: the descent diverged with eta=1e"):
        aruba_regret(long, eta=1e6)
