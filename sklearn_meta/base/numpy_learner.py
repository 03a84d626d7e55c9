"""What meta-learners without a network are as scikit-learn estimators."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils import Tags
from sklearn.utils.validation import check_consistent_length

from sklearn_meta._archive import save_object
from sklearn_meta.base.predict_tasks import check_query, fixed_support
from sklearn_meta.base.scoring import metric_of, score_one_by_one
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.outer.failures import (
    NUMERICAL,
    Failures,
    Reason,
    check_error_score,
    collect_failures,
    fit_weighted,
    no_prediction,
)
from sklearn_meta.parameters import check_parameter
from sklearn_meta.tasks import Task, TaskDistribution
from sklearn_meta.tasks.tables import dense, feature_names
from sklearn_meta.tasks.task import without_zero_weights
from sklearn_meta.tasks.validate import (
    UNUSABLE,
    UsableTasks,
    check_feature_names,
    check_task_names,
    label,
    usable_tasks,
    warn_of_one_task,
    warn_of_skipped,
)
from sklearn_meta.tasks.values import as_rows, as_targets

__all__ = ["NumpyMetaLearner", "flat_rows", "row_weights"]

Self = TypeVar("Self", bound="NumpyMetaLearner")
N_DRAWN = 1000  # tasks of a distribution
LEARNED = ("meta_state", "meta_feature_names", "_adapted")  # besides names that end in "_"


class NumpyMetaLearner(BaseEstimator):
    """An estimator with `meta_fit` in plain numpy, whose prior survives `clone`."""

    meta_state: Any = None  # the learned prior; each subclass has its own
    meta_feature_names: tuple[str, ...] | None = None  # columns of the tasks of meta_fit
    unusable = "raise"  # a parameter of those learners that users meet

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
            What to do about a task that cannot be used, or has no finite predictions. With a
            number, its predictions are missing, and a warning names it; the other tasks are
            predicted.

        Returns
        -------
        y : list of ndarray of shape (n_query,) or (n_query, n_outputs)
            Predicted labels or targets, in the order of the tasks. Missing ones are NaN for
            targets, and None for labels.

        Raises
        ------
        TaskError
            If `tasks` is no sequence of tasks, or none of them can be used; with "raise", if one
            of them cannot.
        """
        _, predicted, failures = self._predict_usable(tasks, error_score)
        failures.report(len(predicted), error_score)
        return predicted

    def score_tasks(
        self, tasks: Any, *, scoring: Any = None, error_score: Any = np.nan
    ) -> NDArray[np.float64]:
        """Adapt to the support of each task and score its query.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support. Rows of the query count by their weights, if a task has any.
        scoring : str, callable or None, default=None
            None: accuracy, or R^2 of a regressor. A name of one of scikit-learn's scorers, such as
            "roc_auc", or a callable ``(estimator, X, y) -> float``, which gets a copy that is
            adapted to one task after the other, and no weights of rows.
        error_score : "raise" or float, default=np.nan
            Score of a task that cannot be used (for R^2, also one with a single query row), has no
            finite predictions, or whose query has no score, such as a ROC AUC of rows with one
            label; a warning names it. "raise" makes it an error.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Score of each task.
        """
        metric = metric_of(scoring, is_classifier(self))
        min_query = 2 if metric.name == "r2" else 1
        if not metric.is_default:
            usable = self._usable_tasks(tasks, error_score, min_query)
            return score_one_by_one(self, usable, [metric], error_score)[:, 0]
        assert metric.of_predictions is not None  # predictions are enough for the defaults
        usable, predicted, failures = self._predict_usable(tasks, error_score, min_query)
        scores = np.full(len(predicted), np.nan)
        for task, i in zip(usable.tasks, usable.positions, strict=True):
            if i not in failures.failed:
                weight = task.sample_weight_query
                y_pred = predicted[i]
                scores[i] = metric.of_predictions(task.y_query, y_pred, sample_weight=weight)
        if failures.failed:  # else it may be "raise"
            scores[[*failures.failed]] = error_score
        failures.report(len(predicted), error_score)
        return scores

    def _predict_usable(
        self, tasks: Any, error_score: Any, min_query: int = 1
    ) -> tuple[UsableTasks, list[NDArray[Any]], Failures]:
        """Return the usable tasks, predictions for all, and the failures, which are not reported.

        With "raise" as `error_score`, a task that cannot be used is an error.
        """
        usable = self._usable_tasks(tasks, error_score, min_query)
        predicted, failures = self._predict_tasks(usable, error_score)
        for task in usable.skipped:
            failures.failed[task.position] = Reason(task.label, task.reason)
            y = np.zeros(0) if task.task is None else task.task.y
            predicted[task.position] = no_prediction(task.n_query, y, self._target_type)
        return usable, [predicted[i] for i in range(len(predicted))], failures

    def _usable_tasks(self, tasks: Any, error_score: Any, min_query: int) -> UsableTasks:
        """Return the tasks that can be used; all of them with "raise" as `error_score`."""
        check_error_score(error_score, type(self).__name__)
        skip = error_score != "raise"
        usable = usable_tasks(
            tasks, target_type=self._target_type, unusable="skip" if skip else "raise"
        )

        def check(task: Task, i: int) -> None:
            if skip or i == 0:
                check_task_names(task, i, self.meta_feature_names)
            if skip:
                check_query(task, i, min_query)
            fixed_support(task, i)

        usable.keep(check, skip=skip)
        return usable

    @property
    def _target_type(self) -> str:
        return "class" if is_classifier(self) else "real"

    def _predict_tasks(
        self, usable: UsableTasks, error_score: Any
    ) -> tuple[dict[int, NDArray[Any]], Failures]:
        """Return predictions by position, and the failures, which are not reported.

        A task that the estimator refuses becomes one of the skipped ones.
        """
        estimator, target_type = clone(self), self._target_type
        predicted, failures = dict[int, NDArray[Any]](), Failures()

        def predict(task: Task, i: int) -> Task:
            try:
                support = task.X_support, task.y_support, task.sample_weight_support
                with collect_failures() as warned:
                    y = fit_weighted(estimator, *support).predict(task.X_query)
                failures.add_warnings(warned, i, label(task, i))
                if target_type == "real" and not np.isfinite(y).all():
                    raise FloatingPointError("its predictions are not finite.")
            except NUMERICAL as error:
                failures.add(Failures({i: Reason(label(task, i), str(error))}), error_score)
                y = no_prediction(len(task.y_query), task.y, target_type)
            except ValueError as error:
                raise TaskError(f"{label(task, i)}: {error}") from error
            predicted[i] = y
            return task

        usable.map(predict, skip=error_score != "raise")
        return predicted, failures

    def _open_tasks(
        self, tasks: Any, y: Any = None, groups: Any = None, sample_weight: Any = None
    ) -> UsableTasks:
        """Validate the tasks of `meta_fit`; with ``unusable="skip"``, leave out some of them.

        Tasks are drawn from a distribution that has no list of them.
        """
        unusable = check_parameter("unusable", self.unusable, UNUSABLE, type(self).__name__)
        if isinstance(tasks, TaskDistribution) and not hasattr(tasks, "__len__"):
            tasks = tasks.sample(N_DRAWN, np.random.RandomState(0))
        table = tasks, y, groups, sample_weight
        usable = usable_tasks(*table, target_type=self._target_type, unusable=unusable)
        skip = unusable == "skip"
        usable.map(lambda task, i: without_zero_weights(task, label(task, i)), skip=skip)
        return usable

    def _list_skipped(self, usable: UsableTasks) -> None:
        """Warn of tasks that were left out, and of a single one; set `skipped_tasks_`."""
        warn_of_skipped(usable.skipped, len(usable.tasks) + len(usable.skipped))
        warn_of_one_task(len(usable.tasks), type(self).__name__)
        self.skipped_tasks_ = [task.entry for task in usable.skipped]

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

    def __sklearn_is_fitted__(self) -> bool:
        return any(name.endswith("_") and name != "skipped_tasks_" for name in vars(self))

    def __sklearn_clone__(self: Self) -> Self:
        twin: Self = super().__sklearn_clone__()
        if self.meta_state is not None:
            twin.meta_state, twin.meta_feature_names = self.meta_state, self.meta_feature_names
        return twin


def flat_rows(X: Any, dtype: Any = np.float64) -> NDArray[Any]:
    """Return rows of any shape, sparse ones too, as a dense array (n_rows, n_features)."""
    rows = dense(X, dtype)
    return rows.reshape(len(rows), int(np.prod(rows.shape[1:])))


def row_weights(tasks: Sequence[Task]) -> list[NDArray[np.float64]]:
    """Return the weights of the rows of each task."""
    return [np.ones(len(t)) if t.sample_weight is None else t.sample_weight for t in tasks]
