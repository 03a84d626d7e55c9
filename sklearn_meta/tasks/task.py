"""One task T: the rows of one character, assay, patient or sensor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.arrays import frozen, frozen_rows

__all__ = ["Task", "feature_names"]


class Task:
    """The data D_T of one task, and perhaps which of its rows are the support.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
        The inputs, one row an observation. A sparse matrix and a :class:`numpy.memmap` are left
        where they are: each episode takes its own rows.

    y : array-like of shape (n_rows,) or (n_rows, n_outputs)
        Class labels (of any kind, strings too) or real targets.

    support : array-like of int or of bool, default=None
        Positions, or a mask of length `n_rows`, of the rows to learn the task from; the others
        are the query. With None the rows are split anew in every episode.

    name : str, default=None
        What errors and plots call the task.

    Attributes
    ----------
    X, y : ndarray
        The data, as read-only views of the arrays given (no copies). A sparse `X` is a
        :class:`scipy.sparse.csr_array`.
    support : ndarray of int or None
        The sorted positions of the support rows.
    feature_names_in : tuple of str or None
        Column names, where `X` had only string ones.

    Raises
    ------
    TaskError
        If `X` and `y` differ in length or are empty, or `support` points outside the rows, names
        a row twice, or leaves no support or no query.

    Examples
    --------
    >>> from sklearn_meta.tasks import Task
    >>> task = Task([[0.], [1.], [2.], [3.]], ["a", "a", "b", "b"], support=[0, 2], name="toy")
    >>> task
    Task('toy', X: (4, 1), y: (4,), support: 2 rows)
    >>> task.y_query
    array(['a', 'b'], dtype='<U1')
    """

    __slots__ = ("_chosen", "_table", "feature_names_in", "name", "support", "y")

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        support: ArrayLike | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name
        label = "A task" if name is None else f"Task {name!r}"
        self.feature_names_in = feature_names(X)
        self._table = frozen_rows(X, f"{label}: X")
        self._chosen: NDArray[np.intp] | None = None
        self.y = frozen(y, f"{label}: y")
        shapes = f"got X of shape {self._table.shape} and y of shape {self.y.shape}."
        if self._table.ndim == 0 or self.y.ndim == 0:
            raise TaskError(f"{label}: X and y must hold one entry a row; {shapes}")
        if self._table.shape[0] != len(self.y):
            raise TaskError(f"{label}: X and y must have the same number of rows; {shapes}")
        if len(self.y) == 0:
            raise TaskError(f"{label}: X of shape {self._table.shape} has no rows.")
        self.support = None if support is None else _positions(support, len(self.y), label)

    @classmethod
    def of_rows(cls, table: Any, rows: NDArray[np.intp], y: ArrayLike, name: str | None) -> Task:
        """Make a task of some rows of a table, which are not copied.

        Parameters
        ----------
        table : ndarray or csr_array of shape (n, ...)
            Kept as it is; `X` takes the rows out of it whenever it is asked for.
        rows : ndarray of int of shape (n_rows,)
            Positions in it.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
            Their targets.
        name : str or None
            What errors call the task.

        Returns
        -------
        Task
            Without a fixed support.
        """
        task = cls(table[rows[:1]], np.asarray(y)[:1], name=name)
        task._table, task._chosen, task.y = table, rows, frozen(y, "y")
        return task

    @property
    def X(self) -> Any:
        """The inputs, (n_rows, ...)."""
        return self._table if self._chosen is None else self._table[self._chosen]

    def where(self) -> tuple[Any, NDArray[np.intp]]:
        """Say where the rows of `X` lie, without taking them.

        Returns
        -------
        table : ndarray or csr_array of shape (n, ...)
            A table that has them, and maybe those of other tasks.
        rows : ndarray of int of shape (n_rows,)
            Their positions in it.
        """
        return self._table, np.arange(len(self)) if self._chosen is None else self._chosen

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of `X`."""
        found: np.dtype[Any] = self._table.dtype
        return found

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

    def _fixed(self) -> NDArray[np.intp]:
        if self.support is None:
            raise TaskError(
                f"{self!r} has no fixed support. Give it one, Task(X, y, support=...), "
                "or draw one with sklearn_meta.tasks.split_task(task, n_shot=...)."
            )
        return self.support

    def _rows(self, rows: NDArray[np.intp]) -> Any:
        return self._table[rows if self._chosen is None else self._chosen[rows]]

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        name = "" if self.name is None else f"{self.name!r}, "
        support = "" if self.support is None else f", support: {len(self.support)} rows"
        shape = (len(self), *self.row_shape)
        return f"Task({name}X: {shape}, y: {self.y.shape}{support})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.X, self.y, self.support, self.name, self.feature_names_in)


def _rebuild(X: Any, y: Any, support: Any, name: Any, feature_names: Any) -> Task:
    task = Task(X, y, support=support, name=name)
    task.feature_names_in = feature_names
    return task


def feature_names(X: Any) -> tuple[str, ...] | None:
    """Return the names of the columns; None, as for scikit-learn, unless all are strings."""
    names = tuple(getattr(X, "columns", ()))
    return names if names and all(isinstance(name, str) for name in names) else None


def _positions(support: ArrayLike, n_rows: int, label: str) -> NDArray[np.intp]:
    given = frozen(support, f"{label}: support")
    given = given.astype(np.intp) if given.shape == (0,) else given
    if given.ndim != 1 or given.dtype.kind not in "biu":
        raise TaskError(
            f"{label}: support must be a one-dimensional array of row positions or a mask; "
            f"got shape {given.shape} of {given.dtype}."
        )
    if given.dtype == bool:
        if len(given) != n_rows:
            raise TaskError(
                f"{label}: a support mask must have one entry a row; "
                f"got {len(given)} entries for {n_rows} rows."
            )
        given = np.flatnonzero(given)
    if len(given) and not (-n_rows <= given.min() and given.max() < n_rows):
        raise TaskError(f"{label}: support points outside the task's {n_rows} rows.")
    positions = np.unique(given.astype(np.intp) % n_rows)
    if len(positions) != len(given):
        raise TaskError(f"{label}: support names a row twice.")
    if len(positions) == 0:
        raise TaskError(f"{label}: support is empty; at least one row is needed to adapt.")
    if len(positions) == n_rows:
        raise TaskError(f"{label}: support takes all {n_rows} rows and leaves none for the query.")
    positions.flags.writeable = False
    return positions
