"""Predictions for the rows without a label in a table of many tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier

from sklearn_meta._optional import need
from sklearn_meta.base.estimator import BaseMetaLearner, Prediction
from sklearn_meta.exceptions import TaskError
from sklearn_meta.outer.failures import (
    Failures,
    check_error_score,
    collect_failures,
    no_prediction,
)
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.pipeline.raw_tasks import RawTask, raw_tasks
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.arrays import frozen, frozen_rows
from sklearn_meta.tasks.frames import from_columns, is_column, is_frame, missing, rows_of
from sklearn_meta.tasks.validate import label
from sklearn_meta.tasks.values import as_groups

__all__ = ["RowPredictions", "predicted_rows"]


@dataclass(frozen=True, eq=False)
class RowPredictions:
    """Result of `TaskEstimator.predict_rows`, with one entry for each row without a label.

    Attributes
    ----------
    rows : ndarray of int of shape (n_query,)
        Positions in the table, ascending.
    task : ndarray of shape (n_query,)
        Of which task each is.
    y : ndarray of shape (n_query,) or (n_query, n_outputs)
        Predicted labels or targets. Where adapting to the task diverged, None for labels and NaN
        for targets.
    proba : ndarray of shape (n_query, n_classes) or None
        Probabilities, in the order of `classes_`; 0 for a class that the labelled rows of the task
        lack, NaN where adapting diverged. None of a regression.
    classes_ : ndarray of shape (n_classes,) or None
        All labels of all tasks, sorted.
    index : object or None
        Labels of these rows, where the table is a frame of pandas.
    """

    rows: NDArray[np.intp]
    task: NDArray[Any]
    y: NDArray[Any]
    proba: NDArray[np.float64] | None
    classes_: NDArray[Any] | None
    index: Any = None

    def to_frame(self) -> Any:
        """Give them as a frame of pandas, for ``frame.join(found.to_frame())``.

        Returns
        -------
        pandas.DataFrame
            Columns "prediction" (several outputs: "prediction_0", ...) and "proba_" of each class;
            the index is that of the table, or the positions.
        """
        pd = need("pandas", "pandas", "RowPredictions.to_frame()")
        y = self.y if self.y.ndim == 2 else self.y[:, None]
        several = y.shape[1] > 1
        names = [f"prediction_{k}" if several else "prediction" for k in range(y.shape[1])]
        columns = dict(zip(names, y.T, strict=True))
        if self.classes_ is not None and self.proba is not None:
            columns |= {f"proba_{c}": p for c, p in zip(self.classes_, self.proba.T, strict=True)}
        return pd.DataFrame(columns, index=self.rows if self.index is None else self.index)


def predicted_rows(
    estimator: Any, X: Any, y: Any, groups: Any, error_score: Any = np.nan
) -> RowPredictions:
    """Adapt to the labelled rows of each task, and predict its others.

    Parameters
    ----------
    estimator : meta-learner
        Meta-fitted; it stays as it is.
    X : table of shape (n_rows, ...)
        Rows of all tasks.
    y : array-like of shape (n_rows,) or str
        Missing where a row is to be predicted. Or the name of that column.
    groups : array-like of shape (n_rows,) or str
        The task of each row. Or the name of that column.
    error_score : "raise" or float, default=np.nan
        With a number, a task on which adapting diverges costs its own rows alone.

    Returns
    -------
    RowPredictions
        For the rows without a label.

    Raises
    ------
    TaskError
        If there are none, or a task has no others.
    """
    table, y, groups = from_columns(X, y, groups)
    table = table if is_frame(table) else frozen_rows(table, "X")
    y = y if is_frame(y) or is_column(y) else frozen(y, "y")
    of_task, gaps = as_groups(groups), missing(y)
    unknown = gaps.reshape(len(gaps), int(np.prod(gaps.shape[1:]))).max(axis=1, initial=False)
    if not table.shape[0] == len(y) == len(of_task.of_row):
        raise TaskError(
            f"X, y and groups must have one entry a row; got X of shape {table.shape}, y of shape "
            f"{y.shape} and groups of shape {of_task.of_row.shape}."
        )
    rows = np.flatnonzero(unknown)
    if len(rows) == 0:
        raise TaskError(
            f"y of shape {y.shape} has no missing entry: rows without a label are predicted, "
            "after adapting to those with one."
        )
    check_error_score(error_score, "TaskEstimator")
    code, name_of = of_task.of_row, of_task.labels
    n_labelled = np.bincount(code, ~unknown).astype(int)
    lacking = rows[n_labelled[code[rows]] == 0]
    if len(lacking):
        name = str(name_of[code[lacking].min()])
        raise TaskError(f"Task {name!r} has no labelled row to adapt to.")
    asked = np.bincount(code, unknown) > 0  # the other tasks have nothing to predict
    order = np.lexsort((unknown, code))  # the labelled rows of each task first
    order = order[asked[code[order]]]
    labelled = order[~unknown[order]]
    known = np.asarray(rows_of(y, labelled))  # without gaps, whole numbers are whole again
    known = np.array(known.tolist()) if known.dtype == object else known
    n_labelled = n_labelled[asked]
    n_rows = np.bincount(code)[asked]
    first = np.repeat(np.cumsum(n_labelled) - n_labelled, n_rows)
    place = np.where(unknown[order], first, np.cumsum(~unknown[order]) - 1)
    table, targets = rows_of(table, order), known[place]  # a query has any label of its support
    tasks = _with_support(estimator, table, targets, name_of[code[order]], n_labelled)
    with collect_failures() as inside:
        found = _predictions(estimator, tasks)
    failures, names = Failures(), {i: f"Task {task.name!r}" for i, task in enumerate(tasks)}
    failures.add(inside.renamed(names), error_score)
    failures.report(len(found), error_score)
    query = order[unknown[order]]
    back = np.argsort(query)
    classes = proba = None
    if is_classifier(estimator):
        classes = np.unique(known)
        wide = np.zeros((len(query), len(classes)))
        begin = 0
        for own, (labels, P) in zip(
            np.split(known, np.cumsum(n_labelled)[:-1]), found, strict=True
        ):
            end = begin + len(labels)
            wide[begin:end, np.searchsorted(classes, np.unique(own))] = P
            begin = end
        proba = wide[back]
    index = X.index[rows] if hasattr(X, "iloc") else None
    predicted = np.concatenate([one for one, _ in found])[back]
    return RowPredictions(rows, name_of[code[rows]], predicted, proba, classes, index)


def _with_support(
    estimator: Any, table: Any, y: NDArray[Any], groups: NDArray[Any], n_support: NDArray[np.intp]
) -> Sequence[Task | RawTask]:
    """Make tasks of a table that is sorted by task, the rows of the support first."""
    numbers = [np.arange(n) for n in n_support]
    if not isinstance(estimator, BaseMetaLearner):  # frames stay frames
        raw = raw_tasks(table, y, groups)
        return [t._replace(support=rows) for t, rows in zip(raw, numbers, strict=True)]
    kind = "class" if is_classifier(estimator) else "real"
    tasks = as_tasks(table, y, groups, target_type=kind)
    for task, rows in zip(tasks, numbers, strict=True):
        task.support = rows
    return tasks


def _predictions(estimator: Any, tasks: Sequence[Task | RawTask]) -> list[Prediction]:
    """Predict the query of each task, with the probability of each label of its support."""
    if isinstance(estimator, MetaPipeline):
        return _predictions(*estimator._learner_and_tasks(tasks))
    if isinstance(estimator, BaseMetaLearner):
        return estimator._predictions(tasks)
    found, failures, classify = list[Prediction](), Failures(), is_classifier(estimator)
    for i, task in enumerate(tasks):
        adapted, y = clone(estimator), task.y_support
        if failures.fit(adapted, task.X_support, y, i, label(task, i), np.nan):
            P = adapted.predict_proba(task.X_query) if classify else None
            found.append((adapted.predict(task.X_query), P))
            continue
        n_query = len(task.y) - len(y)
        missing_y = no_prediction(n_query, y, "class" if classify else "real")
        found.append((missing_y, np.full((n_query, 1), np.nan) if classify else None))
    failures.report(len(tasks), np.nan)
    return found
