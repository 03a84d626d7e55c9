"""What is asked of tasks that a distribution is fitted to, and of those it draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.ranges import check_int
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import label

__all__ = ["check_columns", "check_rows", "task_weights"]


def check_columns(task: Task, i: int, owner: str, n_features: int | None) -> NDArray[np.float64]:
    """Give the rows of a task as a matrix, or refuse them.

    Parameters
    ----------
    task : Task
        The task.
    i : int
        Its position, for the error.
    owner : str
        The class that asks.
    n_features : int or None
        Columns there must be; None: as many as there are.

    Returns
    -------
    X : ndarray of float of shape (n_rows, n_features)
        Not sparse.

    Raises
    ------
    TaskError
        If rows are no vectors, or have another length.
    """
    shape = (len(task), *task.row_shape)
    if len(shape) != 2:
        raise TaskError(
            f"{label(task, i)}: {owner} needs X of shape (n_rows, n_features); got {shape}."
        )
    if n_features is not None and shape[1] != n_features:
        raise TaskError(
            f"{label(task, i)}: X of shape {shape} has {shape[1]} feature(s), but {owner} has "
            f"{n_features}."
        )
    return dense(task.X, np.float64)


def check_rows(n_rows: Any, n_support: Any, owner: str) -> None:
    """Check how many rows a drawn task is to have, and how many of them are its support.

    Parameters
    ----------
    n_rows, n_support : int or None
        The parameters.
    owner : str
        The class they belong to.

    Raises
    ------
    ValueError
        If they are out of range, or leave no query.
    """
    if n_rows is not None:
        check_int(n_rows, "n_rows", owner, 1 if n_support is None else 2)
    if n_support is not None:
        check_int(n_support, "n_support", owner, 1, None if n_rows is None else n_rows - 1)


def task_weights(sample_weight: Any, tasks: Sequence[Task]) -> NDArray[np.float64]:
    """Check the weights of tasks.

    Parameters
    ----------
    sample_weight : array-like of shape (n_tasks,) or None
        As given; None is one each.
    tasks : sequence of Task
        The tasks.

    Returns
    -------
    weights : ndarray of shape (n_tasks,)
        That sum to the number of tasks.

    Raises
    ------
    ValueError
        If there is not one finite weight a task, or one is negative, or all are zero.
    """
    n = len(tasks)
    weights = np.ones(n) if sample_weight is None else np.asarray(sample_weight, np.float64)
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight must have one weight a task, shape ({n},); got shape {weights.shape}."
        )
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
        raise ValueError(
            "sample_weight must be finite, not negative, and not all zero; got weights from "
            f"{weights.min()} to {weights.max()}."
        )
    return weights * (n / weights.sum())
