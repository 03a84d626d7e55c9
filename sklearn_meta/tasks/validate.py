"""What makes a task unusable, said once, in the user's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.task import Task, replaced
from sklearn_meta.tasks.values import as_rows, as_targets, kind_of_targets

__all__ = ["check_task", "check_tasks", "label", "target_kind"]

MOST_CLASSES = 10  # that whole numbers of floating-point type may stand for


def check_tasks(tasks: Sequence[Task], target_type: str | None = None) -> tuple[Task, ...]:
    """Return tasks with rows and targets of plain types, or refuse the first unusable one.

    `target_type` is "class", "real", or None (see :func:`target_kind`). A task whose types are
    plain already is returned as it is.
    """
    ready = tuple(_with_plain_types(task, label(task, i)) for i, task in enumerate(tasks))
    wanted, asked = target_type or target_kind(ready), target_type is not None
    first = ready[0]
    checked = []
    for i, task in enumerate(ready):
        checked.append(_alike(task, label(task, i), first, wanted, asked))
        first = checked[0]
    return tuple(checked)


def target_kind(tasks: Sequence[Task]) -> str:
    """Tell labels from numbers where nobody says which: the one rule for it.

    Floating-point numbers are numbers if one has a fractional part, if there are several outputs,
    or if all tasks together have more than 10 different ones (counts, say). All else are labels, as
    for scikit-learn: strings, booleans, integers, and few whole numbers. The first task that is
    clear without the others decides.
    """
    for task in tasks:
        clear = kind_of_targets(task.y) or ("real" if task.y.ndim > 1 else None)
        if clear is not None:
            return clear
    seen = np.unique(np.concatenate([np.unique(task.y) for task in tasks]))
    return "real" if len(seen) > MOST_CLASSES else "class"


def check_task(task: Task, i: int, first: Task, wanted: str | None, *, asked: bool) -> Task:
    """Return a task with plain types, or refuse one that is unusable, or unlike the first.

    `first` is a checked task, or `task` itself. `wanted` is "class", "real", or None for what the
    first task holds; `asked` is whether the user wants it, rather than the first task.
    """
    called = label(task, i)
    ready = _with_plain_types(task, called)
    first = ready if first is task else first
    wanted = wanted or kind_of_targets(first.y) or kind_of_targets(ready.y) or "class"
    return _alike(ready, called, first, wanted, asked)


def _with_plain_types(task: Task, called: str) -> Task:
    X = as_rows(task.X, f"{called}: X", task.feature_names_in)
    y = as_targets(task.y, f"{called}: y")
    if X.dtype == task.dtype and y.dtype == task.y.dtype:
        return task
    return replaced(task, None if X.dtype == task.dtype else X, y)


def _alike(task: Task, called: str, first: Task, wanted: str, asked: bool) -> Task:
    """Hold a task against the first, and its targets against the kind that is wanted."""
    y = as_targets(task.y, f"{called}: y", wanted, asked=asked)
    task = task if y.shape == task.y.shape else replaced(task, None, y)
    if wanted == "class" and task.support is not None:
        unknown = np.setdiff1d(task.y_query, task.y_support)
        if len(unknown):
            raise TaskError(
                f"{called}: the query holds the label {unknown.tolist()[0]!r}, which no row of the "
                f"support has (y_support of shape {task.y_support.shape}, y_query of shape "
                f"{task.y_query.shape}); it cannot be learned from this support."
            )
    if task.row_shape != first.row_shape:
        raise TaskError(
            f"{called}: X has rows of shape {task.row_shape}, those of task 0 have shape "
            f"{first.row_shape} (X of shape {(len(task), *task.row_shape)} against "
            f"{(len(first), *first.row_shape)})."
        )
    if wanted == "real" and task.y.shape[1:] != first.y.shape[1:]:
        raise TaskError(
            f"{called}: y has shape {task.y.shape}, but that of task 0 has {first.y.shape}."
        )
    if task.feature_names_in != first.feature_names_in:
        raise TaskError(
            f"{called}: its feature names are {task.feature_names_in}, "
            f"but those of task 0 are {first.feature_names_in}."
        )
    return task


def label(task: Any, i: int) -> str:
    """Give what errors call a task: its position, and its name if it has one.

    Parameters
    ----------
    task : object
        A task of any kind, with a `name`.
    i : int
        Its position.

    Returns
    -------
    str
        Such as ``Task 3 ('ann')``.
    """
    return f"Task {i}" + ("" if task.name is None else f" ({task.name!r})")
