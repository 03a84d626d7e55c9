"""Tasks on which adapting fails: they cost themselves alone, and one warning names them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning

from sklearn_meta.exceptions import ScaleWarning

__all__ = [
    "NUMERICAL",
    "SUPPORT",
    "Failures",
    "Reason",
    "Reasons",
    "check_error_score",
    "collect_failures",
    "listed",
    "no_prediction",
]

NUMERICAL = (  # errors that say that numbers ran away, not that arguments are wrong
    ArithmeticError,
    np.linalg.LinAlgError,
    torch.linalg.LinAlgError,  # type: ignore[attr-defined]  # public, but not exported
)
SUPPORT = "The support"  # what `fit` calls its task
MOST = 20  # tasks that a warning names; it counts the others


class Reason(NamedTuple):
    """What errors call a task, and what went wrong with it."""

    task: str
    why: str

    def __str__(self) -> str:
        return f"{self.task}: {self.why}"


Reasons = dict[int, Reason]  # by position of the task


@dataclass
class Failures:
    """What went wrong with some tasks, by their positions.

    `failed` tasks have no prediction. `doubtful` ones have one, which is far worse on the support
    than predicting nothing. `off_scale` ones have a support far from the scale of meta-training.
    """

    failed: Reasons = field(default_factory=dict)
    doubtful: Reasons = field(default_factory=dict)
    off_scale: Reasons = field(default_factory=dict)

    def add(self, more: Failures, error_score: Any) -> None:
        """Note what went wrong with a stack of tasks; raise if failing is to be an error."""
        if more.failed and error_score == "raise":
            raise FloatingPointError(str(more.failed[min(more.failed)]))
        self.failed |= more.failed
        self.doubtful |= more.doubtful
        self.off_scale |= more.off_scale

    def renamed(self, names: Mapping[int, str]) -> Failures:
        """Return the same under other names of the tasks."""
        return Failures(
            *(
                {i: reason._replace(task=names[i]) for i, reason in part.items()}
                for part in (self.failed, self.doubtful, self.off_scale)
            )
        )

    def fit(self, est: Any, X: Any, y: Any, i: int, name: str, error_score: Any) -> bool:
        """Fit an estimator to one task, and return whether that worked; note why it did not."""
        with collect_failures() as inside:
            try:
                est.fit(X, y)
            except NUMERICAL as error:
                why = str(error).removeprefix(f"{SUPPORT}: ")
                self.add(Failures({i: Reason(name, why)}), error_score)
                return False
        for own, part in ((self.doubtful, inside.doubtful), (self.off_scale, inside.off_scale)):
            for reason in part.values():  # of the one task
                own[i] = Reason(name, reason.why)
        return True

    def report(self, n_tasks: int, error_score: Any, stacklevel: int) -> None:
        """Warn once of each kind, or leave it to whoever collects failures further out."""
        outer = _collected.get()
        if outer is not None:
            outer.add(self, None)
            return
        if self.failed:
            warnings.warn(
                f"Adapting failed on {len(self.failed)} of {n_tasks} tasks, whose score is "
                f"{error_score} and whose predictions are missing. {listed(self.failed)}",
                FitFailedWarning,
                stacklevel=stacklevel,
            )
        off_scale = {i: r for i, r in self.off_scale.items() if i not in self.failed}
        doubtful = {i: r for i, r in self.doubtful.items() if i not in off_scale}
        if doubtful:
            warnings.warn(listed(doubtful), ConvergenceWarning, stacklevel=stacklevel)
        if off_scale:
            first, n_more = off_scale[min(off_scale)], len(off_scale) - 1
            others = f" So are {n_more} more of {n_tasks} tasks." if n_more else ""
            warnings.warn(
                f"{first.task} {first.why}.{others} Predictions may be far off. Bring such tasks "
                "to the units of those of meta-training, or meta-train with scaling='task'.",
                ScaleWarning,
                stacklevel=stacklevel,
            )


_collected: ContextVar[Failures | None] = ContextVar("failures", default=None)


@contextmanager
def collect_failures() -> Iterator[Failures]:
    """Collect what `Failures.report` would warn of: the caller knows other names of the tasks."""
    found = Failures()
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def listed(reasons: Reasons) -> str:
    """Name the tasks, those with the same reason together; count the last of very many."""
    shown, names = sorted(reasons)[:MOST], dict[str, list[str]]()
    for i in shown:
        names.setdefault(reasons[i].why, []).append(reasons[i].task)
    said = [f"{', '.join(tasks)}: {why}" for why, tasks in names.items()]
    more = len(reasons) - len(shown)
    return " ".join([*said, *([f"And {more} more tasks."] if more else [])])


def check_error_score(error_score: Any, owner: str) -> None:
    """Refuse an `error_score` that is neither "raise" nor a number."""
    if error_score != "raise" and not isinstance(error_score, Real):
        raise ValueError(
            f"The 'error_score' parameter of {owner} must be 'raise' or a number. "
            f"Got {error_score!r} instead."
        )


def no_prediction(n_rows: int, y: NDArray[Any], target_type: str) -> NDArray[Any]:
    """Make missing predictions of the form of `y`: NaN for targets, None for labels."""
    if target_type == "class":
        return np.full(n_rows, None, dtype=object)
    return np.full((n_rows, *y.shape[1:]), math.nan)
