"""Parameter checks of the generators, worded as scikit-learn words them."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from sklearn_meta.tasks.ranges import check_int

__all__ = ["check_int", "check_interval", "check_real", "check_support_size"]


def check_support_size(value: Any, name: str, owner: str, n_rows: int) -> int | None:
    """Return `value` if it is None, or leaves at least one of `n_rows` rows for the query."""
    if value is not None and n_rows < 2:
        raise ValueError(f"{owner}: {name}={value!r} needs n_rows of at least 2; got n_rows=1.")
    return None if value is None else check_int(value, name, owner, 1, n_rows - 1)


def check_real(value: Any, name: str, owner: str, *, positive: bool = False) -> float:
    """Return `value` if it is a finite number, not below zero (or above it)."""
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (positive and value == 0):
        span = "(0.0, inf)" if positive else "[0.0, inf)"
        raise ValueError(
            f"The {name!r} parameter of {owner} must be a float in the range {span}. "
            f"Got {value!r} instead."
        )
    return float(value)


def check_interval(value: Any, name: str, owner: str) -> tuple[float, float]:
    """Return `value` if it is a pair of finite numbers in order."""
    pair = isinstance(value, (tuple, list)) and len(value) == 2
    finite = pair and all(isinstance(end, Real) and math.isfinite(end) for end in value)
    if not finite or value[0] > value[1]:
        raise ValueError(
            f"The {name!r} parameter of {owner} must be a pair of floats (low, high) with "
            f"low <= high. Got {value!r} instead."
        )
    return float(value[0]), float(value[1])
