"""Plain statistics of tasks, and how far apart tasks are by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from sklearn_meta.analysis.statistics import statistics_of
from sklearn_meta.analysis.table import table_of
from sklearn_meta.tasks import Task, as_tasks

__all__ = ["Described", "describe", "meta_feature_distances", "meta_features", "scaled"]

KINDS = ("mean", "spread", "correlation", "probe")  # each weighs as much as all the rest


class Described(NamedTuple):
    """Statistics of tasks."""

    values: NDArray[np.float64]
    """(n_tasks, n_statistics)."""

    names: list[str]
    """Of the statistics, such as "mean 3": of feature 3."""

    weights: NDArray[np.float64]
    """(n_statistics,): 1 / number of ** .5 of statistics of the same kind."""


def meta_features(tasks: Any, *, target_type: str | None = None) -> NDArray[np.float64]:
    """Describe each task by plain statistics.

    Parameters
    ----------
    tasks : sequence of tasks
        As :func:`~sklearn_meta.tasks.as_tasks` takes them, with rows of one shape.
    target_type : {"class", "real"}, default=None
        What `y` holds; None: as `as_tasks` reads it.

    Returns
    -------
    ndarray of shape (n_tasks, n_statistics)
        The log of the number of rows. Of labels: the log of the number of classes, their entropy
        (1: balanced; 0: one class), the share of the rarest; of each target: mean, standard
        deviation and skewness. Of each feature: mean, standard deviation, and its correlation with
        each target (the correlation ratio, 0 to 1, with labels). The leave-one-out score of a ridge
        regression: R^2, at least -1, or accuracy. All of it of features and targets that are
        standardised over all tasks.

    Raises
    ------
    TaskError
        If a task cannot be used, or not together with the others.

    Examples
    --------
    >>> from sklearn_meta.analysis import meta_features
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> meta_features(make_blob_tasks(5, random_state=0)).shape
    (5, 29)
    """
    return describe(as_tasks(tasks, target_type=target_type), target_type=target_type).values


def meta_feature_distances(
    tasks: Sequence[Task],
    estimator: Any,
    rng: np.random.RandomState,
    *,
    target_type: str | None = None,
    n_reference: int | None = None,
) -> NDArray[np.float64]:
    """Measure the Euclidean distance of the statistics of each two tasks.

    Each statistic is divided by its spread over the tasks, from the 5th to the 95th percentile.
    Means, standard deviations, correlations, the score, and all the rest (number of rows, labels)
    weigh alike, whatever the number of features.

    Parameters
    ----------
    tasks : sequence of Task
        With rows of one shape.
    estimator : object or None
        Only its kind counts: whether `y` are labels or targets.
    rng : RandomState
        Not needed.
    target_type : {"class", "real"}, default=None
        What `y` holds; None: what `estimator` predicts, or else as `as_tasks` reads it.
    n_reference : int, default=None
        Scale by the first so many tasks; None: by all.

    Returns
    -------
    ndarray of shape (n_tasks, n_tasks)
        Symmetric, 0 on the diagonal; in units of the typical difference of tasks.
    """
    found = describe(tasks, estimator, target_type=target_type, n_reference=n_reference)
    vectors = scaled(found, n_reference)
    return cdist(vectors, vectors)


def scaled(found: Described, n_reference: int | None = None) -> NDArray[np.float64]:
    """Put statistics on one scale, robustly.

    Parameters
    ----------
    found : Described
        Of all tasks.
    n_reference : int, default=None
        Take median and percentiles of the first so many tasks; None: of all.

    Returns
    -------
    ndarray of shape (n_tasks, n_statistics)
        Distances from the median, in standard deviations of the normal distribution that has as
        far to go from the 5th to the 95th percentile (where these are one, in those of the values),
        times `weights`. A few odd tasks do not set the scale; a cluster of a tenth of them does.
    """
    known = found.values[:n_reference]
    low, middle, high = np.percentile(known, [5, 50, 95], axis=0)
    spread = (high - low) / 3.29
    spread = np.where(spread > 1e-9, spread, known.std(axis=0))
    spread = np.where(spread > 1e-9, spread, 1.0)
    return (found.values - middle) / spread * found.weights


def describe(
    tasks: Sequence[Task],
    estimator: Any = None,
    *,
    target_type: str | None = None,
    n_reference: int | None = None,
) -> Described:
    """Describe tasks.

    Parameters
    ----------
    tasks : sequence of Task
        With rows of one shape.
    estimator, target_type : object
        What `y` holds; see :func:`meta_feature_distances`.
    n_reference : int, default=None
        Standardise rows by those of the first so many tasks; None: of all.

    Returns
    -------
    Described
        Of each task.
    """
    table = table_of(tasks, estimator, target_type, n_reference=n_reference)
    parts = [statistics_of(table, i) for i in range(table.n_tasks)]
    sizes = {name: len(part) for name, part in parts[0].items()}
    names = [name if n == 1 else f"{name} {k}" for name, n in sizes.items() for k in range(n)]
    kinds = [name if name in KINDS else "rest" for name, n in sizes.items() for _ in range(n)]
    weights = np.array([kinds.count(kind) ** -0.5 for kind in kinds])
    return Described(np.array([np.concatenate([*p.values()]) for p in parts]), names, weights)
