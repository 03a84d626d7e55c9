"""Display of scores on new tasks against a parameter of the inner loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from sklearn_meta._plotting import GREY, by_name, label_axes, line_style, new_axes
from sklearn_meta.metrics import mean_interval
from sklearn_meta.model_selection import TaskEstimator
from sklearn_meta.model_selection.task_scores import judge_of, score_name_of, scores_of

__all__ = ["AdaptationCurveDisplay"]

Scores = ArrayLike | Mapping[str, ArrayLike]


@dataclass(kw_only=True, eq=False, repr=False)
class AdaptationCurveDisplay:
    """Mean score over tasks, with its interval, against a parameter of the inner loop.

    Create it with `from_estimator` or `from_predictions`; all parameters are stored as attributes.

    Parameters
    ----------
    param_range : array-like of shape (n_values,)
        Values of the parameter: numbers, or anything that has a name.
    scores : array-like of shape (n_values, n_tasks), or dict of them
        Scores of each task after adapting; a dict for several learners, by name.
    param_name : str, default="inner_steps"
        The parameter.
    score_name : str, default="score"
        Name of the score.
    level : float, default=0.95
        Confidence level of the interval of the mean over tasks.
    baseline : float, array-like of shape (n_tasks,), dict of them, or None, default=None
        Scores that the parameter does not change, to compare with: a horizontal line at the mean.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of the axes.
    lines_ : list of matplotlib Line2D
        Means, one line per learner.
    fill_between_ : list of matplotlib PolyCollection
        Intervals, one per learner.
    baseline_ : list of matplotlib Line2D
        One line per baseline.

    Examples
    --------
    >>> from sklearn_meta import MAMLRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> from sklearn_meta.inspection import AdaptationCurveDisplay
    >>> tasks = make_sinusoid_tasks(20, n_rows=20, n_support=10, random_state=0)
    >>> reg = MAMLRegressor(max_meta_iter=5, random_state=0).meta_fit(tasks[:15])
    >>> display = AdaptationCurveDisplay.from_estimator(reg, tasks[15:], param_range=(0, 1, 5))
    >>> display.scores["MAMLRegressor"].shape
    (3, 5)
    """

    param_range: Sequence[Any]
    scores: Scores
    param_name: str = "inner_steps"
    score_name: str = "score"
    level: float = 0.95
    baseline: Scores | None = None

    def plot(self, ax: Any = None, *, line_kw: Any = None) -> AdaptationCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.
        line_kw : dict, default=None
            Keyword arguments of matplotlib's `plot`, for the means.

        Returns
        -------
        AdaptationCurveDisplay
            The display, with `ax_`, `figure_` and the artists.

        Raises
        ------
        ValueError
            If scores are not finite, or not of shape (n_values, n_tasks).
        """
        curves = {
            name: _check_scores(name, scores, len(self.param_range))
            for name, scores in by_name(self.scores, "mean").items()
        }
        baselines = {} if self.baseline is None else by_name(self.baseline, "baseline")
        ax = new_axes(ax, self)
        x = _set_xticks(ax, self.param_range)
        self.lines_, self.fill_between_, self.baseline_ = [], [], []
        for i, (name, scores) in enumerate(curves.items()):
            ends = np.array([mean_interval(s, level=self.level)[:3] for s in scores])
            style = line_style(i, line_kw)
            self.lines_ += ax.plot(x, ends[:, 0], label=name, **style)
            band = {"color": style["color"], "alpha": 0.15, "linestyle": style["linestyle"]}
            self.fill_between_.append(ax.fill_between(x, ends[:, 1], ends[:, 2], **band))
        for i, (name, value) in enumerate(baselines.items()):
            style = line_style(i + len(curves)) | {"marker": "", "color": GREY, "linewidth": 1.2}
            self.baseline_.append(ax.axhline(np.mean(value), label=name, **style))
        counts = {scores.shape[1] for scores in curves.values()}
        n_tasks = f", {counts.pop()} tasks" if len(counts) == 1 else ""
        label_axes(
            ax,
            self.param_name.rpartition("__")[2],
            f"{self.score_name}\n(mean, {100 * self.level:g} % interval{n_tasks})",
        )
        if len(curves) + len(baselines) > 1:
            ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)  # beside the bands
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator | Mapping[str, BaseEstimator],
        tasks: Any,
        *,
        param_name: str = "inner_steps",
        param_range: Sequence[Any] = (0, 1, 2, 5, 10),
        scoring: Any = None,
        level: float = 0.95,
        baseline: Scores | None = None,
        ax: Any = None,
        line_kw: Any = None,
    ) -> AdaptationCurveDisplay:
        """Adapt to tasks with each value of a parameter, and draw the scores.

        Parameters
        ----------
        estimator : meta-learner, MetaPipeline, TaskEstimator, fitted search, or dict of them
            Meta-fitted estimator; it is not modified. A dict compares several estimators, by name.
        tasks : sequence of tasks
            Tasks not used in meta-training. For those without a fixed support, one is drawn.
        param_name : str, default="inner_steps"
            A parameter that may change after `meta_fit`: one of the last step of a MetaPipeline, or
            a full name with double underscores.
        param_range : sequence, default=(0, 1, 2, 5, 10)
            Values of the parameter.
        scoring : str, callable or None, default=None
            As in :class:`~sklearn_meta.model_selection.TaskEstimator`. None: accuracy, or R^2.
        level : float, default=0.95
            Confidence level of the interval of the mean over tasks.
        baseline : float, array-like of shape (n_tasks,), dict of them, or None, default=None
            Scores to compare with, such as ``other.score_tasks(tasks)``: a horizontal line.
        ax, line_kw : object
            As in :meth:`plot`.

        Returns
        -------
        AdaptationCurveDisplay
            The display after plotting; its `scores` are a dict by name.

        Raises
        ------
        ValueError
            If an estimator has no such parameter, the parameter belongs to the learned prior, or
            `param_range` is empty.
        NotMetaFittedError
            If an estimator is not meta-fitted.
        """
        if not len(param_range):
            raise ValueError(f"param_range is empty; pass at least one value of {param_name!r}.")
        scores = {}
        for name, est in by_name(estimator).items():
            judge = judge_of(est, scoring, tasks)
            key = _parameter(judge, param_name)
            changed = [clone(judge).set_params(**{key: value}).fit(tasks) for value in param_range]
            scores[name] = np.stack([scores_of(one, tasks) for one in changed])
        return cls(
            param_range=param_range,
            scores=scores,
            param_name=param_name,
            score_name=score_name_of(judge),
            level=level,
            baseline=baseline,
        ).plot(ax, line_kw=line_kw)

    @classmethod
    def from_predictions(
        cls,
        param_range: Sequence[Any],
        scores: Scores,
        *,
        param_name: str = "inner_steps",
        score_name: str = "score",
        level: float = 0.95,
        baseline: Scores | None = None,
        ax: Any = None,
        line_kw: Any = None,
    ) -> AdaptationCurveDisplay:
        """Draw scores that were computed before.

        Parameters
        ----------
        param_range : array-like of shape (n_values,)
            Values of the parameter.
        scores : array-like of shape (n_values, n_tasks), or dict of them
            Scores of each task after adapting; a dict for several learners, by name.
        param_name, score_name, level, baseline : object
            As in the class.
        ax, line_kw : object
            As in :meth:`plot`.

        Returns
        -------
        AdaptationCurveDisplay
            The display after plotting.
        """
        return cls(
            param_range=param_range,
            scores=scores,
            param_name=param_name,
            score_name=score_name,
            level=level,
            baseline=baseline,
        ).plot(ax, line_kw=line_kw)


def _parameter(judge: TaskEstimator, param_name: str) -> str:
    """Return the full name of a parameter of the meta-learner."""
    learner, params = judge.estimator, judge.get_params()
    keys = [f"estimator__{param_name}"]
    if isinstance(learner, Pipeline):
        keys.append(f"estimator__{learner.steps[-1][0]}__{param_name}")
        learner = learner.steps[-1][1]
    for key in keys:
        if key in params:
            return key
    raise ValueError(
        f"{type(learner).__name__} has no parameter {param_name!r} to draw a curve against. "
        "Choose another param_name, or pass its score_tasks(tasks) as a baseline of others."
    )


def _check_scores(name: str, scores: ArrayLike, n_values: int) -> NDArray[np.float64]:
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2 or len(x) != n_values:
        raise ValueError(
            f"The scores of {name!r} must be of shape (n_values, n_tasks), with {n_values} values. "
            f"Got shape {x.shape}."
        )
    return x


def _set_xticks(ax: Any, values: Any) -> NDArray[np.float64]:
    """Label the values on the axis, and return their positions."""
    if not all(isinstance(v, (int, float, np.number)) and v is not True for v in values):
        places = np.arange(len(values), dtype=np.float64)
        ax.set_xticks(places, [str(v) for v in values])
        return places
    x = np.asarray(values, dtype=np.float64)
    gaps = np.diff(np.sort(x))
    if len(gaps) and gaps.max() > 5 * gaps.min():  # scikit-learn's rule for curves
        scale = {"value": "log"} if x.min() > 0 else {"value": "symlog", "linthresh": 1}
        ax.set_xscale(**scale)
    ax.set_xticks(x, [f"{v:g}" for v in x])
    ax.set_xticks([], minor=True)
    return x
