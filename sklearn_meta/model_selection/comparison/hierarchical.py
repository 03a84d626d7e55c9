"""What the hierarchical baselines have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier

from sklearn_meta.exceptions import NotMetaFittedError
from sklearn_meta.outer.failures import (
    NUMERICAL,
    Failures,
    Reason,
    check_error_score,
    no_prediction,
)
from sklearn_meta.tasks import as_tasks
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.columns import check_feature_names, check_task_names
from sklearn_meta.tasks.frames import feature_names
from sklearn_meta.tasks.validate import label
from sklearn_meta.tasks.values import as_rows

__all__ = ["HierarchicalBase", "flat_rows"]

Array = NDArray[np.float64]


class HierarchicalBase(BaseEstimator):
    """Holds a prior that `clone` keeps."""

    _prior: Any = None
    _feature_names: tuple[str, ...] | None = None  # of the tasks of meta_fit

    def reset_meta(self) -> Any:
        """Forget what was learned.

        Returns
        -------
        self : object
            As if newly made.
        """
        self._prior = self._feature_names = None
        return self

    def predict_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> list[NDArray[Any]]:
        """Fit the support of each task and predict its query.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support.
        error_score : "raise" or float, default=np.nan
            What to do about a task whose numbers overflow. With a number, its predictions are
            missing, and a warning names it.

        Returns
        -------
        y : list of ndarray
            Of each task. Where numbers overflow, NaN for targets, and None for labels.
        """
        check_error_score(error_score, "predict_tasks")
        own, kind = clone(self), "class" if is_classifier(self) else "real"
        known = as_tasks(tasks, target_type=kind)
        check_task_names(known[0], 0, self._feature_names)
        predicted, failures = list[NDArray[Any]](), Failures()
        for i, t in enumerate(known):
            try:
                y = own.fit(t.X_support, t.y_support).predict(t.X_query)
                if kind == "real" and not np.isfinite(y).all():
                    raise FloatingPointError("its predictions are not finite.")
                predicted.append(y)
            except NUMERICAL as error:
                failures.add(Failures({i: Reason(label(t, i), str(error))}), error_score)
                predicted.append(no_prediction(len(t) - len(t.y_support), t.y, kind))
        failures.report(len(known), error_score)
        return predicted

    def _known(self) -> Any:
        if self._prior is None:
            raise NotMetaFittedError(
                f"This {type(self).__name__} is not meta-fitted yet. Call meta_fit(tasks) first."
            )
        return self._prior

    def _rows(self, X: Any, n_features: int, y: Any = None) -> Array:
        """Give rows as vectors, held against those of `meta_fit` and against their targets."""
        rows, name = flat_rows(as_rows(X, "X")), type(self).__name__
        check_feature_names(feature_names(X), self._feature_names)
        if rows.shape[1] != n_features:
            raise ValueError(
                f"X of shape {np.shape(X)} has {rows.shape[1]} features, but {name} was "
                f"meta-fitted with {n_features}."
            )
        if y is not None and len(y) != len(rows):
            raise ValueError(
                f"X and y must have the same number of rows; got X of shape {np.shape(X)} and y of "
                f"shape {np.shape(y)}."
            )
        return rows

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_clone__(self) -> Any:
        twin = super().__sklearn_clone__()
        twin._prior, twin._feature_names = self._prior, self._feature_names
        return twin


def flat_rows(X: Any) -> Array:
    """Give rows of any shape as vectors.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_rows, ...)
        Inputs, or targets.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        Of floats.
    """
    array = dense(X, np.float64)
    return array.reshape(len(array), -1)
