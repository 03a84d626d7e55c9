"""Frames of pandas and polars, without importing either of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError, TaskTypeError

__all__ = [
    "array_of_frame",
    "check_container",
    "columns_of",
    "feature_names",
    "from_columns",
    "is_column",
    "is_frame",
    "is_missing",
    "missing",
    "rows_of",
]

NUMERIC = "biuf"  # dtype kinds


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


def rows_of(table: Any, rows: NDArray[np.intp]) -> Any:
    """Take rows of an array or a frame by their positions."""
    return table.iloc[rows] if hasattr(table, "iloc") else table[rows]


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT, or NA of pandas."""
    if value is None:
        return True
    try:
        return bool(value != value)  # only NaN and NaT differ from themselves
    except TypeError:  # NA of pandas has no truth value
        return True
    except (ValueError, ArithmeticError):  # an array among objects; a signalling Decimal
        return False


def missing(values: Any) -> NDArray[np.bool_]:
    """Return which entries of labels, targets or groups are missing."""
    if hasattr(values, "isna"):
        return np.asarray(values.isna(), dtype=bool)
    array = np.asarray(values)
    if array.dtype.kind not in "OT":
        return np.asarray(array != array)
    return np.array([is_missing(value) for value in array.ravel()], bool).reshape(array.shape)


def from_columns(X: Any, y: Any, groups: Any) -> tuple[Any, Any, Any]:
    """Replace column names in `y` and `groups` by these columns, which X then lacks.

    Values are returned as they are, several columns as a frame.
    """
    check_container(X, "X")
    positions = [_positions_named(X, values) for values in (y, groups)]
    y, groups = (
        values if place is None else _take_columns(X, place if len(place) > 1 else place[0])
        for values, place in zip((y, groups), positions, strict=True)
    )
    used = {j for place in positions if place is not None for j in place}
    if used:
        X = _take_columns(X, [j for j in range(X.shape[1]) if j not in used])
    return X, y, groups


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
