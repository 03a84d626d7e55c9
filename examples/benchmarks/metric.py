"""Compare the classifiers that adapt without gradient steps, on small tasks.

    python examples/benchmarks/metric.py --output docs/results/metric.md

Digits of scikit-learn: meta-trained on 0 to 4, tested on 5 to 9. Blobs: Gaussian classes, three in
a task, two support rows of each.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

import sklearn_meta as sm
from sklearn_meta.datasets import load_digits_tasks, make_blob_tasks

N_TRAIN, N_TEST = 80, 300  # blobs; of digits, all that are drawn and as many test tasks
LEARNERS: list[tuple[type, dict[str, Any]]] = [
    (sm.ProtoNetClassifier, {}),
    (sm.ProtoNetClassifier, {"learned_scale": True}),
    (sm.ProtoNetClassifier, {"distance": "cosine"}),
    (sm.ProtoNetClassifier, {"distance": "cosine", "learned_scale": True}),
    (sm.ProtoNetClassifier, {"distance": "mahalanobis"}),
    (sm.MatchingNetClassifier, {}),
    (sm.MatchingNetClassifier, {"learned_scale": False}),
    (sm.MatchingNetClassifier, {"full_context": True}),
    (sm.RelationNetClassifier, {}),
    (sm.RelationNetClassifier, {"loss": "squared_error"}),
    (sm.MetaOptNetClassifier, {}),
    (sm.MetaOptNetClassifier, {"head": "ridge"}),
]


def task_sets() -> dict[str, tuple[Any, Any]]:
    """Return the tasks for training and for testing of each set."""
    blobs = make_blob_tasks(N_TRAIN + N_TEST, n_shot=2, random_state=0)
    sets: dict[str, tuple[Any, Any]] = {"blobs": (blobs[:N_TRAIN], blobs[N_TRAIN:])}
    for n_shot in (1, 5):
        digits = load_digits_tasks(n_test_tasks=N_TEST, n_shot=n_shot)
        sets[f"digits, {n_shot}-shot"] = digits.meta_train, digits.test_tasks
    return sets


def spell(scores: np.ndarray) -> str:
    """Format the mean and its 95 % interval over tasks, in per cent."""
    return f"{100 * scores.mean():.1f} ± {196 * scores.std(ddof=1) / np.sqrt(len(scores)):.1f}"


def run(cls: type, params: dict[str, Any], max_meta_iter: int, seed: int) -> str:
    """Meta-train an estimator on each set, and return its row of the table."""
    torch.set_num_threads(1)
    cells, cpu = [], time.process_time()
    for train, test in task_sets().values():
        est = cls(max_meta_iter=max_meta_iter, random_state=seed, **params).meta_fit(train)
        cells.append(spell(est.score_tasks(test)))
    settings = ", ".join(f"{name}={value!r}" for name, value in params.items())
    name = f"`{cls.__name__}({settings})`"
    line = "| " + " | ".join([name, *cells, f"{time.process_time() - cpu:.0f}"]) + " |"
    print(line, flush=True)
    return line


def main(max_meta_iter: int = 400, seed: int = 0, jobs: int = 1) -> list[str]:
    """Return the table as lines of Markdown."""
    lines = joblib.Parallel(n_jobs=jobs)(
        joblib.delayed(run)(cls, params, max_meta_iter, seed) for cls, params in LEARNERS
    )
    header = "| " + " | ".join(["estimator", *task_sets(), "s of CPU"]) + " |"
    return [header, "| --- " * 5 + "|", *lines]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-meta-iter", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--output", type=Path, help="Markdown file to write the table to")
    args = parser.parse_args()
    text = "\n".join(
        [
            "# Learners without gradient steps on digits and blobs",
            "",
            "`python examples/benchmarks/metric.py`, "
            f"seed {args.seed}, {args.max_meta_iter} iterations, sklearn_meta {sm.__version__}, "
            f"torch {torch.__version__}, {datetime.datetime.now(datetime.timezone.utc).date()}, "
            f"{os.cpu_count()} CPU cores ({platform.machine()}). Accuracy on {N_TEST} new tasks, "
            "± the 95 % interval over tasks, with the default multi-layer perceptron. Digits: "
            "meta-trained on 0 to 4, tested on 5 to 9, five ways. Blobs: three ways, two shots.",
            "",
            *main(args.max_meta_iter, args.seed, args.jobs),
        ]
    )
    if args.output is not None:
        args.output.write_text(text + "\n", encoding="utf-8")
