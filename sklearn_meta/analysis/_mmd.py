"""Maximum mean discrepancy between tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.base import BaseEstimator
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import gen_batches

from sklearn_meta.analysis._stacks import AT_ONCE, TaskRows
from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import check_parameter, real
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["mmd_distances"]

N_SAMPLE = 1000  # rows for the median distance
Floats = NDArray[np.float64]


def mmd_distances(
    tasks: Sequence[Task],
    estimator: BaseEstimator | None,
    rng: np.random.RandomState,
    *,
    bandwidth: float | None = None,
    scale: bool = True,
    squared: bool = False,
    target_type: str | None = None,
    n_reference: int | None = None,
) -> NDArray[np.float64]:
    """Unbiased estimate of the maximum mean discrepancy, by the kernel exp(-|a - b|^2 / (2 l^2)).

    Regression tasks are compared by their rows (x, y), classification tasks by x alone, since
    label sets may differ. The bandwidth l defaults to the median distance of two rows. The
    estimate of the square may be negative; its root is 0 there.
    """
    for i, task in enumerate(tasks):
        if len(task) < 2:
            raise TaskError(f"{label(task, i)}: 'mmd' needs two rows a task; got {len(task)}.")
    rows = TaskRows.of(tasks, target_type)
    X, y = rows.scaled(scale, n_reference)
    parts = [np.hstack(pair) for pair in zip(X, y, strict=True)] if rows.labels is None else X
    if bandwidth is None:
        bandwidth = _median_distance(np.concatenate(parts[:n_reference]), rng)
    check_parameter("bandwidth", bandwidth, real(0, open_left=True), "metric='mmd'")
    means = _kernel_means(parts, bandwidth, n_reference)
    within = np.diag(means)
    discrepancy = within[:, None] + within - 2 * means
    np.fill_diagonal(discrepancy, 0.0)
    return discrepancy if squared else np.sqrt(np.maximum(discrepancy, 0.0))


def _kernel_means(parts: list[Floats], bandwidth: float, n_reference: int | None) -> Floats:
    """Mean kernel value of rows of each two tasks; on the diagonal, of two different rows.

    Pairs of tasks beyond the first `n_reference` are NaN.
    """
    points = np.concatenate(parts)
    points = (points - points.mean(axis=0)) / bandwidth  # centred: large values would cancel
    starts = np.cumsum([0, *map(len, parts)])
    sizes, n = np.diff(starts), len(parts)
    means = np.full((n, n), np.nan)
    for i in range(n):
        last = n if n_reference is None or i < n_reference else i + 1
        rows, others = points[starts[i] : starts[i + 1]], points[starts[i] : starts[last]]
        splits = starts[i:last] - starts[i]
        sums = _kernel_sums(rows, others, splits)
        means[i, i:last] = means[i:last, i] = sums / (sizes[i] * sizes[i:last])
        means[i, i] = (sums[0] - sizes[i]) / (sizes[i] * (sizes[i] - 1))
    return means


def _kernel_sums(rows: Floats, others: Floats, splits: NDArray[np.intp]) -> Floats:
    """Sum kernel values over the rows and over each part of the others, in bounded memory."""
    batches = gen_batches(len(rows), max(1, AT_ONCE // len(others)))
    sums = sum(rbf_kernel(rows[batch], others, gamma=0.5).sum(axis=0) for batch in batches)
    return np.add.reduceat(sums, splits)


def _median_distance(points: Floats, rng: np.random.RandomState) -> float:
    if len(points) > N_SAMPLE:
        points = points[rng.choice(len(points), N_SAMPLE, replace=False)]
    distances = pdist(points)
    distances = distances[distances > 0]  # duplicate rows do not tell the scale
    return float(np.median(distances)) if len(distances) else 1.0
