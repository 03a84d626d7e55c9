"""Scorers over tasks, for searches and cross-validation by several metrics."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.metrics import get_scorer
from sklearn.utils.metadata_routing import MetadataRequest

__all__ = ["mean_score", "scorer_of", "task_scorer"]

Scorer = Callable[[Any, Any, Any], float]  # (fitted estimator, X, y) -> score
NAMES = {  # of scikit-learn's scorers of probabilities: the function, and the sign of its values
    "d2_brier_score": ("d2_brier_score", 1),
    "d2_log_loss_score": ("d2_log_loss_score", 1),
    "neg_brier_score": ("brier_score_loss", -1),
    "neg_log_loss": ("log_loss", -1),
}
OF_PROBABILITIES = {
    name: (metric, sign)
    for name, (function, sign) in NAMES.items()
    if (metric := getattr(metrics, function, None))  # older versions lack one, or its labels
    and "labels" in inspect.signature(metric).parameters
}


def task_scorer(scoring: Any) -> Callable[..., float]:
    """Make a scorer over tasks of a scorer of rows, for `scoring=` of a search.

    Parameters
    ----------
    scoring : str or callable
        A name of scikit-learn's, or ``(estimator, X, y) -> float``.

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
    >>> found = cross_validate(TaskEstimator(clf), tasks, cv=3, scoring=scoring)
    >>> found["test_neg_log_loss"].shape
    (3,)
    """
    return _TaskScorer(scoring)


class _TaskScorer:
    """A scorer that workers can unpickle."""

    def __init__(self, scoring: Any) -> None:
        scorer_of(scoring)  # an unknown name is refused here
        self.scoring = scoring

    def __call__(self, estimator: Any, tasks: Any, y: Any = None, groups: Any = None) -> float:
        return mean_score(estimator.score_by(self.scoring, tasks, y, groups))

    def get_metadata_routing(self) -> MetadataRequest:
        """Ask for `groups`, as `TaskEstimator.score` does: searches give them nobody else."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="groups", alias=True)
        return request

    def __repr__(self) -> str:
        return f"task_scorer({self.scoring!r})"


def mean_score(scores: NDArray[np.float64]) -> float:
    """Return the mean over the tasks that have a score; NaN if none has."""
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if len(known) else math.nan


class _ProbabilityScorer:
    """A scorer of class probabilities for rows among which classes may be absent.

    scikit-learn's own scorers take the classes from the labels of the rows they are given.
    """

    def __init__(self, metric: Callable[..., float], sign: int) -> None:
        self.metric, self.sign = metric, sign

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        classes = np.asarray(estimator.classes_)
        labels = np.unique(np.concatenate([classes, np.unique(y)]))
        P = np.zeros((len(y), max(len(labels), 2)))  # a class that was not learned has a 0
        P[:, np.searchsorted(labels, classes)] = estimator.predict_proba(X)
        codes = np.arange(P.shape[1])
        return self.sign * float(self.metric(np.searchsorted(labels, y), P, labels=codes))


def scorer_of(scoring: Any) -> Scorer:
    """Give a scorer of rows.

    Parameters
    ----------
    scoring : str or callable
        A name of scikit-learn's, or the scorer itself.

    Returns
    -------
    callable
        ``(estimator, X, y) -> float``.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(scoring, str) and scoring in OF_PROBABILITIES:
        return _ProbabilityScorer(*OF_PROBABILITIES[scoring])
    found: Scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    if not callable(found):
        raise TypeError(
            "scoring must be a name of scikit-learn's or a callable (estimator, X, y) -> float. "
            f"Got {scoring!r} instead."
        )
    return found
