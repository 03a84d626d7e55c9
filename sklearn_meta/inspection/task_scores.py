"""The picture of scores by task: how they vary, and which tasks are the worst."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.multiclass import type_of_target

from sklearn_meta._plotting import (
    GREY,
    annotate_outside,
    by_name,
    check_names,
    label_axes,
    line_style,
    names_of,
    new_axes,
)
from sklearn_meta.inspection.learners import judge_of, score_name_of, scores_of
from sklearn_meta.metrics import compare_paired, mean_interval

__all__ = ["TaskScoreDisplay"]


class TaskScoreDisplay:
    """Scores of tasks, sorted, with their mean; or two learners against one another.

    Make it by `from_estimator`, `from_scores` or `from_predictions`; all parameters are kept as
    attributes.

    Parameters
    ----------
    scores : array-like of shape (n_tasks,), or dict of one or two of them
        Of each task. A dict of two learners, by name, is drawn as one against the other.
    names : sequence of str of shape (n_tasks,) or None, default=None
        Of the tasks; None: their positions.
    score_name : str, default="score"
        What the scores are.
    level : float, default=0.95
        Of confidence, of the interval of the mean.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the dots.
    figure_ : matplotlib Figure
        Of the axes.
    line_ : matplotlib Line2D
        The dots, one a task.
    mean_ : matplotlib Line2D
        The line of the mean, or the diagonal of two learners.
    texts_ : list of matplotlib Text
        Names of the tasks with the lowest scores (the first learner's greatest losses).

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

    def __init__(
        self,
        *,
        scores: Any,
        names: Sequence[str] | None = None,
        score_name: str = "score",
        level: float = 0.95,
    ) -> None:
        self.scores = scores
        self.names = names
        self.score_name = score_name
        self.level = level

    def plot(self, ax: Any = None, *, n_named: int = 3, line_kw: Any = None) -> TaskScoreDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        n_named : int, default=3
            How many of the worst tasks to name.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the dots.

        Returns
        -------
        TaskScoreDisplay
            With `ax_`, `figure_` and what was drawn.

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
        found = mean_interval(scores, level=self.level)
        order, rank = np.argsort(scores, kind="stable"), np.arange(1, len(scores) + 1)
        (self.line_,) = ax.plot(rank, scores[order], **look)
        self.mean_ = ax.axhline(found.mean, color="black", linewidth=1.2)
        if len(scores) > 1:
            ax.axhspan(found.low, found.high, color=GREY, alpha=0.2, linewidth=0)
        self.texts_ = annotate_outside(ax, rank, scores[order], [names[i] for i in order[:n_named]])
        label_axes(ax, "tasks, sorted by their score", self.score_name)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_title(f"mean {found}", fontsize="medium")

    def _paired(
        self,
        ax: Any,
        scores: dict[str, NDArray[np.float64]],
        names: list[str],
        n_named: int,
        look: Any,
    ) -> None:
        (a, x), (b, y) = scores.items()
        found = compare_paired(x, y, level=self.level)
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        (self.line_,) = ax.plot(y, x, **look)
        (self.mean_,) = ax.plot([low, high], [low, high], color="black", linewidth=1.2)
        order = np.argsort(x - y, kind="stable")[: min(n_named, found.losses)]
        self.texts_ = annotate_outside(ax, y[order], x[order], [names[i] for i in order])
        label_axes(ax, f"{self.score_name}, {b}", f"{self.score_name}, {a}")
        ax.set_aspect("equal")
        ax.set_title(
            f"{a} wins on {found.wins} tasks, ties on {found.ties}, loses on {found.losses};\n"
            f"mean difference {str(found.difference).partition(' (')[0]}",
            fontsize="medium",
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        tasks: Any,
        *,
        scoring: Any = None,
        level: float = 0.95,
        n_named: int = 3,
        ax: Any = None,
        line_kw: Any = None,
    ) -> TaskScoreDisplay:
        """Adapt to tasks, and draw the score of each.

        Parameters
        ----------
        estimator : meta-learner, MetaPipeline, TaskEstimator, fitted search, or dict of two
            Meta-fitted; it stays as it is. A dict draws two learners against one another.
        tasks : sequence of tasks
            Not seen in meta-training. Of those without a fixed support, one is drawn.
        scoring : str, callable or None, default=None
            As in :class:`~sklearn_meta.model_selection.TaskEstimator`. None: accuracy, or R^2.
        level : float, default=0.95
            Of confidence, of the interval of the mean.
        n_named : int, default=3
            How many of the worst tasks to name.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the dots.

        Returns
        -------
        TaskScoreDisplay
            Drawn; its `scores` are a dict by name.

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
        """Draw scores that were kept.

        Parameters
        ----------
        scores : array-like of shape (n_tasks,), or dict of one or two of them
            As `score_tasks` gives. A dict draws two learners against one another.
        names : sequence of str of shape (n_tasks,) or None, default=None
            Of the tasks; None: their positions.
        score_name : str, default="score"
            What the scores are.
        level : float, default=0.95
            Of confidence, of the interval of the mean.
        n_named : int, default=3
            How many of the worst tasks to name.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the dots.

        Returns
        -------
        TaskScoreDisplay
            Drawn.
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
        """Draw the scores of predictions.

        Parameters
        ----------
        y_true : sequence of array-like of shape (n_query,)
            Labels or targets of the query of each task.
        y_pred : sequence of array-like of shape (n_query,)
            As `predict_tasks` gives.
        names : sequence of str of shape (n_tasks,) or None, default=None
            Of the tasks; None: their positions.
        metric : callable ``(y_true, y_pred) -> float`` or None, default=None
            The higher the better. None: R^2 where a task has targets that are not whole numbers,
            else accuracy.
        level : float, default=0.95
            Of confidence, of the interval of the mean.
        n_named : int, default=3
            How many of the worst tasks to name.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the dots.

        Returns
        -------
        TaskScoreDisplay
            Drawn.

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
