"""From what `meta_fit` was given to packed rows, and to where its episodes come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.core.episodes import EpisodeSource, FromDistribution, FromPool, FromTasks
from sklearn_meta.core.heads import check_n_way
from sklearn_meta.core.label_space import label_space
from sklearn_meta.core.packed import PackedTasks, pack_pool
from sklearn_meta.core.packing import Packing
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import EmpiricalTasks, FewShotTasks, Task, TaskDistribution, as_tasks
from sklearn_meta.tasks.validate import label

__all__ = [
    "check_alike",
    "check_ways",
    "classes_of",
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
    tasks: Any, y: Any, groups: Any, target_type: str, rng: np.random.RandomState
) -> tuple[Task, ...]:
    """Give all the tasks there are, or some to learn shapes and scales from; checked here, once.

    Parameters
    ----------
    tasks, y, groups
        As given to `meta_fit`.
    target_type : {"class", "real"}
        What `y` must hold.
    rng : RandomState
        Draws from a distribution.

    Returns
    -------
    tuple of Task
        Of a pool of classes: the pool, as one.

    Raises
    ------
    TaskError
        If they cannot be used.
    """
    if not isinstance(tasks, TaskDistribution):
        return as_tasks(tasks, y, groups, target_type=target_type)
    if y is not None or groups is not None:
        raise TaskError("y= and groups= go with a table of rows, not with a TaskDistribution.")
    if isinstance(tasks, FewShotTasks) and target_type == "real":
        raise TaskError("FewShotTasks draws classification tasks; a regressor needs real targets.")
    if _is(tasks, FewShotTasks):
        pool = Task(tasks.X, tasks.rows, name="the pool")  # any labels: only X is looked at
        pool.feature_names_in = tasks.feature_names_in
        return (pool,)  # FewShotTasks has checked it
    known = tasks.tasks if _is(tasks, EmpiricalTasks) else tasks.sample(N_LOOK, rng)
    return as_tasks(known, target_type=target_type)


def classes_of(tasks: Any, known: Sequence[Task]) -> NDArray[Any]:
    """Give all labels there are, sorted.

    Parameters
    ----------
    tasks : object
        As given to `meta_fit`.
    known : sequence of Task
        From :func:`known_tasks`.

    Returns
    -------
    ndarray
        What a distribution says that it draws, or what its tasks hold.
    """
    told = getattr(tasks, "classes_", None)
    return label_space(known) if told is None else np.unique(told)


def source_of(
    tasks: Any, known: Sequence[Task], packing: Packing, target_type: str
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
        Outputs of a regression, or the largest number of classes of a task.
    """
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


def check_ways(tasks: Sequence[Task], learned: int) -> None:
    """Refuse tasks with more classes than an output layer has rows.

    Parameters
    ----------
    tasks : sequence of Task
        Already checked.
    learned : int
        Rows of the output layer.

    Raises
    ------
    TaskError
        Naming the task.
    """
    for i, task in enumerate(tasks):
        try:
            check_n_way(len(np.unique(task.y)), learned)
        except ValueError as error:
            raise TaskError(f"{label(task, i)}: {error}") from None


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
        ("X with rows of shape", task.X.shape[1:], like.X.shape[1:]),
        ("y with rows of shape", task.y.shape[1:], like.y.shape[1:]),
        ("the feature names", task.feature_names_in, like.feature_names_in),
    ):
        if got != expected:
            raise TaskError(
                f"{name} has {what} {got}, {others} have {expected} "
                f"(X of shape {task.X.shape}, y of shape {task.y.shape})."
            )
