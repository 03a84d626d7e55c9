"""From validated tasks to padded stacks of support and query: the one path of all tasks.

Rows stay in a `RowStore`. An episode is an array of row numbers (B, n), which `gather` turns into
`Examples`. Meta-training and validation draw the numbers; `predict_tasks` takes those of the fixed
supports and queries.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_meta.exceptions import TaskError
from sklearn_meta.inner.algorithm import Examples
from sklearn_meta.outer.labels import LabelSpace, TaskLabels, columns_among, encode_labels
from sklearn_meta.outer.ranks import ALONE, Ranks
from sklearn_meta.outer.rows import RowStore, on_device, store_of_pool, store_of_tasks
from sklearn_meta.outer.scaling import Scaling
from sklearn_meta.tasks import FewShotTasks, Task, TaskDistribution
from sklearn_meta.tasks.lazy import TaskReader
from sklearn_meta.tasks.task import weights_of
from sklearn_meta.tasks.validate import label

__all__ = [
    "TASK_SAMPLING",
    "DistributionEpisodes",
    "Episode",
    "EpisodeSize",
    "EpisodeSource",
    "LabelledRows",
    "PackedTasks",
    "Packer",
    "PoolEpisodes",
    "ReadEpisodes",
    "TaskEpisodes",
    "check_usable",
    "pad_rows",
]

S = TypeVar("S", bound="EpisodeSource")

Ints = NDArray[np.intp]

ANY_LABELS = LabelSpace()
EMPTY_SHARE = 0.1  # of the meta-batches, where the prior must predict without rows
# the shares of tasks in the meta-batches, up to a factor, by their numbers of rows
TASK_SAMPLING: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "uniform": np.ones_like,
    "sqrt": np.sqrt,
    "rows": np.asarray,
}


# ---- from row numbers to stacks --------------------------------------------------------------


class Episode(NamedTuple):
    """A meta-batch: a stack of tasks, each with support and query.

    On several processes, support and query are those of the tasks of this rank alone.
    """

    support: Examples
    query: Examples
    is_padded: bool
    tasks: Ints  # (B,), positions of all tasks among those of the source, which has `n_tasks`


def pad_rows(rows: Ints, sizes: Ints, spare: Ints | None = None) -> tuple[Ints, NDArray[np.bool_]]:
    """Return row numbers of one task after the other as (B, n), and where they are no padding.

    Padding repeats the first row of the task, so that no task can disturb another. A task without
    rows has padding only: the row in `spare` (B,).
    """
    mask = np.arange(max(1, sizes.max())) < sizes[:, None]
    first = np.cumsum(sizes) - sizes
    if spare is not None:
        first = np.where(sizes > 0, np.append(rows, 0)[first], spare)
    else:
        first = rows[first]
    padded = np.repeat(first, mask.shape[1]).reshape(mask.shape)
    padded[mask] = rows
    return padded, mask


def gather(
    X: RowStore,
    y: Tensor | None,
    rows: Ints,
    mask: NDArray[np.bool_] | None,
    columns: Ints | None = None,
    n_columns: int = 0,
    rng: np.random.RandomState | None = None,
    weight_of_row: NDArray[Any] | None = None,  # None: all 1
) -> Examples:
    """Take rows (B, n) of tasks, with weight 0 outside the mask (B, n).

    Targets are rows of `y`, or one-hot rows with a 1 in `columns` (B, n).
    """
    inputs = X.take(rows, rng)
    B, n = rows.shape
    weight = inputs.new_ones(B, n) if mask is None else on_device(mask, X.device).to(inputs)
    if weight_of_row is not None:
        weight = weight * torch.from_numpy(weight_of_row[rows]).to(inputs, non_blocking=True)
    if y is not None:
        targets = y.index_select(0, on_device(rows.reshape(-1), X.device))
        return Examples(inputs, targets.view(B, n, *y.shape[1:]), weight)
    assert columns is not None
    hot = on_device(columns, X.device).unsqueeze(-1)
    return Examples(inputs, inputs.new_zeros(B, n, n_columns).scatter_(-1, hot, 1), weight)


@dataclass(frozen=True)
class LabelledRows:
    """Rows and targets of a few tasks on the CPU, one task after the other, to be stacked.

    A label is a column of one-hot rows: its position among the labels of its task, or among the
    classes that tasks share.
    """

    X: RowStore
    y: Tensor | None  # (n_rows, n_outputs), real targets
    columns: Ints | None  # (n_rows,), of labels
    labels: list[NDArray[Any]] | None  # of the columns of each task
    is_absent: NDArray[np.bool_] | None  # (n_tasks, n_columns), where a task lacks a label
    weight: NDArray[np.float64] | None  # (n_rows,); None: all 1

    @classmethod
    def of(
        cls,
        tasks: Sequence[Task],
        dtype: Any,
        task_labels: TaskLabels | None,  # None for real targets
        label_space: LabelSpace = ANY_LABELS,
    ) -> LabelledRows:
        """Take the rows of validated tasks; inputs are in `dtype`, real targets in float64.

        A label that is none of those of the outputs has column -1.
        """
        X = store_of_tasks(tasks, None, dtype, torch.device("cpu"))
        weight = weights_of(tasks)
        if task_labels is None:
            y = np.concatenate([task.y.reshape(len(task), -1) for task in tasks])
            return cls(X, torch.from_numpy(y.astype(np.float64)), None, None, None, weight)
        code, n_way, values = task_labels
        first = np.cumsum(n_way) - n_way
        parts = zip(np.split(values, first[1:]), tasks, strict=True)
        labels = [part.astype(task.y.dtype, copy=False) for part, task in parts]
        if label_space.classes is None:
            is_absent = np.arange(n_way.max()) >= n_way[:, None]
            return cls(X, None, code, labels, is_absent, weight)
        labels = [label_space.of_outputs(part) for part in labels]
        is_absent = np.zeros((len(tasks), label_space.n_shared), dtype=bool)
        pairs = zip(tasks, labels, strict=True)
        columns = np.concatenate([columns_among(task.y, names) for task, names in pairs])
        return cls(X, None, columns, labels, is_absent, weight)

    def stack(
        self, rows: Ints, sizes: Ints, spare: Ints | None = None
    ) -> tuple[Examples, NDArray[Any]]:
        """Stack row numbers of one task after the other; return also their weights, 0 if padded."""
        padded, mask = pad_rows(rows, sizes, spare)
        columns, n_columns = None, 0
        if self.columns is not None and self.is_absent is not None:
            columns = np.maximum(self.columns[padded], 0)  # padding may have an unknown label
            n_columns = self.is_absent.shape[1]
        examples = gather(
            self.X, self.y, padded, mask, columns, n_columns, weight_of_row=self.weight
        )
        return examples, mask if self.weight is None else mask * self.weight[padded]


# ---- packed tasks, from which episodes are drawn ---------------------------------------------


@dataclass(frozen=True)
class EpisodeSize:
    """Rows of an episode, of each class or of a task as a whole, where tasks do not fix them."""

    n_support: tuple[int, int]  # a range
    n_query: int
    empty_share: float = 0.0  # of meta-batches, without support
    orders_classes: bool = False  # column k is the class k of a task in each of its episodes

    @property
    def least_rows(self) -> int:
        """Rows that are needed; for a range of supports, a small task gives what it has."""
        least, most = self.n_support
        return least + 1 if least == most else 2

    def draw_n_support(self, rng: np.random.RandomState) -> int:
        """Draw the number of support rows of a meta-batch."""
        if self.empty_share > 0 and rng.random_sample() < self.empty_share:
            return 0
        return int(rng.randint(self.n_support[0], self.n_support[1] + 1))

    def of_tasks(self, n_classes: int) -> EpisodeSize:
        """Return the size of episodes whose rows are drawn from the task as a whole."""
        least, most = self.n_support
        n_support = least * n_classes, most * n_classes
        return EpisodeSize(n_support, self.n_query * n_classes, EMPTY_SHARE)


@dataclass(frozen=True)
class PackedTasks:
    """All rows of some tasks in groups: the classes of a task, or a regression task as a whole."""

    X: RowStore
    y: Tensor | None  # (n_rows, n_outputs); None for labels, which follow from the groups
    order: Ints  # (n_rows,), row numbers group after group, those of a fixed support first
    start: Ints  # (n_groups,), where each group begins in `order`
    size: Ints  # (n_groups,)
    fixed: Ints  # (n_groups,), rows of a fixed support; 0: drawn anew
    first: Ints  # (n_tasks,), the first group of each task; empty for a pool
    count: Ints  # (n_tasks,), groups of each task
    code: Ints | None = None  # (n_groups,), the class of each group, where tasks share classes
    n_classes: int = 0
    code_of_row: Ints | None = None  # (n_rows,), where a group is a task with several classes
    weight: NDArray[np.float64] | None = None  # (n_rows,); None: all 1

    @property
    def nbytes(self) -> int:
        """Bytes of the device that rows and targets occupy."""
        return self.X.nbytes + (0 if self.y is None else self.y.nbytes)

    def with_sizes_of_all(self, n: int, ranks: Ranks) -> PackedTasks:
        """Return n tasks, of which these are the rows of the part of this rank.

        The numbers of rows of all tasks determine which rows are drawn. A rank without a task has
        one that is not among the n.
        """
        if ranks.size == 1:
            return self
        part = ranks.part(n)
        n_own = part.stop - part.start
        count = ranks.join(self.count[:n_own], part.start, n)
        own = slice(int(count[: part.start].sum()), int(count[: part.stop].sum()))
        n_own, n_groups = own.stop - own.start, int(count.sum())
        sizes = np.stack([self.size[:n_own], self.fixed[:n_own]], axis=1)
        size, fixed = ranks.join(sizes, own.start, n_groups).T
        start, code = np.zeros((2, n_groups), dtype=np.intp)
        start[own] = self.start[:n_own]
        if self.code is not None:
            code[own] = self.code[:n_own]
        return replace(
            self,
            start=start,
            size=size,
            fixed=fixed,
            first=np.cumsum(count) - count,
            count=count,
            code=None if self.code is None else code,
        )

    def draw_tasks(
        self, tasks: Ints, size: EpisodeSize, rng: np.random.RandomState, ranks: Ranks = ALONE
    ) -> Episode:
        """Draw rows of some tasks, with the classes of each in random order, or in theirs."""
        count, first = self.count[tasks][:, None], self.first[tasks][:, None]
        position = np.arange(count.max())
        if not size.orders_classes:  # the position of a class in an episode has no meaning
            keys = rng.random_sample((len(tasks), len(position)))
            keys[position >= count] = 2.0
            position = keys.argsort(-1)
        groups = np.where(position < count, first + position, -1)
        return self.draw(groups, tasks, size.draw_n_support(rng), size.n_query, rng, ranks)

    def draw(
        self,
        groups: Ints,
        tasks: Ints,
        n_support: int,
        n_query: int,
        rng: np.random.RandomState,
        ranks: Ranks = ALONE,
    ) -> Episode:
        """Draw support and query of the groups (B, n_way) of tasks, -1 where a task has fewer.

        Groups that are too small give fewer rows, but leave at least one for the query. All ranks
        draw the same numbers of rows, and each takes the rows of its part of the tasks.
        """
        part = ranks.part(len(tasks))
        exists = groups >= 0
        size = np.where(exists, self.size[groups], 0)
        fixed = np.where(exists, self.fixed[groups], 0)
        n_s: Ints = np.where(fixed > 0, fixed, np.minimum(n_support, np.maximum(size - 1, 0)))
        n_q = np.minimum(n_query, size - n_s)
        rows = shuffled_rows(size, fixed, rng)
        most_s, most_q = n_s.max(), n_q.max()
        is_padded = bool((n_s != most_s).any() or (n_q != most_q).any())
        if is_padded or most_s == 0:  # a support without rows has one of padding
            is_padded = True
            last = np.maximum(size - 1, 0)[..., None]  # padding is a real row, so that it is finite
            support = np.minimum(take_span(rows, np.zeros_like(n_s), n_s), last)
            query = np.minimum(take_span(rows, n_s, n_q), last)
        else:
            support, query = rows[..., :most_s], rows[..., most_s : most_s + most_q]
        return Episode(
            self._examples(groups, support, n_s if is_padded else None, rng, part),
            self._examples(groups, query, n_q if is_padded else None, rng, part),
            is_padded,
            tasks,
        )

    def n_rows(self) -> Ints:
        """Return the number of rows of each task."""
        return np.add.reduceat(self.size, self.first)

    def _examples(
        self, groups: Ints, rows: Ints, n: Ints | None, rng: np.random.RandomState, part: slice
    ) -> Examples:
        """Take rows (B, n_way, most) of a part of the tasks; of each group the first n, or all."""
        if self.X.draws:  # for all tasks, so that the numbers do not depend on the part
            examples = self._examples_of_all(groups, rows, n, rng)
            return Examples(*(t[part] for t in examples))
        return self._examples_of_all(groups[part], rows[part], None if n is None else n[part], rng)

    def _examples_of_all(
        self, groups: Ints, rows: Ints, n: Ints | None, rng: np.random.RandomState
    ) -> Examples:
        B, n_way, most = rows.shape
        flat = B, n_way * most
        mask = None if n is None else (np.arange(most) < n[..., None]).reshape(flat)
        numbers = self.order[(self.start[groups][..., None] + rows).reshape(flat)]
        if self.code_of_row is not None:
            columns = self.code_of_row[numbers]
            return gather(self.X, None, numbers, mask, columns, self.n_classes, rng, self.weight)
        if self.y is not None:
            return gather(self.X, self.y, numbers, mask, rng=rng, weight_of_row=self.weight)
        columns, n_columns = np.arange(n_way)[None].repeat(B, axis=0), n_way
        if self.code is not None:
            columns, n_columns = self.code[groups], self.n_classes
        columns = np.repeat(columns, most, axis=1)
        return gather(self.X, None, numbers, mask, columns, n_columns, rng, self.weight)


def shuffled_rows(size: Ints, fixed: Ints, rng: np.random.RandomState) -> Ints:
    """Shuffle the rows of each group, those of a fixed support first."""
    columns = np.arange(size.max())
    keys = rng.random_sample((*size.shape, len(columns)))
    keys[columns >= size[..., None]] = 2.0
    keys[columns < fixed[..., None]] -= 1.0
    return keys.argsort(-1)


def take_span(rows: Ints, begin: Ints, n: Ints) -> Ints:
    """Take n rows of each group from a position on; the last is repeated."""
    most = np.arange(max(1, n.max()))
    columns = begin[..., None] + np.minimum(most, np.maximum(n - 1, 0)[..., None])
    return np.take_along_axis(rows, np.minimum(columns, rows.shape[-1] - 1), -1)


@dataclass(frozen=True)
class Packer:
    """How tasks become rows on the device, the same for meta-training and validation."""

    size: EpisodeSize
    target_type: str
    scaling: Scaling | None
    dtype: Any
    device: torch.device
    label_space: LabelSpace = ANY_LABELS

    def pack(
        self, tasks: Sequence[Task], numbers: Sequence[int] | None = None, *, on_host: bool = False
    ) -> PackedTasks:
        """Pack validated tasks; a TaskError names them by `numbers`, else by position.

        With `on_host`, rows stay on the host, because only one episode of them is drawn.
        """
        numbers = range(len(tasks)) if numbers is None else numbers
        n_rows = np.array([len(task) for task in tasks])
        is_support = np.zeros(n_rows.sum(), dtype=bool)
        for task, begin in zip(tasks, np.cumsum(n_rows) - n_rows, strict=True):
            if task.support is not None:
                is_support[begin + task.support] = True
        # where labels are shared, rows are drawn from the task as a whole, as they come
        by_class = self.target_type == "class" and not self.label_space.is_shared
        labels = encode_labels([task.y for task in tasks]) if by_class else None
        count = np.ones(len(tasks), dtype=np.intp) if labels is None else labels.n_way
        first = np.cumsum(count) - count
        group = np.repeat(first, n_rows) + (0 if labels is None else labels.code)
        size = np.bincount(group)
        fixed = np.bincount(group, weights=is_support).astype(int)
        y = code = code_of_row = None
        if self.label_space.is_shared:
            named = zip(tasks, map(label, tasks, numbers), strict=True)
            code_of_row = np.concatenate(
                [self.label_space.positions(task.y, name) for task, name in named]
            )
        elif labels is None:
            stacked = np.concatenate([task.y.reshape(len(task), -1) for task in tasks])
            exact = stacked.astype(np.float64)
            targets = exact if self.scaling is None else self.scaling.targets(stacked)
            y = torch.tensor(targets.astype(self.dtype), device=self.device)
        elif self.label_space.classes is not None:
            parts = zip(np.split(labels.values, first[1:]), map(label, tasks, numbers), strict=True)
            code = np.concatenate([self.label_space.positions(part, name) for part, name in parts])
        least = self.size.least_rows if code_of_row is None else 2
        is_suspect = np.logical_or.reduceat((fixed == 0) & (size < least), first)
        if by_class:
            most = self.label_space.max_n_way or np.inf
            is_suspect |= (count < 2) | (count > most)
        for i in np.flatnonzero(is_suspect).tolist():
            check_usable(tasks[i], numbers[i], self.size, self.target_type, self.label_space)
        return PackedTasks(
            store_of_tasks(tasks, self.scaling, self.dtype, self.device, on_host=on_host),
            y,
            np.lexsort((~is_support, group)),
            np.cumsum(size) - size,
            size,
            fixed,
            first,
            count,
            code,
            self.label_space.n_shared,
            code_of_row,
            weights_of(tasks),
        )

    def pack_pool(self, pool: FewShotTasks) -> PackedTasks:
        """Pack a labelled pool, in which any classes make a task."""
        no_tasks, has_shared = np.zeros(0, dtype=np.intp), self.label_space.classes is not None
        return PackedTasks(
            store_of_pool(pool, self.scaling, self.dtype, self.device),
            None,
            pool.rows,
            pool.starts,
            pool.sizes,
            np.zeros_like(pool.sizes),
            no_tasks,
            no_tasks,
            self.label_space.positions(pool.classes_, "The pool") if has_shared else None,
            self.label_space.n_shared,
        )


def check_usable(
    task: Task, i: int, size: EpisodeSize, target_type: str, labels: LabelSpace
) -> None:
    """Raise a TaskError for a task that gives no episode: too few rows, one class, wrong labels.

    Where labels are shared, a row of support and one of query are enough, whatever their labels.
    """
    shape = (len(task), *task.row_shape)
    is_class = target_type == "class" and not labels.is_shared
    groups, n_rows = np.zeros(1), np.array([len(task)])
    if is_class:
        groups, n_rows = np.unique(task.y, return_counts=True)
    least = 2 if labels.is_shared else size.least_rows
    if task.support is None and n_rows.min() < least:
        k = int(np.argmax(n_rows < least))
        what, name = "it", "n_support"
        if is_class:
            what, name = f"class {groups.tolist()[k]!r}", "n_shot"
        is_named = size.n_support[0] == least - 1 and not labels.is_shared
        needs = f"{name}={least - 1}" if is_named else "an episode"
        raise TaskError(
            f"{label(task, i)}: {what} has {n_rows[k]} row(s), but {needs} "
            f"needs at least {least}: the support and one row of query (X of shape {shape})."
        )
    if is_class and len(groups) < 2:
        raise TaskError(
            f"{label(task, i)}: y of shape {task.y.shape} holds a single class; "
            "there is nothing to learn to tell apart."
        )
    labels.check_task(task, i)


# ---- sources of episodes ---------------------------------------------------------------------


class EpisodeSource(ABC):
    """Where meta-batches come from."""

    size: EpisodeSize
    n_tasks: int  # that come again; 0 where tasks are sampled anew
    packed: PackedTasks | None = None  # where all rows are packed from the start
    queue: Ints = np.empty(0, dtype=np.intp)  # tasks of the next meta-batches, where they wait
    ranks: Ranks = ALONE  # among which the tasks of a meta-batch are divided

    @abstractmethod
    def draw(self, n_tasks: int, rng: np.random.RandomState) -> Episode:
        """Draw support and query of `n_tasks` tasks."""

    def divided_among(self: S, ranks: Ranks) -> S:
        """Return a copy that takes the rows of the tasks of this rank alone."""
        source = copy.copy(self)
        source.ranks = ranks
        return source

    def identity(self, name: str) -> dict[str, Any]:
        """Return what ranks that train together must have in common, by what it is called."""
        values: dict[str, Any] = {f"the number of {name}": self.n_tasks}
        packed = self.packed
        if packed is not None:
            numbers = packed.order, packed.start, packed.size, packed.fixed, packed.count
            some = np.linspace(0, len(packed.order) - 1, 8).astype(np.intp)
            X = packed.X.take(packed.order[some][None], np.random.RandomState(0))
            values[f"the order or the number of rows of {name}"] = joblib.hash(numbers)
            values[f"a row of {name}"] = X.flatten().cpu().numpy()
        return values

    def sample_by(self, name: str) -> None:
        """Draw tasks by their numbers of rows from now on, as `TASK_SAMPLING` says."""
        return  # a pool and a distribution draw tasks in their own way

    def largest(self: S) -> S:
        """Return a copy that always draws the largest number of rows and classes, of all tasks."""
        source = copy.copy(self)
        source.ranks = ALONE
        most = self.size.n_support[1]
        source.size = replace(self.size, n_support=(most, most), empty_share=0.0)
        return source

    def without_empty_supports(self: S) -> S:
        """Return a copy that always draws rows of support, which statistics of a batch need."""
        source = copy.copy(self)
        source.size = replace(self.size, empty_share=0.0)
        return source

    def most_rows(self, n_way: int) -> tuple[int, int]:
        """Return bounds of the rows of support and query of a task, without drawing any.

        `n_way` is used where the source does not know it before it draws. A fixed support counts
        only where tasks are packed from the start.
        """
        n_support, packed = self.size.n_support[1], self.packed
        if packed is not None and len(packed.count):
            n_way = int(packed.count.max())
            n_support = max(n_support, int(packed.fixed.max()))
        return n_way * n_support, n_way * self.size.n_query


class TaskEpisodes(EpisodeSource):
    """Episodes of tasks in random order, each once before any comes again."""

    def __init__(self, packed: PackedTasks | None, n_tasks: int, size: EpisodeSize) -> None:
        self.packed, self.n_tasks, self.size = packed, n_tasks, size
        self.probability: NDArray[np.float64] | None = None  # (n_tasks,); None: all equal

    def sample_by(self, name: str) -> None:
        """Draw tasks by their numbers of rows from now on."""
        if name != "uniform":
            share = TASK_SAMPLING[name](self.n_rows().astype(float))
            self.probability = share / share.sum()

    def n_rows(self) -> Ints:
        """Return the number of rows of each task."""
        assert self.packed is not None
        return self.packed.n_rows()

    def draw(self, n_tasks: int, rng: np.random.RandomState) -> Episode:
        """Draw a meta-batch of different tasks."""
        if self.probability is not None:
            tasks = rng.choice(self.n_tasks, n_tasks, replace=False, p=self.probability)
            return self.episode(tasks, self.queue, rng)
        if len(self.queue) < n_tasks:
            order = rng.permutation(self.n_tasks)
            is_queued = np.isin(order, self.queue)  # not twice in one meta-batch
            self.queue = np.concatenate([self.queue, order[~is_queued], order[is_queued]])
        tasks, self.queue = self.queue[:n_tasks], self.queue[n_tasks:]
        return self.episode(tasks, self.queue, rng)

    def in_order(self, n_tasks: int, rng: np.random.RandomState) -> Iterator[Episode]:
        """Draw an episode of each task, `n_tasks` at a time, in their order."""
        numbers = np.arange(self.n_tasks)
        for begin in range(0, self.n_tasks, n_tasks):
            yield self.episode(numbers[begin : begin + n_tasks], numbers[begin + n_tasks :], rng)

    def episode(self, tasks: Ints, upcoming: Ints, rng: np.random.RandomState) -> Episode:
        """Draw an episode of these tasks; the upcoming ones are likely to follow."""
        assert self.packed is not None
        return self.packed.draw_tasks(tasks, self.size, rng, self.ranks)


class ReadEpisodes(TaskEpisodes):
    """The episodes of `TaskEpisodes`, of tasks that are read when they are drawn."""

    def __init__(self, reader: TaskReader, packer: Packer) -> None:
        super().__init__(None, len(reader), packer.size)
        self.reader, self.packer = reader, packer

    def n_rows(self) -> Ints:
        """Read all tasks, and return the number of rows of each."""
        return np.array([len(task) for task in self.reader])

    def episode(self, tasks: Ints, upcoming: Ints, rng: np.random.RandomState) -> Episode:
        """Read tasks and draw an episode of them; start to read the upcoming ones.

        A rank reads its part of the tasks.
        """
        n, part = len(tasks), self.ranks.part(len(tasks))
        own = tasks[part]
        upcoming = upcoming[: self.ranks.size * (self.reader.prefetch + n)]
        place = np.arange(len(upcoming)) % n  # in a meta-batch as large as this one
        read = self.reader.take(own, upcoming[(part.start <= place) & (place < part.stop)])
        positions = [self.reader.number(i) for i in own]
        if not read:
            read, positions = [self.reader.first], [self.reader.number(0)]
        packed = self.packer.pack(read, positions, on_host=True).with_sizes_of_all(n, self.ranks)
        episode = packed.draw_tasks(np.arange(n), self.size, rng, self.ranks)
        return episode._replace(tasks=tasks)


class PoolEpisodes(EpisodeSource):
    """Episodes of random classes of a pool, as many in each task of a meta-batch."""

    packed: PackedTasks
    n_tasks = 1  # of all classes

    def __init__(self, packed: PackedTasks, pool: FewShotTasks) -> None:
        self.packed, self.n_way = packed, pool.n_way
        self.size = EpisodeSize(pool.n_shot, pool.n_query)

    def draw(self, n_tasks: int, rng: np.random.RandomState) -> Episode:
        """Draw a meta-batch of tasks with the same number of classes."""
        n_way = rng.randint(self.n_way[0], self.n_way[1] + 1)
        keys = rng.random_sample((n_tasks, len(self.packed.size)))
        groups = keys.argsort(-1)[:, :n_way]
        n_support = self.size.draw_n_support(rng)
        tasks = np.zeros(n_tasks, dtype=np.intp)
        return self.packed.draw(groups, tasks, n_support, self.size.n_query, rng, self.ranks)

    def largest(self) -> PoolEpisodes:
        """Return a copy that always draws the largest number of rows and classes."""
        source = super().largest()
        source.n_way = (self.n_way[1],) * 2
        return source

    def most_rows(self, n_way: int) -> tuple[int, int]:
        """Return bounds of the rows of support and query of a task."""
        return super().most_rows(self.n_way[1])


class DistributionEpisodes(EpisodeSource):
    """Episodes of tasks that are sampled anew in every iteration."""

    n_tasks = 0

    def __init__(
        self,
        distribution: TaskDistribution,
        pack: Callable[[Any], PackedTasks],
        size: EpisodeSize,
    ) -> None:
        self.distribution, self.pack, self.size = distribution, pack, size

    def draw(self, n_tasks: int, rng: np.random.RandomState) -> Episode:
        """Sample tasks and draw an episode of each."""
        tasks = self.distribution.sample(n_tasks, rng)
        if len(tasks) != n_tasks:
            raise TaskError(
                f"{type(self.distribution).__name__}.sample(n_tasks={n_tasks}) gave "
                f"{len(tasks)} task(s)."
            )
        return self.pack(tasks).draw_tasks(np.arange(n_tasks), self.size, rng, self.ranks)
