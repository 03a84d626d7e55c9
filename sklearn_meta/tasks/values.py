"""Checks of X, y, groups and weights: one function for each, which every entry point calls."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import column_or_1d

from sklearn_meta.exceptions import TaskError, TaskTypeError
from sklearn_meta.tasks.tables import (
    NUMERIC,
    blocks,
    columns_of,
    feature_names,
    frozen,
    frozen_rows,
    is_frame,
)

__all__ = [
    "Groups",
    "as_groups",
    "as_rows",
    "as_target_type",
    "as_targets",
    "as_weights",
    "holds_targets",
    "kind_of_targets",
    "missing",
]

NOUNS = {
    "S": "bytes",
    "M": "dates",
    "m": "time differences",
    "c": "complex numbers",
    "V": "records of a structured dtype",
}

LARGE_WEIGHT = 1e12  # above it, and below its inverse, only the ratios of weights count
LEAST_RATIO = 1e-24  # of a weight to the largest, so that single precision holds both


# ---- rows ------------------------------------------------------------------------------------


def as_rows(X: Any, input_name: str, names: Sequence[str] | None = None, *, least: int = 1) -> Any:
    """Return rows as an array of finite numbers, or as a csr_array; refuse what cannot be one.

    Numbers that come as objects or strings become float64; an array of numbers is not copied.
    `input_name` is what errors call X, and `names` are its columns where X is no frame. There must
    be at least `least` rows.
    """
    names = feature_names(X, input_name) if names is None else names
    rows = frozen_rows(X, input_name)
    if rows.ndim < 2:
        raise TaskError(
            f"{input_name} must have one row an observation, (n_rows, n_features); got shape "
            f"{rows.shape}. Reshape your data: X.reshape(-1, 1) for a single feature."
        )
    if rows.shape[0] < least:
        raise TaskError(
            f"{input_name} of shape {rows.shape} has no rows; a minimum of 1 is required."
        )
    if 0 in rows.shape[1:]:
        raise TaskError(
            f"{input_name} of shape {rows.shape} has no features: 0 feature(s) "
            f"(shape={rows.shape}) while a minimum of 1 is required."
        )
    if rows.dtype.kind not in NUMERIC:
        rows = frozen(_parse(rows, input_name, names), input_name)
    _check_finite(rows, input_name, names)
    return rows


def _parse(rows: Any, input_name: str, names: Sequence[str] | None) -> NDArray[np.float64]:
    """Return rows of objects or strings as numbers, or name the first entry that is none."""
    noun = "objects" if issparse(rows) else NOUNS.get(rows.dtype.kind)
    if noun is not None:
        advice = "Complex data not supported." if rows.dtype.kind == "c" else _advice(noun)
        raise TaskError(f"{input_name} of shape {rows.shape} holds {noun}, not numbers. {advice}")
    rows = rows.astype(object)
    if all(map(_is_numeric, _types(rows))):
        try:
            return np.asarray(rows.astype(np.float64))
        except (ValueError, TypeError, ArithmeticError):
            pass  # the loop below finds the entry
    for place in np.ndindex(rows.shape):
        _check_number(rows, place, input_name, names)
    return np.asarray(rows.astype(np.float64))  # pragma: no cover (each value is a number)


def _check_number(
    rows: NDArray[Any], place: tuple[int, ...], input_name: str, names: Sequence[str] | None
) -> None:
    value = rows[place]
    if _is_missing(value):
        _refuse_missing(rows, place, input_name, names)
    if not _is_numeric(type(value)):
        noun = _noun(type(value))
        raise TaskTypeError(
            f"{_entry(rows, place, input_name, names)}: {noun}, not numbers. {_advice(noun)} (An "
            f"argument must be a string or a real number, not {type(value).__name__!r}.)"
        )
    try:
        float(value)
    except (ValueError, ArithmeticError) as error:
        entry = _entry(rows, place, input_name, names)
        remedy = _transform_first(input_name, "OneHotEncoder")
        raise TaskError(f"{entry}, not a number: {error}.{remedy}") from None


def _advice(noun: str) -> str:
    if noun in ("dates", "time differences"):
        return "Turn them into numbers first, such as days since a date."
    return "Encode them as numbers first, or pass them through the transformers of a MetaPipeline."


# ---- targets ---------------------------------------------------------------------------------


def as_targets(y: Any, input_name: str, target_type: str | None = None) -> NDArray[Any]:
    """Return labels or real targets as an array of their own type; refuse anything else.

    Objects become strings, booleans, integers or float64. `target_type` is "class", "real" or None
    (either).
    """
    array = frozen(y, input_name)
    if array.ndim == 0:
        raise TaskError(f"{input_name} must hold one entry a row; got {reprlib.repr(y)}.")
    if array.dtype.kind in "OT":
        array = frozen(_convert_objects(array, input_name), input_name)
    if array.dtype.kind in NOUNS:
        _refuse_targets(array, input_name, NOUNS[array.dtype.kind])
    _check_finite(array, input_name)
    return array if target_type is None else as_target_type(array, input_name, target_type)


def holds_targets(y: NDArray[Any], target_type: str) -> bool:
    """Whether `as_targets` need not convert y, and only has to look at the values of floats."""
    if target_type == "real":
        return y.dtype.kind in NUMERIC and y.ndim in (1, 2)
    return y.dtype.kind in NUMERIC + "U" and y.ndim == 1


def kind_of_targets(y: NDArray[Any]) -> str | None:
    """Return "real" for floats with a fraction, None for whole floats, "class" for the rest."""
    if y.dtype.kind != "f":
        return "class"
    return None if np.array_equal(y, np.trunc(y)) else "real"


def as_target_type(
    y: NDArray[Any], input_name: str, target_type: str, *, explicit: bool = True
) -> NDArray[Any]:
    """Return converted targets as labels or as real targets, or refuse them.

    Unless `explicit`, `target_type` is the type of task 0, which errors then mention.
    """
    check = _as_real if target_type == "real" else _as_labels
    return check(y, input_name, explicit)


def _as_real(y: NDArray[Any], input_name: str, explicit: bool) -> NDArray[Any]:
    if y.dtype.kind not in NUMERIC:
        raise TaskError(
            f"{input_name} of shape {y.shape} holds strings; regression needs numbers"
            + (". Convert them, for instance by astype(float)." if explicit else ", as in task 0.")
        )
    if y.ndim > 2:
        raise TaskError(
            f"{input_name} must be (n_rows,) or (n_rows, n_outputs); got shape {y.shape}."
        )
    return y


def _as_labels(y: NDArray[Any], input_name: str, explicit: bool) -> NDArray[Any]:
    if kind_of_targets(y) == "real":
        raise TaskError(
            f"{input_name} of shape {y.shape} is continuous; classification needs class labels"
            + (". Use a regressor for real targets." if explicit else ", as in task 0.")
        )
    if y.ndim == 2 and y.shape[1] == 1:
        y = frozen(column_or_1d(y, warn=True), input_name)
    if y.ndim != 1:
        raise TaskError(
            f"{input_name} must be one label a row, (n_rows,); got shape {y.shape}. For several "
            "labels a row, make a task of each column, and wrap the meta-fitted classifier in "
            "sklearn.multioutput.MultiOutputClassifier."
        )
    return y


def _refuse_targets(y: NDArray[Any], input_name: str, noun: str) -> NoReturn:
    raise TaskError(
        f"{input_name} of shape {y.shape} holds {noun}. Class labels must be strings, booleans or "
        "integers, and real targets must be real numbers; convert labels to strings or integers. "
        + ("Complex data not supported." if noun == NOUNS["c"] else "")
    )


def _convert_objects(y: NDArray[Any], input_name: str) -> NDArray[Any]:
    """Return objects, or strings of any length, as an array of the type that all of them have."""
    y = y.astype(object)
    absent = missing(y)
    if absent.any():
        _refuse_missing(y, np.unravel_index(absent.argmax(), y.shape), input_name)
    converted = _common_type(y)
    if converted is not None:
        return converted
    nouns = _nouns(y)
    if len(nouns) == 1:
        noun = "integers of more than 64 bits" if nouns[0] == "numbers" else nouns[0]
        _refuse_targets(y, input_name, noun)
    raise TaskError(
        f"{input_name} of shape {y.shape} mixes kinds of label: {', '.join(nouns)}. Convert them "
        "to strings or integers."
    )


# ---- weights ---------------------------------------------------------------------------------


def as_weights(values: Any, shape: tuple[int, ...], input_name: str) -> NDArray[np.float64]:
    """Return one finite weight for each row of an X of this shape, which must not all be 0."""
    weight = frozen(values, input_name)
    if weight.shape != shape[:1]:
        raise TaskError(
            f"{input_name} must be (n_rows,), one weight for each row; got shape {weight.shape} "
            f"for X of shape {shape}."
        )
    try:
        weight = weight.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TaskError(f"{input_name} of shape {weight.shape} holds no numbers: {error}") from None
    if not np.isfinite(weight).all():
        problem = "contains NaN" if np.isnan(weight).any() else "contains infinity"
        raise TaskError(f"{input_name} of shape {weight.shape} {problem}.")
    if (weight < 0).any() or not weight.any():
        raise TaskError(
            f"{input_name} of shape {weight.shape} must not be negative, nor zero for all rows."
        )
    largest = float(weight.max())
    weight[weight < LEAST_RATIO * largest] = 0
    if not 1 / LARGE_WEIGHT <= largest <= LARGE_WEIGHT:  # which single precision may not hold
        weight = weight / largest * np.clip(largest, 1 / LARGE_WEIGHT, LARGE_WEIGHT)
    weight.flags.writeable = False
    return weight


# ---- groups ----------------------------------------------------------------------------------


class Groups(NamedTuple):
    """The group of each row."""

    labels: NDArray[Any]  # (n_groups,), by first appearance; tuples where there are several columns
    of_row: NDArray[np.intp]  # (n_rows,), positions in `labels`

    def rows(self) -> list[NDArray[np.intp]]:
        """Return the positions of the rows of each group, ascending."""
        order = np.argsort(self.of_row, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.of_row))[:-1])


def as_groups(groups: Any, input_name: str = "groups") -> Groups:
    """Return the group of each row; refuse missing values, and values of several kinds.

    A row has one value: a string, a number, a date, or anything hashable of one type. Several
    columns of a frame, a MultiIndex or tuples are taken together.
    """
    columns = _group_columns(groups)
    if columns is not None:
        return _combine([as_groups(part, input_name) for part in columns], input_name)
    array = frozen(groups, input_name)
    if array.ndim != 1:
        raise TaskError(
            f"{input_name} of shape {array.shape} must have one entry a row, (n_rows,)."
        )
    absent = missing(array)
    if absent.any():
        raise TaskError(
            f"{input_name} is missing at row {absent.argmax()}: every row must belong to a task."
        )
    if array.dtype.kind in "OT":
        array = array.astype(object)
        converted = _common_type(array)
        if converted is None and len(_nouns(array)) > 1:
            raise TaskError(
                f"{input_name} mixes kinds of value: {', '.join(_nouns(array))}. Convert them to "
                "strings."
            )
        array = array if converted is None else converted
    if array.dtype.kind in "cV":
        raise TaskError(
            f"{input_name} holds {NOUNS[array.dtype.kind]}, which cannot name tasks. Convert them "
            "to strings or integers."
        )
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise TaskError(f"{input_name} holds infinity at row {np.isinf(array).argmax()}.")
    try:
        first, of_row = _number(array.tolist())
    except TypeError:  # a value without a hash
        raise TaskError(
            f"{input_name} holds {_nouns(array)[0]}, which cannot name tasks. Convert them to "
            "strings or integers."
        ) from None
    return Groups(array[first], of_row)


def _number(values: Iterable[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the place where each value appears first, and the number of each row's value."""
    numbers: dict[Any, int] = {}
    of_row = np.array([numbers.setdefault(value, len(numbers)) for value in values], np.intp)
    return np.unique(of_row, return_index=True)[1], of_row


def _group_columns(groups: Any) -> list[Any] | None:
    """Return the columns of groups that are named by several values a row."""
    if is_frame(groups):
        return columns_of(groups)
    if hasattr(groups, "get_level_values") and getattr(groups, "nlevels", 1) > 1:
        return [groups.get_level_values(k) for k in range(groups.nlevels)]
    objects = isinstance(groups, list) or str(getattr(groups, "dtype", "")) == "object"
    if not objects or not all(isinstance(value, tuple) for value in groups):
        return None
    lengths = {len(value) for value in groups}
    return [list(part) for part in zip(*groups, strict=True)] if len(lengths) == 1 else None


def _combine(parts: Sequence[Groups], input_name: str) -> Groups:
    """Return the combinations of several groupings."""
    if not parts:
        raise TaskError(f"{input_name} has no columns.")
    if len(parts) == 1:
        return parts[0]
    first, of_row = _number(zip(*(part.of_row.tolist() for part in parts), strict=True))
    columns = [part.labels.astype(object)[part.of_row[first]].tolist() for part in parts]
    return Groups(np.fromiter(zip(*columns, strict=True), object, count=len(first)), of_row)


# ---- values and their types ------------------------------------------------------------------


def missing(values: Any) -> NDArray[np.bool_]:
    """Return which entries of labels, targets or groups are missing."""
    if hasattr(values, "isna"):
        return np.asarray(values.isna(), dtype=bool)
    array = np.asarray(values)
    if array.dtype.kind not in "OT":
        return np.asarray(array != array)
    return np.array([_is_missing(value) for value in array.ravel()], bool).reshape(array.shape)


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT, or NA of pandas."""
    if value is None:
        return True
    try:
        return bool(value != value)  # only NaN and NaT differ from themselves
    except TypeError:  # NA of pandas has no truth value
        return True
    except (ValueError, ArithmeticError):  # an array among objects; a signalling Decimal
        return False


def _check_finite(values: Any, input_name: str, names: Sequence[str] | None = None) -> None:
    if values.dtype.kind != "f":
        return
    begin = 0
    for block in blocks(values):
        finite = np.isfinite(block if isinstance(block, np.ndarray) else block.data)
        if not finite.all():
            first = int(finite.argmin())  # in the order of the rows
            if issparse(block):
                row = int(np.searchsorted(block.indptr, first, side="right")) - 1
                rest = [int(block.indices[first])]
            else:
                row, *rest = map(int, np.unravel_index(first, finite.shape))
            _refuse_missing(values, (begin + row, *rest), input_name, names)
        begin += block.shape[0]


def _refuse_missing(
    values: Any, place: Sequence[Any], input_name: str, names: Sequence[str] | None = None
) -> NoReturn:
    raise TaskError(
        f"{_entry(values, place, input_name, names)}; missing values (NaN, None) and infinity are "
        f"not accepted.{_transform_first(input_name, 'SimpleImputer')}"
    )


def _transform_first(input_name: str, transformer: str) -> str:
    """Name the remedy for values of X, such as "Task 0: X", that a transformer can change."""
    if "X" not in input_name.split()[-1]:
        return ""
    return (
        f" Put a transformer such as {transformer} in front of the learner, by "
        "sklearn_meta.pipeline.make_meta_pipeline."
    )


def _entry(values: Any, place: Sequence[Any], input_name: str, names: Sequence[str] | None) -> str:
    """Return the value at a place, and the place, for errors."""
    value = values[tuple(place)]
    text = repr(value) if isinstance(value, (str, bytes)) else str(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    row, *rest = map(int, place)
    where = f"row {row}"
    if len(rest) == 1:  # not a pixel of an image
        where += f", column {names[rest[0]]!r}" if names else f", column {rest[0]}"
    return f"{input_name} of shape {values.shape} holds {text} at {where}"


def _types(values: NDArray[Any]) -> set[type]:
    return set(map(type, values.ravel().tolist()))


def _is_numeric(type_: type) -> bool:
    """Whether values of a type are real numbers, or strings that may spell them."""
    if issubclass(type_, np.timedelta64):  # an integer to Python
        return False
    return issubclass(type_, (str, bool, np.bool_, Real, Decimal))


def _common_type(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return objects that are all strings, or all numbers, as an array of them; None of others."""
    types = _types(values)
    if all(issubclass(type_, str) for type_ in types):
        return values.astype(str)
    if any(issubclass(type_, str) or not _is_numeric(type_) for type_ in types):
        return None
    if all(issubclass(type_, (bool, np.bool_)) for type_ in types):
        return values.astype(bool)
    whole = all(issubclass(type_, (bool, np.bool_, Integral)) for type_ in types)
    for dtype in (np.int64, np.uint64) if whole else (np.float64,):
        try:
            return values.astype(dtype)
        except (OverflowError, ValueError):
            continue
    return None  # integers of more than 64 bits


def _nouns(values: NDArray[Any]) -> list[str]:
    return sorted({_noun(type_) for type_ in _types(values)})


def _noun(type_: type) -> str:
    """Return what errors call values of a type."""
    if issubclass(type_, str):
        return "strings"
    if issubclass(type_, bytes):
        return NOUNS["S"]
    if issubclass(type_, (complex, np.complexfloating)):
        return NOUNS["c"]
    if type_.__name__ in ("datetime", "date", "Timestamp", "datetime64"):
        return NOUNS["M"]
    if type_.__name__ in ("timedelta", "Timedelta", "timedelta64"):
        return NOUNS["m"]
    return "numbers" if _is_numeric(type_) else f"values of type {type_.__name__}"
