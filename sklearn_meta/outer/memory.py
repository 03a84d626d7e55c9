"""Estimate the memory of meta-training, and choose how many tasks are computed at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_meta._compat import PeakBytes
from sklearn_meta.functional import Params
from sklearn_meta.functional.generators import Generators, in_training, seeded
from sklearn_meta.inner.algorithm import Algorithm, Examples
from sklearn_meta.nn.backbone import RowNetwork
from sklearn_meta.outer.compiled import gradient
from sklearn_meta.outer.trainer import Trainer

__all__ = [
    "LARGE_TENSOR",
    "MemoryEstimate",
    "MemoryPlan",
    "bytes_of_a_row",
    "free_bytes",
    "out_of_memory",
    "peak_bytes",
]

CGROUPS = (  # (limit, usage, file cache), of the container that this process may run in
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
SHARE = 0.8  # of the free memory that may be used
MOMENTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of meta-training, at which an algorithm may differ
LARGE_TENSOR = 3 * 2**23  # bytes; from 32 MB on, glibc asks for new pages at each use
PER_ROW, PER_WEIGHT = 20, 200  # bounds of the copies in an inner step (measured: 6; the LSTM 168)


# ---- free memory -----------------------------------------------------------------------------


def free_bytes(device: torch.device) -> int | None:
    """Return the bytes that this process may still use; None where the system does not say."""
    if device.type == "cuda":  # what torch has cached is free too
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    limits = (free_of_machine(), *(free_of_container(*files) for files in CGROUPS))
    return min((n for n in limits if n is not None), default=None)


def free_of_machine() -> int | None:
    """Return the bytes that the operating system has left."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return 1024 * int(kilobytes)
    except (OSError, ValueError):  # not Linux
        return None


def free_of_container(limit: str, usage: str, cache: str) -> int | None:
    """Return the bytes that a container has left."""
    try:
        most, used = (int(Path(file).read_text()) for file in (limit, usage))
        lines = Path(limit).with_name("memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no such limit, or "max"
        return None
    stat = dict(line.split() for line in lines)
    return max(most - used + int(stat.get(cache, 0)), 0)  # the file cache is given up


def peak_bytes(run: Callable[[], Any]) -> int:
    """Return the most bytes of tensors that lived at once while `run` ran, beyond those before.

    They are counted for this thread alone, on any device.
    """
    with PeakBytes() as count:
        run()
    return count.peak


def bytes_of_a_row(f: RowNetwork, theta: Params) -> list[int]:
    """Count the bytes of a row, and those that it adds to each tensor saved for the gradient."""

    def saved_bytes(X: Tensor) -> list[int]:
        sizes: list[int] = []

        def count(t: Tensor) -> None:  # and release it: a graph that gets its tensors back stays
            sizes.append(t.nbytes)

        hooks = torch.autograd.graph.saved_tensors_hooks(count, lambda nothing: nothing)
        with torch.enable_grad(), hooks, seeded(Generators(0)):
            f(theta, X)
        return sizes

    like = next((p for p in theta.values() if p.is_floating_point()), torch.empty(0))
    X = like.new_zeros(3, *f.row_shape)  # one row has no batch statistics
    return [X[:1].nbytes, *map(int.__sub__, saved_bytes(X), saved_bytes(X[:2]))]


# ---- memory that meta-training needs ---------------------------------------------------------


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory that a meta-training needs, in bytes.

    Attributes
    ----------
    rows : int
        Rows of all tasks on the device, those of validation, and a meta-batch.
    training : int
        Theta, its gradient, and the state of the optimiser.
    chunk : int
        Peak of a chunk of a meta-batch.
    one_task : int
        Peak of a chunk of one task.
    task_chunk_size, meta_batch_size : int
        Number of tasks in a chunk, and in a meta-batch (in the part of this process, if several
        processes train together).
    free : int or None
        Free memory of the device; None where it does not say.
    """

    rows: int
    training: int
    chunk: int
    one_task: int
    task_chunk_size: int
    meta_batch_size: int
    free: int | None

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.rows + self.training + self.chunk

    def __str__(self) -> str:
        free = "" if self.free is None else f", of {with_unit(self.free)} that are free"
        return (
            f"{with_unit(self.total)} in all{free}: rows {with_unit(self.rows)}; theta, gradients "
            f"and optimiser {with_unit(self.training)}; {self.task_chunk_size} of "
            f"{self.meta_batch_size} tasks at once {with_unit(self.chunk)} "
            f"(one task {with_unit(self.one_task)})"
        )


class MemoryPlan:
    """Decides how much of a meta-batch is computed at once, by trials where they are needed."""

    def __init__(
        self,
        trainer: Trainer,
        n_way: int,  # of a task, where the source does not know it before it draws
        task_chunk_size: int | None,  # None: to be chosen
    ) -> None:
        self.trainer, self.objective, self.device = trainer, trainer.objective, trainer.device
        part = trainer.ranks.part(trainer.batches.n_tasks)
        self.source, self.n_tasks = trainer.batches.source, max(part.stop - part.start, 1)
        self.n_way, self.task_chunk_size = n_way, task_chunk_size
        # trials run on the device itself only where torch knows how much of it is free
        self.place = self.device if self.device.type == "cuda" else torch.device("cpu")
        theta = self.objective.theta()
        self.theta = {k: p.detach().to(self.place).requires_grad_() for k, p in theta.items()}
        self.of_tasks = {k: p.detach() for k, p in self.objective.of_tasks().items()}

    def chunk_size(self, params: Mapping[str, Any]) -> int | None:
        """Choose the number of tasks in a chunk; None: all of a meta-batch.

        The peak is measured only where it may matter. If not even one task fits, a MemoryError says
        which parameters of the estimator to change.
        """
        free = self.free_bytes()
        if free is None or self._upper_bound() <= free / 4:
            return None if self.fast_size >= self.n_tasks else self.fast_size
        estimate = self.estimate()
        needed = estimate.training + estimate.one_task
        if needed > free:
            raise MemoryError(
                f"{self.trainer.owner}.meta_fit needs about {with_unit(needed)} for a single task "
                f"of a meta-batch, but {with_unit(free)} are free. "
                f"{advice(params, many_tasks=False)}"
            )
        return None if estimate.task_chunk_size >= self.n_tasks else estimate.task_chunk_size

    def free_bytes(self) -> int | None:
        """Return the free memory of the device, of which ranks on this machine have equal parts."""
        free = free_bytes(self.device)
        if free is None or self.device.type == "cuda":
            return free
        return free // self.trainer.ranks.n_on_machine

    def estimate(self) -> MemoryEstimate:
        """Measure one and two tasks with few inner steps, and extrapolate to a chunk."""
        free = self.free_bytes()
        n_rows = max(part.weight.shape[1] for part in self.episodes)
        least, training = int(n_rows * self._row_bytes), self._training_bytes()
        if free is not None and least > free:  # a trial would end the process
            of_first = of_next = least
        else:
            of_first, of_next = self._peaks()
        size = self.task_chunk_size or self.fast_size
        if self.task_chunk_size is None and free is not None:
            room = SHARE * free - training - of_first
            size = self._equal_parts(min(self.fast_size, 1 + max(room, 0) // max(of_next, 1)))
        size = min(int(size), self.n_tasks)
        return MemoryEstimate(
            rows=self._stored_bytes(),
            training=training,
            chunk=of_first + (size - 1) * of_next,
            one_task=of_first,
            task_chunk_size=size,
            meta_batch_size=self.n_tasks,
            free=free,
        )

    @cached_property
    def episodes(self) -> tuple[Examples, Examples]:
        """Support and query of the largest meta-batch."""
        episode = self.source.largest().draw(self.n_tasks, np.random.RandomState(0))
        support, query = (Examples(*(t.to(self.place) for t in part)) for part in episode[:2])
        return support, query

    @cached_property
    def fast_size(self) -> int:
        """Tasks of a chunk whose tensors fit the caches of a CPU: larger chunks take longer.

        A compiled graph has no tensor for what it fuses, so that its meta-batches are not split.
        """
        if self.device.type != "cpu" or self.objective.compiled is not None or self.n_tasks == 1:
            return self.n_tasks
        n_support, n_query = self.source.most_rows(self.n_way)
        width = max(*self._saved_bytes, self._logit_bytes)
        largest = max(n_support, n_query / 2) * width  # a query passes only once
        weights = max(p.nbytes for p in self.theta.values())
        if self.n_tasks * max(largest, weights) > LARGE_TENSOR:
            support = Examples(*(t[:1] for t in self.episodes[0]))
            algorithm = with_steps(self.objective.algorithm, 1).at(0.0)
            shared = {p.data_ptr() for p in self.theta.values()}
            with seeded(Generators(0)):
                phi = algorithm.adapt(self.objective.f, self.theta, support)
            of_task = [p.nbytes for p in phi.values() if p.data_ptr() not in shared]
            largest = max([largest, *of_task])
        return self._equal_parts(max(LARGE_TENSOR / largest, 1))

    def _equal_parts(self, size: float) -> int:
        """Split a meta-batch into as many chunks of equal sizes."""
        return -(-self.n_tasks // -(-self.n_tasks // min(int(size), self.n_tasks)))

    def _stored_bytes(self) -> int:
        """Count the rows of all tasks on the device, those of validation, and a meta-batch."""
        packed, validation = self.source.packed, self.trainer.validation
        of_tasks = 0 if packed is None else packed.nbytes
        meta_batch = sum(t.nbytes for part in self.episodes for t in part)
        return of_tasks + meta_batch + (0 if validation is None else validation.nbytes)

    def _training_bytes(self) -> int:
        """Count theta, gradients (the sum, and of a chunk), the optimiser and the best theta."""
        params = *self.theta.values(), *self.of_tasks.values()
        theta = [torch.zeros_like(p, device=self.place).requires_grad_() for p in params]
        for p in theta:
            p.grad = torch.zeros_like(p)
        optimizer = self.trainer.make_optimizer(theta)
        if not isinstance(optimizer, torch.optim.LBFGS):  # which needs a loss
            optimizer.step()
        state = [v for values in optimizer.state.values() for v in values.values()]
        copies = 3 + (self.trainer.validation is not None)
        of_state = sum(v.nbytes for v in state if isinstance(v, Tensor))
        return copies * sum(p.nbytes for p in theta) + of_state

    @cached_property
    def _saved_bytes(self) -> list[int]:
        return bytes_of_a_row(self.objective.f, self.theta)

    @property
    def _row_bytes(self) -> int:
        """Bytes that the network saves of a row."""
        return self._saved_bytes[0] + max(sum(self._saved_bytes[1:]), 0) + self._logit_bytes

    @property
    def _logit_bytes(self) -> int:
        """Bytes of the logits of a row."""
        return self.n_way * next(iter(self.theta.values())).element_size()

    def _upper_bound(self) -> float:
        """Return a rough bound of the bytes that a chunk needs."""
        n_rows = self.source.most_rows(self.n_way)
        steps = n_steps(self.objective.algorithm) + 1
        weights = sum(p.nbytes for p in self.theta.values())
        of_task = PER_ROW * steps * sum(n_rows) * self._row_bytes + PER_WEIGHT * steps * weights
        return self.fast_size * of_task

    def _peaks(self) -> tuple[int, int]:
        """Return the peak of one task, and what each further task adds.

        They are measured with two and three inner steps, and go on linearly.
        """
        algorithm = self.objective.algorithm
        steps = n_steps(algorithm)
        tried = (2, 3) if steps > 3 else (steps,)
        peaks = dict.fromkeys((1, min(2, self.n_tasks)), 0)  # by the number of tasks
        for progress in {algorithm.at(progress): progress for progress in MOMENTS}.values():
            for n in peaks:
                few = [self._peak(k, progress, n) for k in tried]
                peaks[n] = max(peaks[n], few[0] + (steps - tried[0]) * (few[-1] - few[0]))
        return peaks[1], max(peaks.get(2, 2 * peaks[1]) - peaks[1], 0)

    def _peak(self, steps: int, progress: float, n: int) -> int:
        algorithm = with_steps(self.objective.algorithm, steps).at(progress)
        support, query = (Examples(*(t[:n] for t in rows)) for rows in self.episodes)
        objective = partial(algorithm.objective, self.objective.f)
        of_tasks = {
            k: p[0].to(self.place, copy=True) if len(p) == 1 else p[:n].to(self.place, copy=True)
            for k, p in self.of_tasks.items()
        }
        theta = self.theta | {k: p.requires_grad_() for k, p in of_tasks.items()}
        with seeded(Generators(0)), in_training():
            return peak_bytes(lambda: gradient(objective, theta, support, query))


def n_steps(algorithm: Algorithm) -> int:
    """Return the number of inner steps, or 1."""
    return int(getattr(algorithm, "inner_steps", 1))


def with_steps(algorithm: Algorithm, steps: int) -> Algorithm:
    """Return the algorithm with another number of inner steps, if it has any."""
    has_steps = any(f.name == "inner_steps" for f in fields(algorithm))
    changes: Any = {"inner_steps": steps} if has_steps else {}
    return replace(algorithm, **changes)


def out_of_memory(
    owner: str, params: Mapping[str, Any], error: BaseException
) -> MemoryError | None:
    """Return an error that says what to change, if an error says that memory ran out."""
    on_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    if not (on_cpu or isinstance(error, (torch.OutOfMemoryError, MemoryError))):
        return None
    return MemoryError(
        f"{owner}.meta_fit ran out of memory. {advice(params, many_tasks=True)} "
        "estimate_memory(tasks) says beforehand what is needed."
    )


def advice(params: Mapping[str, Any], *, many_tasks: bool) -> str:
    """Name the parameters that lower the memory of meta-training."""
    changes = []
    if many_tasks:
        changes.append("task_chunk_size=1")
    if params.get("activation_checkpointing") is False:
        changes.append("activation_checkpointing=True")
    if params.get("first_order") is False:
        changes.append("first_order=True")
    if "inner_steps" in params:
        changes.append("fewer inner_steps")
    changes.append("a smaller n_query")
    changes.append("a smaller n_shot" if "n_shot" in params else "a smaller n_support")
    if many_tasks:
        changes.append("a smaller meta_batch_size")
    return "Use " + ", ".join(changes) + ", or a smaller network."


def with_unit(n_bytes: float) -> str:
    """Format bytes with three digits and a unit."""
    power = 0
    while n_bytes >= 999.5 and power < 3:
        n_bytes, power = n_bytes / 1000, power + 1
    return f"{n_bytes:.3g} {('B', 'kB', 'MB', 'GB')[power]}"
