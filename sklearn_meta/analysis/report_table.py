"""The scores of a report as a table: the best of each kind of learning, by size of support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn_meta.analysis.quick_arms import GROUPS
from sklearn_meta.analysis.size_verdict import SizeVerdict
from sklearn_meta.metrics import MeanInterval
from sklearn_meta.model_selection.result import size_in_words

__all__ = [
    "columns",
    "range_words",
    "row_words",
    "score_of",
    "score_words",
    "table_of_groups",
]


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
    kinds = columns(report)
    heads = [report.comparison.unit.replace("row", "rows", 1), *kinds.values()]
    lines = [[str(found.size), *row_words(report, found)] for found in report.verdicts]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    rows = [
        "  ".join(text.rjust(w) for text, w in zip(line, widths, strict=True)).rstrip()
        for line in (heads, *lines)
    ]
    return "\n".join([f"{score_words(report)}:", *rows])


def columns(report: Any) -> Mapping[str, str]:
    """Give the kinds of learning that have scores, and the user's own estimator.

    Parameters
    ----------
    report : TaskReport
        To tell of.

    Returns
    -------
    dict of str to str
        Heads, by key of :func:`score_of`.
    """
    known = {"guess", *report.verdicts[0].best}
    heads = {kind: words for kind, words in GROUPS.items() if kind in known}
    return heads | ({} if report.given is None else {"given": report.given})


def score_of(report: Any, found: SizeVerdict, kind: str) -> MeanInterval:
    """Give the score of the best arm of a kind.

    Parameters
    ----------
    report : TaskReport
        To tell of.
    found : SizeVerdict
        At which size.
    kind : str
        Group of arms; "given" is the user's estimator.

    Returns
    -------
    MeanInterval
        Mean over tasks.
    """
    chance = report.comparison.chance
    if kind == "guess" and chance is not None:
        return MeanInterval(chance, chance, chance, len(report.names), 0.95)
    name = report.given if kind == "given" else found.best[kind]
    score: MeanInterval = report.comparison.interval(name, found.size)
    return score


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
        return "accuracy (the mean over classes) of the best of each kind (* the best of all)"
    return (
        "squared error of the best of each kind (* the best of all), as a share of the variance of "
        "the targets"
    )


def row_words(report: Any, found: SizeVerdict) -> list[str]:
    """Give the scores of the best arms at one size.

    Parameters
    ----------
    report : TaskReport
        To tell of.
    found : SizeVerdict
        At which size.

    Returns
    -------
    list of str
        Means over tasks in the order of :func:`columns`, with a star where none is better.
    """
    means = [score_of(report, found, kind).mean for kind in columns(report)]
    unit = 1.0 if report.kind == "class" else -report.variance  # an error is a negative score
    return [f"{0.0 + m / unit:.3g}{'*' if m == max(means) else ' '}" for m in means]


def range_words(sizes: Sequence[int], unit: str) -> str:
    """Spell sizes of support.

    Parameters
    ----------
    sizes : sequence of int
        Growing.
    unit : str
        "row" or "row a class".

    Returns
    -------
    str
        Such as ``2 to 5 rows``.
    """
    first, last = sizes[0], sizes[-1]
    said = size_in_words(last, unit)
    return said if first == last else f"{first} to {said}"
