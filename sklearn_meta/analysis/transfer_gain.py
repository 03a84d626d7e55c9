"""The gain of a meta-fitted estimator over baselines on held-out tasks, and its plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state

from sklearn_meta._plotting import (
    GREY,
    by_name,
    check_names,
    draw_mean,
    in_words,
    line_style,
    names_of,
    new_axes,
)
from sklearn_meta.base.scoring import metric_of
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.metrics import (
    ROUNDING,
    MeanInterval,
    PairedComparison,
    compare_paired,
    mean_error,
)
from sklearn_meta.model_selection.baselines import (
    Fold,
    NamedEstimator,
    make_baselines,
    name_estimators,
)
from sklearn_meta.model_selection.compare import default_support_size
from sklearn_meta.model_selection.evaluate import (
    SplitPlan,
    make_jobs,
    notes_on_training,
    run_jobs,
    warn_of_failures,
)
from sklearn_meta.model_selection.scorer import margin_of
from sklearn_meta.model_selection.task_estimator import is_meta_fitted, learner_of, open_raw_tasks
from sklearn_meta.outer.failures import check_error_score
from sklearn_meta.parameters import check_parameter, real
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.split import SUPPORTS
from sklearn_meta.tasks.validate import UNUSABLE, check_same_rows, warn_of_skipped

__all__ = ["GainOver", "TransferGain", "TransferGainDisplay", "gain_over", "transfer_gain"]

Floats = NDArray[np.float64]
N_FOLDS = 5
MIN_TASKS = 10  # that can show that two estimators are equally good
VERDICTS = {
    "better": "is better than",
    "worse": "is worse than",
    "equivalent": "is as good as",
    "undecided": "is not shown to differ from",
}


def transfer_gain(
    estimator: BaseEstimator,
    tasks: Any,
    y: Any = None,
    groups: Any = None,
    *,
    baselines: str | Sequence[str] | Mapping[str, BaseEstimator | None] = ("per-task", "pooled"),
    training_tasks: Any = None,
    scoring: Any = None,
    margin: float | None = None,
    support: str = "stratified",
    random_state: Any = None,
    error_score: Any = np.nan,
    unusable: str = "raise",
) -> TransferGain:
    """Measure what a meta-fitted estimator gains over baselines on held-out tasks.

    All estimators adapt to the same support rows of a task and are scored on the same query rows,
    so that differences are paired by task. Intervals are over tasks
    (:func:`~sklearn_meta.metrics.mean_interval`), as rows of one task are not independent. Every
    estimator is trained once, so the gain is that of this trained model, not of its algorithm:
    :func:`~sklearn_meta.model_selection.compare` trains several times.

    Parameters
    ----------
    estimator : meta-learner or MetaPipeline
        Meta-fitted estimator; it is not modified.
    tasks : sequence of tasks, or table of shape (n_rows, ...)
        Tasks not used in meta-training. For those without a fixed support, one is drawn.
    y, groups : array-like of shape (n_rows,), str or None, default=None
        Targets and tasks of the rows of a table, or the names of these columns.
    baselines : sequence of str, or dict of str to estimator, \
            default=("per-task", "pooled")
        Names as in :func:`~sklearn_meta.model_selection.compare`: "per-task" is the same network
        trained from scratch on each support, "pooled" one for all rows; also "fine-tune",
        "hierarchical" and "dummy". Or a dict of estimators by name: a plain scikit-learn estimator
        is fitted to each support; a meta-fitted one adapts; None stands for the ready-made
        baseline of that name.
    training_tasks : sequence of tasks, or DataFrame, default=None
        The tasks of meta-training, for baselines that learn across tasks; a DataFrame has the
        columns that `y` and `groups` name. None: these baselines learn from four fifths of `tasks`
        and are scored on the others, in turn, and `notes` says so.
    scoring : str, callable or None, default=None
        None: accuracy, or R^2 of regressors. R^2 on few rows has long tails: prefer
        "neg_mean_squared_error" there.
    margin : float or None, default=None
        Mean gains up to it do not matter. None: 0.01 of accuracy or R^2; 1 % of the mean score of
        the baseline for other scores.
    support : {"stratified", "random", "first"}, default="stratified"
        How supports are drawn, as in :func:`~sklearn_meta.model_selection.compare`.
    random_state : int, RandomState instance or None, default=None
        Random state of the supports drawn and of the baselines.
    error_score : "raise" or float, default=np.nan
        Score of a task on which the fit or score of an estimator fails; NaN leaves it out of the
        comparison with that estimator. A warning names both. "raise" raises the error.
    unusable : {"raise", "skip"}, default="raise"
        What to do about a task that cannot be used, as in
        :func:`~sklearn_meta.model_selection.compare`.

    Returns
    -------
    TransferGain
        Scores, gains and verdicts; prints as sentences.

    Raises
    ------
    NotMetaFittedError
        If the estimator is not meta-fitted.
    TaskError
        If a task is invalid, or no task has a score of both estimators; with
        ``error_score="raise"`` also if an estimator fails on a task.
    ValueError
        If an argument is invalid.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn_meta.analysis import transfer_gain
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> from sklearn_meta.model_selection import HierarchicalRegressor
    >>> tasks = make_linear_tasks(90, mean=[2, 2, 2], n_support=4, random_state=0).tasks
    >>> reg = HierarchicalRegressor().meta_fit(tasks[:60])
    >>> gain = transfer_gain(reg, tasks[60:], baselines={"ridge": Ridge()}, random_state=0,
    ...                      scoring="neg_mean_squared_error")
    >>> gain["ridge"].verdict, gain["ridge"].share_hurt < 0.2
    ('better', True)
    """
    measured = _check_estimator(estimator)
    classify = is_classifier(estimator)
    metric = metric_of(scoring, classify).name
    check_error_score(error_score, "transfer_gain")
    check_parameter("support", support, SUPPORTS, "transfer_gain")
    check_parameter("margin", margin, real(0.0, none=True), "transfer_gain")
    check_parameter("unusable", unusable, UNUSABLE, "transfer_gain")
    usable = open_raw_tasks(estimator, tasks, y, groups, unusable=unusable)
    training = list[Task]()
    if training_tasks is not None:
        columns = (y, groups) if hasattr(training_tasks, "columns") else (None, None)
        opened = open_raw_tasks(estimator, training_tasks, *columns, unusable=unusable)
        n_tasks = len(opened.tasks) + len(opened.skipped)
        warn_of_skipped(opened.skipped, n_tasks, "In training_tasks: ")
        training = opened.tasks
        check_same_rows(training[0], usable.tasks[0], "In training_tasks: task 0", "the tasks")
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    size = _support_size(measured, usable.tasks)
    plan = SplitPlan((None,), size, classify, support, min_query=2 if metric == "r2" else 1)
    splits = plan.split_all(usable, [seed], unusable)
    held_out = dict(zip(usable.positions, usable.tasks, strict=True))
    folds, once = _make_folds(training, held_out), [Fold({}, held_out)]
    others, notes = _make_baselines(measured, baselines, folds, scoring)
    if training_tasks is None and any(_learns(named) for named in others):
        notes.append(
            "Baselines that learn across tasks were trained on four fifths of these tasks, in "
            "turn, and not on the tasks of meta-training; pass those as training_tasks."
        )
    jobs = [
        job
        for named in (measured, *others)
        for job in make_jobs(
            [named],
            folds if _learns(named) else once,
            splits,
            scoring=scoring,
            error_score=error_score,
            prefit=named.trains and is_meta_fitted(named.estimator),
            unusable=unusable,
        )
    ]
    results = run_jobs(jobs)
    warn_of_failures(jobs, results, error_score)
    notes += notes_on_training(jobs, results)
    scores = {named.name: np.empty(len(held_out)) for named in (measured, *others)}
    place = {position: k for k, position in enumerate(held_out)}
    for job, result in zip(jobs, results, strict=True):
        scores[job.named.name][[place[i] for i in job.test]] = result.scores[0]
    gains = {}
    for named in others:
        a, b = scores[measured.name], scores[named.name]
        both = np.isfinite(a - b)
        if not both.any():
            raise TaskError(f"No task has a score of both {measured.name!r} and {named.name!r}.")
        limit = margin_of(metric, float(b[both].mean())) if margin is None else float(margin)
        gains[named.name] = replace(gain_over(named.name, a[both], b[both], limit), gains=a - b)
        if not both.all():
            n = (~both).sum()
            notes.append(f"Tasks without a score of {measured.name} and of {named.name}: {n}.")
    notes.append(
        "Intervals are over tasks, for these trained models. Training again may change the gains; "
        "compare measures this with several seeds."
    )
    names = tuple(names_of(usable.tasks))
    return TransferGain(measured.name, metric, names, scores, gains, tuple(notes))


def _check_estimator(estimator: BaseEstimator) -> NamedEstimator:
    named = name_estimators(estimator)
    if len(named) > 1 or not named[0].trains:
        raise TypeError(f"transfer_gain measures one meta-learner; got {estimator!r}.")
    if not is_meta_fitted(named[0].estimator):
        raise NotMetaFittedError(
            f"This {named[0].name} is not meta-fitted yet. Call meta_fit(tasks) first."
        )
    return named[0]


def _learns(named: NamedEstimator) -> bool:
    """Whether a prior or transformers are still to be fitted to tasks."""
    return not is_meta_fitted(named.estimator) if named.trains else named.fits_transformers


def _support_size(measured: NamedEstimator, tasks: Sequence[Task]) -> int | None:
    if all(task.support is not None for task in tasks):
        return None
    size = default_support_size([measured])
    if size is None:
        raise ValueError(
            f"Some tasks have no fixed support, and {measured.name} does not say how large to "
            "draw it. Pass tasks with a support, for example by sklearn_meta.tasks.split_task."
        )
    return size


def _make_folds(training: Sequence[Task], held_out: Mapping[int, Task]) -> list[Fold]:
    """Return the tasks to train on and to score; without training tasks, parts of the others."""
    n = len(held_out)
    if training or n == 1:
        return [Fold(dict(enumerate(training)), held_out)]
    items = list(held_out.items())
    return [
        Fold(*(dict(items[k] for k in part.tolist()) for part in parts))
        for parts in KFold(min(N_FOLDS, n)).split(np.zeros(n))
    ]


def _make_baselines(
    measured: NamedEstimator,
    baselines: str | Sequence[str] | Mapping[str, BaseEstimator | None],
    folds: Sequence[Fold],
    scoring: Any,
) -> tuple[list[NamedEstimator], list[str]]:
    if not isinstance(baselines, Mapping):
        baselines = dict.fromkeys([baselines] if isinstance(baselines, str) else baselines)
    estimators = {name: est for name, est in baselines.items() if est is not None}
    if measured.name in estimators:
        raise ValueError(f"{measured.name!r} names both the estimator and a baseline.")
    _, *passed = name_estimators({measured.name: measured.estimator} | estimators)
    template = measured.estimator
    wrapped = getattr(learner_of(template), "estimator", None)
    if hasattr(wrapped, "meta_fit"):  # baselines take the network of the meta-learner inside
        template = wrapped
    names = [name for name in baselines if name not in estimators]
    made, notes = make_baselines(names, name_estimators(template), folds, scoring)
    if not passed and not made:
        raise ValueError(f"There is no baseline to compare with. {' '.join(notes)}".strip())
    return [*passed, *made], notes


@dataclass(frozen=True)
class GainOver:
    """Gain of a meta-learner over one baseline.

    Parameters
    ----------
    baseline : str
        Name of the baseline.
    gains : ndarray of shape (n_tasks,)
        Score of the meta-learner minus that of the baseline, on the same rows of the same tasks;
        nan if one of them failed.
    paired : PairedComparison
        Mean gain with its 95 % interval, tasks won, tied and lost, the share hurt, p-values.
    margin : float
        Mean gains up to it do not matter.
    p_equivalence : float
        The larger p-value of two one-sided tests: small if the mean gain lies within the margin.
        nan with fewer than 10 tasks, and if all gains are equal, because rare large gains may not
        have been observed yet.
    verdict : {"better", "worse", "equivalent", "undecided"}
        "equivalent" if `p_equivalence` is below 5 %; otherwise "better" or "worse" if the p-value
        of the mean gain (`paired.p_mean`) is below 5 % and it is not within the margin.
    """

    baseline: str
    gains: Floats = field(repr=False)
    paired: PairedComparison
    margin: float
    p_equivalence: float
    verdict: str

    @property
    def interval(self) -> MeanInterval:
        """Mean gain with its 95 % interval over tasks, for these trained models."""
        return self.paired.difference

    @property
    def share_hurt(self) -> float:
        """Share of the tasks on which the baseline scores higher."""
        return self.paired.hurt

    def __str__(self) -> str:
        p, margin = self.paired, f"within ± {self.margin:.2g}"
        if np.isnan(self.p_equivalence):
            n = len(self.gains)
            equivalence = f"These {n} tasks cannot show whether the mean gain is {margin}."
        else:
            verb = "is" if self.verdict == "equivalent" else "is not"
            equivalence = (
                f"The mean gain {verb} shown to be {margin} (p = {self.p_equivalence:.2g})."
            )
        return (
            f"{VERDICTS[self.verdict]} {self.baseline}: the mean gain is {p.difference}. "
            f"{100 * p.hurt:.3g} % of the tasks are hurt ({p.wins} won, {p.ties} tied, {p.losses} "
            f"lost; sign test p = {p.p_sign:.2g}). {equivalence}"
        )


@dataclass(frozen=True)
class TransferGain:
    """Result of :func:`~sklearn_meta.analysis.transfer_gain`; prints as sentences.

    Parameters
    ----------
    estimator : str
        Name of the meta-learner.
    metric : str
        Name of the score; higher is better.
    names : tuple of str
        Names of the held-out tasks.
    scores : dict of str to ndarray of shape (n_tasks,)
        Scores of the meta-learner and of each baseline.
    over : dict of str to GainOver
        The gain over each baseline.
    notes : tuple of str
        What was left out, and why.
    """

    estimator: str
    metric: str
    names: tuple[str, ...]
    scores: Mapping[str, Floats] = field(repr=False)
    over: Mapping[str, GainOver] = field(repr=False)
    notes: tuple[str, ...] = ()

    def __getitem__(self, baseline: str) -> GainOver:
        return self.over[baseline]

    def plot(self, ax: Any = None) -> TransferGainDisplay:
        """Plot the sorted gains over the first baseline.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        TransferGainDisplay
            The display after plotting.
        """
        return TransferGainDisplay.from_gain(self, ax=ax)

    def __str__(self) -> str:
        n, metric = len(self.names), in_words(self.metric)
        lines = [f"This trained {self.estimator}, on {n} held-out tasks, by {metric}:"]
        lines += [f"- it {gain}" for gain in self.over.values()]
        return "\n".join([*lines, *self.notes])


def gain_over(baseline: str, scores: Floats, others: Floats, margin: float) -> GainOver:
    """Compare the scores of tasks with those of a baseline on the same tasks."""
    gains, paired = scores - others, compare_paired(scores, others)
    error = mean_error([gains[None]], ROUNDING * np.maximum(np.abs(scores), np.abs(others)))
    p = np.nan
    if len(gains) >= MIN_TASKS and error.error > 0:
        p = max(error.p_value(-margin, "greater"), error.p_value(margin, "less"))
    verdict = "undecided"
    if p < 0.05:
        verdict = "equivalent"
    elif abs(paired.difference.mean) >= margin and (paired.is_better or paired.is_worse):
        verdict = "better" if paired.is_better else "worse"
    return GainOver(baseline, gains, paired, margin, p, verdict)


@dataclass(kw_only=True, eq=False, repr=False)
class TransferGainDisplay:
    """Plot of the sorted gains of tasks, with their mean, its interval and the tasks hurt.

    Create it with `from_estimator`, `from_gain` or `from_scores`; all parameters are stored as
    attributes.

    Parameters
    ----------
    gains : array-like of shape (n_tasks,)
        Score of the meta-learner minus that of the baseline, on the same rows.
    names : sequence of str of shape (n_tasks,) or None, default=None
        Names of the tasks; None: their positions.
    baseline : str, default="the baseline"
        Name of the baseline.
    score_name : str, default="score"
        Name of the scores.
    margin : float, default=0.0
        Margin of equivalence, drawn as a band around zero; 0: none.
    level : float, default=0.95
        Confidence level of the interval of the mean.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure of the axes.
    lines_ : list of matplotlib Line2D
        Dots of the tasks that are hurt, and of the others.
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

    gains: ArrayLike
    names: Sequence[str] | None = None
    baseline: str = "the baseline"
    score_name: str = "score"
    margin: float = 0.0
    level: float = 0.95

    def plot(self, ax: Any = None, *, n_named: int = 3, line_kw: Any = None) -> TransferGainDisplay:
        """Plot the gains.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.
        n_named : int, default=3
            Number of the tasks hurt most to name.
        line_kw : dict, default=None
            Keyword arguments of matplotlib's `plot`, for the dots.

        Returns
        -------
        TransferGainDisplay
            The display, with `ax_`, `figure_` and the artists.

        Raises
        ------
        ValueError
            If gains are not finite, or gains and names differ in number.
        """
        gains = np.asarray(self.gains, dtype=np.float64)
        if gains.ndim != 1:
            raise ValueError(f"gains must be of shape (n_tasks,). Got shape {gains.shape}.")
        result, n = compare_paired(gains, np.zeros_like(gains), level=self.level), len(gains)
        names = check_names(self.names, n, "task {}")
        ax = new_axes(ax, self)
        order, rank = np.argsort(gains, kind="stable"), np.arange(1, n + 1)
        y = gains[order]
        ax.vlines(rank, 0, y, color="0.75", linewidth=0.8, zorder=1)
        self.lines_ = []
        for i, (part, label) in enumerate([(y < 0, "hurt"), (y >= 0, "not hurt")]):
            look = {"linestyle": "none", "label": label, "zorder": 3}
            look |= {"markerfacecolor": "white"} if i == 0 else {}
            self.lines_ += ax.plot(
                rank[part], y[part], **line_style(1 - i, look | dict(line_kw or {}))
            )
        ax.axhline(0, color="black", linewidth=0.8, zorder=2)
        for side in (-self.margin, self.margin) if self.margin > 0 else ():
            ax.axhline(side, color=GREY, linewidth=1, linestyle=":", zorder=1)
        worst = [names[i] for i in order[: min(n_named, result.losses)]]
        mean, ylabel = result.difference, f"gain of {self.score_name}\nover {self.baseline}"
        self.mean_, self.texts_ = draw_mean(
            ax, y, mean, worst, "gain", ylabel, linestyle=(0, (5, 2))
        )
        verb = "task is" if n == 1 else "tasks is" if result.losses == 1 else "tasks are"
        ax.set_title(
            f"{result.losses} of {n} {verb} hurt ({100 * result.hurt:.0f} %)\nmean gain {mean}",
            fontsize="medium",
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_gain(
        cls,
        gain: TransferGain,
        baseline: str | None = None,
        *,
        n_named: int = 3,
        ax: Any = None,
        line_kw: Any = None,
    ) -> TransferGainDisplay:
        """Plot a result of :func:`~sklearn_meta.analysis.transfer_gain`.

        Parameters
        ----------
        gain : TransferGain
            Result to plot.
        baseline : str or None, default=None
            Name of the baseline; None: the first.
        n_named, ax, line_kw : object
            As in :meth:`plot`.

        Returns
        -------
        TransferGainDisplay
            The display after plotting.

        Raises
        ------
        ValueError
            If there is no such baseline.
        """
        name = next(iter(gain.over)) if baseline is None else baseline
        if name not in gain.over:
            raise ValueError(f"There is no baseline {name!r}; there are {list(gain.over)}.")
        over = gain.over[name]
        valid = np.isfinite(over.gains)
        return cls(
            gains=over.gains[valid],
            names=[task for task, ok in zip(gain.names, valid, strict=True) if ok],
            baseline=name,
            score_name=in_words(gain.metric),
            margin=over.margin,
        ).plot(ax, n_named=n_named, line_kw=line_kw)

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        tasks: Any,
        *,
        baseline: str | BaseEstimator = "per-task",
        training_tasks: Any = None,
        scoring: Any = None,
        margin: float | None = None,
        random_state: Any = None,
        n_named: int = 3,
        ax: Any = None,
        line_kw: Any = None,
    ) -> TransferGainDisplay:
        """Measure the gain over one baseline, and plot it.

        Parameters
        ----------
        estimator : meta-learner or MetaPipeline
            Meta-fitted estimator; it is not modified.
        tasks : sequence of tasks
            Tasks not used in meta-training.
        baseline : str or estimator, default="per-task"
            As in :func:`~sklearn_meta.analysis.transfer_gain`.
        training_tasks, scoring, margin, random_state : object
            As in :func:`~sklearn_meta.analysis.transfer_gain`.
        n_named, ax, line_kw : object
            As in :meth:`plot`.

        Returns
        -------
        TransferGainDisplay
            The display after plotting.
        """
        gain = transfer_gain(
            estimator,
            tasks,
            baselines=baseline if isinstance(baseline, str) else by_name(baseline),
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
        """Plot precomputed scores.

        Parameters
        ----------
        scores, baseline_scores : array-like of shape (n_tasks,)
            Scores of the meta-learner and of the baseline, as `score_tasks` returns.
        names : sequence of str of shape (n_tasks,) or None, default=None
            Names of the tasks; None: their positions.
        baseline, score_name, margin, level : object
            As in the class.
        n_named, ax, line_kw : object
            As in :meth:`plot`.

        Returns
        -------
        TransferGainDisplay
            The display after plotting.

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
