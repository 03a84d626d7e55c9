"""Checks of X, y and groups: one function for each, which every entry point calls."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.exceptions import DataConversionWarning

from sklearn_meta.exceptions import TaskError, TaskTypeError
from sklearn_meta.tasks.arrays import blocks, frozen, frozen_rows
from sklearn_meta.tasks.frames import (
    NUMERIC,
    columns_of,
    feature_names,
    is_frame,
    is_missing,
    missing,
)

__all__ = [
    "Groups",
    "as_groups",
    "as_rows",
    "as_targets",
    "holds_numbers",
    "holds_targets",
    "kind_of_targets",
]

TEXT = "UT"  # dtype kinds of strings: of a fixed width, and of any
NOUNS = {
    "S": "bytes",
    "M": "dates",
    "m": "time differences",
    "c": "complex numbers",
    "V": "records of a structured dtype",
}
NOT_ACCEPTED = "missing values (NaN, None) and infinity are not accepted."


# ---- rows ------------------------------------------------------------------------------------


def as_rows(X: Any, input_name: str, names: Sequence[str] | None = None) -> Any:
    """Return rows as an array of finite numbers, or as a csr_array; refuse what cannot be one.

    Numbers that come as objects or strings become float64; an array of numbers is not copied.
    `input_name` is what errors call X, and `names` are its columns where X is no frame.
    """
    names = feature_names(X, input_name) if names is None else names
    rows = frozen_rows(X, input_name)
    if rows.ndim < 2:
        raise TaskError(
            f"{input_name} must have one row an observation, (n_rows, n_features); got shape "
            f"{rows.shape}. Reshape your data: X.reshape(-1, 1) for a single feature."
        )
    if rows.shape[0] == 0:
        raise TaskError(
            f"{input_name} of shape {rows.shape} has no rows; a minimum of 1 is required."
        )
    if 0 in rows.shape[1:]:
        raise TaskError(
            f"{input_name} of shape {rows.shape} has no features: 0 feature(s) "
            f"(shape={rows.shape}) while a minimum of 1 is required."
        )
    if rows.dtype.kind not in NUMERIC:
        rows = _parse(rows, input_name, names)
    if rows.dtype.kind == "f" and (place := _not_finite(rows)) is not None:
        raise TaskError(
            f"{input_name} of shape {rows.shape} holds {rows[place]} at {_where(place, names)}; "
            + NOT_ACCEPTED
        )
    return rows


def holds_numbers(rows: Any) -> bool:
    """Whether `as_rows` need not convert rows, and only has to look for infinity and NaN."""
    return not is_frame(rows) and rows.dtype.kind in NUMERIC


def _parse(rows: Any, input_name: str, names: Sequence[str] | None) -> NDArray[np.float64]:
    """Return rows of objects or strings as numbers, or name the first entry that is none."""
    noun = NOUNS.get(rows.dtype.kind)
    if noun is not None or issparse(rows):
        advice = "Complex data not supported." if rows.dtype.kind == "c" else _advice(noun)
        raise TaskError(
            f"{input_name} of shape {rows.shape} holds {noun or 'objects'}, not numbers. {advice}"
        )
    rows = rows.astype(object)
    if all(map(_is_numeric, set(map(type, rows.ravel().tolist())))):
        try:
            return np.asarray(rows.astype(np.float64))
        except (ValueError, TypeError, ArithmeticError):
            pass  # the loop below finds the entry
    for flat, value in enumerate(rows.ravel()):
        place = np.unravel_index(flat, rows.shape)
        entry = (
            f"{input_name} of shape {rows.shape} holds {_short(value)} at {_where(place, names)}"
        )
        if is_missing(value):
            raise TaskError(f"{entry}; {NOT_ACCEPTED}")
        if not _is_numeric(type(value)):
            noun = _noun(type(value))
            raise TaskTypeError(
                f"{entry}: {noun}, not numbers. {_advice(noun)} (An argument must be a string or a "
                f"real number, not {type(value).__name__!r}.)"
            )
        try:
            float(value)
        except (ValueError, ArithmeticError) as error:
            raise TaskError(f"{entry}, not a number: {error}.") from None
    return np.asarray(rows.astype(np.float64))  # pragma: no cover (each value is a number)


def _advice(noun: str | None) -> str:
    if noun in ("dates", "time differences"):
        return "Turn them into numbers first, such as days since a date."
    return "Encode them as numbers first, or pass them through the transformers of a MetaPipeline."


def _is_numeric(type_: type) -> bool:
    """Whether values of a type are real numbers, or strings that may spell them."""
    if issubclass(type_, np.timedelta64):  # an integer to Python
        return False
    return issubclass(type_, (str, bool, np.bool_, Real, Decimal))


def _not_finite(rows: Any) -> tuple[int, ...] | None:
    """Return the place of the first entry that is NaN or infinite."""
    begin = 0
    for block in blocks(rows):
        values = block.data if issparse(block) else block
        finite = np.isfinite(values)
        if not finite.all():
            first = int(np.argmin(finite.ravel()))  # in the order of the rows
            if issparse(block):
                row = int(np.searchsorted(block.indptr, first, side="right")) - 1
                return row, int(block.indices[first])
            place = np.unravel_index(first, values.shape)
            return (begin + int(place[0]), *map(int, place[1:]))
        begin += block.shape[0]
    return None


def _where(place: Sequence[Any], names: Sequence[str] | None) -> str:
    row, *rest = map(int, place)
    if len(rest) != 1:  # a pixel of an image, a label
        return f"row {row}"
    return f"row {row}, column {names[rest[0]]!r}" if names else f"row {row}, column {rest[0]}"


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, (str, bytes)) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


# ---- targets ---------------------------------------------------------------------------------


def as_targets(
    y: Any, input_name: str, target_type: str | None = None, *, explicit: bool = True
) -> NDArray[Any]:
    """Return labels or real targets as an array of their own type; refuse anything else.

    Objects become strings, booleans, integers or float64. `target_type` is "class", "real" or None
    (either). Unless `explicit`, it is the type of task 0, which errors then mention.
    """
    array = frozen(y, input_name)
    if array.ndim == 0:
        raise TaskError(f"{input_name} must hold one entry a row; got {_short(y)}.")
    if array.dtype.kind in "OT":
        array = _convert_objects(array, input_name)
    if array.dtype.kind in NOUNS:
        _refuse_targets(array, input_name, NOUNS[array.dtype.kind])
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = np.unravel_index(int(np.argmin(np.isfinite(array))), array.shape)
        raise TaskError(
            f"{input_name} of shape {array.shape} holds {array[place]} at row {place[0]}; "
            + NOT_ACCEPTED
        )
    if target_type == "real":
        return _real(array, input_name, explicit)
    return array if target_type is None else _labels(array, input_name, explicit)


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


def _real(y: NDArray[Any], input_name: str, explicit: bool) -> NDArray[Any]:
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


def _labels(y: NDArray[Any], input_name: str, explicit: bool) -> NDArray[Any]:
    if kind_of_targets(y) == "real":
        raise TaskError(
            f"{input_name} of shape {y.shape} is continuous; classification needs class labels"
            + (". Use a regressor for real targets." if explicit else ", as in task 0.")
        )
    if y.ndim == 2 and y.shape[1] == 1:
        warnings.warn(  # as scikit-learn does
            "A column-vector y was passed when a 1d array was expected. Please change the shape "
            "of y to (n_samples, ), for example using ravel().",
            DataConversionWarning,
            stacklevel=3,
        )
        y = y[:, 0]
    if y.ndim != 1:
        raise TaskError(f"{input_name} must be one label a row, (n_rows,); got shape {y.shape}.")
    return y


def _refuse_targets(y: NDArray[Any], input_name: str, noun: str) -> None:
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
        place = np.unravel_index(int(absent.argmax()), y.shape)
        raise TaskError(
            f"{input_name} of shape {y.shape} holds {_short(y[place])} at row {place[0]}; "
            + NOT_ACCEPTED
        )
    converted = _common_type(y)
    if converted is not None:
        return converted
    nouns = sorted({_noun(type_) for type_ in set(map(type, y.ravel().tolist()))})
    if len(nouns) == 1:
        _refuse_targets(y, input_name, nouns[0].replace("numbers", "integers of more than 64 bits"))
    raise TaskError(
        f"{input_name} of shape {y.shape} mixes kinds of label: {', '.join(nouns)}. Convert them "
        "to strings or integers."
    )


def _common_type(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return objects that are all strings, or all numbers, as an array of them; None of others."""
    types = set(map(type, values.ravel().tolist()))
    if all(issubclass(type_, str) for type_ in types):
        return values.astype(str)
    if any(issubclass(type_, str) or not _is_numeric(type_) for type_ in types):
        return None
    if all(issubclass(type_, (bool, np.bool_)) for type_ in types):
        return values.astype(bool)
    dtypes: list[Any] = [np.float64]
    if all(issubclass(type_, (bool, np.bool_, Integral)) for type_ in types):
        dtypes = [np.int64, np.uint64]
    for dtype in dtypes:
        try:
            return values.astype(dtype)
        except (OverflowError, ValueError):
            continue
    return None  # integers of more than 64 bits


def _noun(type_: type) -> str:
    """Return what errors call values of a type."""
    if issubclass(type_, str):
        return "strings"
    if issubclass(type_, bytes):
        return "bytes"
    if issubclass(type_, (complex, np.complexfloating)):
        return NOUNS["c"]
    if type_.__name__ in ("datetime", "date", "Timestamp", "datetime64"):
        return NOUNS["M"]
    if type_.__name__ in ("timedelta", "Timedelta", "timedelta64"):
        return NOUNS["m"]
    if _is_numeric(type_):
        return "numbers"
    return f"values of type {type_.__name__}"


# ---- groups ----------------------------------------------------------------------------------


class Groups(NamedTuple):
    """The group of each row."""

    labels: NDArray[Any]  # (n_groups,), by first appearance; tuples where there are several columns
    of_row: NDArray[np.intp]  # (n_rows,), positions in `labels`

    def rows(self) -> list[NDArray[np.intp]]:
        """Return the positions of the rows of each group, ascending."""
        order = np.argsort(self.of_row, kind="stable")
        return np.split(order, self.ends()[:-1])

    def ends(self) -> NDArray[np.intp]:
        """Return the cumulative number of rows of the groups."""
        return np.cumsum(np.bincount(self.of_row, minlength=len(self.labels)))


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
    absent = missing(array.astype(object) if array.dtype.kind == "T" else array)
    if absent.any():
        raise TaskError(
            f"{input_name} is missing at row {absent.argmax()}: every row must belong to a task."
        )
    if array.dtype.kind in "OT":
        values = array.astype(object)
        converted = _common_type(values)
        if converted is None:
            return _group_by_hash(values, input_name)
        array = converted
    if array.dtype.kind in "cV":
        raise TaskError(
            f"{input_name} holds {NOUNS[array.dtype.kind]}, which cannot name tasks. Convert them "
            "to strings or integers."
        )
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise TaskError(f"{input_name} holds infinity at row {np.isinf(array).argmax()}.")
    return _number(array)


def _number(values: NDArray[Any]) -> Groups:
    labels, first, code = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    return Groups(labels[order], rank[code.reshape(-1)])


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
    code = np.zeros(len(parts[0].of_row), dtype=np.intp)
    for part in parts:  # numbered anew each time, so that the code stays below n_rows * n_groups
        code = _number(code * len(part.labels) + part.of_row).of_row
    _, first = np.unique(code, return_index=True)  # code is in the order of appearance
    columns = [[*part.labels.astype(object)[part.of_row[first]]] for part in parts]
    labels = np.fromiter(zip(*columns, strict=True), dtype=object, count=len(first))
    return Groups(labels, code)


def _group_by_hash(values: NDArray[Any], input_name: str) -> Groups:
    nouns = {_noun(type_) for type_ in set(map(type, values.tolist()))}
    if len(nouns) > 1:
        raise TaskError(
            f"{input_name} mixes kinds of value: {', '.join(sorted(nouns))}. Convert them to "
            "strings."
        )
    places: dict[Any, int] = {}
    try:
        code = [places.setdefault(value, len(places)) for value in values.tolist()]
    except TypeError:
        raise TaskError(
            f"{input_name} holds {nouns.pop()}, which cannot name tasks. Convert them to strings "
            "or integers."
        ) from None
    return Groups(np.fromiter(places, dtype=object, count=len(places)), np.array(code, np.intp))
