"""Standardise inputs and targets by statistics of all meta-training tasks or of each task.

One rule for what does not vary holds in meta-training, `fit` and stacks of tasks alike:

- An input takes the scale of a typical task of meta-training (the geometric mean of the tasks in
  which it varies). One that varies in no task of meta-training carries no information: its scale is
  infinite, so that it is standardised to 0 whatever its value.
- A target takes the scale of a typical task as well, or else the spread between tasks. Where no
  targets vary at all, the scale is their absolute value, or 1 if they are zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from torch import Tensor

from sklearn_meta._devices import exact
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.tables import blocks

__all__ = [
    "SCALINGS",
    "Limits",
    "Moments",
    "Scaling",
    "TaskStatistics",
    "row_axes",
    "scale_departures",
    "scaling_of",
    "standardise_tasks",
    "statistics",
]

Pair = tuple[NDArray[Any], NDArray[Any]]

# A support is far from meta-training if its root mean square exceeds so many times that of the
# farthest row: of several inputs, one may be the first to become larger than ever before.
FAR = {"X": 30.0, "y": 10.0}
CLOSE = 1e-3  # or if its standard deviation is that small against that of the least varied task
STACK_SIZE = 2**15  # numbers of X in small tasks whose scales are computed at once: 256 kB
CHANCE = 1e-5  # how seldom as many normal rows are as close together


class Scaling(NamedTuple):
    """Means and standard deviations: X -> (X - x_mean) / x_scale, and likewise y."""

    x_mean: NDArray[Any]  # (n_features,), or () for images: one number for all pixels
    x_scale: NDArray[Any]  # infinite for a feature without information
    y_mean: NDArray[Any]  # (n_outputs,); 0 and 1 for class labels
    y_scale: NDArray[Any]

    def inputs(self, X: NDArray[Any]) -> NDArray[Any]:
        """Standardise inputs, in the dtype of `X`."""
        mean, scale = self.x_mean.astype(X.dtype), self.x_scale.astype(X.dtype)
        return (X - mean) / scale

    def targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Standardise targets."""
        return (y - self.y_mean) / self.y_scale

    def original(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return predicted targets in their original units, without columns beyond the means."""
        return y[..., : self.y_mean.shape[-1]] * self.y_scale + self.y_mean

    def deviations(self, output: NDArray[Any]) -> NDArray[Any]:
        """Return standard deviations in original units, where log-variances follow the means."""
        return np.exp(output[..., self.y_mean.shape[-1] :] / 2) * self.y_scale


class Limits(NamedTuple):
    """How far rows and tasks of meta-training went, in the units of its :class:`Scaling`."""

    x_most: NDArray[Any]  # largest absolute value of any standardised row
    x_least: NDArray[Any]  # smallest standard deviation of any task in which the feature varies
    y_most: NDArray[Any]
    y_least: NDArray[Any]

    def join(self, other: Limits) -> Limits:
        """Return the wider of two limits."""
        pairs = zip((np.maximum, np.minimum) * 2, self, other, strict=True)
        return Limits(*(np.asarray(wider(a, b)) for wider, a, b in pairs))


# ---- statistics of all tasks -----------------------------------------------------------------


class Moments:
    """Mean, standard deviation and range of rows that come in parts.

    The parts are merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm
    for computing sample variances", 1979. Only a block of rows is converted at once, and of a
    sparse part only its entries. With `all_axes`, one number stands for all entries, as for images.
    """

    def __init__(self, *, all_axes: bool) -> None:
        self.all_axes = all_axes
        self.dtype: Any = None
        self.n = 0.0  # rows, or the sum of their weights
        self.mean, self.squares = np.zeros(()), np.zeros(())
        self.low, self.high = np.array(np.inf), np.array(-np.inf)

    def add(self, rows: Any, weight: NDArray[Any] | None = None) -> None:
        """Add at least one row of an ndarray or csr_array, with positive weights if any."""
        self._promote(rows.dtype)
        begin = 0
        for block in blocks(rows):
            end = begin + block.shape[0]
            of_block = None if weight is None else weight[begin:end]
            moments = sparse_moments if issparse(block) else self._dense_moments
            self._merge(*moments(block, of_block))
            begin = end

    def merge(self, other: Moments) -> None:
        """Add the rows of another object."""
        self._promote(other.dtype)
        self._merge(other.n, other.mean, other.squares, other.low, other.high)

    def add_parts(
        self,
        rows: NDArray[Any],  # (n_parts, n_rows, ...)
        axes: tuple[int, ...],
        mean: NDArray[Any],  # of each part over the axes
        variance: NDArray[Any],
    ) -> None:
        """Add parts with as many rows each, whose moments are known."""
        self._promote(rows.dtype)
        n = rows[0].size if self.all_axes else rows.shape[1]
        of_all = mean.mean(0)
        squares = n * (variance + (mean - of_all) ** 2).sum(0)
        low, high = rows.min((0, *axes)), rows.max((0, *axes))
        self._merge(n * len(rows), of_all, squares, low, high)

    def result(self) -> Pair:
        """Return mean and standard deviation, which is exactly 0 where nothing varies."""
        mean = np.asarray(self.mean)
        return mean, scale_of(mean, self.squares / self.n, self.dtype)

    def _promote(self, dtype: Any) -> None:
        self.dtype = dtype if self.dtype is None else np.result_type(self.dtype, dtype)

    def _merge(self, n: float, mean: Any, squares: Any, low: Any, high: Any) -> None:
        delta, total = mean - self.mean, self.n + n
        self.squares = self.squares + squares + delta**2 * (self.n * n / total)
        self.mean = self.mean + delta * (n / total)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.n = total

    def _dense_moments(
        self, block: NDArray[Any], weight: NDArray[Any] | None
    ) -> tuple[float, Any, Any, Any, Any]:
        axes = tuple(range(block.ndim)) if self.all_axes else (0,)
        n: float = block.size if self.all_axes else len(block)
        if weight is None:
            mean = block.mean(axes, dtype=np.float64)
            variance = block.var(axes, dtype=np.float64)
        else:
            share = weight.reshape(-1, *[1] * (block.ndim - 1)) / (weight.mean() * n)
            mean = (share * block).sum(axes)
            variance = (share * (block - mean) ** 2).sum(axes)
            n *= float(weight.mean())
        return n, mean, variance * n, block.min(axes), block.max(axes)


def scale_of(mean: NDArray[Any], variance: Any, dtype: Any) -> NDArray[Any]:
    """Return the standard deviation, exactly 0 where nothing varies by more than rounding."""
    scale = np.sqrt(variance)
    return np.where(scale <= 10 * precision_of(dtype) * np.abs(mean), 0.0, scale)


def sparse_moments(block: Any, weight: NDArray[Any] | None) -> tuple[float, Any, Any, Any, Any]:
    """Return number, mean, sum of squared deviations and range of the rows of a csr_array."""
    n, d = block.shape
    values, of_entry = block.data.astype(np.float64), np.ones(())
    if weight is not None:
        n, of_entry = weight.sum(), np.repeat(weight, np.diff(block.indptr))
    n_entries = np.bincount(block.indices, np.broadcast_to(of_entry, values.shape), minlength=d)
    mean = np.bincount(block.indices, of_entry * values, minlength=d) / n
    deviations = of_entry * (values - mean[block.indices]) ** 2
    squares = np.bincount(block.indices, weights=deviations, minlength=d)
    squares += (n - n_entries) * mean**2
    low, high = (extreme(axis=0).toarray().ravel() for extreme in (block.min, block.max))
    return n, mean, squares, low, high


class TaskMoments:
    """Moments of the rows of all tasks together, and of the scales of single tasks."""

    def __init__(self, *, all_axes: bool) -> None:
        self.rows = Moments(all_axes=all_axes)
        self.n_varying, self.log_scales = np.zeros((), int), np.zeros(())
        self.least = np.array(np.inf)

    def add(self, rows: Any, weight: NDArray[Any] | None = None) -> None:
        """Add all rows of a task, with positive weights (n_rows,) if there are any."""
        moments = Moments(all_axes=self.rows.all_axes)
        moments.add(rows, weight)
        self.rows.merge(moments)
        _, scale = moments.result()
        self._add_scales(scale[None])

    def add_stack(self, rows: NDArray[Any]) -> None:
        """Add all rows of some tasks (n_tasks, n_rows, ...) without weights, in one pass."""
        axes = tuple(range(1, rows.ndim)) if self.rows.all_axes else (1,)
        mean = rows.mean(axes, dtype=np.float64)
        variance = rows.var(axes, dtype=np.float64)
        self.rows.add_parts(rows, axes, mean, variance)
        self._add_scales(scale_of(mean, variance, rows.dtype))

    def _add_scales(self, scale: NDArray[Any]) -> None:
        """Add the standard deviations of tasks (n_tasks, ...)."""
        varies = scale > 0
        self.n_varying = self.n_varying + varies.sum(0)
        self.log_scales = self.log_scales + np.log(np.where(varies, scale, 1.0)).sum(0)
        self.least = np.minimum(self.least, np.where(varies, scale, np.inf).min(0))

    def typical(self) -> NDArray[Any]:
        """Return the geometric mean of the scales of tasks; 0 where no task varies."""
        n = self.n_varying
        return np.where(n > 0, np.exp(self.log_scales / np.maximum(n, 1)), 0.0)


def pooled_scaling(x: TaskMoments, y: TaskMoments | None) -> Scaling:
    """Standardise by all rows of meta-training; `y` is None for labels, which are not scaled."""
    mean, scale = x.rows.result()
    targets = unscaled() if y is None else with_target_scale(*y.rows.result())
    return Scaling(mean, or_infinite(scale), *targets)


def typical_scaling(x: TaskMoments, y: TaskMoments | None) -> Scaling:
    """Divide by the scales of a typical task, which replace those of a task without variation."""
    scale = or_infinite(x.typical())
    if y is None:
        return Scaling(np.zeros_like(scale), scale, *unscaled())
    mean, spread = y.rows.result()
    typical = y.typical()
    _, y_scale = with_target_scale(mean, np.where(typical > 0, typical, spread))
    return Scaling(np.zeros_like(scale), scale, np.zeros_like(mean), y_scale)


def target_scaling(x: TaskMoments, y: TaskMoments | None) -> Scaling:
    """Standardise targets by all rows of meta-training, and leave inputs as they are."""
    inputs = np.zeros_like(x.rows.mean), np.ones_like(x.rows.mean)
    targets = unscaled() if y is None else with_target_scale(*y.rows.result())
    return Scaling(*inputs, *targets)


SCALINGS = {"pooled": pooled_scaling, "task": typical_scaling, "targets": target_scaling}


def no_scaling(n_features: int, n_outputs: int) -> Scaling:
    """Leave rows and targets in their own units."""
    return Scaling(
        np.zeros(n_features), np.ones(n_features), np.zeros(n_outputs), np.ones(n_outputs)
    )


def limits_of(scaling: Scaling, x: TaskMoments, y: TaskMoments | None) -> Limits:
    """Return how far rows and tasks went, in the units of a scaling."""

    def limits(moments: TaskMoments, mean: NDArray[Any], scale: NDArray[Any]) -> Pair:
        rows, least = moments.rows, moments.least
        most = np.maximum(np.abs(rows.low - mean), np.abs(rows.high - mean)) / scale
        most = np.where(most > 0, most, np.inf)  # a feature that is always 0 sets no limit
        return most, np.asarray(np.where(np.isfinite(least), least, 0.0) / scale)

    x_limits = limits(x, scaling.x_mean, scaling.x_scale)
    if y is None:
        return Limits(*x_limits, np.array([np.inf]), np.zeros(1))
    return Limits(*x_limits, *limits(y, scaling.y_mean, scaling.y_scale))


class TaskStatistics:
    """The dtypes and scales of the tasks of meta-training, which come one after the other."""

    def __init__(self, first: Task, target_type: str, *, scales: bool = True) -> None:
        self.first, self.is_class = first, target_type == "class"
        self.dtypes = {first.dtype}
        self._of_X = TaskMoments(all_axes=len(first.row_shape) > 1) if scales else None
        self._of_y = TaskMoments(all_axes=False) if scales and not self.is_class else None
        self._waiting: list[Task] = []  # small tasks of one form, to be added together
        self._form: tuple[Any, ...] | None = None  # theirs; None: one that is added alone

    def add(self, task: Task) -> None:
        """Add a validated task."""
        self.dtypes.add(task.dtype)
        if self._of_X is None:
            return
        form = (task.dtype, len(task), task.y.dtype) if task.sample_weight is None else None
        if form != self._form:
            self._add_waiting()
        self._form = form
        self._waiting.append(task)
        n_numbers = len(self._waiting) * len(task) * math.prod(task.row_shape)
        if form is None or n_numbers >= STACK_SIZE:
            self._add_waiting()

    def _add_waiting(self) -> None:
        tasks, self._waiting = self._waiting, []
        add_rows(self._of_X, [task.X for task in tasks], tasks)
        add_rows(self._of_y, [task.y.reshape(len(task), -1) for task in tasks], tasks)

    @property
    def of_X(self) -> TaskMoments | None:
        """Moments of the inputs of all tasks."""
        self._add_waiting()
        return self._of_X

    @property
    def of_y(self) -> TaskMoments | None:
        """Moments of the targets of all tasks; None of labels."""
        self._add_waiting()
        return self._of_y

    def scaling(self, name: str | None) -> Scaling:
        """Return the scaling of this name."""
        if name is None:
            shape = self.first.row_shape
            n_outputs = 1 if self.is_class else self.first.y[:1].size
            return no_scaling(shape[0] if len(shape) == 1 else 1, n_outputs)
        assert self.of_X is not None
        return SCALINGS[name](self.of_X, self.of_y)

    def limits(self, scaling: Scaling, earlier: Limits | None) -> Limits | None:
        """Return how far rows go in the units of a scaling, also those with earlier limits."""
        if self.of_X is None:
            return earlier
        limits = limits_of(scaling, self.of_X, self.of_y)
        return limits if earlier is None else earlier.join(limits)


def add_rows(moments: TaskMoments | None, rows: Sequence[Any], tasks: Sequence[Task]) -> None:
    """Add the inputs or targets of tasks of one form, at once where they are dense."""
    if moments is None:
        return
    if len(tasks) > 1 and not any(map(issparse, rows)):
        moments.add_stack(np.stack(rows))
        return
    for part, task in zip(rows, tasks, strict=True):
        moments.add(part, task.sample_weight)


# ---- statistics of each task -----------------------------------------------------------------


def statistics(values: Any, weight: Any, axes: tuple[int, ...], eps: float) -> tuple[Any, Any]:
    """Return weighted mean and standard deviation (*B, 1, ...) of each task, in numpy or torch.

    `values` (*B, n, ...), of precision `eps`, are averaged over negative `axes`: rows, and pixels
    of images. Rows of weight 0 do not count, whatever they hold. The standard deviation is exactly
    0 where nothing varies by more than rounding errors.
    """
    row_shape = values.shape[weight.ndim :]
    total = weight.sum(-1, keepdims=True)
    share = weight / (total + (total == 0))  # no rows have mean and scale 0
    share = share.reshape(*weight.shape, *[1] * len(row_shape))
    if len(axes) > 1:
        share = share / math.prod(row_shape)
    counts = share > 0
    mean = (share * values).sum(axes, keepdims=True)
    centred = (values - mean) * counts
    shift = (share * centred).sum(axes, keepdims=True)  # the rounding error of the mean
    mean, centred = mean + shift, (centred - shift) * counts
    unit = (share * abs(centred)).sum(axes, keepdims=True)
    relative = centred / (unit + (unit == 0))  # its squares neither overflow nor underflow
    scale = unit * (share * relative * relative).sum(axes, keepdims=True) ** 0.5
    return mean, scale * (scale > 10 * eps * abs(mean))


def row_axes(row_ndim: int) -> tuple[int, ...]:
    """Return the axes to average over: rows, and the pixels of images."""
    return (-2,) if row_ndim == 1 else tuple(range(-1 - row_ndim, 0))


def scaling_of(
    X: NDArray[Any],
    y: NDArray[Any] | None,
    weight: NDArray[Any],
    typical: Scaling | None = None,
) -> Scaling:
    """Standardise a task (n, ...), or each of a stack (B, n, ...), by its own rows.

    `y` is None for labels, which are not scaled. `typical`, from :func:`typical_scaling`, replaces
    the scale of what does not vary; None without meta-training.
    """
    mean, scale = task_statistics(X, weight)
    if typical is not None:
        scale = np.where(scale > 0, scale, typical.x_scale)
        scale = np.where(np.isfinite(typical.x_scale), scale, np.inf)
    if y is None:
        return Scaling(mean, or_infinite(scale), *unscaled())
    y_mean, y_scale = task_statistics(y, weight)
    if typical is not None:
        y_scale = np.where(y_scale > 0, y_scale, typical.y_scale)
    return Scaling(mean, or_infinite(scale), *with_target_scale(y_mean, y_scale))


def task_statistics(values: NDArray[Any], weight: NDArray[Any]) -> Pair:
    """Return mean and standard deviation of a task, or of each of a stack, in float64."""
    axes = row_axes(values.ndim - weight.ndim)
    wide = values.astype(np.float64, copy=False)
    mean, scale = statistics(wide, weight, axes, precision_of(values.dtype))
    return (mean, scale) if weight.ndim > 1 else (mean.squeeze(axes), scale.squeeze(axes))


def standardise_tasks(support: Tensor, query: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Standardise each task of a stack by its support, in units of the typical scale (1)."""
    axes = row_axes(support.ndim - weight.ndim)
    values, eps = exact(support), torch.finfo(support.dtype).eps
    mean, scale = (part.to(support) for part in statistics(values, exact(weight), axes, eps))
    scale = torch.where(scale > 0, scale, 1.0)
    return (support - mean) / scale, (query - mean) / scale


def unscaled() -> Pair:
    """Return the mean and scale of labels."""
    return np.zeros(1), np.ones(1)


def or_infinite(scale: NDArray[Any]) -> NDArray[Any]:
    """Replace the scale of inputs that never vary."""
    return np.where(scale > 0, scale, np.inf)


def with_target_scale(mean: NDArray[Any], scale: NDArray[Any]) -> Pair:
    """Replace the scale of targets that never vary by their size."""
    return mean, np.where(scale > 0, scale, np.where(mean != 0, np.abs(mean), 1.0))


def precision_of(dtype: Any) -> float:
    """Return the relative rounding error of a dtype."""
    return float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps)


# ---- supports in other units -----------------------------------------------------------------


def scale_departures(
    scaling: Scaling,
    limits: Limits,
    X: NDArray[Any],
    y: NDArray[Any] | None,
    weight: NDArray[Any],
    feature_names: Sequence[str] | None,
) -> dict[int, str]:
    """Return by position which supports of a stack are far from meta-training, and how far."""
    y_far = {} if y is None else departures("y", y, weight, scaling[2:], limits[2:], None)
    return y_far | departures("X", X, weight, scaling[:2], limits[:2], feature_names)


def departures(
    what: str,
    values: NDArray[Any],
    weight: NDArray[Any],
    mean_and_scale: Sequence[NDArray[Any]],
    limits: Sequence[NDArray[Any]],
    names: Sequence[str] | None,
) -> dict[int, str]:
    """Compare the mean and spread of inputs or targets of each task with limits."""
    n_tasks, (centre, unit), (most, least) = len(values), mean_and_scale, limits
    mean, scale = (part.reshape(n_tasks, -1) for part in task_statistics(values, weight))
    spread = scale / unit
    distance = np.hypot((mean - centre) / unit, spread)
    n_rows = (weight > 0).sum(-1, keepdims=True)
    is_far = (distance > FAR[what] * most) & (n_rows > 0)
    if values.ndim > 3:
        n_rows = n_rows * values[0, 0].size
    power = 1 / np.maximum(n_rows - 1, 1)
    n_columns, varies = spread.shape[1], spread > 0
    share = np.minimum(CLOSE / n_columns, (CHANCE / n_columns) ** power)  # of a single column
    is_close = varies & (spread < share * least)
    share = np.minimum(CLOSE, CHANCE**power)  # of all columns together
    is_close |= (varies & (spread < share * least)).all(axis=1, keepdims=True)
    messages = {}
    for i in np.flatnonzero(is_far.any(axis=1) | is_close.any(axis=1)).tolist():
        if is_far[i].any():
            ratio = np.where(is_far[i], distance[i] / most, 0.0)
            k = int(ratio.argmax())
            how = f"{ratio[k]:.3g} times as far out as any row"
        else:
            ratio = np.where(is_close[i], spread[i] / np.where(is_close[i], least, 1.0), np.inf)
            k = int(ratio.argmin())
            how = f"only {ratio[k]:.3g} times as spread out as any task"
        which = what if n_columns == 1 else f"column {names[k] if names else k!r} of {what}"
        messages[i] = f"is far from the scale of meta-training: {which} is {how} there"
    return messages
