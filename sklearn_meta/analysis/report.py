"""The report of `analyse`: verdicts, a table, and a page in HTML with pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.analysis._displays import TaskDistanceDisplay, TaskMapDisplay
from sklearn_meta.analysis.groups import TaskGroups, as_lengths, tasks_differ
from sklearn_meta.analysis.learners import Recommendations
from sklearn_meta.metrics import MeanInterval, PairedComparison
from sklearn_meta.model_selection import ComparisonDisplay, TaskComparison
from sklearn_meta.model_selection.result import size_in_words

__all__ = ["CASES", "SizeVerdict", "TaskReport", "judge", "judged_learners"]

KINDS = ("dummy", "pooled", "per-task", "meta")  # of learners, as in `compare`
CASES = {
    "meta": "meta-learning pays",
    "pooled": "one model for all tasks is enough",
    "per-task": "one model per task is enough",
    "nothing": "nothing is learned",
    "unclear": "these tasks do not show what is best",
}
MATTERS = 0.01, 0.01  # smaller gains, as a share of the error or in accuracy, do not matter
LARGE = 0.1, 0.05  # larger ones would matter, if there were enough tasks to show them
# half-widths of the 95 % interval by which the dummy must be beaten: the best of six learners is
# ahead by chance, and one pooled model decides a whole fold (on coins, errors vary 1.4 times more)
DUMMY_MARGINS = 2.0
SIGN_LEVEL = 0.01  # of the sign test, where large errors on a few tasks hide the mean


class SizeVerdict(NamedTuple):
    """What pays with a size of support.

    Attributes
    ----------
    size : int
        Rows, or rows of each class.
    case : {"meta", "pooled", "per-task", "nothing", "unclear"}
        "nothing" if no learner is ahead of predicting without inputs; "meta" if the best learner
        across tasks is ahead of the best simple one, and by more than 1 % of its error (0.01 of
        accuracy); else the kind of the best simple one. Ahead means by the 95 % interval of the
        mean or, where few tasks have most of the error, by a sign test over tasks (p < 0.01).
        "unclear" replaces a no where the mean is ahead by 10 % of the error (0.05 of accuracy) and
        there are too few tasks to show it.
    best : dict of str to str
        The best learner of each kind ("dummy", "pooled", "per-task", "meta"), and "simple", the
        best of the pooled and per-task ones.
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
        Whether one model for all tasks predicts shared labels no better than chance.
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
    learners : Recommendations
        Learners to try, in order, each a :class:`Recommendation`.
    notes : tuple of str
        Reasons to doubt the verdict, how similar the tasks are, and what was left out.
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
    learners: Recommendations
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
    def advice(self) -> str:
        """What to try first, and what else to do."""
        first, *others = self.learners
        cases = [verdict.case for verdict in self.verdicts]
        steps = ["look at the tasks unlike all others. Then:"] if self.outliers else []
        if set(cases) == {"nothing"}:
            steps.append("other features, more rows, or a network.")
        else:
            alone = "" if hasattr(first.estimator, "meta_fit") else " on each task alone"
            steps.append(f"{first.code.removesuffix('()')}{alone}.")
        if others:
            steps.append(f"Then {', '.join(learner.name for learner in others)}.")
        if self.pays:
            if self.estimator_name not in (None, first.name):
                steps.append(
                    f"{self.estimator_name} did not do as well with its current parameters."
                )
            if self.groups.labels.max() > 0:
                steps.append("Also meta-train on each large group alone (select_tasks).")
            if max(v.gain.hurt for v in self.verdicts if v.case == "meta") > 0.25:
                steps.append("GuardedMetaClassifier/Regressor protect the mean, not each task.")
        elif "unclear" in cases:
            steps.append("Get more tasks, because chance hides whether meta-learning pays.")
        return " ".join(steps)

    @property
    def verdict(self) -> str:
        """Three lines: the answer, the largest gain, and what to try first."""
        return f"{self._answer()}\n{self._evidence()}\nTry first: {self.advice}"

    def intervals(self) -> dict[str, list[MeanInterval]]:
        """Compute mean scores over tasks of the best learner of each kind.

        Returns
        -------
        dict of str to list of MeanInterval
            By column of the table, one for each size. Errors are negative, in units of `variance`.
        """
        available = {"dummy", *self.verdicts[0].best}
        columns = [kind for kind in KINDS if kind in available]
        columns += [self.estimator_name] if self.estimator_name else []
        return {column: [self._score(v, column) for v in self.verdicts] for column in columns}

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
            best = max(score.mean for score in scores if np.isfinite(score.mean))
            cells = [
                f"{0.0 + sign * s.mean:.3g}{'*' if s.mean == best else ' '}"
                if np.isfinite(s.mean)
                else "- "
                for s in scores
            ]
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
            What the table shows.
        """
        error = "squared error (as a share of the variance of the targets)"
        return (
            f"Mean {'balanced accuracy' if self.target_type == 'class' else error} on held-out "
            "tasks, of the best learner of each kind: dummy (predicts without inputs), pooled (one "
            "model for all tasks), per-task (one model per task), meta (learns across tasks). * "
            "marks the best. Then the gain of meta over the better of pooled and per-task, with "
            "its 95 % interval, and the share of the tasks that meta makes worse."
        )

    def __str__(self) -> str:
        lines = self.table()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = ["  ".join(map(str.rjust, line, widths)).rstrip() for line in lines]
        notes = [f"- {note}" for note in self.notes]
        parts = [f"{self.title()}.", "", self.verdict, "", self.caption(), *rows]
        parts += ["", "Learners to try, in this order:", str(self.learners), "", *notes]
        return "\n".join(parts)

    def __repr__(self) -> str:
        return f"TaskReport({len(self.names)} tasks: {self._answer()})"

    def _repr_html_(self) -> str:
        return _section(self)

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
        text = _page(self)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def _score(self, verdict: SizeVerdict, column: str) -> MeanInterval:
        chance = self.comparison.chance
        if column == "dummy" and chance is not None:
            return MeanInterval(chance, chance, chance, len(self.names), 0.95)
        name = column if column == self.estimator_name else verdict.best[column]
        score = self.comparison.interval(name, verdict.size)
        mean, low, high = (end / self.variance for end in score[:3])
        return score._replace(mean=mean, low=low, high=high)

    def _gain(self, verdict: SizeVerdict) -> str:
        mean, low, high = (end / self.variance for end in verdict.gain.difference[:3])
        return f"{mean:.2g} [{low:.2g}, {high:.2g}]"

    def _support(self, *sizes: int) -> str:
        last = size_in_words(sizes[-1], self.comparison.unit)
        return last if sizes[0] == sizes[-1] else f"{sizes[0]} to {last}"

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
            return "No learner is clearly ahead of predicting without inputs."
        verdict = max(learned, key=lambda v: v.gain.difference.mean)
        gain, units = verdict.gain, "accuracy" if self.target_type == "class" else "the variance"
        doubt = "" if _is_ahead(gain) or gain.difference.high < 0 else ", which is within the noise"
        if _is_ahead(gain) and gain.difference.low <= 0:
            doubt = f", by a sign test over tasks ({gain.wins} wins, {gain.losses} losses)"
        return (
            f"With {self._support(verdict.size)}, the gain of {verdict.best['meta']} over "
            f"{verdict.best['simple']} is {self._gain(verdict)} of {units}{doubt}."
        )


# ---- verdicts ----------------------------------------------------------------------------------


def judge(comparison: TaskComparison, size: int) -> SizeVerdict:
    """Decide what pays at one size of support, from the scores of learners by their kind."""
    kinds = {name: comparison.kinds[name] for name in judged_learners(comparison, size)}
    means = {name: comparison.interval(name, size).mean for name in kinds}

    def best_of(*wanted: str) -> str:
        return max((name for name, kind in kinds.items() if kind in wanted), key=means.__getitem__)

    def margin(mean: float, limits: tuple[float, float]) -> float:
        # a share of an error, which is a negative score, or points of accuracy
        return -limits[0] * mean if comparison.chance is None else limits[1]

    best = {kind: best_of(kind) for kind in dict.fromkeys(kinds.values())}
    best["simple"] = best_of("pooled", "per-task")
    gain = comparison.paired(best["meta"], best["simple"], size, method="t")
    verdict = SizeVerdict(size, "unclear", best, gain)
    better = kinds[best["simple"]]
    if not _beats_dummy(comparison, best, size):
        floor = means[best["dummy"]] if comparison.chance is None else comparison.chance
        large = means[best_of("pooled", "per-task", "meta")] - floor > margin(floor, LARGE)
        return verdict if large else verdict._replace(case="nothing")
    mean, simple = gain.difference.mean, means[best["simple"]]
    if _is_ahead(gain):
        pays = mean >= margin(simple, MATTERS)
        return verdict._replace(case="meta" if pays else better)
    large = mean > margin(simple, LARGE)
    return verdict if large else verdict._replace(case=better)


def judged_learners(comparison: TaskComparison, size: int) -> list[str]:
    """Return the learners with a score on more than half of the tasks: any two share a task.

    Logistic regression has none where the support has one class.
    """
    return [
        name for name in comparison.kinds if np.isfinite(comparison.scores(name, size)).mean() > 0.5
    ]


def _is_ahead(pair: PairedComparison, margins: float = 1.0, level: float = SIGN_LEVEL) -> bool:
    """Whether the mean is `margins` half-widths of its interval above 0, or the signs say so."""
    mean, low = pair.difference.mean, pair.difference.low
    by_signs = pair.p_sign < level and pair.wins > pair.losses
    return bool(mean - margins * (mean - low) > 0 or (mean > 0 and by_signs))


def _beats_dummy(comparison: TaskComparison, best: Mapping[str, str], size: int) -> bool:
    """Whether a learner is ahead of the dummy by more than the best of several is by chance."""
    names = [best[kind] for kind in KINDS[1:] if kind in best]
    if comparison.chance is None:
        pairs = [comparison.paired(name, best["dummy"], size, method="t") for name in names]
        return any(_is_ahead(pair, DUMMY_MARGINS, SIGN_LEVEL / 10) for pair in pairs)
    scores = [comparison.interval(name, size, method="t") for name in names]
    return any(s.mean - DUMMY_MARGINS * (s.mean - s.low) > comparison.chance for s in scores)


# ---- the page in HTML ------------------------------------------------------------------------

STYLE = """
.report { max-width: 52rem; padding: 1rem; background: #fff; color: #1a1a1a; color-scheme: light;
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
.report .answer { font-size: 1.2rem; font-weight: 600; }
.report .wide { overflow-x: auto; overflow-wrap: normal; }
.report caption, .report figcaption { caption-side: bottom; text-align: left; color: #555; }
.report th, .report td { padding: 0.25rem 0.7rem; text-align: right; }
.report td.best { font-weight: 700; background: #e6f1f8; }
.report img { max-width: 100%; height: auto; }
""".replace(".report", ".sklearn-meta-report")
MAX_NAME_LENGTH = 24  # of a task in the heat map


def _page(report: TaskReport) -> str:
    """Return a page that needs no other file."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title())}</title></head>\n<body>\n{_section(report)}\n</body></html>\n"
    )


def _section(report: TaskReport) -> str:
    """Return the part of the page that a notebook shows."""
    answer, *rest = map(escape, report.verdict.splitlines())
    parts = [f"<h2>{escape(report.title())}</h2>", f'<p class="answer">{answer}</p>']
    parts += [*(f"<p>{line}</p>" for line in rest), _table(report), _learners(report)]
    parts += _figures(report)
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    inside = "\n".join([*parts, f"<h2>Notes</h2><ul>{notes}</ul>"])
    return f'<style>{STYLE}</style>\n<div class="sklearn-meta-report">\n{inside}\n</div>'


def _table(report: TaskReport) -> str:
    heads, *lines = report.table()
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{''.join(map(_cell, line))}</tr>" for line in lines)
    caption = f"<caption>{escape(report.caption())}</caption>"
    return f'<div class="wide"><table>{caption}<tr>{head}</tr>{body}</table></div>'


def _cell(text: str) -> str:
    mark = ' class="best"' if text.endswith("*") else ""
    return f"<td{mark}>{escape(text.strip())}</td>"


def _learners(report: TaskReport) -> str:
    items = "".join(
        f"<li><strong>{escape(learner.name)}</strong>: {escape(learner.reason)} "
        f"<code>{escape(learner.code)}</code></li>"
        for learner in report.learners
    )
    return f"<h2>Learners to try, in this order</h2><ol>{items}</ol>"


def _figures(report: TaskReport) -> list[str]:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return ["<p>For pictures: pip install matplotlib</p>"]
    figures = []
    for caption, display in _displays(report).items():
        figure, stream = Figure(figsize=(7.0, 4.4), layout="constrained"), io.BytesIO()
        display.plot(ax=figure.subplots())
        with rc_context({"svg.hashsalt": caption}):  # the same report, the same page
            figure.savefig(stream, format="svg", metadata={"Date": None})
        data = base64.b64encode(stream.getvalue()).decode("ascii")
        image = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(caption)}">'
        figures.append(f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>")
    return figures


def _displays(report: TaskReport) -> dict[str, Any]:
    scores = ComparisonDisplay(
        report.intervals(),
        sizes=[verdict.size for verdict in report.verdicts],
        metric="accuracy" if report.target_type == "class" else "neg_squared_error_/_variance",
        unit=report.comparison.unit,
    )
    displays: dict[str, Any] = {"Scores, with 95 % intervals over tasks.": scores}
    if tasks_differ(report.distances):
        labels = report.groups.labels
        usual = np.flatnonzero(labels >= 0)
        names = [report.names[i] for i in usual]
        readable = all(n.isascii() and n.isprintable() for n in names)
        short = max(map(len, names)) <= MAX_NAME_LENGTH
        displays["Distances from row to column, without outliers."] = TaskDistanceDisplay(
            distances=report.distances[np.ix_(usual, usual)],
            names=names if readable and short else usual.astype(str).tolist(),
            metric_name=f"distance ({report.metric})",
        )
        clusters = ["unlike all others" if k < 0 else f"group {k + 1}" for k in labels]
        displays["Tasks as points, as far apart as a plane can show."] = TaskMapDisplay(
            distances=as_lengths(report.distances, report.metric),
            clusters=clusters if len(set(clusters)) > 1 else None,
        )
    return displays
