"""Measure the calibration of classifiers on tables of patients with shared labels.

The tables are those of patients.py, with outcomes of rates 0.5, 0.2 and 0.05. Of each new patient
the 5 first rows have labels. The expected calibration error is that of the rows of all new patients
together (15 bins of the largest probability): a patient has too few rows for an error of his own.

    python examples/benchmarks/calibration.py --budget 10
    python examples/benchmarks/calibration.py --only PooledClassifier --out calibration.md
"""

import argparse
import os
import platform
import time
import warnings
from datetime import date
from pathlib import Path

import numpy as np
from patients import COLUMNS, encoder, make_patients, split

import sklearn_meta
from sklearn_meta import (
    ANILClassifier,
    FineTuneClassifier,
    GuardedMetaClassifier,
    HierarchicalClassifier,
    MAMLClassifier,
    PooledClassifier,
    ProtoNetClassifier,
)
from sklearn_meta.metrics import calibration_error_over_tasks

RATES = (0.5, 0.2, 0.05)
N_TRAIN, N_TEST = 80, 200
N_TRIAL = 10  # iterations that tell how long the others take
MOST_ITERATIONS = 1000  # the default of all learners
NETWORKS = {
    cls.__name__: cls
    for cls in (
        ProtoNetClassifier,
        MAMLClassifier,
        ANILClassifier,
        PooledClassifier,
        FineTuneClassifier,
    )
}


def learners(n_iter, seed, only):
    """Return the chosen learners by name; `n_iter` has the iterations of each network."""
    named = {name: NETWORKS[name](max_meta_iter=n, random_state=seed) for name, n in n_iter.items()}
    hierarchical = HierarchicalClassifier()
    named["HierarchicalClassifier"] = hierarchical
    guarded = GuardedMetaClassifier(hierarchical, n_support=3, random_state=seed)
    named["GuardedMetaClassifier"] = guarded
    return {name: learner for name, learner in named.items() if not only or name in only}


def iterations(tasks, seconds, only):
    """Return how many iterations of each network take so many seconds, at most the default."""
    n_iter = {}
    for name in [name for name in NETWORKS if not only or name in only]:
        cls, times = NETWORKS[name], []
        for n in (1, N_TRIAL):
            begin = time.process_time()
            cls(max_meta_iter=n, random_state=0).meta_fit(tasks)
            times.append(time.process_time() - begin)
        each = max(times[1] - times[0], 1e-3) / (N_TRIAL - 1)
        n_iter[name] = int(np.clip(seconds / each, N_TRIAL, MOST_ITERATIONS))
    return n_iter


def tasks_of(rate, seed):
    """Return the tasks of training, and (X, y) of support and query of each new patient."""
    train, new = split(make_patients(seed, rate, N_TRAIN + N_TEST), seed, N_TEST)
    encode = encoder().fit(train)

    def arrays(rows):
        return encode.transform(rows[COLUMNS]), (rows.y == "yes").to_numpy().astype(int)

    return [arrays(rows) for _, rows in train.groupby("patient")], [
        (arrays(support), arrays(query)) for support, query in new
    ]


def measure(learner, train, new):
    """Return calibration error, log loss and mean probability of "yes" on new patients."""
    learner.meta_fit(train)
    results = []
    for (X, y), (X_query, y_query) in new:
        P = learner.fit(X, y).predict_proba(X_query)
        results.append((y_query, P / P.sum(axis=1, keepdims=True), learner.classes_))
    error = calibration_error_over_tasks(results).pooled
    losses = [-np.log(P[np.arange(len(y)), y]).mean() for y, P, _ in results]
    return error, np.mean(losses), np.concatenate([P[:, 1] for _, P, _ in results]).mean()


def main(budget=10.0, seed=0, only=(), out=None):
    """Measure, print and (with `out`) write the report; return the errors by rate and name."""
    seconds = 60 * budget / len(RATES) / len(NETWORKS)
    n_iter, errors, lines = None, {}, []
    warnings.simplefilter("ignore")
    for rate in RATES:
        train, new = tasks_of(rate, seed)
        n_iter = n_iter or iterations(train, seconds, only)
        y = np.concatenate([query[1] for _, query in new])
        base = np.concatenate([y for _, y in train]).mean()
        base_loss = np.mean(
            [-np.log(np.where(query[1], base, 1 - base)).mean() for _, query in new]
        )
        lines.append(
            f"| {rate} | rate of training | | {base_loss:.3f} | {base:.3f} | {y.mean():.3f} |"
        )
        for name, learner in learners(n_iter, seed, only).items():
            error, loss, mean = measure(learner, train, new)
            errors[rate, name] = error
            lines.append(
                f"| {rate} | {name} | {error:.3f} | {loss:.3f} | {mean:.3f} | {y.mean():.3f} |"
            )
            print(lines[-1], flush=True)
    names = f" --only {' '.join(only)}" if only else ""
    trained = ", ".join(f"{name} {n}" for name, n in (n_iter or {}).items())
    page = (
        "# Calibration on shared labels\n\n"
        "    python examples/benchmarks/calibration.py "
        f"--budget {budget:g} --seed {seed}{names}\n\n"
        f"sklearn_meta {sklearn_meta.__version__}, {date.today()}, {platform.machine()}, one of "
        f"{os.cpu_count()} cores. For each rate, {N_TRAIN} patients for training and {N_TEST} new "
        "ones, of whom the 5 first rows have labels. ECE: expected calibration error of the rows "
        "of all new patients. Parameters are the defaults; iterations of meta-training, within the "
        f"budget: {trained}.\n\n"
        "| rate | estimator | ECE | log loss | mean probability | frequency |\n"
        "| --- | --- | --- | --- | --- | --- |\n" + "\n".join(lines) + "\n"
    )
    print(page)
    if out:
        Path(out).write_text(page)
    return errors


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--budget", type=float, default=10.0, help="minutes of the processor for all networks"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="names of learners; default: all")
    parser.add_argument("--out", help="file to write")
    args = parser.parse_args()
    main(args.budget, args.seed, args.only, args.out)
