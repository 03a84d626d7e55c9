"""Scorers over tasks, for scikit-learn's tools."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.metadata_routing import MetadataRequest

from sklearn_meta.base.scoring import scorer_of

__all__ = ["margin_of", "mean_score", "task_scorer"]

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


class _TaskScorer:
    """A scorer that workers can unpickle."""

    def __init__(self, scoring: Any) -> None:
        scorer_of(scoring)  # refuses an unknown name
        self.scoring = scoring

    def __call__(
        self, estimator: BaseEstimator, tasks: Any, y: Any = None, groups: Any = None
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


def margin_of(metric: str, baseline: float) -> float:
    """Return the difference of means that is too small to matter next to this baseline mean."""
    return 0.01 if metric in POINTS else 0.01 * abs(baseline)
