"""Names of columns, held against those that an estimator was fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import label

__all__ = ["check_feature_names", "check_task_names", "names_of", "set_names"]

Names = tuple[str, ...] | None  # None: an array, or a frame whose columns are not all strings


def check_feature_names(names: Names, expected: Names, method: str = "meta_fit") -> None:
    """Refuse other columns than those passed to a method, or the same in another order.

    An array has no names, and is taken for the columns of a frame in their order.
    """
    if names is not None and expected is not None and names != expected:
        fitted = "meta-fitted" if method == "meta_fit" else "fitted"
        raise ValueError(
            f"The feature names should match those that were passed to {method}. "
            f"Got {list(names)}, {fitted} with {list(expected)}."
        )


def check_task_names(task: Task, i: int, expected: Names, method: str = "meta_fit") -> None:
    """Check the columns of a task, and name the task in the error."""
    try:
        check_feature_names(task.feature_names_in, expected, method)
    except ValueError as error:
        raise TaskError(f"{label(task, i)}: {error}") from None


def set_names(est: Any, names: Names) -> None:
    """Set `feature_names_in_` as scikit-learn does: only where the columns have names."""
    if names is not None:
        est.feature_names_in_ = np.array(names, dtype=object)
    elif hasattr(est, "feature_names_in_"):
        del est.feature_names_in_


def names_of(est: Any) -> Names:
    """Return the names of the columns that an estimator was fitted to."""
    return tuple(est.feature_names_in_) if hasattr(est, "feature_names_in_") else None
