"""Rows wherever they are: in memory, in a file that is mapped, in a sparse matrix."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.frames import (
    array_of_column,
    array_of_frame,
    check_container,
    is_column,
    is_frame,
)

__all__ = ["blocks", "dense", "dense_parts", "frozen", "frozen_rows", "on_disk", "stacked"]

AT_ONCE = 2**20  # numbers in a block: 8 MB


def frozen(values: Any, label: str) -> NDArray[Any]:
    """Return anything as a read-only array: a view of it where it is an array already.

    What the array holds is not looked at: `tasks.values` does that.
    """
    if isinstance(values, np.ndarray):
        array = np.asarray(values).view()
        array.flags.writeable = False
        return array
    check_container(values, label)
    if hasattr(values, "toarray"):
        raise TaskError(
            f"{label} is a sparse matrix of shape {values.shape}; only X may be sparse."
        )
    try:
        array = _array(values).view()
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors with gradients
        raise TaskError(f"{label} is not a rectangular array: {error}") from error
    array.flags.writeable = False
    return array


def _array(values: Any) -> NDArray[Any]:
    if is_frame(values):
        return array_of_frame(values)
    if is_column(values):
        return array_of_column(values)
    array = np.asarray(values)
    if array.dtype.kind in "US" and isinstance(values, (list, tuple)):
        objects = np.asarray(values, dtype=object)
        kinds = set(map(type, objects.ravel().tolist()))
        if len(kinds) > 1 and not all(issubclass(kind, str) for kind in kinds):
            return objects  # numpy has turned numbers, or NaN, into strings
    return array


def frozen_rows(values: Any, label: str) -> Any:
    """View rows as a read-only array, or as a sparse one.

    Parameters
    ----------
    values : array-like or sparse matrix of shape (n_rows, ...)
        The rows.
    label : str
        What errors call them.

    Returns
    -------
    ndarray or csr_array
        Not a copy where `values` is an array, or sparse by rows without duplicates.

    Raises
    ------
    TaskError
        If it is ragged, or no array at all; if it is sparse and has not two axes.
    """
    if not sparse.issparse(values):
        return frozen(values, label)
    if values.ndim != 2:
        raise TaskError(f"{label} is sparse and must be (n_rows, n_features); got {values.shape}.")
    by_rows = sparse.csr_array(values)
    if not by_rows.has_canonical_format:  # an entry given twice counts as their sum
        by_rows = by_rows.copy()
        by_rows.sum_duplicates()
    parts = (frozen(part, label) for part in (by_rows.data, by_rows.indices, by_rows.indptr))
    return sparse.csr_array(tuple(parts), shape=by_rows.shape)


def dense(rows: Any, dtype: Any = None) -> NDArray[Any]:
    """Give rows as an array.

    Parameters
    ----------
    rows : ndarray or sparse matrix of shape (n_rows, ...)
        As they are kept.
    dtype : dtype, default=None
        Of the result; None: as it is.

    Returns
    -------
    ndarray of shape (n_rows, ...)
        Not a copy where there is nothing to do.
    """
    array = rows.toarray() if sparse.issparse(rows) else np.asarray(rows)
    return array if dtype is None else array.astype(dtype, copy=False)


def stacked(parts: Sequence[Any]) -> Any:
    """Stack rows; the result is sparse if all parts are."""
    if all(sparse.issparse(part) for part in parts):
        return sparse.vstack(parts, format="csr")
    return np.concatenate([dense(part) for part in parts])


def on_disk(rows: Any) -> bool:
    """Whether rows lie in a mapped file, which is not to be copied to memory as a whole.

    Parameters
    ----------
    rows : ndarray or sparse matrix
        As they are kept.

    Returns
    -------
    bool
        True for :class:`numpy.memmap` and views of one.
    """
    while isinstance(rows, np.ndarray):
        if isinstance(rows, np.memmap):
            return True
        rows = rows.base
    return isinstance(rows, mmap.mmap)


def blocks(rows: Any) -> Iterator[Any]:
    """Go through rows in blocks that are small enough for what is computed of them.

    Parameters
    ----------
    rows : ndarray or csr_array of shape (n_rows, ...)
        As they are kept; a sparse array is one block.

    Yields
    ------
    ndarray or csr_array
        Views.
    """
    if sparse.issparse(rows):
        yield rows
        return
    step = max(1, AT_ONCE // max(1, rows[:1].size))
    for begin in range(0, len(rows), step):
        yield rows[begin : begin + step]


def dense_parts(rows: Any, *, whole: bool) -> Iterator[NDArray[Any]]:
    """Give rows as arrays: sparse ones a part at a time, so that they never are all dense.

    Parameters
    ----------
    rows : ndarray or sparse matrix of shape (n_rows, ...)
        As they are kept.
    whole : bool
        Whether they must stay together.

    Yields
    ------
    ndarray of shape (n, ...)
        One after the other; an array as it is.
    """
    if whole or not sparse.issparse(rows):
        yield dense(rows)
        return
    step = max(1, AT_ONCE // rows.shape[1])
    for begin in range(0, rows.shape[0], step):
        yield dense(rows[begin : begin + step])
