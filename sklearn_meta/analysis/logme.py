"""How well features explain labels: LogME, and a distance between tasks made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length

from sklearn_meta.analysis.evidence import Evidence, best_evidence
from sklearn_meta.analysis.learner import Learner, checked_estimator
from sklearn_meta.analysis.rows import TaskRows
from sklearn_meta.analysis.table import Table, table_of
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["logme", "logme_distances"]


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
        What `y` holds. None: numbers with a fractional part, and several columns, are targets.

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
    F = check_array(features, dtype=np.float64, input_name="features")
    found = np.asarray(y)
    check_consistent_length(F, found)
    task = Task(F, found)
    table = table_of([task], None, target_type, scale=False)
    columns = table.y if table.real else _one_hot(table.y)
    if not np.isfinite(columns).all():
        raise ValueError("logme: y holds NaN or infinity.")
    if not columns.any(axis=0).all():
        raise ValueError("logme: a column of y is 0 throughout; nothing is to be explained.")
    return float((_evidence(F[None], columns).value / len(F)).mean())


def logme_distances(
    tasks: Sequence[Task],
    estimator: Any,
    rng: np.random.RandomState,
    *,
    scale: bool = True,
    target_type: str | None = None,
    n_reference: int | None = None,
) -> NDArray[np.float64]:
    """Measure what is lost where the labels of a task are explained by the models of another.

    A Bayesian linear model is fitted to each task, one output a class or target, at the precisions
    of the greatest evidence. E_ij is the LogME of the labels of task j given, as its features, the
    outputs of the model of task i on the rows of task j; d_ij = E_jj - E_ij. So label sets may
    differ, as in LEEP: it does not matter what the outputs are called, but what they tell apart.

    Parameters
    ----------
    tasks : sequence of Task
        With two classes, or two values of each target, at least.
    estimator : object or None
        Its kind says whether `y` are labels or targets. If it is meta-fitted, the features of its
        learned backbone take the place of the inputs, as they are.
    rng : RandomState
        Not needed.
    scale : bool, default=True
        Standardise features and targets over all tasks; False: take them as they are.
    target_type : {"class", "real"}, default=None
        What `y` holds; None: what `estimator` predicts, or else what it looks like.
    n_reference : int, default=None
        Scale by the first so many tasks; None: by all.

    Returns
    -------
    ndarray of shape (n_tasks, n_tasks)
        From task i (row) to task j (column), in nats a row of task j; 0 on the diagonal, not
        symmetric, and no metric: below 0 where the model of i, perhaps from more rows, explains j
        better than the model of j. E_jj is judged on the rows it was fitted to; that is the same
        for all of a column, so columns rank sources.

    Raises
    ------
    TaskError
        If all labels of a task are alike.
    """
    table = table_of(tasks, estimator, target_type, scale=scale, n_reference=n_reference)
    targets = [_centred_targets(table, i, task) for i, task in enumerate(tasks)]
    if getattr(estimator, "_meta_state", None) is None:
        inputs = [_centred(table.X[table.of(i)]) for i in range(len(tasks))]
    else:
        inputs = [_centred(features) for features in _embedded(tasks, estimator)]
    models = [_weights(X, y) for X, y in zip(inputs, targets, strict=True)]
    width = max(model.shape[1] for model in models)
    weights = np.zeros((len(models), inputs[0].shape[1], width))  # outputs of 0 explain nothing
    for model, place in zip(models, weights, strict=True):
        place[:, : model.shape[1]] = model
    found = np.empty((len(tasks), len(tasks)))
    for j, (X, y) in enumerate(zip(inputs, targets, strict=True)):
        found[:, j] = _evidence(X @ weights, y).value.mean(axis=-1) / len(y)
    return np.diag(found) - found


def _evidence(features: NDArray[np.float64], y: NDArray[np.float64]) -> Evidence:
    """Evidence of each column of y, (n_rows, k), for each of many features, (b, n_rows, d)."""
    U, s, _ = np.linalg.svd(features, full_matrices=False)
    along = (U.transpose(0, 2, 1) @ y).transpose(0, 2, 1) ** 2
    left = np.maximum((y**2).sum(axis=0) - along.sum(axis=-1), 0.0)
    squares = np.broadcast_to(s[:, None] ** 2, along.shape)
    return best_evidence(squares, along, left, features.shape[1])


def _weights(X: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Posterior mean of the weights of each column of y, at the precisions of most evidence."""
    found = _evidence(X[None], y)
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    ratio = (found.alpha / found.beta)[0]
    shrunk = s[:, None] / (s[:, None] ** 2 + ratio) * (U.T @ y)
    return np.asarray(Vt.T @ shrunk)


def _embedded(tasks: Sequence[Task], estimator: Any) -> Iterator[NDArray[np.float64]]:
    """Features of the rows of each task, (n_rows, n_features), by the learned backbone."""
    est = checked_estimator(estimator, "metric='logme'")
    rows = TaskRows.of(tasks, est._target_type)
    learner = Learner(est, rows)
    for i in range(len(tasks)):
        examples, _ = learner.examples(rows.stack(rows.everything, np.array([i]), learner.dtype))
        with torch.inference_mode(False), torch.no_grad():
            features = learner.f(learner.start, examples.X)
        yield features[0].cpu().double().numpy()


def _centred_targets(table: Table, i: int, task: Task) -> NDArray[np.float64]:
    own = table.y[table.of(i)]
    y = own if table.real else _one_hot(own)
    if not np.ptp(y, axis=0).all():
        what = "targets" if table.real else "labels"
        raise TaskError(f"{label(task, i)}: its {len(y)} {what} are alike; 'logme' needs two.")
    return _centred(y)


def _one_hot(codes: NDArray[np.intp]) -> NDArray[np.float64]:
    return (codes[:, None] == np.unique(codes)).astype(np.float64)


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    still = np.ptp(values, axis=0) == 0  # rounding must not look like a feature
    return np.where(still, 0.0, values - values.mean(axis=0))
