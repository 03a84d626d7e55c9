"""Measure the memory of files, sparse arrays and bytes as inputs, and the speed of reading ahead.

    python examples/benchmarks/input.py [--images 100000] [--rows 20000] [--delay 0.005]

Memory: a new process meta-trains on each form of the same pool of rows. The script prints the
largest growth of the anonymous memory (RssAnon, which excludes files) from before the rows were
loaded. Time: each task takes some milliseconds to read, as from a file on a network. The script
prints the time of an iteration by the number of workers that read ahead.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from skorch.callbacks import Callback

from sklearn_meta import FewShotTasks, LazyTasks, ProtoNetClassifier

SIDE, N_BITS, DENSITY = 28, 2048, 0.03
IMAGE_FORMS = ("float32 array", "uint8 array", "float32 file", "uint8 file", "uint8 x 4 turns")
ROW_FORMS = ("float64 array", "bool array", "sparse")


def own_memory() -> float:
    """Return the anonymous memory of this process in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


class Watch(Callback):
    """Record the largest memory at the end of an iteration, and the time of each iteration."""

    def __init__(self) -> None:
        self.most, self.times = own_memory(), [time.perf_counter()]

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        """Record memory and time."""
        self.most = max(self.most, own_memory())
        self.times.append(time.perf_counter())


def learner(n_iter: int, **params: Any) -> ProtoNetClassifier:
    """Make a small estimator, so that the rows need most of the memory."""
    return ProtoNetClassifier(
        hidden_layer_sizes=8, max_meta_iter=n_iter, random_state=0, device="cpu", **params
    )


def write_images(path: Path, n: int, dtype: str) -> None:
    """Write random images in parts."""
    images = np.lib.format.open_memmap(path, "w+", dtype, (n, SIDE * SIDE))
    for begin in range(0, n, 1000):
        rng = np.random.RandomState(begin)
        images[begin : begin + 1000] = rng.randint(256, size=images[begin : begin + 1000].shape)
    images.flush()


def rows_of(form: str, folder: str, n: int) -> tuple[Any, bool]:
    """Load the rows of a pool in one form; also return whether to rotate them."""
    kind, where = form.split(" ")[:2] if " " in form else (form, "")
    if form in IMAGE_FORMS:
        X = np.load(Path(folder) / f"{kind}.npy", mmap_mode="r" if where == "file" else None)
        return (X.reshape(-1, SIDE, SIDE), True) if "turns" in form else (X, False)
    thin = sparse.csr_array(sparse.random(n, N_BITS, density=DENSITY, random_state=0))
    thin.data[:] = 1.0
    return (thin if form == "sparse" else thin.toarray().astype(kind)), False


class Flat(torch.nn.Module):
    """Flatten images, and apply one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(SIDE * SIDE, 8)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Compute the features."""
        return self.layer(X.flatten(1))


def grown(form: str, folder: str, n: int, n_iter: int = 20) -> float:
    """Return the growth of the memory in MB while meta-training on a pool."""
    rng = np.random.RandomState(0)  # memory that torch and skorch need once
    learner(2).meta_fit(FewShotTasks(rng.normal(size=(40, 8)), np.arange(40) % 8, n_shot=1))
    before, watch = own_memory(), Watch()
    X, turns = rows_of(form, folder, n)
    backbone = {"backbone": Flat()} if turns else {}
    pool = FewShotTasks(X, np.arange(n) % (n // 20), n_query=5, rotations=turns)
    learner(n_iter, callbacks=[watch], **backbone).meta_fit(pool)
    return watch.most - before


def memory(n_images: int, n_rows: int, *, alone: bool = True) -> dict[str, float]:
    """Measure the growth of memory of each form in MB, in new processes if `alone`."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("float32", "uint8"):
            write_images(Path(folder) / f"{kind}.npy", n_images, kind)
        for form in (*IMAGE_FORMS, *ROW_FORMS):
            n = n_images if form in IMAGE_FORMS else n_rows
            if alone:
                with multiprocessing.get_context("spawn").Pool(1) as process:
                    results[form] = process.apply(grown, (form, folder, n))
            else:
                results[form] = grown(form, folder, n, 2)
    return results


class Slow:
    """Sequence of tasks with a delay, as on a slow disk."""

    def __init__(self, n: int, delay: float) -> None:
        self.n, self.delay = n, delay

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        time.sleep(self.delay)
        X = np.random.RandomState(i).normal(size=(20, 8))
        return X, (X[:, 0] > np.median(X[:, 0])).astype(int)


def seconds(n_workers: int, n_tasks: int, delay: float, n_iter: int) -> float:
    """Measure the median seconds of an iteration of 8 tasks, without a first pass for scaling."""
    tasks = LazyTasks(Slow(n_tasks, delay), n_workers=n_workers, prefetch=32)
    how = {"scaling": None, "meta_batch_size": 8, "iters_per_epoch": n_iter}
    learner(n_iter, callbacks=[watch := Watch()], **how).meta_fit(tasks)
    return float(np.median(np.diff(watch.times[1:])))


def main(n_images: int, n_rows: int, delay: float, n_iter: int = 40, *, alone: bool = True) -> Any:
    """Print both tables."""
    grew = memory(n_images, n_rows, alone=alone)
    size = n_images * SIDE * SIDE / 2**20
    print(f"{n_images} images: {4 * size:.0f} MB as float32, {size:.0f} MB as bytes")
    print(f"{n_rows} rows of {N_BITS}: {n_rows * N_BITS * 8 / 2**20:.0f} MB as float64")
    for form, megabytes in grew.items():
        print(f"  {form:16} {megabytes:8.1f} MB")
    print(f"reading {1e3 * delay:.0f} ms a task, 8 tasks an iteration:")
    none = seconds(0, 8 * n_iter, 0.0, n_iter)
    print(f"  if it took no time {1e3 * none:5.1f} ms an iteration")
    took = {k: seconds(k, 8 * n_iter, delay, n_iter) for k in (0, 1, 2, 4, 8)}
    for n_workers, each in took.items():
        faster = f"({took[0] / each:.1f}x)"
        print(f"  {n_workers} workers        {1e3 * each:5.1f} ms an iteration {faster}")
    return grew, took


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--delay", type=float, default=0.005)
    chosen = parser.parse_args()
    main(chosen.images, chosen.rows, chosen.delay)
