"""Ragged tasks as padded arrays, filled by index rather than task by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_meta.core.scaling import Scaling
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.arrays import dense

__all__ = ["Places", "StackScaling", "all_inputs", "padded", "places_of", "scaling_of_stack"]


class Places(NamedTuple):
    """Where the rows of the support, or of the query, of some tasks go in a stack.

    Attributes
    ----------
    flat : ndarray of int of shape (n,)
        Positions among all rows of the tasks, one task after the other.
    task, place : ndarray of int of shape (n,)
        Where each goes.
    sizes : ndarray of int of shape (n_tasks,)
        Places of each task.
    """

    flat: NDArray[np.intp]
    task: NDArray[np.intp]
    place: NDArray[np.intp]
    sizes: NDArray[np.intp]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the stack has rows, (n_tasks, n_most)."""
        return np.arange(self.sizes.max()) < self.sizes[:, None]


def places_of(tasks: Sequence[Task]) -> tuple[Places, Places]:
    """Tell support and query of tasks apart.

    Parameters
    ----------
    tasks : sequence of Task
        With a fixed support.

    Returns
    -------
    support, query : Places
        In the order of the tasks, and of the rows of each.
    """
    n_rows = np.array([len(task) for task in tasks])
    supports = [task.support for task in tasks if task.support is not None]
    n_support = np.array([len(support) for support in supports])
    begin = np.cumsum(n_rows) - n_rows
    chosen = np.zeros(n_rows.sum(), dtype=bool)
    chosen[np.repeat(begin, n_support) + np.concatenate(supports)] = True
    return _places(chosen, n_support), _places(~chosen, n_rows - n_support)


def _places(chosen: NDArray[np.bool_], sizes: NDArray[np.intp]) -> Places:
    begin = np.cumsum(sizes) - sizes
    place = np.arange(sizes.sum()) - np.repeat(begin, sizes)
    return Places(np.flatnonzero(chosen), np.repeat(np.arange(len(sizes)), sizes), place, sizes)


def padded(values: NDArray[Any], rows: Places) -> NDArray[Any]:
    """Put rows into a stack.

    Parameters
    ----------
    values : ndarray of shape (n_all, ...)
        All rows of the tasks, one task after the other.
    rows : Places
        Which of them, and where to.

    Returns
    -------
    ndarray of shape (n_tasks, n_most, ...)
        With zeros where a task has fewer rows.
    """
    stack = np.zeros((len(rows.sizes), rows.sizes.max(), *values.shape[1:]), values.dtype)
    stack[rows.task, rows.place] = values[rows.flat]
    return stack


def all_inputs(tasks: Sequence[Task], dtype: Any) -> NDArray[Any]:
    """Put the inputs of tasks one after the other.

    Parameters
    ----------
    tasks : sequence of Task
        In order.
    dtype : dtype
        Of the result.

    Returns
    -------
    ndarray of shape (n_all, ...)
        A copy.
    """
    return np.concatenate([dense(task.X) for task in tasks]).astype(dtype, copy=False)


class StackScaling(NamedTuple):
    """What :class:`Scaling` does, with statistics that may differ from task to task.

    Attributes
    ----------
    x_mean, x_scale, y_mean, y_scale : ndarray of shape (n_tasks or 1, 1, ...)
        They broadcast to a stack of rows.
    """

    x_mean: NDArray[Any]
    x_scale: NDArray[Any]
    y_mean: NDArray[Any]
    y_scale: NDArray[Any]

    def inputs(self, X: NDArray[Any]) -> Tensor:
        """Standardise inputs.

        Parameters
        ----------
        X : ndarray of shape (n_tasks, n, ...)
            A stack of rows.

        Returns
        -------
        Tensor of shape (n_tasks, n, ...)
            Of the same dtype.
        """
        return torch.from_numpy((X - self.x_mean.astype(X.dtype)) / self.x_scale.astype(X.dtype))

    def targets(self, y: NDArray[Any], dtype: Any) -> Tensor:
        """Standardise targets.

        Parameters
        ----------
        y : ndarray of shape (n_tasks, n, n_outputs)
            A stack of targets.
        dtype : dtype
            Of the result.

        Returns
        -------
        Tensor of shape (n_tasks, n, n_outputs)
            Of that dtype.
        """
        return torch.from_numpy(((y - self.y_mean) / self.y_scale).astype(dtype, copy=False))

    def original(self, y: NDArray[Any]) -> NDArray[Any]:
        """Put predicted targets back on their own scale.

        Parameters
        ----------
        y : ndarray of shape (n_tasks, n, n_outputs)
            Standardised.

        Returns
        -------
        ndarray of shape (n_tasks, n, n_outputs)
            In the units of each task.
        """
        return y * self.y_scale + self.y_mean


def scaling_of_stack(
    known: Scaling | None, X: NDArray[Any], y: NDArray[Any] | None, mask: NDArray[np.bool_]
) -> StackScaling:
    """Statistics to standardise a stack by.

    Parameters
    ----------
    known : Scaling or None
        Of all tasks; None: of the support of each.
    X : ndarray of shape (n_tasks, n, ...)
        Supports.
    y : ndarray of shape (n_tasks, n, n_outputs) or None
        Their targets; None for labels, which are not scaled.
    mask : ndarray of bool of shape (n_tasks, n)
        Where there are rows.

    Returns
    -------
    StackScaling
        As :func:`~sklearn_meta.core.scaling.scaling_of` of each task.
    """
    if known is not None:
        return StackScaling(*(np.asarray(part)[None, None] for part in known))
    none = np.zeros((1, 1, 1)), np.ones((1, 1, 1))
    axes = (1,) if X.ndim == 3 else tuple(range(1, X.ndim))
    return StackScaling(*_moments(X, axes, mask), *(none if y is None else _moments(y, (1,), mask)))


def _moments(
    values: NDArray[Any], axes: tuple[int, ...], mask: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any]]:
    here = np.broadcast_to(mask.reshape(*mask.shape, *[1] * (values.ndim - 2)), values.shape)
    # relative to the first row of each task, as for a single one
    origin = values[:, :1].astype(np.float64)
    origin = origin if len(axes) == 1 else origin.mean(axes, keepdims=True)
    centred = np.where(here, values - origin, 0.0)
    n = here.sum(axes, keepdims=True)
    mean = centred.sum(axes, keepdims=True) / n
    squares = np.where(here, (centred - mean) ** 2, 0.0)
    scale = np.sqrt(squares.sum(axes, keepdims=True) / n)
    mean = mean + origin
    eps = np.finfo(values.dtype if values.dtype.kind == "f" else np.float64).eps
    return mean, np.where(scale <= 10 * eps * np.abs(mean), 1.0, scale)
