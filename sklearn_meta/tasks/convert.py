"""The one door: every form of a collection of tasks becomes a tuple of Task, or one error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from sklearn_meta._optional import need
from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import check_parameter, option
from sklearn_meta.tasks.arrays import frame_or_rows, frozen, frozen_rows, on_disk, stack_rows
from sklearn_meta.tasks.frames import (
    check_container,
    feature_names,
    from_columns,
    is_column,
    is_frame,
    rows_of,
)
from sklearn_meta.tasks.task import Task, named_task, replace_data, task_of_rows
from sklearn_meta.tasks.validate import check_consistent_rows, check_same_rows, check_tasks, label
from sklearn_meta.tasks.values import Groups, as_groups, as_rows, as_targets

__all__ = ["as_task", "as_tasks", "collect_tasks", "validation_table"]


def as_tasks(
    X: Any, y: Any = None, groups: Any = None, *, target_type: str | None = None
) -> tuple[Task, ...]:
    """Convert a collection of tasks of any form, and refuse tasks that cannot be used.

    Parameters
    ----------
    X : sequence of tasks, array-like of shape (n_rows, ...), sparse matrix, or DataFrame of \
            pandas or polars
        Without `y`: a sequence whose items are a :class:`Task`, `(X, y)` or
        `(X_support, y_support, X_query, y_query)`. With `y` and `groups`: the rows of all tasks in
        one table.

    y : array-like of shape (n_rows,) or (n_rows, n_outputs), or column name(s), default=None
        The targets of the table, or the name of the target column of a DataFrame: a string, an
        integer or a tuple. A list of names is a regression with several outputs.

    groups : array-like of shape (n_rows,) or column name(s), default=None
        The task of each row, or the name of that column of a DataFrame. Several columns (a list of
        names, a frame, a MultiIndex) make a task of each combination.

    target_type : {"class", "real"}, default=None
        Whether `y` must hold labels or numbers. With None, floating-point numbers are numbers,
        unless they are at most 10 different whole ones (in all tasks); all else are labels, and
        all tasks must hold the same.

    Returns
    -------
    tasks : tuple of Task
        In the order of the sequence. For a table, in the order in which the groups first appear,
        each named after its group.

    Raises
    ------
    TaskError
        If there are no tasks, or one of them cannot be used: no rows, NaN or infinity, features
        that are not numbers, another number of features than the first, `y` of another length, a
        query label that the support lacks, labels and numbers in one collection.

    Examples
    --------
    >>> from sklearn_meta.tasks import as_tasks
    >>> as_tasks([([[0.], [1.]], ["a", "b"]), ([[2.], [3.], [4.]], ["c", "c", "d"])])
    (Task(X: (2, 1), y: (2,)), Task(X: (3, 1), y: (3,)))
    >>> as_tasks([[0.], [1.], [2.]], y=[0.1, 0.2, 0.3], groups=["ann", "bob", "ann"])
    (Task('ann', X: (2, 1), y: (2,)), Task('bob', X: (1, 1), y: (1,)))
    """
    check_parameter("target_type", target_type, option(None, "class", "real"), "as_tasks")
    if y is None and groups is None:
        tasks = [as_task(item, i) for i, item in enumerate(_as_list(X))]
    else:
        tasks = _from_table(X, y, groups)
    return check_tasks(tasks, target_type)


def collect_tasks(tasks: Any, y: Any = None, groups: Any = None) -> list[Task]:
    """Convert tasks as :func:`as_tasks` does, but leave to transformers what X may hold.

    Frames stay frames, and columns of arrays whose names are known become frames again.
    """
    if y is None and groups is None:
        items = enumerate(_as_list(tasks))
        collected = [_with_names(as_task(item, i, check=False)) for i, item in items]
    else:
        collected = _from_table(tasks, y, groups, check=False)
    for i, task in enumerate(collected):
        targets = as_targets(task.y, f"{label(task, i)}: y")
        collected[i] = task if targets.dtype == task.y.dtype else replace_data(task, None, targets)
    check_consistent_rows(collected)
    return collected


def _as_list(tasks: Any) -> list[Any]:
    if isinstance(tasks, Task):
        raise TaskError(f"tasks must be a sequence of tasks; got the single {tasks!r}. Use [task].")
    if isinstance(tasks, np.ndarray) and tasks.dtype != object:
        raise TaskError(
            f"tasks must be a sequence of tasks; got an array of shape {tasks.shape}. "
            "Pass the rows of all tasks together with y= and groups=."
        )
    if isinstance(tasks, str) or not hasattr(tasks, "__len__") or hasattr(tasks, "columns"):
        raise TaskError(
            "tasks must be a sequence of Task, (X, y) or (X_support, y_support, X_query, y_query), "
            f"or a table with y= and groups=; got {type(tasks).__name__}."
        )
    if len(tasks) == 0:
        raise TaskError("tasks is empty; at least one task is needed.")
    if hasattr(tasks, "__iter__"):
        return list(tasks)
    return [tasks[i] for i in range(len(tasks))]  # an item beyond the end may raise no IndexError


def as_task(item: Any, index: int, *, check: bool = True) -> Task:
    """Convert an item of a sequence of tasks: a Task, (X, y), or both of support and query.

    Without `check`, the rows of a support and a query are stacked as they are.
    """
    if isinstance(item, Task):
        return item
    if not isinstance(item, (tuple, list)) or len(item) not in (2, 4):
        got = f"an array of shape {item.shape}" if hasattr(item, "shape") else repr(type(item))
        raise TaskError(
            f"Task {index} must be a Task, (X, y) or (X_support, y_support, X_query, y_query); "
            f"got {got}. A single task goes into a list: [(X, y)]."
        )
    try:
        return Task(*item) if len(item) == 2 else _with_fixed_query(*item, check=check)
    except TaskError as error:
        raise type(error)(str(error).replace("A task", f"Task {index}", 1)) from None


def _with_fixed_query(
    X_support: Any, y_support: Any, X_query: Any, y_query: Any, *, check: bool
) -> Task:
    names = "A task: its support", "A task: its query"
    support, query = _part(X_support, y_support, names[0]), _part(X_query, y_query, names[1])
    check_same_rows(query, support, names[1], "its support")
    parts = list(zip((support, query), names, strict=True))
    X = [as_rows(t.X, f"{name}: X", t.feature_names_in) if check else t.X for t, name in parts]
    if issparse(X[0]) != issparse(X[1]):
        raise TaskError("A task: X_support and X_query must both be sparse, or both dense.")
    y = [as_targets(t.y, f"{name}: y") for t, name in parts]
    if (y[0].dtype.kind == "U") != (y[1].dtype.kind == "U"):  # numpy would make strings of numbers
        raise TaskError(
            f"A task: y_support holds {y[0].dtype} and y_query {y[1].dtype}; both must hold the "
            "same kind of value."
        )
    return named_task(
        stack_rows(X),
        np.concatenate(y),
        support.feature_names_in or query.feature_names_in,
        np.arange(len(support)),
    )


def _part(X: Any, y: Any, name: str) -> Task:
    try:
        return Task(X, y)
    except TaskError as error:
        raise type(error)(str(error).replace("A task", name, 1)) from None


def _with_names(task: Task) -> Task:
    """Turn an array whose columns have names into a frame that has them."""
    if task.feature_names_in is None or is_frame(task.X):
        return task
    pandas = need("pandas", "pandas", "A Task with column names in a MetaPipeline")
    frame = pandas.DataFrame(np.array(task.X), columns=list(task.feature_names_in))
    return Task(frame.infer_objects(), task.y, support=task.support, name=task.name)


def _from_table(X: Any, y: Any, groups: Any, *, check: bool = True) -> list[Task]:
    if y is None or groups is None:
        lacking = "y" if y is None else "groups"
        raise TaskError(f"A table of rows needs both y= and groups=; {lacking} is missing.")
    X, y, groups = from_columns(X, y, groups)
    names, y = feature_names(X), frozen(y, "y")
    X = frozen_rows(X, "X") if check else frame_or_rows(X, "X")
    y, of_task = y if check else as_targets(y, "y"), as_groups(groups)
    shapes = tuple(X.shape), y.shape, of_task.of_row.shape
    if any(shape[:1] != shapes[-1] for shape in shapes):
        raise TaskError(
            "X, y and groups must have one entry a row; got X of shape "
            f"{shapes[0]}, y of shape {shapes[1]} and groups of shape {shapes[2]}."
        )
    if len(y) == 0:
        raise TaskError("tasks is empty: the table has no rows.")
    tasks = _split_table(X, y, of_task)
    for task in tasks:
        task.feature_names_in = names
    return tasks


def _split_table(X: Any, y: NDArray[Any], groups: Groups) -> list[Task]:
    """Make a task of each group; sparse rows and rows on disk are not copied."""
    names = [str(name) for name in groups.labels]
    parts = list(zip(groups.rows(), names, strict=True))
    if issparse(X) or on_disk(X):
        return [task_of_rows(X, rows, y[rows], name) for rows, name in parts]
    if is_frame(X) or is_column(X):  # copies, because transformers may change them
        return [Task(rows_of(X, rows), y[rows], name=name) for rows, name in parts]
    if (np.diff(groups.of_row) < 0).any():
        order = np.concatenate(groups.rows())
        X, y = X[order], y[order]
    ends = np.cumsum([len(rows) for rows, _ in parts])[:-1]
    pieces = zip(np.split(X, ends), np.split(y, ends), names, strict=True)
    return [Task(X, y, name=name) for X, y, name in pieces]


def validation_table(tasks: Any, y: Any, groups: Any) -> tuple[Any, Any, Any] | None:
    """Return the (X, y, groups) of validation tasks that are a table, None if they are not.

    A table is a tuple (X, y, groups), or a frame with the columns that `y` and `groups` name in
    the table of meta-training.
    """
    check_container(tasks, "validation_tasks")
    if isinstance(tasks, tuple) and len(tasks) == 3:
        X = tasks[0]
        if is_frame(X) or issparse(X) or isinstance(X, np.ndarray):
            return tasks
    if not is_frame(tasks):
        return None
    if hasattr(y, "shape") or hasattr(groups, "shape") or y is None or groups is None:
        raise TaskError(
            "validation_tasks is a frame, but y and groups of meta_fit are not names of columns. "
            "Use validation_tasks=(X, y, groups)."
        )
    return tasks, y, groups
