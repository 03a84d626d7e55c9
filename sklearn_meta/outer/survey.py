"""What has to be known of all tasks before the first episode, found in one pass over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.inner.heads import check_n_way
from sklearn_meta.outer.episodes import Rows
from sklearn_meta.outer.label_space import LabelSpace
from sklearn_meta.outer.packing import check_rows
from sklearn_meta.outer.row_store import dtype_of_rows
from sklearn_meta.outer.scaling import TaskMoments
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.lazy import TaskReader
from sklearn_meta.tasks.validate import label

__all__ = ["Survey", "check_ways", "first_of", "survey"]


@dataclass(frozen=True)
class Survey:
    """What the tasks have in common.

    Attributes
    ----------
    dtype : dtype
        To compute in.
    moments : (TaskMoments, TaskMoments or None) or None
        Of inputs, and of the targets of a regression, if they were asked for.
    classes : ndarray or None
        All labels, if they were asked for.
    n_way : int
        The largest number of classes of a task; 0 if it was not asked for.
    """

    dtype: Any
    moments: tuple[TaskMoments, TaskMoments | None] | None
    classes: NDArray[Any] | None
    n_way: int


def survey(
    known: tuple[Task, ...] | TaskReader,
    rows: Rows,
    *,
    labels: bool,
    moments: bool,
    classes: bool,
    ways: bool,
    at_most: int | None,
) -> Survey:
    """Go through all tasks, once; of tasks that are read one by one, only if there is need.

    Parameters
    ----------
    known : tuple of Task, or TaskReader
        From :func:`~sklearn_meta.outer.sources.known_tasks`.
    rows : Rows
        Of an episode: each task that is read must have as many.
    labels : bool
        Whether targets are labels.
    moments, classes, ways : bool
        What is asked for: the scales of rows and tasks, all labels, the number of classes.
    at_most : int or None
        Of classes in a task.

    Returns
    -------
    Survey
        The same for tasks that are read as for the tuple of them, if there was need to read all
        or all have the dtype of the first.

    Raises
    ------
    TaskError
        If a task that is read cannot be used, labels are of two kinds, or classes too many.
    """
    reads, first = isinstance(known, TaskReader), first_of(known)
    everything = not reads or moments or classes or ways or at_most is not None
    of_X = TaskMoments(all_axes=len(first.row_shape) > 1)
    of_y, space = TaskMoments(all_axes=False), LabelSpace()
    dtypes, n_way = {first.dtype}, 0
    for i, task in enumerate(known if everything else [first]):
        dtypes.add(task.dtype)
        if reads:
            check_rows(task, i, rows, labels=labels)
        check_ways(task, i, at_most)
        if moments:
            of_X.add(task.X)
        if moments and not labels:
            of_y.add(task.y.reshape(len(task), -1))
        if classes:
            space.add(task, i)
        if ways:
            n_way = max(n_way, len(np.unique(task.y)))
    found = (of_X, None if labels else of_y) if moments else None
    return Survey(dtype_of_rows(dtypes), found, space.result() if classes else None, n_way)


def first_of(known: tuple[Task, ...] | TaskReader) -> Task:
    """Give the first task, which all others are like.

    Parameters
    ----------
    known : tuple of Task, or TaskReader
        All tasks.

    Returns
    -------
    Task
        Task 0.
    """
    return known.first if isinstance(known, TaskReader) else known[0]


def check_ways(task: Task, i: int, learned: int | None) -> None:
    """Refuse a task with more classes than an output layer has rows.

    Parameters
    ----------
    task : Task
        Already checked.
    i : int
        Its position.
    learned : int or None
        Rows of the output layer; None: no such limit.

    Raises
    ------
    TaskError
        Naming the task.
    """
    if learned is None:
        return
    try:
        check_n_way(len(np.unique(task.y)), learned)
    except ValueError as error:
        raise TaskError(f"{label(task, i)}: {error}") from None
