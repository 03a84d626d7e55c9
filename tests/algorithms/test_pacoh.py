"""PACOH agrees with loops over particles, and with densities and posteriors in closed form."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from sklearn_meta import PACOHRegressor
from sklearn_meta.algorithms import PACOH
from sklearn_meta.algorithms.pacoh import Particles, log_hyper_prior, stein
from sklearn_meta.functional import gaussian_nll
from sklearn_meta.inner import Backbone, Examples
from sklearn_meta.nn import MLP

RNG = np.random.default_rng(0)
PLAIN = {"backbone": "identity", "kernel": "rbf", "scaling": None, "max_meta_iter": 5}
TASKS = [(X, X[:, :2] + RNG.normal(size=(15, 2))) for X in RNG.normal(size=(6, 15, 3))]


def process(theta, p, X, y, X_query):
    """Return the posterior of particle p in closed form: means and covariance."""
    mean = [A @ theta["prior.slope"][p] + theta["prior.mean"][p] for A in (X, X_query)]
    scale, length, noise = (
        np.exp(theta[f"prior.log_{k}"][p, 0]) for k in ("scale", "length_scale", "noise")
    )
    noise += 1e-4

    def k(A, B):
        return scale * np.exp(-((A[:, None] - B) ** 2).sum(-1) / (2 * length**2))

    gain = k(X_query, X) @ np.linalg.inv(k(X, X) + noise * np.eye(len(X)))
    cov = k(X_query, X_query) - gain @ k(X, X_query) + noise * np.eye(len(X_query))
    return mean[1] + gain @ (y - mean[0]), cov


@pytest.mark.parametrize("n", [0, 1, 8])
@pytest.mark.parametrize("n_particles", [1, 3])
def test_predictions_are_those_of_a_mixture_of_processes(n_particles, n):
    est = PACOHRegressor(n_particles=n_particles, random_state=0, **PLAIN).meta_fit(TASKS)
    X, y = TASKS[0]
    posteriors = [process(est.theta_, p, X[:n], y[:n], X[8:]) for p in range(n_particles)]
    means = np.stack([mean for mean, _ in posteriors])
    variances = np.stack([np.diag(cov) for _, cov in posteriors])[..., None]
    mean, std = est.fit(X[:n], y[:n]).predict(X[8:], return_std=True)
    np.testing.assert_allclose(mean, means.mean(0), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(std**2, (variances + means**2).mean(0) - mean**2, rtol=1e-7)
    draws = est.sample_y(X[8:], 20_000)
    for k in range(2):
        cov = sum(cov for _, cov in posteriors) / n_particles
        cov = cov + np.cov(means[..., k].T, bias=True) if n_particles > 1 else cov
        size = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
        assert np.abs((np.cov(draws[:, k]) - cov) / size).max() < 0.05


def setting(n_particles, latent_dim=2, n_tasks=2):
    """Return an algorithm, its networks, theta, and support and query of some tasks."""
    rng = torch.Generator().manual_seed(0)
    alg = PACOH(gaussian_nll, n_particles, latent_dim, 0.05)
    n = n_particles * alg.n_networks
    f = Particles([Backbone(MLP((3,), 4, activation="tanh", norm=None), (3,)) for _ in range(n)])
    theta = {k: p.double().requires_grad_() for k, p in alg.init(f, 1, rng).items()}

    def rows(n):
        draw = [torch.randn(n_tasks, n, d, generator=rng, dtype=torch.float64) for d in (3, 1)]
        return Examples(*draw, torch.ones(n_tasks, n, dtype=torch.float64))

    return alg, f, theta, rows(5), rows(4)


def particle(theta, p, n_particles):
    """Return one of the particles, as those of a single one."""
    parts = {k: t.reshape(n_particles, -1, *t.shape[1:])[p] for k, t in theta.items()}
    return {k: t.detach().clone().requires_grad_() for k, t in parts.items()}


@pytest.mark.parametrize("n_particles", [1, 2, 5])
def test_the_update_of_particles_is_that_of_a_loop(n_particles):
    alg, f, theta, support, query = setting(n_particles)
    names, w = list(theta), alg.prior_weight
    loss = alg.objective(f, theta, support, query)
    actual = torch.autograd.grad(loss.mean(), list(theta.values()))
    one, networks, *_ = setting(1)
    flat, scores = [], []
    for p in range(n_particles):
        own = particle(theta, p, n_particles)
        value = one.objective(networks, own, support, query).mean()
        scores.append(
            torch.cat([g.ravel() for g in torch.autograd.grad(value, list(own.values()))])
        )
        flat.append(torch.cat([t.detach().ravel() for t in own.values()]))
    pairs = [(flat[p] - flat[q]).square().sum() for p in range(n_particles) for q in range(p)]
    h = torch.stack(pairs).sort().values[(len(pairs) - 1) // 2] if pairs else torch.tensor(1.0)
    h = h / (2 * np.log(n_particles + 1))
    for p in range(n_particles):
        expected = torch.zeros_like(flat[p])
        for q in range(n_particles):
            k = torch.exp(-(flat[p] - flat[q]).square().sum() / (2 * h))
            expected += k * scores[q]  # the loss of a single one is -ln Q*
            expected -= w * k * (flat[p] - flat[q]) / h  # d_q k(theta_q, theta_p) from it
        mine = [g.reshape(n_particles, -1)[p] for g in actual]
        torch.testing.assert_close(torch.cat(mine), expected / n_particles, rtol=1e-8, atol=1e-10)
    assert names == list(stein(theta, n_particles)[0])


def test_the_objective_is_the_density_of_the_hyper_posterior():
    alg, f, theta, support, query = setting(1, None, 1)
    theta["prior.log_noise"] = torch.tensor([[-1.0]], dtype=torch.float64)
    own = {k: t.detach().numpy() for k, t in theta.items()}
    X, y = (torch.cat([a, b], 1)[0].numpy() for a, b in zip(support[:2], query[:2], strict=True))
    hidden = np.tanh(X @ own["backbone.0.weight"][0].T + own["backbone.0.bias"][0])
    mean = (hidden @ own["prior.slope"][0] + own["prior.mean"][0])[:, 0]
    cov = np.exp(-((X[:, None] - X) ** 2).sum(-1) / 2) + (np.exp(-1) + 1e-4) * np.eye(9)
    log_z = multivariate_normal.logpdf(y[:, 0], mean, cov)
    log_prior = 0.0
    for name, p in own.items():
        loc, std = {
            "backbone.0.weight": (0, 0.5),
            "prior.slope": (0, 0.5),
            "prior.log_length_scale": (0, 1),
            "prior.log_scale": (0, 1),
            "prior.log_noise": (-3, 1),
        }.get(name, (0, 3))
        log_prior += (norm.logpdf(p, loc, std) - norm.logpdf(loc, loc, std)).sum()
    actual = alg.objective(f, theta, support, query)
    np.testing.assert_allclose(actual.item(), -log_z / 10 - 0.05 * log_prior, rtol=1e-10)
    np.testing.assert_allclose(log_hyper_prior(theta).item(), log_prior, rtol=1e-10)


def test_particles_are_a_network_for_each_task():
    f, theta, support = setting(3)[1:4]
    stacked = {k: torch.stack([p, 2 * p]) for k, p in theta.items()}
    together = f(stacked, support.X)
    assert f.n_features_out == together.shape[-1] == 24
    for i, factor in enumerate((1, 2)):
        alone = f({k: factor * p for k, p in theta.items()}, support.X[i])
        torch.testing.assert_close(together[i], alone)
