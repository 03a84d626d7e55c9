"""Compare all regressors on the MAML paper's sinusoids from five points in one table.

    python examples/benchmarks/sinusoid.py --budget 36 --output docs/results/sinusoid.md

The problem is that of section 5.1 and appendix C of the paper. The network is 1-40-40-1, supports
have 5 rows in training and test, and a meta-batch has 25 tasks (LSTM: 4). The table has the mean
squared error on the queries of 600 new tasks, in the units of y. Each run gets the same time on
one core, and the table lists the number of iterations. Runs with the same seed share training and
test tasks. Steps and learning rates were chosen on seed 0, which is not in the table.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import sklearn_meta as sm
from sklearn_meta.datasets import make_sinusoid_tasks

N_PILOT = 60
STEPS = (0, 1, 5, 10)
# name: estimator, parameters
LEARNERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "MAML": (sm.MAMLRegressor, {"inner_lr": 0.02, "inner_steps": 1}),
    "FOMAML": (sm.MAMLRegressor, {"inner_lr": 0.02, "inner_steps": 1, "first_order": True}),
    "ANIL": (sm.ANILRegressor, {"inner_lr": 0.02, "inner_steps": 1}),
    "BOIL": (sm.BOILRegressor, {"inner_lr": 0.02, "inner_steps": 1}),
    "Meta-SGD": (sm.MetaSGDRegressor, {"inner_lr": 0.1, "inner_steps": 1}),
    "MAML++": (sm.MAMLPlusPlusRegressor, {"inner_lr": 0.02, "inner_steps": 5}),
    "CAVIA": (sm.CAVIARegressor, {"inner_lr": 1.0, "inner_steps": 1}),
    "Reptile": (sm.ReptileRegressor, {"inner_lr": 0.01, "inner_steps": 10}),
    "iMAML": (sm.IMAMLRegressor, {"inner_lr": 0.02, "inner_steps": 32, "lam": 2.0}),
    # small meta-batches, because each weight has an LSTM cell
    "LSTM": (
        sm.LSTMMetaLearnerRegressor,
        {"inner_steps": 5, "meta_batch_size": 4, "meta_lr": 0.003, "scaling": None},
    ),
    "pre-train and fine-tune": (
        sm.FineTuneRegressor,
        {
            "inner_lr": 0.001,
            "inner_steps": 100,
            "scaling": None,
            "meta_lr_schedule": "constant",
        },
    ),
    "pooled": (sm.PooledRegressor, {}),
}
SHARED = {
    "hidden_layer_sizes": (40, 40),
    "norm": None,
    "n_support": 5,
    "meta_batch_size": 25,
    "iters_per_epoch": 500,
}


def squared_errors(estimator: Any, tasks: list) -> np.ndarray:
    """Compute the mean squared error on the query of each task."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            predictions = estimator.predict_tasks(tasks, error_score="raise")
        except FloatingPointError:  # too many steps for the learned step sizes
            return np.full(len(tasks), np.inf)
    return np.array(
        [np.mean((p - t.y_query) ** 2) for p, t in zip(predictions, tasks, strict=True)]
    )


def tasks_of(seed: int, n_train: int) -> tuple[list, list]:
    train = make_sinusoid_tasks(n_tasks=n_train, n_rows=20, random_state=2 * seed)
    test = make_sinusoid_tasks(n_tasks=600, n_rows=105, n_support=5, random_state=2 * seed + 1)
    return train, test


def run(
    name: str, seed: int, minutes: float, iterations: int | None, keep: Path | None = None
) -> dict[str, Any]:
    """Meta-train one estimator and score it after each number of steps, or read saved results."""
    saved = None if keep is None else keep / f"{name} {seed} {minutes:.3g} {iterations}.joblib"
    if saved is not None and saved.exists():
        return joblib.load(saved)
    torch.set_num_threads(1)
    train, test = tasks_of(seed, 20_000)
    cls, params = LEARNERS[name]
    est = cls(random_state=seed, **(SHARED | params))
    begin = time.monotonic()
    pilot = clone(est).set_params(max_meta_iter=N_PILOT, iters_per_epoch=N_PILOT // 2)
    seconds = pilot.meta_fit(train).history_[-1]["dur"] / (N_PILOT // 2)
    n_iter = iterations or max(1, int((60 * minutes - (time.monotonic() - begin)) / seconds))
    begin = time.monotonic()
    est.set_params(max_meta_iter=n_iter)
    try:
        est.meta_fit(train)
    except FloatingPointError as error:
        print(f"{name}, seed {seed}: {error}", flush=True)
    taken = (time.monotonic() - begin) / 60
    trained = params.get("inner_steps")
    at = [k for k in (*STEPS, trained) if k is not None] if trained is not None else [None]
    errors = {}
    for k in sorted(set(at), key=lambda k: -1 if k is None else k):
        scored = clone(est) if k is None else clone(est).set_params(inner_steps=k)
        diverged = not hasattr(est, "theta_")
        errors[k] = np.full(len(test), np.inf) if diverged else squared_errors(scored, test)
    print(f"{name}, seed {seed}: {n_iter} iterations, {taken:.1f} min", flush=True)
    result = {"name": name, "seed": seed, "iterations": n_iter, "minutes": taken, "errors": errors}
    if saved is not None:
        saved.parent.mkdir(parents=True, exist_ok=True)
        joblib.dump(result, saved)
    return result


def anchors(seeds: list[int]) -> list[str]:
    """Make the rows of predictions without meta-learning."""

    def waves(x: np.ndarray) -> np.ndarray:
        return np.stack([np.sin(x), np.cos(x)], -1)

    def oracle(t: Any) -> np.ndarray:
        weights = np.linalg.lstsq(waves(t.X_support[:, 0]), t.y_support, rcond=None)[0]
        return waves(t.X_query[:, 0]) @ weights

    anchors_of = {
        "zero (expected: 4.25)": lambda t: 0.0,
        "best function of x alone, -5.1 cos(x) / pi (expected: 3.006)": lambda t: (
            -5.1 * np.cos(t.X_query[:, 0]) / np.pi
        ),
        "oracle: amplitude and phase by least squares": oracle,
    }
    test = [t for seed in seeds for t in tasks_of(seed, 1)[1]]
    errors = {
        k: [np.mean((predict(t) - t.y_query) ** 2) for t in test]
        for k, predict in anchors_of.items()
    }
    return [f"| {name} | | {np.mean(v):.3f} | | | | |" for name, v in errors.items()]


def spell(errors: list[np.ndarray]) -> str:
    """Format the mean over seeds and tasks, with a 95 % interval over the tasks of all seeds."""
    pooled = np.concatenate(errors)
    if pooled.mean() > 1000:
        return "diverges"
    return f"{pooled.mean():.3f} ± {1.96 * pooled.std(ddof=1) / np.sqrt(len(pooled)):.3f}"


def table(runs: list[dict[str, Any]], seeds: list[int]) -> list[str]:
    lines = [
        "| learner | iterations | 0 steps | 1 step | 5 steps | 10 steps | steps in training |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, (_, params) in LEARNERS.items():
        of_learner = [r for r in runs if r["name"] == name]
        if not of_learner:
            continue
        cells = []
        for k in STEPS:
            errors = [r["errors"][k] for r in of_learner if k in r["errors"]]
            cells.append(spell(errors) if errors else "")
        trained = params.get("inner_steps")
        last = "none" if trained is None else str(trained)
        if None in of_learner[0]["errors"]:
            cells[0] = spell([r["errors"][None] for r in of_learner])
        elif trained not in STEPS:
            last += ": " + spell([r["errors"][trained] for r in of_learner])
        counts = sorted({r["iterations"] for r in of_learner})
        iterations_text = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        lines.append(f"| {name} | {iterations_text} | " + " | ".join(cells) + f" | {last} |")
    return lines + anchors(seeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=36.0, help="minutes in total")
    parser.add_argument(
        "--iterations", type=int, help="iterations of each run, instead of the budget"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7])
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS), choices=list(LEARNERS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at the same time")
    parser.add_argument("--keep", type=Path, help="folder that stores finished runs")
    parser.add_argument("--output", type=Path, help="Markdown file to write the table to")
    args = parser.parse_args()

    todo = [(name, seed) for seed in args.seeds for name in args.learners]
    rounds = -(-len(todo) // args.jobs)
    minutes = 0.92 * args.budget / rounds  # leaves time for starting and scoring
    runs = joblib.Parallel(n_jobs=args.jobs)(
        joblib.delayed(run)(name, seed, minutes, args.iterations, args.keep) for name, seed in todo
    )
    options = f"--budget {args.budget:g}"
    if args.iterations:
        options = f"--iterations {args.iterations}"
    if args.learners != list(LEARNERS):
        options += " --learners " + " ".join(f'"{name}"' for name in args.learners)
    lines = [
        "## Sinusoids from five points",
        "",
        f"`python examples/benchmarks/sinusoid.py {options} "
        f"--seeds {' '.join(map(str, args.seeds))}`",
        "",
        f"sklearn_meta {sm.__version__}, torch {torch.__version__}, "
        f"{datetime.datetime.now(datetime.timezone.utc).date()}, {os.cpu_count()} CPU cores "
        f"({platform.machine()}), {args.jobs} runs at a time. "
        f"{sum(r['minutes'] for r in runs) / args.jobs:.0f} minutes of meta-training, "
        f"{np.mean([r['minutes'] for r in runs]):.1f} for each run. Mean squared error on 600 "
        f"tasks for each of {len(args.seeds)} seeds, ± the 95 % interval over tasks. Inner steps "
        "and rates were chosen on seed 0. 25 tasks in a meta-batch (LSTM: 4).",
        "",
        *table(runs, args.seeds),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.output is not None:
        args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
