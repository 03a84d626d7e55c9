"""Which rows a task is learned from and judged by: the same for every arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import check_parameter, integer
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.task import take_rows
from sklearn_meta.tasks.validate import label

__all__ = ["Draw", "check_sizes", "draw_rows", "split_as"]

Rows = NDArray[np.intp]


class Draw(NamedTuple):
    """Positions in a task: a support of each size, the smaller within the larger, and one query."""

    supports: tuple[Rows, ...]
    query: Rows


def check_sizes(
    support_sizes: Any, tasks: Sequence[Task], fewest: int | None, classify: bool
) -> tuple[int | None, ...]:
    """Settle the sizes of support to compare at.

    Parameters
    ----------
    support_sizes : int, sequence of int or None
        As `compare` takes them.
    tasks : sequence of Task
        All of them.
    fewest : int or None
        What a task without a fixed support gets where no size is asked for.
    classify : bool
        Whether sizes are rows of each class, or rows in all.

    Returns
    -------
    sizes : tuple of int or None
        In growing order; None stands for "as the tasks fix it", where that differs.

    Raises
    ------
    ValueError
        If a size is no int above 0, or none is asked for and none can be guessed.
    """
    if support_sizes is not None:
        given = support_sizes if np.iterable(support_sizes) else [support_sizes]
        sizes = {int(check_parameter("support_sizes", n, integer(1), "compare")) for n in given}
        if not sizes:
            raise ValueError("support_sizes is empty; give at least one, or None.")
        return tuple(sorted(sizes))
    if fewest is None and any(task.support is None for task in tasks):
        raise ValueError(
            "Some tasks have no fixed support, and no meta-learner says how large it should be. "
            "Give support_sizes."
        )
    found: set[int | None] = set()
    for task in tasks:
        if task.support is None:
            found.add(fewest)
        elif classify:
            found |= set(np.unique(task.y_support, return_counts=True)[1].tolist())
        else:
            found.add(len(task.support))
    return tuple(found) if len(found) == 1 else (None,)


def draw_rows(
    tasks: Sequence[Task],
    sizes: Sequence[int | None],
    fewest: int | None,
    seed: int,
    *,
    classify: bool,
    least_query: int,
) -> list[Draw]:
    """Draw supports and query of each task.

    Parameters
    ----------
    tasks : sequence of Task
        Of a fixed support, smaller ones are drawn within it, and its query stays.
    sizes : sequence of int or None
        From :func:`check_sizes`.
    fewest : int or None
        For tasks without a fixed support, where `sizes` has None.
    seed : int
        A task gets the same rows whenever seed, position and largest size are the same.
    classify : bool
        Whether sizes are rows of each class, or rows in all.
    least_query : int
        Rows that the metric needs.

    Returns
    -------
    draws : list of Draw
        One a task.

    Raises
    ------
    TaskError
        If a task has too few rows, naming it.
    """
    return [
        _draw(task, i, sizes, fewest, np.random.RandomState([seed, i]), classify, least_query)
        for i, task in enumerate(tasks)
    ]


def _draw(
    task: Task,
    i: int,
    sizes: Sequence[int | None],
    fewest: int | None,
    rng: np.random.RandomState,
    classify: bool,
    least_query: int,
) -> Draw:
    n, fixed = len(task.y), task.support
    rows = np.arange(n) if fixed is None else fixed
    labels = np.unique(task.y[rows]).tolist() if classify else [None]
    groups = [rows[task.y[rows] == k] if classify else rows for k in labels]
    wanted = [fewest if size is None and fixed is None else size for size in sizes]
    most = max((size for size in wanted if size is not None), default=0)
    for k, group in zip(labels, groups, strict=True):
        if len(group) < most + (fixed is None):
            of = "" if k is None else f" of class {k!r}"
            where = "in its fixed support" if fixed is not None else "and one or more of query"
            raise TaskError(
                f"{label(task, i)} has {len(group)} row(s){of}, but a support of {most} is asked "
                f"for {where} (y of shape {task.y.shape})."
            )
    shuffled = [rng.permutation(group) for group in groups]
    supports = [
        rows if size is None else np.sort(np.concatenate([group[:size] for group in shuffled]))
        for size in wanted
    ]
    query = np.setdiff1d(np.arange(n), supports[-1] if fixed is None else fixed)
    if len(query) < least_query:
        raise TaskError(
            f"{label(task, i)} has {len(query)} query row(s) besides a support of "
            f"{len(supports[-1])}; R^2 needs at least {least_query}. Use "
            'scoring="neg_mean_squared_error", or smaller support_sizes.'
        )
    return Draw(tuple(supports), query)


def split_as(task: Task, draw: Draw, k: int) -> Task:
    """Give a task with its k-th support, and without the rows between that and the query.

    Parameters
    ----------
    task : Task
        All of its rows.
    draw : Draw
        Of this task.
    k : int
        Which size.

    Returns
    -------
    Task
        With a fixed support.
    """
    support = draw.supports[k]
    rows = np.sort(np.concatenate([support, draw.query]))
    return take_rows(task, rows, np.flatnonzero(np.isin(rows, support)))
