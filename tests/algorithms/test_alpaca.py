"""ALPaCA is a Gaussian process with a linear kernel, and the Bayes rule on linear tasks."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from sklearn_meta import ALPaCARegressor, MultitaskRegressor
from sklearn_meta.algorithms import ALPaCA
from sklearn_meta.datasets import make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.functional import gaussian_nll
from sklearn_meta.inner import Backbone, Examples

PLAIN = {"backbone": "identity", "scaling": None, "max_meta_iter": 5, "random_state": 0}
RNG = np.random.default_rng(0)
D = 4


def process(est, X, Y, weight, X_query):
    """Return the posterior of the Gaussian process of this prior: means, and joint covariances."""
    L = est.theta_["head.factor"]
    L = np.tril(L, -1) + np.diag(np.exp(np.diag(L)))
    Phi, Q = (np.c_[A, np.ones(len(A))] for A in (X, X_query))
    cov = np.linalg.inv(L @ L.T)
    gain = Q @ cov @ Phi.T @ np.linalg.inv(Phi @ cov @ Phi.T + np.diag(1 / weight))
    mean = Q @ est.theta_["head.mean"] + gain @ (Y - Phi @ est.theta_["head.mean"])
    shared = Q @ cov @ Q.T - gain @ Phi @ cov @ Q.T + np.eye(len(Q))
    noise = np.exp(est.theta_["head.log_noise"]) + 1e-6  # the floor
    return mean, noise[:, None, None] * shared


@pytest.fixture(scope="module")
def learned():
    tasks = [(X, X[:, :2] + RNG.normal(size=(30, 2))) for X in RNG.normal(size=(6, 30, D))]
    return ALPaCARegressor(**PLAIN).meta_fit(tasks), tasks[0]


@pytest.mark.parametrize("n", [0, 1, 3, 20])
def test_the_posterior_is_that_of_a_gaussian_process(learned, n):
    est, (X, Y) = learned
    weight = RNG.uniform(0.1, 2, size=n)
    mean, std = est.fit(X[:n], Y[:n], weight).predict(X[20:], return_std=True)
    expected, covariance = process(est, X[:n], Y[:n], weight, X[20:])
    np.testing.assert_allclose(mean, expected, rtol=1e-9, atol=1e-9)
    variances = np.diagonal(covariance, axis1=1, axis2=2).T
    np.testing.assert_allclose(std**2, variances, rtol=1e-9)
    draws = est.sample_y(X[20:], 20_000)
    for k in range(2):
        size = np.sqrt(np.outer(variances[:, k], variances[:, k]))
        assert np.abs((np.cov(draws[:, k]) - covariance[k]) / size).max() < 0.05


def test_with_the_true_prior_it_is_the_bayes_rule():
    mean, cov, noise = np.array([1.0, -2, 0.5]), np.diag([0.5, 1.5, 3]), 0.8
    family = make_linear_tasks(9, 12, mean=mean, cov=cov, noise=noise, n_support=4, random_state=0)
    f = Backbone(torch.nn.Identity(), (3,))
    precision = noise**2 * np.linalg.inv(cov)
    factor = np.zeros((4, 4))
    factor[:3, :3] = np.diag(np.log(np.diag(np.linalg.cholesky(precision))))
    factor[3, 3] = 20.0  # there is no intercept
    theta = {"head.mean": np.r_[mean, 0][:, None], "head.factor": factor}
    theta = {k: torch.tensor(v) for k, v in theta.items()}
    theta["head.log_noise"] = torch.tensor([noise**2 - 1e-6], dtype=torch.float64).log()  # floor
    alg = ALPaCA(gaussian_nll)
    for task in family.tasks:
        X, y, X_query, y_query = map(
            torch.tensor, (task.X_support, task.y_support[:, None], task.X_query, task.y_query)
        )
        phi = alg.adapt(f, theta, Examples(X, y, torch.ones(4, dtype=X.dtype)))
        expected = task.X_query @ family.oracle(task.X_support, task.y_support)
        np.testing.assert_allclose(alg.predict(f, theta, phi, X_query)[:, 0], expected, atol=1e-9)
        # p(support, query) = p(support) p(query | support)
        both = multivariate_normal.logpdf(
            task.y, task.X @ mean, task.X @ cov @ task.X.T + noise**2 * np.eye(12)
        )
        one = multivariate_normal.logpdf(
            task.y_support,
            task.X_support @ mean,
            task.X_support @ cov @ task.X_support.T + noise**2 * np.eye(4),
        )
        joint = alg.covariance(f, theta, phi, X_query)[0].numpy()
        conditional = multivariate_normal.logpdf(y_query.numpy(), expected, joint)
        np.testing.assert_allclose(conditional, both - one, rtol=1e-8)


def test_hundreds_of_equal_rows_in_single_precision():
    X = np.ones((900, D), np.float32) * RNG.normal(size=D).astype(np.float32)
    tasks = [(X, np.full(900, c)) for c in RNG.normal(size=6)]
    est = ALPaCARegressor(max_meta_iter=5, random_state=0).meta_fit(tasks).fit(*tasks[0])
    mean, std = est.predict(X[:2], return_std=True)
    assert np.isfinite(mean).all()
    assert (std > 0).all()


@pytest.mark.slow
def test_meta_training_arrives_at_the_bayes_rule():
    params = {"mean": [1, -2, 0.5], "cov": np.diag([0.5, 1.5, 3]), "noise": 0.7**0.5}
    train = make_linear_tasks(2000, 30, **params, random_state=0).tasks
    test = make_linear_tasks(2000, 108, **params, n_support=8, random_state=1)
    est = ALPaCARegressor(backbone="identity", max_meta_iter=1000, random_state=0).meta_fit(train)
    truth = [task.X_query @ w for task, w in zip(test.tasks, test.coef, strict=True)]
    oracle = [t.X_query @ test.oracle(t.X_support, t.y_support) for t in test.tasks]
    ratio = np.mean((np.array(est.predict_tasks(test.tasks)) - truth) ** 2)
    ratio /= np.mean((np.array(oracle) - truth) ** 2)
    assert 1 <= ratio <= 1.02
    inside = []
    for task in test.tasks[:500]:
        est.fit(task.X_support, task.y_support)
        low, high = est.predict_quantiles(task.X_query, [0.05, 0.95]).T
        inside.append((low <= task.y_query) & (task.y_query <= high))
    assert 0.87 <= np.mean(inside) <= 0.93


@pytest.mark.slow
def test_sinusoids_are_learned_within_seconds():
    train = make_sinusoid_tasks(1000, noise=0.1, random_state=0)
    est = ALPaCARegressor(max_meta_iter=300, random_state=0).meta_fit(train)
    for n in (5, 10):
        tasks = make_sinusoid_tasks(300, n + 100, noise=0.1, n_support=n, random_state=1)
        errors = [
            np.mean((y - task.y_query) ** 2)
            for y, task in zip(est.predict_tasks(tasks), tasks, strict=True)
        ]
        assert np.mean(errors) <= 0.25


def test_tasks_without_noise_have_a_least_variance():
    tasks = make_sinusoid_tasks(n_tasks=5, n_support=5, random_state=0)
    new = tasks[0]
    for reg in (ALPaCARegressor(max_meta_iter=1), MultitaskRegressor(loss="gaussian", head="gp")):
        reg = reg.set_params(max_meta_iter=2, random_state=0).meta_fit(tasks)
        algorithm, f = reg.make_algorithm(), reg.make_backbone(new.X.shape[1:], 0)
        theta = {k: torch.from_numpy(p.copy()) for k, p in reg.theta_.items()}
        for name in ("head.log_noise", "head.log_variance"):
            if name in theta:
                theta[name] = torch.full_like(theta[name], -60.0)
        X, y = torch.tensor(new.X), torch.tensor(new.y)[:, None]
        support = Examples(X, y, torch.ones(len(X), dtype=X.dtype))
        output = algorithm.predict(f, theta, algorithm.adapt(f, theta, support), X)
        assert (output[:, 1].exp() >= 0.99e-6).all()
