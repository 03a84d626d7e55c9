"""Collections of tasks that are larger than memory and are read one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import check_parameter, integer
from sklearn_meta.tasks.distribution import TaskDistribution
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import (
    SkippedTask,
    as_task,
    check_task,
    raise_unusable,
    renamed,
    skipped_task,
)

__all__ = ["LazyTasks", "TaskReader", "is_lazy"]

MOST_AT_ONCE = 8  # tasks that a thread reads before it hands them over


class LazyTasks(Sequence[Task]):
    """Sequence of tasks that are read when they are needed, some of them ahead of time.

    `meta_fit`, `predict_tasks` and `score_tasks` read any sequence other than a list or a tuple
    item by item. This class reads the next items in the background.

    Parameters
    ----------
    sequence : object with `__len__` and `__getitem__`
        Its items are anything that :func:`as_tasks` takes as a task. ``sequence[i]`` must return
        the same task each time.

    n_workers : int, default=1
        Number of threads that read. More than one helps where reading waits or releases the GIL,
        as files, numpy and decompression do; ``sequence[i]`` is then called from several threads
        at once. With 0, items are read when they are needed, in the caller's own thread.

    prefetch : int, default=32
        Number of tasks to read ahead. These, and the tasks in use, are in memory at once.

    Raises
    ------
    TaskError
        If `sequence` is no such sequence, or is empty. When reading, if a task cannot be read or
        used; the error names its position.

    Notes
    -----
    Threads end with the call that reads, so that none are left after an interruption, a fork, or
    in a pickle. Results do not depend on `n_workers` or `prefetch`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.tasks import LazyTasks
    >>> class Files:
    ...     def __len__(self):
    ...         return 1000
    ...     def __getitem__(self, i):  # a file, in practice
    ...         X = np.random.RandomState(i).normal(size=(20, 3))
    ...         return X, X[:, 0] > X[:, 1]
    >>> tasks = LazyTasks(Files(), n_workers=2)
    >>> tasks
    LazyTasks(1000 tasks, n_workers=2, prefetch=32)
    >>> tasks[7]
    Task(X: (20, 3), y: (20,))
    """

    def __init__(self, sequence: Any, *, n_workers: int = 1, prefetch: int = 32) -> None:
        if not is_lazy(sequence) and not isinstance(sequence, (list, tuple)):
            raise TaskError(
                "LazyTasks needs a sequence of tasks, with __len__ and __getitem__; "
                f"got {type(sequence).__name__}."
            )
        if len(sequence) == 0:
            raise TaskError("tasks is empty; at least one task is needed.")
        self.sequence = sequence
        self.n_workers = int(check_parameter("n_workers", n_workers, integer(0), "LazyTasks"))
        self.prefetch = int(check_parameter("prefetch", prefetch, integer(0), "LazyTasks"))

    def reader(self, target_type: str | None = None, *, unusable: str = "raise") -> TaskReader:
        """Start reading; to be used in a `with` statement.

        Parameters
        ----------
        target_type : {"class", "real"}, default=None
            What `y` must hold. With None, what the first task holds.
        unusable : {"raise", "skip"}, default="raise"
            With "skip", the first task that can be used takes the place of the first one.

        Returns
        -------
        reader : TaskReader
            It has read the first task.

        Raises
        ------
        TaskError
            If the first task (with "skip": each task) cannot be read or used.
        """
        return TaskReader(self, target_type, unusable)

    def __len__(self) -> int:
        return len(self.sequence)

    @overload
    def __getitem__(self, i: int) -> Task: ...
    @overload
    def __getitem__(self, i: slice) -> list[Task]: ...
    def __getitem__(self, i: int | slice) -> Task | list[Task]:
        positions = range(len(self))[i]
        if isinstance(positions, int):
            return _read(self.sequence, positions)
        return [_read(self.sequence, position) for position in positions]

    def __iter__(self) -> Iterator[Task]:
        with self.reader() as reader:
            yield from reader

    def __repr__(self) -> str:
        return f"LazyTasks({len(self)} tasks, n_workers={self.n_workers}, prefetch={self.prefetch})"


class TaskReader:
    """Reader of tasks that checks each of them against the first, the attribute `first`.

    `positions` are those of the tasks in the sequence, after `keep` only of the usable ones.
    """

    def __init__(
        self,
        tasks: LazyTasks | Sequence[Any],  # only the former are read ahead
        target_type: str | None,
        unusable: str = "raise",
        prepare: Callable[[Task, int], Task] | None = None,  # for the reader, or raises a TaskError
    ) -> None:
        self.tasks = tasks if isinstance(tasks, LazyTasks) else LazyTasks(tasks, n_workers=0)
        self.target_type, self.prepare = target_type, prepare
        self.positions: Sequence[int] | NDArray[np.intp] = range(len(tasks))
        # what is being read, and the place of each task in it
        self._pending: dict[int, tuple[Future[list[Task | TaskError]], int]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._first: Task | None = None
        self._first = self._read_first(unusable)

    @property
    def prefetch(self) -> int:
        """Number of tasks to read ahead."""
        return self.tasks.prefetch

    @property
    def first(self) -> Task:
        """The first task that can be used."""
        assert self._first is not None
        return self._first

    def number(self, i: int | np.intp) -> int:
        """Return the position in the sequence of the i-th usable task."""
        return int(self.positions[int(i)])

    def take(
        self,
        positions: Sequence[int] | NDArray[np.intp],
        upcoming: Sequence[int] | NDArray[np.intp] = (),
    ) -> list[Task]:
        """Return some of the tasks, and start to read those that are likely to follow."""
        numbers = [self.number(i) for i in positions]
        if self.tasks.n_workers == 0:
            return [self._read_checked(i) for i in numbers]
        # not for each task that is taken: messages to threads cost more than quick reads
        n_ahead = len(self._pending) - len(numbers)
        if n_ahead <= self.prefetch // 2 or not all(i in self._pending for i in numbers):
            self._start([*numbers, *(self.number(i) for i in upcoming[: self.prefetch])])
        try:
            return [self._result(i) for i in numbers]
        finally:
            for i in set(numbers):
                del self._pending[i]

    def _start(self, wanted: Sequence[int]) -> None:
        """Start to read what is wanted and not yet being read, and forget all else."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.tasks.n_workers, "sklearn_meta-reader")
        self._pending, before = {i: p for i in wanted if (p := self._pending.get(i))}, self._pending
        needed = {future for future, _ in self._pending.values()}
        for future, _ in before.values():
            if future not in needed:
                future.cancel()
        new = [i for i in dict.fromkeys(wanted) if i not in self._pending]
        size = min(MOST_AT_ONCE, -(-len(new) // self.tasks.n_workers))
        for begin in range(0, len(new), size or 1):
            some = new[begin : begin + size]
            future = self._threads.submit(self._read_some, some)
            self._pending |= {i: (future, k) for k, i in enumerate(some)}

    def _read_some(self, numbers: Sequence[int]) -> list[Task | TaskError]:
        """Read some tasks, or return what is wrong with them."""
        results = list[Task | TaskError]()
        for i in numbers:
            try:
                results.append(self._read_checked(i))
            except TaskError as error:
                results.append(error)
        return results

    def _result(self, i: int) -> Task:
        future, k = self._pending[i]
        result = future.result()[k]
        if isinstance(result, TaskError):
            raise result
        return result

    def take_usable(self, positions: Sequence[int]) -> tuple[list[Task], list[SkippedTask]]:
        """Return the usable ones of some tasks that follow one another, and the others."""
        tasks, skipped, n = list[Task](), list[SkippedTask](), len(self)
        for i in positions:
            try:
                tasks += self.take([i], range(i + 1, n))
            except TaskError as error:
                skipped.append(self._skipped(i, error))
        return tasks, skipped

    def keep(self, check: Callable[[Task, int], object]) -> list[SkippedTask]:
        """Read all tasks once, and keep those that can be read and pass a check of the task.

        Return the others. The first usable task becomes `first`.
        """
        n, skipped, first = len(self), list[SkippedTask](), None
        is_usable = np.zeros(n, dtype=bool)
        for i in range(n):
            position = self.number(i)
            try:
                task = self.take([i], range(i + 1, n))[0]
                check(task, position)
            except TaskError as error:
                # without the task: all skipped ones may not fit into memory
                skipped.append(self._skipped(position, error)._replace(task=None))
                continue
            is_usable[i] = True
            first = task if first is None else first
        if first is None:
            raise_unusable(skipped)
        self.positions, self._first = np.asarray(self.positions)[is_usable], first
        return skipped

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Task]:
        n = len(self)
        for i in range(n):
            yield self.take([i], range(i + 1, n))[0]

    def close(self) -> None:
        """Stop reading, after the tasks that are being read."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._threads, self._pending = None, {}

    def __enter__(self) -> TaskReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read_first(self, unusable: str) -> Task:
        skipped: list[SkippedTask] = []
        for i in self.positions:
            try:
                return self._read_checked(i)
            except TaskError as error:
                if unusable == "raise":
                    raise
                skipped.append(self._skipped(i, error))
        raise_unusable(skipped)

    def _read_checked(self, i: int) -> Task:
        task = check_task(_read(self.tasks.sequence, i), i, self._first, self.target_type)
        return task if self.prepare is None else self.prepare(task, i)

    def _skipped(self, i: int, error: TaskError) -> SkippedTask:
        """Return the entry for a task of which something is wrong, if it can be read at all."""
        try:
            item = self.tasks.sequence[i]
            item = item if isinstance(item, SkippedTask) else as_task(item, i, check=False)
        except Exception:  # whatever the user's own reading raises
            item = None
        return skipped_task(item, i, error)


def _read(sequence: Any, i: int) -> Task:
    try:
        item = sequence[i]
    except TaskError as error:
        raise renamed(error, f"Task {i}") from error
    except Exception as error:  # whatever the user's own reading raises
        raise TaskError(f"Task {i} could not be read: {type(error).__name__}: {error}") from error
    return as_task(item, i)


def is_lazy(tasks: Any) -> bool:
    """Whether tasks are to be read one by one: a sequence other than a list, a table or a p(T)."""
    loaded = (list, tuple, str, bytes, np.ndarray, Mapping, Task, TaskDistribution, type)
    if isinstance(tasks, loaded):
        return False
    is_sequence = hasattr(tasks, "__len__") and hasattr(tasks, "__getitem__")
    return is_sequence and not any(hasattr(tasks, k) for k in ("columns", "iloc", "toarray"))
