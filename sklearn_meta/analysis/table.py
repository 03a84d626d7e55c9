"""The rows of many tasks in one table, in units that let tasks be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_regressor

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.validate import label, target_kind

__all__ = ["Table", "asked_kind", "is_real", "table_of"]


class Table(NamedTuple):
    """The rows of all tasks, one task after the other."""

    X: NDArray[np.float64]
    """(n_rows, n_features); rows of several axes are flattened."""

    y: NDArray[Any]
    """Targets (n_rows, n_outputs), or classes (n_rows,) numbered through all tasks."""

    start: NDArray[np.intp]
    """(n_tasks + 1,): task i has the rows from start[i] to start[i + 1]."""

    real: bool
    """Whether y holds targets."""

    @property
    def n_tasks(self) -> int:
        """How many tasks there are."""
        return len(self.start) - 1

    def of(self, i: int) -> slice:
        """Say where the rows of a task are.

        Parameters
        ----------
        i : int
            Its position.

        Returns
        -------
        slice
            Of rows.
        """
        return slice(int(self.start[i]), int(self.start[i + 1]))


def asked_kind(estimator: Any, target_type: str | None) -> str | None:
    """Give what the user says that `y` holds.

    Parameters
    ----------
    estimator : object or None
        If there is one, its kind decides.
    target_type : {"class", "real"} or None
        Decides if given.

    Returns
    -------
    {"class", "real"} or None
        None if the user says nothing: then :func:`~sklearn_meta.tasks.validate.target_kind` of
        the tasks decides.

    Raises
    ------
    ValueError
        If `target_type` is none of these.
    """
    if target_type not in (None, "class", "real"):
        raise ValueError(f"target_type must be None, 'class' or 'real'; got {target_type!r}.")
    if target_type is None and estimator is not None:
        return "real" if is_regressor(estimator) else "class"
    return target_type


def is_real(tasks: Sequence[Task], estimator: Any = None, target_type: str | None = None) -> bool:
    """Whether tasks are regression tasks.

    Parameters
    ----------
    tasks : sequence of Task
        Checked.
    estimator, target_type : object and {"class", "real"}, default=None
        See :func:`asked_kind`. With neither,
        :func:`~sklearn_meta.tasks.validate.target_kind` decides.

    Returns
    -------
    bool
        True for regression.

    Raises
    ------
    ValueError
        If `target_type` is neither.
    TaskError
        If real targets are asked for and a task has none.
    """
    kind = asked_kind(estimator, target_type)
    if kind == "real":
        for i, task in enumerate(tasks):
            if task.y.dtype.kind not in "fiub":
                raise TaskError(f"{label(task, i)}: y holds {task.y.dtype}, not real targets.")
    return (kind or target_kind(tasks)) == "real"


def table_of(
    tasks: Sequence[Task],
    estimator: Any = None,
    target_type: str | None = None,
    *,
    scale: bool = True,
    n_reference: int | None = None,
) -> Table:
    """Put the rows of tasks into one table.

    Parameters
    ----------
    tasks : sequence of Task
        Checked, with rows of one shape.
    estimator, target_type : object
        See :func:`is_real`.
    scale : bool, default=True
        Standardise each feature and each target by its mean and standard deviation over the rows
        of all tasks; targets are then given the weight of the features, a standard deviation of
        (n_features / n_outputs) ** .5. Features that are constant stay at 0.
    n_reference : int, default=None
        Take kind, mean and standard deviation of the first so many tasks; None: of all.

    Returns
    -------
    Table
        As float64.
    """
    real = is_real(tasks[:n_reference], estimator, target_type)
    start = np.cumsum([0, *map(len, tasks)])
    X = np.concatenate([dense(task.X, np.float64).reshape(len(task), -1) for task in tasks])
    y: NDArray[Any] = _targets(tasks) if real else _classes(tasks)
    if scale:
        known = start[n_reference or len(tasks)]
        X = _standardised(X, known)
        y = _standardised(y, known) * (X.shape[1] / y.shape[1]) ** 0.5 if real else y
    return Table(X, y, start, real)


def _targets(tasks: Sequence[Task]) -> NDArray[np.float64]:
    return np.concatenate([task.y.astype(np.float64).reshape(len(task), -1) for task in tasks])


def _classes(tasks: Sequence[Task]) -> NDArray[np.intp]:
    codes, n = [], 0
    for task in tasks:
        names, code = np.unique(task.y, return_inverse=True)
        codes.append(code + n)
        n += len(names)
    return np.concatenate(codes)


def _standardised(values: NDArray[np.float64], known: int) -> NDArray[np.float64]:
    centre, spread = values[:known].mean(axis=0), values[:known].std(axis=0)
    return (values - centre) / np.where(spread <= 1e-12 * np.abs(centre), 1.0, spread)
