"""Tasks that are read one by one: more of them than memory holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, overload

import numpy as np

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.convert import as_task
from sklearn_meta.tasks.distribution import TaskDistribution
from sklearn_meta.tasks.ranges import check_int
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import check_task

__all__ = ["LazyTasks", "TaskReader", "as_lazy", "is_lazy"]


class LazyTasks(Sequence[Task]):
    """Tasks that are read when they are needed, some of them ahead of time.

    `meta_fit`, `predict_tasks` and `score_tasks` read any sequence that is no list or tuple item
    by item. Wrapped in this class, the next items are read in the background meanwhile.

    Parameters
    ----------
    sequence : object with `__len__` and `__getitem__`
        Of items that :func:`as_tasks` takes. ``sequence[i]`` must give the same task whenever it
        is asked for.

    n_workers : int, default=1
        Threads that read. More than one helps where reading waits or releases the GIL, as files,
        numpy and decompression do; ``sequence[i]`` is then called from several threads at once.
        0: items are read when they are needed, in the caller's own thread.

    prefetch : int, default=32
        Tasks that are read ahead. So many, and those in use, are in memory at once.

    Raises
    ------
    TaskError
        If `sequence` is no such sequence, or is empty; from reading, if a task cannot be read or
        cannot be used, with its position.

    Notes
    -----
    Threads live no longer than the call that reads, so that nothing is left of them after an
    interruption, a fork, or in a pickle. Results do not depend on `n_workers` or `prefetch`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.tasks import LazyTasks
    >>> class Files:
    ...     def __len__(self):
    ...         return 1000
    ...     def __getitem__(self, i):  # a file, in earnest
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
        self.n_workers = check_int(n_workers, "n_workers", "LazyTasks", 0)
        self.prefetch = check_int(prefetch, "prefetch", "LazyTasks", 0)

    def reader(self, target_type: str | None = None) -> TaskReader:
        """Begin to read; the caller closes the reader, or uses it in a `with` statement.

        Parameters
        ----------
        target_type : {"class", "real"}, default=None
            What `y` must hold; None: what the first task holds.

        Returns
        -------
        TaskReader
            Which has read the first task.

        Raises
        ------
        TaskError
            If the first task cannot be read, or cannot be used.
        """
        return TaskReader(self, target_type)

    def __len__(self) -> int:
        return len(self.sequence)

    @overload
    def __getitem__(self, i: int) -> Task: ...
    @overload
    def __getitem__(self, i: slice) -> list[Task]: ...
    def __getitem__(self, i: int | slice) -> Task | list[Task]:
        places = np.arange(len(self))[i]
        if isinstance(i, slice):
            return [read(self.sequence, int(place)) for place in places]
        return read(self.sequence, int(places))

    def __iter__(self) -> Iterator[Task]:
        with self.reader() as reader:
            yield from reader

    def __repr__(self) -> str:
        return f"LazyTasks({len(self)} tasks, n_workers={self.n_workers}, prefetch={self.prefetch})"


class TaskReader:
    """Reads tasks, and checks each of them against the first.

    Parameters
    ----------
    tasks : LazyTasks
        Where from, and how.
    target_type : {"class", "real"} or None
        What `y` must hold.

    Attributes
    ----------
    first : Task
        Task 0.
    """

    def __init__(self, tasks: LazyTasks, target_type: str | None) -> None:
        self.tasks, self.target_type = tasks, target_type
        self._ahead: dict[int, Future[Task]] = {}
        self._threads: ThreadPoolExecutor | None = None
        first = read(tasks.sequence, 0)
        asked = target_type is not None
        self.first = check_task(first, 0, first, target_type, asked=asked)

    def take(self, now: Sequence[int], then: Any = ()) -> list[Task]:
        """Read tasks, and begin to read those that come next.

        Parameters
        ----------
        now : sequence of int
            Positions of the tasks wanted.
        then : sequence of int, default=()
            Of those that are likely to be wanted next.

        Returns
        -------
        list of Task
            In the order of `now`.

        Raises
        ------
        TaskError
            If one of them cannot be read or used: the first such, in the order of `now`.
        """
        if self.tasks.n_workers == 0:
            return [self._read(i) for i in now]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.tasks.n_workers, "sklearn_meta-reader")
        wanted = dict.fromkeys([*now, *map(int, then[: self.tasks.prefetch])])
        for i in [i for i in self._ahead if i not in wanted]:
            self._ahead.pop(i).cancel()
        for i in wanted:
            if i not in self._ahead:
                self._ahead[i] = self._threads.submit(self._read, i)
        found = [self._ahead[i].result() for i in now]
        for i in set(now):
            del self._ahead[i]
        return found

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        n = len(self)
        for i in range(n):
            yield self.take([i], range(i + 1, min(i + 1 + self.tasks.prefetch, n)))[0]

    def close(self) -> None:
        """Stop reading; wait for what is being read."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._threads, self._ahead = None, {}

    def __enter__(self) -> TaskReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self, i: int) -> Task:
        task, asked = read(self.tasks.sequence, i), self.target_type is not None
        return check_task(task, i, self.first, self.target_type, asked=asked)


def read(sequence: Any, i: int) -> Task:
    """Read one task.

    Parameters
    ----------
    sequence : object with `__getitem__`
        Where from.
    i : int
        Its position.

    Returns
    -------
    Task
        Converted.

    Raises
    ------
    TaskError
        If it cannot be read, or is no task.
    """
    try:
        item = sequence[i]
    except TaskError as error:
        raise type(error)(str(error).replace("A task", f"Task {i}", 1)) from error
    except Exception as error:  # whatever the user's own reading raises
        raise TaskError(f"Task {i} could not be read: {type(error).__name__}: {error}") from error
    return as_task(item, i)


def is_lazy(tasks: Any) -> bool:
    """Whether tasks are to be read one by one, rather than all at once.

    Parameters
    ----------
    tasks : object
        As given to `meta_fit`.

    Returns
    -------
    bool
        True for :class:`LazyTasks` and for anything with a length and items, unless it is a list,
        a tuple, an array, a frame or a distribution.
    """
    there = (list, tuple, str, bytes, np.ndarray, Mapping, Task, TaskDistribution)
    if isinstance(tasks, (*there, type)):
        return False
    if not (hasattr(tasks, "__len__") and hasattr(tasks, "__getitem__")):
        return False
    return not (hasattr(tasks, "columns") or hasattr(tasks, "iloc") or hasattr(tasks, "toarray"))


def as_lazy(tasks: Any) -> LazyTasks:
    """Wrap a sequence that is read item by item, without reading ahead.

    Parameters
    ----------
    tasks : LazyTasks or object with `__len__` and `__getitem__`
        The sequence.

    Returns
    -------
    LazyTasks
        The very object, if it is one.
    """
    return tasks if isinstance(tasks, LazyTasks) else LazyTasks(tasks, n_workers=0)
