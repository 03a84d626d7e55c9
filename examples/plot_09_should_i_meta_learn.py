"""Should I meta-learn?
====================

`analyse` answers for tasks of patients, characters and digits.

.. code-block:: bash

    python examples/plot_09_should_i_meta_learn.py

For each set of tasks, the script prints a report and writes it as an HTML page with plots. It
downloads the patients (Parkinson's telemonitoring, 0.5 MB) and the characters (Omniglot, 16 MB)
once. It leaves out a set that cannot be downloaded.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from sklearn_meta import Task
from sklearn_meta.analysis import TaskReport, analyse
from sklearn_meta.datasets import fetch_omniglot, fetch_parkinsons
from sklearn_meta.inspection import TaskMapDisplay
from sklearn_meta.tasks import as_tasks

# %%
# Three sets of tasks.


def patients(n_tasks: int) -> list[Task]:
    """Make a task for each Parkinson's patient: predict the motor score from the voice."""
    voices = fetch_parkinsons()
    return list(as_tasks(voices.data, voices.target[:, 0], groups=voices.subject))[:n_tasks]


def characters(n_tasks: int) -> list[Task]:
    """Make tasks of five characters of one alphabet, with 20 drawings of each."""
    omniglot, rng, tasks = fetch_omniglot(size=14), np.random.RandomState(0), []
    X, n = omniglot.images.reshape(len(omniglot.images), -1), len(omniglot.alphabet_names)
    by_alphabet = [
        rng.permutation(np.unique(omniglot.target[omniglot.alphabet == a])) for a in range(n)
    ]
    for i in range(n_tasks):
        alphabet, number = i % n, i // n
        five = by_alphabet[alphabet][5 * number : 5 * number + 5]  # each character is in one task
        if len(five) == 5:
            rows = np.flatnonzero(np.isin(omniglot.target, five))
            name = f"{omniglot.alphabet_names[alphabet]} {number + 1}"
            tasks.append(Task(X[rows], omniglot.target_names[omniglot.target[rows]], name=name))
    return tasks


def digits(n_tasks: int) -> list[Task]:
    """Make tasks of three digits with labels a, b, c; each image is in one task."""
    images, rng, tasks = load_digits(), np.random.RandomState(0), []
    unused = [rng.permutation(np.flatnonzero(images.target == k)).tolist() for k in range(10)]
    for _ in range(n_tasks):
        three = rng.permutation([k for k in range(10) if len(unused[k]) >= 10])[:3]
        if len(three) < 3:
            break
        rows = [unused[k].pop() for k in three for _ in range(10)]
        tasks.append(Task(images.data[rows], np.repeat(["a", "b", "c"], 10)))
    return tasks


SETS: dict[str, Callable[[int], list[Task]]] = {
    "patients": patients,
    "characters": characters,
    "digits": digits,
}


# %%
# Print a report for each set, and write it as a page.


def main(n_tasks: int = 60, folder: str = ".", picture: str | None = None) -> dict[str, TaskReport]:
    reports = {}
    for name, load in SETS.items():
        print(f"\n== {name}\n")
        try:
            tasks = load(n_tasks)
        except OSError as error:
            print(f"Left out: {error}")
            continue
        reports[name] = analyse(tasks, random_state=0)
        path = Path(folder) / f"plot_09_{name}.html"
        reports[name].to_html(path)
        print(f"{reports[name]}\n\nsaved {path}")
    if picture:
        draw(reports, picture)
    return reports


# %%
# Plot the tasks of each set as points, by the distances that the reports measured.


def draw(reports: dict[str, TaskReport], picture: str) -> None:
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(reports), figsize=(11, 4), layout="constrained", squeeze=False)
    for ax, (name, report) in zip(axes[0], reports.items(), strict=True):
        TaskMapDisplay.from_distances(report.distances, ax=ax)
        ax.set_title(name)
    fig.savefig(picture, dpi=120)


# %%
# Run the script.

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-tasks", type=int, default=60)
    parser.add_argument("--folder", default=".", help="folder for the HTML pages")
    parser.add_argument("--picture", default=None, help="file for a map of the tasks")
    main(**vars(parser.parse_args()))
