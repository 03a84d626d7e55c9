"""Measure HierarchicalRegressor with few tasks, with and without shrinkage, against the true prior.

python examples/benchmarks/few_tasks.py
python examples/benchmarks/few_tasks.py --n-tasks 10 20 --repetitions 10
"""

import argparse
import time

import numpy as np

from sklearn_meta import HierarchicalRegressor, Task

LEARNERS = {
    "ml": HierarchicalRegressor(method="ml", shrinkage=0.0),
    "reml": HierarchicalRegressor(shrinkage=0.0),
    "shrinkage": HierarchicalRegressor(),
}
N_ROWS, N_SUPPORT, N_QUERY, N_NEW = 10, (0, 1, 3, 10, 25), 20, 60
FAMILIES = ("diagonal", "correlated", "rank 2")


def covariance(family, p, rng):
    """Draw the covariance of p coefficients, with a trace of at most 6."""
    if family == "diagonal":
        S = np.diag(rng.uniform(0.05, 1, p))
    else:
        W = rng.normal(size=(p, p if family == "correlated" else 2))
        S = W @ W.T
    return S / np.trace(S) * min(p, 6)


def draw(n_tasks, n_rows, mean, root, rng):
    """Draw tasks with noise of variance 1."""
    tasks = []
    for _ in range(n_tasks):
        X = rng.normal(size=(n_rows, len(mean) - 1))
        coef = mean + root @ rng.normal(size=len(mean))
        tasks.append(Task(X, np.c_[np.ones(n_rows), X] @ coef + rng.normal(size=n_rows)))
    return tasks


def best_predictions(X, y, X_query, mean, S):
    """Predict with the true prior."""
    Z, query = (np.c_[np.ones(len(rows)), rows] for rows in (X, X_query))
    gain = S @ Z.T @ np.linalg.inv(Z @ S @ Z.T + np.eye(len(Z)))
    return query @ (mean + gain @ (y - Z @ mean))


def measure(p, n_tasks, family, repetitions):
    """Return errors over that of the true prior, shares in 90 % intervals, and seconds."""
    errors = {name: np.zeros(len(N_SUPPORT)) for name in ["oracle", *LEARNERS]}
    inside = {name: np.zeros(len(N_SUPPORT)) for name in LEARNERS}
    seconds = dict.fromkeys(LEARNERS, 0.0)
    for seed in range(repetitions):
        rng = np.random.RandomState(seed)
        S, mean = covariance(family, p, rng), rng.normal(size=p)
        values, vectors = np.linalg.eigh(S)
        root = vectors * np.sqrt(np.maximum(values, 0))
        train = draw(n_tasks, N_ROWS, mean, root, rng)
        new = draw(N_NEW, max(N_SUPPORT) + N_QUERY, mean, root, rng)
        for name, learner in LEARNERS.items():
            begin = time.process_time()
            learner.meta_fit(train)
            seconds[name] += (time.process_time() - begin) / repetitions
        for k, n in enumerate(N_SUPPORT):
            for task in new:
                X, y = task.X[-N_QUERY:], task.y[-N_QUERY:]
                best = best_predictions(task.X[:n], task.y[:n], X, mean, S)
                errors["oracle"][k] += np.mean((best - y) ** 2)
                for name, learner in LEARNERS.items():
                    learner.fit(task.X[:n], task.y[:n])
                    low, high = learner.predict_quantiles(X, [0.05, 0.95]).T
                    errors[name][k] += np.mean((learner.predict(X) - y) ** 2)
                    inside[name][k] += np.mean((low < y) & (y < high)) / (N_NEW * repetitions)
    return {k: errors[k] / errors["oracle"] for k in LEARNERS}, inside, seconds


def main(n_coefficients=(6, 21), n_tasks=(10, 20, 50, 200), repetitions=3):
    """Measure and print a table; return the ratios of errors."""
    results = {}
    sizes = " | ".join(f"{n} rows" for n in N_SUPPORT)
    print(f"| coefficients | tasks | family | learner | {sizes} | seconds |")
    print("| --- " * (5 + len(N_SUPPORT)) + "|")
    for p in n_coefficients:
        for n in n_tasks:
            for family in FAMILIES:
                ratios, inside, seconds = measure(p, n, family, repetitions)
                results[p, n, family] = ratios
                for name in LEARNERS:
                    pairs = zip(ratios[name], inside[name], strict=True)
                    cells = " | ".join(
                        f"{ratio:.2f}, {100 * share:.0f} %" for ratio, share in pairs
                    )
                    line = f"| {p} | {n} | {family} | {name} | {cells} | {seconds[name]:.2f} |"
                    print(line, flush=True)
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-coefficients", type=int, nargs="+", default=[6, 21])
    parser.add_argument("--n-tasks", type=int, nargs="+", default=[10, 20, 50, 200])
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    main(args.n_coefficients, args.n_tasks, args.repetitions)
