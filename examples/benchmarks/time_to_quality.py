"""Measure how long meta-training takes until new tasks are predicted well enough.

    python examples/benchmarks/time_to_quality.py --write docs/results/time_to_quality.md

Each run pauses after each tenth of its iterations and is scored on tasks that it was not trained
on. The table has the time until the score first reached a goal, without the time of scoring. The
sinusoids are those of the MAML paper. On Omniglot (Vinyals split) an episode has five characters
with one labelled drawing each. The molecules are those of FS-Mol, see fsmol.py, with 16 labelled
ones; they are left out if their files are not there. `--scale` shortens all runs.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fsmol
import numpy as np
import omniglot
import sinusoid
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

import sklearn_meta as sm

N_PARTS = 10


class Problem(NamedTuple):
    """What to train on, how to score it, and the goal."""

    estimator: Any
    data: tuple[Any, ...]  # of meta_fit
    score: Callable[[Any], float]
    measure: str
    goal: float
    is_error: bool  # less is better


class Pause(Callback):
    """Interrupt `meta_fit` after an epoch; with a checkpoint, the same call goes on from there."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt


def on_sinusoids(name: str, goal: float, n_iter: int) -> Problem:
    train, test = sinusoid.tasks_of(0, 20_000)
    cls, params = sinusoid.LEARNERS[name]
    est = cls(random_state=0, max_meta_iter=n_iter, **(sinusoid.SHARED | params))
    measure = f"mean squared error after {params['inner_steps']} step(s)"
    return Problem(
        est,
        (train,),
        lambda est: float(np.mean(sinusoid.squared_errors(est, test))),
        measure,
        goal,
        True,
    )


def on_omniglot(name: str, goal: float, n_iter: int) -> Problem:
    entry = omniglot.LEARNERS[name]
    params = omniglot.SHARED | entry.params | {"random_state": 0, "max_meta_iter": n_iter}
    tests = omniglot.pool(False, n_way=5, n_shot=1, n_query=15).sample(600, random_state=1)
    train = omniglot.pool(True, **entry.episodes)
    return Problem(
        entry.estimator(**params),
        (train,),
        lambda est: float(np.mean(est.score_tasks(tests))),
        "accuracy, 5-way 1-shot",
        goal,
        False,
    )


def on_molecules(goal: float, n_iter: int) -> Problem:
    cls, params = fsmol.ENCODERS["multitask"]
    est = cls(**params, max_meta_iter=n_iter).set_params(meta_lr_schedule="cosine")
    assays = fsmol.to_score()

    def score(est: Any) -> float:
        for assay in assays:
            assay.features.clear()
        fsmol.embed("multitask", est, assays)
        scores = fsmol.evaluate(fsmol.own_head("multitask", est), assays, (16,))
        return float(np.nanmean(scores))

    numbers, _ = fsmol.split()
    measure = "average precision above chance, 16 molecules"
    return Problem(est, fsmol.train().table(numbers), score, measure, goal, False)


PROBLEMS: dict[str, tuple[Callable[[int], Problem], int]] = {
    "sinusoids, MAML": (lambda n: on_sinusoids("MAML", 1.1, n), 10_000),
    "sinusoids, CAVIA": (lambda n: on_sinusoids("CAVIA", 0.5, n), 10_000),
    "sinusoids, Reptile": (lambda n: on_sinusoids("Reptile", 1.3, n), 5_000),
    "Omniglot, ProtoNet": (lambda n: on_omniglot("ProtoNet", 0.985, n), 14_000),
    "Omniglot, MAML": (lambda n: on_omniglot("MAML", 0.9, n), 8_000),
    "Omniglot, Reptile": (lambda n: on_omniglot("Reptile", 0.75, n), 1_200),
    "FS-Mol, MultitaskClassifier": (lambda n: on_molecules(0.21, n), 3_000),
}


def run(name: str, problem: Problem) -> list[tuple[int, float, float]]:
    """Train until the goal is reached; print and return iterations, seconds, score of each part."""
    est, n_iter = problem.estimator, problem.estimator.max_meta_iter
    est.set_params(iters_per_epoch=max(n_iter // N_PARTS, 1), callbacks=[Pause()])
    parts: list[tuple[int, float, float]] = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it was interrupted
        est.set_params(checkpoint_dir=folder)
        while not parts or (parts[-1][0] < n_iter and not is_reached(problem, parts[-1][2])):
            history = est.meta_fit(*problem.data).history_
            done = sum(history[:, "train_batch_count"])
            seconds, score = sum(history[:, "dur"]), problem.score(est)
            print(f"{name}: {done} iterations, {seconds:.1f} s, {score:.4f}", flush=True)
            parts.append((done, seconds, score))
    return parts


def is_reached(problem: Problem, score: float) -> bool:
    return score <= problem.goal if problem.is_error else score >= problem.goal


def row(name: str, problem: Problem, parts: list[tuple[int, float, float]]) -> list[str]:
    done, seconds, score = parts[-1]
    reached = f"{seconds:.0f} s" if is_reached(problem, score) else "not reached"
    goal = f"{problem.measure}: {problem.goal:g}"
    rate = f"{done / seconds:.1f}"
    return [name, goal, reached, f"{done:,}", rate, f"{seconds:.0f} s", f"{score:.3f}"]


def main(only: list[str], scale: float = 1.0, out: Path | None = None) -> dict[str, Any]:
    header = ["problem", "goal", "reached in", "iterations", "a second", "trained for", "score"]
    lines, result = [header, ["---"] * len(header)], {}
    for name, (make, n_iter) in PROBLEMS.items():
        if not any(word in name for word in only):
            continue
        try:
            problem = make(max(int(scale * n_iter), N_PARTS))
        except FileNotFoundError as error:
            print(f"{name} is left out: {error}", flush=True)
            continue
        result[name] = run(name, problem)
        lines.append(row(name, problem, result[name]))
    page = PAGE.format(
        command=(f" --only {' '.join(only)}" if only != [""] else "")
        + (f" --scale {scale:g}" if scale != 1 else ""),
        version=sm.__version__,
        torch=torch.__version__,
        date=time.strftime("%Y-%m-%d"),
        machine=platform.machine(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        table="\n".join(f"| {' | '.join(line)} |" for line in lines),
    )
    print(page)
    if out is not None:
        out.write_text(page, encoding="utf-8")
    return result


PAGE = """\
# Time to a fixed quality

How long does meta-training take until new tasks are predicted well enough?

    python examples/benchmarks/time_to_quality.py{command} --write docs/results/time_to_quality.md

sklearn_meta {version}, torch {torch}, {date}, {cores} CPU cores ({machine}), {threads} threads,
seed 0.

Each run pauses after each tenth of its iterations and is scored on tasks that it was not trained
on; that time does not count. The run ends when the score reaches the goal, or with its last
iteration. The learning rate falls to zero over all iterations of the run, so that a shorter run
might reach the goal sooner.

{table}

Sinusoids have five labelled points, and errors are means over 600 new waves. On Omniglot (Vinyals
split), accuracies are means over 600 tasks of characters that were not in the training; MAML and
Reptile take first-order steps. The molecules are the 39 assays of the validation fold of FS-Mol,
10 draws of each. Problems of the script that are not in the table were not run.
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", default=[""], help="words in the names of problems")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all iterations")
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    main(args.only, args.scale, args.write)
