"""What X, y and groups may hold: one function for each, which every entry point calls."""

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
from sklearn_meta.tasks.frames import NUMERIC, feature_names, is_frame, is_missing, missing

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


def as_rows(X: Any, called: str, names: Sequence[str] | None = None) -> Any:
    """Return rows as an array of finite numbers, or as a csr_array; refuse what cannot be one.

    Numbers that come as objects or strings become float64; an array of numbers is not copied.
    `called` is what errors call X, `names` its columns where X itself does not say.
    """
    names = feature_names(X, called) if names is None else names
    rows = frozen_rows(X, called)
    if rows.ndim < 2:
        raise TaskError(
            f"{called} must have one row an observation, (n_rows, n_features); got shape "
            f"{rows.shape}. Reshape your data: X.reshape(-1, 1) for a single feature."
        )
    if rows.shape[0] == 0:
        raise TaskError(f"{called} of shape {rows.shape} has no rows; a minimum of 1 is required.")
    if 0 in rows.shape[1:]:
        raise TaskError(
            f"{called} of shape {rows.shape} has no features: 0 feature(s) (shape={rows.shape}) "
            "while a minimum of 1 is required."
        )
    if rows.dtype.kind not in NUMERIC:
        rows = _parsed(rows, called, names)
    if rows.dtype.kind == "f" and (place := _not_finite(rows)) is not None:
        raise TaskError(
            f"{called} of shape {rows.shape} holds {rows[place]} at {_where(place, names)}; "
            + NOT_ACCEPTED
        )
    return rows


def holds_numbers(rows: Any) -> bool:
    """Whether `as_rows` has nothing to convert: only infinity and NaN are left to look for."""
    return rows.dtype.kind in NUMERIC


def _parsed(rows: Any, called: str, names: Sequence[str] | None) -> NDArray[np.float64]:
    """Return rows of objects or strings as numbers, or say which of them is none."""
    noun = NOUNS.get(rows.dtype.kind)
    if noun is not None or issparse(rows):
        advice = "Complex data not supported." if rows.dtype.kind == "c" else _advice(noun)
        raise TaskError(
            f"{called} of shape {rows.shape} holds {noun or 'objects'}, not numbers. {advice}"
        )
    rows = rows.astype(object)
    if all(map(_is_numeric, set(map(type, rows.ravel().tolist())))):
        try:
            return np.asarray(rows.astype(np.float64))
        except (ValueError, TypeError, ArithmeticError):
            pass  # the loop finds where
    for flat, value in enumerate(rows.ravel()):
        place = np.unravel_index(flat, rows.shape)
        here = f"{called} of shape {rows.shape} holds {_shown(value)} at {_where(place, names)}"
        if is_missing(value):
            raise TaskError(f"{here}; {NOT_ACCEPTED}")
        if not _is_numeric(type(value)):
            noun = _noun(type(value))
            raise TaskTypeError(
                f"{here}: {noun}, not numbers. {_advice(noun)} (An argument must be a string or a "
                f"real number, not {type(value).__name__!r}.)"
            )
        try:
            float(value)
        except (ValueError, ArithmeticError) as error:
            raise TaskError(f"{here}, not a number: {error}.") from None
    return np.asarray(rows.astype(np.float64))  # pragma: no cover (each value is a number)


def _advice(noun: str | None) -> str:
    if noun in ("dates", "time differences"):
        return "Turn them into numbers first, such as days since a date."
    return "Encode them as numbers first, or pass them through the transformers of a MetaPipeline."


def _is_numeric(kind: type) -> bool:
    """Whether values of a type are real numbers, or strings that may spell them."""
    if issubclass(kind, np.timedelta64):  # an integer to Python
        return False
    return issubclass(kind, (str, bool, np.bool_, Real, Decimal))


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


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, (str, bytes)) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


# ---- targets ---------------------------------------------------------------------------------


def as_targets(y: Any, called: str, kind: str | None = None, *, asked: bool = True) -> NDArray[Any]:
    """Return labels or real targets as an array of their own type; refuse what is neither.

    Objects become strings, booleans, integers or float64, as they are all one or the other. `kind`
    is "class", "real" or None (either); if not `asked` for, it is that of task 0.
    """
    array = frozen(y, called)
    if array.ndim == 0:
        raise TaskError(f"{called} must hold one entry a row; got {_shown(y)}.")
    if array.dtype.kind in "OT":
        array = _natural(array, called)
    if array.dtype.kind in NOUNS:
        _refuse_targets(array, called, NOUNS[array.dtype.kind])
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = np.unravel_index(int(np.argmin(np.isfinite(array))), array.shape)
        raise TaskError(
            f"{called} of shape {array.shape} holds {array[place]} at row {place[0]}; "
            + NOT_ACCEPTED
        )
    if kind == "real":
        return _real(array, called, asked)
    return array if kind is None else _labels(array, called, asked)


def holds_targets(y: NDArray[Any], kind: str) -> bool:
    """Whether `as_targets` has nothing to convert: only values of floats are left to look at."""
    if kind == "real":
        return y.dtype.kind in NUMERIC and y.ndim in (1, 2)
    return y.dtype.kind in NUMERIC + "U" and y.ndim == 1


def kind_of_targets(y: NDArray[Any]) -> str | None:
    """Return "real" for floats with a fraction, None for whole floats, "class" for the rest."""
    if y.dtype.kind != "f":
        return "class"
    return None if np.array_equal(y, np.trunc(y)) else "real"


def _real(y: NDArray[Any], called: str, asked: bool) -> NDArray[Any]:
    if y.dtype.kind not in NUMERIC:
        raise TaskError(
            f"{called} of shape {y.shape} holds strings; regression needs numbers"
            + (", as in task 0." if not asked else ". Convert them, for instance by astype(float).")
        )
    if y.ndim > 2:
        raise TaskError(f"{called} must be (n_rows,) or (n_rows, n_outputs); got shape {y.shape}.")
    return y


def _labels(y: NDArray[Any], called: str, asked: bool) -> NDArray[Any]:
    if kind_of_targets(y) == "real":
        raise TaskError(
            f"{called} of shape {y.shape} is continuous; classification needs class labels"
            + (". Use a regressor for real targets." if asked else ", as in task 0.")
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
        raise TaskError(f"{called} must be one label a row, (n_rows,); got shape {y.shape}.")
    return y


def _refuse_targets(y: NDArray[Any], called: str, noun: str) -> None:
    raise TaskError(
        f"{called} of shape {y.shape} holds {noun}. Class labels must be strings, booleans or "
        "integers, and real targets must be real numbers; convert labels to strings or integers. "
        + ("Complex data not supported." if noun == NOUNS["c"] else "")
    )


def _natural(y: NDArray[Any], called: str) -> NDArray[Any]:
    """Return objects, or strings of any length, as an array of the type that all of them have."""
    y = y.astype(object)
    absent = missing(y)
    if absent.any():
        place = np.unravel_index(int(absent.argmax()), y.shape)
        raise TaskError(
            f"{called} of shape {y.shape} holds {_shown(y[place])} at row {place[0]}; "
            + NOT_ACCEPTED
        )
    found = _common_type(y)
    if found is not None:
        return found
    kinds = sorted({_noun(kind) for kind in set(map(type, y.ravel().tolist()))})
    if len(kinds) == 1:
        _refuse_targets(y, called, kinds[0].replace("numbers", "integers of more than 64 bits"))
    raise TaskError(
        f"{called} of shape {y.shape} mixes kinds of label: {', '.join(kinds)}. Convert them to "
        "strings or integers."
    )


def _common_type(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return objects that are all strings, or all numbers, as an array of them; None of others."""
    kinds = set(map(type, values.ravel().tolist()))
    if all(issubclass(kind, str) for kind in kinds):
        return values.astype(str)
    if any(issubclass(kind, str) or not _is_numeric(kind) for kind in kinds):
        return None
    if all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return values.astype(bool)
    dtypes: list[Any] = [np.float64]
    if all(issubclass(kind, (bool, np.bool_, Integral)) for kind in kinds):
        dtypes = [np.int64, np.uint64]
    for dtype in dtypes:
        try:
            return values.astype(dtype)
        except (OverflowError, ValueError):
            continue
    return None  # integers of more than 64 bits


def _noun(kind: type) -> str:
    """Return what errors call values of a type."""
    if issubclass(kind, str):
        return "strings"
    if issubclass(kind, bytes):
        return "bytes"
    if issubclass(kind, (complex, np.complexfloating)):
        return NOUNS["c"]
    if kind.__name__ in ("datetime", "date", "Timestamp", "datetime64"):
        return NOUNS["M"]
    if kind.__name__ in ("timedelta", "Timedelta", "timedelta64"):
        return NOUNS["m"]
    if _is_numeric(kind):
        return "numbers"
    return f"values of type {kind.__name__}"


# ---- groups ----------------------------------------------------------------------------------


class Groups(NamedTuple):
    """Which group each row belongs to.

    `labels` has one entry a group (a tuple where several columns say so), in the order in which
    groups first appear; `of_row` is the position in it for each row.
    """

    labels: NDArray[Any]
    of_row: NDArray[np.intp]

    def rows(self) -> list[NDArray[np.intp]]:
        """Return the positions of the rows of each group, ascending."""
        order = np.argsort(self.of_row, kind="stable")
        return np.split(order, self.ends()[:-1])

    def ends(self) -> NDArray[np.intp]:
        """Return how many rows the groups up to each have, together."""
        return np.cumsum(np.bincount(self.of_row, minlength=len(self.labels)))


def as_groups(groups: Any, called: str = "groups") -> Groups:
    """Return which group each row belongs to; refuse missing values, and values that mix kinds.

    One value a row: strings, numbers, dates, or anything hashable of one type. Several columns in
    a frame, a MultiIndex or tuples count together.
    """
    columns = _group_columns(groups)
    if columns is not None:
        return _crossed([as_groups(part, called) for part in columns], called)
    array = frozen(groups, called)
    if array.ndim != 1:
        raise TaskError(f"{called} of shape {array.shape} must have one entry a row, (n_rows,).")
    absent = missing(array.astype(object) if array.dtype.kind == "T" else array)
    if absent.any():
        raise TaskError(
            f"{called} is missing at row {absent.argmax()}: every row must belong to a task."
        )
    if array.dtype.kind in "OT":
        values = array.astype(object)
        found = _common_type(values)
        if found is None:
            return _hashed(values, called)
        array = found
    if array.dtype.kind in "cV":
        raise TaskError(
            f"{called} holds {NOUNS[array.dtype.kind]}, which cannot name tasks. Convert them to "
            "strings or integers."
        )
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise TaskError(f"{called} holds infinity at row {np.isinf(array).argmax()}.")
    return _numbered(array)


def _numbered(values: NDArray[Any]) -> Groups:
    labels, first, code = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    return Groups(labels[order], rank[code.reshape(-1)])


def _group_columns(groups: Any) -> list[Any] | None:
    """Return the columns of groups that are named by several values a row."""
    if is_frame(groups):
        pandas = hasattr(groups, "iloc")
        return [groups.iloc[:, j] for j in range(groups.shape[1])] if pandas else [*groups]
    if hasattr(groups, "get_level_values") and getattr(groups, "nlevels", 1) > 1:
        return [groups.get_level_values(k) for k in range(groups.nlevels)]
    objects = isinstance(groups, list) or str(getattr(groups, "dtype", "")) == "object"
    if not objects or not all(isinstance(value, tuple) for value in groups):
        return None
    lengths = {len(value) for value in groups}
    return [list(part) for part in zip(*groups, strict=True)] if len(lengths) == 1 else None


def _crossed(parts: Sequence[Groups], called: str) -> Groups:
    """Return the combinations of several groupings."""
    if not parts:
        raise TaskError(f"{called} has no columns.")
    if len(parts) == 1:
        return parts[0]
    code = np.zeros(len(parts[0].of_row), dtype=np.intp)
    for part in parts:  # numbered anew each time, so that the code stays below n_rows * n_groups
        code = _numbered(code * len(part.labels) + part.of_row).of_row
    _, first = np.unique(code, return_index=True)  # code is in the order of appearance
    columns = [[*part.labels.astype(object)[part.of_row[first]]] for part in parts]
    labels = np.fromiter(zip(*columns, strict=True), dtype=object, count=len(first))
    return Groups(labels, code)


def _hashed(values: NDArray[Any], called: str) -> Groups:
    kinds = {_noun(kind) for kind in set(map(type, values.tolist()))}
    if len(kinds) > 1:
        raise TaskError(
            f"{called} mixes kinds of value: {', '.join(sorted(kinds))}. Convert them to strings."
        )
    places: dict[Any, int] = {}
    try:
        code = [places.setdefault(value, len(places)) for value in values.tolist()]
    except TypeError:
        raise TaskError(
            f"{called} holds {kinds.pop()}, which cannot name tasks. Convert them to strings or "
            "integers."
        ) from None
    return Groups(np.fromiter(places, dtype=object, count=len(places)), np.array(code, np.intp))
