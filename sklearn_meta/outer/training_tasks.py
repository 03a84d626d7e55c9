"""The tasks of `meta_fit`: in a list, read one by one, drawn from a distribution or from a pool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.outer.batches import in_validation_tasks
from sklearn_meta.outer.episodes import (
    DistributionEpisodes,
    EpisodeSize,
    EpisodeSource,
    PackedTasks,
    Packer,
    PoolEpisodes,
    ReadEpisodes,
    TaskEpisodes,
    check_usable,
)
from sklearn_meta.outer.labels import LabelCounts, LabelPlan, LabelSpace, check_same_kind
from sklearn_meta.outer.scaling import TaskStatistics
from sklearn_meta.tasks import EmpiricalTasks, FewShotTasks, Task, TaskDistribution
from sklearn_meta.tasks.lazy import TaskReader, is_lazy
from sklearn_meta.tasks.task import named_task, without_zero_weights
from sklearn_meta.tasks.validate import (
    SkippedTask,
    Table,
    UsableTasks,
    check_same_rows,
    label,
    usable_tasks,
    validation_table,
    warn_of_skipped,
)

__all__ = ["TrainingTasks", "open_tasks", "open_validation"]

D = TypeVar("D", bound=TaskDistribution)

N_SAMPLE = 64  # tasks drawn from a distribution to learn its shapes and scales


# ---- tasks as a user passes them -------------------------------------------------------------


def open_tasks(
    table: Table, target_type: str, unusable: str, rng: np.random.RandomState, readers: ExitStack
) -> TrainingTasks:
    """Validate tasks as `meta_fit` accepts them; a reader validates each when it reads it."""
    tasks, has_rows = table.X, table.has_rows
    opened: TrainingTasks
    if not isinstance(tasks, TaskDistribution):
        opened = open_collection(table, target_type, unusable, readers)
    elif has_rows:
        raise TaskError("y= and groups= go with a table of rows, not with a TaskDistribution.")
    elif isinstance(tasks, FewShotTasks) and target_type == "real":
        raise TaskError("FewShotTasks draws classification tasks; a regressor needs real targets.")
    elif samples_as(tasks, EmpiricalTasks):
        opened = open_collection(Table(tasks.tasks), target_type, unusable, readers)
    elif samples_as(tasks, FewShotTasks):
        opened = PoolTasks(tasks)
    else:
        opened = DrawnTasks(tasks, target_type, rng)
    if not has_rows:
        opened.declared_classes = getattr(tasks, "classes_", None)
    return opened


def open_validation(
    tasks: Any,
    table: Table,  # the tasks of meta-training, whose columns those of a frame have
    first: Task,  # of these, whose rows those of validation are like
    packer: Packer,
    n_sample: int,  # tasks to draw from a distribution
    seed: int,
    unusable: str,
    readers: ExitStack,
) -> TaskEpisodes:
    """Validate validation tasks as `meta_fit` accepts them, and return their episodes."""
    with in_validation_tasks():
        if samples_as(tasks, EmpiricalTasks):
            tasks = tasks.tasks
        elif isinstance(tasks, TaskDistribution):
            tasks = tasks.sample(n_sample, seed)
        parts = validation_table(tasks, *table[1:]) or (tasks,)
        opened = open_collection(Table(*parts), packer.target_type, unusable, readers)
        if unusable == "skip":
            opened.keep(packer.size, packer.label_space, "In validation_tasks: ")
    check_same_rows(opened.first, first, "Task 0 of validation_tasks", "the tasks")
    with in_validation_tasks():
        source, _ = opened.episodes(packer)
    return source


def open_collection(
    table: Table, target_type: str, unusable: str, readers: ExitStack
) -> ListedTasks | ReadTasks:
    """Validate tasks that are no distribution: a list, a table, or a sequence that is read."""
    if not table.has_rows and is_lazy(table.X):
        reader = TaskReader(table.X, target_type, unusable, weighted_rows)
        return ReadTasks(readers.enter_context(reader), target_type)
    usable = usable_tasks(*table, target_type=target_type, unusable=unusable)
    usable.map(weighted_rows, skip=unusable == "skip")
    return ListedTasks(usable, target_type)


def weighted_rows(task: Task, i: int) -> Task:
    """Return a task without the rows of weight 0, which no episode should draw."""
    return without_zero_weights(task, label(task, i))


def samples_as(tasks: Any, kind: type[D]) -> TypeGuard[D]:
    """Return whether a distribution is of a kind and does not override how it samples."""
    return isinstance(tasks, kind) and type(tasks).sample is kind.sample


# ---- the four kinds --------------------------------------------------------------------------


class TrainingTasks(ABC):
    """Validated tasks to learn from, none of which has a row of weight 0."""

    declared_classes: NDArray[Any] | None = None  # that tasks may have, if somebody lists them
    draws_classes: ClassVar[bool] = False  # and rows of each, rather than tasks

    def __init__(self, in_memory: UsableTasks, target_type: str) -> None:
        self.in_memory, self.target_type = in_memory, target_type  # all tasks, or some

    @property
    def n_tasks(self) -> int | None:
        """Number of tasks; None: they are drawn without end."""
        return None

    @property
    def first(self) -> Task:
        """The first task; all others have rows like it."""
        first: Task = self.in_memory.tasks[0]
        return first

    @property
    def skipped(self) -> list[SkippedTask]:
        """The tasks that were left out."""
        return self.in_memory.skipped

    def keep(self, size: EpisodeSize, labels: LabelSpace, where: str = "") -> None:
        """Leave out tasks that give no episode, and warn of all that were left out.

        Those that a distribution draws must be usable.
        """
        return None

    def hold_out(
        self, share: float, least: int, seed: int, *, shared_labels: bool = True
    ) -> ListedTasks | None:
        """Take out a share of the tasks, but none of those that are read or drawn."""
        return None

    def count_labels(self) -> LabelCounts:
        """Count the labels of the tasks in memory."""
        return LabelCounts.of(self.in_memory.tasks)

    def statistics(
        self, size: EpisodeSize, plan: LabelPlan, *, scales: bool
    ) -> tuple[TaskStatistics, LabelCounts]:
        """Collect the scales of tasks, and count their labels if the plan needs that.

        Scales are computed without being asked for, too: they limit how far new tasks may go.
        """
        statistics = TaskStatistics(self.first, self.target_type)
        for task, i in zip(self.in_memory.tasks, self.in_memory.positions, strict=True):
            statistics.add(task)
            if plan.needs_classes:
                check_same_kind(task, i, self.first)
        return statistics, self.count_labels() if plan.needs_counts else LabelCounts()

    @abstractmethod
    def episodes(self, packer: Packer) -> tuple[EpisodeSource, int]:
        """Return the source of episodes, and the most classes of a task in memory."""


class ListedTasks(TrainingTasks):
    """All tasks in memory."""

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.in_memory.tasks)

    def keep(self, size: EpisodeSize, labels: LabelSpace, where: str = "") -> None:
        """Leave out tasks that give no episode, and warn of all that were left out."""
        self.in_memory.keep(lambda task, i: check_usable(task, i, size, self.target_type, labels))
        warn_of_skipped(self.skipped, self.n_tasks + len(self.skipped), where)

    def hold_out(
        self, share: float, least: int, seed: int, *, shared_labels: bool = True
    ) -> ListedTasks | None:
        """Take out a share of the tasks; at least `least` stay, and one with each shared label.

        No task is taken out if these would be fewer than two.
        """
        tasks, positions = self.in_memory.tasks, self.in_memory.positions
        n_held = min(int(share * len(tasks)), len(tasks) - least)
        labels = [set(task.y.tolist()) if shared_labels else set() for task in tasks]
        n_tasks_with = Counter(k for of_task in labels for k in of_task)
        held = list[int]()
        for i in np.random.RandomState(seed).permutation(len(tasks)).tolist():
            if len(held) < n_held and all(n_tasks_with[k] > 1 for k in labels[i]):
                held.append(i)
                n_tasks_with.subtract(labels[i])
        if len(held) < 2:
            return None
        rest = np.setdiff1d(np.arange(len(tasks)), held).tolist()
        parts = (([tasks[i] for i in part], [positions[i] for i in part]) for part in (rest, held))
        in_memory, held_out = (UsableTasks(*part) for part in parts)
        self.in_memory = replace(in_memory, skipped=self.skipped)
        return ListedTasks(held_out, self.target_type)

    def episodes(self, packer: Packer) -> tuple[TaskEpisodes, int]:
        """Pack all tasks."""
        packed = packer.pack(self.in_memory.tasks, self.in_memory.positions)
        return TaskEpisodes(packed, self.n_tasks, packer.size), int(packed.count.max())


class ReadTasks(TrainingTasks):
    """Tasks that are read whenever they are needed; the first is in memory."""

    def __init__(self, reader: TaskReader, target_type: str) -> None:
        super().__init__(UsableTasks([reader.first], [0]), target_type)
        self.reader = reader

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.reader)

    def keep(self, size: EpisodeSize, labels: LabelSpace, where: str = "") -> None:
        """Read all tasks, leave out those that give no episode, and warn of them."""
        n_tasks = len(self.reader)
        skipped = self.reader.keep(
            lambda task, i: check_usable(task, i, size, self.target_type, labels)
        )
        self.in_memory = UsableTasks([self.reader.first], [self.reader.number(0)], skipped)
        warn_of_skipped(skipped, n_tasks, where)

    def count_labels(self) -> LabelCounts:
        """Count the labels of the first tasks."""
        return LabelCounts.of(islice(self.reader, N_SAMPLE))

    def statistics(
        self, size: EpisodeSize, plan: LabelPlan, *, scales: bool
    ) -> tuple[TaskStatistics, LabelCounts]:
        """Read all tasks and check them, unless neither scales nor labels are needed."""
        statistics = TaskStatistics(self.first, self.target_type, scales=scales)
        counts = LabelCounts()
        if not (scales or plan.needs_counts or plan.has_fixed_n_way):
            return statistics, counts
        for task, i in zip(self.reader, self.reader.positions, strict=True):
            check_usable(task, i, size, self.target_type, plan.space)
            statistics.add(task)
            if plan.is_guess or plan.needs_counts or plan.has_fixed_n_way:
                counts.add([task])
            if plan.needs_classes:
                check_same_kind(task, i, self.first)
        if plan.is_guess:
            self._check_guess(counts, plan.space.is_shared)
        return statistics, counts

    def _check_guess(self, counts: LabelCounts, is_shared: bool) -> None:
        """Raise a TaskError if the labels of all tasks suggest otherwise than the first ones."""
        if counts.are_shared() == is_shared:
            return
        first, other = "mean the same in all tasks", "mean something only within their task"
        if not is_shared:
            first, other = other, first
        raise TaskError(
            f"labels='auto' looks at the first {N_SAMPLE} of tasks that are read one by one, whose "
            f"labels seem to {first}; those of all {counts.n_tasks} tasks seem to {other} "
            f"({counts.describe_rarest()}). Choose labels='shared' or labels='task'."
        )

    def episodes(self, packer: Packer) -> tuple[ReadEpisodes, int]:
        """Check the first task; all are packed when they are drawn."""
        packed = packer.pack(self.in_memory.tasks, self.in_memory.positions, on_host=True)
        return ReadEpisodes(self.reader, packer), int(packed.count.max())


class DrawnTasks(TrainingTasks):
    """Tasks that a distribution draws for each meta-batch; a sample of them is in memory."""

    def __init__(
        self, distribution: TaskDistribution, target_type: str, rng: np.random.RandomState
    ) -> None:
        sample = validated(distribution.sample(N_SAMPLE, rng), target_type)
        super().__init__(sample, target_type)
        self.distribution = distribution

    def episodes(self, packer: Packer) -> tuple[DistributionEpisodes, int]:
        """Pack the sample, and each further one when it is drawn."""
        packed = packer.pack(self.in_memory.tasks)

        def pack(drawn: Any) -> PackedTasks:
            sample = validated(drawn, self.target_type)
            check_same_rows(sample.tasks[0], self.first, "Task 0 of a sample", "the first tasks")
            try:
                return packer.pack(sample.tasks)
            except TaskError as error:
                raise TaskError(f"In a sample of {self.distribution!r}: {error}") from None

        source = DistributionEpisodes(self.distribution, pack, packer.size)
        return source, int(packed.count.max())


class PoolTasks(TrainingTasks):
    """Classes of a pool, of which a few make a task; all rows of the pool are in memory."""

    draws_classes = True

    def __init__(self, pool: FewShotTasks) -> None:
        no_labels = np.zeros(pool.X.shape[0])  # which rows have in another order
        rows = named_task(pool.X, no_labels, pool.feature_names_in, name="the pool")
        super().__init__(UsableTasks([rows], [0]), "class")
        self.pool = pool

    def count_labels(self) -> LabelCounts:
        """Count each class once, as often as any other: so they are drawn."""
        classes = self.pool.classes_
        return LabelCounts.of([Task(np.zeros((len(classes), 1)), classes)])

    def episodes(self, packer: Packer) -> tuple[PoolEpisodes, int]:
        """Pack all rows of the pool."""
        return PoolEpisodes(packer.pack_pool(self.pool), self.pool), self.pool.n_way[1]


def validated(tasks: Any, target_type: str) -> UsableTasks:
    """Validate the tasks of a distribution, and leave out their rows of weight 0."""
    usable = usable_tasks(tasks, target_type=target_type, unusable="raise")
    usable.map(weighted_rows, skip=False)
    return usable
