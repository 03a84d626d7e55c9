"""Compare distances that use an estimator with a loop over pairs: seconds and largest difference.

    python examples/benchmarks/distances_by_learners.py [n_tasks]

The default is 200 tasks of 50 rows and 20 features. The loop is what a user would write with
scikit-learn's methods: `fit` for each task and `predict` for each other task (transfer), or the
gradient of one task after the other (gradient).
"""

import sys
import time
from functools import partial

import numpy as np

from sklearn_meta import MAMLClassifier, MAMLRegressor
from sklearn_meta.analysis import (
    diversity_coefficient,
    gradient_distances,
    parameter_distances,
    task2vec_distances,
    task_gradients,
    transfer_distances,
)
from sklearn_meta.tasks import Task

LEARNED = {
    "transfer": transfer_distances,
    "task2vec": task2vec_distances,
    "diversity_coefficient": diversity_coefficient,
}
PRIOR = {
    "gradient": gradient_distances,
    "parameter": parameter_distances,
}


def make_tasks(n_tasks, kind, n_rows=50, n_features=20):
    """Make tasks of 4 coefficient vectors; half of the rows are the support."""
    rng = np.random.RandomState(0)
    W = rng.standard_normal((4, n_features))
    tasks = []
    for i in range(n_tasks):
        X = rng.standard_normal((n_rows, n_features))
        y = X @ W[i % 4] + 0.5 * rng.standard_normal(n_rows)
        y = y if kind == "real" else (y > 0).astype(int)
        tasks.append(Task(X, y, support=np.arange(n_rows // 2)))
    return tasks


def transfer_loop(tasks, est):
    """Compute the losses of all pairs, with one `fit` for each task."""
    risk = np.empty((len(tasks), len(tasks)))
    for i, source in enumerate(tasks):
        est.fit(source.X_support, source.y_support)
        for j, target in enumerate(tasks):
            risk[i, j] = np.mean((target.y_query - est.predict(target.X_query)) ** 2)
    return risk / np.concatenate([task.y for task in tasks]).var()


def gradient_loop(tasks, est):
    """Compute the cosines from one gradient at a time."""
    G = np.concatenate([task_gradients([task], est) for task in tasks])
    d = np.empty((len(tasks), len(tasks)))
    for i, g in enumerate(G):
        for j, h in enumerate(G):
            d[i, j] = 1 - g @ h / np.linalg.norm(g) / np.linalg.norm(h)
    return d


def timed(function):
    """Return the result of a function and its seconds."""
    begin = time.perf_counter()
    value = function()
    return value, time.perf_counter() - begin


def main(n_tasks=200):
    """Print the tables."""
    print(f"{n_tasks} tasks x 50 rows x 20 features; seconds\n")
    for kind, make in (("real", MAMLRegressor), ("class", MAMLClassifier)):
        tasks = make_tasks(n_tasks, kind)
        est = make(hidden_layer_sizes=(32, 32), max_meta_iter=20, random_state=0).meta_fit(tasks)
        for name, run in LEARNED.items():
            for what, e in ((type(est).__name__, est), ("probe", None)):
                took = timed(partial(run, tasks, e, 0))[1]
                print(f"{kind:6} {name:21} {what:16} {took:8.2f}")
        if kind == "class":
            took = timed(partial(transfer_distances, tasks, est, 0, labels="match"))[1]
            print(f"{kind:6} {'transfer, matched':21} {type(est).__name__:16} {took:8.2f}")
        for name, run in PRIOR.items():
            took = timed(partial(run, tasks, est, 0))[1]
            print(f"{kind:6} {name:21} {type(est).__name__:16} {took:8.2f}")

    tasks = make_tasks(n_tasks, "real")
    reg = MAMLRegressor(hidden_layer_sizes=(32, 32), max_meta_iter=20, random_state=0)
    reg.meta_fit(tasks)
    print("\nagainst the loop")
    d, stacked = timed(lambda: transfer_distances(tasks, reg))
    risk, loop = timed(lambda: transfer_loop(tasks, reg))
    off = np.abs(risk - np.diag(risk) - d).max()
    print(f"transfer: {loop:.2f} / {stacked:.2f} = {loop / stacked:.1f} times; off {off:.1e}")
    d, stacked = timed(lambda: gradient_distances(tasks, reg))
    expected, loop = timed(lambda: gradient_loop(tasks, reg))
    off = np.abs(d - expected).max()
    print(f"gradient: {loop:.2f} / {stacked:.2f} = {loop / stacked:.1f} times; off {off:.1e}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
