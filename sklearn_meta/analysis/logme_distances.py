"""What the models of one task explain of the labels of another, by LogME."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_meta.analysis.learner import Learner, checked_estimator
from sklearn_meta.analysis.logme import evidence_of, one_hot
from sklearn_meta.analysis.rows import TaskRows
from sklearn_meta.analysis.table import Table, table_of
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["logme_distances"]


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
        What `y` holds; None: what `estimator` predicts, or else as `as_tasks` reads it.
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
        found[:, j] = evidence_of(X @ weights, y).value.mean(axis=-1) / len(y)
    return np.diag(found) - found


def _embedded(tasks: Sequence[Task], estimator: Any) -> Iterator[NDArray[np.float64]]:
    """Features of the rows of each task, (n_rows, n_features), by the learned backbone."""
    est = checked_estimator(estimator, "metric='logme'")
    rows = TaskRows.of(tasks, est.target_type)
    learner = Learner(est, rows)
    for i in range(len(tasks)):
        examples, _ = learner.examples(rows.stack(rows.everything, np.array([i]), learner.dtype))
        with torch.inference_mode(False), torch.no_grad():
            features = learner.f(learner.start, examples.X)
        yield features[0].cpu().double().numpy()


def _weights(X: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Posterior mean of the weights of each column of y, at the precisions of most evidence."""
    found = evidence_of(X[None], y)
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    ratio = (found.alpha / found.beta)[0]
    shrunk = s[:, None] / (s[:, None] ** 2 + ratio) * (U.T @ y)
    return np.asarray(Vt.T @ shrunk)


def _centred_targets(table: Table, i: int, task: Task) -> NDArray[np.float64]:
    own = table.y[table.of(i)]
    y = own if table.real else one_hot(own)
    if not np.ptp(y, axis=0).all():
        what = "targets" if table.real else "labels"
        raise TaskError(f"{label(task, i)}: its {len(y)} {what} are alike; 'logme' needs two.")
    return _centred(y)


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    still = np.ptp(values, axis=0) == 0  # rounding must not look like a feature
    return np.where(still, 0.0, values - values.mean(axis=0))
