"""Which metric predicts how much one task helps another? Rank correlations with measured gains.

    python examples/benchmarks/relatedness.py

The gain of task j from task i is the relative decrease of the error on 400 new rows of j, if a
model is trained on the 10 support rows of j and the 40 rows of i instead of the 10 support rows
only. The model is kernel ridge regression with a Gaussian kernel (of class indicators, for
labels), which no metric uses. The metrics use 40 rows of each task and none of the new rows. The
script prints Spearman's correlation of -d_ij with the gain over all ordered pairs of 20 tasks: its
mean over the seeds 0, 1 and 2, its minimum and its maximum. The estimator of "gradient" and
"parameter", and of the rows of "transfer" and "task2vec" that name it, is MAML, meta-trained on 60
other tasks.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.stats import spearmanr
from sklearn.kernel_ridge import KernelRidge

from sklearn_meta import MAMLClassifier, MAMLRegressor, Task
from sklearn_meta.analysis import task_distances

N_TASKS, N_OTHER, N_ROWS, N_SUPPORT, N_FRESH, N_ITER = 20, 60, 40, 10, 400, 300
WITH_LEARNER = ["transfer", "task2vec", "gradient", "parameter"]
WITHOUT = ["transfer", "task2vec", "otdd", "mmd", "logme", "meta_features"]


def linear(rng):
    """Make linear tasks: one of 4 coefficient vectors, plus a deviation of each task."""
    centres = rng.standard_normal((4, 5))

    def draw(n):
        w = centres[rng.randint(4)] + 0.3 * rng.standard_normal(5)
        X = rng.standard_normal((n, 5))
        return X, X @ w + 0.3 * rng.standard_normal(n)

    return draw


def labelled(rng):
    """Use the sign of the linear targets as labels, which mean the same in all tasks."""
    draw_real = linear(rng)

    def draw(n):
        X, y = draw_real(n)
        return X, (y > 0).astype(int)

    return draw


def waves(rng):
    """Make sinusoids of random phase and amplitude."""

    def draw(n):
        amplitude, phase = rng.uniform(0.5, 2), rng.uniform(0, 2 * np.pi)
        X = rng.uniform(-3, 3, (n, 1))
        return X, amplitude * np.sin(X[:, 0] + phase) + 0.1 * rng.standard_normal(n)

    return draw


def shifted(rng):
    """Make tasks of one function that differ only in the distribution of X."""

    def draw(n):
        X = rng.uniform(-3, 3) + 0.7 * rng.standard_normal((n, 1))
        return X, np.sin(2 * X[:, 0]) + 0.1 * rng.standard_normal(n)

    return draw


FAMILIES = {"linear": linear, "labels": labelled, "sinusoids": waves, "shifted X": shifted}


def risk(X, y, X_new, y_new, kind):
    """Compute the error of kernel ridge regression: squared, or the share of wrong labels."""
    centre = y.mean()
    model = KernelRidge(alpha=0.1, kernel="rbf", gamma=0.5 / X.shape[1]).fit(X, y - centre)
    y_pred = model.predict(X_new) + centre
    if kind == "class":
        return np.mean((y_pred > 0.5) != y_new)
    return np.mean((y_pred - y_new) ** 2)


def gains(tasks, fresh, kind):
    """Compute the relative gain of each task from each other, (from, to)."""
    gain = np.empty((len(tasks), len(tasks)))
    for j, (target, (X_new, y_new)) in enumerate(zip(tasks, fresh, strict=True)):
        X, y = target.X[:N_SUPPORT], target.y[:N_SUPPORT]
        alone = risk(X, y, X_new, y_new, kind)
        for i, source in enumerate(tasks):
            both = np.concatenate([X, source.X]), np.concatenate([y, source.y])
            gain[i, j] = (alone - risk(*both, X_new, y_new, kind)) / alone
    return gain


def correlations(family, seed):
    """Compute Spearman's correlation of each metric."""
    rng = np.random.RandomState(seed)
    draw, kind = FAMILIES[family](rng), "class" if family == "labels" else "real"
    other = [Task(*draw(N_ROWS)) for _ in range(N_OTHER)]
    drawn = [draw(N_ROWS + N_FRESH) for _ in range(N_TASKS)]
    tasks = [Task(X[:N_ROWS], y[:N_ROWS]) for X, y in drawn]
    gain = gains(tasks, [(X[N_ROWS:], y[N_ROWS:]) for X, y in drawn], kind)
    make = MAMLClassifier if kind == "class" else MAMLRegressor
    est = make(hidden_layer_sizes=(32, 32), max_meta_iter=N_ITER, random_state=seed).meta_fit(other)
    off = ~np.eye(N_TASKS, dtype=bool)
    results = {}
    for learner, names in ((None, WITHOUT), (est, WITH_LEARNER)):
        for name in names:
            d = task_distances(tasks, metric=name, estimator=learner, random_state=seed)
            label = name + (", MAML" if learner is not None else "")
            results[label] = spearmanr(-d[off], gain[off]).statistic
    return results


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds, begin, table = range(parser.parse_args().seeds), time.perf_counter(), {}
    for family in FAMILIES:
        each = [correlations(family, seed) for seed in seeds]
        for name in each[0]:
            of_seeds = [results[name] for results in each]
            cell = f"{np.mean(of_seeds):.2f} [{min(of_seeds):.2f}, {max(of_seeds):.2f}]"
            table.setdefault(name, []).append(cell)
    print("| metric | " + " | ".join(FAMILIES) + " |")
    print("|" + " --- |" * (len(FAMILIES) + 1))
    for name, cells in table.items():
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(f"\n{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
