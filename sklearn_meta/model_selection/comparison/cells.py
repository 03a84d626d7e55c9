"""One cell of the comparison: an arm, trained on the tasks of a fold, judged on the others."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from sklearn_meta.exceptions import TaskError
from sklearn_meta.model_selection.comparison.arms import Arm
from sklearn_meta.model_selection.comparison.draws import Draw, split_as
from sklearn_meta.model_selection.comparison.metric import metric_of
from sklearn_meta.model_selection.interrupt import heeding_interrupts
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.pipeline.raw_tasks import RawTask
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["Cell", "judged", "run_cell"]

Scores = list[list[float]]  # of each size, of each task held out


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


def run_cell(cell: Cell) -> Scores:
    """Train, if the arm does, and score.

    Parameters
    ----------
    cell : Cell
        What to do.

    Returns
    -------
    scores : list of list of float
        One list a size, one score a task held out.

    Raises
    ------
    TaskError
        If a task cannot be fitted or judged, naming arm, task and support.
    """
    est = seeded(cell.arm.estimator, cell.random_state)
    if cell.arm.trains:
        with _numbered(cell, cell.trained_on, "cannot be meta-trained"), heeding_interrupts():
            est.meta_fit(_as_taken(est, cell.train))
    return judged(cell, est)


def judged(cell: Cell, est: Any) -> Scores:
    """Score an estimator that has learned what it will, as the arm of a cell.

    Parameters
    ----------
    cell : Cell
        Whose tasks held out to adapt to.
    est : estimator
        It stays as it is.

    Returns
    -------
    scores : list of list of float
        One list a size, one score a task held out.

    Raises
    ------
    TaskError
        If a task cannot be fitted or judged, naming arm, task and support.
    """
    stacked = (
        hasattr(est, "predict_tasks") and metric_of(cell.scoring, cell.classify).scorer is None
    )
    score = _all_at_once if stacked else _one_by_one
    return [score(cell, est, k) for k in range(len(cell.sizes))]


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


def _all_at_once(cell: Cell, est: Any, k: int) -> list[float]:
    metric = metric_of(cell.scoring, cell.classify).of_predictions
    assert metric is not None
    tasks = cell.test(k)
    with _numbered(cell, cell.positions, "cannot predict"):
        predictions = est.predict_tasks(_as_taken(est, tasks))
    pairs = zip(tasks, predictions, strict=True)
    return [float(metric(task.y_query, y)) for task, y in pairs]


@contextmanager
def _numbered(cell: Cell, positions: Sequence[int], fails: str) -> Iterator[None]:
    """Give tasks in errors the numbers that the user knows, instead of those in the fold."""
    try:
        yield
    except TaskError as error:
        known = {str(i): str(position) for i, position in enumerate(positions)}
        told = re.sub(r"(?<=\b[Tt]ask )\d+", lambda n: known.get(n[0], n[0]), str(error))
        raise TaskError(f"{cell.arm.name!r} {fails} in fold {cell.fold}. {told}") from error


def _one_by_one(cell: Cell, est: Any, k: int) -> list[float]:
    return [
        _score(cell, est, task, f"{label(task, i)} with {len(task.y_support)} support row(s)")
        for task, i in zip(cell.test(k), cell.positions, strict=True)
    ]


def _score(cell: Cell, est: Any, task: RawTask, where: str) -> float:
    metric = metric_of(cell.scoring, cell.classify)
    X_support, X_query = task.X_support, task.X_query
    try:
        own = clone(est).fit(X_support, task.y_support)
        if metric.scorer is not None:
            score = float(metric.scorer(own, X_query, task.y_query))
        else:
            assert metric.of_predictions is not None
            score = float(metric.of_predictions(task.y_query, own.predict(X_query)))
    except Exception as error:
        if isinstance(cell.error_score, str):
            raise TaskError(f"{cell.arm.name!r} fails on {where}: {error}") from error
        return float(cell.error_score)
    if math.isfinite(score):
        return score
    if isinstance(cell.error_score, str):
        raise TaskError(f"{cell.arm.name!r} has the {metric.name} {score} on {where}.")
    return float(cell.error_score)
