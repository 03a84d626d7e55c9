"""How tasks become rows on the device, and whether they have enough of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_meta.core.episodes import Rows
from sklearn_meta.core.packed import PackedTasks, pack_tasks
from sklearn_meta.core.scaling import Scaling
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["Packing"]


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
            All rows in one tensor.

        Raises
        ------
        TaskError
            If a task has too few rows, or a label that is not known.
        """
        packed = pack_tasks(
            tasks, self.scaling, self.dtype, self.device, labels=self.labels, classes=self.classes
        )
        return _enough_rows(packed, self.rows, tasks)


def _enough_rows(packed: PackedTasks, rows: Rows, tasks: Sequence[Task]) -> PackedTasks:
    assert packed.first is not None
    assert packed.count is not None
    least = rows.n_support[0] + 1
    labels = packed.y is None
    scarce = np.flatnonzero((packed.fixed == 0) & (packed.size < least))
    alone = np.flatnonzero(packed.count < 2) if labels else np.empty(0, int)
    if len(scarce):
        i = int(np.searchsorted(packed.first, scarce[0], side="right")) - 1
        task, size = tasks[i], packed.size[scarce[0]]
        what = "it"
        if labels:
            what = f"class {np.unique(task.y).tolist()[scarce[0] - packed.first[i]]!r}"
        name = "n_shot" if labels else "n_support"
        raise TaskError(
            f"{label(task, i)}: {what} has {size} row(s), but {name}={rows.n_support[0]} needs "
            f"at least {least}: the support and one row of query (X of shape {task.X.shape})."
        )
    if len(alone):
        i = int(alone[0])
        raise TaskError(
            f"{label(tasks[i], i)}: y of shape {tasks[i].y.shape} holds a single class; "
            "there is nothing to learn to tell apart."
        )
    return packed
