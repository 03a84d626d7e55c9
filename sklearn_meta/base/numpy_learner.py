"""What meta-learners without a network are as scikit-learn estimators."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils import Tags

from sklearn_meta._archive import save_object
from sklearn_meta.exceptions import NotMetaFittedError
from sklearn_meta.outer.failures import (
    NUMERICAL,
    Failures,
    Reason,
    check_error_score,
    no_prediction,
)
from sklearn_meta.tasks import as_tasks
from sklearn_meta.tasks.tables import dense, feature_names
from sklearn_meta.tasks.validate import check_feature_names, check_task_names, label
from sklearn_meta.tasks.values import as_rows

__all__ = ["NumpyMetaLearner", "flat_rows"]

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
            What to do about a task whose numbers overflow. With a number, its predictions are
            missing, and a warning names it.

        Returns
        -------
        y : list of ndarray
            Predictions for each task. Where numbers overflow, NaN for targets, and None for labels.
        """
        check_error_score(error_score, "predict_tasks")
        estimator, target_type = clone(self), "class" if is_classifier(self) else "real"
        checked = as_tasks(tasks, target_type=target_type)
        check_task_names(checked[0], 0, self.meta_feature_names)
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
        failures.report(len(checked), error_score)
        return predicted

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

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_clone__(self: Self) -> Self:
        twin: Self = super().__sklearn_clone__()
        if self.meta_state is not None:
            twin.meta_state, twin.meta_feature_names = self.meta_state, self.meta_feature_names
        return twin


def flat_rows(X: Any, dtype: Any = np.float64) -> NDArray[Any]:
    """Return rows of any shape, sparse ones too, as a dense array (n_rows, n_features)."""
    rows = dense(X, dtype)
    return rows.reshape(len(rows), -1)
