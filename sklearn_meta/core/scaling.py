"""Standardised inputs and targets, by statistics of all meta-training tasks or of each task."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from torch import Tensor

from sklearn_meta.tasks.arrays import blocks

__all__ = ["Moments", "Scaling", "scaling_of", "standardise_tasks"]


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


class Moments:
    """Mean and standard deviation of rows that come one part after the other.

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

    def add(self, part: Any) -> None:
        """Count rows in.

        Parameters
        ----------
        part : ndarray or csr_array of shape (n_rows, ...)
            At least one.
        """
        self.dtype = part.dtype if self.dtype is None else np.result_type(self.dtype, part.dtype)
        for block in blocks(part):
            n, mean, squares = (_of_sparse if issparse(block) else self._of)(block)
            delta, total = mean - self.mean, self.n + n
            self.squares = self.squares + squares + delta**2 * (self.n * n / total)
            self.mean = self.mean + delta * (n / total)
            self.n = total

    def result(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Give both.

        Returns
        -------
        mean, scale : ndarray of shape (n_columns,) or ()
            The standard deviation is 1 where nothing varies.
        """
        mean, scale = np.asarray(self.mean), np.sqrt(self.squares / self.n)
        return mean, _without_zeros(mean, scale, self.dtype)

    def _of(self, block: NDArray[Any]) -> tuple[int, NDArray[Any], NDArray[Any]]:
        axes = tuple(range(block.ndim)) if self.all_axes else (0,)
        n = block.size if self.all_axes else len(block)
        mean = block.mean(axes, dtype=np.float64)
        return n, mean, block.var(axes, dtype=np.float64) * n


def _of_sparse(block: Any) -> tuple[int, NDArray[Any], NDArray[Any]]:
    n, d = block.shape
    values = block.data.astype(np.float64)
    there = np.bincount(block.indices, minlength=d)
    mean = np.bincount(block.indices, weights=values, minlength=d) / n
    around = (values - mean[block.indices]) ** 2
    return n, mean, np.bincount(block.indices, weights=around, minlength=d) + (n - there) * mean**2


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
