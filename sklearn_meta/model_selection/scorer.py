"""How the query of a task is scored, by predictions or by a fitted estimator."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.metrics import get_scorer
from sklearn.utils.metadata_routing import MetadataRequest

__all__ = ["Metric", "margin_of", "mean_score", "metric_of", "scorer_of", "task_scorer"]

Scorer = Callable[[Any, Any, Any], float]  # (fitted estimator, X, y) -> score

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
POINTS = ("accuracy", "balanced_accuracy", "r2")  # metrics where 0.01 is small at any level


def task_scorer(scoring: Any) -> Callable[..., float]:
    """Make a scorer over tasks from a scorer of rows, for `scoring=` of a search.

    Parameters
    ----------
    scoring : str or callable
        A name of one of scikit-learn's scorers, or ``(estimator, X, y) -> float``.

    Returns
    -------
    callable
        ``(task_estimator, tasks, y=None, groups=None) -> float``: the mean over the tasks that
        have a score.

    Examples
    --------
    >>> from sklearn.model_selection import cross_validate
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.model_selection import TaskEstimator, task_scorer
    >>> tasks = make_blob_tasks(9, n_shot=2, random_state=0)
    >>> clf = ProtoNetClassifier(hidden_layer_sizes=8, max_meta_iter=5, random_state=0)
    >>> scoring = {name: task_scorer(name) for name in ("accuracy", "neg_log_loss")}
    >>> results = cross_validate(TaskEstimator(clf), tasks, cv=3, scoring=scoring)
    >>> results["test_neg_log_loss"].shape
    (3,)
    """
    return _TaskScorer(scoring)


class _ScoresTasks(Protocol):
    def score_by(self, scoring: Any, tasks: Any, y: Any = None, groups: Any = None) -> Any: ...


class _TaskScorer:
    """A scorer that workers can unpickle."""

    def __init__(self, scoring: Any) -> None:
        scorer_of(scoring)  # refuses an unknown name
        self.scoring = scoring

    def __call__(
        self, estimator: _ScoresTasks, tasks: Any, y: Any = None, groups: Any = None
    ) -> float:
        return mean_score(estimator.score_by(self.scoring, tasks, y, groups))

    def get_metadata_routing(self) -> MetadataRequest:
        """Request `groups`, which searches pass to no scorer that does not request it."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="groups", alias=True)
        return request

    def __repr__(self) -> str:
        return f"task_scorer({self.scoring!r})"


def mean_score(scores: NDArray[np.float64]) -> float:
    """Return the mean over the tasks that have a score; NaN if none has."""
    valid = scores[~np.isnan(scores)]
    return float(valid.mean()) if len(valid) else math.nan


class _ProbabilityScorer:
    """A scorer of class probabilities for rows in which classes may be absent.

    scikit-learn's own scorers take the classes from the labels of the rows that they score.
    """

    def __init__(self, metric: Callable[..., float], sign: int) -> None:
        self.metric, self.sign = metric, sign

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        classes = np.asarray(estimator.classes_)
        labels = np.unique(np.concatenate([classes, np.unique(y)]))
        P = np.zeros((len(y), max(len(labels), 2)))  # classes that were not learned have 0
        P[:, np.searchsorted(labels, classes)] = estimator.predict_proba(X)
        codes = np.arange(P.shape[1])
        return self.sign * float(self.metric(np.searchsorted(labels, y), P, labels=codes))


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
    """A named metric; `of_predictions` is None where it needs the fitted estimator."""

    name: str
    of_predictions: Callable[[Any, Any], float] | None
    scorer: Scorer | None = None

    def score(self, estimator: Any, X: Any, y: Any) -> float:
        """Score a fitted estimator on rows."""
        if self.scorer is not None:
            return float(self.scorer(estimator, X, y))
        assert self.of_predictions is not None
        return float(self.of_predictions(y, estimator.predict(X)))


def _negative(loss: Callable[[Any, Any], float]) -> Callable[[Any, Any], float]:
    return lambda y, y_pred: -loss(y, y_pred)


# metrics of predictions alone, for which meta-learners predict all tasks in one stacked pass
PREDICTION_METRICS: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "r2": metrics.r2_score,
    "neg_mean_squared_error": _negative(metrics.mean_squared_error),
    "neg_root_mean_squared_error": _negative(metrics.root_mean_squared_error),
    "neg_mean_absolute_error": _negative(metrics.mean_absolute_error),
}


def metric_of(scoring: Any, is_classifier: bool) -> Metric:
    """Return the metric of a `scoring` parameter; None is accuracy, or R^2 of regressors."""
    name = scoring if scoring is not None else "accuracy" if is_classifier else "r2"
    if isinstance(name, str) and name in PREDICTION_METRICS:
        return Metric(name, PREDICTION_METRICS[name])
    text = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
    return Metric(text, None, scorer_of(name))


def margin_of(metric: str, baseline: float) -> float:
    """Return the difference of means that is too small to matter next to this baseline mean."""
    return 0.01 if metric in POINTS else 0.01 * abs(baseline)
