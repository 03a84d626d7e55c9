"""Plain values as JSON and back, exactly; and a parser that no document exhausts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["MAX_JSON", "from_json", "parse", "to_json"]

MAX_JSON = 1 << 22  # bytes of a document
MAX_BRACKETS = 200_000  # lists and dicts in it: they take far more memory than text
MAX_DIGITS = 40  # of an int


def parse(text: str | bytes) -> Any:
    """Read JSON strictly, in bounded time and memory.

    Parameters
    ----------
    text : str or bytes
        The document.

    Returns
    -------
    object
        Of dicts, lists, strings, finite numbers, bools and None.

    Raises
    ------
    ValueError
        If it is too long or too deep, not JSON, names a key twice, or holds NaN or infinity.
    """
    if len(text) > MAX_JSON:
        raise ValueError(f"the JSON has {len(text)} bytes, more than {MAX_JSON}")
    brackets: Any = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, brackets)) > MAX_BRACKETS:
        raise ValueError(f"the JSON has more than {MAX_BRACKETS} lists and dicts")
    try:
        return json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_int=_int,
            parse_float=_float,
        )
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the JSON names a key twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"the JSON holds {name}")


def _int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"the JSON holds an integer of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"the JSON holds {digits[:MAX_DIGITS]}, which is beyond all floats")
    return value


def to_json(value: Any) -> Any:
    """Turn a plain value into what JSON has, with marks for what it has not.

    Parameters
    ----------
    value : object
        None, bools, numbers of Python and numpy, strings, bytes, and lists, tuples and dicts of
        them.

    Returns
    -------
    object
        For :func:`json.dumps`; :func:`from_json` gives an equal value of the same type.

    Raises
    ------
    TypeError
        If there is something else in it.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {"numpy": [value.dtype.str, to_json(value.item())]}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if type(value) is list:
        return [to_json(item) for item in value]
    if type(value) is tuple:
        return {"tuple": [to_json(item) for item in value]}
    if isinstance(value, Mapping):
        return {"dict": [[to_json(k), to_json(v)] for k, v in value.items()]}
    raise TypeError(f"{value!r} is no plain value")


def from_json(value: Any) -> Any:
    """Turn what :func:`to_json` gave back into the value.

    Parameters
    ----------
    value : object
        From :func:`parse`.

    Returns
    -------
    object
        The value.

    Raises
    ------
    ValueError
        If a mark is not known.
    """
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("tuple", list(items))]:
            return tuple(map(from_json, items))
        case [("dict", list(items))] if all(isinstance(i, list) and len(i) == 2 for i in items):
            return {_key(from_json(k)): from_json(v) for k, v in items}
        case [("float", "nan" | "inf" | "-inf" as name)]:
            return float(name)
        case [("bytes", str(digits))]:
            return bytes.fromhex(digits)
        case [("numpy", [str(dtype), number])] if dtype in _NUMBERS:
            return np.dtype(dtype).type(from_json(number))
    raise ValueError(f"the JSON holds {str(value)[:60]}, which stands for nothing")


_NUMBERS = {np.dtype(code).str for code in "?bBhHiIqQlLefd"}


def _key(key: Any) -> Any:
    if isinstance(key, (list, dict)):
        raise ValueError("the JSON holds a dict whose keys are lists")
    return key
