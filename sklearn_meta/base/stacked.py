"""Ragged tasks as padded arrays, filled by index rather than task by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.tasks import Task
from sklearn_meta.tasks.arrays import dense

__all__ = ["Places", "all_inputs", "padded", "places_of"]


class Places(NamedTuple):
    """Where the rows of the support, or of the query, of some tasks go in a stack.

    Attributes
    ----------
    flat : ndarray of int of shape (n,)
        Positions among all rows of the tasks, one task after the other.
    task, place : ndarray of int of shape (n,)
        Where each goes.
    sizes : ndarray of int of shape (n_tasks,)
        Places of each task.
    """

    flat: NDArray[np.intp]
    task: NDArray[np.intp]
    place: NDArray[np.intp]
    sizes: NDArray[np.intp]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the stack has rows, (n_tasks, n_most)."""
        return np.arange(self.sizes.max()) < self.sizes[:, None]


def places_of(tasks: Sequence[Task]) -> tuple[Places, Places]:
    """Tell support and query of tasks apart.

    Parameters
    ----------
    tasks : sequence of Task
        With a fixed support.

    Returns
    -------
    support, query : Places
        In the order of the tasks, and of the rows of each.
    """
    n_rows = np.array([len(task) for task in tasks])
    supports = [task.support for task in tasks if task.support is not None]
    n_support = np.array([len(support) for support in supports])
    begin = np.cumsum(n_rows) - n_rows
    chosen = np.zeros(n_rows.sum(), dtype=bool)
    chosen[np.repeat(begin, n_support) + np.concatenate(supports)] = True
    return _places(chosen, n_support), _places(~chosen, n_rows - n_support)


def _places(chosen: NDArray[np.bool_], sizes: NDArray[np.intp]) -> Places:
    begin = np.cumsum(sizes) - sizes
    place = np.arange(sizes.sum()) - np.repeat(begin, sizes)
    return Places(np.flatnonzero(chosen), np.repeat(np.arange(len(sizes)), sizes), place, sizes)


def padded(values: NDArray[Any], rows: Places) -> NDArray[Any]:
    """Put rows into a stack.

    Parameters
    ----------
    values : ndarray of shape (n_all, ...)
        All rows of the tasks, one task after the other.
    rows : Places
        Which of them, and where to.

    Returns
    -------
    ndarray of shape (n_tasks, n_most, ...)
        With zeros where a task has fewer rows.
    """
    stack = np.zeros((len(rows.sizes), rows.sizes.max(), *values.shape[1:]), values.dtype)
    stack[rows.task, rows.place] = values[rows.flat]
    return stack


def all_inputs(tasks: Sequence[Task], dtype: Any) -> NDArray[Any]:
    """Put the inputs of tasks one after the other.

    Parameters
    ----------
    tasks : sequence of Task
        In order.
    dtype : dtype
        Of the result.

    Returns
    -------
    ndarray of shape (n_all, ...)
        A copy.
    """
    return np.concatenate([dense(task.X) for task in tasks]).astype(dtype, copy=False)
