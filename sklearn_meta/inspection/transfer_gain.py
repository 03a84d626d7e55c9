"""The picture of what a meta-learner gains over a baseline, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_meta._plotting import (
    GREY,
    annotate_outside,
    check_names,
    in_words,
    label_axes,
    line_style,
    new_axes,
)
from sklearn_meta.metrics import compare_paired

__all__ = ["TransferGainDisplay"]


class TransferGainDisplay:
    """Gains of tasks, sorted: the mean with its interval, and the tasks that are hurt.

    Make it by `from_estimator`, `from_gain` or `from_scores`; all parameters are kept as
    attributes.

    Parameters
    ----------
    gains : array-like of shape (n_tasks,)
        Score of the meta-learner minus that of the baseline, on the same rows.
    names : sequence of str of shape (n_tasks,) or None, default=None
        Of the tasks; None: their positions.
    baseline : str, default="the baseline"
        Over what they are gains.
    score_name : str, default="score"
        What the scores are.
    margin : float, default=0.0
        Of equivalence: a band around zero; 0: none.
    level : float, default=0.95
        Of confidence, of the interval of the mean.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the dots.
    figure_ : matplotlib Figure
        Of the axes.
    lines_ : list of matplotlib Line2D
        The dots of tasks that are hurt, and of the others.
    mean_ : matplotlib Line2D
        The line of the mean.
    texts_ : list of matplotlib Annotation
        Names of the tasks that are hurt most.

    Examples
    --------
    >>> from sklearn_meta.inspection import TransferGainDisplay
    >>> display = TransferGainDisplay.from_scores([0.9, 0.7, 0.8], [0.6, 0.75, 0.7])
    >>> display.ax_.get_title().splitlines()[0]
    '1 of 3 tasks is hurt (33 %)'
    """

    def __init__(
        self,
        *,
        gains: Any,
        names: Sequence[str] | None = None,
        baseline: str = "the baseline",
        score_name: str = "score",
        margin: float = 0.0,
        level: float = 0.95,
    ) -> None:
        self.gains = gains
        self.names = names
        self.baseline = baseline
        self.score_name = score_name
        self.margin = margin
        self.level = level

    def plot(self, ax: Any = None, *, n_named: int = 3, line_kw: Any = None) -> TransferGainDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        n_named : int, default=3
            How many of the tasks hurt most to name.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the dots.

        Returns
        -------
        TransferGainDisplay
            With `ax_`, `figure_` and what was drawn.

        Raises
        ------
        ValueError
            If gains are not finite, or gains and names differ in number.
        """
        gains = np.asarray(self.gains, dtype=np.float64)
        if gains.ndim != 1:
            raise ValueError(f"gains must be of shape (n_tasks,). Got shape {gains.shape}.")
        found, n = compare_paired(gains, np.zeros_like(gains), level=self.level), len(gains)
        names = check_names(self.names, n, "task {}")
        ax = new_axes(ax, self)
        order, rank = np.argsort(gains, kind="stable"), np.arange(1, n + 1)
        y = gains[order]
        ax.vlines(rank, 0, y, color="0.75", linewidth=0.8, zorder=1)
        self.lines_ = []
        for i, (here, label) in enumerate([(y < 0, "hurt"), (y >= 0, "not hurt")]):
            own = {"linestyle": "none", "label": label, "zorder": 3}
            own |= {"markerfacecolor": "white"} if i == 0 else {}
            self.lines_ += ax.plot(
                rank[here], y[here], **line_style(1 - i, own | dict(line_kw or {}))
            )
        ax.axhline(0, color="black", linewidth=0.8, zorder=2)
        mean = found.difference
        self.mean_ = ax.axhline(mean.mean, color="black", linewidth=1.2, linestyle=(0, (5, 2)))
        if n > 1:
            ax.axhspan(mean.low, mean.high, color=GREY, alpha=0.2, linewidth=0, zorder=0)
        if self.margin > 0:
            edge = {"color": GREY, "linewidth": 1, "linestyle": ":", "zorder": 1}
            for side in (-self.margin, self.margin):
                ax.axhline(side, **edge)
        worst = min(n_named, found.losses)
        self.texts_ = annotate_outside(ax, rank, y, [names[i] for i in order[:worst]])
        label_axes(
            ax, "tasks, sorted by their gain", f"gain of {self.score_name}\nover {self.baseline}"
        )
        ax.xaxis.get_major_locator().set_params(integer=True)
        verb = "task is" if n == 1 else "tasks is" if found.losses == 1 else "tasks are"
        ax.set_title(
            f"{found.losses} of {n} {verb} hurt ({100 * found.hurt:.0f} %)\nmean gain {mean}",
            fontsize="medium",
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_gain(
        cls,
        gain: Any,
        baseline: str | None = None,
        *,
        n_named: int = 3,
        ax: Any = None,
        line_kw: Any = None,
    ) -> TransferGainDisplay:
        """Draw a result of :func:`~sklearn_meta.analysis.transfer_gain`.

        Parameters
        ----------
        gain : TransferGain
            What was measured.
        baseline : str or None, default=None
            Which; None: the first.
        n_named : int, default=3
            How many of the tasks hurt most to name.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the dots.

        Returns
        -------
        TransferGainDisplay
            Drawn.

        Raises
        ------
        ValueError
            If there is no such baseline.
        """
        name = next(iter(gain.over)) if baseline is None else baseline
        if name not in gain.over:
            raise ValueError(f"There is no baseline {name!r}; there are {list(gain.over)}.")
        over, metric = gain.over[name], gain.metric
        there = np.isfinite(over.gains)
        return cls(
            gains=over.gains[there],
            names=[task for task, has in zip(gain.names, there, strict=True) if has],
            baseline=name,
            score_name="R²" if metric == "r2" else in_words(metric),
            margin=over.margin,
        ).plot(ax, n_named=n_named, line_kw=line_kw)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        tasks: Any,
        *,
        baseline: Any = "per-task",
        training_tasks: Any = None,
        scoring: Any = None,
        margin: float | None = None,
        random_state: Any = None,
        n_named: int = 3,
        ax: Any = None,
        line_kw: Any = None,
    ) -> TransferGainDisplay:
        """Measure the gain over one baseline, and draw it.

        Parameters
        ----------
        estimator : meta-learner or MetaPipeline
            Meta-fitted; it stays as it is.
        tasks : sequence of tasks
            Not seen in meta-training.
        baseline : str or estimator, default="per-task"
            As :func:`~sklearn_meta.analysis.transfer_gain` takes it.
        training_tasks : sequence of tasks, default=None
            The tasks of meta-training, for baselines that are trained on them.
        scoring : str or callable, default=None
            The score, as :func:`~sklearn_meta.analysis.transfer_gain` takes it.
        margin : float, default=None
            A mean gain that does not matter, in units of the score.
        random_state : int, RandomState instance or None, default=None
            Source of randomness for the supports.
        n_named : int, default=3
            How many of the tasks hurt most to name.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the dots.

        Returns
        -------
        TransferGainDisplay
            Drawn.
        """
        from sklearn_meta.analysis import transfer_gain  # whose results know this display

        named = [baseline] if isinstance(baseline, str) else {type(baseline).__name__: baseline}
        gain = transfer_gain(
            estimator,
            tasks,
            baselines=named,
            training_tasks=training_tasks,
            scoring=scoring,
            margin=margin,
            random_state=random_state,
        )
        return cls.from_gain(gain, n_named=n_named, ax=ax, line_kw=line_kw)

    @classmethod
    def from_scores(
        cls,
        scores: ArrayLike,
        baseline_scores: ArrayLike,
        names: Sequence[str] | None = None,
        *,
        baseline: str = "the baseline",
        score_name: str = "score",
        margin: float = 0.0,
        level: float = 0.95,
        n_named: int = 3,
        ax: Any = None,
        line_kw: Any = None,
    ) -> TransferGainDisplay:
        """Draw scores that were kept.

        Parameters
        ----------
        scores, baseline_scores : array-like of shape (n_tasks,)
            Of the meta-learner and of the baseline, as `score_tasks` gives.
        names : sequence of str of shape (n_tasks,) or None, default=None
            Of the tasks; None: their positions.
        baseline : str, default="the baseline"
            Its name.
        score_name : str, default="score"
            What the scores are.
        margin : float, default=0.0
            Of equivalence.
        level : float, default=0.95
            Of confidence, of the interval of the mean.
        n_named : int, default=3
            How many of the tasks hurt most to name.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the dots.

        Returns
        -------
        TransferGainDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the numbers of tasks differ.
        """
        a, b = np.asarray(scores, np.float64), np.asarray(baseline_scores, np.float64)
        if a.shape != b.shape:
            raise ValueError(f"scores are of shape {a.shape}, baseline_scores of shape {b.shape}.")
        return cls(
            gains=a - b,
            names=names,
            baseline=baseline,
            score_name=score_name,
            margin=margin,
            level=level,
        ).plot(ax, n_named=n_named, line_kw=line_kw)
