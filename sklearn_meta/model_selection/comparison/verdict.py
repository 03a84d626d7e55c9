"""Does meta-learning pay here? In words, from paired differences over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sklearn_meta.metrics import ROUNDING, MeanInterval

__all__ = ["say", "size_in_words"]

HEADLINES = {
    "pays": "meta-learning pays",
    "loses": "meta-learning does not pay",
    "pooled": "pooling is enough, one model for all tasks",
    "tie": "no clear difference, the simpler arm will do",
    "hierarchical": "a linear hierarchical model is enough",
    "fine-tune": "fine-tuning is enough",
    "chance": "nothing is learned",
    "none": "no meta-learner was compared",
    "alone": "no simple arm was compared",
}
BASELINES = {
    "per-task": "the network from scratch",
    "pooled": "the pooled network",
    "fine-tune": "the fine-tuned network",
    "hierarchical": "the linear hierarchical model",
    "guess": "guessing",
}
SIMPLE, LEARNED = ("per-task", "pooled"), ("fine-tune", "hierarchical")


class _Finding(NamedTuple):
    case: str
    where: str  # "with 5 rows"
    words: str


def say(comparison: Any) -> str:
    """Put a comparison into words.

    Parameters
    ----------
    comparison : TaskComparison
        All scores.

    Returns
    -------
    str
        One sentence where there is one size of support; else a headline, and a line a size.
    """
    found = [_at(comparison, size) for size in comparison.sizes]
    cases = list(dict.fromkeys(finding.case for finding in found))
    if len(found) == 1:
        return f"{_capital(HEADLINES[cases[0]])}: {found[0].where} {found[0].words}"
    headline = _capital(HEADLINES[cases[0]]) + "."
    if len(cases) > 1:
        parts = [
            " and ".join(f.where for f in found if f.case == case) + f" {HEADLINES[case]}"
            for case in cases
        ]
        headline = f"It depends on the support: {'; '.join(parts)}."
    return "\n".join([headline, *(f"{_capital(f.where)} {f.words}" for f in found)])


def size_in_words(size: int | None, unit: str) -> str:
    """Spell a size of support.

    Parameters
    ----------
    size : int or None
        None: as the tasks fix it.
    unit : str
        "row" or "row a class".

    Returns
    -------
    str
        Such as ``5 rows a class``.
    """
    if size is None:
        return "the support fixed"
    return f"{size} {unit if size == 1 else unit.replace('row', 'rows', 1)}"


def _at(c: Any, size: int | None) -> _Finding:
    """Judge one size of support."""
    where = f"with {size_in_words(size, c.unit)}"
    means = {name: c.interval(name, size).mean for name in c.kinds}
    means = {name: mean for name, mean in means.items() if np.isfinite(mean)}
    guesses = [name for name in means if c.kinds[name] == "guess"]
    ranked = sorted(means.keys() - guesses, key=lambda name: -means[name])
    meta, simple, learned = (
        [name for name in ranked if c.kinds[name] in kinds]
        for kinds in (("meta",), SIMPLE, LEARNED)
    )
    if not ranked:
        return _Finding("chance", where, "no arm has a score.")
    top = c.interval(ranked[0], size)
    best = f"the best, {_called(c, ranked[0])}, has {top}"
    if c.chance is not None and top.low <= c.chance + ROUNDING:
        return _Finding(
            "chance", where, f"no arm is clearly above guessing ({c.chance:.3g}): {best}."
        )
    for guess in guesses:
        if c.paired(ranked[0], guess, size).difference.low <= 0:
            above = f"no arm is clearly above guessing without any input ({means[guess]:.3g})"
            return _Finding("chance", where, f"{above}: {best}.")
    if not meta:
        return _Finding("none", where, f"{best}.")
    if not simple:
        return _Finding("alone", where, f"{best}.")
    a = _called(c, meta[0]) + (f" (the best of {len(meta)})" if len(meta) > 1 else "")
    of = f"the best of {len(simple)} simple arms" if len(simple) > 1 else "the simple arm"
    b = f"{of} ({_called(c, simple[0])})"
    pair = c.paired(meta[0], simple[0], size)
    gap, hurt = pair.difference, f"it hurts on {100 * pair.hurt:.0f} % of the tasks"
    words = f"{a} {_relation(gap, b, c.metric)}; {hurt}."
    if gap.low > 0:
        return _beyond_simple(c, size, where, meta[0], learned, words)
    lost = gap.high < 0
    if not lost and pair.p_sign < 0.05:
        words += (
            f" It wins on {pair.wins} tasks and loses on {pair.losses} (sign test, "
            f"p = {pair.p_sign:.1g}): the mean hangs on few."
        )
    if learned and (extra := c.paired(learned[0], simple[0], size).difference).low > 0:
        best = _capital(_called(c, learned[0]))
        words += f" {best} {_relation(extra, 'that arm', c.metric)}: what the tasks share helps."
        return _Finding("loses" if lost else c.kinds[learned[0]], where, words)
    if c.kinds[simple[0]] == "pooled":
        return _Finding("pooled", where, words)
    return _Finding("loses" if lost else "tie", where, words)


def _beyond_simple(
    c: Any, size: int | None, where: str, meta: str, learned: Sequence[str], words: str
) -> _Finding:
    """Hold a meta-learner that is ahead of the simple arms against the others that learn."""
    if not learned:
        return _Finding("pays", where, words)
    gap = c.paired(meta, learned[0], size).difference
    words += f" It {_relation(gap, _called(c, learned[0]), c.metric)}."
    return _Finding("pays" if gap.mean > 0 else c.kinds[learned[0]], where, words)


def _relation(gap: MeanInterval, other: str, metric: str) -> str:
    if gap.low > 0:
        return f"is ahead of {other} by {_of(gap, metric)}"
    if gap.high < 0:
        return f"loses to {other} by {_of(_negated(gap), metric)}"
    side = "ahead of" if gap.mean >= 0 else "behind"
    size = gap if gap.mean >= 0 else _negated(gap)
    return f"is not clearly {side} {other}, by {_of(size, metric)}"


def _of(gap: MeanInterval, metric: str) -> str:
    amount, _, around = str(gap).partition(" (")
    spelled = "R^2" if metric == "r2" else metric.removeprefix("neg_").replace("_", " ")
    return f"{amount} of {spelled} ({around}"


def _negated(gap: MeanInterval) -> MeanInterval:
    return gap._replace(mean=-gap.mean, low=-gap.high, high=-gap.low)


def _called(c: Any, name: str) -> str:
    kind = c.kinds[name]
    if name in c.baselines:
        return BASELINES[kind]
    return f"per-task {name}" if kind == "per-task" else name


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
