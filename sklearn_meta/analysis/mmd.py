"""Maximum mean discrepancy between tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from sklearn_meta.analysis.kernel_means import kernel_means
from sklearn_meta.analysis.table import table_of
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["mmd_distances"]

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
        What `y` holds; None: what `estimator` predicts, or else as `as_tasks` reads it.
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
    means = kernel_means((points - points.mean(axis=0)) / width, rows, n_reference)
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
