"""Groups of tasks in a matrix of distances, tested against no groups, and outlying tasks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import silhouette_score

from sklearn_meta.analysis.distances import classical_scaling

__all__ = ["TaskGroups", "as_lengths", "find_groups", "no_groups", "tasks_differ"]

Floats = NDArray[np.float64]
MIN_TASKS, MAX_GROUPS, N_REFERENCE = 10, 8, 39  # N_REFERENCE sets without groups are drawn
N_NEAREST = 2  # or a tenth of the tasks: a task with fewer tasks near it is an outlier
NEGLIGIBLE = 1e-3  # of the mean distance; tasks nearer than this are equally near
CUT, LEAST_UNIT = 3.5, 0.2  # robust standard deviations (Iglewicz and Hoaglin, 1993): twice as far


class TaskGroups(NamedTuple):
    """Groups of tasks in a matrix of distances.

    Attributes
    ----------
    labels : ndarray of int of shape (n_tasks,)
        Group of each task, 0 for the largest group and -1 for a task unlike all others. Without
        groups, all other tasks are 0.
    silhouette : float
        Silhouette of the groups; nan if groups were not looked for.
    p_value : float
        Share of sets from one Gaussian with the spread of these tasks that have groups with such a
        silhouette by chance; nan if groups were not looked for.
    """

    labels: NDArray[np.intp]
    silhouette: float
    p_value: float


def find_groups(distances: Floats, rng: np.random.RandomState, level: float = 0.05) -> TaskGroups:
    """Find groups by average linkage and the silhouette, if their p-value is at most `level`.

    Fewer than 10 tasks have no groups. Up to a tenth of the tasks that are far from all others are
    outliers, not a group. The null is one Gaussian: Liu, Hayes, Nobel and Marron, "Statistical
    Significance of Clustering for High-Dimension, Low-Sample Size Data", 2008.
    """
    labels = np.zeros(len(distances), dtype=np.intp)
    if len(labels) >= MIN_TASKS and distances.any():
        largest = [_solitude(D).max() for D in _without_groups(distances, rng)]
        labels[_solitude(distances) > max(CUT, np.quantile(largest, 1 - level))] = -1
    usual = np.flatnonzero(labels == 0)
    D = distances[np.ix_(usual, usual)]
    if len(usual) < MIN_TASKS or not D.any():
        return TaskGroups(labels, np.nan, np.nan)
    clusters, silhouette = _best_clusters(D)
    null = [_best_clusters(other)[1] for other in _without_groups(D, rng)]
    p = (1 + np.sum(np.array(null) >= silhouette)) / (1 + N_REFERENCE)
    if p <= level:
        labels[usual] = _largest_first(clusters)
    return TaskGroups(labels, silhouette, float(p))


def no_groups(n_tasks: int) -> TaskGroups:
    """Return one group without outliers, if groups are not looked for."""
    return TaskGroups(np.zeros(n_tasks, dtype=np.intp), np.nan, np.nan)


def tasks_differ(distances: Floats) -> bool:
    """Return whether distances are larger, on average, than those that noise alone produces.

    Unbiased distances below zero show the noise: their root mean square.
    """
    both = ((distances + distances.T) / 2)[np.triu_indices(len(distances), 1)]
    return bool(both.mean() > _noise(both))


def as_lengths(distances: Floats, metric: Any) -> Floats:
    """Make distances symmetric and no shorter than their noise, except on the diagonal.

    "transfer" is an excess of risk, a squared length near the optima of tasks: take its root.
    """
    both = (distances + distances.T) / 2
    D = np.maximum(both, _noise(both))
    np.fill_diagonal(D, 0.0)
    return np.sqrt(D) if metric == "transfer" else D


def _noise(distances: Floats) -> float:
    """Root mean square of the distances below zero."""
    below = distances[distances < 0]
    return float(np.sqrt(np.mean(below**2))) if len(below) else 0.0


def _without_groups(D: Floats, rng: np.random.RandomState) -> list[Floats]:
    """Draw distances of sets from one Gaussian with the spread of these tasks."""
    values, _ = classical_scaling(D)
    # axes no longer than those of negative eigenvalues, which cannot be, are noise
    spread = np.sqrt(values[values > max(-values[-1], 0.0)] / len(D))
    points = rng.standard_normal((N_REFERENCE, len(D), len(spread))) * spread
    least = squareform(D, checks=False).min()  # the noise, see `as_lengths`
    return [squareform(np.maximum(pdist(of_set), least)) for of_set in points]


def _solitude(D: Floats) -> Floats:
    """Distance to the nearest tenth of the tasks, in logs and robust standard deviations."""
    far = np.sort(D, axis=1)[:, max(N_NEAREST, len(D) // 10)]  # the nearest is the task itself
    logs = np.log(np.maximum(far, NEGLIGIBLE * D.mean()))
    around = logs - np.median(logs)
    return around / max(1.4826 * float(np.median(np.abs(around))), LEAST_UNIT)


def _best_clusters(D: Floats) -> tuple[NDArray[np.intp], float]:
    """Cut the tree of average linkage where the silhouette is largest."""
    tree = linkage(squareform(D, checks=False), "average")
    best, labels = -1.0, np.zeros(len(D), dtype=np.intp)
    for k in range(2, min(MAX_GROUPS, len(D) // 3) + 1):
        clusters = fcluster(tree, k, "maxclust")
        if len(np.unique(clusters)) > 1:
            silhouette = float(silhouette_score(D, clusters, metric="precomputed"))
            if silhouette > best:
                best, labels = silhouette, clusters
    return labels, best


def _largest_first(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    names, place, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(names), dtype=np.intp)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(names))
    return rank[place]
