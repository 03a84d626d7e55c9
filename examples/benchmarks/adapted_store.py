"""Measure a file of ten thousand adapted models: its size, and the time to load one model.

python examples/benchmarks/adapted_store.py --tasks 10000
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.base import clone

from sklearn_meta import ANILClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.persistence import AdaptedTasks, save_adapted


def main(n_tasks=10_000, n_loads=1000, max_meta_iter=100):
    """Save adapted models, load some of them, and return sizes and times."""
    tasks = make_blob_tasks(30, n_way=5, n_rows=10, n_features=16, random_state=0)
    clf = ANILClassifier(hidden_layer_sizes=(64, 64), max_meta_iter=max_meta_iter, random_state=0)
    clf = clf.meta_fit(tasks)
    rng = np.random.RandomState(0)
    worker, n_bytes = clone(clf), 0

    def adapted():
        nonlocal n_bytes
        for i in range(n_tasks):
            task = tasks[i % len(tasks)]
            X = (task.X + rng.normal(scale=0.1, size=task.X.shape)).astype(np.float32)
            worker.fit(X, task.y)
            n_bytes += sum(p.nbytes for k, p in worker.phi_.items())
            yield f"user-{i:06}", worker

    with TemporaryDirectory() as folder:
        path = Path(folder) / "tasks.safetensors"
        began = time.perf_counter()
        save_adapted(path, clf, adapted())
        saving = time.perf_counter() - began
        size = path.stat().st_size
        began = time.perf_counter()
        store = AdaptedTasks(path, clf)
        opening = time.perf_counter() - began
        X, taken = tasks[0].X[:1].astype(np.float32), []
        for i in rng.randint(n_tasks, size=n_loads):
            began = time.perf_counter()
            store[f"user-{i:06}"].predict(X)
            taken.append(time.perf_counter() - began)
        began = time.perf_counter()
        AdaptedTasks(path, clf)[f"user-{n_tasks // 2:06}"].predict(X)
        alone = time.perf_counter() - began
    return {
        "tasks": n_tasks,
        "bytes of the file": size,
        "bytes of the deltas": n_bytes,
        "ratio": size / n_bytes,
        "adapt and save, s": saving,
        "open, ms": 1e3 * opening,
        "load one and predict, first, ms": 1e3 * taken[0],
        "load one and predict, median, ms": 1e3 * float(np.median(taken)),
        "load one and predict, 99th percentile, ms": 1e3 * float(np.quantile(taken, 0.99)),
        "open, load one and predict, ms": 1e3 * alone,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    for what, value in main(parser.parse_args().tasks).items():
        print(f"{what:42} {value:.6g}")
