"""The sentences of a report."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from sklearn_meta.analysis.groups import told_apart
from sklearn_meta.analysis.quick_arms import GROUPS
from sklearn_meta.analysis.size_verdict import CASES, SizeVerdict, is_ahead
from sklearn_meta.metrics import MeanInterval

__all__ = [
    "alike_words",
    "cell_words",
    "group_words",
    "headline",
    "score_words",
    "set_words",
    "size_words",
    "table_of_groups",
]

MOST_NAMED = 10
UNITS = {
    ("transfer", "real"): " of the variance of the targets",
    ("transfer", "class"): " nats a row",
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
        return f"{said} Their labels differ, so no model can serve all of them."
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
        Such as ``Yes, with 2 to 10 rows; with 20 rows learning each task alone is enough.``
    """
    runs: list[tuple[str, list[int]]] = []
    for found in report.verdicts:
        if runs and runs[-1][0] == found.case:
            runs[-1][1].append(found.size)
        else:
            runs.append((found.case, [found.size]))
    cases = [case for case, _ in runs]
    parts = [f"with {_range(sizes, report.comparison.unit)} {CASES[case]}" for case, sizes in runs]
    if "meta" not in cases:
        return f"No: {'; '.join(parts)}."
    return f"{'Yes' if cases == ['meta'] else 'In part'}: {'; '.join(parts)}."


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
    return [_size_words(report, found) for found in report.verdicts]


def _size_words(report: Any, found: SizeVerdict) -> str:
    where = f"With {_range([found.size], report.comparison.unit)}"
    if found.case == "nothing":
        return f"{where} no arm is clearly ahead of guessing."
    gap, percent = found.gain.difference, 100 * found.gain.hurt
    meta, simple = (f"'{found.best[group]}'" for group in ("meta", "simple"))
    kind = GROUPS[found.simple]
    ahead = is_ahead(found.gain)
    side = "is ahead of" if ahead else "is behind" if gap.high < 0 else "is not clearly apart from"
    said = (
        f"{where} {meta} {side} {kind} ({simple}), by {_amount(report, gap)}; it hurts "
        f"{percent:.0f} % of the tasks."
    )
    if ahead and gap.low <= 0:
        return (
            f"{said} It wins on {found.gain.wins} and loses on {found.gain.losses} (sign test, "
            f"p = {found.gain.p_sign:.1g}); the interval of the mean hangs on few."
        )
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
    elif last.case != "nothing" and "pool" in last.best:
        mean = {g: report.comparison.interval(last.best[g], last.size).mean for g in last.best}
        floor = report.comparison.chance if report.kind == "class" else mean["guess"]
        top = max(mean[g] for g in ("pool", "alone", "meta"))
        share = min(max((mean["pool"] - floor) / (top - floor), 0.0), 1.0)
        of = _range([last.size], report.comparison.unit)
        said.append(
            f"One model for all tasks predicts {100 * share:.0f} % of what can be predicted from "
            f"{of} of a task; the rest is the task's own."
        )
    off = report.distances[~np.eye(len(report.names), dtype=bool)]
    low, middle, high = np.quantile(off, [0.1, 0.5, 0.9])
    unit = UNITS.get((report.metric, report.kind), "")
    if report.metric == "transfer" and not told_apart(report.distances):
        said.append(
            f"On the rows of another task, the model of a task does as well as that task's own, up "
            f"to noise ({low:.2g} to {high:.2g}{unit} for eight pairs in ten)."
        )
    elif report.metric == "transfer":
        said.append(
            f"On the rows of another task, the model of a task does worse than that task's own by "
            f"{middle:.2g}{unit} in the middle ({low:.2g} to {high:.2g} for eight pairs in ten)."
        )
    else:
        said.append(
            f"The {report.metric} distance of two tasks is {middle:.2g} in the middle ({low:.2g} "
            f"to {high:.2g} for eight pairs in ten)."
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
    held = f"silhouette {groups.silhouette:.2f}, p = {groups.p_value:.2g}"
    if not told_apart(report.distances):
        return ["The tasks are not told apart by more than noise, so there are none to be seen."]
    if np.isnan(groups.p_value):
        said.append("There are too few tasks to look for groups.")
    elif len(sizes) > 1:
        listed = ", ".join(map(str, sizes[:-1])) + f" and {sizes[-1]}"
        said.append(f"There are {len(sizes)} groups, of {listed} tasks ({held}).")
    else:
        said.append(f"There are no groups that are told from one ({held}).")
    if strange := report.outliers:
        more = ", ..." if len(strange) > MOST_NAMED else ""
        said.append(f"Unlike all others: {', '.join(strange[:MOST_NAMED])}{more}.")
    else:
        said.append("No task is unlike all others.")
    return said


def table_of_groups(report: Any) -> str:
    """Give the scores of the best arm of each kind as a table.

    Parameters
    ----------
    report : TaskReport
        To tell of.

    Returns
    -------
    str
        A line a size of support.
    """
    kinds = [kind for kind in GROUPS if kind in report.verdicts[0].best]
    unit = report.comparison.unit.replace("row", "rows", 1)
    heads = [unit, *(GROUPS[kind] for kind in kinds)]
    lines = [
        [str(v.size), *(cell_words(report, v, kind) for kind in kinds)] for v in report.verdicts
    ]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    rows = [
        "  ".join(text.rjust(w) for text, w in zip(line, widths, strict=True))
        for line in (heads, *lines)
    ]
    return "\n".join([f"{score_words(report)}:", *rows])


def score_words(report: Any) -> str:
    """Say what the numbers in the table are.

    Parameters
    ----------
    report : TaskReport
        To tell of.

    Returns
    -------
    str
        A caption.
    """
    if report.kind == "class":
        return "accuracy of the best of each kind (* the best of all)"
    return (
        "squared error of the best of each kind (* the best of all), as a share of the variance of "
        "the targets"
    )


def cell_words(report: Any, found: SizeVerdict, kind: str) -> str:
    """Give the score of the best arm of a kind.

    Parameters
    ----------
    report : TaskReport
        To tell of.
    found : SizeVerdict
        At which size.
    kind : str
        Group of arms.

    Returns
    -------
    str
        A mean over tasks, with a star if no kind has a better one.
    """
    means = {k: report.comparison.interval(found.best[k], found.size).mean for k in found.best}
    star = "*" if means[kind] == max(means.values()) else " "
    value = means[kind] if report.kind == "class" else -means[kind] / report.variance
    return f"{value:.3g}{star}"


def _amount(report: Any, gap: MeanInterval) -> str:
    unit = report.variance if report.kind == "real" else 1.0
    what = "of the variance" if report.kind == "real" else "of accuracy"
    half = (gap.high - gap.low) / 2
    return f"{abs(gap.mean) / unit:.2g} ± {half / unit:.1g} {what}"


def _range(sizes: list[int], unit: str) -> str:
    first, last = sizes[0], sizes[-1]
    many = unit.replace("row", "rows", 1)
    if first == last:
        return f"{first} {unit if first == 1 else many}"
    return f"{first} to {last} {many}"


def _many(n_features: int) -> str:
    return f"{n_features} feature" + ("s" if n_features != 1 else "")
