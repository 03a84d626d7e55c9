"""Means of a kernel over the rows of tasks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.analysis.table import Table

__all__ = ["kernel_means"]

AT_ONCE = 2**22  # kernel values in memory: 32 MB


def kernel_means(
    points: NDArray[np.float64], rows: Table, n_reference: int | None
) -> NDArray[np.float64]:
    """Average the kernel exp(-|a - b|^2 / 2) over rows of each two tasks, a part at a time.

    Parameters
    ----------
    points : ndarray of shape (n_rows, n_columns)
        The rows, divided by the bandwidth.
    rows : Table
        Which of them are those of which task.
    n_reference : int or None
        Leave out the pairs of tasks that are not among the first so many (NaN).

    Returns
    -------
    ndarray of shape (n_tasks, n_tasks)
        On the diagonal, of two different rows of one task.
    """
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
