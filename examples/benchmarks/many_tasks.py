"""Measure `score_tasks` on many new tasks: time against a loop, memory, and the time of one task.

    python examples/benchmarks/many_tasks.py

The tasks have different numbers of rows, in float64. `MAMLRegressor` with an MLP 1-40-40-1 adapts
to sinusoids; `MAMLClassifier`, with a head that starts from prototypes, and `ProtoNetClassifier`
adapt to blobs, all with five inner steps. The loop calls `fit` and `score` of the same estimator
for one task after the other. Loop and `score_tasks` run alternately; the table has medians and
their ratio. Times of the loop for more than `--loop` tasks are extrapolated and marked with a star.
Memory is the peak of a new process beyond the memory that it has when the tasks are loaded. "Bare
inner loop" is code for the same network without checks.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from sklearn_meta import MAMLClassifier, MAMLRegressor, ProtoNetClassifier, Task


def waves(n: int, seed: int = 0) -> list[Task]:
    """Make sinusoids with 5 to 14 support rows and 5 to 19 query rows."""
    rng, tasks = np.random.RandomState(seed), []
    for _ in range(n):
        n_support, n_query = rng.randint(5, 15), rng.randint(5, 20)
        X = rng.uniform(-5, 5, (n_support + n_query, 1))
        y = rng.uniform(0.1, 5) * np.sin(X[:, 0] + rng.uniform(0, np.pi))
        tasks.append(Task(X, y, support=np.arange(n_support)))
    return tasks


def blobs(n: int, seed: int = 0) -> list[Task]:
    """Make blobs of 2 to 5 classes in 8 dimensions, with 1 to 3 support and 2 to 5 query rows."""
    rng, tasks = np.random.RandomState(seed), []
    for _ in range(n):
        n_way, n_shot, n_query = rng.randint(2, 6), rng.randint(1, 4), rng.randint(2, 6)
        y = np.tile(np.arange(n_way), n_shot + n_query)
        X = 2 * rng.normal(size=(n_way, 8))[y] + rng.normal(size=(len(y), 8))
        tasks.append(Task(X, y, support=np.arange(n_way * n_shot)))
    return tasks


def learners(max_meta_iter: int) -> dict[str, tuple[Any, Callable[..., list[Task]]]]:
    shared: dict[str, Any] = {"max_meta_iter": max_meta_iter, "random_state": 0, "device": "cpu"}
    reg = MAMLRegressor(hidden_layer_sizes=(40, 40), norm=None, inner_steps=5, **shared)
    clf = MAMLClassifier(inner_steps=5, head="prototype", **shared)
    return {
        "MAMLRegressor": (reg, waves),
        "MAMLClassifier": (clf, blobs),
        "ProtoNetClassifier": (ProtoNetClassifier(**shared), blobs),
    }


def in_a_loop(est: Any, tasks: list[Task]) -> np.ndarray:
    return np.array([est.fit(t.X_support, t.y_support).score(t.X_query, t.y_query) for t in tasks])


def seconds(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def scaling(est: Any, tasks: list[Task], sizes: list[int], at_most: int, repeats: int) -> list[Any]:
    """Return rows (tasks, seconds of the loop, of score_tasks, ratio, largest difference)."""
    rows = []
    for n in sizes:
        some, looped = tasks[:n], tasks[: min(n, at_most)]
        error = np.abs(est.score_tasks(looped) - in_a_loop(est, looped)).max()
        pairs = [
            (seconds(lambda: in_a_loop(est, looped)), seconds(lambda: est.score_tasks(some)))  # noqa: B023
            for _ in range(repeats)
        ]
        loop = median(p[0] for p in pairs) * n / len(looped)
        at_once = median(p[1] for p in pairs)
        rows.append((n, loop, at_once, loop / at_once, float(error)))
    return rows


def bare(theta: list[torch.Tensor], task: Task) -> np.ndarray:
    """Compute five gradient steps and the prediction without the package."""
    S, y, Q = (torch.tensor(a) for a in (task.X_support, task.y_support[:, None], task.X_query))
    p = [t.detach().requires_grad_() for t in theta]

    def f(p: list[torch.Tensor], X: torch.Tensor) -> torch.Tensor:
        h = F.relu(F.linear(X, p[0], p[1]))
        return F.linear(F.relu(F.linear(h, p[2], p[3])), p[4], p[5])

    for _ in range(5):
        grads = torch.autograd.grad(F.mse_loss(f(p, S), y), p)
        p = [a - 0.01 * g for a, g in zip(p, grads, strict=True)]
    with torch.no_grad():
        return f(p, Q).numpy()


def latency(est: Any, task: Task, repeats: int) -> tuple[float, float]:
    """Measure milliseconds of fit + predict and of the bare inner loop, alternately."""
    est.fit(task.X_support, task.y_support)
    theta = [torch.tensor(np.asarray(p), dtype=torch.float64) for p in est.theta_.values()]
    pairs = [
        (
            seconds(lambda: est.fit(task.X_support, task.y_support).predict(task.X_query)),
            seconds(lambda: bare(theta, task)),
        )
        for _ in range(repeats)
    ]
    return 1e3 * median(p[0] for p in pairs), 1e3 * median(p[1] for p in pairs)


def peak(n: int, max_meta_iter: int) -> tuple[float, float]:
    """Return MB of n tasks, and of score_tasks beyond them. Call it in a new process."""
    est, make = learners(max_meta_iter)["MAMLRegressor"]
    est.meta_fit(make(100)).score_tasks(make(100))
    before = _resident()
    tasks = make(n)
    held = _resident()
    est.score_tasks(tasks)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return held - before, most - held


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peaks(sizes: list[int], max_meta_iter: int) -> list[tuple[int, float, float]]:
    rows = []
    for n in sizes:
        command = [sys.executable, __file__, "--peak", str(n), "--max-meta-iter"]
        done = subprocess.run(
            [*command, str(max_meta_iter)], capture_output=True, text=True, check=True
        )
        tasks, beyond = map(float, done.stdout.split())
        rows.append((n, tasks, beyond))
    return rows


def main(
    sizes: list[int], memory: list[int], at_most: int = 1000, repeats: int = 3, iters: int = 20
) -> dict[str, Any]:
    results: dict[str, Any] = {}
    print(f"{torch.get_num_threads()} threads; * loop extrapolated from {at_most} tasks")
    for name, (est, make) in learners(iters).items():
        tasks = make(max(sizes))
        est.meta_fit(tasks[:100])
        results[name] = scaling(est, tasks, sizes, at_most, repeats)
        print(f"\n| {name}: tasks | loop, s | score_tasks, s | ratio | largest difference |")
        print("| --- | --- | --- | --- | --- |")
        for n, loop, at_once, ratio, error in results[name]:
            star = "*" if n > at_most else ""
            print(f"| {n} | {loop:.3f}{star} | {at_once:.4f} | {ratio:.1f}{star} | {error:.1e} |")
    est, make = learners(iters)["MAMLRegressor"]
    fit, alone = latency(est.meta_fit(make(100)), make(1)[0], 30 * repeats)
    results["latency"] = fit - alone
    print(f"\none task: fit + predict {fit:.2f} ms, bare inner loop {alone:.2f} ms, ", end="")
    print(f"difference {fit - alone:.2f} ms")
    results["memory"] = peaks(memory, iters)
    print("\n| tasks | tasks, MB | score_tasks beyond them, MB |\n| --- | --- | --- |")
    for n, held, beyond in results["memory"]:
        print(f"| {n} | {held:.0f} | {beyond:.0f} |")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100, 1000, 10_000])
    parser.add_argument("--memory", type=int, nargs="*", default=[1000, 10_000, 50_000])
    parser.add_argument(
        "--loop", type=int, default=1000, help="largest number of tasks in the loop"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-meta-iter", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads")
    parser.add_argument("--peak", type=int, help="measure only the memory of this number of tasks")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        print(*peak(args.peak, args.max_meta_iter))
    else:
        main(args.sizes, args.memory, args.loop, args.repeats, args.max_meta_iter)
