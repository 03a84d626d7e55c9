"""Tables of rows: arrays in memory or in mapped files, sparse matrices, frames.

Frames of pandas and polars are handled without importing either of them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_meta._optional import need
from sklearn_meta.exceptions import TaskError, TaskTypeError

__all__ = [
    "NUMERIC",
    "blocks",
    "check_container",
    "columns_of",
    "dense",
    "dense_parts",
    "dtype_of_rows",
    "feature_names",
    "frame_or_rows",
    "from_columns",
    "frozen",
    "frozen_rows",
    "hashes_of_rows",
    "is_column",
    "is_frame",
    "rows_of",
    "split_array",
    "split_rows",
    "stack_rows",
    "stays_in_place",
]

NUMERIC = "biuf"  # dtype kinds
FLOAT32 = [np.dtype(kind) for kind in (np.float32, np.bool_, np.int8, np.uint8)]  # exact in it
BLOCK_SIZE = 2**20  # numbers in a block: 8 MB


# ---- kinds of table --------------------------------------------------------------------------


def is_frame(table: Any) -> bool:
    """Whether a table is a frame of pandas or polars."""
    if hasattr(table, "iloc"):  # pandas, whose Series has one too
        return len(table.shape) == 2
    return hasattr(table, "get_columns")  # polars


def is_column(values: Any) -> bool:
    """Whether values are a Series of pandas or polars."""
    if hasattr(values, "iloc"):
        return len(values.shape) == 1
    return hasattr(values, "to_list") and hasattr(values, "null_count")


def stays_in_place(table: Any) -> bool:
    """Whether a table is sparse or in a mapped file, so that its rows are taken as needed."""
    if not isinstance(table, np.ndarray):
        return sparse.issparse(table)
    while isinstance(table, np.ndarray):
        if isinstance(table, np.memmap):
            return True
        table = table.base
    return isinstance(table, mmap.mmap)


def check_container(values: Any, input_name: str) -> None:
    """Refuse tables whose rows cannot be taken by position, with an error that prints no rows."""
    library, name = type(values).__module__.partition(".")[0], type(values).__name__
    if (library, name) == ("polars", "LazyFrame"):
        raise TaskError(
            f"{input_name} is a LazyFrame of polars, which holds no rows yet. Collect it."
        )
    if (library, name) in (("pyarrow", "Table"), ("pyarrow", "RecordBatch")):
        raise TaskError(
            f"{input_name} is a {name} of pyarrow, which is not accepted. Convert it to a frame, "
            "by its method to_pandas or by polars.from_arrow."
        )


def feature_names(X: Any, input_name: str = "X") -> tuple[str, ...] | None:
    """Return the column names of a frame if all are strings, as scikit-learn does."""
    if isinstance(X, np.ndarray):
        return None
    check_container(X, input_name)
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = tuple(columns)
    strings = [isinstance(name, str) for name in names]
    if any(strings) and not all(strings):
        raise TaskTypeError(
            f"{input_name} has column names of the types "
            f"{sorted({type(name).__name__ for name in names})}. Feature names are only "
            "supported if all of them are strings. Convert them, for instance by "
            "X.columns = X.columns.astype(str)."
        )
    return names if names and all(strings) else None


# ---- a table as an array ---------------------------------------------------------------------


def frozen(values: Any, input_name: str) -> NDArray[Any]:
    """Return a read-only array, a view where `values` is an array; its values are not checked."""
    if type(values) is np.ndarray and not values.flags.writeable:
        return values
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


def dtype_of_rows(dtypes: Iterable[Any]) -> Any:
    """Return the dtype to compute in: float32 if each is float32, bytes or bool, else float64."""
    return np.float32 if all(np.dtype(dtype) in FLOAT32 for dtype in set(dtypes)) else np.float64


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


def array_of_frame(frame: Any) -> NDArray[Any]:
    """Return a frame as an array: of numbers if all columns hold them, else of objects."""
    dtypes = set(frame.dtypes)
    if dtypes and all(isinstance(dtype, np.dtype) and dtype.kind in NUMERIC for dtype in dtypes):
        return np.asarray(frame.to_numpy(dtype=np.result_type(*dtypes)))  # perhaps without a copy
    columns = columns_of(frame)
    if not columns:
        return np.empty(frame.shape, object)
    arrays = [array_of_column(column) for column in columns]
    parts = zip(arrays, columns, strict=True)
    return np.stack([a if a.dtype.kind in NUMERIC else _objects(c) for a, c in parts]).T


def columns_of(frame: Any) -> list[Any]:
    """Return the columns of a frame as Series."""
    if hasattr(frame, "iloc"):
        return [frame.iloc[:, j] for j in range(frame.shape[1])]
    return list(frame.get_columns())


def array_of_column(column: Any) -> NDArray[Any]:
    """Return a Series as an array of its own type; one with missing values as objects."""
    if not hasattr(column, "iloc"):  # polars
        dtype = column.dtype
        numbers = dtype.is_numeric() and not dtype.is_decimal()
        if (numbers or str(dtype) == "Boolean") and not column.null_count():
            return np.asarray(column.to_numpy())
        return _objects(column)
    if isinstance(column.dtype, np.dtype):
        return np.asarray(column)
    if column.isna().any():
        return _objects(column)
    numpy_dtype = getattr(column.dtype, "numpy_dtype", None)  # of nullable and pyarrow types
    if numpy_dtype is not None and numpy_dtype.kind in NUMERIC:
        return np.asarray(column.to_numpy(dtype=numpy_dtype))
    array = np.asarray(column)  # of categories, say
    return array if array.dtype.kind in NUMERIC else _objects(column)


def _objects(column: Any) -> NDArray[Any]:
    """Return the values of a Series as objects: dates as dates, not as the integers behind them."""
    if hasattr(column, "iloc"):
        return np.asarray(column.astype(object).to_numpy())
    return np.fromiter(column.to_list(), dtype=object, count=len(column))


# ---- rows ------------------------------------------------------------------------------------


def rows_of(table: Any, rows: NDArray[np.intp]) -> Any:
    """Take rows of an array or a frame by their positions."""
    return table.iloc[rows] if hasattr(table, "iloc") else table[rows]


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


def split_rows(
    table: Any, groups: Sequence[NDArray[np.intp]]
) -> list[tuple[Any, NDArray[np.intp] | None]]:
    """Return the rows of each group as (rows, None), or as (table, their positions in it).

    The latter are sparse rows and those in mapped files, which are not copied.
    """
    if stays_in_place(table):
        return [(table, rows) for rows in groups]
    if is_frame(table) or is_column(table):  # copies, because transformers may change them
        return [(rows_of(table, rows), None) for rows in groups]
    return [(part, None) for part in split_array(table, groups)]


def split_array(array: NDArray[Any], groups: Sequence[NDArray[np.intp]]) -> Sequence[NDArray[Any]]:
    """Return the rows of each group as views of the array, or of one copy in their order."""
    order = np.concatenate(groups)
    if (np.diff(order) < 0).any():
        array = frozen(array[order], "the rows")
    return np.split(array, np.cumsum([len(rows) for rows in groups])[:-1])


def blocks(rows: Any) -> Iterator[Any]:
    """Yield views of rows small enough to compute with; sparse rows are one block."""
    if rows.size <= BLOCK_SIZE or sparse.issparse(rows):
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


def hashes_of_rows(rows: Any) -> list[int]:
    """Return a hash of each row, of some 1000 of its numbers where it has more."""
    if sparse.issparse(rows):  # a csr_array without duplicates
        parts = [(rows.indices[a:b], rows.data[a:b]) for a, b in pairwise(rows.indptr)]
        return [hash((*map(bytes, part),)) for part in parts]
    array = dense(rows).reshape(len(rows), -1)
    array = np.ascontiguousarray(array[:, :: max(1, array.shape[1] // 1000)])
    if array.dtype.kind not in NUMERIC:
        return [hash((*map(str, row),)) for row in array]
    return [hash(row.tobytes()) for row in array]


# ---- columns by name -------------------------------------------------------------------------


def from_columns(X: Any, *arguments: Any) -> tuple[Any, ...]:
    """Replace column names in arguments such as `y` by these columns, which X then lacks.

    Return X and the arguments; values are returned as they are, several columns as a frame.
    """
    check_container(X, "X")
    positions = [_positions_named(X, values) for values in arguments]
    arguments = tuple(
        values if place is None else _take_columns(X, place if len(place) > 1 else place[0])
        for values, place in zip(arguments, positions, strict=True)
    )
    used = {j for place in positions if place is not None for j in place}
    if used:
        X = _take_columns(X, [j for j in range(X.shape[1]) if j not in used])
    return X, *arguments


def _take_columns(frame: Any, positions: int | list[int]) -> Any:
    return frame.iloc[:, positions] if hasattr(frame, "iloc") else frame[:, positions]


def _positions_named(X: Any, names: Any) -> list[int] | None:
    """Return the positions of the columns of a frame that `names` names; None if it holds values.

    A name is a string, an integer or a tuple. A list of different names stands for several
    columns, but as many integers as X has rows are values.
    """
    integer = (int, np.integer)
    scalar = isinstance(names, (str, *integer)) and not isinstance(names, bool)
    if not is_frame(X):
        if isinstance(names, str):
            raise TaskError(
                f"{names!r} must be the name of a column of a DataFrame, which X is not: got "
                f"{type(X).__name__}."
            )
        return None
    columns = list(X.columns)
    if scalar or (isinstance(names, tuple) and names in columns):
        return [_position(columns, names)]
    if not isinstance(names, (list, tuple)) or not len(names):
        return None
    if len(names) == X.shape[0] and all(isinstance(name, integer) for name in names):
        return None
    if all(isinstance(name, (str, tuple, *integer)) for name in names):
        exists = [name in columns for name in names]
        if all(exists) and len(set(names)) == len(names):
            return [_position(columns, name) for name in names]
        if any(exists) and not all(exists) and len(names) != X.shape[0]:
            return [_position(columns, names[exists.index(False)])]
    return None


def _position(columns: list[Any], name: Any) -> int:
    if name not in columns:
        listed = f"{columns[:20]}"[:-1] + (", ...]" if len(columns) > 20 else "]")
        raise TaskError(f"The table has no column {name!r}; it has {listed}.")
    if (count := columns.count(name)) > 1:
        raise TaskError(f"The table has {count} columns named {name!r}.")
    return columns.index(name)
