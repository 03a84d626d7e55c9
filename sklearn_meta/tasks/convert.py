"""The one door: every spelling of "many tasks" becomes a tuple of Task, or one clear error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.arrays import frozen, frozen_rows, on_disk, stacked
from sklearn_meta.tasks.frames import check_container, feature_names, from_columns, is_frame
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import check_tasks
from sklearn_meta.tasks.values import Groups, as_groups, as_rows, as_targets

__all__ = ["as_task", "as_tasks", "joined_targets", "validation_table"]


def as_tasks(
    X: Any, y: Any = None, groups: Any = None, *, target_type: str | None = None
) -> tuple[Task, ...]:
    """Convert any of the spellings of a collection of tasks, and refuse bad tasks.

    Parameters
    ----------
    X : sequence of tasks, array-like of shape (n_rows, ...), sparse matrix, or DataFrame of \
            pandas or polars
        Without `y`: a sequence of :class:`Task`, of pairs `(X, y)`, or of
        `(X_support, y_support, X_query, y_query)`, mixed as you like. With `y` and `groups`: the
        rows of all tasks in one table.

    y : array-like of shape (n_rows,) or (n_rows, n_outputs), or column name(s), default=None
        The targets of the table, or the name of the target column of a DataFrame: a string, an
        integer or a tuple. A list of names is a regression with several outputs.

    groups : array-like of shape (n_rows,) or column name(s), default=None
        Which task each row belongs to, or the name of that column of a DataFrame. Several columns
        (a list of names, a frame, a MultiIndex) make a task of each combination.

    target_type : {"class", "real"}, default=None
        Whether `y` must hold labels or numbers. With None, floating-point numbers are numbers,
        unless they are at most 10 different whole ones (in all tasks); all else are labels, and
        all tasks must hold the same.

    Returns
    -------
    tasks : tuple of Task
        In the order given; for a table, in the order in which the groups first appear, each
        named after its group.

    Raises
    ------
    TaskError
        If there are no tasks, or one of them cannot be used: no rows, NaN or infinity, features
        that are not numbers, another number of features than the first, `y` of another length, a
        query label that the support lacks, labels among numbers.

    Examples
    --------
    >>> from sklearn_meta.tasks import as_tasks
    >>> as_tasks([([[0.], [1.]], ["a", "b"]), ([[2.], [3.], [4.]], ["c", "c", "d"])])
    (Task(X: (2, 1), y: (2,)), Task(X: (3, 1), y: (3,)))
    >>> as_tasks([[0.], [1.], [2.]], y=[0.1, 0.2, 0.3], groups=["ann", "bob", "ann"])
    (Task('ann', X: (2, 1), y: (2,)), Task('bob', X: (1, 1), y: (1,)))
    """
    if target_type not in (None, "class", "real"):
        raise ValueError(
            "The 'target_type' parameter of as_tasks must be None, 'class' or 'real'. "
            f"Got {target_type!r} instead."
        )
    if y is None and groups is None:
        tasks = tuple(as_task(item, i) for i, item in enumerate(_sequence(X)))
    else:
        tasks = _from_table(X, y, groups)
    return check_tasks(tasks, target_type)


def _sequence(tasks: Any) -> Sequence[Any]:
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
    return [tasks[i] for i in range(len(tasks))]  # which may never raise an IndexError


def as_task(item: Any, index: int) -> Task:
    """Convert one item of a sequence of tasks.

    Parameters
    ----------
    item : Task, (X, y) or (X_support, y_support, X_query, y_query)
        The item.
    index : int
        Its position, for the error.

    Returns
    -------
    Task
        The very object, if it is one.

    Raises
    ------
    TaskError
        If it is none of these, or its shapes do not match.
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
        if len(item) == 2:
            return Task(*item)
        return _with_fixed_query(*item)
    except TaskError as error:
        raise type(error)(str(error).replace("A task", f"Task {index}", 1)) from None


def _with_fixed_query(X_support: Any, y_support: Any, X_query: Any, y_query: Any) -> Task:
    support = _half(X_support, y_support, "support")
    query = _half(X_query, y_query, "query")
    if support.row_shape != query.row_shape or support.y.shape[1:] != query.y.shape[1:]:
        raise TaskError(
            "A task: support and query differ in shape; got X_support of shape "
            f"{support.X.shape}, X_query of shape {query.X.shape}, y_support of shape "
            f"{support.y.shape}, y_query of shape {query.y.shape}."
        )
    if support.feature_names_in != query.feature_names_in:
        raise TaskError(
            f"A task: X_support has the feature names {support.feature_names_in}, "
            f"X_query {query.feature_names_in}."
        )
    named = (support, "A task: its support"), (query, "A task: its query")
    X, X_of_query = (as_rows(t.X, f"{name}: X", t.feature_names_in) for t, name in named)
    y, y_of_query = (as_targets(t.y, f"{name}: y") for t, name in named)
    task = Task(
        _under_one_another(X, X_of_query),
        joined_targets(y, y_of_query, "A task"),
        support=np.arange(len(support)),
    )
    task.feature_names_in = support.feature_names_in
    return task


def _half(X: Any, y: Any, name: str) -> Task:
    try:
        return Task(X, y)
    except TaskError as error:
        raise type(error)(str(error).replace("A task", f"A task: its {name}", 1)) from None


def _under_one_another(X_support: Any, X_query: Any) -> Any:
    if issparse(X_support) != issparse(X_query):
        raise TaskError("A task: X_support and X_query must both be sparse, or both dense.")
    return stacked([X_support, X_query])


def joined_targets(y_support: NDArray[Any], y_query: NDArray[Any], called: str) -> NDArray[Any]:
    """Return the targets of support and query, checked by `as_targets`, one after the other."""
    if (y_support.dtype.kind == "U") != (y_query.dtype.kind == "U"):
        raise TaskError(  # numpy would turn the numbers into strings
            f"{called}: y_support holds {y_support.dtype} and y_query {y_query.dtype}; "
            "both must hold the same kind of value."
        )
    return np.concatenate([y_support, y_query])


def _from_table(X: Any, y: Any, groups: Any) -> tuple[Task, ...]:
    if y is None or groups is None:
        lacking = "y" if y is None else "groups"
        raise TaskError(f"A table of rows needs both y= and groups=; {lacking} is missing.")
    X, y, groups = from_columns(X, y, groups)
    names, table, targets = feature_names(X), frozen_rows(X, "X"), frozen(y, "y")
    of_task = as_groups(groups)
    shapes = table.shape, targets.shape, of_task.of_row.shape
    if any(shape[:1] != shapes[-1] for shape in shapes):
        raise TaskError(
            "X, y and groups must have one entry a row; got X of shape "
            f"{shapes[0]}, y of shape {shapes[1]} and groups of shape {shapes[2]}."
        )
    if len(targets) == 0:
        raise TaskError("tasks is empty: the table has no rows.")
    tasks = _parts(table, targets, of_task)
    for task in tasks:
        task.feature_names_in = names
    return tasks


def _parts(table: Any, targets: NDArray[Any], groups: Groups) -> tuple[Task, ...]:
    """Make a task of each group, in one pass; a table that is sparse or on disk stays as it is."""
    names = [str(name) for name in groups.labels]
    if issparse(table) or on_disk(table):
        parts = zip(groups.rows(), names, strict=True)
        return tuple(Task.of_rows(table, rows, targets[rows], name) for rows, name in parts)
    if (np.diff(groups.of_row) < 0).any():
        order = np.argsort(groups.of_row, kind="stable")
        table, targets = table[order], targets[order]
    ends = groups.ends()
    spans = zip(ends - np.diff(ends, prepend=0), ends, names, strict=True)
    return tuple(Task(table[a:b], targets[a:b], name=name) for a, b, name in spans)


def validation_table(tasks: Any, y: Any, groups: Any) -> tuple[Any, Any, Any] | None:
    """Return the (X, y, groups) of validation tasks that come as a table; None if they do not.

    A table is a tuple (X, y, groups), or a frame with the columns that `y` and `groups` name in
    the table of meta-training.
    """
    check_container(tasks, "validation_tasks")
    if isinstance(tasks, tuple) and len(tasks) == 3 and _is_table(tasks[0]):
        return tasks
    if not is_frame(tasks):
        return None
    if hasattr(y, "shape") or hasattr(groups, "shape") or y is None or groups is None:
        raise TaskError(
            "validation_tasks is a frame, but y and groups of meta_fit are not names of columns. "
            "Use validation_tasks=(X, y, groups)."
        )
    return tasks, y, groups


def _is_table(X: Any) -> bool:
    return is_frame(X) or issparse(X) or isinstance(X, np.ndarray)
