"""LogME against the evidence of Bayesian linear regression in its dual form."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from sklearn_meta import MAMLRegressor
from sklearn_meta.analysis import logme, task_distances
from sklearn_meta.analysis._logme import best_evidence
from sklearn_meta.exceptions import TaskError
from sklearn_meta.nn.backbone import BODY
from sklearn_meta.tasks import Task


def dual(F, y, alpha, beta):
    """log N(y; 0, I / beta + F F^T / alpha), as it is written."""
    covariance = np.eye(len(y)) / beta + F @ F.T / alpha
    return multivariate_normal.logpdf(y, np.zeros(len(y)), covariance)


def problem(n, d, noise, seed=0):
    rng = np.random.RandomState(seed)
    F = rng.normal(size=(n, d)) * np.linspace(0.1, 2, d)
    return F, F @ rng.normal(size=d) + noise * rng.normal(size=n)


def solved(F, y):
    U, s, _ = np.linalg.svd(F, full_matrices=False)
    along = (U.T @ y) ** 2
    return best_evidence(s**2, along, y @ y - along.sum(), len(y))


CASES = [(30, 4, 0.5), (30, 4, 10.0), (12, 40, 1.0), (50, 1, 0.01)]


@pytest.mark.parametrize(("n", "d", "noise"), CASES)
def test_logme_is_the_evidence_at_its_precisions(n, d, noise):
    F, y = problem(n, d, noise)
    value, alpha, beta = solved(F, y)
    assert abs(dual(F, y, alpha, beta) - value) < 1e-8
    assert logme(F, y) == pytest.approx(value / n, abs=1e-12)


@pytest.mark.parametrize(("n", "d", "noise"), CASES)
def test_no_other_precisions_are_better(n, d, noise):
    F, y = problem(n, d, noise)
    best = [
        minimize(lambda p: -dual(F, y, *np.exp(np.clip(p, -12, 12))), start, method="Nelder-Mead")
        for start in ([0, 0], [5, 0], [0, 5])
    ]
    result = -min(b.fun for b in best)
    assert result <= solved(F, y).value + 1e-8
    assert result == pytest.approx(solved(F, y).value, abs=1e-3)


def test_units_shift_it_by_the_log_of_the_units():
    F, y = problem(30, 4, 0.5)
    assert logme(1e5 * F, y) == pytest.approx(logme(F, y), abs=1e-9)
    assert logme(F, 10 * y) == pytest.approx(logme(F, y) - np.log(10), abs=1e-9)


def test_labels_are_a_column_each():
    F, y = problem(30, 4, 0.5)
    label = np.digitize(y, [-1, 1])
    each = [logme(F, label == c, target_type="real") for c in range(3)]
    assert logme(F, np.array(["x", "y", "z"])[label]) == pytest.approx(np.mean(each))
    columns = np.eye(3)[label]
    assert logme(F, columns) == pytest.approx(np.mean(each))


def test_uninformative_features_and_noiseless_targets():
    rng = np.random.RandomState(0)
    y = rng.normal(size=40)
    none = -0.5 * (np.log(2 * np.pi * (y @ y) / 40) + 1)  # white noise at its best variance
    assert logme(np.zeros((40, 2)), y) == pytest.approx(none)
    F = np.column_stack([y, rng.normal(size=40)])
    assert none + 10 < logme(F, y) < none + 15  # 1e-12 of the variance: 13.8 nats
    with pytest.raises(ValueError, match="A column of y is 0 throughout"):
        logme(F, np.zeros(40), target_type="real")
    with pytest.raises(ValueError, match="NaN"):
        logme(F, np.where(np.arange(40) == 3, np.nan, y))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples"):
        logme(F, y[1:])
    with pytest.raises(ValueError, match="features"):
        logme(F + np.inf, y)


def test_distances_are_evidence_lost_with_the_model_of_another_task():
    tasks = [problem(20 + i, 3, 1.0, seed=i) for i in range(3)]
    result = task_distances(tasks, metric="logme", metric_params={"scale": False})
    centred = [(F - F.mean(axis=0), y - y.mean()) for F, y in tasks]
    models = []
    for F, y in centred:
        _, alpha, beta = solved(F, y)
        models.append(np.linalg.solve(F.T @ F + alpha / beta * np.eye(3), F.T @ y))
    for j, (F, y) in enumerate(centred):
        evidence = np.array([logme((F @ w)[:, None], y) for w in models])
        np.testing.assert_allclose(result[:, j], evidence[j] - evidence, atol=1e-9)


def test_label_sets_may_differ():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(3, 60, 2))
    fine = Task(X[0], np.digitize(X[0, :, 0], [-0.5, 0.5]))  # along the first feature
    coarse = Task(X[1], np.array(["low", "high"])[(X[1, :, 0] > 0) * 1])
    other = Task(X[2], X[2, :, 1] > 0)
    result = task_distances([fine, coarse, Task(other.X, other.y * 2)], metric="logme")
    assert result[0, 1] < 0.05 < 0.2 < result[2, 1]
    assert result[0, 1] != result[1, 0]


def test_the_features_of_a_learned_backbone_take_the_place_of_the_inputs():
    rng = np.random.RandomState(0)
    tasks = [(rng.normal(size=(20 + i, 2)), rng.normal(size=20 + i)) for i in range(3)]
    est = MAMLRegressor(hidden_layer_sizes=(3,), norm=None, max_meta_iter=2, random_state=0)
    est.meta_fit(tasks)
    X = np.concatenate([X for X, _ in tasks])
    W, b = est.theta_[BODY + "0.weight"], est.theta_[BODY + "0.bias"]

    def features(rows):
        return np.maximum((rows - X.mean(axis=0)) / X.std(axis=0) @ W.T + b, 0.0)

    by_hand = [
        (features(rows), y / np.concatenate([y for _, y in tasks]).std()) for rows, y in tasks
    ]
    plain = {"metric_params": {"scale": False}}
    result = task_distances(tasks, metric="logme", estimator=est)
    np.testing.assert_allclose(result, task_distances(by_hand, metric="logme", **plain), atol=1e-6)
    assert np.abs(result - task_distances(tasks, metric="logme")).max() > 0.01


def test_constant_targets_are_refused():
    with pytest.raises(TaskError, match="Task 1: its 3 targets are all equal"):
        task_distances([(np.eye(3), [0.5, 1, 2]), (np.eye(3), [2.5] * 3)], metric="logme")
