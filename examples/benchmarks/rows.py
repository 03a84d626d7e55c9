"""Measure how error and log loss fall with the number of labelled rows, on the sets of examples/.

A new task has 0, 1 or 5 labelled rows (of each class, where labels are local to a task: there,
no rows mean no classes, and the row of size 0 has the values of guessing). Queries are the same
rows for all sizes. The error is the share of wrong labels, or the mean squared error in units of
the variance of all targets.

    python examples/benchmarks/rows.py --budget 5
    python examples/benchmarks/rows.py --only patients sinusoids --out rows.md
"""

import argparse
import os
import platform
import time
import warnings
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from patients import encoder, make_patients, split
from sklearn.base import is_classifier
from torch import nn

import sklearn_meta
from sklearn_meta import (
    HierarchicalClassifier,
    HierarchicalRegressor,
    MAMLRegressor,
    ProtoNetClassifier,
    as_tasks,
)
from sklearn_meta.datasets import (
    fetch_omniglot,
    fetch_parkinsons,
    load_digits_tasks,
    make_blob_tasks,
    make_linear_tasks,
    make_sinusoid_tasks,
)

SIZES = (0, 1, 5)
N_NEW = 200  # patients
N_TRIAL = 10


# ---- sets: learners, tasks of training, and (X, y) of new tasks ----------------------------------


def rows_of(tasks):
    """Return X and y of each task, in the order of its rows."""
    return [(task.X, task.y) for task in tasks]


def of_patients(seed):
    """Draw patients with shared labels, as in patients.py; 60 are for training."""
    train, new = split(make_patients(seed, n_patients=60 + N_NEW), seed, N_NEW)
    encode = encoder().fit(train)
    tasks = [(encode.transform(rows), rows.y.to_numpy()) for _, rows in train.groupby("patient")]
    both = [(np.concatenate([encode.transform(part) for part in pair]), pair) for pair in new]
    tests = [(X, np.concatenate([part.y for part in pair])) for X, pair in both]
    return [HierarchicalClassifier(), ProtoNetClassifier(random_state=seed)], tasks, tests


def sinusoids(seed):
    """Draw sinusoids, as in plot_02."""
    tasks = make_sinusoid_tasks(n_tasks=1000, n_rows=20, random_state=seed)
    tests = make_sinusoid_tasks(n_tasks=200, n_rows=105, random_state=seed + 1)
    return [MAMLRegressor(n_support=(1, 10), random_state=seed)], tasks, rows_of(tests)


def linear(seed):
    """Draw linear tasks, as in plot_07."""
    tasks = make_linear_tasks(300, 30, mean=[1, 2, 3], random_state=seed).tasks
    return [HierarchicalRegressor()], tasks[:200], rows_of(tasks[200:])


def parkinsons(seed):
    """Load voices of Parkinson's patients, as in plot_09; a third of the patients are new."""
    voices, rng = fetch_parkinsons(), np.random.RandomState(seed)
    tasks = list(as_tasks(voices.data, voices.target[:, 0], groups=voices.subject))
    order = [tasks[i] for i in rng.permutation(len(tasks))]
    tests = [
        (X[rows], y[rows]) for X, y in rows_of(order[28:]) for rows in [rng.permutation(len(y))]
    ]
    return [HierarchicalRegressor()], order[:28], tests


def digits(seed):
    """Draw tasks of digits."""
    images = partial(load_digits_tasks, flatten=False)
    pool = images(n_way_train=10, n_shot=(1, 5), n_query=5).meta_train
    tests = images(n_shot=5, n_query=10, n_test_tasks=200).test_tasks
    learner = ProtoNetClassifier(backbone=network, scaling=None, max_meta_iter=250)
    return [learner.set_params(random_state=seed)], pool, rows_of(tests)


def network():
    """Make a network of two convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def blobs(seed):
    """Draw tasks of Gaussian classes, as in plot_04."""
    tasks = make_blob_tasks(300, n_way=3, n_rows=20, random_state=seed)
    return [ProtoNetClassifier(random_state=seed)], tasks[:100], rows_of(tasks[100:])


def omniglot(seed):
    """Draw tasks of five characters of Omniglot, 14 x 14 pixels; a third of them is for tests."""
    data, rng = fetch_omniglot(size=14), np.random.RandomState(seed)
    X = data.images.reshape(len(data.images), -1).astype(np.float32)
    order, tasks = rng.permutation(np.unique(data.target)), []
    for k in range(0, 1000, 5):
        rows = np.flatnonzero(np.isin(data.target, order[k : k + 5]))
        tasks.append((X[rows], data.target[rows]))
    return [ProtoNetClassifier(random_state=seed)], tasks[:130], tasks[130:]


SETS = {
    "patients": of_patients,
    "sinusoids": sinusoids,
    "linear": linear,
    "parkinsons": parkinsons,
    "digits": digits,
    "blobs": blobs,
    "omniglot": omniglot,
}


# ---- scores ----------------------------------------------------------------------------------


def trained(learner, tasks, seconds):
    """Meta-train for so many seconds, and at most for `max_meta_iter` iterations."""
    if "max_meta_iter" not in learner.get_params():
        return learner.meta_fit(tasks)
    times, most = [], learner.max_meta_iter
    for n in (1, N_TRIAL):
        begin = time.process_time()
        learner.set_params(max_meta_iter=n).meta_fit(tasks)
        times.append(time.process_time() - begin)
    each = max(times[1] - times[0], 1e-3) / (N_TRIAL - 1)
    n_iter = int(np.clip(seconds / each, N_TRIAL, most))
    return learner.set_params(max_meta_iter=n_iter).meta_fit(tasks)


def supports(y, is_local):
    """Return the rows of the support of each size, and those of the query."""
    position = np.arange(len(y))
    if is_local:  # the position among the rows of the same class
        position = np.array([np.sum(y[:i] == y[i]) for i in range(len(y))])
    return {n: np.flatnonzero(position < n) for n in SIZES}, np.flatnonzero(position >= max(SIZES))


def measure(learner, tests):
    """Return (log loss, error) of each new task for each size of the support."""
    is_class = is_classifier(learner)
    is_local = is_class and not learner.meta_state.shared_labels
    variance = None if is_class else np.concatenate([y for _, y in tests]).var()
    values = {n: [] for n in SIZES}
    for X, y in tests:
        chosen, query = supports(y, is_local)
        for n, rows in chosen.items():
            if is_local and n == 0:
                n_way = len(np.unique(y))
                values[n].append((np.log(n_way), 1 - 1 / n_way))
                continue
            learner.fit(X[rows], y[rows])
            if not is_class:
                error = np.mean((learner.predict(X[query]) - y[query]) ** 2) / variance
                values[n].append((np.nan, error))
                continue
            P = learner.predict_proba(X[query])
            is_true = y[query][:, None] == learner.classes_
            loss = -np.log(np.maximum(P[is_true], 1e-15)).mean()
            values[n].append((loss, np.mean(learner.classes_[P.argmax(1)] != y[query])))
    return {n: np.mean(pairs, axis=0) for n, pairs in values.items()}


def main(budget=5.0, seed=0, only=(), out=None):
    """Measure, print and (with `out`) write the report; return scores by set and learner."""
    warnings.simplefilter("ignore")
    results, lines, n_networks = {}, [], 6
    for name, make in SETS.items():
        if only and name not in only:
            continue
        try:
            learners, tasks, tests = make(seed)
        except OSError as error:  # of a download
            print(f"{name}: {error}")
            continue
        for learner in learners:
            measured = measure(trained(learner, tasks, 60 * budget / n_networks), tests)
            cls = type(learner).__name__
            results[name, cls] = measured
            cells = [
                " to ".join(f"{measured[n][k]:.3f}" for n in SIZES)
                if np.isfinite(measured[0][k])
                else ""
                for k in (0, 1)
            ]
            n_iter = learner.get_params().get("max_meta_iter", "")
            lines.append(f"| {name} | {cls} | {n_iter} | {cells[0]} | {cells[1]} |")
            print(lines[-1], flush=True)
    names = f" --only {' '.join(only)}" if only else ""
    page = (
        "# From no rows to five\n\n"
        f"    python examples/benchmarks/rows.py --budget {budget:g} --seed {seed}{names}\n\n"
        f"sklearn_meta {sklearn_meta.__version__}, {date.today()}, {platform.machine()}, one of "
        f"{os.cpu_count()} cores. Means over new tasks with 0, 1 and 5 labelled rows. Digits, "
        "blobs and Omniglot have labels that are local to a task, so that rows are those of each "
        "class, and 0 is guessing. The error is the share of wrong labels, or the mean squared "
        "error over the variance of all targets.\n\n"
        "| set | learner | iterations | log loss | error |\n"
        "| --- | --- | --- | --- | --- |\n" + "\n".join(lines) + "\n"
    )
    print(page)
    if out:
        Path(out).write_text(page)
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--budget", type=float, default=5.0, help="minutes of the processor for all networks"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], choices=SETS, help="sets; default: all")
    parser.add_argument("--out", help="file to write")
    args = parser.parse_args()
    main(args.budget, args.seed, args.only, args.out)
