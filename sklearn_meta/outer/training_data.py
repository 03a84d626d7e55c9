"""The tasks of `meta_fit`, validated, scaled and packed, and the meta-batches that skorch takes."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, TypeGuard, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sklearn_meta._devices import check_dtype
from sklearn_meta.exceptions import TaskError
from sklearn_meta.outer.episodes import (
    DistributionEpisodes,
    Episode,
    EpisodeSize,
    EpisodeSource,
    PackedTasks,
    Packer,
    PoolEpisodes,
    ReadEpisodes,
    TaskEpisodes,
    check_enough_rows,
)
from sklearn_meta.outer.labels import LabelCounts, LabelSpace
from sklearn_meta.outer.scaling import (
    SCALINGS,
    Limits,
    Scaling,
    TaskMoments,
    limits_of,
    no_scaling,
)
from sklearn_meta.outer.state import MetaState
from sklearn_meta.tasks import EmpiricalTasks, FewShotTasks, Task, TaskDistribution, as_tasks
from sklearn_meta.tasks.lazy import TaskReader, as_lazy, is_lazy
from sklearn_meta.tasks.tables import dtype_of_rows
from sklearn_meta.tasks.task import without_zero_weights
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

__all__ = [
    "TrainingBatches",
    "TrainingData",
    "TrainingTasks",
    "TuningBatches",
    "ValidationBatches",
    "open_validation",
]

D = TypeVar("D", bound=TaskDistribution)

Batch = tuple[tuple[Tensor, ...], Tensor]  # as skorch takes it

N_TUNING, TUNING_STACK = 64, 8  # episodes by which an algorithm tunes theta, and of a stack
N_SAMPLE = 64  # tasks drawn from a distribution to learn its shapes and scales


@dataclass(frozen=True)
class TrainingData:
    """All that meta-training knows of its tasks."""

    first: Task  # all others have rows like it
    n_tasks: int | None  # None: a distribution
    source: EpisodeSource
    packer: Packer
    n_outputs: int  # of a regression, else the most classes of a task, or those that tasks share
    scaling: Scaling
    by_task: bool  # each task is scaled by its own support
    limits: Limits | None
    class_shares: NDArray[np.float64] | None  # where tasks share their labels
    skipped: list[SkippedTask]

    @property
    def labels(self) -> LabelSpace:
        """The labels of the tasks."""
        return self.packer.label_space

    @property
    def n_way(self) -> int:
        """Classes of a task, as far as they are known before tasks are drawn; 1 for targets."""
        return self.n_outputs if self.packer.target_type == "class" else 1


@dataclass(frozen=True)
class TrainingTasks:
    """The validated tasks of meta-training: all of them, or some of a distribution."""

    tasks: tuple[Task, ...] | TaskReader  # a pool is one task; no row has weight 0
    distribution: TaskDistribution | None  # to draw from; None: the tasks are all there are
    target_type: str
    declared_classes: NDArray[Any] | None = None  # that a distribution may draw
    positions: Sequence[int] | None = None  # of the usable tasks; None: all are
    skipped: list[SkippedTask] = field(default_factory=list)

    @classmethod
    def open(
        cls,
        table: Table,
        target_type: str,
        rng: np.random.RandomState,
        readers: ExitStack,
        unusable: str,
    ) -> TrainingTasks:
        """Validate tasks as `meta_fit` accepts them; a reader validates each when it reads it."""
        tasks, has_rows = table.X, table.has_rows
        classes = getattr(tasks, "classes_", None)
        if not has_rows and is_lazy(tasks):
            reader = TaskReader(as_lazy(tasks), target_type, unusable, weighted_rows)
            return cls(readers.enter_context(reader), None, target_type, classes)
        if not isinstance(tasks, TaskDistribution):
            usable = usable_tasks(*table, target_type=target_type, unusable=unusable)
            usable.map(weighted_rows, skip=unusable == "skip")
            return cls._of(usable, target_type)
        if has_rows:
            raise TaskError("y= and groups= go with a table of rows, not with a TaskDistribution.")
        if isinstance(tasks, FewShotTasks) and target_type == "real":
            raise TaskError(
                "FewShotTasks draws classification tasks; a regressor needs real targets."
            )
        if samples_as(tasks, EmpiricalTasks):
            sample = prepared(tasks.tasks, target_type)
            return cls(sample, None, target_type, classes)
        if samples_as(tasks, FewShotTasks):  # which has validated its rows
            pool = Task(tasks.X, np.zeros(tasks.X.shape[0]), name="the pool")  # for X alone
            pool.feature_names_in = tasks.feature_names_in
            return cls((pool,), tasks, target_type, classes)
        sample = prepared(tasks.sample(N_SAMPLE, rng), target_type)
        return cls(sample, tasks, target_type, classes)

    @classmethod
    def _of(cls, usable: UsableTasks, target_type: str) -> TrainingTasks:
        tasks = tuple(usable.tasks)
        positions, skipped = usable.positions, usable.skipped
        return cls(tasks, None, target_type, positions=positions, skipped=skipped)

    def keep(self, check: Callable[[Task, int], object]) -> TrainingTasks:
        """Leave out the tasks that fail a check, and warn of all that were left out.

        Tasks that are read are all read once. Those that a distribution draws must be usable.
        """
        if self.distribution is not None:
            return self
        if isinstance(self.tasks, TaskReader):
            n_tasks, skipped = len(self.tasks), self.tasks.keep(check)
            usable = replace(self, positions=self.tasks.positions, skipped=skipped)
        else:
            positions = range(len(self.tasks)) if self.positions is None else self.positions
            remaining = UsableTasks([*self.tasks], [*positions], [*self.skipped])
            n_tasks = len(remaining.tasks) + len(remaining.skipped)
            remaining.keep(check)
            usable = replace(self, **vars(remaining) | {"tasks": tuple(remaining.tasks)})
        warn_of_skipped(usable.skipped, n_tasks)
        return usable

    def hold_out(
        self, share: float, least: int, seed: int, *, shared_labels: bool = True
    ) -> tuple[TrainingTasks, Sequence[Task]]:
        """Split into at least `least` tasks, which have all shared labels, and a share of all.

        No task is held out if these would be fewer than two, or if tasks are read or drawn.
        """
        if self.distribution is not None or isinstance(self.tasks, TaskReader):
            return self, ()
        n_held = min(int(share * len(self.tasks)), len(self.tasks) - least)
        labels = [set(task.y.tolist()) if shared_labels else set() for task in self.tasks]
        n_tasks_with = Counter(k for of_task in labels for k in of_task)
        held = list[int]()
        for i in np.random.RandomState(seed).permutation(len(self.tasks)).tolist():
            if len(held) < n_held and all(n_tasks_with[k] > 1 for k in labels[i]):
                held.append(i)
                n_tasks_with.subtract(labels[i])
        if len(held) < 2:
            return self, ()
        positions = range(len(self.tasks)) if self.positions is None else self.positions
        rest = np.setdiff1d(np.arange(len(self.tasks)), held).tolist()
        tasks, of_rest = tuple(self.tasks[i] for i in rest), [positions[i] for i in rest]
        return replace(self, tasks=tasks, positions=of_rest), [self.tasks[i] for i in held]

    @property
    def first(self) -> Task:
        """The first task; all others have rows like it."""
        return self.tasks.first if isinstance(self.tasks, TaskReader) else self.tasks[0]

    def share_labels(self, regime: str) -> bool:
        """Return whether a label means the same in all tasks; "auto" looks at the tasks.

        Of tasks that are read, the first ones decide.
        """
        if self.target_type == "real" or regime != "auto":
            return self.target_type == "class" and regime == "shared"
        if samples_as(self.distribution, FewShotTasks):
            return False
        return self.label_counts.are_shared()

    @cached_property
    def label_counts(self) -> LabelCounts:
        """Counts of the labels of all tasks, or of the first ones that are read."""
        is_read = isinstance(self.tasks, TaskReader)
        return LabelCounts.of(islice(self.tasks, N_SAMPLE if is_read else None))

    def check_regime(self, counts: LabelCounts, shared_labels: bool) -> None:
        """Raise a TaskError if all tasks that are read suggest otherwise than the first ones."""
        if counts.are_shared() == shared_labels:
            return
        first, other = "mean the same in all tasks", "mean something only within their task"
        if not shared_labels:
            first, other = other, first
        raise TaskError(
            f"labels='auto' looks at the first {N_SAMPLE} of tasks that are read one by one, whose "
            f"labels seem to {first}; those of all {counts.n_tasks} tasks seem to {other} "
            f"({counts.describe_rarest()}). Choose labels='shared' or labels='task'."
        )

    def scale_and_pack(
        self,
        size: EpisodeSize,
        device: torch.device,
        scaling_name: str | None,
        prior: MetaState | None,  # that a warm start continues
        labels: LabelSpace,  # of that prior
        *,
        shared_labels: bool,  # a label means the same in all tasks
        guesses_labels: bool,  # the tasks have suggested so, or not
        joins_classes: bool,  # the same label is the same class of one output layer
        joins_pool: bool,  # that of the classes of a pool
        has_fixed_n_way: bool,
    ) -> TrainingData:
        """Choose the scaling of tasks, and pack their rows.

        A warm start keeps its labels, and its scaling unless another one is chosen now.
        """
        by_task, scaled_prior = scaling_name == "task", prior  # whose scaling stays
        if prior is not None and scaling_name != prior.training["scaling"]:
            scaled_prior = None
        declared = self.declared_classes if prior is None else labels.classes
        is_pool = samples_as(self.distribution, FewShotTasks)
        joins_classes |= shared_labels or (is_pool and joins_pool)
        statistics = self._statistics(
            size,
            labels,
            scales=scaling_name is not None and scaled_prior is None,
            shared_labels=shared_labels,
            guesses_labels=guesses_labels,
            joins_classes=joins_classes and declared is None,
            counts_classes=has_fixed_n_way,
        )
        shares = None
        if joins_classes:
            known = statistics.counts.classes() if declared is None else declared
            labels = replace(labels, classes=np.unique(known), is_shared=shared_labels)
        if shared_labels:
            labels = replace(labels, max_n_way=None)
            shares = statistics.counts.shares(labels.shared_classes)
            size = size if is_pool else size.of_tasks(labels.n_shared)
        dtype = dtype_of_rows(statistics.dtypes)
        check_dtype(device, dtype)
        scaling = statistics.scaling(scaling_name, scaled_prior)
        limits = None if by_task else statistics.limits(scaling, scaled_prior)
        at_packing = None if scaling_name is None else scaling
        packer = Packer(size, self.target_type, at_packing, dtype, device, labels)
        source, n_outputs = self._episodes(packer)
        n_outputs = labels.n_shared or max(n_outputs, statistics.n_way)
        labels.check_n_way(n_outputs)
        n_tasks = len(self.tasks) if self.distribution is None else None
        return TrainingData(
            self.first,
            n_tasks,
            source,
            packer,
            n_outputs,
            scaling,
            by_task,
            limits,
            shares,
            self.skipped,
        )

    def _statistics(
        self,
        size: EpisodeSize,
        labels: LabelSpace,
        *,
        scales: bool,
        shared_labels: bool,
        guesses_labels: bool,
        joins_classes: bool,
        counts_classes: bool,
    ) -> TaskStatistics:
        """Go through all tasks once; those that are read are checked, but not read for nothing."""
        is_read = isinstance(self.tasks, TaskReader)
        statistics = TaskStatistics(self.first, self.target_type, scales=scales or not is_read)
        counts_labels = joins_classes or shared_labels
        is_needed = scales or counts_labels or counts_classes or not is_read
        positions = range(len(self.tasks)) if self.positions is None else self.positions
        for i, task in zip(positions, self.tasks, strict=True) if is_needed else ():
            if is_read:  # the others are checked when they are packed
                check_enough_rows(task, i, size, self.target_type, shared_labels)
                labels.check_task(task, i)
                if counts_classes:
                    statistics.n_way = max(statistics.n_way, len(np.unique(task.y)))
                if counts_labels or guesses_labels:
                    statistics.counts.add([task])
            statistics.add(task)
            if joins_classes:
                statistics.check_kind(task, i)
        if counts_labels and not is_read:
            statistics.counts = self.label_counts
        if is_needed and is_read and guesses_labels:
            self.check_regime(statistics.counts, shared_labels)
        return statistics

    def _episodes(self, packer: Packer) -> tuple[EpisodeSource, int]:
        """Return the source of episodes, and the number of outputs or the most classes of a task.

        Of tasks that are read, only the first is looked at.
        """
        if samples_as(self.distribution, FewShotTasks):
            pool = self.distribution
            return PoolEpisodes(packer.pack_pool(pool), pool), pool.n_way[1]
        is_read = isinstance(self.tasks, TaskReader)
        numbers = self.positions if self.positions is None or not is_read else self.positions[:1]
        sample = [self.first] if is_read else [*self.tasks]
        packed = packer.pack(sample, numbers, on_host=is_read)
        is_class = self.target_type == "class"
        n_outputs = int(packed.count.max()) if is_class else self.first.y[:1].size
        if isinstance(self.tasks, TaskReader):
            return ReadEpisodes(self.tasks, packer), n_outputs
        if self.distribution is None:
            return TaskEpisodes(packed, len(self.tasks), packer.size), n_outputs

        def pack_sample(sample: Any) -> PackedTasks:
            tasks = prepared(sample, self.target_type)
            check_same_rows(tasks[0], self.first, "Task 0 of a sample", "the first tasks")
            try:
                return packer.pack(tasks)
            except TaskError as error:
                raise TaskError(f"In a sample of {self.distribution!r}: {error}") from None

        return DistributionEpisodes(self.distribution, pack_sample, packer.size), n_outputs


def prepared(tasks: Any, target_type: str) -> tuple[Task, ...]:
    """Validate tasks, and leave out their rows of weight 0."""
    checked = as_tasks(tasks, target_type=target_type)
    return tuple(weighted_rows(task, i) for i, task in enumerate(checked))


def weighted_rows(task: Task, i: int) -> Task:
    """Return a task without the rows of weight 0, which no episode should draw."""
    return without_zero_weights(task, label(task, i))


def samples_as(tasks: Any, kind: type[D]) -> TypeGuard[D]:
    """Return whether a distribution is of a kind and does not override how it samples."""
    return isinstance(tasks, kind) and type(tasks).sample is kind.sample


class TaskStatistics:
    """The dtypes, scales and labels of tasks, collected from one after the other."""

    def __init__(self, first: Task, target_type: str, *, scales: bool) -> None:
        self.first, self.is_class = first, target_type == "class"
        self.dtypes = {first.dtype}
        self.of_X = TaskMoments(all_axes=len(first.row_shape) > 1) if scales else None
        self.of_y = TaskMoments(all_axes=False) if scales and not self.is_class else None
        self.counts = LabelCounts()
        self.n_way = 0  # the most classes of a task, where they are counted

    def add(self, task: Task) -> None:
        """Add a validated task."""
        self.dtypes.add(task.dtype)
        if self.of_X is not None:
            self.of_X.add(task.X, task.sample_weight)
        if self.of_y is not None:
            self.of_y.add(task.y.reshape(len(task), -1), task.sample_weight)

    def check_kind(self, task: Task, i: int) -> None:
        """Raise a TaskError for labels of another kind than those of the first task."""
        first = self.first.y
        if (task.y.dtype.kind == "U") != (first.dtype.kind == "U"):
            raise TaskError(
                f"{label(task, i)}: y holds {task.y.dtype}, but that of task 0 holds "
                f"{first.dtype}; this learner takes the same label in two tasks for the same "
                "class, so all labels must be of one kind."
            )

    def scaling(self, name: str | None, prior: MetaState | None) -> Scaling:
        """Return the scaling of this name, or that of a prior."""
        if prior is not None:
            return prior.scaling
        if name is None:
            shape = self.first.row_shape
            n_outputs = 1 if self.is_class else self.first.y[:1].size
            return no_scaling(shape[0] if len(shape) == 1 else 1, n_outputs)
        assert self.of_X is not None
        return SCALINGS[name](self.of_X, self.of_y)

    def limits(self, scaling: Scaling, prior: MetaState | None) -> Limits | None:
        """Return how far rows go in the units of a scaling, also those of a prior with it."""
        limits = None if prior is None else prior.limits
        if self.of_X is None:
            return limits
        of_tasks = limits_of(scaling, self.of_X, self.of_y)
        return of_tasks if limits is None else limits.join(of_tasks)


# ---- batches for skorch ----------------------------------------------------------------------


class TrainingBatches(Dataset):
    """The meta-batches of an epoch, a dataset that is its own loader."""

    def __init__(
        self,
        source: EpisodeSource,
        n_tasks: int,  # of a meta-batch
        iters_per_epoch: int,
        max_iter: int,
        seed: int,
        transductive: bool,  # padding is refused
    ) -> None:
        self.source, self.n_tasks = source, n_tasks
        self.iters_per_epoch, self.max_iter = iters_per_epoch, max_iter
        self.rng = np.random.RandomState(seed)
        self.transductive = transductive
        self.n_iter = 0  # of finished iterations, counted by a callback

    def progress(self) -> float:
        """Return the share of the iterations that are finished."""
        return self.n_iter / self.max_iter

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"source": None}  # a pickled net does not hold the tasks

    def __len__(self) -> int:
        return self.iters_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(min(self.iters_per_epoch, self.max_iter - self.n_iter)):
            yield flat(self.source.draw(self.n_tasks, self.rng), self.transductive)


class ValidationBatches(Dataset):
    """The same episodes of validation tasks in every epoch, a dataset that is its own loader.

    They stay in memory, unless the tasks are read: those are read again in every epoch. Each task
    has equally many episodes, which are at least `n_episodes` together.
    """

    def __init__(
        self,
        source: TaskEpisodes,
        n_tasks: int,
        seed: int,
        transductive: bool,
        n_episodes: int = 1,
    ) -> None:
        n_rounds = -(-n_episodes // source.n_tasks)
        self.n_batches = n_rounds * -(-source.n_tasks // n_tasks)

        def draw() -> Iterator[Batch]:
            rng = np.random.RandomState(seed)
            with in_validation_tasks():
                for _ in range(n_rounds):
                    for episode in source.in_order(n_tasks, rng):
                        yield flat(episode, transductive)

        batches = None if isinstance(source, ReadEpisodes) else list(draw())
        self.draw: Callable[[], Iterable[Batch]] = draw if batches is None else lambda: batches
        self.nbytes = sum(t.nbytes for tensors, _ in batches or () for t in tensors)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"draw": tuple, "n_batches": 0}  # a pickled net does not hold the tasks

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Batch]:
        yield from self.draw()


class TuningBatches:
    """The same episodes in every epoch, in small stacks, of different sizes."""

    def __init__(self, source: EpisodeSource, seed: int, transductive: bool) -> None:
        self.source, self.seed, self.transductive = source, seed, transductive
        is_pool = isinstance(source, PoolEpisodes)
        self.n_tasks = TUNING_STACK if is_pool else min(TUNING_STACK, source.n_tasks)

    def __iter__(self) -> Iterator[Batch]:
        source, rng = copy.copy(self.source), np.random.RandomState(self.seed)
        for _ in range(-(-N_TUNING // self.n_tasks)):
            yield flat(source.draw(self.n_tasks, rng), self.transductive)


def flat(episode: Episode, transductive: bool) -> Batch:
    """Return the tensors of an episode, and a target, which the loss does not use."""
    support, query, is_padded, tasks = episode
    if is_padded and transductive:
        raise ValueError(
            "Batch statistics (norm='batch', or BatchNorm in a backbone of your own) are those of "
            "the rows of a task, which padding would change, but the tasks of a meta-batch differ "
            "in rows or classes. Use norm='layer' (or 'group'; LayerNorm or GroupNorm in a "
            "backbone of your own), or tasks and n_shot, n_query that give every task the same "
            "number of rows."
        )
    return (*support, *query, torch.from_numpy(tasks)), support.weight[:, 0]


def open_validation(
    tasks: Any,
    table: Table,  # the tasks of meta-training, whose columns those of a frame have
    first: Task,  # of meta-training, whose rows those of validation are like
    packer: Packer,
    n_sample: int,  # tasks to draw from a distribution
    seed: int,
    readers: ExitStack,
    check: Callable[[Task, int], object] | None,  # tasks that fail it are skipped; None: raise
) -> TaskEpisodes:
    """Validate validation tasks and pack them."""
    unusable, skipped = "raise" if check is None else "skip", list[SkippedTask]()
    if samples_as(tasks, EmpiricalTasks):
        tasks = tasks.tasks
    elif isinstance(tasks, TaskDistribution):
        tasks = tasks.sample(n_sample, seed)
    source: TaskEpisodes
    with in_validation_tasks():
        if is_lazy(tasks):
            reader = TaskReader(as_lazy(tasks), packer.target_type, unusable, weighted_rows)
            readers.enter_context(reader)
            n_tasks = len(reader)
            if check is not None:
                skipped = reader.keep(check)
            source, task = ReadEpisodes(reader, packer), reader.first
        else:
            parts = validation_table(tasks, *table[1:]) or (tasks,)
            usable = usable_tasks(*parts, target_type=packer.target_type, unusable=unusable)
            usable.map(weighted_rows, skip=check is not None)
            if check is not None:
                usable.keep(check)
            packed, skipped = packer.pack(usable.tasks, usable.positions), usable.skipped
            source, task = TaskEpisodes(packed, len(usable.tasks), packer.size), usable.tasks[0]
            n_tasks = len(usable.tasks) + len(skipped)
    warn_of_skipped(skipped, n_tasks, "In validation_tasks: ")
    check_same_rows(task, first, "Task 0 of validation_tasks", "the tasks")
    return source


@contextmanager
def in_validation_tasks() -> Iterator[None]:
    """Name the validation tasks in errors of a task."""
    try:
        yield
    except TaskError as error:
        raise type(error)(f"In validation_tasks: {error}") from error
