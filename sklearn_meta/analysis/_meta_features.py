"""Plain statistics of tasks, and distances of tasks by these statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator

from sklearn_meta.analysis._stacks import TaskRows
from sklearn_meta.tasks import Task

__all__ = ["meta_feature_distances", "meta_features", "scaled_meta_features"]

KINDS = ("mean", "spread", "correlation", "probe")  # each weighs as much as all the rest
Floats = NDArray[np.float64]


def meta_features(tasks: Any, *, target_type: str | None = None) -> NDArray[np.float64]:
    """Describe each task by plain statistics.

    Parameters
    ----------
    tasks : sequence of tasks
        Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts, with rows of one shape.
    target_type : {"class", "real"}, default=None
        Whether `y` contains labels or targets. None: `as_tasks` decides.

    Returns
    -------
    ndarray of shape (n_tasks, n_statistics)
        In this order: the log of the number of rows; of labels, the log of the number of classes,
        their entropy (1: balanced; 0: one class) and the share of the rarest class; or of targets,
        the mean, standard deviation and skewness of each. Then the mean of each feature, the
        standard deviation of each feature, the correlation of each feature with each target (the
        correlation ratio, 0 to 1, with labels), and the leave-one-out score of a ridge regression:
        R^2, at least -1, or accuracy. Features and targets are standardised over all tasks.

    Raises
    ------
    TaskError
        If a task is invalid, or does not fit the others.

    Examples
    --------
    >>> from sklearn_meta.analysis import meta_features
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> meta_features(make_blob_tasks(5, random_state=0)).shape
    (5, 29)
    """
    return _describe(tasks, target_type, None)[0]


def meta_feature_distances(
    tasks: Sequence[Task],
    estimator: BaseEstimator | None,
    rng: np.random.RandomState,
    *,
    target_type: str | None = None,
    n_reference: int | None = None,
) -> NDArray[np.float64]:
    """Euclidean distances of the scaled statistics of tasks."""
    vectors = scaled_meta_features(tasks, target_type, n_reference)
    return cdist(vectors, vectors)


def scaled_meta_features(
    tasks: Any, target_type: str | None = None, n_reference: int | None = None
) -> Floats:
    """Put the statistics of tasks on one scale: that of the first `n_reference` tasks.

    Values are distances from the median, in standard deviations of the normal distribution with
    the same 5th and 95th percentiles (of the values, where these percentiles are equal). So a few
    odd tasks do not set the scale, but a cluster of a tenth of the tasks does. Means, standard
    deviations, correlations, the score, and all the rest weigh the same.
    """
    values, weights = _describe(tasks, target_type, n_reference)
    reference = values[:n_reference]
    low, middle, high = np.percentile(reference, [5, 50, 95], axis=0)
    spread = (high - low) / 3.29
    spread = np.where(spread > 1e-9, spread, reference.std(axis=0))
    spread = np.where(spread > 1e-9, spread, 1.0)
    return (values - middle) / spread * weights


def _describe(
    tasks: Any, target_type: str | None, n_reference: int | None
) -> tuple[Floats, Floats]:
    """Return statistics (n_tasks, n_statistics) and 1 / root of the number of each kind."""
    rows = TaskRows.of(tasks, target_type)
    real = rows.labels is None
    X, y = rows.scaled(True, n_reference)
    described = [_statistics(*pair, real) for pair in zip(X, y, strict=True)]
    kinds = [name if name in KINDS else "rest" for name, part in described[0].items() for _ in part]
    weights = np.array([kinds.count(kind) ** -0.5 for kind in kinds])
    return np.array([np.concatenate([*parts.values()]) for parts in described]), weights


def _statistics(X: Floats, y: NDArray[Any], real: bool) -> dict[str, Floats]:
    parts = {"log n_rows": np.log([float(len(X))])}
    if real:
        centred, spread = y - y.mean(axis=0), y.std(axis=0)
        skewness = (centred**3).mean(axis=0) / np.where(spread > 0, spread, 1.0) ** 3
        parts |= {"y mean": y.mean(axis=0), "y spread": spread, "y skewness": skewness}
        tied = (_unit(X).T @ _unit(y)).ravel()
    else:
        y = np.eye(y.max() + 1)[y]
        share = y.mean(axis=0)
        entropy = -(share * np.log(share)).sum() / np.log(max(len(share), 2))
        parts["labels"] = np.array([np.log(len(share)), entropy, share.min()])
        # root of the share of a feature's variance that is between classes
        count = y.sum(axis=0)[:, None]
        tied = np.sqrt((((y.T @ _unit(X)) / count) ** 2 * count).sum(axis=0))
    predicted = _leave_one_out(X, y)
    score = _r2(y, predicted) if real else np.mean(y.argmax(axis=1) == predicted.argmax(axis=1))
    moments = {"mean": X.mean(axis=0), "spread": X.std(axis=0)}
    return {**parts, **moments, "correlation": tied, "probe": np.array([score])}


def _unit(values: Floats) -> Floats:
    """Centre the columns and scale them to length 1; 0 where they are constant."""
    centred = values - values.mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0))
    return centred / np.where(norm > 1e-12, norm, 1.0)


def _leave_one_out(X: Floats, y: Floats) -> Floats:
    """Predict each row from the others, by ridge regression with a penalty of 1."""
    n = len(X)
    if n == 1:
        return np.zeros_like(y)
    U, s, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    hat = (U * (s**2 / (s**2 + 1))) @ U.T + 1 / n
    return y - (y - hat @ y) / (1 - np.diag(hat))[:, None]


def _r2(y: Floats, predicted: Floats) -> float:
    residual = ((y - predicted) ** 2).sum(axis=0)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    share = np.where(total > 0, 1 - residual / np.where(total > 0, total, 1.0), 0.0)
    return float(np.maximum(share, -1.0).mean())
