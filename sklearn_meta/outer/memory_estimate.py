"""What a meta-training needs of memory, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["MemoryEstimate", "does_not_fit", "out_of_memory", "spelled"]


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
        What a chunk of a meta-batch takes at its peak.
    one_task : int
        The same for a chunk of one task.
    task_chunk_size, meta_batch_size : int
        Tasks of a chunk, and of a meta-batch.
    free : int or None
        What the device has; None where it does not say.
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
        free = "" if self.free is None else f", of {spelled(self.free)} that are free"
        return (
            f"{spelled(self.total)} in all{free}: rows {spelled(self.rows)}; theta, gradients and "
            f"optimiser {spelled(self.training)}; {self.task_chunk_size} of {self.meta_batch_size} "
            f"tasks at once {spelled(self.chunk)} (one task {spelled(self.one_task)})"
        )


def out_of_memory(est: Any, error: BaseException) -> MemoryError | None:
    """Say what to change, if an error is one of memory.

    Parameters
    ----------
    est : BaseMetaLearner
        In meta-training.
    error : BaseException
        What was raised.

    Returns
    -------
    MemoryError or None
        None for another error.
    """
    of_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    if not (of_cpu or isinstance(error, (torch.OutOfMemoryError, MemoryError))):
        return None
    return MemoryError(
        f"{type(est).__name__}.meta_fit ran out of memory. {_advice(est, True)} "
        "estimate_memory(tasks) says beforehand what is needed."
    )


def does_not_fit(est: Any, needed: int, free: int) -> MemoryError:
    """Refuse, before anything is trained.

    Parameters
    ----------
    est : BaseMetaLearner
        About to be meta-trained.
    needed, free : int
        Bytes.

    Returns
    -------
    MemoryError
        To be raised.
    """
    return MemoryError(
        f"{type(est).__name__}.meta_fit needs about {spelled(needed)} for a single task of a "
        f"meta-batch, but {spelled(free)} are free. {_advice(est, False)}"
    )


def _advice(est: Any, many: bool) -> str:
    """Name the parameters of this estimator that memory depends on."""
    changes = []
    if many:
        changes.append("task_chunk_size=1")
    if getattr(est, "activation_checkpointing", None) is False:
        changes.append("activation_checkpointing=True")
    if getattr(est, "first_order", None) is False:
        changes.append("first_order=True")
    if hasattr(est, "inner_steps"):
        changes.append("fewer inner_steps")
    changes.append("a smaller n_query")
    changes.append("a smaller n_shot" if hasattr(est, "n_shot") else "a smaller n_support")
    if many:
        changes.append("a smaller meta_batch_size")
    return "Use " + ", ".join(changes) + ", or a smaller network."


def spelled(n_bytes: float) -> str:
    """Spell bytes for a reader.

    Parameters
    ----------
    n_bytes : float
        How many.

    Returns
    -------
    str
        With three digits and a unit.
    """
    power = 0
    while n_bytes >= 999.5 and power < 3:
        n_bytes, power = n_bytes / 1000, power + 1
    return f"{n_bytes:.3g} {('B', 'kB', 'MB', 'GB')[power]}"
