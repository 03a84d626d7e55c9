"""Groups of tasks in a matrix of distances, if there are any, and tasks unlike all others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import silhouette_score

from sklearn_meta.analysis.scaling import classical_axes

__all__ = ["TaskGroups", "as_lengths", "find_groups", "no_groups", "told_apart"]

Floats = NDArray[np.float64]
FEWEST, MOST_GROUPS, N_REFERENCE = 10, 8, 39  # tasks to look for groups among; sets without groups
N_NEAREST = 2  # or a tenth of all: a task that has not so many of its kind is unlike all others
NOT_APART = 1e-3  # of the mean distance: nearer tasks are equally near
CUT, LEAST_UNIT = 3.5, 0.2  # robust standard deviations (Iglewicz and Hoaglin, 1993): twice as far


class TaskGroups(NamedTuple):
    """What a matrix of distances says of its tasks.

    Attributes
    ----------
    labels : ndarray of int of shape (n_tasks,)
        Group of each task, 0 the largest; -1 a task unlike all others. All others 0 where there
        are no groups.
    silhouette : float
        Of the groups; nan where none could be looked for.
    p_value : float
        Share of sets without groups, drawn from one Gaussian that spreads as these tasks do, in
        which groups of such a silhouette are found; nan where none could be looked for.
    """

    labels: NDArray[np.intp]
    silhouette: float
    p_value: float


def find_groups(distances: Floats, rng: np.random.RandomState, level: float = 0.05) -> TaskGroups:
    """Look for groups by average linkage and the silhouette, and hold them against no groups.

    Parameters
    ----------
    distances : ndarray of shape (n_tasks, n_tasks)
        Symmetric.
    rng : RandomState
        Draws the sets without groups.
    level : float, default=0.05
        Groups are told where `p_value` is no larger.

    Returns
    -------
    TaskGroups
        With fewer than 10 tasks, nothing is looked for. Of fewer than a tenth of the tasks, those
        that are alike but far from all others are outliers, not a group.

    References
    ----------
    Liu, Hayes, Nobel and Marron, "Statistical Significance of Clustering for High-Dimension,
    Low-Sample Size Data", 2008: one Gaussian as the null.
    """
    labels = np.zeros(len(distances), dtype=np.intp)
    if len(labels) >= FEWEST and distances.any():
        most = [_solitude(D).max() for D in _without_groups(distances, rng)]
        labels[_solitude(distances) > max(CUT, np.quantile(most, 1 - level))] = -1
    kept = np.flatnonzero(labels == 0)
    D = distances[np.ix_(kept, kept)]
    if len(kept) < FEWEST or not D.any():
        return TaskGroups(labels, np.nan, np.nan)
    found, silhouette = _grouped(D)
    null = [_grouped(other)[1] for other in _without_groups(D, rng)]
    p = (1 + np.sum(np.array(null) >= silhouette)) / (1 + N_REFERENCE)
    if p <= level:
        labels[kept] = _largest_first(found)
    return TaskGroups(labels, silhouette, float(p))


def no_groups(n_tasks: int) -> TaskGroups:
    """Give what is known where nothing was looked for.

    Parameters
    ----------
    n_tasks : int
        How many tasks there are.

    Returns
    -------
    TaskGroups
        One group, without outliers.
    """
    return TaskGroups(np.zeros(n_tasks, dtype=np.intp), np.nan, np.nan)


def told_apart(distances: Floats) -> bool:
    """Whether tasks are further apart, on average, than noise puts them.

    Parameters
    ----------
    distances : ndarray of shape (n_tasks, n_tasks)
        From row to column; of unbiased ones those below zero show the noise.

    Returns
    -------
    bool
        Whether the mean of two directions and all pairs exceeds the root mean square of the pairs
        below zero.
    """
    both = ((distances + distances.T) / 2)[np.triu_indices(len(distances), 1)]
    return bool(both.mean() > _noise(both))


def as_lengths(distances: Floats, metric: Any) -> Floats:
    """Make distances symmetric lengths, of which none is shorter than noise.

    Parameters
    ----------
    distances : ndarray of shape (n_tasks, n_tasks)
        From row to column.
    metric : object
        "transfer" is an excess of risk, near the optima of the tasks a squared length.

    Returns
    -------
    ndarray of shape (n_tasks, n_tasks)
        The mean of both directions, or its root, but 0 on the diagonal.
    """
    both = (distances + distances.T) / 2
    D = np.maximum(both, _noise(both))
    np.fill_diagonal(D, 0.0)
    return np.sqrt(D) if metric == "transfer" else D


def _noise(both: Floats) -> float:
    """Give the root mean square of the differences below zero."""
    below = both[both < 0]
    return float(np.sqrt(np.mean(below**2))) if len(below) else 0.0


def _without_groups(D: Floats, rng: np.random.RandomState) -> list[Floats]:
    """Draw sets from one Gaussian that spreads as these tasks do."""
    values, _ = classical_axes(D)
    # axes no longer than those that cannot be, of negative eigenvalues, are noise
    spread = np.sqrt(values[values > max(-values[-1], 0.0)] / len(D))
    points = rng.standard_normal((N_REFERENCE, len(D), len(spread))) * spread
    least = squareform(D, checks=False).min()  # what noise leaves, see `as_lengths`
    return [squareform(np.maximum(pdist(of_set), least)) for of_set in points]


def _solitude(D: Floats) -> Floats:
    """How far the nearest tenth of the tasks reaches, in logs and robust standard deviations."""
    far = np.sort(D, axis=1)[:, max(N_NEAREST, len(D) // 10)]  # the nearest is the task itself
    logs = np.log(np.maximum(far, NOT_APART * D.mean()))
    around = logs - np.median(logs)
    return around / max(1.4826 * float(np.median(np.abs(around))), LEAST_UNIT)


def _grouped(D: Floats) -> tuple[NDArray[np.intp], float]:
    """Cut the tree of average linkage where the silhouette is largest."""
    tree, found = linkage(squareform(D, checks=False), "average"), []
    for k in range(2, min(MOST_GROUPS, len(D) // 3) + 1):
        labels = fcluster(tree, k, "maxclust")
        if len(np.unique(labels)) > 1:
            found.append((float(silhouette_score(D, labels, metric="precomputed")), labels))
    best = max(found, key=lambda pair: pair[0], default=(-1.0, np.zeros(len(D), dtype=np.intp)))
    return best[1], best[0]


def _largest_first(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    names, place, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(names), dtype=np.intp)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(names))
    return rank[place]
