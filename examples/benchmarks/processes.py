"""Measure meta-training on several processes: overhead, messages, faults, and a scaling to 64.

    python examples/benchmarks/processes.py --write docs/results/processes.md

Two problems are trained in turn by one process with one thread, by one process with two threads,
and by two processes with one thread each, which send their sums through gloo. The table has medians
of the time of an iteration. A second table extrapolates to more processes, each with a core of its
own, from the measured times and bytes; the page states its assumptions. At last, one of two ranks
raises an error, is killed, or hangs, many times, and the script counts how often the other one
ended with a clear error and the run continued from its checkpoint to the prior of a whole run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import platform
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from skorch.callbacks import Callback

from sklearn_meta import MAMLRegressor, ProtoNetClassifier, RankError, Task, __version__
from sklearn_meta.datasets import make_sinusoid_tasks
from sklearn_meta.nn import Conv4

SIZES = (1, 2, 4, 8, 16, 32, 64)
NETWORKS = {  # seconds of latency, bytes a second
    "10 Gbit/s Ethernet": (50e-6, 1.25e9),
    "100 Gbit/s InfiniBand": (5e-6, 12.5e9),
}
FAULTS = ("raise", "kill", "hang")
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
TIMEOUT = 5.0  # seconds, of the messages of ranks one of which hangs


# ---- processes -------------------------------------------------------------------------------


def run(
    function: Callable[[], Any], size: int, threads: int = 1, timeout: float = 600
) -> list[Any]:
    """Call a function on each rank of a new group; return results or errors, None if killed."""
    context = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":  # which imports the package once
        context.set_forkserver_preload(["sklearn_meta", "torch.distributed"])
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=on_rank, args=(rank, size, folder, threads, timeout, function))
            for rank in range(size)
        ]
        for process in processes:
            process.start()
        while sum(process.is_alive() for process in processes) == size:
            time.sleep(0.01)
        end = time.monotonic() + timeout + 30
        for process in processes:  # one that hangs is killed
            process.join(max(0.0, min(end - time.monotonic(), TIMEOUT)))
            process.kill()
            process.join()
        paths = [Path(folder) / f"{rank}.pickle" for rank in range(size)]
        return [pickle.loads(path.read_bytes()) if path.exists() else None for path in paths]


def on_rank(
    rank: int, size: int, folder: str, threads: int, timeout: float, function: Callable[[], Any]
) -> None:
    torch.set_num_threads(threads)
    if size > 1:
        method, limit = f"file://{folder}/group", timedelta(seconds=timeout)
        dist.init_process_group(
            "gloo", init_method=method, rank=rank, world_size=size, timeout=limit
        )
    try:
        result = function()
    except (RankError, ZeroDivisionError) as error:
        result = error
    (Path(folder) / f"{rank}.pickle").write_bytes(pickle.dumps(result))


# ---- overhead --------------------------------------------------------------------------------


class Times(Callback):
    """The time of each iteration."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.seconds_: list[float] = []
        self.bytes_ = sum(p.nbytes for p in net.module_.parameters())

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training:
            self.seconds_.append(time.perf_counter())


def sinusoids() -> tuple[Any, Any]:
    tasks = make_sinusoid_tasks(200, n_rows=20, n_support=10, random_state=0)
    shared = {"hidden_layer_sizes": (40, 40), "norm": None, "inner_steps": 5}
    return MAMLRegressor(meta_batch_size=32, **shared), [
        Task(t.X.astype(np.float32), t.y.astype(np.float32), support=t.support) for t in tasks
    ]


def images() -> tuple[Any, Any]:
    rng = np.random.RandomState(0)
    y = np.repeat(np.arange(5), 6)
    tasks = [Task(rng.rand(30, 28, 28).astype(np.float32), y) for _ in range(64)]
    return ProtoNetClassifier(backbone=Conv4, scaling=None, n_query=5, meta_batch_size=32), tasks


PROBLEMS = {"sinusoids": sinusoids, "images": images}


def iteration(problem: str, n_iter: int, meta_batch_size: int) -> tuple[float, int]:
    """Return the median seconds of an iteration, and the bytes of theta."""
    est, tasks = PROBLEMS[problem]()
    times = Times()
    est.set_params(meta_batch_size=meta_batch_size, max_meta_iter=n_iter, iters_per_epoch=n_iter)
    est.set_params(callbacks=[times], random_state=0, device="cpu").meta_fit(tasks)
    return median(np.diff(times.seconds_)), times.bytes_


def overhead(problem: str, n_iter: int, repeats: int) -> dict[str, list[float]]:
    """Return seconds of an iteration of 32 tasks, in turn for each way to use the cores."""
    ways = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2)}
    ways["2 processes, 1 thread each"] = (2, 1)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, (size, threads) in ways.items():
            results = run(partial(iteration, problem, n_iter, 32), size, threads)
            seconds[way].append(max(of_rank for of_rank, _ in results))
    return seconds


def message(n_numbers: int, repeats: int) -> float:
    """Return the median seconds of a sum of float32 numbers over all ranks."""
    numbers, seconds = torch.zeros(n_numbers), []
    for _ in range(repeats):
        dist.barrier()
        begin = time.perf_counter()
        dist.all_reduce(numbers)
        seconds.append(time.perf_counter() - begin)
    return median(seconds)


def seconds_on(size: int, per_task: float, fixed: float, n_bytes: int, network: str) -> float:
    """Extrapolate the seconds of an iteration of 64 tasks to a number of processes.

    A ring sends the numbers in 2 (size - 1) steps of n_bytes / size, one latency each.
    """
    latency, bandwidth = NETWORKS[network]
    steps = 2 * (size - 1)
    return fixed + per_task * -(-64 // size) + steps * (latency + n_bytes / size / bandwidth)


# ---- faults ----------------------------------------------------------------------------------


class Act(Callback):
    """Raise an error, end the process or hang, after five iterations, on rank 1."""

    def __init__(self, fault: str) -> None:
        self.fault, self.n_iter = fault, 0

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        self.n_iter += training
        if training and self.n_iter == 5 and dist.is_initialized() and dist.get_rank() == 1:
            if self.fault == "raise":
                raise ZeroDivisionError
            if self.fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1000)


def train(fault: str | None, folder: str | None) -> dict[str, Any]:
    waves = make_sinusoid_tasks(9, n_rows=16, random_state=0)
    reg = MAMLRegressor(
        hidden_layer_sizes=6,
        inner_steps=1,
        max_meta_iter=8,
        iters_per_epoch=2,
        meta_batch_size=4,
        checkpoint_dir=folder,
        callbacks=[] if fault is None else [Act(fault)],
        random_state=0,
        device="cpu",
    )
    return dict(reg.meta_fit(waves).theta_)


def is_clean(fault: str, resume_on: int, whole: dict[str, Any]) -> bool:
    """Return whether rank 0 ends with a clear error, and the run continues to the whole prior."""
    with tempfile.TemporaryDirectory() as folder:
        timeout = TIMEOUT if fault == "hang" else 600
        first, second = run(partial(train, fault, folder), 2, timeout=timeout)
        ended = isinstance(first, RankError) and "checkpoint_dir" in str(first)
        ended &= isinstance(second, ZeroDivisionError) if fault == "raise" else second is None
        one_file = len(list(Path(folder).iterdir())) == 1
        resumed = run(partial(train, None, folder), resume_on)
        gaps = [np.abs(p - theta[k]).max() for theta in resumed for k, p in whole.items()]
        return bool(ended and one_file and max(gaps) < 1e-12)


# ---- the page --------------------------------------------------------------------------------


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def main(
    n_iter: int = 200, repeats: int = 5, n_faults: int = 20, out: Path | None = None
) -> dict[str, Any]:
    torch.set_num_threads(1)
    result: dict[str, Any] = {"overhead": {}, "faults": {}}
    lines = []
    for problem in PROBLEMS:
        n = max(n_iter // (10 if problem == "images" else 1), 3)
        seconds = result["overhead"][problem] = overhead(problem, n, repeats)
        lines += [
            [problem, way, f"{1e3 * median(s):.2f}", f"{1e3 * min(s):.2f}", f"{1e3 * max(s):.2f}"]
            for way, s in seconds.items()
        ]
    ways = table(["problem", "32 tasks by", "ms an iteration", "least", "most"], lines)

    lines, scaling = [], []
    for problem in PROBLEMS:
        n = max(n_iter // (10 if problem == "images" else 1), 3)
        (many, n_bytes), (few, _) = (
            run(partial(iteration, problem, n, size), 1)[0] for size in (32, 8)
        )
        per_task = (many - few) / 24
        fixed = max(few - 8 * per_task, 0.0)
        sent = run(partial(message, n_bytes // 4, 200), 2)[0]
        result[problem] = {"per_task": per_task, "fixed": fixed, "bytes": n_bytes, "sent": sent}
        lines.append(
            [
                problem,
                f"{n_bytes:,}",
                f"{1e3 * sent:.2f}",
                f"{1e3 * per_task:.2f}",
                f"{1e3 * fixed:.2f}",
            ]
        )
        for network in NETWORKS:
            of_size = [seconds_on(size, per_task, fixed, n_bytes, network) for size in SIZES]
            result[problem][network] = of_size
            scaling.append([problem, network, *(f"{of_size[0] / s:.1f}" for s in of_size)])
    parts = table(
        [
            "problem",
            "bytes of theta",
            "ms of a message between 2 processes",
            "ms a task",
            "ms an iteration, without tasks",
        ],
        lines,
    )
    speedups = table(["problem", "network", *map(str, SIZES)], scaling)

    whole = train(None, None)
    for fault in FAULTS:
        clean = [is_clean(fault, 1 + 2 * (k % 2), whole) for k in range(n_faults)]
        result["faults"][fault] = sum(clean)
    faults = table(
        ["what rank 1 of 2 does", "clean", "of"],
        [[fault, str(n), str(n_faults)] for fault, n in result["faults"].items()],
    )
    page = PAGE.format(
        version=__version__,
        torch=torch.__version__,
        date=time.strftime("%Y-%m-%d"),
        machine=platform.machine(),
        cores=os.cpu_count(),
        ways="\n".join(ways),
        parts="\n".join(parts),
        speedups="\n".join(speedups),
        faults="\n".join(faults),
    )
    print(page)
    if out is not None:
        out.write_text(page, encoding="utf-8")
    return result


PAGE = """\
# Several processes

How much time do two processes save, what do they send, and what happens if one of them fails?

    python examples/benchmarks/processes.py --write docs/results/processes.md

sklearn_meta {version}, torch {torch}, {date}, {cores} CPU cores ({machine}).

## Two cores

An iteration has 32 tasks. "Sinusoids" have ten support and ten query rows each, with five inner
steps of MAML in float32 on a network 1-40-40-1. "Images" are five classes of 28 x 28 pixels with
one support image and five query images each, for ProtoNet with Conv4. The table has the median,
the least and the most of several runs, which alternate.

{ways}

## What is sent

Each iteration sends one message: the gradient, and one loss for each task. A message between two
processes on one machine goes through gloo. An iteration takes a fixed time, which all processes
spend alike (drawing episodes, the optimiser, skorch), and a time for each task.

{parts}

## More processes, by calculation

This table is not measured. It has the speed-up of an iteration of 64 tasks, calculated from the
table above. It assumes that each process has a core as fast as this one, that all tasks take the
same time, and that a message goes around a ring in 2 (n - 1) steps of 1/n of its bytes. A step
takes 50 microseconds and 1.25 GB/s (10 Gbit/s Ethernet), or 5 microseconds and 12.5 GB/s (100
Gbit/s InfiniBand).

{speedups}

The fixed time and the steps of the ring limit the speed-up. If a task takes little time, many
processes wait for messages. More than 64 processes cannot help, because an iteration has 64 tasks.

## Faults

After five of eight iterations, rank 1 raises an error, is killed, or hangs. A trial is clean if
rank 0 raises a `RankError`, if there is one checkpoint and no other file, and if the run continues
on one or on three processes to the prior of a run without faults, to 1e-12.

{faults}
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n-iter", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    main(args.n_iter, args.repeats, args.faults, args.write)
