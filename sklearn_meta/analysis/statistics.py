"""Plain statistics of one task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.analysis.table import Table

__all__ = ["statistics_of"]

Parts = dict[str, NDArray[np.float64]]


def statistics_of(table: Table, i: int) -> Parts:
    """Describe a task.

    Parameters
    ----------
    table : Table
        Rows of all tasks.
    i : int
        Its position.

    Returns
    -------
    dict of ndarray
        Values of each kind of statistic.
    """
    X, own = table.X[table.of(i)], table.y[table.of(i)]
    y = own if table.real else (own[:, None] == np.unique(own)).astype(np.float64)
    about = _about_targets(y) if table.real else _about_labels(y)
    mean, spread = X.mean(axis=0), X.std(axis=0)
    tied = _correlations(X, y) if table.real else _correlation_ratios(X, y)
    probe = _left_out(X, y)
    score = _r2(y, probe) if table.real else np.mean(y.argmax(axis=1) == probe.argmax(axis=1))
    size = {"log n_rows": np.log([float(len(X))])}
    rest = {"mean": mean, "spread": spread, "correlation": tied, "probe": np.array([score])}
    return {**size, **about, **rest}


def _about_targets(y: NDArray[np.float64]) -> Parts:
    centred, spread = y - y.mean(axis=0), y.std(axis=0)
    skew = (centred**3).mean(axis=0) / np.where(spread > 0, spread, 1.0) ** 3
    return {"y mean": y.mean(axis=0), "y spread": spread, "y skewness": skew}


def _about_labels(y: NDArray[np.float64]) -> Parts:
    share = y.mean(axis=0)
    entropy = -(share * np.log(share)).sum() / np.log(max(len(share), 2))
    values = {"log n_classes": np.log(len(share)), "entropy": entropy, "rarest": share.min()}
    return {name: np.array([value]) for name, value in values.items()}


def _correlations(X: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each feature with each target; 0 where one is constant."""
    X, y = _unit(X), _unit(y)
    return np.asarray((X.T @ y).ravel())


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0))
    return centred / np.where(norm > 1e-12, norm, 1.0)


def _correlation_ratios(X: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square root of the share of the variance of each feature that is between classes."""
    X, count = _unit(X), y.sum(axis=0)
    return np.sqrt((((y.T @ X) / count[:, None]) ** 2 * count[:, None]).sum(axis=0))


def _left_out(X: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Predict each row from the others, by ridge regression with a penalty of 1."""
    n = len(X)
    if n == 1:
        return np.zeros_like(y)
    U, s, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    hat = (U * (s**2 / (s**2 + 1))) @ U.T + 1 / n
    return y - (y - hat @ y) / (1 - np.diag(hat))[:, None]


def _r2(y: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    left = ((y - predicted) ** 2).sum(axis=0)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    share = np.where(total > 0, 1 - left / np.where(total > 0, total, 1.0), 0.0)
    return float(np.maximum(share, -1.0).mean())
