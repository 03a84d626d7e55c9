"""The exact risk of one inner step of MAML on linear tasks.

    python examples/theory/maml_risk.py

Tasks have coefficients w with mean mu and covariance Sigma, rows x ~ N(0, I) with d features, and
noise of variance s2. After one gradient step from theta, with step size a, on the loss
|X w - y|^2 / (2 n) of n support rows, the squared error of predictions beyond the noise is

    E|theta' - w|^2 = (1 - 2 a + a^2 (1 + (d + 1) / n)) (tr Sigma + |theta - mu|^2) + a^2 s2 d / n.

This follows from the second moment of a Wishart matrix, E[A^2] = (1 + (d + 1) / n) I for A = X'X /
n. The best start is mu. The regressors of the package minimise the mean squared error without the
factor 1/2, for which the same step has half the step size.

The script prints the best step size by the number of support rows, and plots the risk against the
step size, together with simulations.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def one_step_risk(
    step: ArrayLike, covariance: ArrayLike, noise: float, n_support: int, offset: ArrayLike = 0.0
) -> Floats:
    """Compute the risk after one step; `offset` is theta - mu."""
    a, (start, d) = np.asarray(step, dtype=np.float64), _start(covariance, offset)
    shrink = 1 - 2 * a + a**2 * (1 + (d + 1) / n_support)
    return shrink * start + a**2 * noise * d / n_support


def best_step(
    covariance: ArrayLike, noise: float, n_support: int, offset: ArrayLike = 0.0
) -> float:
    """Compute the step size with the smallest risk."""
    start, d = _start(covariance, offset)
    curvature = (1 + (d + 1) / n_support) * start + noise * d / n_support
    return start / curvature if curvature else 0.0


def _start(covariance: ArrayLike, offset: ArrayLike) -> tuple[float, int]:
    """Return the risk before the step, tr Sigma + |theta - mu|^2, and the number of features."""
    sigma = np.asarray(covariance, dtype=np.float64)
    return float(np.trace(sigma) + np.sum(np.broadcast_to(offset, len(sigma)) ** 2)), len(sigma)


def simulate(
    step: float, covariance: ArrayLike, noise: float, n_support: int, n_tasks: int, seed: int
) -> float:
    """Estimate the risk from random tasks, with mu = theta = 0."""
    rng, root = np.random.RandomState(seed), np.linalg.cholesky(np.asarray(covariance))
    w = rng.normal(size=(n_tasks, len(root))) @ root.T
    X = rng.normal(size=(n_tasks, n_support, len(root)))
    y = np.einsum("tnd,td->tn", X, w) + np.sqrt(noise) * rng.normal(size=(n_tasks, n_support))
    adapted = step * np.einsum("tnd,tn->td", X, y) / n_support
    return float(np.mean(np.sum((adapted - w) ** 2, axis=1)))


def main(n_tasks: int = 20000, picture: str = "maml_risk.png") -> dict[int, tuple[float, float]]:
    from matplotlib.figure import Figure

    covariance, noise, results = np.diag([0.5, 1.5, 3.0]), 0.7, {}
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    ax, steps = figure.subplots(), np.linspace(0, 1.2, 61)
    for n, color in zip((2, 4, 8, 32), ("#D55E00", "#E69F00", "#009E73", "#0072B2"), strict=True):
        best = best_step(covariance, noise, n)
        risk = float(one_step_risk(best, covariance, noise, n))
        results[n] = best, risk
        print(f"{n:2d} rows: the best step is {best:.3f}; the error falls from 5 to {risk:.3f}")
        ax.plot(steps, one_step_risk(steps, covariance, noise, n), color=color, label=f"{n} rows")
        drawn = [
            simulate(a, covariance, noise, n, n_tasks, seed) for seed, a in enumerate(steps[::10])
        ]
        ax.plot(steps[::10], drawn, "o", color=color, markersize=4)
        ax.plot(best, risk, "*", color=color, markersize=13, markeredgecolor="black", zorder=3)
    ax.plot([], [], "o", color="0.4", markersize=4, label="simulated")
    ax.plot([], [], "*", color="0.4", markersize=13, markeredgecolor="black", label="best step")
    ax.set_ylim(0, 10)
    ax.set_xlabel("inner step")
    ax.set_ylabel("squared error beyond the noise")
    ax.legend(frameon=False)
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--n-tasks", type=int, default=20000, help="tasks in the simulation of each point"
    )
    parser.add_argument("--picture", default="maml_risk.png")
    args = parser.parse_args()
    main(args.n_tasks, args.picture)
