"""Maximum mean discrepancy between tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from sklearn_meta.analysis.table import Table, table_of
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["mmd_distances"]

AT_ONCE = 2**22  # kernel values in memory: 32 MB
SAMPLE = 1000  # rows that the median is taken over


def mmd_distances(
    tasks: Sequence[Task],
    estimator: Any,
    rng: np.random.RandomState,
    *,
    bandwidth: float | None = None,
    scale: bool = True,
    squared: bool = False,
    target_type: str | None = None,
    n_reference: int | None = None,
) -> NDArray[np.float64]:
    """Measure the maximum mean discrepancy of each two tasks, by its unbiased estimate.

    Regression tasks are compared by their rows (x, y). Classification tasks are compared by their
    inputs x alone, since label sets may differ: where labels differ and inputs do not, this metric
    sees nothing, and "otdd" does.

    Parameters
    ----------
    tasks : sequence of Task
        Of at least two rows each.
    estimator : object or None
        Only its kind counts: whether `y` are labels or targets.
    rng : RandomState
        Picks the rows whose median distance is the bandwidth, if there are over 1000.
    bandwidth : float, default=None
        l of the kernel exp(-|a - b|^2 / (2 l^2)), one for all pairs. None: the median distance of
        two rows, of whatever tasks.
    scale : bool, default=True
        Standardise features and targets over all tasks; False: take them as they are.
    squared : bool, default=False
        Give MMD^2, whose estimate is negative about every other time where two tasks are the same
        distribution. False: the square root of it, or 0 where it is negative.
    target_type : {"class", "real"}, default=None
        What `y` holds; None: what `estimator` predicts, or else what it looks like.
    n_reference : int, default=None
        Scale and bandwidth by the first so many tasks, and leave distances between the others out
        (NaN); None: all.

    Returns
    -------
    ndarray of shape (n_tasks, n_tasks)
        Symmetric, 0 on the diagonal.

    Raises
    ------
    TaskError
        If a task has a single row.
    ValueError
        If `bandwidth` is not positive.
    """
    for i, task in enumerate(tasks):
        if len(task) < 2:
            raise TaskError(f"{label(task, i)}: 'mmd' needs two rows a task; got {len(task)}.")
    rows = table_of(tasks, estimator, target_type, scale=scale, n_reference=n_reference)
    points = np.hstack([rows.X, rows.y]) if rows.real else rows.X
    known = points[: rows.start[n_reference or len(tasks)]]
    width = _median(known, rng) if bandwidth is None else bandwidth
    if not (np.isfinite(width) and width > 0):
        raise ValueError(f"The bandwidth of 'mmd' must be positive; got {width!r}.")
    means = _kernel_means((points - points.mean(axis=0)) / width, rows, n_reference)
    own = np.diag(means)
    discrepancy = own[:, None] + own - 2 * means
    np.fill_diagonal(discrepancy, 0.0)
    return discrepancy if squared else np.sqrt(np.maximum(discrepancy, 0.0))


def _median(points: NDArray[np.float64], rng: np.random.RandomState) -> float:
    if len(points) > SAMPLE:
        points = points[rng.choice(len(points), SAMPLE, replace=False)]
    found = pdist(points)
    found = found[found > 0]  # rows given twice say nothing about the scale
    return float(np.median(found)) if len(found) else 1.0


def _kernel_means(
    points: NDArray[np.float64], rows: Table, n_reference: int | None
) -> NDArray[np.float64]:
    """Mean kernel value of rows of two tasks; on the diagonal, of two different rows of one."""
    n, size = rows.n_tasks, np.diff(rows.start)
    means = np.full((n, n), np.nan)
    norms = (points**2).sum(axis=1)
    last = n if n_reference is None else n_reference
    begin = 0
    while begin < last:  # tasks from begin to end against all from begin on
        room = AT_ONCE // (len(points) - rows.start[begin])
        end = int(np.searchsorted(rows.start, rows.start[begin] + room, side="right")) - 1
        end = min(max(end, begin + 1), last)
        splits = rows.start[begin:-1] - rows.start[begin]
        per_row = _row_sums(points, norms, rows.start[begin], rows.start[end], splits)
        sums = np.add.reduceat(per_row, splits[: end - begin])
        block = sums / (size[begin:end, None] * size[begin:])
        means[begin:end, begin:] = block
        means[begin:, begin:end] = block.T
        begin = end
    for i in range(n):
        if i >= last:
            means[i, i] = _own_mean(points[rows.of(i)])
        else:
            means[i, i] = (means[i, i] * size[i] - 1) / (size[i] - 1)
    return means


def _row_sums(
    points: NDArray[np.float64],
    norms: NDArray[np.float64],
    first: int,
    last: int,
    splits: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Kernel values of rows from first to last, summed over rows of each task from there on.

    A task may be large: its rows are taken a few at a time.
    """
    others = points[first:]
    step, parts = max(1, AT_ONCE // len(others)), []
    for begin in range(first, last, step):
        a = slice(begin, min(begin + step, last))
        kernel = points[a] @ others.T
        kernel -= norms[a, None] / 2
        kernel -= norms[first:] / 2
        np.exp(np.minimum(kernel, 0.0, out=kernel), out=kernel)
        parts.append(np.add.reduceat(kernel, splits, axis=1))
    return np.concatenate(parts)


def _own_mean(points: NDArray[np.float64]) -> float:
    """Mean kernel value of two different rows."""
    n, norms = len(points), (points**2).sum(axis=1)
    sums = _row_sums(points, norms, 0, n, np.zeros(1, dtype=np.intp))
    return float((sums.sum() - n) / (n * (n - 1)))
