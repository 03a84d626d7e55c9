"""Predictions for the rows without a label in a table of many tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier

from sklearn_meta.exceptions import TaskError
from sklearn_meta.extras import need
from sklearn_meta.tasks.frames import from_columns, is_frame, missing, rows_of

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
        Predicted labels or targets.
    proba : ndarray of shape (n_query, n_classes) or None
        Probabilities, in the order of `classes_`; 0 for a class that the labelled rows of the task
        lack. None of a regression.
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


def predicted_rows(estimator: Any, X: Any, y: Any, groups: Any) -> RowPredictions:
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
    table = table if is_frame(table) else np.asarray(table)
    y = y if hasattr(y, "shape") else np.asarray(y)
    of_task, gaps = np.asarray(groups), missing(y)
    unknown = gaps.reshape(len(gaps), int(np.prod(gaps.shape[1:]))).max(axis=1, initial=False)
    if not len(table) == len(y) == len(of_task) or of_task.ndim != 1:
        raise TaskError(
            f"X, y and groups must have one entry a row; got X of shape {table.shape}, y of shape "
            f"{y.shape} and groups of shape {of_task.shape}."
        )
    if missing(groups).any():
        raise TaskError(f"groups is missing at row {missing(groups).argmax()}.")
    rows = np.flatnonzero(unknown)
    if len(rows) == 0:
        raise TaskError(
            f"y of shape {y.shape} has no missing entry: rows without a label are predicted, "
            "after adapting to those with one."
        )
    found = []
    for name in np.unique(of_task[rows]):
        support = np.flatnonzero((of_task == name) & ~unknown)
        if len(support) == 0:
            raise TaskError(f"Task {str(name)!r} has no labelled row to adapt to.")
        known = np.asarray(rows_of(y, support))  # without gaps, whole numbers are whole again
        known = np.array(known.tolist()) if known.dtype == object else known
        query = np.flatnonzero((of_task == name) & unknown)
        adapted = clone(estimator).fit(rows_of(table, support), known)
        found.append(_of_one(adapted, rows_of(table, query), query))
    order = np.argsort(np.concatenate([one.rows for one in found]))
    classes = proba = None
    if is_classifier(estimator):
        classes = np.unique(np.concatenate([one.classes_ for one in found]))
        proba = np.concatenate([_spread(one, classes) for one in found])[order]
    labels = np.concatenate([one.y for one in found])[order]
    index = X.index[rows] if hasattr(X, "iloc") else None
    return RowPredictions(rows, of_task[rows], labels, proba, classes, index)


def _of_one(adapted: Any, X: Any, rows: NDArray[np.intp]) -> RowPredictions:
    labels = is_classifier(adapted)
    proba = adapted.predict_proba(X) if labels else None
    return RowPredictions(
        rows, rows, adapted.predict(X), proba, adapted.classes_ if labels else None
    )


def _spread(one: RowPredictions, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Give the classes of a task their columns among those of all."""
    wide = np.zeros((len(one.rows), len(classes)))
    wide[:, np.isin(classes, np.asarray(one.classes_))] = one.proba  # both are sorted
    return wide
