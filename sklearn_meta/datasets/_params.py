"""Parameter checks of the generators, worded as scikit-learn words them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import as_tasks
from sklearn_meta.tasks.fitting import check_columns
from sklearn_meta.tasks.ranges import check_int
from sklearn_meta.tasks.validate import label

__all__ = ["check_int", "check_interval", "check_real", "check_support_size", "regression_rows"]


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


def regression_rows(
    tasks: Any, owner: str, n_features: int, noise: float
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield X and y of tasks whose density is asked for, or refuse them."""
    if noise == 0:
        raise ValueError(f"{owner}: noise=0 has no density; set the noise of the tasks.")
    for i, task in enumerate(as_tasks(tasks, target_type="real")):
        if task.y.ndim != 1:
            raise TaskError(
                f"{label(task, i)}: {owner} needs one target a row, y of shape (n_rows,); got y of "
                f"shape {task.y.shape} with X of shape {(len(task), *task.row_shape)}."
            )
        yield check_columns(task, i, owner, n_features), task.y.astype(np.float64)
