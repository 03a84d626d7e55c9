"""One task T: the rows of one character, assay, patient or sensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.tables import (
    feature_names,
    frame_or_rows,
    frozen,
    rows_of,
    stays_in_place,
)
from sklearn_meta.tasks.values import as_weights

__all__ = [
    "Names",
    "Task",
    "assemble_task",
    "named_task",
    "replace_data",
    "take_rows",
    "weights_of",
    "without_zero_weights",
]

Names = tuple[str, ...] | None  # None: an array, or a frame whose columns are not all strings


class Task:
    """The data D_T of one task, and optionally the rows that are its support.

    Parameters
    ----------
    X : array-like, sparse matrix or DataFrame of shape (n_rows, n_features), or (n_rows, ...)
        The inputs, one row an observation. A sparse matrix and a :class:`numpy.memmap` are left
        where they are: each episode takes its own rows.

    y : array-like of shape (n_rows,) or (n_rows, n_outputs)
        Class labels (of any type, strings too) or real targets.

    support : array-like of int or of bool, default=None
        Positions, or a mask of length `n_rows`, of the rows to learn the task from. The other rows
        are the query. With None the rows are split anew in every episode.

    name : str, default=None
        Name of the task in errors and plots.

    sample_weight : array-like of shape (n_rows,), default=None
        Weight of each row, finite and not negative: a weight of 2 counts as two equal rows, and a
        weight of 0 as none. With None all weights are 1.

    Attributes
    ----------
    X : ndarray, csr_array or DataFrame of shape (n_rows, ...)
        The inputs. An array is a read-only view (not a copy). A DataFrame of pandas or polars
        stays one, so that the transformers of a pipeline see its columns;
        :func:`~sklearn_meta.tasks.as_tasks` converts it to an array of numbers.
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        The targets, a read-only view.
    support : ndarray of int or None
        The sorted positions of the support rows.
    sample_weight : ndarray of shape (n_rows,) or None
        The weights of the rows, read-only.
    feature_names_in : tuple of str or None
        The column names of `X`, where all of them are strings.

    Raises
    ------
    TaskError
        If `X` and `y` differ in length or are empty, or `support` points outside the rows, names
        a row twice, or leaves no query; if there is not one weight for each row, or all weights
        are zero.

    Examples
    --------
    >>> from sklearn_meta.tasks import Task
    >>> task = Task([[0.], [1.], [2.], [3.]], ["a", "a", "b", "b"], support=[0, 2], name="toy")
    >>> task
    Task('toy', X: (4, 1), y: (4,), support: 2 rows)
    >>> task.y_query
    array(['a', 'b'], dtype='<U1')
    """

    __slots__ = (
        "_chosen",
        "_table",
        "feature_names_in",
        "name",
        "sample_weight",
        "support",
        "y",
    )

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        support: ArrayLike | None = None,
        name: str | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> None:
        self.name = name
        label = "A task" if name is None else f"Task {name!r}"
        self.feature_names_in = feature_names(X, f"{label}: X")
        self._table = frame_or_rows(X, f"{label}: X")
        self._chosen: NDArray[np.intp] | None = None
        self.y = frozen(y, f"{label}: y")
        shapes = f"got X of shape {self._table.shape} and y of shape {self.y.shape}."
        if len(self._table.shape) == 0 or self.y.ndim == 0:
            raise TaskError(f"{label}: X and y must hold one entry a row; {shapes}")
        if self._table.shape[0] != len(self.y):
            raise TaskError(f"{label}: X and y must have the same number of rows; {shapes}")
        if len(self.y) == 0:
            raise TaskError(f"{label}: X of shape {self._table.shape} has no rows.")
        self.support = None if support is None else _positions(support, len(self.y), label)
        self.sample_weight: NDArray[np.float64] | None = None
        if sample_weight is not None:
            name_of_weight = f"{label}: sample_weight"
            self.sample_weight = as_weights(sample_weight, self._table.shape, name_of_weight)

    @property
    def X(self) -> Any:
        """The inputs, (n_rows, ...)."""
        return self._table if self._chosen is None else rows_of(self._table, self._chosen)

    def where(self) -> tuple[Any, NDArray[np.intp]]:
        """Return where the rows of `X` lie, without taking them.

        Returns
        -------
        table : ndarray, csr_array or DataFrame of shape (n, ...)
            A table that contains the rows, and perhaps those of other tasks.
        rows : ndarray of int of shape (n_rows,)
            Their positions in the table.
        """
        return self._table, np.arange(len(self)) if self._chosen is None else self._chosen

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of `X`, which must not be a frame."""
        dtype: np.dtype[Any] = self._table.dtype
        return dtype

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row of `X`."""
        return tuple(self._table.shape[1:])

    @property
    def X_support(self) -> Any:
        """Inputs of the fixed support rows."""
        return self._rows(self._fixed())

    @property
    def y_support(self) -> NDArray[Any]:
        """Targets of the fixed support rows."""
        return self.y[self._fixed()]

    @property
    def X_query(self) -> Any:
        """Inputs of the rows outside the fixed support."""
        return self._rows(np.delete(np.arange(len(self)), self._fixed()))

    @property
    def y_query(self) -> NDArray[Any]:
        """Targets of the rows outside the fixed support."""
        return np.delete(self.y, self._fixed(), axis=0)

    @property
    def sample_weight_support(self) -> NDArray[np.float64] | None:
        """Weights of the fixed support rows; None without weights."""
        return None if self.sample_weight is None else self.sample_weight[self._fixed()]

    @property
    def sample_weight_query(self) -> NDArray[np.float64] | None:
        """Weights of the rows outside the fixed support; None without weights."""
        return None if self.sample_weight is None else np.delete(self.sample_weight, self._fixed())

    def _fixed(self) -> NDArray[np.intp]:
        if self.support is None:
            raise TaskError(
                f"{self!r} has no fixed support. Set one, Task(X, y, support=...), "
                "or draw one with sklearn_meta.tasks.split_task(task, n_shot=...)."
            )
        return self.support

    def _rows(self, rows: NDArray[np.intp]) -> Any:
        return rows_of(self._table, rows if self._chosen is None else self._chosen[rows])

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        name = "" if self.name is None else f"{self.name!r}, "
        support = "" if self.support is None else f", support: {len(self.support)} rows"
        weights = "" if self.sample_weight is None else ", weighted"
        shape = (len(self), *self.row_shape)
        return f"Task({name}X: {shape}, y: {self.y.shape}{support}{weights})"

    def __reduce__(self) -> tuple[Any, ...]:
        parts = self.X, self.y, self.feature_names_in, self.support, self.name
        return named_task, (*parts, self.sample_weight)


def weights_of(tasks: Sequence[Task]) -> NDArray[np.float64] | None:
    """Return the weights of the rows of tasks, one task after the other; None if all are 1."""
    if all(task.sample_weight is None for task in tasks):
        return None
    weights = [task.sample_weight for task in tasks]
    ones = (np.ones(len(task)) for task in tasks)
    return np.concatenate([b if w is None else w for w, b in zip(weights, ones, strict=True)])


def named_task(
    X: Any,
    y: Any,
    feature_names: Names,
    support: Any = None,
    name: str | None = None,
    sample_weight: Any = None,
) -> Task:
    """Return a task whose columns have names that X, an array, does not know."""
    task = Task(X, y, support=support, name=name, sample_weight=sample_weight)
    task.feature_names_in = feature_names
    return task


def take_rows(task: Task, rows: NDArray[np.intp], support: Any = None) -> Task:
    """Return a task of some rows of another; `support` counts among these."""
    weight = None if task.sample_weight is None else task.sample_weight[rows]
    return named_task(
        rows_of(task.X, rows), task.y[rows], task.feature_names_in, support, task.name, weight
    )


def without_zero_weights(task: Task, input_name: str, *, keep_query: bool = False) -> Task:
    """Return a validated task without the rows of weight 0; with `keep_query`, of its support."""
    weight = task.sample_weight
    if weight is None or weight.all():
        return task
    counts = weight > 0
    if keep_query and task.support is not None:
        counts[np.delete(np.arange(len(task)), task.support)] = True
    rows, support = np.flatnonzero(counts), task.support
    if support is not None:
        support = np.flatnonzero(np.isin(rows, support))
    if support is not None and len(rows) == len(support):
        raise TaskError(
            f"{input_name}: sample_weight of shape {weight.shape} is 0 for every row of the query."
        )
    table, chosen = task.where()
    in_place = stays_in_place(table)
    return assemble_task(
        table if in_place else rows_of(task.X, rows),
        chosen[rows] if in_place else None,
        task.y[rows],
        task.feature_names_in,
        support,
        task.name,
        weight[rows],
    )


def replace_data(task: Task, X: Any, y: NDArray[Any]) -> Task:
    """Return a task with other read-only arrays: `y`, and `X` unless it is None."""
    table, chosen = (task._table, task._chosen) if X is None else (X, None)
    names, weight = task.feature_names_in, task.sample_weight
    return assemble_task(table, chosen, y, names, task.support, task.name, weight)


def assemble_task(
    table: Any,
    chosen: NDArray[np.intp] | None,  # rows of the table, which `X` takes when it is read
    y: NDArray[Any],
    columns: Names,
    support: NDArray[np.intp] | None,
    name: str | None = None,
    sample_weight: NDArray[np.float64] | None = None,
) -> Task:
    """Return a task of parts that are checked already, and read-only."""
    task = Task.__new__(Task)
    task._table, task._chosen, task.y = table, chosen, y
    task.feature_names_in, task.support, task.name = columns, support, name
    task.sample_weight = sample_weight
    return task


def _positions(support: ArrayLike, n_rows: int, label: str) -> NDArray[np.intp]:
    rows = frozen(support, f"{label}: support")
    rows = rows.astype(np.intp) if rows.shape == (0,) else rows
    if rows.ndim != 1 or rows.dtype.kind not in "biu":
        raise TaskError(
            f"{label}: support must be a one-dimensional array of row positions or a mask; "
            f"got shape {rows.shape} of {rows.dtype}."
        )
    if rows.dtype == bool:
        if len(rows) != n_rows:
            raise TaskError(
                f"{label}: a support mask must have one entry a row; "
                f"got {len(rows)} entries for {n_rows} rows."
            )
        rows = np.flatnonzero(rows)
    if len(rows) and not (-n_rows <= rows.min() and rows.max() < n_rows):
        raise TaskError(f"{label}: support points outside the task's {n_rows} rows.")
    positions = np.unique(rows.astype(np.intp) % n_rows)
    if len(positions) != len(rows):
        raise TaskError(f"{label}: support names a row twice.")
    if len(positions) == n_rows:
        raise TaskError(f"{label}: support takes all {n_rows} rows and leaves none for the query.")
    positions.flags.writeable = False
    return positions
