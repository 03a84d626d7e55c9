"""Tasks before their transformers: frames with gaps and categories, which `Task` would refuse."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from sklearn_meta._optional import need
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task, TaskDistribution, split_task
from sklearn_meta.tasks.arrays import frozen, stacked
from sklearn_meta.tasks.convert import joined_targets
from sklearn_meta.tasks.frames import (
    check_container,
    feature_names,
    from_columns,
    is_column,
    is_frame,
    rows_of,
)
from sklearn_meta.tasks.validate import label
from sklearn_meta.tasks.values import as_groups, as_targets

__all__ = [
    "RawTask",
    "as_array",
    "as_it_comes",
    "check_columns",
    "columns_of",
    "raw_tasks",
    "stack_rows",
    "transformed_alone",
]


class RawTask(NamedTuple):
    """A task whose X may be a DataFrame, and hold anything."""

    X: Any
    y: NDArray[Any]
    support: NDArray[np.intp] | None
    name: str | None

    @property
    def X_support(self) -> Any:
        """Inputs of the fixed support, or of all rows where there is none."""
        return self.X if self.support is None else rows_of(self.X, self.support)

    @property
    def y_support(self) -> NDArray[Any]:
        """Targets of the fixed support, or of all rows where there is none."""
        return self.y if self.support is None else self.y[self.support]

    @property
    def X_query(self) -> Any:
        """Inputs of the rows outside the support."""
        return rows_of(self.X, self._query())

    @property
    def y_query(self) -> NDArray[Any]:
        """Targets of the rows outside the support."""
        return self.y[self._query()]

    def _query(self) -> NDArray[np.intp]:
        rows = np.arange(len(self.y))
        return rows[:0] if self.support is None else np.delete(rows, self.support)

    def split(self, **how: Any) -> RawTask:
        """Draw a support where there is none.

        Parameters
        ----------
        **how : dict
            Of :func:`~sklearn_meta.tasks.split_task`.

        Returns
        -------
        RawTask
            With a support.
        """
        if self.support is not None:
            return self
        rows = Task(np.zeros((len(self.y), 1)), self.y, name=self.name)
        return self._replace(support=split_task(rows, **how).support)


def raw_tasks(tasks: Any, y: Any = None, groups: Any = None) -> list[RawTask]:
    """Take tasks apart in any spelling, without looking at what X holds.

    Parameters
    ----------
    tasks, y, groups
        As :func:`~sklearn_meta.tasks.as_tasks` takes them.

    Returns
    -------
    list of RawTask
        In the order given; for a table, in the order in which the groups first appear.

    Raises
    ------
    TaskError
        If they are not tasks, or differ in length.
    """
    if isinstance(tasks, TaskDistribution):
        raise TaskError(f"MetaPipeline transforms tasks that are there; got {tasks!r}.")
    if y is None and groups is None:
        if not isinstance(tasks, Sequence) or isinstance(tasks, str):
            raise TaskError(
                "tasks must be a sequence of Task, (X, y) or (X_support, y_support, X_query, "
                f"y_query), or a table with y= and groups=; got {type(tasks).__name__}."
            )
        if len(tasks) == 0:
            raise TaskError("tasks is empty; at least one task is needed.")
        return _alike([_raw(task, i) for i, task in enumerate(tasks)])
    if y is None or groups is None:
        missing = "y" if y is None else "groups"
        raise TaskError(f"A table of rows needs both y= and groups=; {missing} is missing.")
    X, y, of_task = from_columns(tasks, y, groups)
    X, y, of_task = as_it_comes(X), as_targets(y, "y"), as_groups(of_task)
    if not X.shape[0] == len(y) == len(of_task.of_row):
        raise TaskError(
            f"X, y and groups must have one entry a row; got X of shape {X.shape}, y of shape "
            f"{y.shape} and groups of shape {of_task.of_row.shape}."
        )
    if len(y) == 0:
        raise TaskError("tasks is empty: the table has no rows.")
    parts = zip(of_task.rows(), of_task.labels, strict=True)
    return [RawTask(rows_of(X, rows), y[rows], None, str(name)) for rows, name in parts]


def columns_of(tasks: Sequence[RawTask]) -> tuple[str, ...] | None:
    """Return the names of the columns of the first task whose columns have names."""
    names = map(feature_names, (task.X for task in tasks))
    return next((some for some in names if some is not None), None)


def check_columns(X: Any, expected: tuple[str, ...] | None, called: str, of: str) -> None:
    """Refuse columns of other names or in another order, as arrays would take them for the same.

    Parameters
    ----------
    X : array or frame of shape (n_rows, ...)
        What is given.
    expected : tuple of str or None
        None: not known.
    called, of : str
        What errors call it, and what the expected ones are of.

    Raises
    ------
    TaskError
        If both have names, and not the same.
    """
    names = feature_names(X)
    if names and expected and names != expected:
        raise TaskError(f"{called} has the columns {names}, but those of {of} are {expected}.")


def _alike(tasks: list[RawTask]) -> list[RawTask]:
    first, names = np.shape(tasks[0].X), columns_of(tasks)
    for i, task in enumerate(tasks):
        check_columns(task.X, names, f"Task {i}: X", "task 0")
        if np.shape(task.X)[1:] != first[1:]:
            raise TaskError(
                f"Task {i}: X has rows of shape {np.shape(task.X)[1:]}, those of task 0 have shape "
                f"{first[1:]} (X of shape {np.shape(task.X)} against {first})."
            )
    return tasks


def _raw(task: Any, i: int) -> RawTask:
    if isinstance(task, RawTask):
        return task
    if isinstance(task, Task):
        y = as_targets(task.y, f"{label(task, i)}: y")
        return RawTask(_with_names(task), y, task.support, task.name)
    if not isinstance(task, (tuple, list)) or len(task) not in (2, 4):
        raise TaskError(
            f"Task {i} must be a Task, (X, y) or (X_support, y_support, X_query, y_query); "
            f"got {type(task).__name__}."
        )
    if len(task) == 2:
        return RawTask(*_rows(task[0], task[1], f"Task {i}:"), None, None)
    X, y = _rows(task[0], task[1], f"Task {i}: its support:")
    X_query, y_query = _rows(task[2], task[3], f"Task {i}: its query:")
    check_columns(X_query, feature_names(X), f"Task {i}: X_query", "X_support")
    both = stack_rows([X, X_query]), joined_targets(y, y_query, f"Task {i}")
    return RawTask(*both, np.arange(len(y)), None)


def _rows(X: Any, y: Any, called: str) -> tuple[Any, NDArray[Any]]:
    """Hold X against y before any task is stacked on another, which would hide the difference."""
    X, y = as_it_comes(X), as_targets(y, f"{called} y")
    n_rows = np.shape(X)[:1]
    if n_rows != y.shape[:1] or n_rows in ((), (0,)):
        raise TaskError(
            f"{called} X and y must have the same number of rows, one or more; got X of shape "
            f"{np.shape(X)} and y of shape {y.shape}."
        )
    return X, y


def stack_rows(parts: Sequence[Any]) -> Any:
    """Put the rows of tasks under one another.

    Parameters
    ----------
    parts : sequence of array or DataFrame
        Of the same columns.

    Returns
    -------
    array or DataFrame
        Of all rows.

    Raises
    ------
    TaskError
        If frames of polars differ in the types of their columns, or are not of one library.
    """
    if all(hasattr(part, "iloc") for part in parts):
        import pandas as pd  # frames came in, so it is there

        return pd.concat(parts)
    if all(is_frame(part) for part in parts):  # of polars
        try:
            return reduce(lambda upper, lower: upper.vstack(lower), parts)
        except Exception as error:  # of polars, which is not imported here
            told = str(error).splitlines()[0]
            raise TaskError(
                f"The frames of the tasks cannot be put under one another: {told}. Give their "
                "columns the same types, in frames of the same library."
            ) from error
    return stacked(parts)


def as_it_comes(X: Any) -> Any:
    """Take X as a frame, as sparse rows, or as an array."""
    check_container(X, "X")
    return csr_array(X) if issparse(X) else X if is_frame(X) or is_column(X) else np.asarray(X)


def _with_names(task: Task) -> Any:
    """Give X the column names that it came with."""
    if task.feature_names_in is None:
        return task.X
    pd = need("pandas", "pandas", "A Task with column names in a MetaPipeline")
    return pd.DataFrame(np.array(task.X), columns=list(task.feature_names_in)).infer_objects()


def transformed_alone(transformers: Any, task: RawTask) -> NDArray[Any]:
    """Fit transformers on the support of a task, as `fit` does, and apply them to its query.

    Parameters
    ----------
    transformers : Pipeline
        That nothing has fitted.
    task : RawTask
        Without a fixed support, they are fitted on all its rows.

    Returns
    -------
    ndarray of shape (n_rows, ...)
        In the order of the task.
    """
    Z = as_array(transformers.fit_transform(task.X_support, task.y_support))
    if task.support is None:
        return Z
    query = np.delete(np.arange(len(task.y)), task.support)
    both = np.concatenate([Z, as_array(transformers.transform(task.X_query))])
    return both[np.argsort(np.concatenate([task.support, query]))]


def as_array(Z: Any) -> NDArray[Any]:
    """Take what transformers give as a dense array.

    Parameters
    ----------
    Z : ndarray, sparse matrix or frame of shape (n_rows, ...)
        Transformed rows.

    Returns
    -------
    ndarray of shape (n_rows, ...)
        Dense.
    """
    return Z.toarray() if hasattr(Z, "toarray") else frozen(Z, "X")
