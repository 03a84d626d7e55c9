"""Optimal transport between tasks, labels included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from sklearn_meta.analysis.bures import Gaussians
from sklearn_meta.analysis.table import Table, table_of
from sklearn_meta.analysis.transport import transport_cost
from sklearn_meta.tasks import Task

__all__ = ["otdd_distances"]

INNER = ("gaussian", "exact")


def otdd_distances(
    tasks: Sequence[Task],
    estimator: Any,
    rng: np.random.RandomState,
    *,
    inner: str = "gaussian",
    max_rows: int | None = 500,
    scale: bool = True,
    target_type: str | None = None,
    n_reference: int | None = None,
    n_jobs: int | None = -1,
) -> NDArray[np.float64]:
    """Measure the optimal-transport dataset distance of each two tasks.

    The square root of the least mean cost of moving the rows of one task onto those of the other,
    where a row costs |x - x'|^2 plus, in classification, W2^2(P(x | y), P(x | y')): a class is
    what its rows look like, so that label sets may differ. In regression it is |x - x'|^2 +
    |y - y'|^2.

    Parameters
    ----------
    tasks : sequence of Task
        Of any number of rows and classes each.
    estimator : object or None
        Only its kind counts: whether `y` are labels or targets.
    rng : RandomState
        Picks the rows of tasks that have more than `max_rows`.
    inner : {"gaussian", "exact"}, default="gaussian"
        Distance between classes: of Gaussians with their means and covariances, or of their rows
        by optimal transport (slower: one more problem for each pair of classes).
    max_rows : int or None, default=500
        Of a larger task so many rows are drawn, without replacement; time grows with their cube.
        None: all rows.
    scale : bool, default=True
        Standardise features and targets over all tasks, targets weighing as much as all features
        together; False: take them as they are.
    target_type : {"class", "real"}, default=None
        What `y` holds; None: what `estimator` predicts, or else as `as_tasks` reads it.
    n_reference : int, default=None
        Scale by the first so many tasks, and leave distances between the others out (NaN); None:
        all.
    n_jobs : int or None, default=-1
        Threads; -1: one a core, None: one. The distances do not depend on it.

    Returns
    -------
    ndarray of shape (n_tasks, n_tasks)
        Symmetric, 0 on the diagonal. In classification the covariance of a class of few rows is
        that of a small sample: two samples of one distribution are not at 0.

    Raises
    ------
    ValueError
        If `inner` is neither, or `max_rows` is no positive number.
    ImportError
        If two tasks differ in their number of rows and POT is not installed.

    References
    ----------
    Alvarez-Melis and Fusi, "Geometric Dataset Distances via Optimal Transport", 2020.
    """
    if inner not in INNER:
        raise ValueError(f"'otdd' takes inner='gaussian' or 'exact'; got {inner!r}.")
    if max_rows is not None and not max_rows >= 1:
        raise ValueError(f"'otdd' takes max_rows of at least 1, or None; got {max_rows!r}.")
    rows = table_of(tasks, estimator, target_type, scale=scale, n_reference=n_reference)
    rows = _some(rows, max_rows, rng)
    classes = None if rows.real else _Classes(rows, inner)
    points = np.hstack([rows.X, rows.y]) if rows.real else rows.X
    found = np.full((rows.n_tasks, rows.n_tasks), np.nan)
    np.fill_diagonal(found, 0.0)

    def from_task(i: int) -> None:  # to those after it
        a = rows.of(i)
        if classes is not None:
            own, code = np.unique(rows.y[a], return_inverse=True)
            apart = classes.later(own)
        for j in range(i + 1, rows.n_tasks):
            b = rows.of(j)
            cost = cdist(points[a], points[b], "sqeuclidean")
            if classes is not None:
                cost += apart[code[:, None], rows.y[b]]
            found[i, j] = found[j, i] = transport_cost(cost)

    places = range(n_reference or rows.n_tasks)
    Parallel(n_jobs, prefer="threads")(delayed(from_task)(i) for i in places)
    return np.sqrt(found)


def _some(rows: Table, most: int | None, rng: np.random.RandomState) -> Table:
    """Draw rows of the tasks that have too many."""
    size = np.diff(rows.start)
    if most is None or size.max() <= most:
        return rows
    places = [np.arange(rows.start[i], rows.start[i + 1]) for i in range(rows.n_tasks)]
    drawn = [p if len(p) <= most else rng.choice(p, int(most), replace=False) for p in places]
    kept = np.concatenate(drawn)
    y = rows.y[kept] if rows.real else np.unique(rows.y[kept], return_inverse=True)[1]
    return Table(rows.X[kept], y, np.cumsum([0, *map(len, drawn)]), rows.real)


class _Classes:
    """Distances of the classes of one task to those of all later tasks.

    Those of all tasks at once would be a square of classes.
    """

    def __init__(self, rows: Table, inner: str) -> None:
        order = np.argsort(rows.y, kind="stable")
        self.samples = np.split(rows.X[order], np.cumsum(np.bincount(rows.y))[:-1])
        self.gaussians = Gaussians.of(self.samples) if inner == "gaussian" else None

    def later(self, own: NDArray[np.intp]) -> NDArray[np.float64]:
        """Squared distances, (classes of a task, all classes); 0 for those not after them."""
        later = np.arange(own[-1] + 1, len(self.samples))
        pairs = np.column_stack([np.repeat(own, len(later)), np.tile(later, len(own))])
        if self.gaussians is not None:
            found = self.gaussians.distances(pairs)
        else:
            costs = (cdist(self.samples[a], self.samples[b], "sqeuclidean") for a, b in pairs)
            found = np.fromiter(map(transport_cost, costs), np.float64, len(pairs))
        apart = np.zeros((len(own), len(self.samples)))
        apart[:, later] = found.reshape(len(own), len(later))
        return apart
