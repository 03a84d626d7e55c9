"""Should I meta-learn? Try quick learners on the tasks, and report which strategy is best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_regressor
from sklearn.utils import check_random_state

from sklearn_meta.analysis import _quick_comparison as quick
from sklearn_meta.analysis import _report_html
from sklearn_meta.analysis.distances import METRICS, NEED_ESTIMATOR, task_distances
from sklearn_meta.analysis.groups import (
    TaskGroups,
    as_lengths,
    find_groups,
    no_groups,
    tasks_differ,
)
from sklearn_meta.metrics import MeanInterval, PairedComparison
from sklearn_meta.model_selection import TaskComparison
from sklearn_meta.parameters import check_parameter, integer, option
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import target_kind

__all__ = ["SizeVerdict", "TaskReport", "advise", "analyse", "judge"]

CASES = {
    "meta": "meta-learning pays",
    "pool": "one model for all tasks is enough",
    "alone": "one model per task is enough",
    "nothing": "nothing is learned",
    "unclear": "these tasks do not show what is best",
}
MATTERS = 0.01, 0.01  # smaller gains, as a share of the error or in accuracy, do not matter
LARGE = 0.1, 0.05  # larger ones would matter, if there were enough tasks to show them
# half-widths of the 95 % interval by which guessing must be beaten: the best of six learners is
# ahead by chance, and one pooled model decides a whole fold (on coins, errors vary 1.4 times more)
GUESS_MARGINS = 2.0
SIGN_LEVEL = 0.01  # of the sign test, where large errors on a few tasks hide the mean


class SizeVerdict(NamedTuple):
    """What pays with a size of support.

    Attributes
    ----------
    size : int
        Rows, or rows of each class.
    case : {"meta", "pool", "alone", "nothing", "unclear"}
        "nothing" if no learner is ahead of guessing; "meta" if the best learner across tasks is
        ahead of the best simple one, and by more than 1 % of its error (0.01 of accuracy); else the
        better simple strategy. Ahead means by the 95 % interval of the mean or, where few tasks
        have most of the error, by a sign test over tasks (p < 0.01). "unclear" replaces a no where
        the mean is ahead by 10 % of the error (0.05 of accuracy) and there are too few tasks to
        show it.
    best : dict of str to str
        The best learner of each strategy, and of the two "simple" ones.
    gain : PairedComparison
        Gain of learning across tasks over the best simple learner, task by task, in units of the
        score.
    """

    size: int
    case: str
    best: Mapping[str, str]
    gain: PairedComparison


@dataclass(frozen=True, eq=False, repr=False)
class TaskReport:
    """Result of :func:`~sklearn_meta.analysis.analyse`: `print` it, or write it as HTML.

    Parameters
    ----------
    names : tuple of str
        Names of the tasks.
    target_type : {"class", "real"}
        Whether targets are labels.
    n_rows : ndarray of int of shape (n_tasks,)
        Number of rows of each task.
    n_features : int
        Number of features.
    labels : tuple or None
        Labels that all tasks share; None where each has its own, and for regression.
    local_labels : bool
        Whether one model for all tasks predicts shared labels no better than guessing.
    comparison : TaskComparison
        Every score of every learner, except on tasks that are unlike all others.
    estimator_name : str or None
        Name of the estimator passed to `analyse`, among the learners.
    verdicts : tuple of SizeVerdict
        One for each size of support.
    variance : float
        Variance of the targets of the same tasks, the unit of errors; 1 for labels.
    distances : ndarray of shape (n_tasks, n_tasks)
        Distances from row to column; "transfer" of regressions is in units of `variance`.
    metric : str
        Metric of the distances.
    groups : TaskGroups
        Groups of tasks, and tasks unlike all others.
    advice : str
        Learner to try first.
    notes : tuple of str
        What makes the verdict doubtful, how alike the tasks are, and what was left out.
    """

    names: tuple[str, ...]
    target_type: str
    n_rows: NDArray[np.int64]
    n_features: int
    labels: tuple[Any, ...] | None
    local_labels: bool
    comparison: TaskComparison
    estimator_name: str | None
    verdicts: tuple[SizeVerdict, ...]
    variance: float
    distances: NDArray[np.float64]
    metric: str
    groups: TaskGroups
    advice: str
    notes: tuple[str, ...]

    @property
    def pays(self) -> bool:
        """Whether meta-learning pays at one size of support or more."""
        return any(verdict.case == "meta" for verdict in self.verdicts)

    @property
    def outliers(self) -> list[str]:
        """Names of the tasks that are unlike all others."""
        return [self.names[i] for i in np.flatnonzero(self.groups.labels == -1)]

    @property
    def verdict(self) -> str:
        """Three lines: the answer, the largest gain, and what to try first."""
        return f"{self._answer()}\n{self._evidence()}\nTry first: {self.advice}"

    def intervals(self) -> dict[str, list[MeanInterval]]:
        """Compute mean scores over tasks of the best learner of each strategy.

        Returns
        -------
        dict of str to list of MeanInterval
            By column of the table, one for each size. Errors are negative, in units of `variance`.
        """
        available = {"guess", *self.verdicts[0].best}
        columns = {head: s for s, head in quick.STRATEGIES.items() if s in available}
        columns |= {self.estimator_name: "estimator"} if self.estimator_name else {}
        return {head: [self._score(v, s) for v in self.verdicts] for head, s in columns.items()}

    def table(self) -> list[list[str]]:
        """Format the scores, with a star at the best, and the gain over the best simple learner.

        Returns
        -------
        list of list of str
            A line of column names, and one line for each size of support.
        """
        columns, sign = self.intervals(), 1 if self.target_type == "class" else -1
        unit = self.comparison.unit.replace("row", "rows", 1)
        lines = [[unit, *columns, "gain", "worse on"]]
        for verdict, *scores in zip(self.verdicts, *columns.values(), strict=True):
            best = max(score.mean for score in scores)
            cells = [f"{0.0 + sign * s.mean:.3g}{'*' if s.mean == best else ' '}" for s in scores]
            worse = f"{100 * verdict.gain.hurt:.0f} %"
            lines.append([str(verdict.size), *cells, self._gain(verdict), worse])
        return lines

    def title(self) -> str:
        """Describe the tasks.

        Returns
        -------
        str
            Such as ``40 regression tasks of 12 rows, 1 feature``.
        """
        low, high = int(self.n_rows.min()), int(self.n_rows.max())
        rows = f"{low}" if low == high else f"{low} to {high}"
        kind = "classification" if self.target_type == "class" else "regression"
        features = f"{self.n_features} feature{'s' if self.n_features != 1 else ''}"
        return f"{len(self.names)} {kind} tasks of {rows} rows, {features}"

    def caption(self) -> str:
        """Describe the numbers in the table.

        Returns
        -------
        str
            One sentence.
        """
        error = "squared error, as a share of the variance of the targets,"
        return (
            f"Mean {'balanced accuracy' if self.target_type == 'class' else error} of the best "
            "learner of each strategy on held-out tasks (* the best); gain of learning across "
            "tasks over the better simple strategy (95 % interval); share of tasks made worse."
        )

    def __str__(self) -> str:
        lines = self.table()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = ["  ".join(map(str.rjust, line, widths)).rstrip() for line in lines]
        notes = [f"- {note}" for note in self.notes]
        parts = [f"{self.title()}.", "", self.verdict, "", self.caption(), *rows, "", *notes]
        return "\n".join(parts)

    def __repr__(self) -> str:
        return f"TaskReport({len(self.names)} tasks: {self._answer()})"

    def _repr_html_(self) -> str:
        return _report_html.section(self)

    def to_html(self, path: str | PathLike[str] | None = None) -> str:
        """Return the report as a page that needs no other file, with pictures.

        Parameters
        ----------
        path : str or Path, default=None
            File to write it to as well.

        Returns
        -------
        str
            HTML. Pictures need matplotlib, and are left out without it.
        """
        text = _report_html.page(self)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def _score(self, verdict: SizeVerdict, strategy: str) -> MeanInterval:
        chance = self.comparison.chance
        if strategy == "guess" and chance is not None:
            return MeanInterval(chance, chance, chance, len(self.names), 0.95)
        name = self.estimator_name if strategy == "estimator" else verdict.best[strategy]
        score = self.comparison.interval(str(name), verdict.size)
        mean, low, high = (end / self.variance for end in score[:3])
        return score._replace(mean=mean, low=low, high=high)

    def _gain(self, verdict: SizeVerdict) -> str:
        mean, low, high = (end / self.variance for end in verdict.gain.difference[:3])
        return f"{mean:.2g} [{low:.2g}, {high:.2g}]"

    def _support(self, *sizes: int) -> str:
        unit = self.comparison.unit
        words = f"{sizes[-1]} {unit if sizes[-1] == 1 else unit.replace('row', 'rows', 1)}"
        return words if sizes[0] == sizes[-1] else f"{sizes[0]} to {words}"

    def _answer(self) -> str:
        by_case = groupby(self.verdicts, lambda v: v.case)
        runs = [(case, [v.size for v in run]) for case, run in by_case]
        parts = [f"with {self._support(*sizes)} {CASES[case]}" for case, sizes in runs]
        cases = {case for case, _ in runs}
        answer = "Not clear" if "unclear" in cases else "No"
        if "meta" in cases:
            answer = "Yes" if len(cases) == 1 else "In part"
        return f"{answer}: {'; '.join(parts)}."

    def _evidence(self) -> str:
        """Describe the size of the largest gain."""
        learned = [v for v in self.verdicts if v.case != "nothing"]
        if not learned:
            return "No learner is clearly ahead of guessing."
        verdict = max(learned, key=lambda v: v.gain.difference.mean)
        gain, units = verdict.gain, "accuracy" if self.target_type == "class" else "the variance"
        doubt = "" if _is_ahead(gain) or gain.difference.high < 0 else ", which is within the noise"
        if _is_ahead(gain) and gain.difference.low <= 0:
            doubt = f", by a sign test over tasks ({gain.wins} wins, {gain.losses} losses)"
        return (
            f"With {self._support(verdict.size)}, the gain of {verdict.best['meta']} over "
            f"{verdict.best['simple']} is {self._gain(verdict)} of {units}{doubt}."
        )


def analyse(
    tasks: Any,
    estimator: Any = None,
    *,
    y: Any = None,
    groups: Any = None,
    target_type: str | None = None,
    metric: Any = "transfer",
    max_tasks: int = 200,
    random_state: Any = None,
    verbose: int = 0,
) -> TaskReport:
    """Estimate whether meta-learning pays for a set of tasks, and from how many rows on.

    Quick learners of three strategies learn from a few rows and predict the others of held-out
    tasks, in five folds of tasks: one model for all tasks; one model per task; and learning across
    tasks (linear models of the features, and of Gaussian bumps, whose coefficients share a prior;
    class means in shared axes). Meta-learning pays at a size of support where the best of the last
    strategy is ahead of the best of the others, by the 95 % interval over tasks and by enough to
    matter. Tasks that are unlike all others do not count: everything is repeated without them. A
    size of support is tried where nine tasks in ten, or 20 of them, have enough rows.

    Parameters
    ----------
    tasks : sequence of tasks, or table of shape (n_rows, ...)
        At least 4, as :func:`~sklearn_meta.tasks.as_tasks` takes them, of any sizes. Of a task
        with a fixed support, smaller supports are drawn from it, and its query is predicted.
    estimator : meta-learner or MetaPipeline, default=None
        Compared with the quick learners, meta-trained in each fold. None: these alone, in seconds.
        With a pipeline, rows may be whatever its transformers accept; where these are not numbers,
        the quick learners get the output of the transformers, fitted once to all rows without
        their labels.
    y, groups : array-like of shape (n_rows,), str or None, default=None
        Targets and tasks of the rows of a table, or the names of these columns.
    target_type : {"class", "real"}, default=None
        What `y` holds. None: what `estimator` predicts, else what `y` looks like.
    metric : str or callable, default="transfer"
        Metric of the distances in which groups are looked for, as in
        :func:`~sklearn_meta.analysis.task_distances`; one that needs no estimator.
    max_tasks : int, default=200
        Largest number of tasks; of more, so many are drawn.
    random_state : int, RandomState instance or None, default=None
        Seed of supports, folds, features and all other draws.
    verbose : int, default=0
        1: print a line for each learner and fold; those with the same view of the inputs run
        together.

    Returns
    -------
    TaskReport
        `print` it, show it in a notebook, or write it with `to_html(path)`.

    Raises
    ------
    TaskError
        If tasks cannot be used, or fewer than 4 have enough rows to learn from some and predict
        the others.
    TypeError
        If the estimator has no `meta_fit`, or predicts targets of the other type.
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    A network may learn across tasks what quick learners cannot: "no" without an estimator means
    that there is no quick gain. "Yes" was measured on held-out tasks. The best of a few learners on
    the same tasks is a little optimistic; use :func:`~sklearn_meta.model_selection.compare` for
    final numbers.

    Examples
    --------
    >>> from sklearn_meta.analysis import analyse
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> report = analyse(make_sinusoid_tasks(40, 12, random_state=0), random_state=0)
    >>> report.pays, report.outliers
    (True, [])
    >>> print(report.verdict.splitlines()[0])
    Yes: with 2 to 5 rows meta-learning pays.
    """
    check_parameter("max_tasks", max_tasks, integer(quick.MIN_TASKS), "analyse")
    if not callable(metric):
        check_parameter("metric", metric, option(*sorted({*METRICS} - NEED_ESTIMATOR)), "analyse")
    target_type = _target_type(estimator, target_type)
    data, raw = quick.as_numeric_tasks(tasks, y, groups, estimator, target_type)
    target_type = target_type or target_kind(data)
    classify, rng = target_type == "class", check_random_state(random_state)
    rows, numbers, notes = quick.choose_tasks(quick.numbered(data), classify, max_tasks, rng)
    data = tuple(quick.take_rows(data[i], part) for i, part in zip(numbers, rows, strict=True))
    if raw is not None:
        notes.append("Quick learners get the rows as the transformers of the pipeline return them.")
    by_size = quick.sizes_by_tasks(data, classify)
    positions = by_size[0][1]  # the tasks of larger supports are among them
    used = [data[i] for i in positions]
    if len(used) < len(data):
        n, size = len(data) - len(used), by_size[0][0][-1]
        notes.append(f"Tasks with too few rows for a support of {size} were not compared: {n}.")
    for sizes, members in by_size[1:]:
        notes.append(f"{len(members)} tasks have enough rows for a support of {sizes[0]} or more.")
    label_sets = {tuple(np.unique(t.y).tolist()) for t in used} if classify else set()
    labels = label_sets.pop() if len(label_sets) == 1 else None  # those that all tasks have
    transformers, seed = quick.fit_views(used, rng), int(rng.randint(2**31 - 1))
    views: dict[str, Sequence[Any]] = {
        view: quick.transform_tasks(fitted, used) for view, fitted in transformers.items()
    }
    n_outputs = None if classify else int(np.prod(used[0].y.shape[1:]))
    learners, name = quick.quick_learners(labels, n_outputs=n_outputs, seed=seed), None
    if estimator is not None:
        name = type(estimator[-1] if hasattr(estimator, "steps") else estimator).__name__
        learners[name] = quick.QuickLearner("meta", "raw", estimator, f"{name}, which did best.")
        views["raw"] = used
        if raw is not None:
            views["raw"] = [quick.take_rows(raw[numbers[i]], rows[i]) for i in positions]

    def compare_on(subset: Sequence[int]) -> TaskComparison:
        members = [[k for k in subset if positions[k] in available] for _, available in by_size]
        groups = list(zip(members, [sizes for sizes, _ in by_size], strict=True))
        return quick.compare_sizes(learners, views, groups, seed=seed, verbose=verbose)

    comparison = compare_on(range(len(used)))
    strategies = {learner: one.strategy for learner, one in learners.items()}
    last = judge(comparison, strategies, by_size[-1][0][-1])
    local = False
    if labels is not None:  # does one model for all tasks predict them better than guessing?
        pooled = comparison.interval(last.best["pool"], last.size, method="t")
        local = not pooled.low > (comparison.chance or 0.0)
    params: dict[str, Any] = {} if callable(metric) else {"target_type": target_type}
    seen: Sequence[Task] = data
    if metric == "transfer":
        params["labels"] = "match" if local else "auto"
        linear = learners[last.best["meta"]].view == "axes"
        seen = quick.transform_tasks(transformers["axes" if linear else "curves"], data)
    distances = task_distances(seen, metric=metric, random_state=rng, metric_params=params or None)
    if not np.isfinite(distances).all():
        raise ValueError(f"metric={metric!r} gave distances that are not finite.")
    lengths = as_lengths(distances, metric)
    task_groups = find_groups(lengths, rng) if tasks_differ(distances) else no_groups(len(lengths))
    usual = [k for k, i in enumerate(positions) if task_groups.labels[i] >= 0]
    if len(usual) < len(used):
        comparison = compare_on(usual)
    variance = 1.0 if classify else _variance([used[k] for k in usual])
    if metric == "transfer" and not classify:
        distances = distances * (_variance(data) / variance)
    verdicts = tuple(judge(comparison, strategies, size) for size in comparison.sizes if size)
    names = [f"task {i}" if t.name is None else t.name for t, i in zip(data, numbers, strict=True)]
    report = TaskReport(
        names=tuple(map(str, names)),
        target_type=target_type,
        n_rows=np.array([len(t) for t in data]),
        n_features=int(np.prod(data[0].X.shape[1:])),
        labels=labels,
        local_labels=local,
        comparison=comparison,
        estimator_name=name,
        verdicts=verdicts,
        variance=variance,
        distances=distances,
        metric=metric if isinstance(metric, str) else getattr(metric, "__name__", "callable"),
        groups=task_groups,
        advice=advise(verdicts, learners, task_groups, local, name),
        notes=(),
    )
    return replace(report, notes=(*_notes(report, [used[k] for k in usual]), *notes))


def _target_type(estimator: Any, target_type: str | None) -> str | None:
    if target_type not in (None, "class", "real"):
        raise ValueError(f"target_type must be None, 'class' or 'real'; got {target_type!r}.")
    if estimator is None:
        return target_type
    if isinstance(estimator, type) or not hasattr(estimator, "meta_fit"):
        raise TypeError(f"analyse takes a meta-learner with meta_fit; got {estimator!r}.")
    predicts = "real" if is_regressor(estimator) else "class"
    if target_type not in (None, predicts):
        raise TypeError(f"{estimator!r} is not for targets of target_type={target_type!r}.")
    return predicts


def _variance(tasks: Sequence[Task]) -> float:
    """Variance over the rows of all tasks, the mean over outputs; 1 if they are constant."""
    y = np.concatenate([np.reshape(t.y, (len(t), -1)) for t in tasks]).astype(np.float64)
    return float(np.var(y, axis=0).mean()) or 1.0


def advise(
    verdicts: Sequence[SizeVerdict],
    learners: Mapping[str, quick.QuickLearner],
    groups: TaskGroups,
    local_labels: bool,
    estimator_name: str | None,
) -> str:
    """Return which learner to try first."""
    paying = [v for v in verdicts if v.case == "meta"]
    simple = {v.case: v.best["simple"] for v in verdicts if v.case in ("pool", "alone")}
    words = ["look at the tasks unlike all others. Then:"] if groups.labels.min() < 0 else []
    if paying:
        # the learner that does best most often; among equals the first, with the fewest rows
        best, _ = Counter(v.best["meta"] for v in paying).most_common(1)[0]
        by_labels = local_labels and best != estimator_name
        words.append(quick.FOR_LOCAL_LABELS if by_labels else learners[best].advice)
        if estimator_name not in (None, best):
            words.append(f"{estimator_name} did not do as well with its current parameters.")
        if groups.labels.max() > 0:
            words.append("Also meta-train on each large group alone (select_tasks).")
        if max(v.gain.hurt for v in paying) > 0.25:
            words.append("GuardedMetaClassifier/Regressor protect the mean, not each task.")
    else:
        words += [f"{name}, because {CASES[case]}." for case, name in simple.items()]
        if any(v.case == "unclear" for v in verdicts):
            words.append("more tasks, because chance hides whether meta-learning pays.")
        elif not simple:
            words.append("other features, more rows, or a network: analyse(tasks, network).")
    return " ".join(words)


def _notes(report: TaskReport, compared: Sequence[Task]) -> list[str]:
    notes, groups, outliers = [], report.groups, report.outliers
    if (shared := quick.shared_rows(compared)) > 0:
        notes.append(
            f"{100 * shared:.2g} % of the rows are in more than one task, with the same target: "
            "scores of learners that saw them in other tasks are too good."
        )
    if outliers:
        listed = ", ".join(outliers[:10]) + (", ..." if len(outliers) > 10 else "")
        notes.append(f"Tasks unlike all others, which do not count: {listed}.")
    if len(compared) < quick.FEW_TASKS:
        notes.append(f"Only {len(compared)} tasks: the conclusion is uncertain.")
    if report.local_labels:
        notes.append("One model for all tasks only guesses: labels seem to differ in meaning.")
    elif report.target_type == "class" and report.labels is None:
        notes.append("The tasks have different labels, so one model for all was not tried.")
    usual = np.flatnonzero(groups.labels >= 0)
    off = report.distances[np.ix_(usual, usual)][~np.eye(len(usual), dtype=bool)]
    low, median, high = np.quantile(off, [0.1, 0.5, 0.9])
    noise = "" if tasks_differ(report.distances) else ", no more than noise"
    notes.append(
        f"Distance of two tasks ({report.metric}): median {median:.2g}{noise}; 80 % of pairs lie "
        f"between {low:.2g} and {high:.2g}."
    )
    if np.isfinite(groups.p_value):
        sizes = np.bincount(groups.labels[usual]).tolist()
        words = f"{len(sizes)} groups of {sizes} tasks" if len(sizes) > 1 else "No groups of tasks"
        notes.append(f"{words} (silhouette {groups.silhouette:.2f}, p = {groups.p_value:.2g}).")
    notes.append("Each task was held out once; the best of several is a little optimistic.")
    if report.estimator_name is None:
        notes.append("A network may do better: try analyse(tasks, estimator), or compare.")
    return notes


# ---- verdicts ----------------------------------------------------------------------------------


def judge(comparison: TaskComparison, strategies: Mapping[str, str], size: int) -> SizeVerdict:
    """Decide what pays at one size of support, from the scores of learners by strategy."""
    means = {name: comparison.interval(name, size).mean for name in strategies}

    def best_of(*wanted: str) -> str:
        return max((n for n, s in strategies.items() if s in wanted), key=means.__getitem__)

    def margin(mean: float, limits: tuple[float, float]) -> float:
        # a share of an error, which is a negative score, or points of accuracy
        return -limits[0] * mean if comparison.chance is None else limits[1]

    best = {strategy: best_of(strategy) for strategy in dict.fromkeys(strategies.values())}
    best["simple"] = best_of("pool", "alone")
    gain = comparison.paired(best["meta"], best["simple"], size, method="t")
    verdict = SizeVerdict(size, "unclear", best, gain)
    better = "pool" if best["simple"] == best.get("pool") else "alone"
    if not _beats_guessing(comparison, best, size):
        floor = means[best["guess"]] if comparison.chance is None else comparison.chance
        large = means[best_of("pool", "alone", "meta")] - floor > margin(floor, LARGE)
        return verdict if large else verdict._replace(case="nothing")
    mean, simple = gain.difference.mean, means[best["simple"]]
    if _is_ahead(gain):
        pays = mean >= margin(simple, MATTERS)
        return verdict._replace(case="meta" if pays else better)
    large = mean > margin(simple, LARGE)
    return verdict if large else verdict._replace(case=better)


def _is_ahead(pair: PairedComparison, margins: float = 1.0, level: float = SIGN_LEVEL) -> bool:
    """Whether the mean is `margins` half-widths of its interval above 0, or the signs say so."""
    mean, low = pair.difference.mean, pair.difference.low
    by_signs = pair.p_sign < level and pair.wins > pair.losses
    return bool(mean - margins * (mean - low) > 0 or (mean > 0 and by_signs))


def _beats_guessing(comparison: TaskComparison, best: Mapping[str, str], size: int) -> bool:
    """Whether a learner is ahead of guessing by more than the best of several is by chance."""
    names = [best[strategy] for strategy in ("pool", "alone", "meta") if strategy in best]
    if comparison.chance is None:
        pairs = [comparison.paired(name, best["guess"], size, method="t") for name in names]
        return any(_is_ahead(pair, GUESS_MARGINS, SIGN_LEVEL / 10) for pair in pairs)
    scores = [comparison.interval(name, size, method="t") for name in names]
    return any(s.mean - GUESS_MARGINS * (s.mean - s.low) > comparison.chance for s in scores)
