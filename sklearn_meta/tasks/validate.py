"""What makes a task unusable, said once, in the user's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.arrays import blocks
from sklearn_meta.tasks.task import Task

__all__ = ["check_task", "check_tasks", "label", "target_kind"]

MOST_CLASSES = 10  # that whole numbers of floating-point type may stand for


def check_tasks(tasks: Sequence[Task], target_type: str | None = None) -> None:
    """Refuse the first task that cannot be used together with the others.

    Parameters
    ----------
    tasks : sequence of Task
        The tasks.
    target_type : {"class", "real"}, default=None
        Whether `y` must hold labels or numbers; None: see :func:`target_kind`.

    Raises
    ------
    TaskError
        Naming the task by its position, the argument and the shapes.
    """
    wanted = target_type or target_kind(tasks)
    for i, task in enumerate(tasks):
        check_task(task, i, tasks[0], wanted, asked=target_type is not None)


def target_kind(tasks: Sequence[Task]) -> str:
    """Tell labels from numbers where nobody says which: the one rule for it.

    Floating-point numbers are numbers if one has a fractional part, if there are several outputs,
    or if all tasks together have more than 10 different ones (counts, say). All else are labels, as
    for scikit-learn: strings, booleans, integers, and few whole numbers.

    Parameters
    ----------
    tasks : sequence of Task
        The tasks. The first that is clear without the others decides.

    Returns
    -------
    {"class", "real"}
        What `y` holds.
    """
    for task in tasks:
        clear = _kind(task) or ("real" if task.y.ndim > 1 else None)
        if clear is not None:
            return clear
    seen = np.unique(np.concatenate([np.unique(task.y) for task in tasks]))
    return "real" if len(seen) > MOST_CLASSES else "class"


def check_task(task: Task, i: int, first: Task, wanted: str | None, *, asked: bool) -> None:
    """Refuse a task that cannot be used, or not together with the first.

    Parameters
    ----------
    task : Task
        The task.
    i : int
        Its position, for the error.
    first : Task
        The first of all.
    wanted : {"class", "real"} or None
        What `y` must hold; None: what the first task holds.
    asked : bool
        Whether it was asked for, rather than found in the first task.

    Raises
    ------
    TaskError
        Naming the task by its position, the argument and the shapes.
    """
    called = label(task, i)
    _check_X(task.X, called)
    wanted = wanted or _kind(first) or _kind(task) or "class"
    _check_y(task, wanted, called, asked=asked)
    if task.row_shape != first.row_shape:
        raise TaskError(
            f"{called}: X has rows of shape {task.row_shape}, those of task 0 have shape "
            f"{first.row_shape} (X of shape {(len(task), *task.row_shape)} against "
            f"{(len(first), *first.row_shape)})."
        )
    if task.y.shape[1:] != first.y.shape[1:]:
        raise TaskError(
            f"{called}: y has shape {task.y.shape}, but that of task 0 has {first.y.shape}."
        )
    if task.feature_names_in != first.feature_names_in:
        raise TaskError(
            f"{called}: its feature names are {task.feature_names_in}, "
            f"but those of task 0 are {first.feature_names_in}."
        )


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


def _check_X(X: Any, label: str) -> None:
    if X.dtype.kind in "USmM":
        raise TaskError(f"{label}: X of shape {X.shape} holds {X.dtype}, not numbers.")
    if X.dtype.kind == "c":
        raise TaskError(f"{label}: X of shape {X.shape} holds complex numbers.")
    if X.ndim < 2:
        raise TaskError(
            f"{label}: X must have one row an observation, (n_rows, n_features); got shape "
            f"{X.shape}. Use X.reshape(-1, 1) for a single feature."
        )
    if 0 in X.shape[1:]:
        raise TaskError(f"{label}: X of shape {X.shape} has no features.")
    if X.dtype.kind == "O":
        try:
            X = X.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise TaskError(f"{label}: X of shape {X.shape} is not numeric: {error}.") from None
    if X.dtype.kind == "f":
        bad = _not_finite(X)
        if bad is not None:
            raise TaskError(
                f"{label}: X of shape {X.shape} holds {bad[1]} at row {bad[0]}; "
                "NaN and infinity are not accepted."
            )


def _not_finite(X: Any) -> tuple[int, Any] | None:
    """Row and value of the first entry that is no number."""
    begin = 0
    for block in blocks(X):
        values = block.data if issparse(block) else block
        finite = np.isfinite(values)
        if not finite.all():
            first = int(np.argmin(finite.ravel()))  # in the order of the rows
            if issparse(block):
                row = int(np.searchsorted(block.indptr, first, side="right")) - 1
            else:
                row = first // values[0].size
            return begin + row, values.ravel()[first]
        begin += block.shape[0]
    return None


def _check_y(task: Task, wanted: str, label: str, *, asked: bool) -> None:
    y, kind = task.y, _kind(task)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise TaskError(f"{label}: y of shape {y.shape} holds NaN or infinity.")
    if y.dtype.kind == "O" and any(value is None or value != value for value in y.ravel()):
        raise TaskError(f"{label}: y of shape {y.shape} has missing values.")
    if wanted == "real":
        if y.dtype.kind not in "fiub":
            raise TaskError(
                f"{label}: y of shape {y.shape} holds {y.dtype}; regression needs numbers"
                + ("." if asked else ", as in task 0.")
            )
        if y.ndim > 2:
            raise TaskError(f"{label}: y must be (n_rows,) or (n_rows, n_outputs); got {y.shape}.")
        return
    if kind == "real":
        raise TaskError(
            f"{label}: y of shape {y.shape} is continuous; classification needs class labels"
            + (". Use a regressor for real targets." if asked else ", as in task 0.")
        )
    if y.ndim != 1:
        raise TaskError(f"{label}: y must be one label a row, (n_rows,); got shape {y.shape}.")
    try:
        np.unique(y)
    except TypeError as error:
        raise TaskError(
            f"{label}: y of shape {y.shape} mixes kinds of label that cannot be sorted: {error}."
        ) from None
    if task.support is not None:
        unknown = np.setdiff1d(task.y_query, task.y_support)
        if len(unknown):
            raise TaskError(
                f"{label}: the query holds the label {unknown.tolist()[0]!r}, which no row of the "
                f"support has (y_support of shape {task.y_support.shape}, y_query of shape "
                f"{task.y_query.shape}); it cannot be learned from this support."
            )


def _kind(task: Task) -> str | None:
    """Floats with a fractional part are real; whole floats may be either; the rest are labels."""
    if task.y.dtype.kind != "f":
        return "class"
    return None if np.array_equal(task.y, np.trunc(task.y)) else "real"
