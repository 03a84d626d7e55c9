"""A PAC-Bayes bound on the loss of new tasks, and the data that it needs to be small.

    python examples/theory/pac_bayes_bounds.py

R. Amit and R. Meir, "Meta-Learning by Adjusting Priors Based on Extended PAC-Bayes Theory", ICML
2018, theorem 2: for losses in [0, 1] and n tasks of m_i rows, with probability 1 - delta, the mean
loss of new tasks is at most

    1/n sum_i [ er_i + sqrt((D + D_i + ln(2 n m_i / delta)) / (2 (m_i - 1))) ]
        + sqrt((D + ln(2 n / delta)) / (2 (n - 1))) .

Here er_i is the loss on the training rows of task i, D_i is the divergence of the posterior of
task i from the prior, and D is the divergence of the hyper-posterior from the hyper-prior. The
estimator is ridge regression toward a learned centre, so that every expectation is exact. Choose
scales and penalty without looking at these tasks. A bound of 1 or more says nothing about the
loss; a smaller bound needs hundreds of tasks with hundreds of rows.

The script prints and plots the parts of the bound by the number of tasks, and the measured loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]


class Bound(NamedTuple):
    empirical: float  # mean loss on the training rows
    task_terms: Floats  # terms that decrease with the rows of each task
    environment: float  # term that decreases with the number of tasks

    @property
    def total(self) -> float:
        return self.empirical + float(self.task_terms.mean()) + self.environment


class Scales(NamedTuple):
    prior: float = 0.5  # standard deviation of the weights around the centre
    posterior: float = 0.2
    hyper_prior: float = 1.0  # standard deviation of the centre
    hyper_posterior: float = 0.1
    alpha: float = 1.0  # penalty of the ridge regression


def mlap_bound(
    losses: ArrayLike, n_rows: ArrayLike, kl_tasks: ArrayLike, kl_hyper: float, delta: float = 0.05
) -> Bound:
    """Compute the bound from the training losses and the divergences of the tasks."""
    error, m = np.asarray(losses, dtype=np.float64), np.asarray(n_rows, dtype=np.float64)
    n = len(error)
    divergence = kl_hyper + np.asarray(kl_tasks)
    terms = np.sqrt((divergence + np.log(2 * n * m / delta)) / (2 * (m - 1)))
    environment = float(np.sqrt((kl_hyper + np.log(2 * n / delta)) / (2 * (n - 1))))
    return Bound(float(error.mean()), np.broadcast_to(terms, error.shape), environment)


def gaussian_kl(offset: ArrayLike, scale: float, prior_scale: float) -> float:
    """Compute the KL divergence of N(m, scale^2 I) from N(m - offset, prior_scale^2 I).

    The authors' published code lacks the factor d = offset.size. Without it the result is not a
    divergence, and the bound does not hold.
    """
    offset = np.asarray(offset, dtype=np.float64)
    each = scale**2 / (2 * prior_scale**2) + np.log(prior_scale / scale) - 0.5
    return float(np.sum(offset**2) / (2 * prior_scale**2) + offset.size * each)


def linear_bound(
    tasks: Sequence[tuple[Floats, Floats]],
    centre: Floats,
    scales: Scales,
    *,
    tolerance: float | None = None,
    delta: float = 0.05,
) -> Bound:
    """Compute the bound of ridge regression toward a centre m ~ N(centre, hyper_posterior^2 I).

    Targets are -1 and 1, and the loss is 1 for a wrong sign. With a `tolerance`, targets are any
    numbers, and the loss is 1 if the error of a prediction is larger than the tolerance.
    """
    losses, kl, p = [], [], len(centre)
    for X, y in tasks:
        gram = X.T @ X + scales.alpha * np.eye(p)
        A = scales.alpha * np.linalg.inv(gram)  # the ridge solution is A m + gram^-1 X'y
        mean = A @ centre + np.linalg.solve(gram, X.T @ y)
        spread = scales.hyper_posterior**2 * A @ A + scales.posterior**2 * np.eye(p)
        std = np.sqrt(np.einsum("ij,jk,ik->i", X, spread, X))
        losses.append(gibbs_loss(X @ mean, std, y, tolerance))
        change = np.sum(
            (A - np.eye(p)) ** 2
        )  # the part of E|v(m) - m|^2 that depends on the variance of m
        kl.append(
            gaussian_kl(mean - centre, scales.posterior, scales.prior)
            + scales.hyper_posterior**2 * change / (2 * scales.prior**2)
        )
    hyper = gaussian_kl(centre, scales.hyper_posterior, scales.hyper_prior)
    return mlap_bound(losses, [len(y) for _, y in tasks], kl, hyper, delta)


def gibbs_loss(mean: Floats, std: Floats, y: Floats, tolerance: float | None) -> float:
    """Compute the mean probability of a wrong prediction that is drawn from N(mean, std^2)."""
    if tolerance is None:
        return float(np.mean(ndtr(-y * mean / std)))
    above, below = (y - mean - tolerance) / std, (mean - y - tolerance) / std
    return float(np.mean(ndtr(above) + ndtr(below)))


def pooled_ridge(tasks: Sequence[tuple[Floats, Floats]], alpha: float) -> Floats:
    X, y = np.concatenate([X for X, _ in tasks]), np.concatenate([y for _, y in tasks])
    return np.linalg.solve(X.T @ X + alpha * np.eye(X.shape[1]), X.T @ y)


def draw_tasks(rng: np.random.RandomState, n_tasks: int, n_rows: int) -> list:
    """Draw tasks of two classes with similar linear boundaries in two dimensions."""
    X = rng.normal(size=(n_tasks, n_rows, 2))
    w = [1.0, -1.0] + 0.3 * rng.normal(size=(n_tasks, 2))
    y = np.sign(np.einsum("tnd,td->tn", X, w) + 0.1 * rng.normal(size=(n_tasks, n_rows)))
    return list(zip(X, y, strict=True))


def new_loss(rng: np.random.RandomState, n_rows: int, centre: Floats, scales: Scales) -> float:
    """Measure the loss of the same estimator on other rows of new tasks."""
    wrong, eye = [], np.eye(2)
    for X, y in draw_tasks(rng, 100, n_rows + 200):
        m, A, b = centre + scales.hyper_posterior * rng.normal(size=2), X[:n_rows], y[:n_rows]
        v = m + np.linalg.solve(A.T @ A + scales.alpha * eye, A.T @ (b - A @ m))
        v = v + scales.posterior * rng.normal(size=2)
        wrong.append(np.mean((X[n_rows:] @ v) * y[n_rows:] < 0))
    return float(np.mean(wrong))


def main(
    numbers: Sequence[int] = (10, 30, 100, 300, 1000),
    n_rows: int = 200,
    picture: str = "pac_bayes_bounds.png",
) -> dict[int, tuple[Bound, float]]:
    rng, results = np.random.RandomState(0), {}
    for n in numbers:
        tasks = draw_tasks(rng, n, n_rows)
        centre = pooled_ridge(tasks, 1.0)
        bound = linear_bound(tasks, centre, Scales())
        results[n] = bound, new_loss(rng, n_rows, centre, Scales())
        word = "certifies nothing" if bound.total >= 1 else "certified"
        print(
            f"{n:5d} tasks: the loss of new tasks is at most {bound.total:.3f} ({word}): "
            f"{bound.empirical:.3f} seen + {bound.task_terms.mean():.3f} for few rows + "
            f"{bound.environment:.3f} for few tasks; measured {results[n][1]:.3f}"
        )
    draw(results, picture)
    return results


def draw(results: dict[int, tuple[Bound, float]], picture: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    ax, numbers = figure.subplots(), list(results)
    bounds = [bound for bound, _ in results.values()]
    parts = [
        [b.empirical for b in bounds],
        [float(b.task_terms.mean()) for b in bounds],
        [b.environment for b in bounds],
    ]
    names = ["loss on the rows seen", "few rows a task", "few tasks"]
    ax.stackplot(numbers, parts, labels=names, colors=["#0072B2", "#E69F00", "#CC79A7"])
    ax.plot(
        numbers,
        [loss for _, loss in results.values()],
        "o",
        color="black",
        label="measured",
        clip_on=False,
    )
    ax.axhline(1, color="black", linewidth=1, linestyle="--")
    ax.annotate("above 1, the bound certifies nothing", (numbers[-1], 1.02), ha="right")
    ax.set_xscale("log")
    ax.set_xticks(numbers, [str(n) for n in numbers])
    ax.minorticks_off()
    ax.set_xlim(numbers[0], numbers[-1])
    ax.set_xlabel("number of tasks")
    ax.set_ylabel("bound on the loss of new tasks")
    ax.legend(loc="upper right", bbox_to_anchor=(1, 0.9), framealpha=1)
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-rows", type=int, default=200, help="rows of each task")
    parser.add_argument("--picture", default="pac_bayes_bounds.png")
    args = parser.parse_args()
    main(n_rows=args.n_rows, picture=args.picture)
