"""Time one search with one and two workers on joblib's backends loky, Dask and Ray.

Needs ``pip install ".[engines]"``. Each backend meta-trains the same 24 candidates once, and its
scores must equal those of one process to the last bit. Searches with one and two workers alternate
``--repeats`` times, and the table has medians. Each worker has one thread. Workers import the
package before the clock starts, except under Ray, which starts new ones in each call.
``--iterations`` sets how long a candidate trains. It prints the table of docs/results/engines.md.
"""

import argparse
import os
import time
from contextlib import contextmanager
from statistics import median

import numpy as np
import ray
import torch
from distributed import Client, LocalCluster
from joblib import Parallel, delayed, parallel_config
from ray.util.joblib import register_ray
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from sklearn_meta import MAMLRegressor
from sklearn_meta.datasets import make_sinusoid_tasks
from sklearn_meta.model_selection import TaskEstimator

GRID = {
    "estimator__meta_lr": [0.001, 0.003, 0.01, 0.03],
    "estimator__inner_lr": [0.001, 0.01, 0.02],
    "estimator__inner_steps": [1, 2],
}
TASKS = make_sinusoid_tasks(100, n_support=10, random_state=0)


def search(n_iterations):
    reg = MAMLRegressor(hidden_layer_sizes=(40, 40), max_meta_iter=n_iterations, random_state=0)
    cv = ShuffleSplit(1, test_size=0.2, random_state=0)
    return GridSearchCV(TaskEstimator(reg), GRID, cv=cv, refit=False, error_score="raise")


def run(n_iterations):
    begin = time.perf_counter()
    result = search(n_iterations).fit(TASKS).cv_results_["mean_test_score"]
    return result, time.perf_counter() - begin


def warm_up(n_workers):
    Parallel()(delayed(run_small)(i) for i in range(n_workers))


def run_small(i):
    time.sleep(1)  # so that each worker takes one
    return MAMLRegressor(max_meta_iter=1).meta_fit(TASKS[:20]).score_tasks(TASKS[:2])


@contextmanager
def loky(n_workers):
    with parallel_config(backend="loky", n_jobs=n_workers):
        warm_up(n_workers)
        yield


@contextmanager
def dask(n_workers):
    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        parallel_config(backend="dask"),
    ):
        warm_up(n_workers)
        yield


@contextmanager
def with_ray(n_workers):
    ray.init(num_cpus=n_workers, include_dashboard=False, log_to_driver=False)
    register_ray()
    with parallel_config(backend="ray", n_jobs=n_workers):
        yield
    ray.shutdown()


def main(n_iterations, repeats):
    os.environ["OMP_NUM_THREADS"] = "1"  # of workers
    torch.set_num_threads(1)
    run_small(0)
    expected, alone = run(n_iterations)
    print(f"One process: {alone:.1f} s. Load at the start: {os.getloadavg()[0]:.1f}.\n")
    print("| backend | 1 worker | 2 workers | faster by | in each pair |")
    print("| --- | ---: | ---: | ---: | --- |")
    for name, engine in {"loky": loky, "Dask": dask, "Ray": with_ray}.items():
        seconds = {1: [], 2: []}
        for _ in range(repeats):
            for n_workers, spent in seconds.items():
                with engine(n_workers):
                    scores, took = run(n_iterations)
                np.testing.assert_array_equal(scores, expected)
                spent.append(took)
        ratios = [one / two for one, two in zip(*seconds.values(), strict=True)]
        one, two = map(median, seconds.values())
        pairs = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"| {name} | {one:.1f} s | {two:.1f} s | {median(ratios):.2f} | {pairs} |", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    main(args.iterations, args.repeats)
