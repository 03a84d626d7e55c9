"""How the query of a task is scored, by predictions or by a fitted estimator."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer

from sklearn_meta._warnings import warn
from sklearn_meta.base.predict_tasks import PredictedStack
from sklearn_meta.exceptions import TaskError
from sklearn_meta.outer.failures import Failures, Reason, Reasons, listed
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import UsableTasks, label

__all__ = ["Metric", "QueryScorer", "metric_of", "score_one_by_one", "scorer_of"]

Scorer = Callable[..., Any]  # (fitted estimator, X, y) -> score

# scikit-learn's scorers of probabilities: the function, and the sign of its values
PROBABILITY_METRICS = {
    "d2_brier_score": ("d2_brier_score", 1),
    "d2_log_loss_score": ("d2_log_loss_score", 1),
    "neg_brier_score": ("brier_score_loss", -1),
    "neg_log_loss": ("log_loss", -1),
}
PROBABILITY_SCORERS = {
    name: (metric, sign)
    for name, (function, sign) in PROBABILITY_METRICS.items()
    if (metric := getattr(metrics, function, None))  # older versions lack one, or its labels
    and "labels" in inspect.signature(metric).parameters
}


class _ProbabilityScorer:
    """A scorer of class probabilities for rows in which classes may be absent.

    scikit-learn's own scorers take the classes from the labels of the rows that they score.
    """

    def __init__(self, metric: Callable[..., float], sign: int) -> None:
        self.metric, self.sign = metric, sign

    def __call__(
        self, estimator: BaseEstimator, X: Any, y: Any, sample_weight: Any = None
    ) -> float:
        classes = np.asarray(estimator.classes_)
        labels = np.unique(np.concatenate([classes, np.unique(y)]))
        P = np.zeros((len(y), max(len(labels), 2)))  # classes that were not learned have 0
        P[:, np.searchsorted(labels, classes)] = estimator.predict_proba(X)
        codes, how = np.searchsorted(labels, y), {"labels": np.arange(P.shape[1])}
        return self.sign * float(self.metric(codes, P, sample_weight=sample_weight, **how))


def scorer_of(scoring: Any) -> Scorer:
    """Return a scorer of rows for a name or a callable; raise TypeError for anything else."""
    if isinstance(scoring, str) and scoring in PROBABILITY_SCORERS:
        return _ProbabilityScorer(*PROBABILITY_SCORERS[scoring])
    scorer: Scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    if not callable(scorer):
        raise TypeError(
            "scoring must be a name of scikit-learn's or a callable (estimator, X, y) -> float. "
            f"Got {scoring!r} instead."
        )
    return scorer


class Metric(NamedTuple):
    """A scorer of rows with its name; `of_predictions` is None where predictions are not enough."""

    name: str
    scorer: Scorer
    of_predictions: Callable[..., float] | None  # of the default with `sample_weight`
    is_named: bool  # by scikit-learn; else a callable of the user
    is_default: bool  # accuracy of a classifier, R^2 of a regressor

    def score(self, estimator: BaseEstimator, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score rows; raise FloatingPointError where the score is no finite number.

        A callable of the user does not get the weights.
        """
        is_weighted = sample_weight is not None and self.is_named
        weights = {"sample_weight": sample_weight} if is_weighted else {}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UndefinedMetricWarning)
            score = float(self.scorer(estimator, X, y, **weights))
        if not math.isfinite(score):
            undefined = (w for w in caught if issubclass(w.category, UndefinedMetricWarning))
            reasons = [f"its {self.name} is {score}.", *(str(w.message) for w in undefined)]
            raise FloatingPointError(" ".join(reasons[:2]))
        for warning in caught:
            warn(str(warning.message), warning.category)
        return score


def _negative(loss: Callable[[Any, Any], float]) -> Callable[[Any, Any], float]:
    return lambda y, y_pred: -loss(y, y_pred)


# metrics of predictions alone, for which meta-learners predict all tasks in one stacked pass
PREDICTION_METRICS: dict[str, Callable[..., float]] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "r2": metrics.r2_score,
    "neg_mean_squared_error": _negative(metrics.mean_squared_error),
    "neg_root_mean_squared_error": _negative(metrics.root_mean_squared_error),
    "neg_mean_absolute_error": _negative(metrics.mean_absolute_error),
}


def metric_of(scoring: Any, is_classifier: bool) -> Metric:
    """Return the metric of a `scoring` parameter; None is accuracy, or R^2 of regressors."""
    default = "accuracy" if is_classifier else "r2"
    scoring = default if scoring is None else scoring
    scorer = scorer_of(scoring)
    if isinstance(scoring, str):
        of_predictions = PREDICTION_METRICS.get(scoring)
        return Metric(scoring, scorer, of_predictions, is_named=True, is_default=scoring == default)
    name = getattr(scoring, "__name__", repr(scoring))
    return Metric(name, scorer, None, is_named=False, is_default=False)


# ---- many tasks ----------------------------------------------------------------------------------


class PredictedClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of one query, whose predictions are computed already."""

    def __init__(self, y: NDArray[Any], proba: NDArray[Any], classes: NDArray[Any]) -> None:
        self.y, self.proba, self.classes_ = y, proba, classes

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the labels."""
        return self.y

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probabilities."""
        return self.proba


class PredictedRegressor(RegressorMixin, BaseEstimator):
    """A regressor of one query, whose predictions are computed already."""

    def __init__(self, y: NDArray[Any]) -> None:
        self.y = y

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the targets."""
        return self.y


class QueryScorer:
    """Scores the queries of tasks by a metric, and collects why some have no score."""

    def __init__(self, metric: Metric, error_score: Any) -> None:
        self.metric, self.error_score = metric, error_score
        self.reasons: Reasons = {}
        self._n_scored, self._errors = 0, list[Exception]()

    def score(self, estimator: BaseEstimator, X: Any, task: Task, i: int) -> float:
        """Score the query of task `i` by an estimator that is adapted to it."""
        try:
            score = self.metric.score(estimator, X, task.y_query, task.sample_weight_query)
        except Exception as error:  # a scorer of the user can raise anything
            is_undefined = isinstance(error, FloatingPointError)
            why = str(error) if is_undefined else f"{self.metric.name} fails: {error}"
            reason = Reason(label(task, i), why)
            if self.error_score == "raise":
                raise TaskError(str(reason)) from error
            self.reasons[i] = reason
            self._errors += [] if is_undefined else [error]
            return float(self.error_score)
        self._n_scored += 1
        return score

    def score_stack(self, stack: PredictedStack) -> list[float]:
        """Score a stack of tasks; NaN where adapting failed. The metric must have a name."""
        predicted = zip(stack.predictions(), stack.probabilities(), stack.classes(), strict=True)
        return [
            math.nan if i in stack.failures.failed else self.score(estimator, None, task, i)
            for i, task, estimator in zip(
                stack.positions, stack.tasks, (_estimator_of(*p) for p in predicted), strict=True
            )
        ]

    def report(self, n_tasks: int) -> None:
        """Warn of tasks without a score; raise TaskError if the scorer failed on all of them."""
        if self._errors and not self._n_scored:
            raise TaskError(str(self.reasons[min(self.reasons)])) from self._errors[0]
        if self.reasons:
            warn(
                f"Scoring failed on {len(self.reasons)} of {n_tasks} tasks, whose score is "
                f"{self.error_score}. {listed(self.reasons)}",
                UndefinedMetricWarning,
            )


def _estimator_of(
    y: NDArray[Any], proba: NDArray[Any] | None, classes: NDArray[Any] | None
) -> BaseEstimator:
    """Return an estimator that predicts these labels or targets."""
    if proba is None or classes is None:
        return PredictedRegressor(y)
    return PredictedClassifier(y, proba, classes)


def score_one_by_one(
    estimator: BaseEstimator, usable: UsableTasks, metrics: Sequence[Metric], error_score: Any
) -> NDArray[np.float64]:
    """Fit a copy of an estimator to the support of each task, and score it on the query.

    Return an array (n_tasks, n_metrics). A task that cannot be used costs only its own scores.
    """
    adapted, failures = clone(estimator), Failures()
    scorers = [QueryScorer(metric, error_score) for metric in metrics]
    n_tasks = len(usable.tasks) + len(usable.skipped)
    scores = np.full((n_tasks, len(metrics)), np.nan)

    def score(task: Task, i: int) -> Task:
        name, weight = label(task, i), task.sample_weight_support
        support = task.X_support, task.y_support
        try:
            is_fitted = failures.fit(adapted, *support, i, name, error_score, weight)
        except FloatingPointError:  # error_score="raise"
            raise
        except Exception as error:  # an estimator of the user can raise anything
            raise TaskError(f"{name}: {error}") from error
        if is_fitted:
            scores[i] = [scorer.score(adapted, task.X_query, task, i) for scorer in scorers]
        return task

    usable.map(score, skip=error_score != "raise")
    for skipped in usable.skipped:
        failures.failed[skipped.position] = Reason(skipped.label, skipped.reason)
    if failures.failed:  # else it may be "raise"
        scores[[*failures.failed]] = error_score
    failures.report(n_tasks, error_score)
    for scorer in scorers:
        scorer.report(n_tasks)
    return scores
