"""Tasks on which adapting fails: they cost themselves alone, and one warning names them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning

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
    than predicting nothing.
    """

    failed: Reasons = field(default_factory=dict)
    doubtful: Reasons = field(default_factory=dict)

    def add(self, failed: Reasons, doubtful: Reasons, error_score: Any) -> None:
        """Note what went wrong with a stack of tasks; raise if failing is to be an error."""
        if failed and error_score == "raise":
            raise FloatingPointError(str(failed[min(failed)]))
        self.failed |= failed
        self.doubtful |= doubtful

    def fit(self, est: Any, X: Any, y: Any, i: int, name: str, error_score: Any) -> bool:
        """Fit an estimator to one task, and return whether that worked; note why it did not."""
        with collect_failures() as inside:
            try:
                est.fit(X, y)
            except NUMERICAL as error:
                why = str(error).removeprefix(f"{SUPPORT}: ")
                self.add({i: Reason(name, why)}, {}, error_score)
                return False
        for doubt in inside.doubtful.values():
            self.doubtful[i] = Reason(name, doubt.why)
        return True

    def report(self, n_tasks: int, error_score: Any, stacklevel: int) -> None:
        """Warn once of each kind, or leave it to whoever collects failures further out."""
        outer = _collected.get()
        if outer is not None:
            outer.failed |= self.failed
            outer.doubtful |= self.doubtful
            return
        if self.failed:
            warnings.warn(
                f"Adapting failed on {len(self.failed)} of {n_tasks} tasks, whose score is "
                f"{error_score} and whose predictions are missing. {listed(self.failed)}",
                FitFailedWarning,
                stacklevel=stacklevel,
            )
        if self.doubtful:
            warnings.warn(listed(self.doubtful), ConvergenceWarning, stacklevel=stacklevel)


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
