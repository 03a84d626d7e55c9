"""Where the same label in two tasks is the same class: all labels, and the place of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["label_space", "places"]


def label_space(tasks: Sequence[Task]) -> NDArray[Any]:
    """Collect the labels of tasks.

    Parameters
    ----------
    tasks : sequence of Task
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
    own = [np.unique(task.y) for task in tasks]
    for i, labels in enumerate(own):
        try:  # as objects: numpy would turn numbers into strings
            np.unique(np.concatenate([own[0].astype(object), labels.astype(object)]))
        except TypeError:
            raise TaskError(
                f"{label(tasks[i], i)}: y holds {labels.dtype}, but that of task 0 holds "
                f"{own[0].dtype}; this learner takes the same label in two tasks for the same "
                "class, so all labels must be of one kind."
            ) from None
    return np.unique(np.concatenate(own))


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
