"""One cell of the comparison: an arm, trained on the tasks of a fold, judged on the others."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning

from sklearn_meta.exceptions import TaskError
from sklearn_meta.model_selection.comparison.arms import Arm
from sklearn_meta.model_selection.comparison.draws import Draw, split_as
from sklearn_meta.model_selection.comparison.metric import metric_of
from sklearn_meta.model_selection.interrupt import heeding_interrupts
from sklearn_meta.outer.failures import (
    NUMERICAL,
    Failures,
    Reason,
    collect_failures,
)
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.pipeline.raw_tasks import RawTask
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["Cell", "Judged", "judged", "run_cell", "warn_of_failures"]

Scores = list[list[float]]  # of each size, of each task held out
MOST = 10  # reasons that a warning gives; it counts the others


class Judged(NamedTuple):
    """Scores of a cell, and which fits or scores failed."""

    scores: Scores
    failures: list[Reason]


@dataclass(frozen=True)
class Cell:
    """What a worker needs to know: nothing else enters its scores."""

    arm: Arm
    seed: int
    fold: int
    train: Sequence[RawTask]
    held_out: Sequence[RawTask]
    draws: Sequence[Draw]  # of the tasks held out
    trained_on: Sequence[int]  # positions of the training tasks
    positions: Sequence[int]  # of the tasks held out
    sizes: Sequence[int | None]
    scoring: Any
    classify: bool
    error_score: Any

    @property
    def random_state(self) -> int:
        """Seed of what is trained: each fold is a training of its own, with other weights."""
        return int(np.random.SeedSequence([self.seed, self.fold]).generate_state(1)[0])

    def test(self, k: int) -> list[RawTask]:
        """Give the tasks held out with their k-th support.

        Parameters
        ----------
        k : int
            Which size.

        Returns
        -------
        list of RawTask
            Without the rows between that and the query.
        """
        return [split_as(t, draw, k) for t, draw in zip(self.held_out, self.draws, strict=True)]


def run_cell(cell: Cell) -> Judged:
    """Train, if the arm does, and score.

    Parameters
    ----------
    cell : Cell
        What to do.

    Returns
    -------
    Judged
        One list of scores a size, one score a task held out.

    Raises
    ------
    TaskError
        If a task cannot be used; with ``error_score="raise"`` also if one cannot be fitted or
        judged, naming arm, task and support.
    """
    est = seeded(cell.arm.estimator, cell.random_state)
    if cell.arm.trains:
        try:
            with _numbered(cell, cell.trained_on, "cannot be meta-trained"), heeding_interrupts():
                est.meta_fit(_as_taken(est, cell.train))
        except NUMERICAL as error:
            if isinstance(cell.error_score, str):
                raise
            lost = [float(cell.error_score)] * len(cell.positions)
            return Judged(
                [lost] * len(cell.sizes), [Reason(f"all tasks of fold {cell.fold}", str(error))]
            )
    elif cell.arm.pools:
        with _numbered(cell, cell.trained_on, "cannot be fitted"):
            est.fit_transformers(cell.train)
    return judged(cell, est)


def judged(cell: Cell, est: Any) -> Judged:
    """Score an estimator that has learned what it will, as the arm of a cell.

    Parameters
    ----------
    cell : Cell
        Whose tasks held out to adapt to.
    est : estimator
        It stays as it is.

    Returns
    -------
    Judged
        One list of scores a size, one score a task held out.

    Raises
    ------
    TaskError
        If a task cannot be used; with ``error_score="raise"`` also if one cannot be fitted or
        judged, naming arm, task and support.
    """
    stacked = (
        hasattr(est, "predict_tasks") and metric_of(cell.scoring, cell.classify).scorer is None
    )
    score = _all_at_once if stacked else _one_by_one
    failures: list[Reason] = []
    return Judged([score(cell, est, k, failures) for k in range(len(cell.sizes))], failures)


def warn_of_failures(failures: Sequence[tuple[str, Reason]], error_score: Any) -> None:
    """Warn the caller of `compare` once of all that failed, given as pairs of arm and reason."""
    if not failures:
        return
    tasks: dict[tuple[str, str], dict[str, None]] = {}  # in order, and each once for all seeds
    for arm, reason in failures:
        tasks.setdefault((arm, reason.why), {})[reason.task] = None
    said = [f"{arm!r} fails on {', '.join(own)}: {why}" for (arm, why), own in tasks.items()]
    more = [f"and {len(said) - MOST} more reasons"] if len(said) > MOST else []
    warnings.warn(
        f"{len(failures)} fits or scores failed; these scores are {error_score}. "
        + "; ".join([*said[:MOST], *more]),
        FitFailedWarning,
        stacklevel=3,
    )


def seeded(estimator: Any, seed: int) -> Any:
    """Copy an estimator that has learned nothing yet, every `random_state` set.

    Parameters
    ----------
    estimator : estimator
        It stays as it is.
    seed : int
        For all of its parts.

    Returns
    -------
    estimator
        New.
    """
    own = clone(estimator)
    if hasattr(own, "reset_meta"):
        own.reset_meta()
    names = [n for n in own.get_params() if n.split("__")[-1] == "random_state"]
    return own.set_params(**dict.fromkeys(names, seed))


def _as_taken(est: Any, tasks: Sequence[RawTask]) -> list[Any]:
    if isinstance(est, MetaPipeline):
        return list(tasks)
    return [Task(t.X, t.y, support=t.support, name=t.name) for t in tasks]


def _all_at_once(cell: Cell, est: Any, k: int, failures: list[Reason]) -> list[float]:
    tasks = cell.test(k)
    try:
        with _numbered(cell, cell.positions, "cannot predict"), collect_failures() as inside:
            predictions = est.predict_tasks(_as_taken(est, tasks))
    except NUMERICAL:  # of a learner that has no error_score
        return _one_by_one(cell, est, k, failures)
    row = []
    for i, (task, y) in enumerate(zip(tasks, predictions, strict=True)):

        def score(i: int = i, task: RawTask = task, y: Any = y) -> float:
            if i in inside.failed:
                raise FloatingPointError(inside.failed[i].why)
            metric = metric_of(cell.scoring, cell.classify).of_predictions
            assert metric is not None
            return metric(task.y_query, y)

        row.append(_settled(cell, score, _where(cell, task, i), failures))
    _warn_doubtful(cell, tasks, inside)
    return row


@contextmanager
def _numbered(cell: Cell, positions: Sequence[int], fails: str) -> Iterator[None]:
    """Give tasks in errors the numbers that the user knows, instead of those in the fold."""
    try:
        yield
    except TaskError as error:
        known = {str(i): str(position) for i, position in enumerate(positions)}
        told = re.sub(r"(?<=\b[Tt]ask )\d+", lambda n: known.get(n[0], n[0]), str(error))
        raise TaskError(f"{cell.arm.name!r} {fails} in fold {cell.fold}. {told}") from error


def _one_by_one(cell: Cell, est: Any, k: int, failures: list[Reason]) -> list[float]:
    metric, tasks = metric_of(cell.scoring, cell.classify), cell.test(k)
    row, inside = [], Failures()
    for i, task in enumerate(tasks):

        def score(i: int = i, task: RawTask = task) -> float:
            own = clone(est)
            if not inside.fit(own, task.X_support, task.y_support, i, "", np.nan):
                raise FloatingPointError(inside.failed[i].why)
            if metric.scorer is not None:
                return metric.scorer(own, task.X_query, task.y_query)
            assert metric.of_predictions is not None
            return metric.of_predictions(task.y_query, own.predict(task.X_query))

        row.append(_settled(cell, score, _where(cell, task, i), failures))
    _warn_doubtful(cell, tasks, inside)
    return row


def _settled(cell: Cell, score: Callable[[], float], where: str, failures: list[Reason]) -> float:
    """Compute a score; where that fails, raise or note it, as `error_score` asks for."""
    cause = None
    try:
        found = float(score())
        if math.isfinite(found):
            return found
        why = f"its {metric_of(cell.scoring, cell.classify).name} is {found}."
    except Exception as error:  # whatever an estimator or a scorer of the user's raises
        cause, why = error, str(error)
    if isinstance(cell.error_score, str):
        raise TaskError(f"{cell.arm.name!r} fails on {where}: {why}") from cause
    failures.append(Reason(where, why))
    return float(cell.error_score)


def _where(cell: Cell, task: RawTask, i: int) -> str:
    return f"{label(task, cell.positions[i])} with {len(task.y_support)} support row(s)"


def _warn_doubtful(cell: Cell, tasks: Sequence[RawTask], inside: Failures) -> None:
    """Warn of tasks that an arm fits absurdly, or whose scale is not that of its training.

    The tasks are named by the numbers that the user knows.
    """
    names = {i: f"{cell.arm.name!r}: {_where(cell, task, i)}" for i, task in enumerate(tasks)}
    off_scale = {i: r for i, r in inside.off_scale.items() if i not in inside.failed}
    doubts = Failures(doubtful=inside.doubtful, off_scale=off_scale)
    doubts.renamed(names).report(len(tasks), None)
