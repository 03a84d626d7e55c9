"""Draw the support of a task."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.ranges import check_int
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import check_tasks
from sklearn_meta.tasks.values import as_rows, as_targets

__all__ = ["shuffle_rows", "split_task"]


def split_task(
    task: Task,
    *,
    n_shot: int | None = None,
    n_support: int | None = None,
    random_state: Any = None,
) -> Task:
    """Draw the support of a task, once; the other rows become its query.

    Parameters
    ----------
    task : Task
        The task to split; it stays as it is.
    n_shot : int, default=None
        Rows of each class, for classification. Every class keeps at least one row of query.
    n_support : int, default=None
        Rows in all, whatever their target, for regression.
    random_state : int, RandomState instance or None, default=None
        The source of chance.

    Returns
    -------
    task : Task
        The same rows with `support` set.

    Raises
    ------
    TaskError
        If a class, or the task, has too few rows.
    ValueError
        If not exactly one of `n_shot` and `n_support` is given.

    Examples
    --------
    >>> from sklearn_meta.tasks import Task, split_task
    >>> task = Task([[0.], [1.], [2.], [3.]], ["a", "b", "a", "b"])
    >>> split_task(task, n_shot=1, random_state=0)
    Task(X: (4, 1), y: (4,), support: 2 rows)
    """
    if not isinstance(task, Task):
        raise TypeError(f"split_task splits one Task; got {type(task).__name__}. Use Task(X, y).")
    if (n_shot is None) == (n_support is None):
        raise ValueError("split_task needs exactly one of n_shot (a class) and n_support (in all).")
    rng = check_random_state(random_state)
    if n_support is not None:
        as_rows(task.X, f"{task!r}: X", task.feature_names_in)
        as_targets(task.y, f"{task!r}: y")
        take = check_int(n_support, "n_support", "split_task", 1)
        y, what = None, "the task"
    else:
        y = check_tasks([task], "class")[0].y
        take = check_int(n_shot, "n_shot", "split_task", 1)
        what = "a class"
    groups = shuffle_rows(np.arange(len(task)), y, rng)
    scarce = min(len(rows) for rows in groups)
    if scarce <= take:
        raise TaskError(
            f"{task!r}: {what} has {scarce} row(s), but {take} of support and at least one of "
            "query are needed."
        )
    support = np.concatenate([rows[:take] for rows in groups])
    split = Task(task.X, task.y, support=support, name=task.name)
    split.feature_names_in = task.feature_names_in
    return split


def shuffle_rows(
    rows: NDArray[np.intp], y: NDArray[Any] | None, rng: np.random.RandomState
) -> list[NDArray[np.intp]]:
    """Shuffle rows, those of each class of `y` separately; the first k of each are a support."""
    if y is None:
        return [rng.permutation(rows)]
    return [rng.permutation(rows[y[rows] == k]) for k in np.unique(y[rows])]
