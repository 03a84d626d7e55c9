"""The sentences of a report."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import Any

import numpy as np

from sklearn_meta.analysis.groups import tasks_differ
from sklearn_meta.analysis.quick_arms import GROUPS
from sklearn_meta.analysis.report_table import range_words, score_of
from sklearn_meta.analysis.size_verdict import CASES, SizeVerdict, is_ahead
from sklearn_meta.metrics import MeanInterval

__all__ = ["alike_words", "group_words", "headline", "set_words", "size_words"]

MOST_NAMED, EQUAL = 10, 1e-3  # gains below 0.1 % of the error are none
UNITS = {
    ("transfer", "real"): " of the variance of the targets",
    ("transfer", "class"): " of cross-entropy (in nats)",
}


def set_words(report: Any) -> str:
    """Say what the tasks are.

    Parameters
    ----------
    report : TaskReport
        To tell of.

    Returns
    -------
    str
        A sentence or two.
    """
    low, high = int(report.n_rows.min()), int(report.n_rows.max())
    rows = f"{low}" if low == high else f"{low} to {high}"
    kind = {"class": "classification", "real": "regression"}[report.kind]
    said = f"{len(report.names)} {kind} tasks of {rows} rows and {_many(report.n_features)}."
    if report.kind == "real":
        return said
    if report.labels is None:
        return f"{said} Their labels are not all the same, so one model for all was not tried."
    named = ", ".join(map(str, report.labels[:MOST_NAMED]))
    more = ", ..." if len(report.labels) > MOST_NAMED else ""
    return f"{said} All have the labels {named}{more}."


def headline(report: Any) -> str:
    """Answer in one sentence.

    Parameters
    ----------
    report : TaskReport
        To tell of.

    Returns
    -------
    str
        Such as ``Yes: with 2 to 10 rows meta-learning pays.``
    """
    runs, unit = _runs(report), report.comparison.unit
    parts = [
        f"with {range_words([v.size for v in run], unit)} {CASES[run[0].case]}" for run in runs
    ]
    cases = {run[0].case for run in runs}
    if "meta" in cases:
        answer = "Yes" if len(cases) == 1 else "In part"
    else:
        answer = "Not clear" if "unclear" in cases else "No"
    return f"{answer}: {'; '.join(parts)}."


def _runs(report: Any) -> list[list[SizeVerdict]]:
    """Put neighbouring sizes of the same case together."""
    return [list(run) for _, run in groupby(report.verdicts, key=lambda found: found.case)]


def size_words(report: Any) -> list[str]:
    """Say what the answer rests on, for each size of support.

    Parameters
    ----------
    report : TaskReport
        To tell of.

    Returns
    -------
    list of str
        A sentence a size.
    """
    said = []
    for run in _runs(report):
        if run[0].case == "nothing":
            where = range_words([found.size for found in run], report.comparison.unit)
            said.append(f"With {where} nothing is clearly ahead of guessing.")
        else:
            said += [_size_words(report, found) for found in run]
    return said


def _size_words(report: Any, found: SizeVerdict) -> str:
    gap, error = found.gain.difference, abs(score_of(report, found, "simple").mean)
    meta, simple = (f"'{found.best[group]}'" for group in ("meta", "simple"))
    where = f"With {range_words([found.size], report.comparison.unit)} {meta}"
    other = f"{GROUPS[found.simple]} ({simple})"
    if abs(gap.mean) < EQUAL * error:
        return f"{where} does as well as {other}."
    ahead, behind = is_ahead(found.gain), gap.high < 0
    side = "is ahead of" if gap.mean > 0 else "is behind"
    said = f"{where} {side} {other}, by {_amount(report, gap)}"
    said += ";" if ahead or behind else ", which is not clear;"
    said += f" it hurts {100 * found.gain.hurt:.0f} % of the tasks."
    if ahead and gap.low <= 0:
        said += (
            f" The interval of the mean hangs on few tasks: it wins on {found.gain.wins} and loses "
            f"on {found.gain.losses} (sign test, p = {found.gain.p_sign:.1g})."
        )
    if ahead and found.case == "unclear":
        return f"{said} But nothing is clearly ahead of guessing."
    return f"{said} That is too little to matter." if ahead and found.case != "meta" else said


def alike_words(report: Any) -> list[str]:
    """Say how alike the tasks are.

    Parameters
    ----------
    report : TaskReport
        To tell of.

    Returns
    -------
    list of str
        Sentences.
    """
    last, said = report.verdicts[-1], []
    if report.local_labels:
        said.append(
            "All have the same labels, but one model for all predicts no better than guessing: "
            "these are taken for labels of each task's own."
        )
    elif last.case in ("meta", "pool", "alone") and "pool" in last.best:
        mean = {group: score_of(report, last, group).mean for group in ("guess", *last.best)}
        top = max(mean[group] for group in ("pool", "alone", "meta"))
        share = (mean["pool"] - mean["guess"]) / (top - mean["guess"])
        share = min(max(share, 0.0), 1.0) if top > mean["guess"] else 0.0
        of = range_words([last.size], report.comparison.unit)
        said.append(
            f"One model for all tasks predicts {100 * share:.0f} % of what can be predicted from "
            f"{of} of a task; the rest is the task's own."
        )
    usual = np.flatnonzero(report.groups.labels >= 0)
    off = report.distances[np.ix_(usual, usual)][~np.eye(len(usual), dtype=bool)]
    low, middle, high = np.quantile(off, [0.1, 0.5, 0.9])
    unit = UNITS.get((report.metric, report.kind), "")
    if report.metric == "transfer" and not tasks_differ(report.distances):
        said.append(
            f"On the rows of another task, the model of a task does as well as that task's own, up "
            f"to noise (from {low:.2g} to {high:.2g}{unit}, for eight pairs in ten)."
        )
    elif report.metric == "transfer":
        said.append(
            f"On the rows of another task, the model of a task does worse than that task's own by "
            f"{middle:.2g}{unit}, the median of all pairs (eight in ten: from {low:.2g} to "
            f"{high:.2g})."
        )
    else:
        said.append(
            f"The distance of two tasks ({report.metric}) is {middle:.2g}, the median of all pairs "
            f"(eight in ten: from {low:.2g} to {high:.2g})."
        )
    return said


def group_words(report: Any) -> list[str]:
    """Say which groups there are, and which tasks are unlike all others.

    Parameters
    ----------
    report : TaskReport
        To tell of.

    Returns
    -------
    list of str
        Sentences.
    """
    groups, said = report.groups, []
    sizes = [n for label, n in sorted(Counter(groups.labels.tolist()).items()) if label >= 0]
    held = (
        f"silhouette {groups.silhouette:.2f}, which {100 * groups.p_value:.3g} % of sets without "
        "groups reach"
    )
    if not tasks_differ(report.distances):
        return ["The tasks are not told apart by more than noise, so there are none to be seen."]
    if np.isnan(groups.p_value):
        said.append("There are too few tasks to look for groups.")
    elif len(sizes) > 1:
        listed = ", ".join(map(str, sizes[:-1])) + f" and {sizes[-1]}"
        said.append(f"There are {len(sizes)} groups, of {listed} tasks ({held}).")
    else:
        said.append(f"There are no groups ({held}).")
    if strange := report.outliers:
        more = ", ..." if len(strange) > MOST_NAMED else ""
        said.append(f"Unlike all others: {', '.join(strange[:MOST_NAMED])}{more}.")
    else:
        said.append("No task is unlike all others.")
    return said


def _amount(report: Any, gap: MeanInterval) -> str:
    what = "of the variance" if report.kind == "real" else "of accuracy"
    half = (gap.high - gap.low) / 2
    return f"{abs(gap.mean) / report.variance:.2g} ± {half / report.variance:.2g} {what}"


def _many(n_features: int) -> str:
    return f"{n_features} feature" + ("s" if n_features != 1 else "")
