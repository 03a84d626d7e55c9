"""What each metric of `task_distances` takes for many tasks.

    python examples/benchmarks/distances.py [--tasks 200] [--rows 50] [--features 20] [--ragged]

Prints the seconds of every metric (and those of all cores together), for classification and for
regression, on tasks of four hidden clusters, and the adjusted Rand index of the clusters that it
finds. Metrics that take an estimator get a briefly meta-fitted MAML.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from sklearn_meta import MAMLClassifier, MAMLRegressor
from sklearn_meta.analysis import task_distances
from sklearn_meta.analysis.distances import METRICS, NEED_ESTIMATOR
from sklearn_meta.tasks import Task

N_CLUSTERS = 4


def make_tasks(
    kind: str, n_tasks: int, n_rows: int, n_features: int, ragged: bool
) -> tuple[list[Task], np.ndarray]:
    """Tasks whose labels hang on the same few features within a cluster; inputs tell nothing."""
    rng = np.random.RandomState(0)
    cluster = np.arange(n_tasks) % N_CLUSTERS
    tasks = []
    for c in cluster:
        n = n_rows + (rng.randint(-n_rows // 5, n_rows // 5 + 1) if ragged else 0)
        X = rng.normal(size=(n, n_features))
        truth = 3 * X[:, c::N_CLUSTERS].sum(axis=1) / np.ceil(n_features / N_CLUSTERS) ** 0.5
        y = truth + rng.normal(size=n)
        tasks.append(Task(X, y > 0 if kind == "classification" else y))
    return tasks, cluster


def learner(kind: str, tasks: Sequence[Task]) -> MAMLClassifier | MAMLRegressor:
    cls = MAMLClassifier if kind == "classification" else MAMLRegressor
    return cls(max_meta_iter=20, random_state=0).meta_fit(list(tasks))


def main(
    n_tasks: int = 200,
    n_rows: int = 50,
    n_features: int = 20,
    ragged: bool = False,
    metrics: Iterable[str | Callable[[Task, Task], float]] = tuple(METRICS),
) -> dict[tuple[str, str], float]:
    sizes = f"{n_tasks} tasks of {'about ' if ragged else ''}{n_rows} rows, {n_features} features"
    print(f"| {sizes}, {torch.get_num_threads()} threads | kind | s | CPU s | adjusted Rand |")
    print("| --- | --- | --- | --- | --- |")
    found = {}
    for kind in ("classification", "regression"):
        tasks, cluster = make_tasks(kind, n_tasks, n_rows, n_features, ragged)
        prior = learner(kind, tasks)
        for metric in metrics:
            estimator = prior if metric in NEED_ESTIMATOR else None
            name = metric if isinstance(metric, str) else metric.__name__
            begin, cpu = time.perf_counter(), time.process_time()
            distances = task_distances(tasks, metric=metric, estimator=estimator, random_state=0)
            cpu = time.process_time() - cpu
            found[name, kind] = time.perf_counter() - begin
            score = adjusted_rand_score(cluster, clusters_of(distances))
            print(
                f"| {name} | {kind} | {found[name, kind]:.1f} | {cpu:.1f} | {score:.2f} |",
                flush=True,
            )
    return found


def clusters_of(distances: np.ndarray) -> np.ndarray:
    both = np.maximum(distances + distances.T, 0)
    search = AgglomerativeClustering(N_CLUSTERS, metric="precomputed", linkage="average")
    return search.fit_predict(both)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--ragged", action="store_true")
    parser.add_argument("--metrics", nargs="*", default=list(METRICS))
    given = parser.parse_args()
    main(given.tasks, given.rows, given.features, given.ragged, given.metrics)
