"""Predictions for the unlabelled rows of a table of many tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier

from sklearn_meta._optional import need
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.base.predict_tasks import Prediction
from sklearn_meta.exceptions import TaskError
from sklearn_meta.outer.failures import (
    Failures,
    Reason,
    check_error_score,
    collect_failures,
    no_prediction,
)
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.tables import (
    from_columns,
    frozen,
    frozen_rows,
    is_column,
    is_frame,
    rows_of,
)
from sklearn_meta.tasks.validate import collect_tasks, label
from sklearn_meta.tasks.values import as_groups, missing

__all__ = ["RowPredictions", "predict_rows", "predict_with_proba"]


@dataclass(frozen=True, eq=False)
class RowPredictions:
    """Result of `TaskEstimator.predict_rows`, with one entry for each unlabelled row.

    Attributes
    ----------
    rows : ndarray of int of shape (n_query,)
        Positions in the table, ascending.
    task : ndarray of shape (n_query,)
        The task of each row.
    y : ndarray of shape (n_query,) or (n_query, n_outputs)
        Predicted labels or targets; None for labels and NaN for targets of a task on which
        adapting diverged.
    proba : ndarray of shape (n_query, n_classes) or None
        Probabilities, in the order of `classes_`; 0 for a class that the labelled rows of the task
        lack (unless tasks share their labels), NaN where adapting diverged. None for regression.
    classes_ : ndarray of shape (n_classes,) or None
        All labels that are predicted for a task, sorted.
    index : object or None
        Index labels of these rows, if the table is a pandas DataFrame.
    """

    rows: NDArray[np.intp]
    task: NDArray[Any]
    y: NDArray[Any]
    proba: NDArray[np.float64] | None
    classes_: NDArray[Any] | None
    index: Any = None

    def to_frame(self) -> Any:
        """Return the predictions as a pandas DataFrame, for ``frame.join(result.to_frame())``.

        Returns
        -------
        pandas.DataFrame
            Columns "prediction" (several outputs: "prediction_0", ...) and "proba_" and the label
            for each class; the index is that of the table, or the positions.
        """
        pd = need("pandas", "pandas", "RowPredictions.to_frame()")
        y = self.y if self.y.ndim == 2 else self.y[:, None]
        n = y.shape[1]
        names = [f"prediction_{k}" for k in range(n)] if n > 1 else ["prediction"]
        columns = dict(zip(names, y.T, strict=True))
        if self.classes_ is not None and self.proba is not None:
            columns |= {f"proba_{c}": p for c, p in zip(self.classes_, self.proba.T, strict=True)}
        return pd.DataFrame(columns, index=self.rows if self.index is None else self.index)


def predict_rows(
    estimator: BaseEstimator, X: Any, y: Any, groups: Any, error_score: Any = np.nan
) -> RowPredictions:
    """Adapt a meta-fitted estimator to the labelled rows of each task, and predict the others.

    With a number as `error_score`, a task on which adapting diverges loses only its own rows.
    """
    table, y, groups = from_columns(X, y, groups)
    table = table if is_frame(table) else frozen_rows(table, "X")
    y = y if is_frame(y) or is_column(y) else frozen(y, "y")
    groups, gaps = as_groups(groups), missing(y)
    unlabelled = np.asarray(gaps.any(axis=tuple(range(1, gaps.ndim))))
    task_of, names = groups.of_row, groups.labels
    if not table.shape[0] == len(y) == len(task_of):
        raise TaskError(
            f"X, y and groups must have one entry a row; got X of shape {table.shape}, y of shape "
            f"{y.shape} and groups of shape {task_of.shape}."
        )
    rows = np.flatnonzero(unlabelled)
    if len(rows) == 0:
        raise TaskError(
            f"y of shape {y.shape} has no missing entry: rows without a label are predicted, "
            "after adapting to those with one."
        )
    check_error_score(error_score, "TaskEstimator")
    n_labelled = np.bincount(task_of, ~unlabelled).astype(int)

    # sort rows by task, labelled rows first; leave out tasks without unlabelled rows
    has_query = np.bincount(task_of, unlabelled) > 0
    order = np.lexsort((unlabelled, task_of))
    order = order[has_query[task_of[order]]]
    is_query = unlabelled[order]
    labels = np.asarray(rows_of(y, order[~is_query]))
    labels = np.array(labels.tolist()) if labels.dtype == object else labels
    if len(labels) == 0:
        labels = np.zeros((1, *labels.shape[1:]), int)
    n_support, n_rows = n_labelled[has_query], np.bincount(task_of)[has_query]
    # a query row, whose target is ignored, gets the first label of its support, if there is one
    first = np.repeat(np.minimum(np.cumsum(n_support) - n_support, len(labels) - 1), n_rows)
    targets = labels[np.where(is_query, first, np.cumsum(~is_query) - 1)]
    sorted_table, sorted_groups = rows_of(table, order), names[task_of[order]]
    if isinstance(estimator, BaseMetaLearner):
        target_type = "class" if is_classifier(estimator) else "real"
        tasks = list(as_tasks(sorted_table, targets, sorted_groups, target_type=target_type))
    else:  # keep frames
        tasks = collect_tasks(sorted_table, targets, sorted_groups)
    for task, n in zip(tasks, n_support, strict=True):
        task.support = np.arange(n)

    with collect_failures() as collected:
        predictions = predict_with_proba(estimator, tasks)
    failures, labels_of = Failures(), {i: f"Task {task.name!r}" for i, task in enumerate(tasks)}
    failures.add(collected.renamed(labels_of), error_score)
    failures.report(len(tasks), error_score)

    back = np.argsort(order[is_query])  # to the order of the table
    classes = proba = None
    if is_classifier(estimator):
        columns = [np.asarray(prediction.classes) for prediction in predictions]
        classes = np.unique(np.concatenate(columns))
        parts = []
        for (y_pred, P, _), of_task in zip(predictions, columns, strict=True):
            wide = np.zeros((len(y_pred), len(classes)))
            wide[:, np.searchsorted(classes, of_task)] = P
            parts.append(wide)
        proba = np.concatenate(parts)[back]
    index = X.index[rows] if hasattr(X, "iloc") else None
    predicted = np.concatenate([prediction.y for prediction in predictions])[back]
    return RowPredictions(rows, names[task_of[rows]], predicted, proba, classes, index)


def predict_with_proba(estimator: BaseEstimator, tasks: Sequence[Task]) -> list[Prediction]:
    """Predict the query of each task, with the probability of each label of its support."""
    if isinstance(estimator, MetaPipeline):
        return predict_with_proba(estimator.steps[-1][1], estimator.transform_tasks(tasks))
    if isinstance(estimator, BaseMetaLearner):
        return estimator.predict_tasks_with_proba(tasks)
    predictions, failures, with_proba = list[Prediction](), Failures(), is_classifier(estimator)
    for i, task in enumerate(tasks):
        adapted, y, name = clone(estimator), task.y_support, label(task, i)
        P = classes = None
        try:
            weight = task.sample_weight_support
            is_fitted = failures.fit(adapted, task.X_support, y, i, name, np.nan, weight)
        except ValueError as error:
            if len(y):
                raise
            is_fitted = False  # it does not predict without rows
            failures.failed[i] = Reason(name, str(error))
        if is_fitted:
            y_pred = adapted.predict(task.X_query)
            if with_proba:
                P, classes = adapted.predict_proba(task.X_query), adapted.classes_
        else:
            n_query = len(task.y) - len(y)
            y_pred = no_prediction(n_query, y, "class" if with_proba else "real")
            if with_proba:
                classes = np.unique(y)
                P = np.full((n_query, len(classes)), np.nan)
        predictions.append(Prediction(y_pred, P, classes))
    failures.report(len(tasks), np.nan)
    return predictions
