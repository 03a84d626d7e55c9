"""Checks of whole tasks, one by one and against one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.frames import is_frame
from sklearn_meta.tasks.task import Names, Task, replace_data
from sklearn_meta.tasks.values import as_rows, as_target_type, as_targets, kind_of_targets

__all__ = [
    "check_consistent_rows",
    "check_feature_names",
    "check_same_rows",
    "check_task",
    "check_task_names",
    "check_tasks",
    "label",
    "names_of",
    "target_kind",
]

MOST_CLASSES = 10  # that whole numbers of floating-point type may stand for


def check_tasks(tasks: Sequence[Task], target_type: str | None = None) -> tuple[Task, ...]:
    """Return tasks with rows and targets of plain types, or refuse the first unusable one.

    `target_type` is "class", "real", or None (see :func:`target_kind`). A task that has plain types
    is returned as it is.
    """
    plain = [_with_plain_types(task, label(task, i)) for i, task in enumerate(tasks)]
    explicit = target_type is not None
    target_type = target_type or target_kind(plain)
    tasks = tuple(
        _with_targets(task, label(task, i), target_type, explicit) for i, task in enumerate(plain)
    )
    check_consistent_rows(tasks)
    return tasks


def check_task(task: Task, i: int, first: Task, target_type: str | None) -> Task:
    """Return a task with plain types, or refuse one that is unusable, or unlike the first.

    `first` is a checked task, or `task` itself. With `target_type=None`, the first task decides
    between labels and numbers.
    """
    input_name = label(task, i)
    plain = _with_plain_types(task, input_name)
    y = plain.y if first is task else first.y
    explicit = target_type is not None
    target_type = target_type or kind_of_targets(y) or kind_of_targets(plain.y) or "class"
    checked = _with_targets(plain, input_name, target_type, explicit)
    if first is not task:
        check_same_rows(checked, first, input_name)
    return checked


def check_consistent_rows(tasks: Sequence[Task]) -> None:
    """Refuse the first task with rows of another shape or other columns than the tasks before."""
    named = next((i for i, t in enumerate(tasks) if t.feature_names_in is not None), 0)
    for i, task in enumerate(tasks):
        check_same_rows(task, tasks[0], label(task, i))
        check_same_rows(task, tasks[named], label(task, i), f"task {named}")


def check_same_rows(task: Task, reference: Task, input_name: str, of: str = "task 0") -> None:
    """Refuse rows of another shape or with other columns: the one rule for rows of several tasks.

    An array has no column names, and is taken for the columns of a frame in their order. Errors
    call the task `input_name` and the reference `of`.
    """
    if task.row_shape != reference.row_shape:
        raise TaskError(
            f"{input_name}: X has rows of shape {task.row_shape}, those of {of} have shape "
            f"{reference.row_shape} (X of shape {(len(task), *task.row_shape)} against "
            f"{(len(reference), *reference.row_shape)})."
        )
    if task.y.shape[1:] != reference.y.shape[1:]:
        raise TaskError(
            f"{input_name}: y has shape {task.y.shape}, but that of {of} has {reference.y.shape}."
        )
    names, expected = task.feature_names_in, reference.feature_names_in
    if names is not None and expected is not None and names != expected:
        raise TaskError(
            f"{input_name}: its feature names are {names}, but those of {of} are {expected}."
        )


def check_feature_names(names: Names, expected: Names, method: str = "meta_fit") -> None:
    """Refuse other columns than those passed to a method, or the same in another order.

    An array has no names, and is taken for the columns of a frame in their order.
    """
    if names is not None and expected is not None and names != expected:
        fitted = "meta-fitted" if method == "meta_fit" else "fitted"
        raise ValueError(
            f"The feature names should match those that were passed to {method}. "
            f"Got {list(names)}, {fitted} with {list(expected)}."
        )


def check_task_names(task: Task, i: int, expected: Names, method: str = "meta_fit") -> None:
    """Check the columns of a task, and name the task in the error."""
    try:
        check_feature_names(task.feature_names_in, expected, method)
    except ValueError as error:
        raise TaskError(f"{label(task, i)}: {error}") from None


def names_of(estimator: object) -> Names:
    """Return the names of the columns that an estimator was fitted to."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else tuple(names)


def target_kind(tasks: Sequence[Task]) -> str:
    """Return whether tasks hold labels ("class") or numbers ("real"), where nobody says which.

    Floating-point numbers are numbers if one has a fractional part, if there are several outputs,
    or if all tasks together have more than 10 different ones (counts, say). All else are labels, as
    for scikit-learn: strings, booleans, integers, and few whole numbers. The first task that is
    clear without the others decides.
    """
    for task in tasks:
        clear = kind_of_targets(task.y) or ("real" if task.y.ndim > 1 else None)
        if clear is not None:
            return clear
    values = np.unique(np.concatenate([np.unique(task.y) for task in tasks]))
    return "real" if len(values) > MOST_CLASSES else "class"


def label(task: Task, i: int) -> str:
    """Return what errors call the i-th task, such as ``Task 3 ('ann')``."""
    return f"Task {i}" + ("" if task.name is None else f" ({task.name!r})")


def _with_plain_types(task: Task, input_name: str) -> Task:
    X = task.X  # which may be read from a file
    rows = as_rows(X, f"{input_name}: X", task.feature_names_in)
    y = as_targets(task.y, f"{input_name}: y")
    converted = is_frame(X) or rows.dtype != X.dtype
    if not converted and y.dtype == task.y.dtype:
        return task
    return replace_data(task, rows if converted else None, y)


def _with_targets(task: Task, input_name: str, target_type: str, explicit: bool) -> Task:
    """Return a task whose targets have a type, and whose query has no new labels."""
    y = as_target_type(task.y, f"{input_name}: y", target_type, explicit=explicit)
    task = task if y.shape == task.y.shape else replace_data(task, None, y)
    if target_type == "class" and task.support is not None:
        unknown = np.setdiff1d(task.y_query, task.y_support)
        if len(unknown):
            raise TaskError(
                f"{input_name}: the query holds the label {unknown.tolist()[0]!r}, which no row of "
                f"the support has (y_support of shape {task.y_support.shape}, y_query of shape "
                f"{task.y_query.shape}); it cannot be learned from this support."
            )
    return task
