"""Where the same label in two tasks is the same class: all labels, and the place of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["LabelSpace", "label_space", "places"]

N_KEPT = 256  # tasks whose labels are put together at once


def label_space(tasks: Iterable[Task]) -> NDArray[Any]:
    """Collect the labels of tasks.

    Parameters
    ----------
    tasks : iterable of Task
        Already checked.

    Returns
    -------
    classes : ndarray
        All labels, sorted.

    Raises
    ------
    TaskError
        If a task has labels of another kind than the first: numbers and strings, say.
    """
    space = LabelSpace()
    for i, task in enumerate(tasks):
        space.add(task, i)
    return space.result()


class LabelSpace:
    """The labels of tasks that come one after the other."""

    def __init__(self) -> None:
        self._own: list[NDArray[Any]] = []
        self._like: NDArray[Any] | None = None

    def add(self, task: Task, i: int) -> None:
        """Count a task in.

        Parameters
        ----------
        task : Task
            Already checked.
        i : int
            Its position.

        Raises
        ------
        TaskError
            If its labels are of another kind than those of the first.
        """
        labels = np.unique(task.y)
        like = self._like = labels if self._like is None else self._like
        try:  # as objects: numpy would turn numbers into strings
            np.unique(np.concatenate([like.astype(object), labels.astype(object)]))
        except TypeError:
            raise TaskError(
                f"{label(task, i)}: y holds {labels.dtype}, but that of task 0 holds "
                f"{like.dtype}; this learner takes the same label in two tasks for the same "
                "class, so all labels must be of one kind."
            ) from None
        self._own.append(labels)
        if len(self._own) > N_KEPT:
            self._own = [self.result()]

    def result(self) -> NDArray[Any]:
        """Give all labels.

        Returns
        -------
        ndarray
            Sorted.
        """
        return np.unique(np.concatenate(self._own))


def places(labels: NDArray[Any], classes: NDArray[Any], called: str) -> NDArray[np.intp]:
    """Find labels among all classes.

    Parameters
    ----------
    labels : ndarray
        Of a task, or of a pool.
    classes : ndarray
        All there are, sorted.
    called : str
        What errors call the task.

    Returns
    -------
    places : ndarray of int
        Of each label.

    Raises
    ------
    TaskError
        If a label is not among the classes.
    """
    unknown = sorted(set(labels.tolist()) - set(classes.tolist()))
    if unknown:
        raise TaskError(
            f"{called}: y has labels that are not among the {len(classes)} classes of "
            f"meta-training ({unknown[:5]}), but this learner takes the same label in two tasks "
            "for the same class. All must be there from the start: in the tasks of the first "
            "meta_fit, or in the `classes_` of a distribution (else in the first 64 it draws)."
        )
    return np.searchsorted(classes, labels)
