"""Compare the output layers that the inner loop of a classifier can start from.

    python examples/benchmarks/heads.py --output docs/results/heads.md

Each estimator is meta-trained with default parameters on tasks of three Gaussian classes, and
tested on new ones, with three rows of each class as support. "0 steps" is the same model without
inner steps.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from pathlib import Path

import joblib
import numpy as np
import torch

import sklearn_meta as sm
from sklearn_meta.datasets import make_blob_tasks

N_TRAIN, N_TEST = 200, 200
HEADS = {
    sm.MAMLClassifier: ("shared", "fixed", "prototype"),
    sm.MAMLPlusPlusClassifier: ("shared", "fixed", "prototype"),
    sm.MetaSGDClassifier: ("fixed", "shared", "prototype"),
    sm.IMAMLClassifier: ("shared", "fixed", "prototype"),
    sm.BOILClassifier: ("fixed", "prototype"),
    sm.ANILClassifier: ("shared", "fixed", "prototype"),
    sm.ProtoMAMLClassifier: (None,),
    sm.ProtoNetClassifier: (None,),
}


def spell(scores: np.ndarray) -> str:
    """Format the mean and its 95 % interval over tasks, in per cent."""
    return f"{100 * scores.mean():.1f} ± {196 * scores.std(ddof=1) / np.sqrt(len(scores)):.1f}"


def run(cls: type, head: str | None, max_meta_iter: int | None, seed: int) -> str:
    """Meta-train an estimator, and return its row of the table."""
    torch.set_num_threads(1)
    tasks = make_blob_tasks(n_tasks=N_TRAIN + N_TEST, n_shot=3, random_state=seed)
    est = cls(random_state=seed)
    if head is not None:
        est.set_params(head=head)
    if max_meta_iter is not None:
        est.set_params(max_meta_iter=max_meta_iter)
    cpu = time.process_time()
    est.meta_fit(tasks[:N_TRAIN])
    cpu = time.process_time() - cpu
    cells = [cls.__name__.removesuffix("Classifier"), head or ""]
    cells.append(spell(est.score_tasks(tasks[N_TRAIN:])))
    start = ""
    if "inner_steps" in est.get_params():
        start = f"{100 * est.set_params(inner_steps=0).score_tasks(tasks[N_TRAIN:]).mean():.1f}"
    line = "| " + " | ".join([*cells, start, f"{cpu:.0f}"]) + " |"
    print(line, flush=True)
    return line


def main(max_meta_iter: int | None = None, seed: int = 0, jobs: int = 1) -> list[str]:
    """Return the table as lines of Markdown."""
    lines = joblib.Parallel(n_jobs=jobs)(
        joblib.delayed(run)(cls, head, max_meta_iter, seed)
        for cls, heads in HEADS.items()
        for head in heads
    )
    return ["| estimator | head | accuracy, % | 0 steps | s of CPU |", "| --- " * 5 + "|", *lines]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-meta-iter", type=int, help="instead of the default of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--output", type=Path, help="Markdown file to write the table to")
    args = parser.parse_args()
    text = "\n".join(
        [
            "# Output layers on blobs",
            "",
            "`python examples/benchmarks/heads.py`, "
            f"seed {args.seed}, sklearn_meta {sm.__version__}, torch {torch.__version__}, "
            f"{datetime.datetime.now(datetime.timezone.utc).date()}, {os.cpu_count()} CPU cores "
            f"({platform.machine()}). Accuracy on {N_TEST} new tasks, ± the 95 % interval over "
            f"tasks, after meta-training on {N_TRAIN} with default parameters. The first head of "
            "each estimator is its default.",
            "",
            *main(args.max_meta_iter, args.seed, args.jobs),
        ]
    )
    if args.output is not None:
        args.output.write_text(text + "\n", encoding="utf-8")
