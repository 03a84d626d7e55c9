"""Rows wherever they are: in memory, in a mapped file, in a sparse matrix, in a frame."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_meta._optional import need
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.frames import (
    array_of_column,
    array_of_frame,
    check_container,
    is_column,
    is_frame,
)

__all__ = [
    "blocks",
    "dense",
    "dense_parts",
    "frame_or_rows",
    "frozen",
    "frozen_rows",
    "on_disk",
    "stack_rows",
]

BLOCK_SIZE = 2**20  # numbers in a block: 8 MB


def frozen(values: Any, input_name: str) -> NDArray[Any]:
    """Return a read-only array, a view where `values` is an array; its values are not checked."""
    if isinstance(values, np.ndarray):
        array = np.asarray(values).view()
        array.flags.writeable = False
        return array
    check_container(values, input_name)
    if hasattr(values, "toarray"):
        raise TaskError(
            f"{input_name} is a sparse matrix of shape {values.shape}; only X may be sparse."
        )
    try:
        array = _as_array(values).view()
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors with gradients
        raise TaskError(f"{input_name} is not a rectangular array: {error}") from error
    array.flags.writeable = False
    return array


def _as_array(values: Any) -> NDArray[Any]:
    if is_frame(values):
        return array_of_frame(values)
    if is_column(values):
        return array_of_column(values)
    array = np.asarray(values)
    if array.dtype.kind in "US" and isinstance(values, (list, tuple)):
        objects = np.asarray(values, dtype=object)
        types = set(map(type, objects.ravel().tolist()))
        if len(types) > 1 and not all(issubclass(type_, str) for type_ in types):
            return objects  # numpy has turned numbers, or NaN, into strings
    return array


def frozen_rows(X: Any, input_name: str) -> Any:
    """Return rows as a read-only array, or as a csr_array without duplicates."""
    if not sparse.issparse(X):
        return frozen(X, input_name)
    if X.ndim != 2:
        raise TaskError(f"{input_name} is sparse and must be (n_rows, n_features); got {X.shape}.")
    by_rows = sparse.csr_array(X)
    if not by_rows.has_canonical_format:  # duplicate entries count as their sum
        by_rows = by_rows.copy()
        by_rows.sum_duplicates()
    parts = (frozen(part, input_name) for part in (by_rows.data, by_rows.indices, by_rows.indptr))
    return sparse.csr_array(tuple(parts), shape=by_rows.shape)


def frame_or_rows(X: Any, input_name: str) -> Any:
    """Return a frame (or a Series) as it is, and all else as `frozen_rows` does."""
    return X if is_frame(X) or is_column(X) else frozen_rows(X, input_name)


def dense(rows: Any, dtype: Any = None) -> NDArray[Any]:
    """Return rows as an array, without a copy where there is nothing to convert."""
    array = rows.toarray() if hasattr(rows, "toarray") else _as_array(rows)
    return array if dtype is None else array.astype(dtype, copy=False)


def stack_rows(parts: Sequence[Any]) -> Any:
    """Stack rows: frames to a frame, sparse rows to a csr_array, all else to an array."""
    if all(hasattr(part, "iloc") for part in parts):
        return need("pandas", "pandas", "Stacking frames").concat(parts)
    if all(is_frame(part) for part in parts):
        try:
            return reduce(lambda upper, lower: upper.vstack(lower), parts)
        except Exception as error:  # of polars, which is not imported here
            reason = str(error).splitlines()[0]
            raise TaskError(
                f"The frames of the tasks cannot be stacked: {reason}. Their columns must have the "
                "same types, in frames of the same library."
            ) from error
    if all(sparse.issparse(part) for part in parts):
        return sparse.vstack(parts, format="csr")
    return np.concatenate([dense(part) for part in parts])


def on_disk(rows: Any) -> bool:
    """Whether rows are a :class:`numpy.memmap`, or a view of one, not to be copied to memory."""
    while isinstance(rows, np.ndarray):
        if isinstance(rows, np.memmap):
            return True
        rows = rows.base
    return isinstance(rows, mmap.mmap)


def blocks(rows: Any) -> Iterator[Any]:
    """Yield views of rows small enough to compute with; sparse rows are one block."""
    if sparse.issparse(rows) or rows.size <= BLOCK_SIZE:
        yield rows
        return
    step = max(1, BLOCK_SIZE // rows[:1].size)
    for begin in range(0, len(rows), step):
        yield rows[begin : begin + step]


def dense_parts(rows: Any, *, whole: bool) -> Iterator[NDArray[Any]]:
    """Yield rows as arrays: sparse rows a part at a time, unless they must stay together."""
    if whole or not sparse.issparse(rows):
        yield dense(rows)
        return
    step = max(1, BLOCK_SIZE // rows.shape[1])
    for begin in range(0, rows.shape[0], step):
        yield dense(rows[begin : begin + step])
