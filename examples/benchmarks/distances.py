"""Measure the time and memory of each metric of `task_distances` for many tasks.

    python examples/benchmarks/distances.py [--tasks 200] [--rows 50] [--features 20] [--ragged]
    python examples/benchmarks/distances.py --memory 200 400 800

The first command prints the seconds of each metric, and the processor seconds of all cores, for
classification and regression tasks from four clusters. It also prints the adjusted Rand index of
the clusters that a clustering by the metric returns. Metrics that need an estimator get a MAML
after a short meta-training. With --memory, the script prints the largest growth of the resident
memory of a process for each number of tasks (Linux only).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from sklearn_meta import MAMLClassifier, MAMLRegressor
from sklearn_meta.analysis import task_distances
from sklearn_meta.analysis.distances import METRICS, NEED_ESTIMATOR
from sklearn_meta.tasks import Task

N_CLUSTERS = 4
KINDS = ("classification", "regression")


def make_tasks(
    kind: str, n_tasks: int, n_rows: int, n_features: int, ragged: bool
) -> tuple[list[Task], np.ndarray]:
    """Make tasks whose labels, but not inputs, depend on their cluster."""
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
    results = {}
    for kind in KINDS:
        tasks, cluster = make_tasks(kind, n_tasks, n_rows, n_features, ragged)
        prior = learner(kind, tasks)
        for metric in metrics:
            estimator = prior if metric in NEED_ESTIMATOR else None
            name = metric if isinstance(metric, str) else metric.__name__
            begin, cpu = time.perf_counter(), time.process_time()
            distances = task_distances(tasks, metric=metric, estimator=estimator, random_state=0)
            cpu = time.process_time() - cpu
            results[name, kind] = time.perf_counter() - begin
            score = adjusted_rand_score(cluster, clusters_of(distances))
            print(
                f"| {name} | {kind} | {results[name, kind]:.1f} | {cpu:.1f} | {score:.2f} |",
                flush=True,
            )
    return results


def peak(metric: str, kind: str, n_tasks: int, n_rows: int, n_features: int) -> float:
    """Return the peak memory in MiB beyond the tasks. Call it in a new process."""
    tasks, _ = make_tasks(kind, n_tasks, n_rows, n_features, ragged=False)
    options = {"estimator": learner(kind, tasks[:20])} if metric in NEED_ESTIMATOR else {}
    task_distances(
        tasks[:4], metric=metric, random_state=0, **options
    )  # load modules before the measurement
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = peak_now()
    task_distances(tasks, metric=metric, random_state=0, **options)
    return peak_now() - before


def peak_now() -> float:
    """Return the peak memory of this process in MiB."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**10


def peaks(
    sizes: Sequence[int], n_rows: int, n_features: int, metrics: Iterable[str]
) -> dict[tuple[str, str], list[float]]:
    """Measure each metric and number of tasks in a new process."""
    print(f"| MiB, {n_rows} rows, {n_features} features | kind | ", end="")
    print(
        *(f"{n} tasks" for n in sizes), sep=" | ", end=" |\n" + "| --- " * (2 + len(sizes)) + "|\n"
    )
    results = {}
    for metric in metrics:
        for kind in KINDS:
            of = results[metric, kind] = []
            for n in sizes:
                one = ["--peak", metric, kind, str(n), str(n_rows), str(n_features)]
                command = [sys.executable, __file__, *one]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                of.append(float(done.stdout))
            print(f"| {metric} | {kind} | {' | '.join(f'{x:.0f}' for x in of)} |", flush=True)
    return results


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
    parser.add_argument("--memory", type=int, nargs="+", help="numbers of tasks")
    parser.add_argument("--peak", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print(peak(*args.peak[:2], *map(int, args.peak[2:])))
    elif args.memory:
        peaks(args.memory, args.rows, args.features, args.metrics)
    else:
        main(args.tasks, args.rows, args.features, args.ragged, args.metrics)
