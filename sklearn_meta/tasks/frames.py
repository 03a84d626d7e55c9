"""Frames of pandas and of polars, by what both can do: neither is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError

__all__ = ["from_columns", "is_frame", "missing", "rows_of", "without"]


def is_frame(table: Any) -> bool:
    """Whether rows are to be taken from it as from a frame, so that it keeps its columns.

    Parameters
    ----------
    table : object
        An array, or a frame of pandas or polars.

    Returns
    -------
    bool
        False for an array.
    """
    return hasattr(table, "iloc") or hasattr(table, "get_columns")  # pandas; polars


def rows_of(table: Any, rows: NDArray[np.intp]) -> Any:
    """Take rows by their positions.

    Parameters
    ----------
    table : ndarray or frame of shape (n_rows, ...)
        Of pandas, of polars, or an array.
    rows : ndarray of int
        Positions.

    Returns
    -------
    ndarray or frame of shape (len(rows), ...)
        Of the same kind.
    """
    return table.iloc[rows] if hasattr(table, "iloc") else table[rows]


def without(frame: Any, names: Sequence[str]) -> Any:
    """Leave columns out.

    Parameters
    ----------
    frame : frame of shape (n_rows, n_columns)
        Of pandas or of polars.
    names : sequence of str
        Columns that it has.

    Returns
    -------
    frame of shape (n_rows, n_columns - len(names))
        Of the same kind.
    """
    return frame.drop(columns=names) if hasattr(frame, "iloc") else frame.drop(names)


def missing(values: Any) -> NDArray[np.bool_]:
    """Say which entries are missing: None, NaN, NaT, pandas' NA, the nulls of polars.

    Parameters
    ----------
    values : array-like of shape (n,) or (n, k)
        Numbers or labels.

    Returns
    -------
    ndarray of bool of the same shape
        True where there is none.
    """
    if hasattr(values, "isna"):  # pandas' NA has no truth value
        return np.asarray(values.isna(), dtype=bool)
    array = np.asarray(values)
    absent = [value is None or value != value for value in array.ravel()]  # only NaN, NaT
    return np.array(absent, dtype=bool).reshape(array.shape)


def from_columns(X: Any, y: Any, groups: Any) -> tuple[Any, Any, Any]:
    """Look up targets and tasks that are named by their columns, and leave those out.

    Parameters
    ----------
    X : ndarray or frame of shape (n_rows, ...)
        A frame, where a name is given.
    y, groups : array-like of shape (n_rows,) or str
        Themselves, or the names of columns.

    Returns
    -------
    X, y, groups
        Without these columns, and what they hold.

    Raises
    ------
    TaskError
        If there is no such column, or several.
    """
    named = [name for name in (y, groups) if isinstance(name, str)]
    if not named:
        return X, y, groups
    if not hasattr(X, "columns"):
        raise TaskError(
            f"{' and '.join(map(repr, named))} must be of a DataFrame, which X is not: "
            f"got {type(X).__name__}."
        )
    for name in named:
        if name not in X.columns:
            raise TaskError(f"The table has no column {name!r}; it has {list(X.columns)}.")
        if len(X[name].shape) > 1:
            raise TaskError(f"The table has {X[name].shape[1]} columns named {name!r}.")
    y, groups = (X[v] if isinstance(v, str) else v for v in (y, groups))
    return without(X, named), y, groups
