"""At which sizes of support a report tries its arms, on which rows, and whether these are new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sklearn_meta.analysis.guard_arms import flat
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task

__all__ = ["fewer_rows", "long_enough", "shared_rows"]

ROWS, ROWS_A_CLASS = (2, 5, 10, 20, 50, 100), (1, 2, 5, 10, 20, 50)
LEFT_OUT = 0.1  # of the tasks may have too few rows for the largest size


def long_enough(tasks: Sequence[Task], classify: bool, fewest: int) -> tuple[list[Task], list[int]]:
    """Choose sizes that nine tasks in ten have the rows for, and keep the tasks that have them.

    A fixed support gives all of its rows, another task half of its rows, to judge by the others.

    Parameters
    ----------
    tasks : sequence of Task
        Checked.
    classify : bool
        Whether sizes are rows of each class, from 1 on, or rows, from 2 on.
    fewest : int
        How many tasks must be left.

    Returns
    -------
    kept : list of Task
        In the order given.
    sizes : list of int
        Growing.

    Raises
    ------
    TaskError
        If too few tasks have rows even for the smallest size.
    """
    grid = ROWS_A_CLASS if classify else ROWS
    spare = np.array([_spare_rows(t, classify) for t in tasks])
    many = spare[spare >= grid[0]]
    if len(many) < fewest:
        least = "two rows of each class" if classify else "four rows"
        raise TaskError(
            f"analyse learns from some rows of a task and predicts the others: at least {fewest} "
            f"tasks need {least}, or a fixed support of half as many. Only {len(many)} of "
            f"{len(tasks)} have them."
        )
    most = np.quantile(many, LEFT_OUT, method="lower")
    sizes = [size for size in grid if size <= most]
    return [t for t, n in zip(tasks, spare, strict=True) if n >= sizes[-1]], sizes


def _spare_rows(task: Task, classify: bool) -> int:
    y = task.y if task.support is None else task.y_support
    n = int(np.unique(y, return_counts=True)[1].min()) if classify else len(y)
    return n // 2 if task.support is None else n


def fewer_rows(task: Task, most: int, rng: np.random.RandomState) -> Task:
    """Cut a long task.

    Parameters
    ----------
    task : Task
        Its fixed support is kept whole.
    most : int
        Rows to keep beside that.
    rng : RandomState
        Draws them.

    Returns
    -------
    Task
        The same task if it is no longer.
    """
    fixed = np.arange(0) if task.support is None else np.asarray(task.support)
    free = np.setdiff1d(np.arange(len(task)), fixed)
    if len(free) <= most:
        return task
    kept = np.sort(np.concatenate([fixed, rng.permutation(free)[:most]]))
    support = None if task.support is None else np.flatnonzero(np.isin(kept, fixed))
    return Task(task.X[kept], task.y[kept], support=support, name=task.name)


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
