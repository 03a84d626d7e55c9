"""How well features explain labels: LogME."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length

from sklearn_meta.analysis.evidence import Evidence, best_evidence
from sklearn_meta.analysis.table import table_of
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.arrays import dense

__all__ = ["evidence_of", "logme", "one_hot"]


def logme(features: ArrayLike, y: ArrayLike, *, target_type: str | None = None) -> float:
    """Measure how well features explain labels: the log of the maximum evidence, a row.

    The greatest value, over alpha and beta, of log N(y; 0, I / beta + F F^T / alpha) / n. The
    exact maximum: the published iteration stops near it.

    Parameters
    ----------
    features : array-like of shape (n_rows, n_features)
        F. There is no intercept: centre F and y, or add a column of ones.
    y : array-like of shape (n_rows,) or (n_rows, n_outputs)
        Targets as they are, or labels: one column a class, of 0 and 1. Several columns are
        averaged.
    target_type : {"class", "real"}, default=None
        What `y` holds. None: as :func:`~sklearn_meta.tasks.as_tasks` reads it; several columns are
        targets.

    Returns
    -------
    float
        In nats a row; larger is better. Of targets that the features match without noise the
        evidence has no bound, and 1e-12 of their square counts as noise.

    Raises
    ------
    ValueError
        If `features` and `y` differ in length, hold NaN or infinity, or a column of `y` is 0.

    References
    ----------
    You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis import logme
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(100, 5))
    >>> y = X[:, 0] + 0.1 * rng.normal(size=100)
    >>> round(logme(X[:, :3], y), 2), round(logme(X[:, 3:], y), 2)
    (0.74, -1.44)
    """
    F = dense(check_array(features, accept_sparse="csr", dtype=np.float64, input_name="features"))
    found = np.asarray(y)
    check_consistent_length(F, found)
    task = Task(F, found)
    kind = "real" if target_type is None and found.ndim > 1 else target_type
    table = table_of([task], None, kind, scale=False)
    columns = table.y if table.real else one_hot(table.y)
    if not np.isfinite(columns).all():
        raise ValueError("logme: y holds NaN or infinity.")
    if not columns.any(axis=0).all():
        raise ValueError("logme: a column of y is 0 throughout; nothing is to be explained.")
    return float((evidence_of(F[None], columns).value / len(F)).mean())


def evidence_of(features: NDArray[np.float64], y: NDArray[np.float64]) -> Evidence:
    """Maximise the evidence of each column of y for each of many features.

    Parameters
    ----------
    features : ndarray of shape (b, n_rows, d)
        F, many of them.
    y : ndarray of shape (n_rows, k)
        Targets.

    Returns
    -------
    Evidence
        Of shape (b, k).
    """
    U, s, _ = np.linalg.svd(features, full_matrices=False)
    along = (U.transpose(0, 2, 1) @ y).transpose(0, 2, 1) ** 2
    left = np.maximum((y**2).sum(axis=0) - along.sum(axis=-1), 0.0)
    squares = np.broadcast_to(s[:, None] ** 2, along.shape)
    return best_evidence(squares, along, left, features.shape[1])


def one_hot(codes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Give each code a column.

    Parameters
    ----------
    codes : ndarray of int of shape (n_rows,)
        Classes.

    Returns
    -------
    ndarray of shape (n_rows, n_classes)
        Of 0 and 1; a column for each class that there is.
    """
    return (codes[:, None] == np.unique(codes)).astype(np.float64)
