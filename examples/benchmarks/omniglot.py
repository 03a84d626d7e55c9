"""Few-shot classification of Omniglot characters, Vinyals split: the table of docs/results.

    python examples/benchmarks/omniglot.py --algorithm protonet --budget 22
    python examples/benchmarks/omniglot.py --algorithm maml --budget 22

One model is meta-trained for `--budget` minutes on quarter turns of the 1200 characters of train
and validation, and tested, unchanged, on 600 tasks from quarter turns of the 423 test characters in
each of four settings. Nothing is transductive: each query row is predicted by itself.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback

import sklearn_meta
from sklearn_meta import FewShotTasks, MAMLClassifier, ProtoNetClassifier
from sklearn_meta.datasets import fetch_omniglot

EPISODES = {
    "protonet": {"n_way": 30, "n_shot": 1, "n_query": 5},
    "maml": {"n_way": (5, 20), "n_shot": (1, 5), "n_query": 3},
    "maml-shared-head": {"n_way": (5, 20), "n_shot": (1, 5), "n_query": 3},
}


def estimator(algorithm: str, **params: Any) -> ProtoNetClassifier | MAMLClassifier:
    if algorithm == "protonet":
        return ProtoNetClassifier(backbone="conv4", meta_batch_size=1, **params)
    head = "prototype" if algorithm == "maml" else "shared"
    return MAMLClassifier(
        backbone="conv4", head=head, first_order=True, meta_batch_size=2, **params
    )


class Deadline(Callback):
    """Stop at the budget, whatever the speed measured beforehand promised."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def on_batch_end(self, net, **kwargs):
        if time.monotonic() > self.end:
            raise KeyboardInterrupt


def pool(images, target, **episode) -> FewShotTasks:
    return FewShotTasks(images, target, rotations=True, **episode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algorithm", choices=list(EPISODES), required=True)
    parser.add_argument("--budget", type=float, default=22.0, help="minutes of meta-training")
    parser.add_argument("--iterations", type=int, help="instead of as many as seem to fit")
    parser.add_argument("--tasks", type=int, default=600, help="test tasks a setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="Markdown file to write the table to")
    args = parser.parse_args()

    data = fetch_omniglot(split="vinyals")
    testing = data.subset == "test"
    train = pool(data.images[~testing], data.target[~testing], **EPISODES[args.algorithm])
    common = {"random_state": args.seed, "device": args.device}

    n_pilot = 40
    pilot = estimator(args.algorithm, max_meta_iter=n_pilot, iters_per_epoch=10, **common)
    seconds = pilot.meta_fit(train).history_[-1]["dur"] / 10
    n_iter = args.iterations or max(1, int(60 * args.budget / seconds))
    print(f"{1000 * seconds:.0f} ms an iteration, {n_iter} of them", flush=True)
    est = estimator(
        args.algorithm,
        max_meta_iter=n_iter,
        callbacks=[Deadline(args.budget)],
        verbose=1,
        **common,
    )
    begin = time.monotonic()
    est.meta_fit(train)
    minutes = (time.monotonic() - begin) / 60

    lines = [
        f"## {args.algorithm}",
        "",
        f"`python examples/benchmarks/omniglot.py --algorithm {args.algorithm} "
        f"--budget {args.budget:g} --iterations {n_iter} --tasks {args.tasks} --seed {args.seed}`",
        "",
        f"sklearn_meta {sklearn_meta.__version__}, torch {torch.__version__}, "
        f"{datetime.datetime.now(datetime.timezone.utc).date()}, {os.cpu_count()} CPU cores "
        f"({platform.machine()}), device {est._device()}. Meta-trained for {minutes:.1f} minutes, "
        f"{sum(row['train_batch_count'] for row in est.history_)} of {n_iter} iterations; "
        f"episodes {EPISODES[args.algorithm]}.",
        "",
        "| setting | accuracy, % | 95 % interval over tasks | without inner steps |",
        "| --- | --- | --- | --- |",
    ]
    for n_way, n_shot in ((5, 1), (5, 5), (20, 1), (20, 5)):
        setting = {"n_way": n_way, "n_shot": n_shot, "n_query": 15 if n_way == 5 else 5}
        tasks = pool(data.images[testing], data.target[testing], **setting)
        tasks = tasks.sample(args.tasks, random_state=1)
        scores = est.score_tasks(tasks)
        half = 196 * scores.std(ddof=1) / np.sqrt(len(scores))
        start = "none taken"
        if isinstance(est, MAMLClassifier):  # what the start alone can do, of the same model
            steps = est.inner_steps
            start = f"{100 * est.set_params(inner_steps=0).score_tasks(tasks).mean():.2f}"
            est.set_params(inner_steps=steps)
        lines.append(
            f"| {n_way}-way {n_shot}-shot | {100 * scores.mean():.2f} | ± {half:.2f} | {start} |"
        )
        print(lines[-1], flush=True)
    table = "\n".join(lines) + "\n"
    print(table)
    if args.output is not None:
        args.output.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
