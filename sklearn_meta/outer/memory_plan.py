"""What memory a meta-training needs, and how many tasks fit into it at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_meta.functional.generators import Generators, seeded
from sklearn_meta.inner.algorithm import Algorithm, Examples
from sklearn_meta.outer.extent import largest, most_rows, stored_bytes
from sklearn_meta.outer.memory import free_bytes, peak_bytes
from sklearn_meta.outer.memory_estimate import MemoryEstimate, does_not_fit
from sklearn_meta.outer.meta_gradient import gradient
from sklearn_meta.outer.module import EpisodicModule, FixedBatches, MetaBatches

__all__ = ["Plan"]

SHARE = 0.8  # of the free memory, for us to use
MOMENTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of meta-training, at which an algorithm may differ
HANDY = 3 * 2**23  # bytes of a tensor; from 32 MB on glibc asks for new pages at each use
PER_ROW, PER_WEIGHT = 20, 200  # copies that no inner step needs more of (measured: 6; the LSTM 168)


class Plan:
    """How much of a meta-batch goes through at once.

    Parameters
    ----------
    est : BaseMetaLearner
        Whose parameters say what may be changed.
    module : EpisodicModule
        The objective.
    batches : MetaBatches
        Where the largest meta-batch is drawn from; they stay as they are.
    valid : FixedBatches, ReadBatches or None
        For validation.
    optimizer : callable
        From parameters to the optimiser of the outer loop.
    device : torch.device
        Where it runs.
    n_way : int
        Classes of a task, where the source does not know them before it draws.
    """

    def __init__(
        self,
        est: Any,
        module: EpisodicModule,
        batches: MetaBatches,
        valid: Any,
        optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
        device: torch.device,
        n_way: int,
    ) -> None:
        self.est, self.module, self.valid = est, module, valid
        self.optimizer, self.device, self.n_tasks = optimizer, device, batches.n_tasks
        self.source, self.n_way = batches.source, n_way
        # on the device itself only where torch tells how much of it is free
        self.place = device if device.type == "cuda" else torch.device("cpu")
        theta = self.module.theta()
        self.theta = {k: p.detach().to(self.place).requires_grad_() for k, p in theta.items()}

    @cached_property
    def episodes(self) -> tuple[Examples, Examples]:
        """The support and query of the largest meta-batch that there is."""
        support, query, _ = largest(self.source).draw(self.n_tasks, np.random.RandomState(0))
        support, query = (Examples(*(t.to(self.place) for t in rows)) for rows in (support, query))
        return support, query

    @cached_property
    def n_rows(self) -> tuple[int, int]:
        """Rows of the support and of the query of a task, at most."""
        of_support, of_query = (rows.weight.shape[1] for rows in self.episodes)
        return of_support, of_query

    @cached_property
    def kept(self) -> list[int]:
        """Bytes of a row in each tensor that the network keeps for its backward pass."""
        like = next(iter(self.theta.values()))
        f: Any = self.module.f
        X = like.new_zeros(3, *f.row_shape)  # one row alone has no batch statistics
        return [X[:1].nbytes, *map(int.__sub__, self._kept(X), self._kept(X[:2]))]

    @property
    def row_bytes(self) -> int:
        """Count what the network keeps of a row."""
        return self.kept[0] + max(sum(self.kept[1:]), 0) + self._column_bytes

    @property
    def _column_bytes(self) -> int:
        """Count what the logits of a row take."""
        return self.n_way * next(iter(self.theta.values())).element_size()

    def chunk(self) -> int | None:
        """Choose the tasks of a chunk, looking closer only where it may matter.

        Returns
        -------
        int or None
            None: all.

        Raises
        ------
        MemoryError
            If not even one task fits.
        """
        free = free_bytes(self.device)
        if free is None or self._at_most() <= free / 4:
            return None if self.handy >= self.n_tasks else self.handy
        estimate = self.estimate(free)
        needed = estimate.training + estimate.one_task
        if needed > free:
            raise does_not_fit(self.est, needed, free)
        return None if estimate.task_chunk_size >= self.n_tasks else estimate.task_chunk_size

    def estimate(self, free: int | None) -> MemoryEstimate:
        """Measure on one and two tasks, and few inner steps, and extrapolate.

        Parameters
        ----------
        free : int or None
            Bytes that are free.

        Returns
        -------
        MemoryEstimate
            For the chunk that fits, or that the parameters ask for.
        """
        least, training = int(max(self.n_rows) * self.row_bytes), self._training()
        if free is not None and least > free:  # a trial would be the end of the process
            one = more = least
        else:
            one, more = self._measured()
        size = self.est.task_chunk_size or self.handy
        if self.est.task_chunk_size is None and free is not None:
            room = SHARE * free - training - one
            size = self._equal(min(self.handy, 1 + max(room, 0) // max(more, 1)))
        size = min(int(size), self.n_tasks)
        return MemoryEstimate(
            rows=self._rows(),
            training=training,
            chunk=one + (size - 1) * more,
            one_task=one,
            task_chunk_size=size,
            meta_batch_size=self.n_tasks,
            free=free,
        )

    @cached_property
    def handy(self) -> int:
        """Tasks a chunk whose tensors a CPU has at hand: beyond, more at once take longer.

        A compiled graph has no tensor for what it fuses: it is not cut.
        """
        if self.device.type != "cpu" or self.module.compiled is not None or self.n_tasks == 1:
            return self.n_tasks
        n_support, n_query = most_rows(self.source, self.n_way)
        width = max(*self.kept, self._column_bytes)
        largest = max(n_support, n_query / 2) * width  # a query passes only once
        weights = max(p.nbytes for p in self.theta.values())
        if self.n_tasks * max(largest, weights) > HANDY:
            support = Examples(*(t[:1] for t in self.episodes[0]))
            algorithm = _with_steps(self.module.algorithm, 1).at(0.0)
            shared = {p.data_ptr() for p in self.theta.values()}
            with seeded(Generators(0)):
                phi = algorithm.adapt(self.module.f, self.theta, support)
            own = [p.nbytes for p in phi.values() if p.data_ptr() not in shared]
            largest = max([largest, *own])
        return self._equal(max(HANDY / largest, 1))

    def _equal(self, size: float) -> int:
        """Cut a meta-batch into as many chunks, of equal sizes."""
        return -(-self.n_tasks // -(-self.n_tasks // min(int(size), self.n_tasks)))

    def _rows(self) -> int:
        drawn = sum(t.nbytes for examples in self.episodes for t in examples)
        valid = self.valid.batches if isinstance(self.valid, FixedBatches) else []
        return stored_bytes(self.source) + drawn + sum(t.nbytes for batch in valid for t in batch)

    def _training(self) -> int:
        """Theta, gradients (added up, and of a chunk), the state of the optimiser, the best."""
        theta = [torch.zeros_like(p).requires_grad_() for p in self.theta.values()]
        for p in theta:
            p.grad = torch.zeros_like(p)
        outer = self.optimizer(theta)
        if not isinstance(outer, torch.optim.LBFGS):  # which wants to be given a loss
            outer.step()
        kept = [v for state in outer.state.values() for v in state.values()]
        of_theta = sum(p.nbytes for p in theta)
        copies = 3 + (self.valid is not None)
        return copies * of_theta + sum(v.nbytes for v in kept if isinstance(v, Tensor))

    def _kept(self, X: Tensor) -> list[int]:
        kept: list[int] = []

        def count(t: Tensor) -> None:  # and let go: a graph that gets its own tensors back stays
            kept.append(t.nbytes)

        hooks = torch.autograd.graph.saved_tensors_hooks(count, lambda nothing: nothing)
        with hooks, seeded(Generators(0)):
            self.module.f(self.theta, X)
        return kept

    def _at_most(self) -> float:
        """More than any chunk needs, at a guess."""
        n_rows = most_rows(self.source, self.n_way)
        steps = _steps(self.module.algorithm) + 1
        weights = sum(p.nbytes for p in self.theta.values())
        of_task = PER_ROW * steps * sum(n_rows) * self.row_bytes + PER_WEIGHT * steps * weights
        return self.handy * of_task

    def _measured(self) -> tuple[int, int]:
        """Peak of one task, and what each more adds."""
        algorithm = self.module.algorithm
        differ = {algorithm.at(progress): progress for progress in MOMENTS}
        found = [self._measured_at(progress) for progress in differ.values()]
        one, two = (max(peaks) for peaks in zip(*found, strict=True))
        return one, max(two - one, 0)

    def _measured_at(self, progress: float) -> tuple[int, int]:
        """Peak of one task and of two; that of many steps is a straight line through few."""
        steps = _steps(self.module.algorithm)
        tried = (2, 3) if steps > 3 else (steps,)
        peaks = []
        for n in range(1, min(2, self.n_tasks) + 1):
            few = [self._peak(k, progress, n) for k in tried]
            peaks.append(few[0] + (steps - tried[0]) * (few[-1] - few[0]))
        return peaks[0], peaks[1] if self.n_tasks > 1 else 2 * peaks[0]

    def _peak(self, steps: int, progress: float, n: int) -> int:
        algorithm = _with_steps(self.module.algorithm, steps).at(progress)
        support, query = (Examples(*(t[:n] for t in rows)) for rows in self.episodes)
        objective = partial(algorithm.objective, self.module.f)
        with seeded(Generators(0)):
            return peak_bytes(lambda: gradient(objective, self.theta, support, query))


def _steps(algorithm: Algorithm) -> int:
    return int(getattr(algorithm, "inner_steps", 1))


def _with_steps(algorithm: Algorithm, steps: int) -> Algorithm:
    known = {field.name for field in fields(algorithm)}
    changes: Any = {"inner_steps": steps} if "inner_steps" in known else {}
    return replace(algorithm, **changes)
