"""How often do conformal intervals and sets cover a new task, and how wide are they?

    python examples/benchmarks/conformal.py --budget 10 --output docs/results/conformal.md

Made tasks of four kinds: 500 tasks to calibrate on and 500 to test on. The oracle knows the
function and the noise of each task, and has the shortest interval of the nominal probability; for
linear tasks with normal noise, another one has the posterior of the true prior and the support. On
real tasks, cross-validation over tasks shows the coverage of each task.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold

import sklearn_meta
from sklearn_meta import (
    HierarchicalClassifier,
    HierarchicalRegressor,
    MAMLRegressor,
    PooledRegressor,
    ProtoNetClassifier,
    Task,
    TaskConformalClassifier,
    TaskConformalRegressor,
    as_tasks,
)
from sklearn_meta.datasets import fetch_omniglot, fetch_parkinsons, load_digits_tasks
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.tasks import split_task

Array = NDArray[np.float64]
N_TRAIN, N_TASKS, N_ROWS, N_SUPPORT, ALPHA = 300, 500, 40, 10, 0.1
SMALL = {"hidden_layer_sizes": (32, 32), "n_support": N_SUPPORT, "device": "cpu"}
N_TRAININGS = 16  # of networks on made and real tasks, which share the budget


# ---- made tasks ----------------------------------------------------------------------------------


class Kind(NamedTuple):
    """A family of tasks y = f(x) + scale * noise, f and scale drawn for each task."""

    function: Callable[[np.random.RandomState], Callable[[Array], Array]]
    n_features: int
    noise: Any  # a distribution of scipy with mean 0
    scale: Callable[[np.random.RandomState], float]

    def tasks(self, n: int, rng: np.random.RandomState) -> tuple[list[Task], Array]:
        """Draw tasks with a fixed support, and the scale of the noise of each."""
        tasks, scales = [], []
        for _ in range(n):
            f, scale = self.function(rng), self.scale(rng)
            X = rng.uniform(-2, 2, (N_ROWS, self.n_features))
            y = f(X) + scale * self.noise.rvs(N_ROWS, random_state=rng)
            tasks.append(Task(X, y, support=np.arange(N_SUPPORT)))
            scales.append(scale)
        return tasks, np.array(scales)

    def shortest_interval(self, probability: float) -> float:
        """Return the length of the shortest interval of the noise with this probability."""
        low = np.linspace(0, 1 - probability, 2001)[1:-1]
        return float((self.noise.ppf(low + probability) - self.noise.ppf(low)).min())


MEAN, SD, NOISE = np.array([1.0, 1.0, -1.0, 0.5]), np.array([1.0, 0.7, 0.7, 0.7]), 0.5


def line(rng: np.random.RandomState) -> Callable[[Array], Array]:
    """Draw a linear function of three features."""
    b = MEAN + SD * rng.randn(4)
    return lambda X: b[0] + X @ b[1:]


def sinusoid(rng: np.random.RandomState) -> Callable[[Array], Array]:
    """Draw amplitude and phase."""
    amplitude, phase = rng.uniform(0.5, 3), rng.uniform(0, np.pi)
    return lambda X: amplitude * np.sin(2 * X[:, 0] - phase)


def constant_scale(rng: np.random.RandomState) -> float:
    """Return the same scale for all tasks."""
    return NOISE


def drawn_scale(rng: np.random.RandomState) -> float:
    """Draw the scale of a task, so that tasks differ in noise."""
    return NOISE * float(np.exp(0.5 * rng.randn()))


KINDS = {
    "linear, normal noise": Kind(line, 3, stats.norm(), constant_scale),
    "sinusoids, normal noise": Kind(sinusoid, 1, stats.norm(), drawn_scale),
    "linear, heavy tails (t, 2 degrees of freedom)": Kind(line, 3, stats.t(2), drawn_scale),
    "linear, skewed noise (log-normal)": Kind(
        line, 3, stats.lognorm(1.0, loc=-np.exp(0.5)), drawn_scale
    ),
}


def bayes_width(tasks: Sequence[Task]) -> float:
    """Return the mean width of the posterior intervals of linear tasks with the true prior."""
    widths = []
    for task in tasks:
        X, Q = (np.column_stack([np.ones(len(x)), x]) for x in (task.X_support, task.X_query))
        cov = np.linalg.inv(np.diag(SD**-2.0) + X.T @ X / NOISE**2)
        std = np.sqrt(np.einsum("ni,ij,nj->n", Q, cov, Q) + NOISE**2)
        widths.append(2 * stats.norm.ppf(1 - ALPHA / 2) * std.mean())
    return float(np.mean(widths))


def learners(n_iter: int, seed: int) -> dict[str, Any]:
    """Return regressors: a linear one, and networks with and without a variance."""
    how = {**SMALL, "max_meta_iter": n_iter, "random_state": seed}
    return {
        "hierarchical": HierarchicalRegressor(),
        "MAML": MAMLRegressor(**how),
        'MAML, loss="gaussian"': MAMLRegressor(**how, loss="gaussian"),
        'pooled, loss="gaussian"': PooledRegressor(**how, loss="gaussian"),
    }


def iterations(minutes: float, seed: int) -> int:
    """Return the iterations of meta-training for which the budget suffices."""
    tasks, _ = KINDS["linear, normal noise"].tasks(20, np.random.RandomState(seed))
    learner = MAMLRegressor(**SMALL, max_meta_iter=20, random_state=seed).meta_fit(tasks)
    begin = time.perf_counter()
    learner.meta_fit(tasks)
    of_one = (time.perf_counter() - begin) / 20
    return int(np.clip(60 * minutes / N_TRAININGS / of_one, 5, 5000))


def made(n_tasks: int, n_iter: int, seed: int) -> Iterator[str]:
    """Yield the rows of the table of made tasks."""
    yield "| tasks | learner | coverage | coverage of 8 in 10 tasks | width | oracle | Bayes |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for k, (name, kind) in enumerate(KINDS.items()):
        rng = np.random.RandomState([seed, k])
        train, _ = kind.tasks(N_TRAIN, rng)
        calibration, _ = kind.tasks(n_tasks, rng)
        test, scales = kind.tasks(n_tasks, rng)
        oracle = kind.shortest_interval(1 - ALPHA) * scales.mean()
        bayes = f"{bayes_width(test):.2f}" if k == 0 else ""
        for learner, estimator in learners(n_iter, seed).items():
            conformal = TaskConformalRegressor(estimator, ALPHA, random_state=seed)
            conformal.meta_fit(train, calibration_tasks=calibration)
            result = conformal.coverage_tasks(test)
            yield (
                f"| {name} | {learner} | {percent(result.coverage)} | {spread(result.coverage)} | "
                f"{result.size.mean():.2f} | {oracle:.2f} | {bayes} |"
            )


def percent(coverage: Array) -> str:
    """Return the mean over tasks with its standard error."""
    return f"{100 * coverage.mean():.1f} ± {100 * stats.sem(coverage):.1f} %"


def spread(coverage: Array) -> str:
    """Return the range of the tasks without the lowest and the highest tenth."""
    low, high = np.quantile(coverage, [0.1, 0.9])
    return f"{100 * low:.0f} to {100 * high:.0f} %"


# ---- real tasks ----------------------------------------------------------------------------------


def parkinsons(seed: int) -> list[Task]:
    """Return the patients of Parkinson's telemonitoring, with 10 random rows as support."""
    data = fetch_parkinsons(download_if_missing=False)
    tasks = as_tasks(data.data, data.target[:, 0], groups=data.subject, target_type="real")
    return [split_task(t, n_support=N_SUPPORT, random_state=seed + i) for i, t in enumerate(tasks)]


def alphabets(seed: int) -> list[Task]:
    """Return five characters of each alphabet of Omniglot, with three drawings as support."""
    data = fetch_omniglot(size=14, download_if_missing=False)
    rng, tasks = np.random.RandomState(seed), []
    for k, name in enumerate(data.alphabet_names):
        characters = rng.choice(np.unique(data.target[data.alphabet == k]), 5, replace=False)
        rows = np.isin(data.target, characters)
        task = Task(data.images[rows].reshape(rows.sum(), -1), data.target[rows], name=str(name))
        tasks.append(split_task(task, n_shot=3, random_state=seed + k))
    return tasks


def digits(seed: int) -> list[Task]:
    """Return tasks of three digits from 5 to 9, with two of each as support."""
    return load_digits_tasks(n_way=3, n_shot=2, n_test_tasks=100, random_state=seed).test_tasks


def real_problems(n_iter: int, seed: int) -> dict[str, tuple[Any, Any]]:
    """Return the real tasks, and a conformal estimator for each."""
    network = MAMLRegressor(**SMALL, loss="gaussian", max_meta_iter=n_iter, random_state=seed)
    few_shot = ProtoNetClassifier(max_meta_iter=n_iter, random_state=seed, device="cpu")
    how = {"alpha": ALPHA, "calibration_size": 0.4, "random_state": seed}
    linear = make_meta_pipeline(
        PCA(30, random_state=0), HierarchicalClassifier(), transform_scope="pooled"
    )
    return {
        "Parkinson's, motor score, hierarchical": (
            parkinsons,
            TaskConformalRegressor(HierarchicalRegressor(), **how),
        ),
        'Parkinson\'s, motor score, MAML, loss="gaussian"': (
            parkinsons,
            TaskConformalRegressor(network, **how),
        ),
        "Omniglot, 5 characters of an alphabet, hierarchical after PCA": (
            alphabets,
            TaskConformalClassifier(linear, **how),
        ),
        "digits 5 to 9, 3 ways, ProtoNet": (digits, TaskConformalClassifier(few_shot, **how)),
    }


def real(n_iter: int, seed: int, n_folds: int = 4) -> Iterator[str]:
    """Yield the rows of the table of real tasks."""
    yield "| tasks | number | coverage | coverage of 8 in 10 tasks | lowest | width or labels |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, (load, conformal) in real_problems(n_iter, seed).items():
        try:
            tasks = load(seed)
        except OSError:
            yield f"| {name} | no data | | | | |"
            continue
        coverage, size = np.empty(len(tasks)), np.empty(len(tasks))
        for train, test in KFold(n_folds, shuffle=True, random_state=seed).split(tasks):
            fitted = clone(conformal).meta_fit([tasks[i] for i in train])
            result = fitted.coverage_tasks([tasks[i] for i in test])
            coverage[test], size[test] = result.coverage, result.size
        worst = tasks[int(coverage.argmin())].name or int(coverage.argmin())
        yield (
            f"| {name} | {len(tasks)} | {percent(coverage)} | {spread(coverage)} | "
            f"{100 * coverage.min():.0f} % ({worst}) | {size.mean():.2f} |"
        )


def main(budget: float, seed: int, n_tasks: int, output: str | None) -> None:
    """Print the tables, and write them."""
    begin, n_iter = time.perf_counter(), iterations(budget, seed)
    lines = [
        "# Coverage of conformal intervals and sets",
        "",
        f"    python examples/benchmarks/conformal.py --budget {budget:g} --seed {seed} "
        f"--tasks {n_tasks}",
        "",
        f"sklearn_meta {sklearn_meta.__version__}, {datetime.date.today()}, "
        f"{platform.machine()}, one of {os.cpu_count()} cores. Nominal coverage "
        f"{100 * (1 - ALPHA):g} %; ± is the standard error over test tasks. Networks are "
        f"meta-trained for {n_iter} iterations.",
        "",
    ]

    def show(rows: Iterator[str]) -> None:
        for row in rows:
            lines.append(row)
            print(row, flush=True)

    print("\n".join(lines), flush=True)
    about_made = (
        f"{N_TRAIN} tasks to train on, {n_tasks} to calibrate on and {n_tasks} to test on, each of "
        f"{N_ROWS} rows, {N_SUPPORT} of them support. The oracle knows the function and the noise "
        "of each task, and has the shortest intervals of the nominal probability. Bayes knows the "
        "prior and the support of each task. Except for the first kind, tasks differ in the scale "
        "of the noise."
    )
    show(iter(["## Made tasks", "", about_made, ""]))
    show(made(n_tasks, n_iter, seed))
    about_real = (
        "Four folds of tasks; of each training part, 40 % of the tasks calibrate. Few calibration "
        "tasks make wide intervals: the guarantee has to hold with 12 to 30 of them."
    )
    show(iter(["", "## Real tasks", "", about_real, ""]))
    show(real(n_iter, seed))
    show(iter(["", f"{(time.perf_counter() - begin) / 60:.0f} minutes in total."]))
    if output is not None:
        Path(output).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=10.0, help="minutes of training networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", type=int, default=N_TASKS, help="to calibrate and to test on")
    parser.add_argument("--output", help="file for the tables")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    main(args.budget, args.seed, args.tasks, args.output)
