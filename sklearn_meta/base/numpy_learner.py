"""What meta-learners without a network are as scikit-learn estimators."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import Tags
from sklearn.utils.validation import check_consistent_length

from sklearn_meta._archive import save_object
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.outer.failures import (
    NUMERICAL,
    Failures,
    Reason,
    check_error_score,
    no_prediction,
)
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.tables import dense, feature_names
from sklearn_meta.tasks.validate import check_feature_names, check_task_names, label
from sklearn_meta.tasks.values import as_rows, as_targets

__all__ = ["NumpyMetaLearner", "check_have_support", "flat_rows"]

Self = TypeVar("Self", bound="NumpyMetaLearner")
LEARNED = ("meta_state", "meta_feature_names", "_adapted")  # besides names that end in "_"


class NumpyMetaLearner(BaseEstimator):
    """An estimator with `meta_fit` in plain numpy, whose prior survives `clone`."""

    meta_state: Any = None  # the learned prior; each subclass has its own
    meta_feature_names: tuple[str, ...] | None = None  # columns of the tasks of meta_fit

    def reset_meta(self: Self) -> Self:
        """Forget the learned prior, and the adaptation with it.

        Returns
        -------
        self : object
            The estimator, as if newly created with the same parameters.
        """
        for name in [name for name in vars(self) if name.endswith("_") or name in LEARNED]:
            delattr(self, name)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, prior and last adaptation to a file, for :func:`sklearn_meta.load`.

        Estimators of other packages inside it are written by skops; `load` asks for trust in those
        types that skops does not know.

        Parameters
        ----------
        path : str or os.PathLike
            The file; it is replaced if it exists.

        Raises
        ------
        SaveError
            If an estimator inside it cannot be saved.
        """
        save_object(self, path)

    def predict_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> list[NDArray[Any]]:
        """Fit the support of each task and predict its query.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support.
        error_score : "raise" or float, default=np.nan
            What to do about a task without finite predictions. With a number, its predictions are
            missing, and a warning names it; the other tasks are predicted.

        Returns
        -------
        y : list of ndarray of shape (n_query,) or (n_query, n_outputs)
            Predicted labels or targets, in the order of the tasks. Missing ones are NaN for
            targets, and None for labels.

        Raises
        ------
        TaskError
            If a task is invalid, or has no fixed support.
        """
        checked, predicted, failures = self._predict_tasks(tasks, error_score)
        failures.report(len(checked), error_score)
        return predicted

    def score_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> NDArray[np.float64]:
        """Return the accuracy (R^2 of a regressor) on the query of each task.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support.
        error_score : "raise" or float, default=np.nan
            Score of a task without finite predictions; a warning names it.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Score of each task.
        """
        metric = accuracy_score if is_classifier(self) else r2_score
        checked, predicted, failures = self._predict_tasks(tasks, error_score)
        scores = [
            error_score if i in failures.failed else metric(task.y_query, y)
            for i, (task, y) in enumerate(zip(checked, predicted, strict=True))
        ]
        failures.report(len(checked), error_score)
        return np.array(scores, dtype=np.float64)

    def _predict_tasks(
        self, tasks: Any, error_score: Any
    ) -> tuple[Sequence[Task], list[NDArray[Any]], Failures]:
        """Return validated tasks, their predictions, and the failures, which are not reported."""
        check_error_score(error_score, type(self).__name__)
        estimator, target_type = clone(self), "class" if is_classifier(self) else "real"
        checked = as_tasks(tasks, target_type=target_type)
        check_task_names(checked[0], 0, self.meta_feature_names)
        check_have_support(checked)
        predicted, failures = list[NDArray[Any]](), Failures()
        for i, task in enumerate(checked):
            try:
                y = estimator.fit(task.X_support, task.y_support).predict(task.X_query)
                if target_type == "real" and not np.isfinite(y).all():
                    raise FloatingPointError("its predictions are not finite.")
            except NUMERICAL as error:
                failures.add(Failures({i: Reason(label(task, i), str(error))}), error_score)
                y = no_prediction(len(task.y_query), task.y, target_type)
            predicted.append(y)
        return checked, predicted, failures

    def check_meta_fitted(self) -> Any:
        """Return the learned prior.

        Returns
        -------
        object
            The prior that `meta_fit` learned.

        Raises
        ------
        NotMetaFittedError
            If `meta_fit` has not been called.
        """
        if self.meta_state is None:
            raise NotMetaFittedError(
                f"This {type(self).__name__} is not meta-fitted yet. Call meta_fit(tasks) first."
            )
        return self.meta_state

    def _check_rows(self, X: Any, n_features: int) -> NDArray[np.float64]:
        """Return rows as floats; refuse other features than those of `meta_fit`."""
        rows = flat_rows(as_rows(X, "X"))
        check_feature_names(feature_names(X), self.meta_feature_names)
        if rows.shape[1] != n_features:
            raise ValueError(
                f"X of shape {np.shape(X)} has {rows.shape[1]} features, but {type(self).__name__} "
                f"was meta-fitted with {n_features}."
            )
        return rows

    def _check_support(
        self, X: Any, y: Any, n_features: int, target_type: str
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return rows and targets of a support, which may have no rows."""
        if np.ndim(y) > 0 and np.shape(y)[0] == 0 and np.ndim(X) > 1 and np.shape(X)[0] == 0:
            check_feature_names(feature_names(X), self.meta_feature_names)
            width = int(np.prod(np.shape(X)[1:]))
            row = self._check_rows(np.zeros((1, width)), n_features)
            return row[:0], np.empty(np.shape(y))
        y = as_targets(y, "y", target_type)
        rows = self._check_rows(X, n_features)
        check_consistent_length(rows, y)
        return rows, y

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_clone__(self: Self) -> Self:
        twin: Self = super().__sklearn_clone__()
        if self.meta_state is not None:
            twin.meta_state, twin.meta_feature_names = self.meta_state, self.meta_feature_names
        return twin


def check_have_support(tasks: Sequence[Task]) -> None:
    """Raise a TaskError for the first task without a fixed support."""
    for i, task in enumerate(tasks):
        if task.support is None:
            raise TaskError(
                f"{label(task, i)} has no fixed support to adapt to. Give it one, "
                "Task(X, y, support=...), or draw one with sklearn_meta.tasks.split_task."
            )


def flat_rows(X: Any, dtype: Any = np.float64) -> NDArray[Any]:
    """Return rows of any shape, sparse ones too, as a dense array (n_rows, n_features)."""
    rows = dense(X, dtype)
    return rows.reshape(len(rows), -1)
