"""Tasks as linear regressions: what the closed forms of this package need of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.validate import label, target_kind

__all__ = ["Floats", "LinearTasks", "check_number", "linear_tasks", "quadratic", "root_mean_square"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearTasks:
    """Inputs and numeric targets of tasks.

    Parameters
    ----------
    X : list of ndarray of shape (n_rows, n_coefficients)
        One a task, with a last column of ones where an intercept is fitted.
    y : list of ndarray of shape (n_rows, n_outputs)
        One a task. Classes are indicators, one output a class.
    classes : ndarray of shape (n_outputs,) or None
        The classes, or None for regression.
    names : list of str
        What errors call the tasks.
    """

    X: list[Floats]
    y: list[Floats]
    classes: NDArray[Any] | None
    names: list[str]

    @property
    def n_rows(self) -> NDArray[np.int64]:
        """Rows of each task."""
        return np.array([len(y) for y in self.y])

    @property
    def second_moment(self) -> Floats:
        """Mean of x x' over the rows of a task, then over tasks, (p, p)."""
        moments: Floats = np.mean([X.T @ X / len(X) for X in self.X], axis=0)
        return moments

    def standardised(self) -> LinearTasks:
        """Divide each feature by its root mean square, so that units do not matter.

        Returns
        -------
        LinearTasks
            The same predictions from other coefficients. A feature that is 0 stays.
        """
        size = root_mean_square(self.second_moment)
        return LinearTasks([X / size for X in self.X], self.y, self.classes, self.names)


def linear_tasks(
    tasks: Any, *, fit_intercept: bool, target_type: str | None, owner: str, min_tasks: int = 1
) -> LinearTasks:
    """Convert tasks to matrices of floats.

    Parameters
    ----------
    tasks : sequence of tasks
        As :func:`sklearn_meta.tasks.as_tasks` takes them.
    fit_intercept : bool
        Whether to append a column of ones.
    target_type : {"class", "real"} or None
        None: see :func:`~sklearn_meta.tasks.validate.target_kind`.
    owner : str
        Who asks, for the errors.
    min_tasks : int, default=1
        How many tasks there must be.

    Returns
    -------
    LinearTasks
        With indicators for labels.

    Raises
    ------
    TaskError
        If a task cannot be used, there are too few of them, or labels have no common meaning.
    """
    found = as_tasks(tasks, target_type=target_type)
    if len(found) < min_tasks:
        raise TaskError(f"{owner} needs at least {min_tasks} tasks; got {len(found)}.")
    names = [label(task, i) for i, task in enumerate(found)]
    X = [_matrix(task.X, fit_intercept) for task in found]
    if (target_type or target_kind(found)) == "class":
        classes = _shared_classes(found, names, owner)
        y = [(task.y[:, None] == classes).astype(np.float64) for task in found]
        return LinearTasks(X, y, classes, names)
    y = [task.y.astype(np.float64).reshape(len(task), -1) for task in found]
    return LinearTasks(X, y, None, names)


def _matrix(X: Any, fit_intercept: bool) -> Floats:
    rows = dense(X, np.float64)
    flat = rows.reshape(len(rows), -1)
    return np.column_stack([flat, np.ones(len(flat))]) if fit_intercept else flat


def _shared_classes(tasks: Sequence[Task], names: list[str], owner: str) -> NDArray[Any]:
    if tasks[0].y.ndim > 1:
        raise TaskError(f"{names[0]}: labels must have shape (n_rows,); got {tasks[0].y.shape}.")
    labels = [np.unique(task.y) for task in tasks]
    seen = Counter(value for of_task in labels for value in of_task.tolist())
    for of_task, name in zip(labels, names, strict=True):
        if len(tasks) > 1 and all(seen[value] == 1 for value in of_task.tolist()):
            raise TaskError(
                f"{name}: y has no class in common with any other task (it has "
                f"{of_task.tolist()[:5]}), so {owner} cannot compare what a class means from task "
                "to task. Label the classes alike in all tasks, or give numeric scores as y."
            )
    return np.unique(np.concatenate(labels))


def check_number(
    value: Any, name: str, owner: str, low: float = 0.0, high: float = np.inf
) -> float:
    """Return `value` if it is a number above `low` and below `high`.

    Parameters
    ----------
    value : object
        As the user gave it.
    name, owner : str
        Of the parameter and the function, for the error.
    low, high : float, default=0 and inf
        Ends of the open range.

    Returns
    -------
    float
        The number.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    kind = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not kind or not low < value < high:
        raise ValueError(
            f"The {name!r} parameter of {owner} must be a number in the range ({low}, {high}). "
            f"Got {value!r} instead."
        )
    return float(value)


def quadratic(X: Floats, matrix: Floats) -> Floats:
    """Give x' A x for each row x.

    Parameters
    ----------
    X, matrix : ndarray of shape (n_rows, p) and (p, p)
        Rows, and A.

    Returns
    -------
    ndarray of shape (n_rows,)
        The values.
    """
    values: Floats = np.einsum("ij,jk,ik->i", X, matrix, X)
    return values


def root_mean_square(moment: Floats) -> Floats:
    """Give the root mean square of each feature, and 1 for one that is 0.

    Parameters
    ----------
    moment : ndarray of shape (p, p)
        The second moment of a row.

    Returns
    -------
    ndarray of shape (p,)
        To divide by.
    """
    size = np.sqrt(np.diag(moment))
    return np.where(size > 0, size, 1.0)
