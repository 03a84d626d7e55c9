"""The one way to draw the support of a task."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import check_parameter, integer
from sklearn_meta.tasks.task import Task, named_task
from sklearn_meta.tasks.values import as_rows, as_targets

__all__ = ["draw_support", "shuffle_rows", "split_task"]


def split_task(
    task: Task,
    *,
    n_shot: int | None = None,
    n_support: int | None = None,
    random_state: Any = None,
) -> Task:
    """Draw the support of a task; the other rows become its query.

    Parameters
    ----------
    task : Task
        The task to split. It is not changed.
    n_shot : int, default=None
        Number of support rows of each class, for classification. At least one row of every class
        stays in the query.
    n_support : int, default=None
        Number of support rows in total, for regression.
    random_state : int, RandomState instance or None, default=None
        Determines the rows that are drawn.

    Returns
    -------
    task : Task
        A task of the same rows, with a fixed support.

    Raises
    ------
    TaskError
        If a class, or the task, has too few rows.
    ValueError
        If not exactly one of `n_shot` and `n_support` is set.

    Examples
    --------
    >>> from sklearn_meta.tasks import Task, split_task
    >>> task = Task([[0.], [1.], [2.], [3.]], ["a", "b", "a", "b"])
    >>> split_task(task, n_shot=1, random_state=0)
    Task(X: (4, 1), y: (4,), support: 2 rows)
    """
    if not isinstance(task, Task):
        raise TypeError(f"split_task splits one Task; got {type(task).__name__}. Use Task(X, y).")
    as_rows(task.X, f"{task!r}: X", task.feature_names_in)
    as_targets(task.y, f"{task!r}: y")
    return draw_support(task, n_shot=n_shot, n_support=n_support, random_state=random_state)


def draw_support(
    task: Task,
    *,
    n_shot: int | None = None,
    n_support: int | None = None,
    random_state: Any = None,
) -> Task:
    """Split a task as :func:`split_task` does, but without looking at X, which may hold gaps."""
    if (n_shot is None) == (n_support is None):
        raise ValueError("split_task needs exactly one of n_shot (a class) and n_support (in all).")
    by_class = n_shot is not None
    name, size = ("n_shot", n_shot) if by_class else ("n_support", n_support)
    n_rows: Any = check_parameter(name, size, integer(1), "split_task")
    y = as_targets(task.y, f"{task!r}: y", "class") if by_class else None
    groups = shuffle_rows(np.arange(len(task)), y, check_random_state(random_state))
    fewest = min(len(rows) for rows in groups)
    if fewest <= n_rows:
        raise TaskError(
            f"{task!r}: {'a class' if by_class else 'the task'} has {fewest} row(s), but {n_rows} "
            "of support and at least one of query are needed."
        )
    support = np.concatenate([rows[:n_rows] for rows in groups])
    return named_task(task.X, task.y, task.feature_names_in, support, task.name)


def shuffle_rows(
    rows: NDArray[np.intp], y: NDArray[Any] | None, rng: np.random.RandomState
) -> list[NDArray[np.intp]]:
    """Shuffle rows, those of each class of `y` separately; the first k of each are a support."""
    if y is None:
        return [rng.permutation(rows)]
    return [rng.permutation(rows[y[rows] == k]) for k in np.unique(y[rows])]
