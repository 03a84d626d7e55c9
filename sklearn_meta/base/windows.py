"""Tasks as they are read, so many at a time that sizes can be sorted and memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from sklearn_meta.base.labels_of_many import Coding, coded
from sklearn_meta.exceptions import TaskError
from sklearn_meta.inner.heads import BIAS
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.convert import as_task
from sklearn_meta.tasks.lazy import as_lazy, is_lazy
from sklearn_meta.tasks.validate import check_task, check_task_names, label
from sklearn_meta.tasks.values import holds_numbers, holds_targets

__all__ = ["Window", "check_against_prior", "windows"]

N_TASKS = 4096  # in a window; enough that tasks of a size fill stacks
N_NUMBERS = 2**22  # of X in a window of tasks that are read for it: 32 MB


@dataclass
class Window:
    """Some tasks, one after the other.

    Parameters
    ----------
    tasks : list of Task
        The tasks.
    begin : int
        Position of the first of them among all.
    first : Task
        The first of all.
    target_type : {"class", "real"}
        What `y` holds.
    coding : Coding or None, default=None
        The labels, found when the tasks are checked; None for targets.

    Attributes
    ----------
    n_support, n_query, n_way : ndarray of int of shape (n_tasks,)
        Sizes; `n_way` is zero for targets.
    """

    tasks: Sequence[Task]
    begin: int
    first: Task
    target_type: str
    coding: Coding | None = None
    n_support: NDArray[np.intp] = field(init=False)
    n_query: NDArray[np.intp] = field(init=False)
    n_way: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        supports = [task.support for task in self.tasks if task.support is not None]
        if len(supports) < len(self.tasks):
            self._no_support()
        if not all(_is_plain(task, self.first, self.target_type) for task in self.tasks):
            self.tasks = self.complain()
        self.n_support = np.array([len(support) for support in supports])
        self.n_query = np.array([len(task) for task in self.tasks]) - self.n_support
        self.n_way = np.zeros_like(self.n_support)
        if self.target_type == "real":
            self._check_finite()
            return
        self._check_whole()
        self.coding = coded([task.y for task in self.tasks], supports)
        self.n_way = self.coding.n_way
        if (self.coding.place < 0).any():
            self.complain()

    def complain(self) -> list[Task]:
        """Return the tasks checked one after the other; the first unusable one raises TaskError."""
        return [
            check_task(task, i, self.first, self.target_type)
            for i, task in enumerate(self.tasks, self.begin)
        ]

    def _no_support(self) -> None:
        self.complain()
        for i, task in enumerate(self.tasks, self.begin):
            if task.support is None:
                raise TaskError(
                    f"{label(task, i)} has no fixed support to adapt to. Give it one, "
                    "Task(X, y, support=...), or draw one with sklearn_meta.tasks.split_task."
                )

    def _check_finite(self) -> None:
        floats = [task.y for task in self.tasks if task.y.dtype.kind == "f"]
        if floats and not np.isfinite(np.concatenate(floats)).all():
            self.complain()

    def _check_whole(self) -> None:
        floats = [task.y for task in self.tasks if task.y.dtype.kind == "f"]
        if floats:
            values = np.concatenate(floats)
            if not (np.isfinite(values).all() and (values == np.trunc(values)).all()):
                self.complain()


def _is_plain(task: Task, first: Task, target_type: str) -> bool:
    """Whether all but its values is as it must be."""
    rows, y = task.where()[0], task.y
    return (
        holds_numbers(rows)
        and not (task.dtype.kind == "f" and issparse(rows))
        and task.row_shape == first.row_shape
        and holds_targets(y, target_type)
        and y.shape[1:] == first.y.shape[1:]
        and task.feature_names_in == first.feature_names_in
    )


def windows(est: Any, tasks: Any) -> Iterator[Window]:
    """Read tasks, check them, and hold them against the prior.

    Parameters
    ----------
    est : BaseMetaLearner
        Which is to adapt to them.
    tasks : sequence of tasks
        As given to `predict_tasks`.

    Yields
    ------
    Window
        In order.

    Raises
    ------
    TaskError
        If a task cannot be used, or has no fixed support.
    """
    kind: str = est.target_type
    for part, begin, first in _read(tasks, kind):
        if begin == 0:
            check_against_prior(est, first, 0)
        window = Window(part, begin, first, kind)
        if window.coding is not None:
            _check_known(est, window, window.coding)
        yield window


def _read(tasks: Any, kind: str) -> Iterator[tuple[Sequence[Task], int, Task]]:
    if is_lazy(tasks):
        with as_lazy(tasks).reader(kind) as reader:
            n, first = len(reader), reader.first
            step = min(N_TASKS, max(1, N_NUMBERS // (len(first) * int(np.prod(first.row_shape)))))
            for begin in range(0, n, step):
                now, then = range(begin, min(begin + step, n)), range(begin + step, n)
                yield reader.take(now, list(islice(then, step))), begin, first
        return
    if not isinstance(tasks, (list, tuple)) or not len(tasks):
        tasks = as_tasks(tasks, target_type=kind)
    first = as_task(tasks[0], 0)
    first = check_task(first, 0, first, kind)
    for begin in range(0, len(tasks), N_TASKS):
        now = tasks[begin : begin + N_TASKS]
        yield [as_task(item, i) for i, item in enumerate(now, begin)], begin, first


def check_against_prior(est: Any, task: Task, i: int) -> None:
    """Check the shapes and columns of a task against those of meta-training, if there was any."""
    state = est.meta_state
    if state is None:
        return
    for what, got, expected in (
        ("X", task.row_shape, state.row_shape),
        ("y", task.y[:1].size, state.n_targets),
    ):
        if got != expected:
            raise TaskError(
                f"{label(task, i)}: {what} has rows of shape {got}, but {type(est).__name__} "
                f"was meta-fitted with rows of shape {expected} (X of shape "
                f"{(len(task), *task.row_shape)}, y of {task.y.shape})."
            )
    check_task_names(task, i, state.feature_names)


def _check_known(est: Any, window: Window, coding: Coding) -> None:
    """Refuse labels, or more of them, than the prior knows."""
    state = est.meta_state
    if state is None:
        return
    amiss = est.has_fixed_n_way() and coding.n_way.max() > len(state.theta[BIAS])
    if est.predicts_shared_labels:
        amiss = amiss or not set(coding.own.tolist()) <= set(state.classes.tolist())
    if amiss:
        for i, task in enumerate(window.tasks, window.begin):
            try:
                est.encode_targets(task.y)
            except ValueError as error:
                raise TaskError(f"{label(task, i)}: {error}") from None
