"""Does meta-learning pay here? In words, from paired differences over tasks and trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sklearn_meta.metrics import ROUNDING, MeanInterval, PairedComparison, compare_paired
from sklearn_meta.model_selection.comparison.metric import margin_of

__all__ = ["say", "size_in_words"]

LEVEL, ENOUGH = 0.95, 3  # of all claims together; trainings that show how much training varies
MUCH = 10  # margins of relevance by which a task is much worse

HEADLINES = {
    "pays": "meta-learning pays",
    "shared": "learning across tasks pays, by meta-learning or more simply",
    "loses": "meta-learning does not pay",
    "pooled": "pooling is enough, one model for all tasks",
    "tie": "no clear difference, the simpler arm will do",
    "hierarchical": "a linear hierarchical model is enough",
    "fine-tune": "fine-tuning is enough",
    "chance": "nothing is learned",
    "none": "no meta-learner was compared",
    "alone": "no simple arm was compared",
}
CLAIMS = ("pays", "shared", "loses", "hierarchical", "fine-tune")  # that one arm is ahead
THESE = ", for the models trained here"
ONCE = (
    "The arms were trained too few times on the same tasks to see how much training varies: "
    "intervals and verdict are of the models trained here, not of the algorithms. Give seeds=3 "
    "or more."
)
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
    once = [] if found[0].case == "none" or _is_trained_often(comparison) else [ONCE]
    heads = {f.case: HEADLINES[f.case] + THESE * bool(once and f.case in CLAIMS) for f in found}
    if len(found) == 1:
        head = _capital(heads[found[0].case])
        return "\n".join([f"{head}: {found[0].where} {found[0].words}", *once])
    headline = f"{_capital(heads[found[0].case])}."
    if len(heads) > 1:
        parts = [
            " and ".join(f.where for f in found if f.case == case) + f" {head}"
            for case, head in heads.items()
        ]
        headline = f"It depends on the support: {'; '.join(parts)}."
    return "\n".join([headline, *(f"{_capital(f.where)} {f.words}" for f in found), *once])


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


def _is_trained_often(c: Any) -> bool:
    """Whether the trainings show how much training varies, for the verdict to be of algorithms."""
    return any(c.interval(name, c.sizes[0]).n_trainings >= ENOUGH for name in c.kinds)


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
    top = c.interval(ranked[0], size, level=LEVEL)
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
    pair = c.paired(meta[0], simple[0], size, level=_level(c, meta))
    margin = margin_of(c.metric, means[simple[0]])
    words = f"{a} {_relation(pair, b, c.metric)}; {_hurt(c, meta[0], simple[0], size, margin)}."
    if pair.is_better and pair.difference.mean >= margin:
        return _beyond_simple(c, size, where, meta, learned, words)
    if pair.is_better or pair.is_worse:
        lost = pair.difference.mean <= -margin
        words += "" if lost else " That is too little to matter."
    else:
        lost = False
        means_of_tasks = np.array([c.scores(name, size) for name in (meta[0], simple[0])])
        alone = compare_paired(*means_of_tasks[:, np.isfinite(means_of_tasks).all(axis=0)])
        if alone.is_better or alone.is_worse:
            side = "ahead" if alone.is_better else "behind"
            words += (
                f" Over tasks alone it would be {side}: trainings differ too much to say so of the "
                "algorithm. More seeds may tell."
            )
        elif pair.p_sign < 1 - LEVEL:
            words += (
                f" It wins on {pair.wins} tasks and loses on {pair.losses} (sign test, "
                f"p = {pair.p_sign:.1g}): the mean hangs on few."
            )
    if learned:
        extra = c.paired(learned[0], simple[0], size, level=_level(c, learned))
        if extra.is_better and extra.difference.mean >= margin:
            best = _capital(_called(c, learned[0]))
            words += (
                f" {best} {_relation(extra, 'that arm', c.metric)}: what the tasks share helps."
            )
            return _Finding("loses" if lost else c.kinds[learned[0]], where, words)
    if c.kinds[simple[0]] == "pooled":
        return _Finding("pooled", where, words)
    return _Finding("loses" if lost else "tie", where, words)


def _level(c: Any, looked_at: Sequence[str]) -> float:
    """Return the level at which the best of several arms, at any size, is claimed (Bonferroni)."""
    return 1 - (1 - LEVEL) / (len(looked_at) * len(c.sizes))


def _beyond_simple(
    c: Any,
    size: int | None,
    where: str,
    meta: Sequence[str],
    learned: Sequence[str],
    words: str,
) -> _Finding:
    """Compare a meta-learner that is ahead of the simple arms with the others that learn."""
    if not learned:
        return _Finding("pays", where, words)
    pair = c.paired(meta[0], learned[0], size, level=_level(c, meta))
    margin = margin_of(c.metric, c.interval(learned[0], size).mean)
    words += f" It {_relation(pair, _called(c, learned[0]), c.metric)}."
    if pair.is_better and pair.difference.mean >= margin:
        return _Finding("pays", where, words)
    behind = pair.is_worse and pair.difference.mean <= -margin
    return _Finding(c.kinds[learned[0]] if behind else "shared", where, words)


def _hurt(c: Any, a: str, b: str, size: int | None, margin: float) -> str:
    """Say how many tasks are worse off, and how many are much worse: the mean may hide these."""
    hurt, much = (c.paired(a, b, size, margin=m) for m in (0.0, MUCH * margin))
    said = f"it hurts on {100 * hurt.hurt:.0f} % of the tasks"
    if much.losses:
        return f"{said}, and on {100 * much.hurt:.3g} % by more than {MUCH * margin:.2g}"
    if not hurt.is_better:
        return said
    unseen = 1 - (1 - LEVEL) ** (1 / much.difference.n_tasks)
    return (
        f"{said}, on none by more than {MUCH * margin:.2g} (on new tasks it may on up to "
        f"{100 * unseen:.2g} %)"
    )


def _relation(pair: PairedComparison, other: str, metric: str) -> str:
    gap = pair.difference
    if pair.is_better:
        return f"is ahead of {other} by {_of(gap, metric)}"
    if pair.is_worse:
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
