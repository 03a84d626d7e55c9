"""Compare all few-shot classifiers on characters of Omniglot (Vinyals split) in one table.

    python examples/benchmarks/omniglot.py --budget 60 --output docs/results/omniglot.md

Each estimator is meta-trained for the same time, on quarter turns of the 1200 characters for
training and validation. It is then tested on 600 tasks from quarter turns of the 423 test
characters, 5-way and 20-way, with one support row in each class. There is no transduction: each
query row is predicted independently of the others. On a GPU, use `--jobs 1 --device cuda --budget
600`.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from skorch.callbacks import Callback

import sklearn_meta as sm
from sklearn_meta import FewShotTasks
from sklearn_meta.datasets import fetch_omniglot

N_PILOT = 20
SETTINGS = ((5, 15), (20, 5))  # ways, query rows in each class
MIXED = {"n_way": (5, 20), "n_shot": 1, "n_query": 3}


class Entry(NamedTuple):
    """An estimator, its training episodes, and published results, 5-way and 20-way."""

    estimator: Any
    params: dict[str, Any]
    published: tuple[str, str]
    reproduced: tuple[str, str]
    episodes: dict[str, Any] = MIXED


LEARNERS = {
    "ProtoNet": Entry(
        sm.ProtoNetClassifier,
        {"meta_batch_size": 1},
        ("98.8", "96.0"),
        ("98.2 to 98.4", "94.9 to 95.8"),
        {"n_way": 30, "n_shot": 1, "n_query": 5},
    ),
    "MAML": Entry(
        sm.MAMLClassifier,
        {"first_order": True},
        ("98.7 ± 0.4 (T), first order 98.3 (T)", "95.8 ± 0.3 (T), first order 89.4 (T)"),
        ("94.7 to 98.1, 99.4", "83.4 to 92.2, 92.8"),
        {"n_way": 5, "n_shot": 1, "n_query": 5},
    ),
    "MAML++": Entry(
        sm.MAMLPlusPlusClassifier,
        {"inner_steps": 3, "first_order_until": 1.0},
        ("99.47 (T, E)", ""),
        ("", "96.65 ± 0.06 (T, E)"),
    ),
    "ANIL": Entry(sm.ANILClassifier, {"first_order": True}, ("", ""), ("96.06", "")),
    "Meta-SGD": Entry(
        sm.MetaSGDClassifier,
        {"first_order": True},
        ("99.53 ± 0.26", "95.9"),
        ("99.3", "95.4"),
    ),
    "Proto-MAML": Entry(sm.ProtoMAMLClassifier, {}, ("", ""), ("", "")),
    "Reptile": Entry(
        sm.ReptileClassifier,
        {"inner_steps": 5, "meta_batch_size": 1},  # as published
        ("95.39 ± 0.09", "88.14 ± 0.15"),
        ("", ""),
    ),
    "LSTM": Entry(
        sm.LSTMMetaLearnerClassifier,
        {"meta_batch_size": 1, "chunk_size": None},
        ("", ""),
        ("", ""),
    ),
}
SHARED = {"backbone": "conv4", "meta_batch_size": 2, "iters_per_epoch": 10}


class Deadline(Callback):
    """Stop at the end of the budget."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def on_batch_end(self, net, **kwargs):
        if time.monotonic() > self.end:
            raise KeyboardInterrupt


def pool(training: bool, **episode: Any) -> FewShotTasks:
    data = fetch_omniglot(split="vinyals")
    rows = (data.subset != "test") == training
    return FewShotTasks(data.images[rows], data.target[rows], rotations=True, **episode)


def run(name: str, minutes: float, args: argparse.Namespace) -> dict[str, Any]:
    """Meta-train an estimator and score it with and without inner steps, or read saved results."""
    saved = None if args.keep is None else args.keep / f"{name} {minutes:.3g}.joblib"
    if saved is not None and saved.exists():
        return joblib.load(saved)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // args.jobs))
    entry = LEARNERS[name]
    train = pool(True, **entry.episodes)
    params = SHARED | entry.params | {"random_state": args.seed, "device": args.device}
    begin = time.monotonic()
    pilot = entry.estimator(**params, max_meta_iter=2 * N_PILOT)
    pilot.set_params(iters_per_epoch=N_PILOT).meta_fit(train)
    seconds = pilot.history_[-1]["dur"] / N_PILOT
    left = minutes - (time.monotonic() - begin) / 60
    n_iter = args.iterations or max(1, int(0.95 * 60 * left / seconds))
    est = entry.estimator(**params, max_meta_iter=n_iter)
    if not args.iterations:
        est.set_params(callbacks=[Deadline(left)])
    begin, cpu = time.monotonic(), time.process_time()
    try:
        est.meta_fit(train)
    except FloatingPointError as error:
        failed = {"iterations": str(error), "minutes": 0.0, "cpu": 0.0, "cells": ["", ""]}
        return {"name": name} | failed
    total_minutes, cpu = (time.monotonic() - begin) / 60, (time.process_time() - cpu) / 60
    done = sum(row["train_batch_count"] for row in est.history_)
    result = {"name": name, "iterations": done, "minutes": total_minutes, "cpu": cpu, "cells": []}
    for n_way, n_query in SETTINGS:
        tests = pool(False, n_way=n_way, n_shot=1, n_query=n_query)
        tests = tests.sample(args.tasks, random_state=1)
        cell = spell(est.score_tasks(tests))
        if hasattr(est, "inner_steps"):  # the score of the initial weights
            steps = est.inner_steps
            cell += f" ({100 * est.set_params(inner_steps=0).score_tasks(tests).mean():.1f})"
            est.set_params(inner_steps=steps)
        result["cells"].append(cell)
    print(f"{name}: {done} iterations, {total_minutes:.1f} min: {result['cells']}", flush=True)
    if saved is not None:
        saved.parent.mkdir(parents=True, exist_ok=True)
        joblib.dump(result, saved)
    return result


def spell(scores: np.ndarray) -> str:
    """Format the mean and its 95 % interval over tasks, in per cent."""
    return f"{100 * scores.mean():.2f} ± {196 * scores.std(ddof=1) / np.sqrt(len(scores)):.2f}"


def table(runs: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| learner | iterations | minutes | of CPU | 5-way 1-shot | published | reproduced "
        "| 20-way 1-shot | published | reproduced |",
        "| --- " * 10 + "|",
    ]
    for result in runs:
        entry = LEARNERS[result["name"]]
        cells = [result["name"], str(result["iterations"])]
        cells += [f"{result['minutes']:.1f}", f"{result['cpu']:.1f}"]
        for of in zip(result["cells"], entry.published, entry.reproduced, strict=True):
            cells += of
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=60.0, help="minutes in total")
    parser.add_argument(
        "--iterations", type=int, help="iterations of each run, instead of the budget"
    )
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS), choices=list(LEARNERS))
    parser.add_argument("--tasks", type=int, default=600, help="test tasks in each setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at the same time")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", type=Path, help="folder that stores finished runs")
    parser.add_argument("--output", type=Path, help="Markdown file to write the table to")
    args = parser.parse_args()

    fetch_omniglot(split="vinyals")  # unpack the archive before other processes start
    minutes = 0.85 * args.budget / -(-len(args.learners) // args.jobs)  # leaves time for scoring
    begin = time.monotonic()
    runs = joblib.Parallel(n_jobs=args.jobs)(
        joblib.delayed(run)(name, minutes, args) for name in args.learners
    )
    defaults = vars(parser.parse_args([]))
    options = [
        f"--{k} " + (" ".join(v) if isinstance(v, list) else str(v))
        for k, v in vars(args).items()
        if k == "budget" or (v != defaults[k] and k not in ("keep", "output"))
    ]
    others = ", ".join(
        f"{name}: {entry.episodes}" for name, entry in LEARNERS.items() if entry.episodes != MIXED
    )
    lines = [
        "## Omniglot, Vinyals split, one row in each class",
        "",
        f"`python examples/benchmarks/omniglot.py {' '.join(options)}`",
        "",
        f"sklearn_meta {sm.__version__}, torch {torch.__version__}, "
        f"{datetime.datetime.now(datetime.timezone.utc).date()}, {os.cpu_count()} CPU cores "
        f"({platform.machine()}), {args.jobs} runs at a time, device {args.device}. "
        f"{(time.monotonic() - begin) / 60:.0f} minutes in total. Accuracy in % on {args.tasks} "
        "tasks in each setting, ± the 95 % interval over tasks; in brackets, the same model "
        f"without inner steps. Conv4, one model for both settings, trained on episodes of {MIXED} "
        f"({others}). Inner steps are first order.",
        "",
        "Published and reproduced figures are from full runs (tens of thousands of iterations of "
        "16 to 32 tasks on a GPU), with one model for each setting. (T): normalised by the "
        "statistics of the query rows, which adds some points; this may also apply to other rows. "
        "(E): an ensemble of epochs.",
        "",
        *table(runs),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.output is not None:
        args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
