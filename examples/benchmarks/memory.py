"""Measure the memory of meta-training, with and without recomputation, and its estimate.

    python examples/benchmarks/memory.py --output docs/results/memory.md

A new process runs one meta-iteration for each figure. There are two measures: the peak of the
resident memory minus the memory before (``ru_maxrss``, while malloc returns freed memory at once),
and the largest number of bytes in tensors, as counted by torch's allocator. The first table is for
MAML with 20 second-order steps on Conv4 (28 x 28 images, 5 ways, 1 shot, 15 query rows in each
class, 4 tasks), with and without ``activation_checkpointing=True``. The second table compares with
the result of `estimate_memory` for several problems.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sklearn_meta as sm
from sklearn_meta.outer.memory import peak_bytes

NO_CACHE = {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "65536"}
CONV4: dict[str, Any] = {"backbone": "conv4", "n_shot": 1, "meta_batch_size": 4}
MAML: dict[str, Any] = {**CONV4, "inner_steps": 20, "inner_lr": 0.001, "head": "prototype"}

# name: (estimator, parameters, rows of a class or task)
PROBLEMS: dict[str, tuple[str, dict[str, Any], int]] = {
    "MAML, Conv4, 20 steps": ("MAMLClassifier", MAML, 16),
    "the same, activation_checkpointing=True": (
        "MAMLClassifier",
        {**MAML, "activation_checkpointing": True},
        16,
    ),
    "the same, first order": ("MAMLClassifier", {**MAML, "first_order": True}, 16),
    "the same, task_chunk_size=1": ("MAMLClassifier", {**MAML, "task_chunk_size": 1}, 16),
    "ANIL, Conv4, 5 steps": ("ANILClassifier", CONV4, 16),
    "Reptile, Conv4, 10 steps": ("ReptileClassifier", CONV4, 16),
    "ProtoNet, Conv4": ("ProtoNetClassifier", CONV4, 16),
    "MAML, MLP 2000-2000, 5 steps": (
        "MAMLRegressor",
        {"hidden_layer_sizes": (2000, 2000), "meta_batch_size": 8},
        25,
    ),
    "iMAML, MLP 500-500, 5000 rows": (
        "IMAMLRegressor",
        {"hidden_layer_sizes": (500, 500), "meta_batch_size": 8, "n_query": 2500},
        5000,
    ),
    "LSTM, MLP 100-100, 5 steps": (
        "LSTMMetaLearnerRegressor",
        {"hidden_layer_sizes": (100, 100), "meta_batch_size": 8},
        25,
    ),
}
BAR = ("MAML, Conv4, 20 steps", "the same, activation_checkpointing=True")
SMALL = {"inner_steps": 3, "meta_batch_size": 2, "hidden_layer_sizes": 50, "n_query": 3}


def problem(name: str, small: bool) -> tuple[Any, list[tuple[Any, Any]]]:
    """Make an estimator and its tasks."""
    kind, params, n = PROBLEMS[name]
    cls, rng = getattr(sm, kind), np.random.RandomState(0)
    defaults = cls().get_params()
    if small:
        params = params | {k: v for k, v in SMALL.items() if k in defaults}
        params["backbone"] = "mlp"
    est = cls(max_meta_iter=1, random_state=0, device="cpu", **params)
    if "Classifier" in kind:
        shape = (5 * n, 20) if small else (5 * n, 28, 28)
        y = np.repeat(np.arange(5), n)
        return est, [(rng.rand(*shape).astype(np.float32), y) for _ in range(4)]
    rows = [rng.rand(n, 10).astype(np.float32) for _ in range(8)]
    return est, [(X, X.sum(1, dtype=np.float32)) for X in rows]


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def child(name: str, how: str, small: bool) -> dict[str, Any]:
    """Run one meta-iteration in this process, and measure its memory and time."""
    est, tasks = problem(name, small)
    if est.task_chunk_size is None:  # do not measure how the size is chosen
        est.set_params(task_chunk_size=est.meta_batch_size)
    if how == "allocated":
        estimate = est.estimate_memory(tasks).total
        allocated = peak_bytes(lambda: est.meta_fit(tasks))
        return {"allocated": allocated, "estimate": estimate}
    tiny, few = problem("MAML, MLP 2000-2000, 5 steps", True)
    tiny.meta_fit(few)  # load modules before the measurement
    before = resident()
    begin = time.perf_counter()
    est.meta_fit(tasks)
    seconds = time.perf_counter() - begin
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"resident": peak - before, "seconds": seconds}


def difference(small: bool) -> tuple[float, float]:
    """Compare loss and meta-gradient with and without recomputation, in float64."""
    options = {"optimizer": torch.optim.SGD}

    def after(name: str, meta_lr: float) -> tuple[float, dict[str, Any]]:
        est, tasks = problem(name, small)
        est.set_params(net_params=options, meta_lr=meta_lr, max_grad_norm=None)
        est.meta_fit([(X.astype(np.float64), y) for X, y in tasks])
        return est.history_[-1, "train_loss"], dict(est.theta_)

    (_, start), (loss, theta), (again, other) = (
        after(BAR[0], 1e-30),
        *(after(name, 1.0) for name in BAR),
    )
    off = max(
        float(np.linalg.norm(other[k] - p) / np.linalg.norm(p - start[k]))
        for k, p in theta.items()
        if np.linalg.norm(p - start[k]) > 1e-9  # otherwise zero up to rounding
    )
    return abs(again / loss - 1), off


def measured(name: str, small: bool) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for how in ("resident", "allocated"):
        command = [sys.executable, __file__, "--child", name, how] + ["--small"] * small
        env = os.environ | NO_CACHE | {"OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if run.returncode:
            raise RuntimeError(f"{name}, {how}: {run.stderr}")
        result |= json.loads(run.stdout.splitlines()[-1])
    return result


def report(names: list[str], small: bool) -> list[str]:
    """Format the tables in Markdown."""
    results = {name: measured(name, small) for name in names}
    lines = [
        "| one meta-iteration | resident, MB | allocated, MB | estimate, MB | estimate / resident |"
        " s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in results.items():
        resident, allocated, estimate = (
            row[kind] / 1e6 for kind in ("resident", "allocated", "estimate")
        )
        lines.append(
            f"| {name} | {resident:.1f} | {allocated:.1f} | {estimate:.1f} | "
            f"{estimate / max(resident, 1e-9):.2f} | {row['seconds']:.2f} |"
        )
    if set(BAR) <= set(results):
        plain, again = (results[name] for name in BAR)
        of_loss, of_gradient = difference(small)
        lines += [
            "",
            "activation_checkpointing=True / without: "
            f"resident {again['resident'] / plain['resident']:.2f}, "
            f"allocated {again['allocated'] / plain['allocated']:.2f} (bar 0.33), "
            f"time {again['seconds'] / plain['seconds']:.2f}; "
            f"in float64, loss off by {of_loss:.1e}, "
            f"meta-gradient by {of_gradient:.1e} (bar 1e-6).",
        ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--small", action="store_true", help="tiny networks, for a test")
    parser.add_argument("--child", nargs=2, metavar=("NAME", "HOW"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        print(json.dumps(child(*options.child, options.small)))
        return
    head = [
        "# Memory of a meta-iteration",
        "",
        f"`examples/benchmarks/memory.py`, {datetime.date.today()}, sklearn_meta "
        f"{sm.__version__}, torch {torch.__version__}, {platform.machine()}, one thread.",
        "",
    ]
    text = "\n".join(head + report(options.only, options.small)) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
