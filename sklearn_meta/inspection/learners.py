"""Scores on tasks by the prior that an estimator has learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from sklearn_meta._plotting import in_words
from sklearn_meta.model_selection import TaskEstimator

__all__ = ["judge_of", "score_name_of", "scores_of"]


def judge_of(estimator: Any, scoring: Any, tasks: Any) -> TaskEstimator:
    """Return a fitted TaskEstimator that scores tasks by what an estimator has learned.

    `estimator` is a meta-fitted learner, MetaPipeline or TaskEstimator, or a fitted search.
    """
    inside = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(inside, TaskEstimator):
        inside = TaskEstimator(inside)
    return TaskEstimator(
        getattr(inside, "estimator_", inside.estimator),
        scoring=inside.scoring if scoring is None else scoring,
        prefit=True,
        n_support=inside.n_support,
        random_state=inside.random_state,
        error_score="raise",  # a picture has no place for a missing score
    ).fit(tasks)


def score_name_of(judge: TaskEstimator) -> str:
    """Name the score for an axis."""
    if judge.scoring is None:
        return "accuracy" if is_classifier(judge.estimator) else "R²"
    return in_words(judge.scoring) if isinstance(judge.scoring, str) else "score"


def scores_of(judge: TaskEstimator, tasks: Any) -> NDArray[np.float64]:
    """Score tasks by one number each, (n_tasks,)."""
    scores = judge.score_tasks(tasks)
    if isinstance(scores, dict):
        raise ValueError(f"A picture shows one score, but scoring names {list(scores)}.")
    return scores
