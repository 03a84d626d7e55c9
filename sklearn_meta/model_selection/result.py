"""The result of a comparison: scores, table, verdict in words, and picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from html import escape
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from sklearn_meta._optional import need
from sklearn_meta._plotting import in_words, label_axes, line_style, new_axes
from sklearn_meta.metrics import (
    HUGE,
    ROUNDING,
    MeanInterval,
    PairedComparison,
    compare_paired,
    mean_interval,
)
from sklearn_meta.model_selection.scorer import margin_of

__all__ = ["ComparisonDisplay", "Record", "TaskComparison", "size_in_words"]

LEGEND = "*: best of the column. ±: half of the 95 % interval."

Array = NDArray[np.float64]
Points = Mapping[str, tuple[Array, Array]]  # means, and lengths of the bars (2, n_sizes)


class Record(NamedTuple):
    """One score of one estimator on one task.

    Attributes
    ----------
    estimator : str
        Name of the estimator.
    seed : int
        Seed that the estimator was trained with.
    fold : int
        Number of the fold that the estimator was trained on.
    task : int
        Position of the task.
    name : str or None
        Name of the task.
    support_size : int or None
        Size of the support; None for fixed supports.
    score : float
        The score.
    """

    estimator: str
    seed: int
    fold: int
    task: int
    name: str | None
    support_size: int | None
    score: float


@final
@dataclass(frozen=True, repr=False)
class TaskComparison:
    """Result of :func:`~sklearn_meta.model_selection.compare`; prints as a table and a verdict.

    Parameters
    ----------
    records : tuple of Record
        All scores.
    kinds : dict of str to str
        Kind of each estimator, by name: "meta", "per-task", "pooled", "fine-tune", "hierarchical"
        or "dummy".
    baselines : tuple of str
        Names of the estimators that `compare` has made.
    sizes : tuple of int or None
        Support sizes; None for fixed supports of different sizes.
    unit : str
        What a size counts: "row" (in total) or "row a class".
    metric : str
        Name of the score; higher is better.
    chance : float or None
        Score of chance, where it is known.
    notes : tuple of str
        What was left out, and why.
    """

    records: tuple[Record, ...]
    kinds: Mapping[str, str]
    baselines: tuple[str, ...]
    sizes: tuple[int | None, ...]
    unit: str
    metric: str
    chance: float | None
    notes: tuple[str, ...]

    def to_frame(self) -> Any:
        """Return all scores as a long table.

        Returns
        -------
        DataFrame
            One row for each score: estimator, kind, seed, fold, task, name, support_size, score.
        """
        pd = need("pandas", "pandas", "TaskComparison.to_frame()")
        frame = pd.DataFrame(self.records, columns=Record._fields)
        frame.insert(1, "kind", frame["estimator"].map(dict(self.kinds)))
        return frame

    def scores(self, estimator: str, support_size: int | None = None) -> Array:
        """Return the scores of an estimator, averaged over its trainings.

        Parameters
        ----------
        estimator : str
            Name of the estimator.
        support_size : int or None, default=None
            Support size; may be None if there is only one.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Scores of the held-out tasks, in their order; nan for tasks without a score.

        Raises
        ------
        ValueError
            If there is no such estimator or size, or `support_size` is None and there are several.
        """
        table = self.scores_by_training(estimator, support_size)
        n = np.isfinite(table).sum(axis=0)
        return np.where(n > 0, np.nansum(table, axis=0) / np.maximum(n, 1), np.nan)

    def scores_by_training(self, estimator: str, support_size: int | None = None) -> Array:
        """Return the scores of an estimator, one row for each training.

        Parameters
        ----------
        estimator : str
            Name of the estimator.
        support_size : int or None, default=None
            Support size; may be None if there is only one.

        Returns
        -------
        scores : ndarray of shape (n_trainings, n_tasks)
            Trainings by seed and fold, held-out tasks in their order; nan where a task was not
            held out or has no score.

        Raises
        ------
        ValueError
            If there is no such estimator or size, or `support_size` is None and there are several.
        """
        if estimator not in self.kinds:
            raise ValueError(f"There is no estimator {estimator!r}; there are {list(self.kinds)}.")
        if support_size is None and len(self.sizes) == 1:
            support_size = self.sizes[0]
        if support_size not in self.sizes:
            raise ValueError(f"support_size must be one of {self.sizes}; got {support_size!r}.")
        records = [
            r for r in self.records if (r.estimator, r.support_size) == (estimator, support_size)
        ]
        tasks, trainings = (
            {key: i for i, key in enumerate(sorted(keys))}
            for keys in ({r.task for r in records}, {(r.seed, r.fold) for r in records})
        )
        table = np.full((len(trainings), len(tasks)), np.nan)
        for r in records:
            if np.isfinite(r.score):
                table[trainings[r.seed, r.fold], tasks[r.task]] = r.score
        return table

    def interval(
        self,
        estimator: str,
        support_size: int | None = None,
        *,
        level: float = 0.95,
        method: str = "hall",
    ) -> MeanInterval:
        """Compute the mean over tasks, with an interval over tasks and trainings.

        Parameters
        ----------
        estimator : str
            Name of the estimator.
        support_size : int or None, default=None
            Support size; may be None if there is only one.
        level, method : float and str, default=0.95 and "hall"
            See :func:`~sklearn_meta.metrics.mean_interval`.

        Returns
        -------
        MeanInterval
            Over the tasks that have a score; nan if none has.
        """
        table = self.scores_by_training(estimator, support_size)
        table = table[:, np.isfinite(table).any(axis=0)]
        if not table.size:
            return MeanInterval(np.nan, np.nan, np.nan, 0, level)
        return mean_interval(table, level=level, method=method)

    def paired(
        self,
        a: str,
        b: str,
        support_size: int | None = None,
        *,
        level: float = 0.95,
        margin: float = 0.0,
        method: str = "hall",
    ) -> PairedComparison:
        """Compare two estimators on the same rows of the same tasks.

        Parameters
        ----------
        a, b : str
            Names of the estimators.
        support_size : int or None, default=None
            Support size; may be None if there is only one.
        level, margin, method : float, float and str, default=0.95, 0.0 and "hall"
            See :func:`~sklearn_meta.metrics.compare_paired`.

        Returns
        -------
        PairedComparison
            Comparison of a - b on the tasks for which both have a score; nan if there is none.
        """
        x, y = (self.scores_by_training(name, support_size) for name in (a, b))
        both = np.isfinite(x - y).any(axis=0)
        if not both.any():
            nothing = MeanInterval(np.nan, np.nan, np.nan, 0, level)
            return PairedComparison(nothing, 0, 0, 0, np.nan, np.nan, np.nan)
        return compare_paired(x[:, both], y[:, both], level=level, margin=margin, method=method)

    def summary(self) -> str:
        """Return a table with a row for each estimator and a column for each support size.

        Returns
        -------
        str
            Means over tasks ± half of the 95 % interval over tasks and trainings; * marks the best.
            A last line explains both signs.
        """
        columns = [[self.metric, *self.kinds]]
        for size in self.sizes:
            intervals = [self.interval(name, size) for name in self.kinds]
            best = max((i.mean for i in intervals if np.isfinite(i.mean)), default=None)
            texts = [_mean_and_half(i) + ("*" if i.mean == best else " ") for i in intervals]
            columns.append([size_in_words(size, self.unit), *texts])
        widths = [max(map(len, column)) for column in columns]
        rows = [
            "  ".join([name.ljust(widths[0]), *map(str.rjust, texts, widths[1:])]).rstrip()
            for name, *texts in zip(*columns, strict=True)
        ]
        return "\n".join([*rows, LEGEND])

    def plot(self, ax: Any = None) -> ComparisonDisplay:
        """Plot the scores against the support size, with intervals.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        ComparisonDisplay
            The display, with `ax_` and `figure_`.
        """
        return ComparisonDisplay.from_comparison(self, ax=ax)

    @property
    def verdict(self) -> str:
        """Whether meta-learning pays here, by how much, and how many tasks it hurts, in words."""
        return _verdict(self)

    def __str__(self) -> str:
        return "\n".join([self.summary(), "", self.verdict, *self.notes])

    def __repr__(self) -> str:
        n = len({record.task for record in self.records})
        return f"TaskComparison({list(self.kinds)}, {n} tasks, support_sizes={self.sizes})"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _mean_and_half(interval: MeanInterval) -> str:
    half = (interval.high - interval.low) / 2
    if np.isnan(interval.mean):
        return "-"
    if max(abs(interval.mean), half) >= HUGE:
        return f"{interval.mean:.3g} ± {half:.2g}"
    return f"{interval.mean:.3f} ± {half:.3f}"


def size_in_words(size: int | None, unit: str) -> str:
    """Return a support size in words, such as ``5 rows a class``; None is a fixed support."""
    if size is None:
        return "the fixed support"
    return f"{size} {unit if size == 1 else unit.replace('row', 'rows', 1)}"


# ---- the verdict ---------------------------------------------------------------------------------

LEVEL = 0.95  # of all claims together
MIN_TRAININGS = 3  # that show how much training varies
MUCH = 10  # margins of relevance by which a task is much worse
SIMPLE, LEARNED = ("per-task", "pooled"), ("fine-tune", "hierarchical")  # kinds of estimators

HEADLINES = {
    "pays": "meta-learning pays",
    "shared": "learning across tasks pays, by meta-learning or more simply",
    "loses": "meta-learning does not pay",
    "pooled": "pooling is enough, one model for all tasks",
    "tie": "no clear difference, the simpler estimator will do",
    "hierarchical": "a linear hierarchical model is enough",
    "fine-tune": "fine-tuning is enough",
    "chance": "nothing is learned",
    "no meta": "no network was meta-trained",
    "no simple": "no simple estimator was compared",
}
CLAIMS = ("pays", "shared", "loses", "hierarchical", "fine-tune")  # that one estimator is ahead
THESE_MODELS = ", for the models trained here"
FEW_TRAININGS = (
    "The estimators were trained too few times on the same tasks to estimate how much training "
    "varies: intervals and verdict are about the models trained here, not about the algorithms. "
    "Use seeds=3 or more."
)
BASELINES = {
    "per-task": "the network from scratch",
    "pooled": "the pooled network",
    "fine-tune": "the fine-tuned network",
    "hierarchical": "the linear hierarchical model",
    "dummy": "predicting without inputs",
}


def _verdict(c: TaskComparison) -> str:
    """Put a comparison into words: a headline, and a line for each support size."""
    verdicts = [_SizeVerdict(c, size) for size in c.sizes]
    trained_often = any(
        c.interval(name, c.sizes[0]).n_trainings >= MIN_TRAININGS for name in c.kinds
    )
    few = [] if verdicts[0].case == "no meta" or trained_often else [FEW_TRAININGS]
    heads = {
        v.case: HEADLINES[v.case] + THESE_MODELS * bool(few and v.case in CLAIMS) for v in verdicts
    }
    if len(verdicts) == 1:
        head = _capital(heads[verdicts[0].case])
        return "\n".join([f"{head}: {verdicts[0].where} {verdicts[0].text}", *few])
    headline = f"{_capital(heads[verdicts[0].case])}."
    if len(heads) > 1:
        parts = [
            " and ".join(v.where for v in verdicts if v.case == case) + f" {head}"
            for case, head in heads.items()
        ]
        headline = f"It depends on the support: {'; '.join(parts)}."
    return "\n".join([headline, *(f"{_capital(v.where)} {v.text}" for v in verdicts), *few])


class _SizeVerdict:
    """What the scores at one support size say: a case of HEADLINES, and words."""

    def __init__(self, comparison: TaskComparison, size: int | None) -> None:
        self.comparison, self.size = comparison, size
        self.where = f"with {size_in_words(size, comparison.unit)}"
        means = {name: comparison.interval(name, size).mean for name in comparison.kinds}
        self.means = {name: mean for name, mean in means.items() if np.isfinite(mean)}
        self.case, self.text = self._no_claim() or self._against_simple()

    def _ranked(self, *kinds: str) -> list[str]:
        """Return the estimators of some kinds that have a score, the best first."""
        names = [name for name in self.means if self.comparison.kinds[name] in kinds]
        return sorted(names, key=lambda name: -self.means[name])

    def _no_claim(self) -> tuple[str, str] | None:
        """Return a verdict where nothing is learned or there is nothing to compare."""
        c = self.comparison
        ranked = self._ranked("meta", *SIMPLE, *LEARNED)
        if not ranked:
            return "chance", "no estimator has a score."
        top = c.interval(ranked[0], self.size, level=LEVEL)
        best = f"the best, {_label(c, ranked[0])}, has {top}"
        if c.chance is not None and top.low <= c.chance + ROUNDING:
            return "chance", f"no estimator is clearly above chance ({c.chance:.3g}): {best}."
        for dummy in [name for name in self.means if c.kinds[name] == "dummy"]:
            if c.paired(ranked[0], dummy, self.size).difference.low <= 0:
                above = f"predicting without inputs ({self.means[dummy]:.3g})"
                return "chance", f"no estimator is clearly above {above}: {best}."
        if not self._ranked("meta"):
            return "no meta", self._against_next() or f"{best}."
        if not self._ranked(*SIMPLE):
            return "no simple", self._against_next() or f"{best}."
        return None

    def _against_next(self) -> str | None:
        """Compare learning across tasks with the simple estimators, or else the best two."""
        names, others, what = self._ranked(*LEARNED), self._ranked(*SIMPLE), "simple"
        if self._ranked("meta") or not (names and others):
            names = self._ranked("meta", *SIMPLE, *LEARNED)
            others = sorted({*self.means} - {names[0]}, key=lambda name: -self.means[name])
            what = "other"
        if not others:
            return None
        pair, _, text = self._difference(names, others, what)
        return text + self._why_unclear(pair, names[0], others[0])

    def _against_simple(self) -> tuple[str, str]:
        """Compare the best meta-learner with the best simple estimator."""
        c, meta, simple = self.comparison, self._ranked("meta"), self._ranked(*SIMPLE)
        pair, margin, text = self._difference(meta, simple, "simple")
        if not pair.difference.n_tasks:
            return "no simple", text
        if pair.is_better and pair.difference.mean >= margin:
            return self._against_learned(text)
        loses = pair.is_worse and pair.difference.mean <= -margin
        text += self._why_unclear(pair, meta[0], simple[0])
        if (pair.is_better or pair.is_worse) and not loses:
            text += " That is too little to matter."
        if learned := self._ranked(*LEARNED):
            extra, _ = self._pair(learned, simple[0])
            if extra.is_better and extra.difference.mean >= margin:
                relation = _relation(extra, "that estimator", c.metric)
                text += (
                    f" {_capital(_label(c, learned[0]))} {relation}: learning across tasks helps."
                )
                return "loses" if loses else c.kinds[learned[0]], text
        if c.kinds[simple[0]] == "pooled":
            return "pooled", text
        return "loses" if loses else "tie", text

    def _against_learned(self, text: str) -> tuple[str, str]:
        """Compare a meta-learner that is ahead of the simple estimators with others that learn."""
        c, meta, learned = self.comparison, self._ranked("meta"), self._ranked(*LEARNED)
        if not learned:
            return "pays", text
        pair, margin = self._pair(meta, learned[0])
        text += f" It {_relation(pair, _label(c, learned[0]), c.metric)}."
        if pair.is_better and pair.difference.mean >= margin:
            return "pays", text
        behind = pair.is_worse and pair.difference.mean <= -margin
        return c.kinds[learned[0]] if behind else "shared", text

    def _difference(
        self, names: Sequence[str], others: Sequence[str], what: str
    ) -> tuple[PairedComparison, float, str]:
        """Compare the best of some estimators with the best of others, also in words."""
        c, n = self.comparison, len(others)
        other = f"the best of {n} {what} estimators" if n > 1 else f"the {what} estimator"
        pair, margin = self._pair(names, others[0])
        label = _label(c, names[0])
        if not pair.difference.n_tasks:
            missing = f"{label} has no score on a task where {_label(c, others[0])} has one."
            return pair, margin, missing
        text = (
            f"{label}{f' (the best of {len(names)})' * (len(names) > 1)} "
            f"{_relation(pair, f'{other} ({_label(c, others[0])})', c.metric)}; "
            f"{self._share_hurt(names[0], others[0], margin)}."
        )
        return pair, margin, text

    def _pair(self, candidates: Sequence[str], other: str) -> tuple[PairedComparison, float]:
        """Compare the best of several with another estimator, and return the margin, too.

        The level is that of claims about the best of several, at any size (Bonferroni).
        """
        c = self.comparison
        level = 1 - (1 - LEVEL) / (len(candidates) * len(c.sizes))
        pair = c.paired(candidates[0], other, self.size, level=level)
        return pair, margin_of(c.metric, self.means[other])

    def _why_unclear(self, pair: PairedComparison, a: str, b: str) -> str:
        """Explain an unclear difference: trainings or few tasks hide it."""
        if pair.is_better or pair.is_worse or not pair.difference.n_tasks:
            return ""
        task_means = np.array([self.comparison.scores(name, self.size) for name in (a, b)])
        over_tasks = compare_paired(*task_means[:, np.isfinite(task_means).all(axis=0)])
        if over_tasks.is_better or over_tasks.is_worse:
            side = "ahead" if over_tasks.is_better else "behind"
            return (
                f" Over tasks alone it would be {side}, but trainings differ too much for a claim "
                "about the algorithm. More seeds may show it."
            )
        if pair.p_sign < 1 - LEVEL:
            return (
                f" It wins on {pair.wins} tasks and loses on {pair.losses} (sign test, "
                f"p = {pair.p_sign:.1g}): the mean depends on few tasks."
            )
        return ""

    def _share_hurt(self, a: str, b: str, margin: float) -> str:
        """Return how many tasks are worse off and how many much worse, which the mean may hide."""
        hurt, much = (
            self.comparison.paired(a, b, self.size, margin=m) for m in (0.0, MUCH * margin)
        )
        text = f"it hurts on {100 * hurt.hurt:.0f} % of the tasks"
        if much.losses:
            return f"{text}, and on {100 * much.hurt:.3g} % by more than {MUCH * margin:.2g}"
        if not hurt.is_better:
            return text
        unseen = 1 - (1 - LEVEL) ** (1 / much.difference.n_tasks)
        return (
            f"{text}, on none by more than {MUCH * margin:.2g} (on new tasks it may on up to "
            f"{100 * unseen:.2g} %)"
        )


def _relation(pair: PairedComparison, other: str, metric: str) -> str:
    gap = pair.difference
    if gap.mean < 0:
        gap = gap._replace(mean=-gap.mean, low=-gap.high, high=-gap.low)
    amount, _, rest = str(gap).partition(" (")
    unit = "R^2" if metric == "r2" else metric.removeprefix("neg_").replace("_", " ")
    text = f"{amount} of {unit} ({rest}"
    if pair.is_better:
        return f"is ahead of {other} by {text}"
    if pair.is_worse:
        return f"loses to {other} by {text}"
    side = "ahead of" if pair.difference.mean >= 0 else "behind"
    return f"is not clearly {side} {other}, by {text}"


def _label(c: TaskComparison, name: str) -> str:
    kind = c.kinds[name]
    if name in c.baselines:
        return BASELINES.get(name, name)
    return f"per-task {name}" if kind == "per-task" else name


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# ---- the picture ---------------------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class ComparisonDisplay:
    """Plot of scores against the support size, with 95 % intervals over tasks and trainings.

    With one size, estimators are rows instead. Errors are drawn as positive numbers, on a
    logarithmic axis. Create it with :meth:`from_comparison`.

    Parameters
    ----------
    intervals : dict of str to sequence of MeanInterval
        Intervals of each estimator, one for each size.
    sizes : sequence of int or None
        Support sizes.
    metric : str
        Name of the score.
    unit : str
        What a size counts: "row" or "row a class".

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure of the axes.
    lines_ : dict of str to matplotlib container
        Line or point of each estimator.

    Examples
    --------
    >>> from sklearn_meta.inspection import ComparisonDisplay
    >>> from sklearn_meta.metrics import mean_interval
    >>> intervals = {"MAML": [mean_interval([0.6, 0.7]), mean_interval([0.8, 0.9])]}
    >>> display = ComparisonDisplay(intervals, sizes=[1, 5], metric="accuracy", unit="row a class")
    >>> display.plot().ax_.get_xlabel()
    'support, rows a class'
    """

    intervals: Mapping[str, Sequence[MeanInterval]]
    _: KW_ONLY
    sizes: Sequence[int | None]
    metric: str
    unit: str

    @classmethod
    def from_comparison(cls, comparison: TaskComparison, *, ax: Any = None) -> ComparisonDisplay:
        """Plot the result of :func:`~sklearn_meta.model_selection.compare`.

        Parameters
        ----------
        comparison : TaskComparison
            Result to plot.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        ComparisonDisplay
            The display after plotting.
        """
        sizes, names = comparison.sizes, comparison.kinds
        intervals = {name: [comparison.interval(name, size) for size in sizes] for name in names}
        display = cls(intervals, sizes=sizes, metric=comparison.metric, unit=comparison.unit)
        return display.plot(ax=ax)

    def plot(self, *, ax: Any = None) -> ComparisonDisplay:
        """Plot the intervals.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        ComparisonDisplay
            The display, with `ax_`, `figure_` and `lines_`.
        """
        n, is_error = len(self.intervals), self.metric.startswith("neg_")
        ax = new_axes(ax, self, (7.0, 3.8 if len(self.sizes) > 1 else 0.8 + 0.35 * n))
        self.ax_, self.figure_ = ax, ax.figure
        sign = -1 if is_error else 1
        points = {
            name: (
                np.array([sign * i.mean for i in intervals]),
                np.array([[i.mean - i.low, i.high - i.mean][::sign] for i in intervals]).T,
            )
            for name, intervals in self.intervals.items()
        }
        metric = in_words(self.metric.removeprefix("neg_"))
        if is_error:
            metric += " (lower is better)"
        if len(self.sizes) > 1:
            self.lines_ = self._plot_curves(points, metric)
        else:
            self.lines_ = self._plot_points(points, metric)
        if is_error:
            _use_log_scale(ax.yaxis if len(self.sizes) > 1 else ax.xaxis, points)
        return self

    def _plot_curves(self, points: Points, metric: str) -> dict[str, Any]:
        ax, n, sizes = self.ax_, len(points), np.array(self.sizes, dtype=np.float64)
        sizes = np.where(sizes > 0, sizes, sizes[sizes > 0].min() / 3)  # a logarithm has no zero
        logs = np.log(sizes)
        room = min(0.25 * np.diff(logs).min(), 0.06 * (logs[-1] - logs[0]))
        lines = {}
        for k, (name, (means, bars)) in enumerate(points.items()):
            shift = np.exp(room * (k / max(n - 1, 1) - 0.5))  # so that bars do not overlap
            look = _look(k) | {"label": name, "elinewidth": 1, "capsize": 2}
            lines[name] = ax.errorbar(sizes * shift, means, yerr=bars, **look)
        ax.set_xscale("log")
        ax.set_xticks(sizes, [str(size) for size in self.sizes])
        ax.minorticks_off()
        label_axes(ax, f"support, {self.unit.replace('row', 'rows', 1)}", metric)
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        return lines

    def _plot_points(self, points: Points, metric: str) -> dict[str, Any]:
        ax, lines = self.ax_, {}
        for k, (name, (means, bars)) in enumerate(points.items()):
            look = _look(k) | {"linestyle": "none", "elinewidth": 1.6, "capsize": 3}
            lines[name] = ax.errorbar(means, [k], xerr=bars, **look)
        ax.set_yticks(range(len(lines)), list(lines))
        ax.invert_yaxis()
        ax.grid(axis="x", color="0.9")
        label_axes(ax, f"{metric}, {size_in_words(self.sizes[0], self.unit)}", "")
        return lines


def _use_log_scale(axis: Any, points: Points) -> None:
    """Draw errors on a logarithmic axis; bars that reach zero end at the frame."""
    means = np.concatenate([means for means, _ in points.values()])
    if not (means > 0).all():
        return
    tops = np.concatenate([means + bars[1] for means, bars in points.values()])
    name = axis.axis_name
    axis.axes.set(**{f"{name}scale": "log", f"{name}lim": (means.min() / 2, tops.max() * 1.2)})
    ticker = need("matplotlib.ticker", "plot", "ComparisonDisplay.plot")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(ticker.NullFormatter())


def _look(k: int) -> dict[str, Any]:
    """Return one of six looks with filled markers and six with open ones."""
    return line_style(k, {"markerfacecolor": "white"} if k // 6 % 2 else None)
