"""Estimate the directions that linear tasks share, by the method of moments.

    python examples/theory/task_subspace.py

The coefficients w of the tasks lie near a subspace. It can be estimated even from one row of each
task. For rows x ~ N(0, I) and y = x'w + noise of variance s2, over rows and tasks,

    E[y^2 x x'] = 2 Gamma + (tr Gamma + s2) I,    Gamma = E[w w'],

and E[y^2] is the factor of I (N. Tripuraneni, C. Jin and M. I. Jordan, "Provable Meta-Learning of
Linear Representations", ICML 2021). Pairs of rows of one task give Gamma = E[x_i y_i y_j x_j'] for
white rows of any distribution, with less noise if tasks have many rows (W. Kong et al.,
"Meta-learning for Mixed Linear Regression", ICML 2020). The leading eigenvectors of Gamma span the
subspace. The smallest of the leading eigenvalues is the task diversity: the variance of the
coefficients in the direction of the subspace in which they vary least.

The script compares both estimates: it prints the task diversity and the angle to the true subspace
by the number of tasks, and plots the eigenvalues.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import subspace_angles

Floats = NDArray[np.float64]
Tasks = Sequence[tuple[Floats, Floats]]  # rows (n, d) and targets (n,)


def whiten(tasks: Tasks) -> tuple[Floats, Tasks]:
    """Return the whitening matrix of all rows, and the tasks with white rows."""
    rows = np.concatenate([X for X, _ in tasks])
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    white = (vectors / np.sqrt(values)) @ vectors.T
    return white, [((X - rows.mean(axis=0)) @ white, y) for X, y in tasks]


def moments_by_squares(tasks: Tasks) -> tuple[Floats, Floats]:
    """Return the sum over rows of (y^2 x x' - y^2 I) / 2 and the number of rows of each task."""
    eye = np.eye(tasks[0][0].shape[1])
    sums = [((X * y[:, None] ** 2).T @ X - np.sum(y**2) * eye) / 2 for X, y in tasks]
    return np.array(sums), np.array([float(len(y)) for _, y in tasks])


def moments_by_pairs(tasks: Tasks) -> tuple[Floats, Floats]:
    """Return the mean over pairs of rows of x_i y_i y_j x_j', with a weight of 1, for each task."""
    means = []
    for X, y in tasks:
        b, same_row = X.T @ y, (X * y[:, None] ** 2).T @ X
        means.append((np.outer(b, b) - same_row) / (len(y) * (len(y) - 1)))
    return np.array(means), np.ones(len(means))


def spectrum(moments: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the eigenvalues of Gamma in decreasing order, and the eigenvectors as columns."""
    values, vectors = np.linalg.eigh(moments.sum(axis=0) / weights.sum())
    return values[::-1], vectors[:, ::-1]


def resampled_spectra(moments: Floats, weights: Floats, n_resamples: int, seed: int = 0) -> Floats:
    """Compute eigenvalues of Gamma for bootstrap samples of the tasks, (n_resamples, d)."""
    rng, n = np.random.RandomState(seed), len(moments)
    picks = rng.randint(n, size=(n_resamples, n))
    return np.array([spectrum(moments[pick], weights[pick])[0] for pick in picks])


def shared_directions(white: Floats, vectors: Floats, n_components: int) -> Floats:
    """Return orthonormal rows that span the subspace in the original coordinates."""
    return np.linalg.qr(white @ vectors[:, :n_components])[0].T


def draw_tasks(basis: Floats, n_tasks: int, n_rows: int, seed: int, noise: float = 1.0) -> Tasks:
    """Draw tasks whose coefficients lie in the span of the columns of `basis`."""
    rng, (d, r) = np.random.RandomState(seed), basis.shape
    X = rng.normal(size=(n_tasks, n_rows, d))
    w = rng.normal(size=(n_tasks, r)) @ basis.T
    y = np.einsum("tnd,td->tn", X, w) + noise * rng.normal(size=(n_tasks, n_rows))
    return list(zip(X, y, strict=True))


def main(
    numbers: Sequence[int] = (100, 300, 1000, 3000), picture: str = "task_subspace.png"
) -> dict[tuple[str, int], float]:
    from matplotlib.figure import Figure

    basis = np.linalg.qr(np.random.RandomState(0).normal(size=(8, 2)))[0] * [2.0, 1.0]
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    bars, lines = figure.subplots(1, 2)
    looks = {"squares": ("#0072B2", moments_by_squares), "pairs": ("#D55E00", moments_by_pairs)}
    results: dict[tuple[str, int], float] = {}
    for k, (name, (color, estimate)) in enumerate(looks.items()):
        for n in numbers:
            white, rows = whiten(draw_tasks(basis, n, 10, seed=1))
            moments, weights = estimate(rows)
            values, vectors = spectrum(moments, weights)
            angles = subspace_angles(shared_directions(white, vectors, 2).T, basis)
            results[name, n] = float(np.degrees(angles.max()))
            print(
                f"{name:7s} {n:5d} tasks: task diversity {values[1]:5.2f} (truth 1), largest angle "
                f"to the true subspace {results[name, n]:4.1f} degrees"
            )
        low, high = np.percentile(resampled_spectra(moments, weights, 100), [2.5, 97.5], axis=0)
        place, error = (
            np.arange(8) + 1 + 0.4 * k - 0.2,
            np.maximum([values - low, high - values], 0),
        )
        bars.bar(place, values, 0.4, yerr=error, color=color, capsize=2, label=name)
        lines.plot(numbers, [results[name, n] for n in numbers], "o-", color=color, label=name)
    bars.plot([1, 2], [4, 1], "_", color="black", markersize=22, label="truth")
    bars.axhline(0, color="black", linewidth=0.8)
    bars.set_xlabel("eigenvalue of Gamma")
    bars.set_title(f"{numbers[-1]} tasks of 10 rows, 8 features", fontsize="medium")
    lines.set_xscale("log")
    lines.set_yscale("log")
    lines.set_xticks(numbers, [str(n) for n in numbers])
    lines.set_yticks([1, 3, 10, 30, 90], ["1", "3", "10", "30", "90"])
    lines.minorticks_off()
    lines.set_xlabel("number of tasks")
    lines.set_title("largest angle to the true subspace (degrees)", fontsize="medium")
    bars.legend(frameon=False)
    lines.legend(frameon=False)
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--picture", default="task_subspace.png")
    args = parser.parse_args()
    main(args.numbers, args.picture)
