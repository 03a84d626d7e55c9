"""The meta-batches of training and validation, as datasets that skorch takes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sklearn_meta.exceptions import TaskError
from sklearn_meta.outer.episodes import (
    Episode,
    EpisodeSource,
    PoolEpisodes,
    ReadEpisodes,
    TaskEpisodes,
)

__all__ = ["TrainingBatches", "TuningBatches", "ValidationBatches", "in_validation_tasks"]

Batch = tuple[tuple[Tensor, ...], Tensor]  # as skorch takes it

N_TUNING, STACK = 64, 8  # episodes by which an algorithm tunes theta, and of a stack of them


class TrainingBatches(Dataset):
    """The meta-batches of an epoch, a dataset that is its own loader."""

    def __init__(
        self,
        source: EpisodeSource,
        n_tasks: int,  # of a meta-batch
        iters_per_epoch: int,
        max_iter: int,
        seed: int,
        transductive: bool,  # a network with statistics of a batch, which takes no padding
    ) -> None:
        self.source = source.without_empty_supports() if transductive else source
        self.n_tasks = n_tasks
        self.iters_per_epoch, self.max_iter = min(iters_per_epoch, max_iter), max_iter
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
        if transductive:
            source = source.without_empty_supports()
        self.source = source
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
        # a pickled net does not hold the tasks
        return vars(self) | {"source": None, "draw": tuple, "n_batches": 0}

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Batch]:
        yield from self.draw()


class TuningBatches:
    """The same episodes in every epoch, in small stacks that differ in the size of the support."""

    def __init__(self, source: EpisodeSource, seed: int, transductive: bool) -> None:
        self.source = source.without_empty_supports() if transductive else source
        self.seed, self.transductive = seed, transductive
        is_pool = isinstance(source, PoolEpisodes)
        self.n_tasks = STACK if is_pool else min(STACK, source.n_tasks)

    def __iter__(self) -> Iterator[Batch]:
        source, rng = copy.copy(self.source), np.random.RandomState(self.seed)
        for _ in range(-(-N_TUNING // self.n_tasks)):
            yield flat(source.draw(self.n_tasks, rng), self.transductive)


def flat(episode: Episode, transductive: bool) -> Batch:
    """Return the tensors of an episode (1, ...), and a target, which the loss does not use."""
    support, query, is_padded, tasks = episode
    tensors = *support, *query, torch.from_numpy(tasks)
    if is_padded and transductive:
        raise ValueError(
            "Batch statistics (norm='batch', or BatchNorm in a backbone of your own) are those of "
            "the rows of a task, which padding would change, but the tasks of a meta-batch differ "
            "in rows or classes. Use norm='layer' (or 'group'; LayerNorm or GroupNorm in a "
            "backbone of your own), or tasks and n_shot, n_query that give every task the same "
            "number of rows."
        )
    # skorch wants tensors of one length, but a rank has the rows of some of the tasks only
    return tuple(t.unsqueeze(0) for t in tensors), tensors[-1]


@contextmanager
def in_validation_tasks() -> Iterator[None]:
    """Name the validation tasks in errors of a task."""
    try:
        yield
    except TaskError as error:
        raise type(error)(f"In validation_tasks: {error}") from error
