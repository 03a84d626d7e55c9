"""Plot of the scores of tasks: how they vary, and which tasks are the worst."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.multiclass import type_of_target

from sklearn_meta._plotting import (
    annotate_outside,
    by_name,
    check_names,
    draw_mean,
    in_words,
    label_axes,
    line_style,
    names_of,
    new_axes,
)
from sklearn_meta.metrics import compare_paired, mean_interval
from sklearn_meta.model_selection.task_estimator import TaskEstimator

__all__ = ["TaskScoreDisplay", "judge_of", "score_name_of", "scores_of"]


def judge_of(estimator: BaseEstimator, scoring: Any, tasks: Any) -> TaskEstimator:
    """Return a task estimator that scores tasks by the learned prior of an estimator.

    The estimator is a meta-learner, a pipeline, a task estimator or a fitted search over one;
    None as `scoring` keeps that of the estimator.
    """
    inside = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(inside, TaskEstimator):
        inside = TaskEstimator(inside)
    return TaskEstimator(
        getattr(inside, "estimator_", inside.estimator),
        scoring=inside.scoring if scoring is None else scoring,
        prefit=True,
        n_support=inside.n_support,
        support=inside.support,
        random_state=inside.random_state,
        error_score="raise",  # a plot has no place for a missing score
    ).fit(tasks)


def score_name_of(judge: TaskEstimator) -> str:
    """Return the name of the score of a task estimator, for an axis."""
    if judge.scoring is None:
        return "accuracy" if is_classifier(judge.estimator) else "R²"
    return in_words(judge.scoring) if isinstance(judge.scoring, str) else "score"


def scores_of(judge: TaskEstimator, tasks: Any) -> NDArray[np.float64]:
    """Score tasks with a task estimator that has one metric."""
    scores = judge.score_tasks(tasks)
    if isinstance(scores, dict):
        raise ValueError(f"A picture shows one score, but scoring names {list(scores)}.")
    return scores


@dataclass(kw_only=True, eq=False, repr=False)
class TaskScoreDisplay:
    """Plot of the sorted scores of tasks with their mean, or of two estimators against each other.

    Create it with `from_estimator`, `from_scores` or `from_predictions`; all parameters are stored
    as attributes.

    Parameters
    ----------
    scores : array-like of shape (n_tasks,), or dict of one or two of them
        Score of each task. Two estimators, in a dict by name, are drawn against each other.
    names : sequence of str of shape (n_tasks,) or None, default=None
        Names of the tasks; None: their positions.
    score_name : str, default="score"
        Name of the scores.
    level : float, default=0.95
        Confidence level of the interval of the mean.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure of the axes.
    line_ : matplotlib Line2D
        One dot for each task.
    mean_ : matplotlib Line2D
        The line of the mean, or the diagonal for two estimators.
    texts_ : list of matplotlib Text
        Names of the tasks with the lowest scores (the greatest losses of the first estimator).

    Examples
    --------
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.inspection import TaskScoreDisplay
    >>> tasks = make_blob_tasks(30, n_shot=1, random_state=0)
    >>> clf = ProtoNetClassifier(max_meta_iter=10, random_state=0).meta_fit(tasks[:20])
    >>> display = TaskScoreDisplay.from_estimator(clf, tasks[20:])
    >>> display.ax_.get_ylabel()
    'accuracy'
    """

    scores: Any
    names: Sequence[str] | None = None
    score_name: str = "score"
    level: float = 0.95

    def plot(self, ax: Any = None, *, n_named: int = 3, line_kw: Any = None) -> TaskScoreDisplay:
        """Plot the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.
        n_named : int, default=3
            Number of the worst tasks to name.
        line_kw : dict, default=None
            Keyword arguments of matplotlib's `plot`, for the dots.

        Returns
        -------
        TaskScoreDisplay
            The display, with `ax_`, `figure_` and the artists.

        Raises
        ------
        ValueError
            If scores are not finite, or scores and names differ in number.
        """
        scores = {k: np.asarray(s, np.float64) for k, s in by_name(self.scores, "").items()}
        if len(scores) > 2:
            raise ValueError(f"One or two learners can be drawn; got {list(scores)}.")
        first, n = next(iter(scores.values())), len(next(iter(scores.values())))
        names = check_names(self.names, n, "task {}")
        look = line_style(0, {"linestyle": "none", "alpha": 0.7} | dict(line_kw or {}))
        if len(scores) == 1:
            ax = new_axes(ax, self)
            self._sorted(ax, first, names, n_named, look)
        else:
            ax = new_axes(ax, self, (5.2, 4.2))
            self._paired(ax, scores, names, n_named, look)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _sorted(
        self, ax: Any, scores: NDArray[np.float64], names: list[str], n_named: int, look: Any
    ) -> None:
        result = mean_interval(scores, level=self.level)
        order, rank = np.argsort(scores, kind="stable"), np.arange(1, len(scores) + 1)
        (self.line_,) = ax.plot(rank, scores[order], **look)
        worst = [names[i] for i in order[:n_named]]
        self.mean_, self.texts_ = draw_mean(
            ax, scores[order], result, worst, "score", self.score_name
        )
        ax.set_title(f"mean {result}", fontsize="medium")

    def _paired(
        self,
        ax: Any,
        scores: dict[str, NDArray[np.float64]],
        names: list[str],
        n_named: int,
        look: Any,
    ) -> None:
        (a, x), (b, y) = scores.items()
        result = compare_paired(x, y, level=self.level)
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        (self.line_,) = ax.plot(y, x, **look)
        (self.mean_,) = ax.plot([low, high], [low, high], color="black", linewidth=1.2)
        order = np.argsort(x - y, kind="stable")[: min(n_named, result.losses)]
        self.texts_ = annotate_outside(ax, y[order], x[order], [names[i] for i in order])
        label_axes(ax, f"{self.score_name}, {b}", f"{self.score_name}, {a}")
        ax.set_aspect("equal")
        ax.set_title(
            f"{a} wins on {result.wins} tasks, ties on {result.ties}, loses on {result.losses};\n"
            f"mean difference {str(result.difference).partition(' (')[0]}",
            fontsize="medium",
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        tasks: Any,
        *,
        scoring: Any = None,
        level: float = 0.95,
        n_named: int = 3,
        ax: Any = None,
        line_kw: Any = None,
    ) -> TaskScoreDisplay:
        """Adapt to tasks, and plot the score of each.

        Parameters
        ----------
        estimator : meta-learner, MetaPipeline, TaskEstimator, fitted search, or dict of two
            Meta-fitted estimator. A dict draws two estimators against each other.
        tasks : sequence of tasks
            Tasks not used in meta-training. For those without a fixed support, one is drawn.
        scoring : str, callable or None, default=None
            See :class:`~sklearn_meta.model_selection.TaskEstimator`. None: accuracy, or R^2.
        level : float, default=0.95
            As in the class.
        n_named, ax, line_kw : object
            As in :meth:`plot`.

        Returns
        -------
        TaskScoreDisplay
            The display after plotting; its `scores` are a dict by name.

        Raises
        ------
        NotMetaFittedError
            If an estimator is not meta-fitted.
        """
        scores = {}
        for name, est in by_name(estimator).items():
            judge = judge_of(est, scoring, tasks)
            scores[name] = scores_of(judge, tasks)
        display = cls(
            scores=scores, names=names_of(tasks), score_name=score_name_of(judge), level=level
        )
        return display.plot(ax, n_named=n_named, line_kw=line_kw)

    @classmethod
    def from_scores(
        cls,
        scores: Any,
        names: Sequence[str] | None = None,
        *,
        score_name: str = "score",
        level: float = 0.95,
        n_named: int = 3,
        ax: Any = None,
        line_kw: Any = None,
    ) -> TaskScoreDisplay:
        """Plot precomputed scores.

        Parameters
        ----------
        scores : array-like of shape (n_tasks,), or dict of one or two of them
            As `score_tasks` returns. A dict draws two estimators against each other.
        names, score_name, level : object
            As in the class.
        n_named, ax, line_kw : object
            As in :meth:`plot`.

        Returns
        -------
        TaskScoreDisplay
            The display after plotting.
        """
        display = cls(scores=scores, names=names, score_name=score_name, level=level)
        return display.plot(ax, n_named=n_named, line_kw=line_kw)

    @classmethod
    def from_predictions(
        cls,
        y_true: Sequence[ArrayLike],
        y_pred: Sequence[ArrayLike],
        names: Sequence[str] | None = None,
        *,
        metric: Callable[[Any, Any], float] | None = None,
        level: float = 0.95,
        n_named: int = 3,
        ax: Any = None,
        line_kw: Any = None,
    ) -> TaskScoreDisplay:
        """Plot the scores of predictions.

        Parameters
        ----------
        y_true : sequence of array-like of shape (n_query,)
            Labels or targets of the query of each task.
        y_pred : sequence of array-like of shape (n_query,)
            As `predict_tasks` returns.
        names : sequence of str of shape (n_tasks,) or None, default=None
            As in the class.
        metric : callable ``(y_true, y_pred) -> float`` or None, default=None
            Higher is better. None: R^2 if a task has targets that are not whole numbers, otherwise
            accuracy.
        level : float, default=0.95
            As in the class.
        n_named, ax, line_kw : object
            As in :meth:`plot`.

        Returns
        -------
        TaskScoreDisplay
            The display after plotting.

        Raises
        ------
        ValueError
            If the numbers of tasks differ.
        """
        if len(y_true) != len(y_pred):
            raise ValueError(f"y_true holds {len(y_true)} tasks, y_pred {len(y_pred)}.")
        if metric is None:
            real = any(type_of_target(y).startswith("continuous") for y in y_true)
            metric, score_name = (r2_score, "R²") if real else (accuracy_score, "accuracy")
        else:
            score_name = getattr(metric, "__name__", "score").replace("_", " ")
        scores = [metric(y, p) for y, p in zip(y_true, y_pred, strict=True)]
        display = cls(scores=scores, names=names, score_name=score_name, level=level)
        return display.plot(ax, n_named=n_named, line_kw=line_kw)
