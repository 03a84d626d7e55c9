"""Compare `predicted_gain` with simulated risks of pooled, per-task and meta-learning.

    python examples/benchmarks/predicted_gain.py

Each setting draws training tasks and new tasks, fits the three estimators, and compares their mean
squared errors (beyond the noise) with the formulas: once with the true moments of the tasks, and
once with moments that are estimated from tasks, as a user would do (from 8000 tasks, so that the
sampling error is small).
"""

from __future__ import annotations

import numpy as np

from sklearn_meta.analysis import predicted_gain
from sklearn_meta.analysis.predicted_gain import LinearPrior, gaussian_designs

# d, support rows, tau, s, training tasks, special property
SETTINGS = [
    (1, 6, 1.0, 1.0, 20, ""),
    (1, 7, 0.3, 1.0, 10, ""),
    (1, 10, 1.0, 3.0, 50, ""),
    (2, 7, 1.0, 1.0, 20, ""),
    (2, 8, 0.5, 2.0, 5, ""),
    (2, 20, 0.5, 2.0, 5, ""),
    (3, 8, 1.0, 1.0, 3, ""),
    (3, 8, 0.1, 1.0, 30, ""),
    (3, 8, 3.0, 0.5, 30, ""),
    (3, 30, 1.0, 4.0, 100, ""),
    (5, 2, 1.0, 1.0, 50, "few rows"),
    (5, 9, 1.0, 1.0, 10, ""),
    (5, 10, 0.5, 1.0, 10, "unequal"),
    (5, 20, 0.5, 2.0, 1000, "unequal"),
    (5, 50, 1.0, 2.0, 20, "correlated"),
    (8, 4, 0.5, 1.0, 100, "few rows"),
    (8, 12, 0.7, 1.0, 20, "correlated"),
    (8, 16, 0.5, 0.5, 20, "unequal"),
    (8, 40, 0.2, 1.0, 8, ""),
    (10, 15, 1.0, 2.0, 15, ""),
    (10, 20, 0.3, 1.0, 40, "correlated"),
    (10, 40, 0.5, 3.0, 40, "unequal"),
    (15, 25, 0.5, 1.0, 30, ""),
    (20, 30, 0.3, 1.0, 50, "correlated"),
]
N_SOURCE_ROWS, N_NEW, N_FITTED = 25, 100, 8000


def truth(d, tau, kind):
    """Return the covariances of coefficients and rows."""
    sigma, rows = tau**2 * np.eye(d), np.eye(d)
    if kind == "unequal":
        sigma = tau**2 * np.diag(np.linspace(0.2, 1.8, d))
    if kind == "correlated":
        rows = 0.5 * np.eye(d) + 0.5
        sigma = tau**2 * (1.2 * np.eye(d) - 0.4 * np.eye(d)[::-1])
    return sigma, rows


def draw(rng, n_tasks, n, mean, sigma, rows, s):
    """Draw X, y and coefficients of tasks."""
    d = len(mean)
    X = rng.standard_normal((n_tasks, n, d)) @ np.linalg.cholesky(rows).T
    w = mean + rng.standard_normal((n_tasks, d)) @ np.linalg.cholesky(sigma).T
    return X, np.einsum("tnd,td->tn", X, w) + s * rng.standard_normal((n_tasks, n)), w


def mean_covariance(G, covariance, noise):
    """Return the covariance of the best estimate of the mean, (sum_t X' V^-1 X)^-1."""
    K = np.linalg.inv(noise * np.eye(G.shape[-1]) + G @ covariance)
    return np.linalg.inv(np.sum(K @ G, axis=0))


def toward(X, y, centre, precision, s):
    """Fit ridge regression toward a centre, with the true covariance."""
    G, b = X.swapaxes(1, 2) @ X, np.einsum("tnd,tn->td", X, y - X @ centre)
    return centre + np.linalg.solve(G + s**2 * precision, b[..., None])[..., 0]


def simulated(rng, n, n_tasks, mean, sigma, rows, s):
    """Simulate the mean squared errors of the three estimators over new tasks."""
    precision, risks = np.linalg.inv(sigma), []
    for _ in range(int(np.clip(20000 / n_tasks, 300, 1500))):
        X, y, _ = draw(rng, n_tasks, N_SOURCE_ROWS, mean, sigma, rows, s)
        V = X @ sigma @ X.swapaxes(1, 2) + s**2 * np.eye(N_SOURCE_ROWS)
        half = np.linalg.solve(V, X).swapaxes(1, 2)
        pooled = np.linalg.solve((half @ X).sum(0), np.einsum("tdn,tn->d", half, y))
        X, y, w = draw(rng, N_NEW, n, mean, sigma, rows, s)
        alone = np.einsum("tdn,tn->td", np.linalg.pinv(X), y)
        errors = [pooled - w, alone - w, toward(X, y, pooled, precision, s) - w]
        risks.append([np.mean(np.sum((e @ rows) * e, axis=1)) for e in errors])
    return np.mean(risks, axis=0)


def formulas(rng, n, n_tasks, mean, sigma, rows, s):
    """Compute the risks by the formulas with the true moments."""
    X, _, _ = draw(rng, 4000, N_SOURCE_ROWS, mean, sigma, rows, s)
    C = mean_covariance(X.swapaxes(1, 2) @ X, sigma, s**2) * (4000 / n_tasks)
    prior = LinearPrior(mean, sigma, s**2, C)
    at = np.zeros(len(mean))
    designs = gaussian_designs(at, rows, n, intercept=False, n_draws=3000, rng=rng)
    risks = sum(prior.pooled(designs)), prior.per_task(designs), sum(prior.meta(designs))
    return np.array([risk.mean() for risk in risks])


def setting(d, n, tau, s, n_tasks, kind, seed=0):
    """Return the risks by simulation, by the formulas, and by `predicted_gain` from tasks."""
    rng = np.random.RandomState(seed)
    sigma, rows = truth(d, tau, kind)
    moments = (np.full(d, 0.5), sigma, rows, s)
    X, y, _ = draw(rng, N_FITTED, N_SOURCE_ROWS, *moments)
    tasks = list(zip(X, y, strict=True))
    how = {"fit_intercept": False, "design": "gaussian", "n_draws": 1000, "random_state": seed}
    result = predicted_gain(tasks, n, n_tasks=n_tasks, **how)
    predicted = np.array([result.pooled[0], result.per_task[0], result.meta[0]])
    return simulated(rng, n, n_tasks, *moments), formulas(rng, n, n_tasks, *moments), predicted


def main():
    print("  d   n  tau    s     T            pooled per-task   meta  formulas  from tasks")
    worst = np.zeros(2)
    for row in SETTINGS:
        risks, exact, predicted = setting(*row)
        off = np.array([np.max(np.abs(at / risks - 1)) for at in (exact, predicted)])
        worst = np.maximum(worst, off)
        d, n, tau, s, n_tasks, kind = row
        cells = " ".join(f"{risk:7.4f}" for risk in risks)
        print(f"{d:3d} {n:3d} {tau:4.1f} {s:4.1f} {n_tasks:5d}  {kind:10} {cells}", end="")
        print(f"  {100 * off[0]:6.2f} %   {100 * off[1]:6.2f} %", flush=True)
    print(f"largest relative error {100 * worst[0]:.2f} % (formulas), {100 * worst[1]:.2f} %")


if __name__ == "__main__":
    main()
