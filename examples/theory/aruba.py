"""How much regret a shared start of online gradient descent saves (ARUBA).

    python examples/theory/aruba.py

The rows of a task arrive one by one. Each row adds its loss at the current weights, and the
weights then take a gradient step. The regret of a task is the sum of these losses minus the sum
for the best weights w*. For convex losses, any w* and any step size eta,

    sum_i l_i(w_i) - l_i(w*)  <=  |w* - phi|^2 / (2 eta) + (eta / 2) sum_i |grad l_i(w_i)|^2 ,

where phi are the initial weights. With the best step size, the mean bound over tasks is of the
order V G sqrt(m), where m is the number of rows, G is the size of a gradient, and V is the root
mean square distance of the tasks' best weights from phi. D is this distance for initial weights of
zero. V / D is therefore the share of the regret that remains with a learned start (M. Khodak,
M.-F. Balcan and A. Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods", NeurIPS 2019,
section 2).

The script prints regrets and bounds for linear tasks with a learned start and with a start at
zero, and plots them against the mean of the weights over tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from sklearn_meta.datasets import make_linear_tasks

Floats = NDArray[np.float64]
ALPHA = 1e-2  # penalty that makes the best weights of a task unique


class Loss(NamedTuple):
    value: Callable[[Floats, Floats], Floats]  # of a prediction and a target
    slope: Callable[[Floats, Floats], Floats]  # its derivative with respect to the prediction


SQUARED = Loss(lambda z, y: (z - y) ** 2 / 2, lambda z, y: z - y)
LOGISTIC = Loss(lambda z, y: np.logaddexp(0, -y * z), lambda z, y: -y * expit(-y * z))  # y = -1, 1


def regret_and_bound(
    X: Floats, y: Floats, start: Floats, best: Floats, eta: float, loss: Loss = SQUARED
) -> tuple[Floats, Floats]:
    """Compute both sides of the inequality for X (T, m, p), y (T, m), start and best (T, p)."""
    w, regret, squares = np.array(start), np.zeros(len(X)), np.zeros(len(X))
    for i in range(X.shape[1]):
        z = np.sum(X[:, i] * w, axis=1)
        gradient = loss.slope(z, y[:, i])[:, None] * X[:, i]
        regret += loss.value(z, y[:, i]) - loss.value(np.sum(X[:, i] * best, axis=1), y[:, i])
        squares += np.sum(gradient**2, axis=1)
        w = w - eta * gradient
    distance = np.sum((best - start) ** 2, axis=1)
    return regret, distance / (2 * eta) + eta / 2 * squares


def best_weights(X: Floats, y: Floats) -> Floats:
    """Minimise the summed squared loss of each task, with a small penalty."""
    Xt = X.swapaxes(1, 2)
    return np.linalg.solve(Xt @ X + ALPHA * np.eye(X.shape[2]), Xt @ y[..., None])[..., 0]


def online_starts(best: Floats) -> Floats:
    """Average the best weights of all earlier tasks; the first task starts at zero."""
    before = np.cumsum(best, axis=0)[:-1] / np.arange(1, len(best))[:, None]
    return np.concatenate([np.zeros((1, best.shape[1])), before])


def radius(best: Floats, start: Floats) -> float:
    """Compute V, or D if the start is zero."""
    return float(np.sqrt(np.mean(np.sum((best - start) ** 2, axis=1))))


def best_step(X: Floats, y: Floats, start: Floats, distance: float) -> float:
    """Minimise the bound for the gradients at the start: V / (G sqrt(m)), at most 1 / curvature."""
    slope = SQUARED.slope(np.einsum("tmp,tp->tm", X, start), y)
    G = np.sqrt(np.mean(slope**2 * np.sum(X**2, axis=2)))
    most = 1 / np.max(np.sum(X**2, axis=2))
    return float(min(distance / (G * np.sqrt(X.shape[1])), most))


def measure(X: Floats, y: Floats, start: Floats, best: Floats) -> tuple[float, float, float]:
    """Return mean regret, mean bound, and distance of the best weights from the start."""
    distance = radius(best, start)
    regret, bound = regret_and_bound(X, y, start, best, best_step(X, y, start, distance))
    return float(regret.mean()), float(bound.mean()), distance


def main(n_tasks: int = 200, n_rows: int = 20, picture: str = "aruba.png") -> Floats:
    means, rows = np.linspace(0, 5, 11), []
    for mean in means:
        family = make_linear_tasks(
            n_tasks, n_rows, 3, mean=np.full(3, mean), noise=0.5, random_state=0
        )
        X = np.stack([task.X for task in family.tasks])
        y = np.stack([task.y for task in family.tasks])
        best = best_weights(X, y)
        learned, zero = measure(X, y, online_starts(best), best), measure(X, y, 0 * best, best)
        rows.append([*learned, *zero])
        print(
            f"mean weight {mean:3.1f}: V / D = {learned[2] / zero[2]:.2f}, regret from the learned "
            f"start {learned[0]:6.2f} (bound {learned[1]:6.2f}), from zero {zero[0]:6.2f} "
            f"(bound {zero[1]:6.2f})"
        )
    draw(means, np.array(rows), picture)
    return np.array(rows)


def draw(means: Floats, rows: Floats, picture: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    ax = figure.subplots()
    for column, color, name in [(0, "#0072B2", "learned start"), (3, "#D55E00", "start at zero")]:
        ax.plot(means, rows[:, column], color=color, marker="o", label=f"{name}, regret")
        ax.plot(means, rows[:, column + 1], color=color, linestyle="--", label=f"{name}, bound")
    ax.set_yscale("log")
    ax.set_yticks([10, 30, 100, 300, 1000], ["10", "30", "100", "300", "1000"])
    ax.minorticks_off()
    ax.set_xlabel("mean over tasks of each weight (standard deviation 1)")
    ax.set_ylabel("regret of a task")
    ax.legend(frameon=False)
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-tasks", type=int, default=200)
    parser.add_argument("--n-rows", type=int, default=20)
    parser.add_argument("--picture", default="aruba.png")
    args = parser.parse_args()
    main(args.n_tasks, args.n_rows, args.picture)
