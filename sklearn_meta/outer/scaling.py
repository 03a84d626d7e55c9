"""Standardised inputs and targets, by statistics of all meta-training tasks or of each task.

One rule says what happens where nothing varies, in meta-training, `fit` and stacks of tasks alike:

- An input takes the scale of a typical task of meta-training (the geometric mean of those in which
  it varies). One that varies in no task of meta-training tells nothing: its scale is infinite, so
  that it is standardised to 0 whatever its value.
- A target takes the scale of a typical task as well, or else the spread between tasks. Where no
  targets vary at all, the scale is their absolute value, or 1 if they are zero.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from torch import Tensor

from sklearn_meta.tasks.arrays import blocks

__all__ = [
    "Limits",
    "Moments",
    "Scaling",
    "TaskMoments",
    "limits_of",
    "own_statistics",
    "pooled_scaling",
    "row_axes",
    "scaling_of",
    "standardise_tasks",
    "statistics",
    "typical_scaling",
]

Pair = tuple[NDArray[Any], NDArray[Any]]


class Scaling(NamedTuple):
    """Means and standard deviations: X -> (X - x_mean) / x_scale, and likewise y.

    Attributes
    ----------
    x_mean, x_scale : ndarray of shape (n_features,) or ()
        For vectors one a feature; for images one number for all pixels. An infinite scale is that
        of a feature that tells nothing: it is standardised to 0.
    y_mean, y_scale : ndarray of shape (n_outputs,)
        For class labels 0 and 1.
    """

    x_mean: NDArray[Any]
    x_scale: NDArray[Any]
    y_mean: NDArray[Any]
    y_scale: NDArray[Any]

    def inputs(self, X: NDArray[Any]) -> NDArray[Any]:
        """Standardise inputs, in the dtype of `X`."""
        mean, scale = self.x_mean.astype(X.dtype), self.x_scale.astype(X.dtype)
        return (X - mean) / scale

    def targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Standardise targets."""
        return (y - self.y_mean) / self.y_scale

    def original(self, y: NDArray[Any]) -> NDArray[Any]:
        """Put predicted targets back on their own scale."""
        return y * self.y_scale + self.y_mean


class Limits(NamedTuple):
    """How far rows and tasks of meta-training went, in the units of its :class:`Scaling`.

    Attributes
    ----------
    x_most, y_most : ndarray
        The largest absolute value of any row, as it is standardised.
    x_least, y_least : ndarray
        The smallest standard deviation of any task, of those that are not zero.
    """

    x_most: NDArray[Any]
    x_least: NDArray[Any]
    y_most: NDArray[Any]
    y_least: NDArray[Any]

    def join(self, other: Limits) -> Limits:
        """Take the wider of two."""
        pairs = zip((np.maximum, np.minimum) * 2, self, other, strict=True)
        return Limits(*(np.asarray(wider(a, b)) for wider, a, b in pairs))


class Moments:
    """Mean, standard deviation and range of rows that come one part after the other.

    Parameters
    ----------
    all_axes : bool
        Whether one number stands for all entries, as for images, rather than one a column.

    Notes
    -----
    Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979. No more than a block of rows is computed on at once, and of a sparse part
    only what it holds.
    """

    def __init__(self, *, all_axes: bool) -> None:
        self.all_axes = all_axes
        self.dtype: Any = None
        self.n, self.mean, self.squares = 0, np.zeros(()), np.zeros(())
        self.low, self.high = np.array(np.inf), np.array(-np.inf)

    def add(self, part: Any) -> None:
        """Count in rows, an ndarray or csr_array of shape (n_rows, ...), at least one."""
        self._meet(part.dtype)
        for block in blocks(part):
            self._merge(*(_of_sparse if issparse(block) else self._of)(block))

    def merge(self, other: Moments) -> None:
        """Count in the rows of another."""
        self._meet(other.dtype)
        self._merge(other.n, other.mean, other.squares, other.low, other.high)

    def result(self) -> Pair:
        """Return mean and standard deviation, which is exactly 0 where nothing varies."""
        mean, scale = np.asarray(self.mean), np.sqrt(self.squares / self.n)
        return mean, np.where(scale <= 10 * _eps(self) * np.abs(mean), 0.0, scale)

    def _meet(self, dtype: Any) -> None:
        self.dtype = dtype if self.dtype is None else np.result_type(self.dtype, dtype)

    def _merge(self, n: int, mean: Any, squares: Any, low: Any, high: Any) -> None:
        delta, total = mean - self.mean, self.n + n
        self.squares = self.squares + squares + delta**2 * (self.n * n / total)
        self.mean = self.mean + delta * (n / total)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.n = total

    def _of(self, block: NDArray[Any]) -> tuple[int, Any, Any, Any, Any]:
        axes = tuple(range(block.ndim)) if self.all_axes else (0,)
        n = block.size if self.all_axes else len(block)
        mean = block.mean(axes, dtype=np.float64)
        squares = block.var(axes, dtype=np.float64) * n
        return n, mean, squares, block.min(axes), block.max(axes)


def _of_sparse(block: Any) -> tuple[int, Any, Any, Any, Any]:
    n, d = block.shape
    values = block.data.astype(np.float64)
    there = np.bincount(block.indices, minlength=d)
    mean = np.bincount(block.indices, weights=values, minlength=d) / n
    around = (values - mean[block.indices]) ** 2
    squares = np.bincount(block.indices, weights=around, minlength=d) + (n - there) * mean**2
    low, high = (extreme(axis=0).toarray().ravel() for extreme in (block.min, block.max))
    return n, mean, squares, low, high


class TaskMoments:
    """Moments of the rows of all tasks together, and of the scales that single tasks have.

    Parameters
    ----------
    all_axes : bool
        As for :class:`Moments`.
    """

    def __init__(self, *, all_axes: bool) -> None:
        self.rows = Moments(all_axes=all_axes)
        self.n_varying, self.log_scales = np.zeros((), int), np.zeros(())
        self.least = np.array(np.inf)

    def add(self, part: Any) -> None:
        """Count in all rows of a task."""
        own = Moments(all_axes=self.rows.all_axes)
        own.add(part)
        self.rows.merge(own)
        _, scale = own.result()
        varies = scale > 0
        self.n_varying = self.n_varying + varies
        self.log_scales = self.log_scales + np.log(np.where(varies, scale, 1.0))
        self.least = np.minimum(self.least, np.where(varies, scale, np.inf))

    def typical(self) -> NDArray[Any]:
        """Return the geometric mean of the scales of tasks; 0 where no task varies."""
        n = self.n_varying
        return np.where(n > 0, np.exp(self.log_scales / np.maximum(n, 1)), 0.0)


def pooled_scaling(x: TaskMoments, y: TaskMoments | None) -> Scaling:
    """Standardise by all rows of meta-training; `y` is None for labels, which are not scaled."""
    mean, scale = x.rows.result()
    targets = _unscaled() if y is None else _with_target_scale(*y.rows.result())
    return Scaling(mean, _or_infinite(scale), *targets)


def typical_scaling(x: TaskMoments, y: TaskMoments | None) -> Scaling:
    """Divide by the scales of a typical task, which are those of a task where nothing varies."""
    scale = _or_infinite(x.typical())
    if y is None:
        return Scaling(np.zeros_like(scale), scale, *_unscaled())
    mean, spread = y.rows.result()
    typical = y.typical()
    _, of_targets = _with_target_scale(mean, np.where(typical > 0, typical, spread))
    return Scaling(np.zeros_like(scale), scale, np.zeros_like(mean), of_targets)


def limits_of(scaling: Scaling, x: TaskMoments, y: TaskMoments | None) -> Limits:
    """Express how far rows and tasks went in the units of a scaling."""
    most, least = _limits(x, scaling.x_mean, scaling.x_scale)
    if y is None:
        return Limits(most, least, np.array([np.inf]), np.zeros(1))
    return Limits(most, least, *_limits(y, scaling.y_mean, scaling.y_scale))


def _limits(moments: TaskMoments, mean: NDArray[Any], scale: NDArray[Any]) -> Pair:
    rows, least = moments.rows, moments.least
    most = np.maximum(np.abs(rows.low - mean), np.abs(rows.high - mean)) / scale
    most = np.where(most > 0, most, np.inf)  # what never differs from 0 sets no limit
    return most, np.asarray(np.where(np.isfinite(least), least, 0.0) / scale)


def scaling_of(
    X: NDArray[Any],
    y: NDArray[Any] | None,
    weight: NDArray[Any],
    typical: Scaling | None = None,
) -> Scaling:
    """Standardise a task, or each of a stack, by its own rows.

    Parameters
    ----------
    X : ndarray of shape (n_rows, ...) or (n_tasks, n_rows, ...)
        Inputs.
    y : ndarray of shape (n_rows, n_outputs) or (n_tasks, n_rows, n_outputs), or None
        Real targets; None for labels, which are not scaled.
    weight : ndarray of shape (n_rows,) or (n_tasks, n_rows)
        Of each row, 0 for padding.
    typical : Scaling or None, default=None
        From :func:`typical_scaling`, for what does not vary; None without meta-training.

    Returns
    -------
    Scaling
        For a stack, of arrays of shape (n_tasks, 1, ...).
    """
    mean, scale = own_statistics(X, weight)
    if typical is not None:
        scale = np.where(scale > 0, scale, typical.x_scale)
        scale = np.where(np.isfinite(typical.x_scale), scale, np.inf)
    if y is None:
        return Scaling(mean, _or_infinite(scale), *_unscaled())
    y_mean, y_scale = own_statistics(y, weight)
    if typical is not None:
        y_scale = np.where(y_scale > 0, y_scale, typical.y_scale)
    return Scaling(mean, _or_infinite(scale), *_with_target_scale(y_mean, y_scale))


def _unscaled() -> Pair:
    return np.zeros(1), np.ones(1)


def own_statistics(values: NDArray[Any], weight: NDArray[Any]) -> Pair:
    """Mean and standard deviation of a task, or of each of a stack, in float64."""
    axes = row_axes(values.ndim - weight.ndim)
    mean, scale = statistics(values.astype(np.float64, copy=False), weight, axes, _eps(values))
    return (mean, scale) if weight.ndim > 1 else (mean.squeeze(axes), scale.squeeze(axes))


def _eps(values: Any) -> float:
    return float(np.finfo(values.dtype if values.dtype.kind == "f" else np.float64).eps)


def _or_infinite(scale: NDArray[Any]) -> NDArray[Any]:
    return np.where(scale > 0, scale, np.inf)


def _with_target_scale(mean: NDArray[Any], scale: NDArray[Any]) -> Pair:
    alone = np.where(mean != 0, np.abs(mean), 1.0)
    return mean, np.where(scale > 0, scale, alone)


def row_axes(row_ndim: int) -> tuple[int, ...]:
    """Name the axes that statistics average over: of images, the pixels too."""
    return (-2,) if row_ndim == 1 else tuple(range(-1 - row_ndim, 0))


def statistics(values: Any, weight: Any, axes: tuple[int, ...], eps: float) -> tuple[Any, Any]:
    """Weighted mean and standard deviation of each task of a stack, for numpy and torch alike.

    Parameters
    ----------
    values : ndarray or Tensor of shape (*B, n, ...)
        Inputs or targets.
    weight : ndarray or Tensor of shape (*B, n)
        Of each row; rows of weight 0 do not count, whatever they hold.
    axes : tuple of int
        Negative axes to average over: rows, and pixels for images.
    eps : float
        Precision in which the values were given.

    Returns
    -------
    mean, scale : ndarray or Tensor of shape (*B, 1, ...)
        The standard deviation is exactly 0 where nothing varies by more than rounding errors.
    """
    row_shape = values.shape[weight.ndim :]
    share = weight / weight.sum(-1, keepdims=True)
    share = share.reshape(*weight.shape, *[1] * len(row_shape))
    if len(axes) > 1:
        share = share / math.prod(row_shape)
    here = share > 0
    mean = (share * values).sum(axes, keepdims=True)
    centred = (values - mean) * here
    shift = (share * centred).sum(axes, keepdims=True)  # what rounding took from the mean
    mean, centred = mean + shift, (centred - shift) * here
    unit = (share * abs(centred)).sum(axes, keepdims=True)
    relative = centred / (unit + (unit == 0))  # its squares neither overflow nor underflow
    scale = unit * (share * relative * relative).sum(axes, keepdims=True) ** 0.5
    return mean, scale * (scale > 10 * eps * abs(mean))


def standardise_tasks(
    support: Tensor, query: Tensor, weight: Tensor, axes: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Standardise each task of a stack by the statistics of its own support.

    Parameters
    ----------
    support, query : Tensor of shape (*B, n, ...)
        Inputs or targets, in units of the typical scale: that is 1.
    weight : Tensor of shape (*B, n)
        Of the support rows.
    axes : tuple of int
        Negative axes to average over: rows, and pixels for images.

    Returns
    -------
    support, query : Tensor
        Of the same shapes.
    """
    exact = support.dtype if support.device.type == "mps" else torch.float64  # which it lacks
    values, eps = support.to(exact), torch.finfo(support.dtype).eps
    mean, scale = (part.to(support) for part in statistics(values, weight.to(exact), axes, eps))
    scale = torch.where(scale > 0, scale, 1.0)
    return (support - mean) / scale, (query - mean) / scale
