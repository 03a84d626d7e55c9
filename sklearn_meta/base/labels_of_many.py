"""The labels of many tasks as numbers, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Coding", "coded"]


class Coding(NamedTuple):
    """Each label as a position among the labels that its task has, in sorted order.

    Attributes
    ----------
    begin : ndarray of int of shape (n_tasks + 1,)
        Where the rows of each task begin.
    place : ndarray of int of shape (n_rows,)
        Position of each row's label among those of the task's support; -1: it is not there.
    n_way : ndarray of int of shape (n_tasks,)
        Labels of each support.
    first : ndarray of int of shape (n_tasks,)
        Where the labels of each task begin in `own`.
    own : ndarray of shape (n_labels,)
        The labels of each support, sorted, one task after the other.
    """

    begin: NDArray[np.intp]
    place: NDArray[np.intp]
    n_way: NDArray[np.intp]
    first: NDArray[np.intp]
    own: NDArray[Any]


def coded(ys: Sequence[NDArray[Any]], supports: Sequence[NDArray[np.intp]]) -> Coding:
    """Give each label of tasks a number.

    Parameters
    ----------
    ys : sequence of ndarray of shape (n_rows,)
        Labels of each task.
    supports : sequence of ndarray of int
        Positions of its support.

    Returns
    -------
    Coding
        What ``np.unique`` of the support of each task would give.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.base.labels_of_many import coded
    >>> ys = np.array(["b", "a", "b"]), np.array(["c", "c"])
    >>> coding = coded(ys, (np.array([0, 1]), np.array([0])))
    >>> coding.place, coding.own
    (array([1, 0, 1, 0, 0]), array(['a', 'b', 'c'], dtype='<U1'))
    """
    n_rows = np.array([len(y) for y in ys])
    begin = np.concatenate([[0], np.cumsum(n_rows)])
    labels, code = _numbered(ys)
    key = np.repeat(np.arange(len(ys)), n_rows) * len(labels) + code  # task, then label
    of_support = np.repeat(begin[:-1], [len(s) for s in supports]) + np.concatenate(supports)
    there = np.unique(key[of_support])
    place = np.searchsorted(there, key)
    known = there[np.minimum(place, len(there) - 1)] == key
    task, label = np.divmod(there, len(labels))
    n_way = np.bincount(task, minlength=len(ys))
    first = np.cumsum(n_way) - n_way
    place = np.where(known, place - np.repeat(first, n_rows), -1)
    return Coding(begin, place, n_way, first, labels[label])


def _numbered(ys: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Give labels, and of each row which it is; the numbers are sorted as the labels of a task."""
    kinds = {y.dtype.kind for y in ys}
    if len(kinds) == 1 and kinds <= set("biufUS"):  # of one kind: numpy changes no value
        labels, code = np.unique(np.concatenate(ys), return_inverse=True)
        return labels, code
    labels_of, codes, n = [], [], 0
    for y in ys:
        own, code = np.unique(y, return_inverse=True)
        labels_of.append(own.astype(object))
        codes.append(code + n)
        n += len(own)
    return np.concatenate(labels_of), np.concatenate(codes)
