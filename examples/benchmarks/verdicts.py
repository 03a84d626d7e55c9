"""Do the verdicts of `analyse` and `compare` agree with each other and with the truth?

    python examples/benchmarks/verdicts.py
    python examples/benchmarks/verdicts.py --learners

For twelve sets of generated tasks it is known whether one should learn across tasks, pool them,
learn each task alone, or predict without inputs. `analyse` tries its closed forms without an
estimator. `compare` meta-trains a network (MAML or ProtoNet) and its baselines on two thirds of
the tasks. Both judge one size of support. With `--learners`, the script lists what `which_learner`
recommends at that size instead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from sklearn_meta import MAMLClassifier, MAMLRegressor, ProtoNetClassifier, Task
from sklearn_meta.analysis import analyse, which_learner
from sklearn_meta.datasets import make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.model_selection import compare

N_ROWS = 60
LINEAR = {"hidden_layer_sizes": (), "meta_lr": 0.01}  # linear tasks need no hidden layer


class Setting(NamedTuple):
    """A set of tasks, the size of support, and the true answer."""

    make: Callable[[int, int], list[Task]]  # (n_tasks, seed) -> tasks
    size: int
    truth: str


def linear(tau: float, mean: float, d: int = 5, noise: float = 1.0, n_rows: int = N_ROWS):
    """Make linear tasks with coefficients from N(mean, tau^2 I)."""

    def make(n_tasks: int, seed: int) -> list[Task]:
        how = {"mean": np.full(d, mean), "cov": max(tau**2, 1e-9) * np.eye(d), "noise": noise}
        return make_linear_tasks(n_tasks, n_rows, d, **how, random_state=seed).tasks

    return make


def signs(tau: float, mean: float, d: int = 5, by_task: bool = False):
    """Label whether the target of a linear task is above 0, or above a level of the task."""
    draw = linear(tau, mean, d, noise=0.3)

    def make(n_tasks: int, seed: int) -> list[Task]:
        rng, tasks = np.random.RandomState(seed), draw(n_tasks, seed)
        levels = [np.quantile(t.y, rng.uniform(0.25, 0.75)) if by_task else 0.0 for t in tasks]
        labels = [np.where(t.y > c, "yes", "no") for t, c in zip(tasks, levels, strict=True)]
        labelled = [Task(t.X, y) for t, y in zip(tasks, labels, strict=True)]
        return [t for t in labelled if 0.2 < np.mean(t.y == "yes") < 0.8]

    return make


def blobs(n_informative: int, spread: float = 1.0):
    """Make tasks of three classes with new means in each task, in some of ten directions."""

    def make(n_tasks: int, seed: int) -> list[Task]:
        rng, tasks = np.random.RandomState(seed), []
        for _ in range(n_tasks):
            y = np.repeat(np.arange(3), N_ROWS // 3)
            centres = np.zeros((3, 10))
            centres[:, :n_informative] = spread * rng.standard_normal((3, n_informative))
            tasks.append(Task(centres[y] + rng.standard_normal((len(y), 10)), y))
        return tasks

    return make


def unrelated_lines(n_tasks: int, seed: int) -> list[Task]:
    """Make unrelated lines, each with an offset."""
    tasks, rng = linear(3.0, 0.0, 3, 0.3)(n_tasks, seed), np.random.RandomState(seed + 1)
    return [Task(t.X, t.y + 3 * rng.standard_normal()) for t in tasks]


def waves(n_tasks: int, seed: int) -> list[Task]:
    """Make sinusoids with phases from 0 to pi and amplitudes from 1 to 5."""
    return make_sinusoid_tasks(n_tasks, N_ROWS, amplitude=(1, 5), noise=0.1, random_state=seed)


def two_means(n_tasks: int, seed: int) -> list[Task]:
    """Make linear tasks, half around one mean and half around its negative."""
    halves = [linear(0.3, mean)(n_tasks // 2, seed + k) for k, mean in enumerate((1.5, -1.5))]
    return [task for pair in zip(*halves, strict=True) for task in pair]


def coins(n_tasks: int, seed: int) -> list[Task]:
    """Make labels that do not depend on the inputs."""
    rng = np.random.RandomState(seed)
    y = np.repeat(["heads", "tails"], N_ROWS // 2)
    return [Task(rng.standard_normal((N_ROWS, 5)), rng.permutation(y)) for _ in range(n_tasks)]


SETTINGS = {
    "identical lines": Setting(linear(0.0, 1.0), 10, "pooled"),
    "related lines, few rows": Setting(linear(0.5, 1.0), 5, "meta"),
    "two kinds of line, few rows": Setting(two_means, 5, "meta"),
    "unrelated lines, many rows": Setting(unrelated_lines, 20, "per-task"),
    "noise alone": Setting(linear(0.0, 0.0), 10, "nothing"),
    "waves, few rows": Setting(waves, 5, "meta"),
    "the same boundary": Setting(signs(0.0, 1.0), 5, "pooled"),
    "related boundaries, few rows": Setting(signs(0.7, 0.7), 2, "meta"),
    "unrelated boundaries, many rows": Setting(signs(3.0, 0.0, 2, True), 5, "per-task"),
    "classes in 2 of 10 directions": Setting(blobs(2, 3.0), 2, "meta"),
    "classes in all directions": Setting(blobs(10, 2.0), 10, "per-task"),
    "coins": Setting(coins, 5, "nothing"),
}


def of_compare(setting: Setting, tasks: list[Task], n_iter: int, seed: int) -> tuple[str, str]:
    """Return the verdict of `compare` as a case, and its text."""
    curved = setting.make is waves or tasks[0].y.dtype.kind == "i"
    network = {"hidden_layer_sizes": (40, 40)} if curved else LINEAR
    how = {"max_meta_iter": n_iter, **network}
    if tasks[0].y.dtype.kind == "f":
        learner = MAMLRegressor(n_support=setting.size, norm=None, inner_lr=0.02, **how)
        estimators = [learner, LinearRegression(), KNeighborsRegressor(2)]
    else:
        if tasks[0].y.dtype.kind == "U":  # the labels are the same in all tasks
            learner = MAMLClassifier(n_shot=setting.size, head="fixed", **how)
        else:
            learner = ProtoNetClassifier(n_shot=setting.size, **how)
        estimators = [learner, LogisticRegression(), KNeighborsClassifier(1)]
    n = 2 * len(tasks) // 3  # tasks for meta-training
    folds = [(range(n), range(n, len(tasks)))]
    comparison = compare(estimators, tasks, cv=folds, seeds=[seed], support_sizes=setting.size)
    return case_of(comparison), comparison.verdict


def case_of(comparison: Any) -> str:
    """Return the answer: "meta", "pooled", "per-task" or "nothing"."""
    text = comparison.verdict
    starts = {
        "Meta-learning pays": "meta",
        "Learning across tasks pays": "meta",
        "A linear hierarchical model is enough": "meta",
        "Fine-tuning is enough": "meta",
        "Pooling is enough": "pooled",
        "Nothing is learned": "nothing",
        "It is not clear whether anything is learned": "nothing",
    }
    for start, case in starts.items():
        if text.startswith(start):
            return case
    # "does not pay" concerns this estimator; another that learns across tasks may be ahead
    if "learning across tasks helps" in text:
        return "meta"
    simple = [name for name, kind in comparison.kinds.items() if kind in ("per-task", "pooled")]
    best = max(simple, key=lambda name: comparison.interval(name).mean)
    return comparison.kinds[best]


def recommended(n_tasks: int, seed: int, only: str) -> None:
    """Print the recommended learners for each setting."""
    print("| tasks | support | truth | learners |\n| --- | --- | --- | --- |")
    for name, setting in SETTINGS.items():
        if only in name:
            tasks = setting.make(n_tasks, seed)
            learners = which_learner(tasks, support_sizes=setting.size, random_state=seed)
            names = ", ".join(learner.name for learner in learners)
            print(f"| {name} | {setting.size} | {setting.truth} | {names} |", flush=True)


def main(
    n_tasks: int = 120, n_iter: int = 1000, seed: int = 0, only: str = "", words: bool = False
) -> list[tuple[str, str, str, str]]:
    """Print a row for each setting, and return (setting, truth, analyse, compare)."""
    rows, begin = [], time.perf_counter()
    print("| tasks | support | truth | analyse | compare |\n| --- | --- | --- | --- | --- |")
    for name, setting in SETTINGS.items():
        if only not in name:
            continue
        tasks = setting.make(n_tasks, seed)
        report = analyse(tasks, random_state=seed)
        (by_analyse,) = [v.case for v in report.verdicts if v.size == setting.size]
        by_compare, text = of_compare(setting, tasks, n_iter, seed)
        rows.append((name, setting.truth, by_analyse, by_compare))
        print(f"| {' | '.join(map(str, (name, setting.size, *rows[-1][1:])))} |", flush=True)
        if words:
            print(f"\n{report}\n\n{text}\n")
    right = sum(truth == by_analyse for _, truth, by_analyse, _ in rows)
    agree = sum(by_analyse == by_compare for _, _, by_analyse, by_compare in rows)
    print(f"\nanalyse: {right} of {len(rows)} true; {agree} as compare says. ", end="")
    print(f"{time.perf_counter() - begin:.0f} s")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=120)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="run only settings whose name contains this")
    parser.add_argument("--words", action="store_true", help="print both verdicts in full")
    parser.add_argument("--learners", action="store_true", help="list recommended learners instead")
    args = parser.parse_args()
    if args.learners:
        recommended(args.tasks, args.seed, args.only)
    else:
        main(args.tasks, args.iterations, args.seed, args.only, args.words)
