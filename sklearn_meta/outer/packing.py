"""How tasks become rows on the device, and whether they have enough of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.outer.episodes import Rows
from sklearn_meta.outer.packed import PackedTasks, pack_tasks
from sklearn_meta.outer.scaling import Scaling
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["Packing", "check_rows"]


@dataclass(frozen=True)
class Packing:
    """How tasks become rows on the device.

    Parameters
    ----------
    rows : Rows
        Of an episode: each task must have as many.
    scaling : Scaling or None
        Of the inputs, and of the targets of a regression.
    dtype : numpy dtype
        Of the rows.
    device : torch.device
        Where they lie.
    labels : bool
        Whether targets are labels.
    classes : ndarray or None
        All labels, where the same label in two tasks is the same class.
    """

    rows: Rows
    scaling: Scaling | None
    dtype: Any
    device: torch.device
    labels: bool
    classes: NDArray[Any] | None

    def pack(self, tasks: Sequence[Task]) -> PackedTasks:
        """Pack checked tasks.

        Parameters
        ----------
        tasks : sequence of Task
            Already checked.

        Returns
        -------
        PackedTasks
            All rows in one store.

        Raises
        ------
        TaskError
            If a task has too few rows, or a label that is not known.
        """
        return self._pack(tasks, range(len(tasks)), at_hand=False)

    def pack_some(self, tasks: Sequence[Task], numbers: Sequence[int]) -> PackedTasks:
        """Pack tasks of which one episode is drawn.

        Parameters
        ----------
        tasks : sequence of Task
            Already checked.
        numbers : sequence of int
            What errors call them.

        Returns
        -------
        PackedTasks
            Whose rows stay where they are until they are drawn.

        Raises
        ------
        TaskError
            If a task has too few rows, or a label that is not known.
        """
        return self._pack(tasks, numbers, at_hand=True)

    def _pack(self, tasks: Sequence[Task], numbers: Sequence[int], *, at_hand: bool) -> PackedTasks:
        packed = pack_tasks(
            tasks,
            self.scaling,
            self.dtype,
            self.device,
            labels=self.labels,
            classes=self.classes,
            numbers=numbers,
            at_hand=at_hand,
        )
        _enough_rows(packed, self.rows, tasks, numbers)
        return packed


def _enough_rows(
    packed: PackedTasks, rows: Rows, tasks: Sequence[Task], numbers: Sequence[int]
) -> None:
    assert packed.first is not None
    assert packed.count is not None
    labels = packed.y is None
    scarce = np.flatnonzero((packed.fixed == 0) & (packed.size < rows.n_support[0] + 1))
    alone = np.flatnonzero(packed.count < 2) if labels else np.empty(0, int)
    if len(scarce):
        i = int(np.searchsorted(packed.first, scarce[0], side="right")) - 1
        check_rows(tasks[i], numbers[i], rows, labels=labels)
    if len(alone):
        i = int(alone[0])
        check_rows(tasks[i], numbers[i], rows, labels=labels)


def check_rows(task: Task, i: int, rows: Rows, *, labels: bool) -> None:
    """Refuse a task that has too few rows for an episode.

    Parameters
    ----------
    task : Task
        The task.
    i : int
        Its position, for the error.
    rows : Rows
        Of an episode.
    labels : bool
        Whether its targets are labels.

    Raises
    ------
    TaskError
        Naming the task, and the class.
    """
    shape = (len(task), *task.row_shape)
    everything = np.zeros(len(task)) if not labels else task.y
    own, size = np.unique(everything, return_counts=True)
    least = rows.n_support[0] + 1
    if task.support is None and size.min() < least:
        k = int(np.argmax(size < least))
        what, name = "it", "n_support"
        if labels:
            what, name = f"class {own.tolist()[k]!r}", "n_shot"
        raise TaskError(
            f"{label(task, i)}: {what} has {size[k]} row(s), but {name}={rows.n_support[0]} needs "
            f"at least {least}: the support and one row of query (X of shape {shape})."
        )
    if labels and len(own) < 2:
        raise TaskError(
            f"{label(task, i)}: y of shape {task.y.shape} holds a single class; "
            "there is nothing to learn to tell apart."
        )
