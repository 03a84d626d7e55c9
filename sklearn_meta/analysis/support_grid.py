"""At which sizes of support a report tries its arms, on which rows, and whether these are new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sklearn_meta.ensemble import flat
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task

__all__ = ["SizeGroup", "at_hand", "shared_rows", "sizes_by_tasks"]

ROWS, ROWS_A_CLASS = (2, 5, 10, 20, 50, 100), (1, 2, 5, 10, 20, 50)
MOST_ROWS = 200  # of a task, beside a fixed support
LEFT_OUT = 0.1  # of the tasks may have too few rows for the largest size of a group
ENOUGH = 20  # tasks that are worth a look at a size, however many others are too short


def at_hand(
    tasks: Sequence[Task], classify: bool, fewest: int, most: int, rng: np.random.RandomState
) -> tuple[list[Task], list[int], list[str]]:
    """Choose the tasks to look at, and cut long ones.

    Parameters
    ----------
    tasks : sequence of Task
        Checked.
    classify : bool
        Whether targets are labels: then a task needs two rows of each of two classes, or a fixed
        support with two classes; otherwise four rows, or two of a fixed support.
    fewest, most : int
        Tasks that there must be, and that are looked at.
    rng : RandomState
        Draws tasks and rows.

    Returns
    -------
    kept : list of Task
        The tasks.
    places : list of int
        Where they were.
    notes : list of str
        What was left out.

    Raises
    ------
    TaskError
        If there are too few.
    """
    notes, places = [], _usable(tasks, classify, fewest)
    if len(places) < len(tasks):
        left_out = len(tasks) - len(places)
        notes.append(f"Tasks with too few rows, or with one class, were left out: {left_out}.")
    if len(places) > most:
        notes.append(f"{most} of {len(places)} tasks were drawn to look at.")
        places = sorted(rng.permutation(places)[:most].tolist())
    kept = [_fewer_rows(tasks[i], classify, rng) for i in places]
    if any(len(t) < len(tasks[i]) for t, i in zip(kept, places, strict=True)):
        notes.append(f"Of longer tasks, {MOST_ROWS} rows beside a fixed support were looked at.")
    return kept, places, notes


class SizeGroup(NamedTuple):
    """Sizes of support, and the positions of the tasks that have the rows for the largest."""

    sizes: list[int]
    places: list[int]


def sizes_by_tasks(tasks: Sequence[Task], classify: bool) -> list[SizeGroup]:
    """Choose sizes that nine tasks in ten, or 20, have the rows for; group those of the same tasks.

    A fixed support gives all of its rows, another task half of its rows, to judge by the others.
    Sizes are in one group, from the smallest on, as long as nine in ten of the tasks that have the
    rows for one of them have them for the largest.
    """
    spare = np.array([_spare_rows(t, classify) for t in tasks])
    n_tasks = {size: int(np.sum(spare >= size)) for size in (ROWS_A_CLASS if classify else ROWS)}
    least = min(ENOUGH, len(tasks) - int(LEFT_OUT * len(tasks)))
    groups: list[SizeGroup] = []
    for size in sorted((size for size, n in n_tasks.items() if n >= least), reverse=True):
        n = n_tasks[size]
        if groups and len(groups[0].places) >= n - int(LEFT_OUT * n):
            groups[0].sizes.insert(0, size)
        else:
            groups.insert(0, SizeGroup([size], np.flatnonzero(spare >= size).tolist()))
    return groups


def shared_rows(tasks: Sequence[Task]) -> float:
    """Give the share of rows that more than one task has, with the same target.

    Parameters
    ----------
    tasks : sequence of Task
        Checked.

    Returns
    -------
    float
        From 0 to 1. A row counts once in each task that has it.
    """
    own = [
        {(x.tobytes(), np.asarray(y).tobytes()) for x, y in zip(flat(t.X), t.y, strict=True)}
        for t in tasks
    ]
    often = Counter(row for rows in own for row in rows)
    twice = sum(n for n in often.values() if n > 1)
    return twice / sum(often.values())


def _usable(tasks: Sequence[Task], classify: bool, fewest: int) -> list[int]:
    least = (ROWS_A_CLASS if classify else ROWS)[0]
    found = [i for i, task in enumerate(tasks) if _spare_rows(task, classify) >= least]
    if len(found) < fewest:
        rows = "two rows of each of two classes" if classify else "four rows"
        raise TaskError(
            f"analyse learns from some rows of a task and predicts the others: at least {fewest} "
            f"tasks need {rows}, or a fixed support of half as many. Only {len(found)} of "
            f"{len(tasks)} have them."
            + (" Numbers that are no labels need target_type='real'." if classify else "")
        )
    return found


def _fewer_rows(task: Task, classify: bool, rng: np.random.RandomState) -> Task:
    """Keep a fixed support, and of the other rows of each class its share of the most there are."""
    fixed = np.arange(0) if task.support is None else np.asarray(task.support)
    free = rng.permutation(np.setdiff1d(np.arange(len(task)), fixed))
    if len(free) <= MOST_ROWS:
        return task
    kept = [fixed]
    for label in np.unique(task.y[free]) if classify else [None]:
        own = free if label is None else free[task.y[free] == label]
        kept.append(own[: int(np.ceil(len(own) * MOST_ROWS / len(free)))])
    rows = np.sort(np.concatenate(kept))
    support = None if task.support is None else np.flatnonzero(np.isin(rows, fixed))
    return Task(task.X[rows], task.y[rows], support=support, name=task.name)


def _spare_rows(task: Task, classify: bool) -> int:
    """Count the rows (of the rarest class) that a support can have; 0 where there is one class."""
    y = task.y if task.support is None else task.y_support
    counts = np.unique(y, return_counts=True)[1] if classify else np.array([len(y)])
    n = 0 if classify and len(counts) < 2 else int(counts.min())
    return n // 2 if task.support is None else n
