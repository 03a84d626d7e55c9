"""Meta-batches: which tasks, which classes, how many rows, drawn anew in every iteration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_meta.exceptions import TaskError
from sklearn_meta.inner.algorithm import Examples
from sklearn_meta.outer.packed import PackedTasks
from sklearn_meta.tasks import FewShotTasks, Task, TaskDistribution
from sklearn_meta.tasks.lazy import TaskReader

__all__ = [
    "EpisodeSource",
    "FromDistribution",
    "FromPool",
    "FromReader",
    "FromTasks",
    "Rows",
    "episode_of",
]

Batch = tuple[Examples, Examples, bool]


@dataclass(frozen=True)
class Rows:
    """How many rows an episode has, where the tasks do not say.

    Attributes
    ----------
    n_support : (int, int)
        Range of support rows, of a class or of a regression task.
    n_query : int
        Query rows, likewise.
    """

    n_support: tuple[int, int]
    n_query: int

    def draw(self, rng: np.random.RandomState) -> int:
        """Draw the number of support rows of a meta-batch."""
        return int(rng.randint(self.n_support[0], self.n_support[1] + 1))


class EpisodeSource(ABC):
    """Where meta-batches come from.

    Attributes
    ----------
    rows : Rows
        Rows of an episode.
    """

    rows: Rows

    @abstractmethod
    def draw(self, n_tasks: int, rng: np.random.RandomState) -> Batch:
        """Draw the support and query of `n_tasks` tasks, and whether there is padding."""

    def state(self) -> dict[str, np.ndarray]:
        """Give what the next draw depends on, beside the source of chance."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Draw on from a `state`."""
        vars(self).update(state)


class FromTasks(EpisodeSource):
    """Given tasks, in random order, each once before any comes again.

    Parameters
    ----------
    packed : PackedTasks
        The tasks.
    rows : Rows
        Rows of an episode.
    """

    def __init__(self, packed: PackedTasks, rows: Rows) -> None:
        assert packed.first is not None
        self.n, self.rows = len(packed.first), rows
        self._packed = packed
        self._waiting = np.empty(0, dtype=np.intp)

    def draw(self, n_tasks: int, rng: np.random.RandomState) -> Batch:
        """Draw a meta-batch of different tasks."""
        if len(self._waiting) < n_tasks:
            again = rng.permutation(self.n)
            seen_now = np.isin(again, self._waiting)  # not twice in one meta-batch
            self._waiting = np.concatenate([self._waiting, again[~seen_now], again[seen_now]])
        chosen, self._waiting = self._waiting[:n_tasks], self._waiting[n_tasks:]
        return self._episode(chosen, rng)

    def _episode(self, chosen: np.ndarray, rng: np.random.RandomState) -> Batch:
        return episode_of(self._packed, chosen, self.rows, rng)

    def state(self) -> dict[str, np.ndarray]:
        """Give the tasks that wait for their turn."""
        return {"_waiting": self._waiting}


class FromReader(FromTasks):
    """Given tasks that are read when their turn comes: the same episodes as :class:`FromTasks`.

    Parameters
    ----------
    reader : TaskReader
        Reads them.
    pack : callable
        From tasks and their positions to PackedTasks; refuses bad tasks.
    rows : Rows
        Rows of an episode.
    """

    def __init__(
        self,
        reader: TaskReader,
        pack: Callable[[list[Task], list[int]], PackedTasks],
        rows: Rows,
    ) -> None:
        self.n, self.rows = len(reader), rows
        self._reader, self._pack = reader, pack
        self._waiting = np.empty(0, dtype=np.intp)

    def _episode(self, chosen: np.ndarray, rng: np.random.RandomState) -> Batch:
        numbers = chosen.tolist()
        tasks = self._reader.take(numbers, self._waiting)
        packed = self._pack(tasks, numbers)
        return episode_of(packed, np.arange(len(chosen)), self.rows, rng)


class FromPool(EpisodeSource):
    """Classes of a labelled pool; the ways and shots are those of one range for a meta-batch.

    Parameters
    ----------
    packed : PackedTasks
        The pool's classes.
    pool : FewShotTasks
        The distribution.
    """

    def __init__(self, packed: PackedTasks, pool: FewShotTasks) -> None:
        self.packed, self.n_way = packed, pool.n_way
        self.rows = Rows(pool.n_shot, pool.n_query)

    def draw(self, n_tasks: int, rng: np.random.RandomState) -> Batch:
        """Draw a meta-batch of tasks with the same number of classes."""
        n_way = rng.randint(self.n_way[0], self.n_way[1] + 1)
        keys = rng.random_sample((n_tasks, len(self.packed.size)))
        groups = keys.argsort(-1)[:, :n_way]
        return self.packed.episode(groups, self.rows.draw(rng), self.rows.n_query, rng)


class FromDistribution(EpisodeSource):
    """Any distribution: fresh tasks in every iteration.

    Parameters
    ----------
    distribution : TaskDistribution
        Sampled once an iteration.
    pack : callable
        From a list of tasks to PackedTasks; refuses bad tasks.
    rows : Rows
        Rows of an episode, for tasks without a fixed support.
    """

    def __init__(
        self, distribution: TaskDistribution, pack: Callable[[list[Any]], PackedTasks], rows: Rows
    ) -> None:
        self.distribution, self.pack, self.rows = distribution, pack, rows

    def draw(self, n_tasks: int, rng: np.random.RandomState) -> Batch:
        """Sample tasks and make an episode of each."""
        tasks = self.distribution.sample(n_tasks, rng)
        if len(tasks) != n_tasks:
            raise TaskError(
                f"{type(self.distribution).__name__}.sample(n_tasks={n_tasks}) gave "
                f"{len(tasks)} task(s)."
            )
        packed = self.pack(tasks)
        return episode_of(packed, np.arange(n_tasks), self.rows, rng)


def episode_of(
    packed: PackedTasks, chosen: np.ndarray, rows: Rows, rng: np.random.RandomState
) -> Batch:
    """Draw the rows of some tasks, their classes in random order.

    Parameters
    ----------
    packed : PackedTasks
        With groups by task.
    chosen : ndarray of int
        Which tasks.
    rows : Rows
        How many rows.
    rng : RandomState
        The source of chance.

    Returns
    -------
    support, query : Examples
        Stacked.
    ragged : bool
        Whether there is padding.
    """
    assert packed.first is not None
    assert packed.count is not None
    count, first = packed.count[chosen][:, None], packed.first[chosen][:, None]
    keys = rng.random_sample((len(chosen), count.max()))
    keys[np.arange(keys.shape[1]) >= count] = 2.0
    position = keys.argsort(-1)  # a class's place in the episode means nothing
    groups = np.where(position < count, first + position, -1)
    return packed.episode(groups, rows.draw(rng), rows.n_query, rng)
