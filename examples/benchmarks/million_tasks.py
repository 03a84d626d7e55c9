"""Meta-train on a million tasks that lie on disk, and score all of them, in constant memory.

    python examples/benchmarks/million_tasks.py --write docs/results/million_tasks.md

Each task has 20 rows of 8 features, in float64. The tasks are written twice: as memory-mapped
arrays of 10,000 tasks each, and as parquet files with a column that names the task of each row,
which the class `ParquetTasks` of docs/guide/scaling.md reads. For each form a new process
meta-trains `ALPaCARegressor` for 1,000 iterations by `LazyTasks`, and scores all tasks. A third
process saves as many adapted models in one file, and reads some of them by `AdaptedTasks`. Memory
is the peak of the process beyond the memory that it has after all imports. The script ends with an
error if it exceeds `--budget`. It needs Linux, pyarrow and safetensors.
"""

from __future__ import annotations

import argparse
import doctest
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import torch
from sklearn.base import clone

from sklearn_meta import ALPaCARegressor, ANILRegressor, LazyTasks, Task, __version__
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.persistence import AdaptedTasks, save_adapted

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "scaling.md"
N_ROWS, N_FEATURES, N_SUPPORT = 20, 8, 10
SHARD, GROUP = 10_000, 100  # tasks of a file, and of a row group of parquet
FORMS = ("arrays", "parquet")
PARTS = (*FORMS, "adapted")
N_ALONE, N_LOADS = 20_000, 1000  # tasks that are only read, and models that are loaded


# ---- data on disk ------------------------------------------------------------------------------


def write(folder: Path, n_tasks: int, forms: Sequence[str]) -> None:
    """Write linear tasks in some forms, a shard at a time."""
    for form in forms:
        (folder / form).mkdir(parents=True, exist_ok=True)
    for begin in range(0, n_tasks, SHARD):
        n, rng = min(SHARD, n_tasks - begin), np.random.RandomState(begin)
        X = rng.normal(size=(n, N_ROWS, N_FEATURES))
        y = (X @ rng.normal(size=(n, N_FEATURES, 1)))[..., 0] + rng.normal(size=(n, N_ROWS))
        name = f"{begin // SHARD:05}"
        if "arrays" in forms:
            np.save(folder / "arrays" / f"X-{name}.npy", X)
            np.save(folder / "arrays" / f"y-{name}.npy", y)
        if "parquet" not in forms:
            continue
        columns = {f"x{j}": X[..., j].ravel() for j in range(N_FEATURES)}
        task = np.repeat(np.arange(begin, begin + n), N_ROWS)
        pyarrow.parquet.write_table(
            pyarrow.table({"task": task, **columns, "y": y.ravel()}),
            folder / "parquet" / f"{name}.parquet",
            row_group_size=GROUP * N_ROWS,
        )


class Shards:
    """Tasks in arrays of equal size, which are mapped while they are read."""

    def __init__(self, folder: Path, n_tasks: int) -> None:
        self.folder, self.n_tasks = folder, n_tasks

    @lru_cache(4)  # noqa: B019
    def arrays(self, k: int) -> list[np.ndarray]:
        return [np.load(self.folder / f"{part}-{k:05}.npy", mmap_mode="r") for part in "Xy"]

    def __len__(self) -> int:
        return self.n_tasks

    def __getitem__(self, i: int) -> Task:
        k, row = divmod(i, SHARD)
        X, y = (np.array(part[row]) for part in self.arrays(k))
        return Task(X, y, support=range(N_SUPPORT))


def parquet_tasks() -> Any:
    """Return the class of the guide."""
    examples = doctest.DocTestParser().get_examples(GUIDE.read_text(encoding="utf-8"))
    source = next(e.source for e in examples if e.source.startswith("class ParquetTasks"))
    names = {"np": np, "pyarrow": pyarrow, "Task": Task, "lru_cache": lru_cache}
    exec(source, names)
    return names["ParquetTasks"]


def forget(folder: Path) -> int:
    """Drop the files of a folder from the cache of the system; return their bytes."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return sum(path.stat().st_size for path in folder.iterdir())


# ---- measurements, each in a process of its own --------------------------------------------------


def memory(name: str) -> float:
    """Return an entry of the memory of this process, in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


@contextmanager
def measured(result: dict[str, float], name: str, before: float) -> Iterator[None]:
    """Measure seconds, seconds of the processor, and the peak of the memory beyond `before`."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    result[f"{name}, s"] = time.perf_counter() - wall
    result[f"{name}, CPU s"] = time.process_time() - cpu
    result[f"{name}, MB"] = memory("VmHWM") - before


def learn(folder: Path, form: str, n_tasks: int, n_iter: int) -> dict[str, float]:
    """Meta-train on all tasks in one form and score them."""
    result: dict[str, float] = {}
    before, path = memory("VmRSS"), folder / form
    size = forget(path)
    with measured(result, "disk", before):
        for file in path.iterdir():
            with file.open("rb", buffering=0) as stream:
                while stream.read(2**22):
                    pass
    result["disk, bytes"] = size
    forget(path)
    with measured(result, "open", before):
        if form == "parquet":
            tasks = LazyTasks(parquet_tasks()(path, "y", "task", N_SUPPORT))
        else:
            tasks = LazyTasks(Shards(path, n_tasks))
    n_alone = min(n_tasks, N_ALONE)
    with measured(result, "reading", before):
        for _ in islice(tasks, n_alone):
            pass
    for unit in ("s", "CPU s"):
        result[f"reading, {unit}"] *= n_tasks / n_alone
    forget(path)
    est = ALPaCARegressor(max_meta_iter=n_iter, random_state=0, device="cpu")
    with measured(result, "meta_fit", before):
        est.meta_fit(tasks)
    result["iterations, s"] = sum(est.history_[:, "dur"])
    forget(path)
    with measured(result, "score_tasks", before):
        scores = est.score_tasks(tasks)
    assert scores.shape == (n_tasks,)
    result["mean R2"] = float(scores.mean())
    return result


def keep_models(folder: Path, n_tasks: int) -> dict[str, float]:
    """Save as many adapted models as tasks, and read some of them."""
    result: dict[str, float] = {}
    before = memory("VmRSS")
    tasks = make_linear_tasks(100, n_rows=N_ROWS, n_features=N_FEATURES, random_state=0).tasks
    prior = ANILRegressor(hidden_layer_sizes=(32, 32), max_meta_iter=20, random_state=0)
    prior = prior.meta_fit(tasks)
    models = [clone(prior).fit(t.X, t.y) for t in tasks]
    path = folder / "adapted.safetensors"
    named = ((f"customer {i:07}", models[i % len(models)]) for i in range(n_tasks))
    with measured(result, "save", before):
        save_adapted(path, prior, named)
    result["file, bytes"] = path.stat().st_size
    with measured(result, "open", before):
        store = AdaptedTasks(path, prior)
    chosen = np.random.RandomState(0).randint(n_tasks, size=N_LOADS)
    with measured(result, "load", before):
        for i in chosen:
            loaded = store[f"customer {i:07}"]
    expected = models[chosen[-1] % len(models)].predict(tasks[0].X)
    assert len(store) == n_tasks
    assert np.array_equal(loaded.predict(tasks[0].X), expected)
    return result


def in_new_process(folder: Path, what: str, n_tasks: int, n_iter: int) -> dict[str, float]:
    """Run a measurement in a new process."""
    command = [sys.executable, __file__, "--child", what, "--folder", str(folder)]
    command += ["--tasks", str(n_tasks), "--iterations", str(n_iter)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


# ---- the page ------------------------------------------------------------------------------------


def rows_of_form(form: str, result: dict[str, float], n_tasks: int, n_iter: int) -> list[str]:
    """Return the rows of the table of one form."""

    def row(name: str, key: str, n: float) -> str:
        parts = [result.get(f"{key}, {unit}") for unit in ("s", "CPU s", "MB")]
        wall, cpu, peak = ("" if part is None else f"{part:.4g}" for part in parts)
        return f"| {form} | {name} | {wall} | {cpu} | {n / result[f'{key}, s']:,.0f} | {peak} |"

    n_drawn = n_iter * 16
    return [
        row("the bytes of the files alone", "disk", n_tasks),
        row("`LazyTasks` alone, extrapolated", "reading", n_tasks),
        row(f"`meta_fit`, {n_iter:,} iterations", "meta_fit", n_tasks + n_drawn),
        row("of which iterations", "iterations", n_drawn),
        row("`score_tasks`", "score_tasks", n_tasks),
    ]


def main(
    n_tasks: int,
    n_iter: int,
    budget: float,
    folder: Path,
    out: Path | None = None,
    parts: Sequence[str] = PARTS,
) -> dict[str, dict[str, float]]:
    """Run the parts, print what they measure, and write the page if all of them run."""
    write(folder, n_tasks, [form for form in FORMS if form in parts])
    results = {part: in_new_process(folder, part, n_tasks, n_iter) for part in parts}
    for part, result in results.items():
        for name, value in result.items():
            print(f"{part}: {name:22} {value:.5g}")
    if len(parts) == len(PARTS):
        page = page_of(results, n_tasks, n_iter, budget)
        print(page)
        if out is not None:
            out.write_text(page, encoding="utf-8")
    peak = peak_of(results)
    if peak > budget:
        raise SystemExit(f"The peak of {peak:.0f} MB exceeds the budget of {budget:.0f} MB.")
    return results


def peak_of(results: dict[str, dict[str, float]]) -> float:
    """Return the largest peak of all measurements, in MB."""
    return max(value for r in results.values() for name, value in r.items() if name[-2:] == "MB")


def page_of(results: dict[str, dict[str, float]], n_tasks: int, n_iter: int, budget: float) -> str:
    """Return the page of the documentation."""
    store = results["adapted"]
    rows = [row for form in FORMS for row in rows_of_form(form, results[form], n_tasks, n_iter)]
    files = [results[form]["disk, bytes"] / 1e9 for form in FORMS]
    return PAGE.format(
        versions=f"sklearn_meta {__version__}, torch {torch.__version__}, "
        f"pyarrow {pyarrow.__version__}, {time.strftime('%Y-%m-%d')}",
        machine=f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[2]:.1f}",
        n_tasks=f"{n_tasks:,}",
        tasks=n_tasks,
        out="docs/results/million_tasks.md",
        n_iter=f"{n_iter:,}",
        sizes=f"{files[0]:.2f} GB as arrays and {files[1]:.2f} GB as parquet",
        table="\n".join(rows),
        index=f"{results['parquet']['open, s']:.3g}",
        r2=f"{results['parquet']['mean R2']:.3f}",
        peak=f"{peak_of(results):.0f}",
        budget=f"{budget:.0f}",
        save=f"{store['save, s']:.4g}",
        save_cpu=f"{store['save, CPU s']:.4g}",
        save_peak=f"{store['save, MB']:.0f}",
        file=f"{store['file, bytes'] / 1e6:.0f}",
        open=f"{store['open, s']:.2g}",
        open_peak=f"{store['open, MB']:.0f}",
        load=f"{1e3 * store['load, s'] / N_LOADS:.2g}",
    )


PAGE = """\
# A million tasks

How much memory and time does it take to meta-train on tasks that lie on disk, and to score all of
them?

    python examples/benchmarks/million_tasks.py --tasks {tasks} --write {out}

{versions}; {machine}.

There are {n_tasks} tasks with 20 rows of 8 features each: {sizes}. A new
process for each form meta-trains an `ALPaCARegressor` for {n_iter} iterations of 16 tasks by
`LazyTasks`, which reads ahead in one thread, and then scores all tasks. One thread computes. Before
each row of the table, the files are dropped from the cache of the system. Memory is the peak of the
process beyond the memory that it has after all imports, including pages of mapped files.
If the load exceeds the number of cores, other jobs ran at the same time, and only the seconds of
the processor say what a measurement takes.

| files | what | s | s of the processor | tasks a second | peak, MB |
| --- | --- | --- | --- | --- | --- |
{table}

The largest peak of all is {peak} MB, of a budget of {budget} MB. `meta_fit` first reads all tasks
once, to compute their means and scales, and then some of them in each iteration. In parquet, to
read a random task is to read its row group of 100 tasks. To find where each task begins took
{index} s. The mean R² of all tasks is {r2}.

The disk is not the limit. Each task becomes a Python object that is checked, and this takes far
longer than to read its bytes.

## Adapted models

`save_adapted` wrote {n_tasks} models of an `ANILRegressor` into a file of {file} MB in {save} s
({save_cpu} s of the processor), with a peak of {save_peak} MB. The models are copies of 100,
because fitting is not what is measured. To open the file by `AdaptedTasks` takes {open} s, with a
peak of {open_peak} MB, and to load one model {load} ms.
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--budget", type=float, default=1000, help="MB beyond the imports")
    parser.add_argument("--folder", type=Path, help="for the files, which are kept there")
    parser.add_argument("--write", type=Path, help="the page to write, if all parts run")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--child", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    values = args.tasks, args.iterations, args.budget
    torch.set_num_threads(1)
    if args.child == "adapted":
        print(json.dumps(keep_models(args.folder, args.tasks)))
    elif args.child:
        print(json.dumps(learn(args.folder, args.child, args.tasks, args.iterations)))
    elif args.folder is not None:
        main(*values, args.folder, args.write, args.parts)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(*values, Path(folder), args.write, args.parts)
