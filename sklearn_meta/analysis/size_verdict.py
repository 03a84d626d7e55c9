"""Pool, learn alone, or learn across tasks: judged at one size of support."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sklearn_meta.metrics import PairedComparison

__all__ = ["CASES", "SizeVerdict", "is_ahead", "judge"]

CASES = {
    "meta": "meta-learning pays",
    "pool": "one model for all tasks is enough",
    "alone": "learning each task alone is enough",
    "nothing": "nothing is learned",
    "unclear": "it cannot be told from these tasks",
}
SHARE, POINTS = 0.01, 0.01  # gains below 1 % of the error, or 0.01 of accuracy, do not matter
LARGE_SHARE, LARGE_POINTS = 0.1, 0.05  # those above these would, if there were tasks to show them
# half-widths of the 95 % interval by which guessing must be beaten: the best of six arms is ahead
# by chance, and one pooled model judges a whole fold (over coins, errors vary 1.4 times as much)
MANY = 2.0
SURE = 0.01  # of the sign test, where a few tasks of large errors hide the mean


class SizeVerdict(NamedTuple):
    """What pays with a size of support.

    Attributes
    ----------
    size : int
        Rows, or rows of each class.
    case : {"meta", "pool", "alone", "nothing", "unclear"}
        "nothing" if no arm is ahead of guessing; "meta" if the best arm that learns across tasks is
        ahead of the best simple one, and by more than 1 % of its error (0.01 of accuracy); else the
        better simple arm. Ahead is whose mean is, by the 95 % interval or, where few tasks have
        most of the error, by a sign test over tasks (p < 0.01). "unclear" in place of a no where
        the mean is ahead by 10 % of the error (0.05 of accuracy) and the tasks are too few to
        show it.
    best : dict of str to str
        The best arm of each group.
    gain : PairedComparison
        Of learning across tasks over the best simple arm, task by task, in the score's units.
    """

    size: int
    case: str
    best: Mapping[str, str]
    gain: PairedComparison

    @property
    def simple(self) -> str:
        """Group of the best simple arm: "pool" or "alone"."""
        return "pool" if self.best.get("simple") == self.best.get("pool") else "alone"


def judge(comparison: Any, groups: Mapping[str, str], size: int) -> SizeVerdict:
    """Judge a comparison at one size.

    Parameters
    ----------
    comparison : TaskComparison
        All scores.
    groups : dict of str to str
        Group of each arm: "guess", "pool", "alone" or "meta".
    size : int
        One of its sizes.

    Returns
    -------
    SizeVerdict
        The case, and what it rests on.
    """
    means = {name: comparison.interval(name, size).mean for name in groups}

    def best_of(*wanted: str) -> str:
        return max((n for n, group in groups.items() if group in wanted), key=means.__getitem__)

    best = {group: best_of(group) for group in dict.fromkeys(groups.values())}
    best["simple"] = best_of("pool", "alone")
    gain = comparison.paired(best["meta"], best["simple"], size, method="t")
    verdict = SizeVerdict(size, "unclear", best, gain)
    floor = means[best["guess"]] if comparison.chance is None else comparison.chance
    top = means[best_of("pool", "alone", "meta")]
    if not _learned(comparison, best, size):
        large = top - floor > _margin(comparison, floor, LARGE_SHARE, LARGE_POINTS)
        return verdict if large else verdict._replace(case="nothing")
    mean, simple = gain.difference.mean, means[best["simple"]]
    if is_ahead(gain):
        pays = mean >= _margin(comparison, simple, SHARE, POINTS)
        return verdict._replace(case="meta" if pays else verdict.simple)
    large = mean > _margin(comparison, simple, LARGE_SHARE, LARGE_POINTS)
    return verdict if large else verdict._replace(case=verdict.simple)


def is_ahead(pair: PairedComparison, margins: float = 1.0, level: float = SURE) -> bool:
    """Whether the first of two arms is ahead of the second.

    Parameters
    ----------
    pair : PairedComparison
        Of their scores, task by task.
    margins : float, default=1.0
        How many half-widths of the 95 % interval the mean difference must be above 0.
    level : float, default=0.01
        Of the sign test, which counts too if the mean difference is positive.

    Returns
    -------
    bool
        By the mean, or by the signs.
    """
    mean, low = pair.difference.mean, pair.difference.low
    by_signs = pair.p_sign < level and pair.wins > pair.losses
    return bool(mean - margins * (mean - low) > 0 or (mean > 0 and by_signs))


def _margin(comparison: Any, mean: float, share: float, points: float) -> float:
    """Give a share of an error, which is a negative score, or points of accuracy."""
    return -share * mean if comparison.chance is None else points


def _learned(comparison: Any, best: Mapping[str, str], size: int) -> bool:
    """Whether one of the arms is ahead of guessing, by more than the best of many is by chance."""
    arms = [best[group] for group in ("pool", "alone", "meta") if group in best]
    if comparison.chance is None:
        over = [comparison.paired(arm, best["guess"], size, method="t") for arm in arms]
        return any(is_ahead(pair, MANY, SURE / 10) for pair in over)
    found = [comparison.interval(arm, size, method="t") for arm in arms]
    return any(own.mean - MANY * (own.mean - own.low) > comparison.chance for own in found)
