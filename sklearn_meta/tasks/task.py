"""One task T: the rows of one character, assay, patient or sensor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_meta.exceptions import TaskError

__all__ = ["Task", "frozen"]


class Task:
    """The data D_T of one task, and perhaps which of its rows are the support.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features) or (n_rows, ...)
        The inputs, one row an observation.

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
        The data, as read-only views of the arrays given (no copies).
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

    __slots__ = ("X", "feature_names_in", "name", "support", "y")

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
        self.feature_names_in = _feature_names(X)
        self.X = frozen(X, f"{label}: X")
        self.y = frozen(y, f"{label}: y")
        if self.X.ndim == 0 or self.y.ndim == 0:
            raise TaskError(
                f"{label}: X and y must hold one entry a row; "
                f"got X of shape {self.X.shape} and y of shape {self.y.shape}."
            )
        if len(self.X) != len(self.y):
            raise TaskError(
                f"{label}: X and y must have the same number of rows; "
                f"got X of shape {self.X.shape} and y of shape {self.y.shape}."
            )
        if len(self.X) == 0:
            raise TaskError(f"{label}: X of shape {self.X.shape} has no rows.")
        self.support = None if support is None else _positions(support, len(self.X), label)

    @property
    def X_support(self) -> NDArray[Any]:
        """Inputs of the fixed support rows."""
        return self.X[self._fixed()]

    @property
    def y_support(self) -> NDArray[Any]:
        """Targets of the fixed support rows."""
        return self.y[self._fixed()]

    @property
    def X_query(self) -> NDArray[Any]:
        """Inputs of the rows outside the fixed support."""
        return np.delete(self.X, self._fixed(), axis=0)

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

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        name = "" if self.name is None else f"{self.name!r}, "
        support = "" if self.support is None else f", support: {len(self.support)} rows"
        return f"Task({name}X: {self.X.shape}, y: {self.y.shape}{support})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.X, self.y, self.support, self.name, self.feature_names_in)


def _rebuild(X: Any, y: Any, support: Any, name: Any, feature_names: Any) -> Task:
    task = Task(X, y, support=support, name=name)
    task.feature_names_in = feature_names
    return task


def _feature_names(X: Any) -> tuple[str, ...] | None:
    columns = getattr(X, "columns", None)
    if columns is None or not all(isinstance(column, str) for column in columns):
        return None
    return tuple(columns)


def frozen(values: Any, label: str) -> NDArray[Any]:
    """View anything as a read-only array: the caller's own stays writable for the caller.

    Parameters
    ----------
    values : array-like
        Numbers, labels, or what numpy can make an array of.
    label : str
        What errors call it.

    Returns
    -------
    ndarray
        Not a copy where `values` is an array already.

    Raises
    ------
    TaskError
        If it is sparse, ragged, or no array at all.
    """
    if hasattr(values, "toarray"):
        raise TaskError(
            f"{label} is a sparse matrix of shape {values.shape}; dense data is required. "
            "Use X.toarray()."
        )
    try:
        array = np.asarray(values).view()
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors with gradients
        raise TaskError(f"{label} is not a rectangular array: {error}") from error
    array.flags.writeable = False
    return array


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
