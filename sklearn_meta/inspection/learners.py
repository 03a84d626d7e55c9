"""What is drawn of an estimator: the meta-learner inside it, its scores on tasks, their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from sklearn_meta.exceptions import NotMetaFittedError
from sklearn_meta.model_selection import TaskEstimator
from sklearn_meta.tasks import Task

__all__ = [
    "by_name",
    "history_of",
    "in_words",
    "judge_of",
    "names_of",
    "one_a_task",
    "score_name_of",
    "scores_of",
]


def by_name(value: Any, name: str | None = None) -> dict[str, Any]:
    """Spell one thing or several by name in one way.

    Parameters
    ----------
    value : object or dict
        A dict is taken as it is.
    name : str or None, default=None
        Of a thing alone; None: that of its class.

    Returns
    -------
    dict
        By name.
    """
    if isinstance(value, Mapping):
        return dict(value)
    return {type(value).__name__ if name is None else name: value}


def history_of(estimator: Any) -> Sequence[Mapping[str, Any]]:
    """Give the history of the meta-learner inside an estimator.

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


def judge_of(estimator: Any, scoring: Any, tasks: Any) -> TaskEstimator:
    """Give what scores tasks by the prior that an estimator has learned.

    Parameters
    ----------
    estimator : meta-learner, MetaPipeline, TaskEstimator or fitted search over one
        Meta-fitted; it stays as it is.
    scoring : str, callable or None
        As in :class:`~sklearn_meta.model_selection.TaskEstimator`; None: that of the estimator.
    tasks : sequence of tasks
        To be scored.

    Returns
    -------
    TaskEstimator
        Fitted, its `estimator` a parameter.
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
    """Say in words how tasks are scored.

    Parameters
    ----------
    judge : TaskEstimator
        With its `scoring`.

    Returns
    -------
    str
        For an axis.
    """
    if judge.scoring is None:
        return "accuracy" if is_classifier(judge.estimator) else "R²"
    name = judge.scoring if isinstance(judge.scoring, str) else "score"
    return in_words(name)


def in_words(metric: str) -> str:
    """Write the name of a metric as the label of an axis.

    Parameters
    ----------
    metric : str
        As scikit-learn calls it.

    Returns
    -------
    str
        In words.
    """
    return metric.replace("neg_", "negative ").replace("_", " ")


def names_of(tasks: Sequence[Any]) -> list[str]:
    """Give the names of tasks.

    Parameters
    ----------
    tasks : sequence of tasks
        Perhaps without names.

    Returns
    -------
    list of str
        The name, or the position.
    """
    own = [task.name if isinstance(task, Task) else None for task in tasks]
    return [f"task {i}" if name is None else name for i, name in enumerate(own)]


def scores_of(judge: TaskEstimator, tasks: Any) -> NDArray[np.float64]:
    """Score tasks by one number each.

    Parameters
    ----------
    judge : TaskEstimator
        Fitted.
    tasks : sequence of tasks
        To be scored.

    Returns
    -------
    ndarray of shape (n_tasks,)
        The higher the better.

    Raises
    ------
    ValueError
        If `scoring` names several metrics.
    """
    scores = judge.score_tasks(tasks)
    if isinstance(scores, dict):
        raise ValueError(f"A picture shows one score, but scoring names {list(scores)}.")
    return scores


def one_a_task(names: Sequence[Any] | None, n: int, unnamed: str) -> list[str]:
    """Give each task a name to write.

    Parameters
    ----------
    names : sequence or None
        Those given; None: positions.
    n : int
        How many tasks there are.
    unnamed : str
        What to write for a position, which goes into its braces.

    Returns
    -------
    list of str
        As many.

    Raises
    ------
    ValueError
        If names and tasks differ in number.
    """
    shown = [unnamed.format(i) for i in range(n)] if names is None else [str(k) for k in names]
    if len(shown) != n:
        raise ValueError(f"There are {len(shown)} names for {n} tasks.")
    return shown
