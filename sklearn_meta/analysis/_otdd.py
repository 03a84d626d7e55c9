"""Optimal-transport dataset distance between tasks, labels included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.utils.parallel import Parallel, delayed

from sklearn_meta._optional import need
from sklearn_meta.analysis._stacks import TaskRows
from sklearn_meta.parameters import check_parameter, integer, option
from sklearn_meta.tasks import Task

__all__ = ["otdd_distances"]

Floats = NDArray[np.float64]


def otdd_distances(
    tasks: Sequence[Task],
    estimator: BaseEstimator | None,
    rng: np.random.RandomState,
    *,
    inner: str = "gaussian",
    max_rows: int | None = 500,
    scale: bool = True,
    target_type: str | None = None,
    n_reference: int | None = None,
    n_jobs: int | None = -1,
) -> NDArray[np.float64]:
    """Root of the smallest mean cost of moving the rows of one task onto those of another.

    Moving a row costs |x - x'|^2 plus |y - y'|^2 in regression and W2^2(P(x | y), P(x | y')) in
    classification: the distance of the classes, as Gaussians (inner="gaussian") or as rows
    (inner="exact"). At most `max_rows` rows of a task are drawn; time grows with their cube.
    Alvarez-Melis and Fusi, "Geometric Dataset Distances via Optimal Transport", 2020.
    """
    check_parameter("inner", inner, option("gaussian", "exact"), "metric='otdd'")
    check_parameter("max_rows", max_rows, integer(1, none=True), "metric='otdd'")
    rows = TaskRows.of(tasks, target_type)
    X, y = rows.scaled(scale, n_reference)
    for i in range(len(tasks)):
        if max_rows is not None and len(X[i]) > max_rows:
            sample = rng.choice(len(X[i]), max_rows, replace=False)
            X[i], y[i] = X[i][sample], y[i][sample]
    classes = None
    if rows.labels is None:
        X = [np.hstack(pair) for pair in zip(X, y, strict=True)]
    else:
        classes = [_Classes.of(*pair, inner) for pair in zip(X, y, strict=True)]
    n_first = len(tasks) if n_reference is None else n_reference
    rows_of_squares = Parallel(n_jobs, prefer="threads")(
        delayed(_squares_to_first)(X[i:], None if classes is None else classes[i:])
        for i in range(n_first)
    )
    squares = np.full((len(tasks), len(tasks)), np.nan)
    np.fill_diagonal(squares, 0.0)
    for i, row in enumerate(rows_of_squares):
        squares[i, i + 1 :] = squares[i + 1 :, i] = row
    return np.sqrt(squares)


def _squares_to_first(X: Sequence[Floats], classes: Sequence[_Classes] | None) -> list[float]:
    """Return squared distances of the first task to the others; it may run in another process."""
    squares = []
    for j in range(1, len(X)):
        cost = cdist(X[0], X[j], "sqeuclidean")
        if classes is not None:
            between = classes[0].distances(classes[j])
            cost += between[classes[0].codes[:, None], classes[j].codes]
        squares.append(_transport_cost(cost))
    return squares


class _Classes(NamedTuple):
    """The classes of one task: their rows, and their moments if they stand for Gaussians.

    The Wasserstein distance of two Gaussians needs tr (S^.5 S' S^.5)^.5, which is the nuclear norm
    of F^T F' for any factors S = F F^T. A class of n rows has a factor of n columns, itself: no
    matrix root, exact for covariances without full rank, and all pairs of classes at once. POT's
    `bures_wasserstein_distance` takes the root of one pair at a time.
    """

    codes: NDArray[np.intp]  # (n_rows,) class of each row
    samples: list[Floats]
    means: Floats | None = None  # (n_classes, d)
    factors: Floats | None = None  # (n_classes, d, width), padded with columns of 0

    @classmethod
    def of(cls, X: Floats, y: NDArray[np.intp], inner: str) -> _Classes:
        present, codes = np.unique(y, return_inverse=True)
        samples = [X[codes == c] for c in range(len(present))]
        if inner == "exact":
            return cls(codes, samples)
        means = np.array([sample.mean(axis=0) for sample in samples])
        narrow = [_factor(sample - mean) for sample, mean in zip(samples, means, strict=True)]
        factors = np.zeros((*means.shape, max(factor.shape[1] for factor in narrow)))
        for factor, padded in zip(narrow, factors, strict=True):
            padded[:, : factor.shape[1]] = factor
        return cls(codes, samples, means, factors)

    def distances(self, other: _Classes) -> Floats:
        """Squared Wasserstein distances (n_classes, n_other_classes)."""
        if self.factors is None or other.factors is None:
            costs = [[cdist(a, b, "sqeuclidean") for b in other.samples] for a in self.samples]
            return np.array([[_transport_cost(cost) for cost in row] for row in costs])
        traces, others = ((F**2).sum(axis=(1, 2)) for F in (self.factors, other.factors))
        products = self.factors.transpose(0, 2, 1)[:, None] @ other.factors
        nuclear = np.linalg.svd(products, compute_uv=False).sum(axis=-1)
        centres = cdist(self.means, other.means, "sqeuclidean")
        return np.maximum(traces[:, None] + others + centres - 2 * nuclear, 0.0)


def _factor(centred: Floats) -> Floats:
    """F of shape (d, min(n, d)) such that F F^T is the covariance."""
    n, d = centred.shape
    if n > d:
        centred = np.asarray(np.linalg.qr(centred, mode="r"))
    return centred.T / np.sqrt(n)


def _transport_cost(cost: Floats) -> float:
    """Smallest mean cost of moving n equal masses onto m others; needs POT only if n != m."""
    n, m = cost.shape
    if 1 in (n, m):
        return float(cost.mean())
    if n == m:  # a permutation is the best plan
        return float(cost[linear_sum_assignment(cost)].mean())
    ot = need("ot", "distances", "metric='otdd' of tasks that differ in their number of rows")
    value, log = ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), cost, numItermax=10**7, log=True)
    if log["warning"] is not None:
        raise RuntimeError(f"metric='otdd': {log['warning']}")
    return float(value)
