"""How many pairs of tasks pull the learned prior in opposite directions?

    python examples/theory/gradient_conflict.py

Two tasks conflict if the gradients of their losses at the prior have a negative cosine (T. Yu et
al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, definition 1). The gradient of a few
rows is noisy, and noise alone makes half of all pairs conflict. To remove the noise, split the
rows of each task into two halves. They give two cosines a and b for each pair of tasks, with
independent noise. The mean m of a and b, and their covariance v over pairs, are the mean and the
variance of the cosines without noise. The share of conflicts without noise is then that of a
normal distribution below zero, Phi(-m / sqrt(v)).

The script prints and plots the share of conflicts with and without noise, by the number of rows,
for linear tasks whose true gradients are known.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from sklearn_meta import MAMLRegressor, Task
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.inner import Examples

Floats = NDArray[np.float64]


class Conflict(NamedTuple):
    share: float  # share of pairs that conflict, without noise
    raw: float  # share of pairs whose gradients on all rows have a negative cosine
    reliability: float  # mean cosine between the gradients on the two halves of a task


def conflict(whole: Floats, first: Floats, second: Floats) -> Conflict:
    """Compare gradients (n_tasks, n_parameters) on all rows of the tasks, and on their halves."""
    G, A, B = (g / np.linalg.norm(g, axis=1, keepdims=True) for g in (whole, first, second))
    pairs = np.triu_indices(len(G), 1)
    across = A @ B.T
    # a pair of tasks has two pairs of cosines that share no row
    a = np.concatenate([(A @ A.T)[pairs], across[pairs]])
    b = np.concatenate([(B @ B.T)[pairs], across.T[pairs]])
    mean, variance = (a.mean() + b.mean()) / 2, np.mean((a - a.mean()) * (b - b.mean()))
    share = norm.cdf(-mean / np.sqrt(variance)) if variance > 0 else float(mean < 0)
    return Conflict(
        float(share), float(np.mean((G @ G.T)[pairs] < 0)), float(np.diag(across).mean())
    )


def gradients(
    estimator: BaseMetaLearner, tasks: Sequence[Task], rows: Sequence[NDArray[np.intp]]
) -> Floats:
    """Compute the gradient of each task at the prior, on some of its rows."""
    algorithm = estimator.make_algorithm()
    f = estimator.make_backbone(tasks[0].X.shape[1:], 0)
    theta = {k: torch.tensor(v, requires_grad=True) for k, v in estimator.theta_.items()}
    dtype, results = next(iter(theta.values())).dtype, []
    for task, chosen in zip(tasks, rows, strict=True):
        X, y = (torch.tensor(part[chosen], dtype=dtype) for part in (task.X, task.y))
        examples = Examples(X, y[:, None], torch.ones(len(X), dtype=dtype))
        prior = next(iter(algorithm.iterates(f, theta, examples)))
        loss = algorithm.risk(f, theta, prior, examples)
        results.append(
            torch.cat([g.ravel() for g in torch.autograd.grad(loss, list(theta.values()))])
        )
    return torch.stack(results).double().numpy()


def measure(estimator: BaseMetaLearner, tasks: Sequence[Task], n_rows: int) -> Conflict:
    """Measure conflicts on the first `n_rows` rows of each task, in random halves."""
    rng = np.random.RandomState(0)
    orders = [rng.permutation(n_rows) for _ in tasks]
    halves = [
        [order[: n_rows // 2] for order in orders],
        [order[n_rows // 2 :] for order in orders],
    ]
    return conflict(*(gradients(estimator, tasks, rows) for rows in (orders, *halves)))


def main(
    n_tasks: int = 100, noise: float = 8.0, picture: str = "gradient_conflict.png"
) -> tuple[float, dict[int, Conflict]]:
    """Measure conflicts of linear tasks at an almost untrained linear prior, by number of rows."""
    from matplotlib.figure import Figure

    family = make_linear_tasks(n_tasks, 640, 5, mean=np.full(5, 0.7), noise=noise, random_state=0)
    prior = MAMLRegressor(hidden_layer_sizes=(), scaling=None, max_meta_iter=1, random_state=0)
    prior.meta_fit(family.tasks)
    sizes = (10, 20, 40, 80, 160, 320, 640)
    exact = [Task(t.X, t.X @ w) for t, w in zip(family.tasks, family.coef, strict=True)]
    truth = measure(prior, exact, sizes[-1]).raw
    results = {n: measure(prior, family.tasks, n) for n in sizes}
    print(f"{100 * truth:.0f} % of pairs conflict if the targets have no noise")
    for n, one in results.items():
        print(
            f"{n:3d} rows: {100 * one.raw:.0f} % of pairs conflict, {100 * one.share:.0f} % "
            f"without noise; reliability of a gradient {one.reliability:.2f}"
        )
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    ax = figure.subplots()
    ax.plot(
        list(results), [one.raw for one in results.values()], "o-", color="#D55E00", label="raw"
    )
    share = [one.share for one in results.values()]
    ax.plot(list(results), share, "s-", color="#0072B2", label="noise taken out")
    ax.axhline(truth, color="black", linewidth=1, linestyle="--", label="truth")
    how = {"color": "0.4", "linestyle": ":", "marker": "^"}
    ax.plot(
        list(results), [one.reliability for one in results.values()], label="reliability", **how
    )
    ax.set_xscale("log")
    ax.set_xticks(list(results), [str(n) for n in results])
    ax.minorticks_off()
    ax.set_ylim(0, 1)
    ax.set_xlabel("rows of a task")
    ax.set_ylabel("share of pairs in conflict")
    ax.legend(frameon=False)
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")
    return truth, results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-tasks", type=int, default=100)
    parser.add_argument("--noise", type=float, default=8.0, help="standard deviation")
    parser.add_argument("--picture", default="gradient_conflict.png")
    args = parser.parse_args()
    main(args.n_tasks, args.noise, args.picture)
