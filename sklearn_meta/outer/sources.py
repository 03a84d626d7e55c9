"""From what `meta_fit` was given to packed rows, and to where its episodes come from."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, TypeGuard, TypeVar

import numpy as np

from sklearn_meta.exceptions import TaskError
from sklearn_meta.outer.episodes import (
    EpisodeSource,
    FromDistribution,
    FromPool,
    FromReader,
    FromTasks,
)
from sklearn_meta.outer.packed import PackedTasks, pack_pool
from sklearn_meta.outer.packing import Packing
from sklearn_meta.tasks import EmpiricalTasks, FewShotTasks, Task, TaskDistribution, as_tasks
from sklearn_meta.tasks.lazy import TaskReader, as_lazy, is_lazy

__all__ = [
    "check_alike",
    "is_list",
    "is_pool",
    "known_tasks",
    "source_of",
]

D = TypeVar("D", bound=TaskDistribution)
N_LOOK = 64  # tasks drawn from a distribution to learn its shapes and scales


def is_pool(tasks: Any) -> TypeGuard[FewShotTasks]:
    """Whether these are classes to draw from.

    Parameters
    ----------
    tasks : object
        As given to `meta_fit`.

    Returns
    -------
    bool
        False for one that draws in a way of its own.
    """
    return _is(tasks, FewShotTasks)


def is_list(tasks: Any) -> bool:
    """Whether all tasks there are were given.

    Parameters
    ----------
    tasks : object
        As given to `meta_fit`.

    Returns
    -------
    bool
        False for a distribution to draw from.
    """
    return not isinstance(tasks, TaskDistribution) or _is(tasks, EmpiricalTasks)


def _is(tasks: Any, kind: type[D]) -> TypeGuard[D]:
    """Whether it is of that kind, and does not draw its tasks in a way of its own."""
    return isinstance(tasks, kind) and type(tasks).sample is kind.sample


def known_tasks(
    tasks: Any,
    y: Any,
    groups: Any,
    target_type: str,
    rng: np.random.RandomState,
    opened: ExitStack,
) -> tuple[Task, ...] | TaskReader:
    """Give all the tasks there are, or some to learn shapes and scales from; checked here, once.

    Parameters
    ----------
    tasks, y, groups
        As given to `meta_fit`.
    target_type : {"class", "real"}
        What `y` must hold.
    rng : RandomState
        Draws from a distribution.
    opened : ExitStack
        Closes the reader in the end.

    Returns
    -------
    tuple of Task, or TaskReader
        Of a pool of classes: the pool, as one. A reader checks a task when it reads it.

    Raises
    ------
    TaskError
        If they cannot be used.
    """
    if y is None and groups is None and is_lazy(tasks):
        return opened.enter_context(as_lazy(tasks).reader(target_type))
    if not isinstance(tasks, TaskDistribution):
        return as_tasks(tasks, y, groups, target_type=target_type)
    if y is not None or groups is not None:
        raise TaskError("y= and groups= go with a table of rows, not with a TaskDistribution.")
    if isinstance(tasks, FewShotTasks) and target_type == "real":
        raise TaskError("FewShotTasks draws classification tasks; a regressor needs real targets.")
    if _is(tasks, FewShotTasks):
        any_labels = np.zeros(tasks.X.shape[0])  # only X is looked at
        pool = Task(tasks.X, any_labels, name="the pool")
        pool.feature_names_in = tasks.feature_names_in
        return (pool,)  # FewShotTasks has checked it
    known = tasks.tasks if _is(tasks, EmpiricalTasks) else tasks.sample(N_LOOK, rng)
    return as_tasks(known, target_type=target_type)


def source_of(
    tasks: Any, known: tuple[Task, ...] | TaskReader, packing: Packing, target_type: str
) -> tuple[EpisodeSource, int]:
    """Say where episodes come from.

    Parameters
    ----------
    tasks : object
        As given to `meta_fit`.
    known : sequence of Task
        From :func:`known_tasks`.
    packing : Packing
        How to pack them.
    target_type : {"class", "real"}
        What `y` must hold.

    Returns
    -------
    source : EpisodeSource
        To draw from.
    n_outputs : int
        Outputs of a regression, or the largest number of classes of a task (of the first, where
        tasks are read when their turn comes).
    """
    if isinstance(known, TaskReader):
        packed = packing.pack_some([known.first], [0])
        assert packed.count is not None
        n_outputs = int(packed.count.max()) if packing.labels else known.first.y[:1].size
        return FromReader(known, packing.pack_some, packing.rows), n_outputs
    if is_pool(tasks):
        pool = pack_pool(
            tasks, packing.scaling, packing.dtype, packing.device, classes=packing.classes
        )
        return FromPool(pool, tasks), tasks.n_way[1]
    packed = packing.pack(known)
    assert packed.count is not None
    n_outputs = int(packed.count.max()) if packing.labels else known[0].y[:1].size
    if is_list(tasks):
        return FromTasks(packed, packing.rows), n_outputs

    def pack_sample(some: Any) -> PackedTasks:
        checked = as_tasks(some, target_type=target_type)
        check_alike(checked[0], known[0], "Task 0 of a sample", "the first tasks")
        try:
            return packing.pack(checked)
        except TaskError as error:
            raise TaskError(f"In a sample of {tasks!r}: {error}") from None

    return FromDistribution(tasks, pack_sample, packing.rows), n_outputs


def check_alike(task: Task, like: Task, name: str, others: str) -> None:
    """Refuse a task of other shapes, or of other features.

    Parameters
    ----------
    task, like : Task
        The one, and one of the others.
    name, others : str
        What errors call them.

    Raises
    ------
    TaskError
        With both shapes.
    """
    for what, got, expected in (
        ("X with rows of shape", task.row_shape, like.row_shape),
        ("y with rows of shape", task.y.shape[1:], like.y.shape[1:]),
        ("the feature names", task.feature_names_in, like.feature_names_in),
    ):
        if got != expected:
            raise TaskError(
                f"{name} has {what} {got}, {others} have {expected} "
                f"(X of shape {(len(task), *task.row_shape)}, y of shape {task.y.shape})."
            )
