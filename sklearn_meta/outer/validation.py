"""Validation tasks as batches of fixed episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from torch import Tensor

from sklearn_meta.exceptions import TaskError
from sklearn_meta.nn.backbone import RowNetwork
from sklearn_meta.outer.episodes import Rows, episode_of
from sklearn_meta.outer.module import FixedBatches
from sklearn_meta.outer.packed import PackedTasks
from sklearn_meta.outer.packing import Packing
from sklearn_meta.outer.read_batches import ReadBatches
from sklearn_meta.outer.sources import check_alike, is_list
from sklearn_meta.outer.survey import check_ways
from sklearn_meta.tasks import EmpiricalTasks, Task, TaskDistribution, as_tasks
from sklearn_meta.tasks.convert import validation_table
from sklearn_meta.tasks.lazy import TaskReader, as_lazy, is_lazy

__all__ = ["all_once", "all_read", "validation_batches"]


def validation_batches(
    est: Any,
    tasks: Any,
    y: Any,
    groups: Any,
    like: Task,
    packing: Packing,
    seed: int,
    n_tasks: int,
    f: RowNetwork,
    at_most: int | None,
    opened: ExitStack,
) -> FixedBatches | ReadBatches | None:
    """Check validation tasks, and draw their episodes once and for all.

    Parameters
    ----------
    est : BaseMetaLearner
        Whose parameters say whether they are needed.
    tasks : sequence of tasks, TaskDistribution, table or None
        As given to `meta_fit`.
    y, groups : object
        As given to `meta_fit` for its tasks: they name the columns of a frame.
    like : Task
        One of meta-training: rows and targets must have its shapes.
    packing : Packing
        How tasks become rows on the device.
    seed : int
        Of the splits.
    n_tasks : int
        Tasks a batch.
    f : RowNetwork
        The backbone.
    at_most : int or None
        The most classes of a task.
    opened : ExitStack
        Takes what has to be closed in the end.

    Returns
    -------
    FixedBatches, ReadBatches or None
        None if there are no such tasks.

    Raises
    ------
    TaskError
        If a task cannot be used.
    ValueError
        If `early_stopping` asks for tasks, and there are none.
    """
    if tasks is None:
        if est.early_stopping:
            raise ValueError(
                f"early_stopping=True needs validation tasks: {type(est).__name__}.meta_fit(tasks, "
                "validation_tasks=...)."
            )
        return None
    if isinstance(tasks, EmpiricalTasks) and is_list(tasks):
        tasks = tasks.tasks
    elif isinstance(tasks, TaskDistribution):
        tasks = tasks.sample(10 * n_tasks, seed)
    if is_lazy(tasks):
        return _read_anew(est, tasks, like, packing, seed, n_tasks, f, at_most, opened)
    with _in_validation_tasks():
        table = validation_table(tasks, y, groups) or (tasks,)
        tasks = as_tasks(*table, target_type=est.target_type)
        for i, task in enumerate(tasks):
            check_ways(task, i, at_most)
        packed = packing.pack(tasks)
    check_alike(tasks[0], like, "Task 0 of validation_tasks", "the tasks")
    return FixedBatches(list(all_once(packed, packing.rows, n_tasks, seed)), f.transductive)


def _read_anew(
    est: Any,
    tasks: Any,
    like: Task,
    packing: Packing,
    seed: int,
    n_tasks: int,
    f: RowNetwork,
    at_most: int | None,
    opened: ExitStack,
) -> ReadBatches:
    with _in_validation_tasks():
        reader = opened.enter_context(as_lazy(tasks).reader(est.target_type))
    check_alike(reader.first, like, "Task 0 of validation_tasks", "the tasks")

    def pack(some: list[Task], numbers: list[int]) -> PackedTasks:
        for task, i in zip(some, numbers, strict=True):
            check_ways(task, i, at_most)
        return packing.pack_some(some, numbers)

    def batches() -> Iterator[tuple[tuple[Tensor, ...], bool]]:
        with _in_validation_tasks():
            yield from all_read(reader, pack, packing.rows, n_tasks, seed)

    return ReadBatches(batches, -(-len(reader) // n_tasks), f.transductive)


@contextmanager
def _in_validation_tasks() -> Iterator[None]:
    try:
        yield
    except TaskError as error:
        raise type(error)(f"In validation_tasks: {error}") from error


def all_once(
    packed: PackedTasks, rows: Rows, n_tasks: int, seed: int
) -> Iterator[tuple[tuple[Tensor, ...], bool]]:
    """Go through given tasks in order, always with the same rows: for validation.

    Parameters
    ----------
    packed : PackedTasks
        The tasks.
    rows : Rows
        Rows of an episode, for tasks without a fixed support.
    n_tasks : int
        Tasks a batch.
    seed : int
        Of the splits.

    Yields
    ------
    batch : tuple of Tensor
        Support and query, flat.
    ragged : bool
        Whether there is padding.
    """
    assert packed.first is not None
    rng = np.random.RandomState(seed)
    everything = np.arange(len(packed.first))
    for begin in range(0, len(everything), n_tasks):
        support, query, ragged = episode_of(packed, everything[begin : begin + n_tasks], rows, rng)
        yield (*support, *query), ragged


def all_read(
    reader: TaskReader,
    pack: Callable[[list[Task], list[int]], PackedTasks],
    rows: Rows,
    n_tasks: int,
    seed: int,
) -> Iterator[tuple[tuple[Tensor, ...], bool]]:
    """Go through tasks that are read one by one: what :func:`all_once` gives, but for that.

    Parameters
    ----------
    reader : TaskReader
        Reads them.
    pack : callable
        From tasks and their positions to PackedTasks.
    rows : Rows
        Rows of an episode, for tasks without a fixed support.
    n_tasks : int
        Tasks a batch.
    seed : int
        Of the splits.

    Yields
    ------
    batch : tuple of Tensor
        Support and query, flat.
    ragged : bool
        Whether there is padding.
    """
    rng, everything = np.random.RandomState(seed), range(len(reader))
    for begin in range(0, len(everything), n_tasks):
        numbers = list(everything[begin : begin + n_tasks])
        packed = pack(reader.take(numbers, everything[begin + n_tasks :]), numbers)
        support, query, ragged = episode_of(packed, np.arange(len(numbers)), rows, rng)
        yield (*support, *query), ragged
