"""The history of the meta-learner inside an estimator, and names for pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.pipeline import Pipeline

from sklearn_meta._plotting import by_name, check_names, in_words, names_of
from sklearn_meta.exceptions import NotMetaFittedError
from sklearn_meta.model_selection.task_scores import judge_of, score_name_of, scores_of

__all__ = [
    "by_name",
    "check_names",
    "history_of",
    "in_words",
    "judge_of",
    "names_of",
    "score_name_of",
    "scores_of",
]


def history_of(estimator: Any) -> Sequence[Mapping[str, Any]]:
    """Return the history of the meta-learner inside an estimator.

    Parameters
    ----------
    estimator : meta-learner, MetaPipeline, TaskEstimator or fitted search
        Meta-fitted.

    Returns
    -------
    list of dict
        One row an epoch.

    Raises
    ------
    NotMetaFittedError
        If there is none.
    """
    inside = getattr(estimator, "best_estimator_", estimator)
    inside = getattr(inside, "estimator_", inside)
    inside = inside.steps[-1][1] if isinstance(inside, Pipeline) else inside
    if not hasattr(inside, "history_"):
        raise NotMetaFittedError(
            f"This {type(inside).__name__} has no history_: it is not meta-fitted yet, or it is a "
            "clone, which keeps the learned prior but not how it was learned."
        )
    history: Sequence[Mapping[str, Any]] = inside.history_
    return history
