"""Rows of ragged tasks as stacks, with the labels of each task in columns of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.validate import label, target_kind

__all__ = ["Chosen", "Stack", "TaskRows", "blocks_of", "halves"]

Chosen = list[NDArray[np.intp]]  # positions of rows, for each task


class Stack(NamedTuple):
    """Some rows of some tasks, padded to the most that one of them has.

    Attributes
    ----------
    X : ndarray of shape (n_tasks, n_most, ...)
        Inputs, zero where there is no row.
    y : ndarray of shape (n_tasks, n_most, n_columns)
        One-hot labels or targets, zero where there is no row.
    mask : ndarray of bool of shape (n_tasks, n_most)
        Where there are rows.
    places : ndarray of int of shape (n_tasks,)
        Positions of the tasks among all.
    """

    X: NDArray[Any]
    y: NDArray[np.float64]
    mask: NDArray[np.bool_]
    places: NDArray[np.intp]


@dataclass(frozen=True)
class TaskRows:
    """Tasks, with what their labels are as columns.

    Parameters
    ----------
    tasks : tuple of Task
        Already checked.
    kind : {"class", "real"}
        What `y` holds.
    values : list of ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Columns of the labels, or targets.
    labels : list of ndarray or None
        Of the columns of each task, sorted; None for targets.
    """

    tasks: tuple[Task, ...]
    kind: str
    values: list[NDArray[Any]]
    labels: list[NDArray[Any]] | None

    @classmethod
    def of(cls, tasks: Any, kind: str | None = None) -> TaskRows:
        """Check tasks and code their labels.

        Parameters
        ----------
        tasks : sequence of tasks
            As :func:`~sklearn_meta.tasks.as_tasks` takes them.
        kind : {"class", "real"}, default=None
            What `y` must hold; None: see :func:`~sklearn_meta.tasks.validate.target_kind`.

        Returns
        -------
        TaskRows
            In the order given.

        Raises
        ------
        TaskError
            If a task cannot be used.
        """
        found = as_tasks(tasks, target_type=kind)
        kind = kind or target_kind(found)
        if kind == "real":
            values = [task.y.reshape(len(task), -1).astype(np.float64) for task in found]
            return cls(found, kind, values, None)
        coded = [np.unique(task.y, return_inverse=True) for task in found]
        return cls(found, kind, [code for _, code in coded], [own for own, _ in coded])

    @property
    def n_columns(self) -> NDArray[np.intp]:
        """Classes of each task, or its outputs."""
        if self.labels is None:
            return np.array([values.shape[1] for values in self.values])
        return np.array([len(own) for own in self.labels])

    @property
    def everything(self) -> Chosen:
        """All rows."""
        return [np.arange(len(task)) for task in self.tasks]

    def inputs(self, i: int, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Take inputs of a task.

        Parameters
        ----------
        i : int
            Which task.
        rows : ndarray of int of shape (n,)
            Positions of its rows.

        Returns
        -------
        ndarray of shape (n, ...)
            Dense.
        """
        return dense(self.tasks[i].X[rows])

    def stack(self, chosen: Chosen, places: NDArray[np.intp], dtype: Any) -> Stack:
        """Put rows of some tasks into one array.

        Parameters
        ----------
        chosen : list of ndarray of int
            Which rows, for each task of all.
        places : ndarray of int of shape (n_tasks,)
            Which tasks.
        dtype : dtype
            Of the inputs.

        Returns
        -------
        Stack
            As wide as the widest of them.
        """
        n_rows, width = max(len(chosen[i]) for i in places), int(self.n_columns[places].max())
        X = np.zeros((len(places), n_rows, *self.tasks[0].row_shape), dtype)
        y = np.zeros((len(places), n_rows, width))
        mask = np.zeros((len(places), n_rows), dtype=bool)
        for b, i in enumerate(places):
            n, values = len(chosen[i]), self.values[i][chosen[i]]
            X[b, :n], mask[b, :n] = self.inputs(i, chosen[i]), True
            if self.labels is None:
                y[b, :n] = values
            else:
                y[b, np.arange(n), values] = 1
        return Stack(X, y, mask, places)

    def split(self, rng: np.random.RandomState) -> tuple[Chosen, Chosen]:
        """Tell the rows to learn from and those to judge by apart.

        Parameters
        ----------
        rng : RandomState
            The source of chance.

        Returns
        -------
        learn, judge : list of ndarray of int
            The fixed support of a task and its query, where it has one; else a random half of
            its rows (of each class) and the other.

        Raises
        ------
        TaskError
            If nothing is left to judge by.
        """
        learn, judge = [], []
        for i, task in enumerate(self.tasks):
            if task.support is None:
                first, second = self.cut(i, rng)
            else:
                first, second = task.support, np.delete(np.arange(len(task)), task.support)
            learn.append(first)
            judge.append(second)
        return learn, judge

    def cut(self, i: int, rng: np.random.RandomState) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Cut a task into two halves at random, each class of it alike.

        Parameters
        ----------
        i : int
            Which task.
        rng : RandomState
            The source of chance.

        Returns
        -------
        first, second : ndarray of int
            Positions; of an odd number of rows (of a class) the first has one more.

        Raises
        ------
        TaskError
            If the second half is empty: of a task with one row, or with one a class.
        """
        task, values = self.tasks[i], self.values[i]
        order, rank = rng.permutation(len(task)), np.arange(len(task))
        if self.labels is not None:  # the place of each row among those of its class
            order = order[np.argsort(values[order], kind="stable")]
            counts = np.bincount(values)
            rank -= np.repeat(np.cumsum(counts) - counts, counts)
        even = rank % 2 == 0
        if even.all():
            what = "two rows" if self.labels is None else "two rows of a class"
            raise TaskError(
                f"{label(task, i)}: X of shape {(len(task), *task.row_shape)} and y of shape "
                f"{task.y.shape} cannot be cut into two halves; at least {what} are needed."
            )
        return np.sort(order[even]), np.sort(order[~even])


def halves(rows: TaskRows, rng: np.random.RandomState) -> tuple[Chosen, Chosen]:
    """Cut each task into two halves at random, each class of it alike.

    Parameters
    ----------
    rows : TaskRows
        The tasks.
    rng : RandomState
        The source of chance.

    Returns
    -------
    first, second : list of ndarray of int
        Positions; of an odd number of rows (of a class) the first has one more.

    Raises
    ------
    TaskError
        If the second half is empty: of a task with one row, or with one a class.
    """
    cut = [rows.cut(i, rng) for i in range(len(rows.tasks))]
    return [first for first, _ in cut], [second for _, second in cut]


def blocks_of(sizes: Sequence[int] | NDArray[np.intp], most: int) -> Iterator[NDArray[np.intp]]:
    """Put consecutive tasks into blocks, so that each block has at most so many rows.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each task.
    most : int
        Rows of a block; a task with more is alone in its.

    Yields
    ------
    ndarray of int
        Positions of tasks.
    """
    ends, begin = np.cumsum(sizes), 0
    while begin < len(ends):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield np.arange(begin, end)
        begin = end
