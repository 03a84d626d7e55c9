"""Standardised inputs and targets, by statistics of all meta-training tasks or of each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Scaling", "scaling_of", "scaling_of_tasks", "standardise_tasks"]


class Scaling(NamedTuple):
    """Means and standard deviations: X -> (X - x_mean) / x_scale, and likewise y.

    Attributes
    ----------
    x_mean, x_scale : ndarray of shape (n_features,) or ()
        For vectors one a feature; for images one number for all pixels.
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


def scaling_of(
    X: NDArray[Any], y: NDArray[Any] | None, weight: NDArray[Any] | None = None
) -> Scaling:
    """Weighted mean and standard deviation of rows.

    Parameters
    ----------
    X : ndarray of shape (n_rows, ...)
        Inputs.
    y : ndarray of shape (n_rows, n_outputs) or None
        Real targets; None for labels, which are not scaled.
    weight : ndarray of shape (n_rows,), default=None
        Of each row.

    Returns
    -------
    Scaling
        With a scale of 1 where nothing varies.
    """
    axes = (0,) if X.ndim == 2 else tuple(range(X.ndim))
    if y is None:
        return Scaling(*_moments(X, axes, weight), np.zeros(1), np.ones(1))
    return Scaling(*_moments(X, axes, weight), *_moments(y, (0,), weight))


def scaling_of_tasks(X: Sequence[NDArray[Any]], y: Sequence[NDArray[Any]] | None) -> Scaling:
    """Mean and standard deviation of the rows of all tasks, which are never copied together.

    Parameters
    ----------
    X : sequence of ndarray of shape (n_rows, ...)
        Inputs of each task.
    y : sequence of ndarray of shape (n_rows, n_outputs) or None
        Real targets; None for labels, which are not scaled.

    Returns
    -------
    Scaling
        With a scale of 1 where nothing varies.
    """
    axes = (0,) if X[0].ndim == 2 else tuple(range(X[0].ndim))
    return Scaling(
        *_pooled(X, axes), *((np.zeros(1), np.ones(1)) if y is None else _pooled(y, (0,)))
    )


def _pooled(
    parts: Sequence[NDArray[Any]], axes: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """By the law of total variance, Var = E Var + Var E."""
    share = np.array([part.size for part in parts]) / sum(part.size for part in parts)
    means = np.stack([part.mean(axes, dtype=np.float64) for part in parts])
    variances = np.stack([part.var(axes, dtype=np.float64) for part in parts])
    mean = np.tensordot(share, means, 1)
    scale = np.sqrt(np.tensordot(share, variances + (means - mean) ** 2, 1))
    return mean, _without_zeros(mean, scale, np.result_type(*parts))


def _without_zeros(mean: NDArray[Any], scale: NDArray[Any], dtype: Any) -> NDArray[Any]:
    eps = np.finfo(dtype if dtype.kind == "f" else np.float64).eps
    return np.where(scale <= 10 * eps * np.abs(mean), 1.0, scale)


def _moments(
    values: NDArray[Any], axes: tuple[int, ...], weight: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    w = np.ones(len(values)) if weight is None else np.asarray(weight, dtype=np.float64)
    w = np.broadcast_to(w.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
    # relative to the first weighted row: large offsets then do not cost digits
    origin = values[np.argmax(w.reshape(len(values), -1)[:, 0] > 0)].astype(np.float64)
    origin = origin if len(axes) == 1 else origin.mean()
    centred = values - origin
    mean = np.average(centred, axis=axes, weights=w)
    scale = np.sqrt(np.average((centred - mean) ** 2, axis=axes, weights=w))
    mean, scale = np.asarray(mean + origin), np.asarray(scale)
    return mean, _without_zeros(mean, scale, values.dtype)


def standardise_tasks(
    support: Tensor, query: Tensor, weight: Tensor, axes: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Standardise each task of a stack by the statistics of its own support.

    Parameters
    ----------
    support, query : Tensor of shape (*B, n, ...)
        Inputs or targets.
    weight : Tensor of shape (*B, n)
        Of the support rows.
    axes : tuple of int
        Negative axes to average over: rows, and pixels for images.

    Returns
    -------
    support, query : Tensor
        Of the same shapes.
    """
    w = weight.reshape(*weight.shape, *[1] * (support.ndim - weight.ndim)).expand_as(support)
    total = w.sum(axes, keepdim=True)
    mean = (w * support).sum(axes, keepdim=True) / total
    scale = ((w * (support - mean).square()).sum(axes, keepdim=True) / total).sqrt()
    rounding = 10 * torch.finfo(support.dtype).eps * mean.abs()
    scale = torch.where(scale <= rounding, 1.0, scale)
    return (support - mean) / scale, (query - mean) / scale
