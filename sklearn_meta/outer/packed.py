"""The packed task store: all rows in one tensor, episodes as index arrays into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_meta.inner.algorithm import Examples
from sklearn_meta.outer.label_space import places
from sklearn_meta.outer.row_store import RowStore, on_device
from sklearn_meta.outer.scaling import Scaling
from sklearn_meta.outer.stored import store_of, store_of_pool
from sklearn_meta.tasks import FewShotTasks, Task
from sklearn_meta.tasks.validate import label

__all__ = ["PackedTasks", "pack_pool", "pack_tasks"]

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class PackedTasks:
    """All rows in groups, a group being a class of a task (or a task of a regression).

    Attributes
    ----------
    X : RowStore
        All rows, group after group, in each group those of a fixed support first.
    y : Tensor of shape (n_rows, n_outputs) or None
        Targets; None for classes, whose labels follow from the groups of an episode.
    start, size, fixed : ndarray of shape (n_groups,)
        First row, number of rows, and how many of them are fixed support (0: drawn anew).
    first, count : ndarray of shape (n_tasks,) or None
        The groups of each task; None for a pool, of which any classes make a task.
    code, n_classes : ndarray of shape (n_groups,) or None, int
        The class of each group where all tasks share one set of labels; None: labels are the
        places of the groups in an episode.
    """

    X: RowStore
    y: Tensor | None
    start: Ints
    size: Ints
    fixed: Ints
    first: Ints | None
    count: Ints | None
    code: Ints | None = None
    n_classes: int = 0

    @cached_property
    def alike(self) -> bool:
        """Whether all groups have the same number of rows, and of rows of a fixed support."""
        return bool((self.size == self.size[0]).all() and (self.fixed == self.fixed[0]).all())

    def episode(
        self, groups: Ints, n_support: int, n_query: int, rng: np.random.RandomState
    ) -> tuple[Examples, Examples, bool]:
        """Draw support and query rows of a stack of tasks.

        Parameters
        ----------
        groups : ndarray of shape (B, n_way)
            The groups of each task, -1 where it has fewer.
        n_support, n_query : int
            Rows a group; groups too small give fewer, but always leave one for the query.
        rng : RandomState
            The source of chance.

        Returns
        -------
        support, query : Examples
            Stacked, class after class, padded with rows of weight 0.
        ragged : bool
            Whether there is any padding.
        """
        there = groups >= 0
        if self.alike and there.all():  # what follows comes to this, in a third of the calls
            n, known = int(self.size[0]), int(self.fixed[0])
            cut = known or min(n_support, max(n - 1, 0))
            keys = rng.random_sample((*groups.shape, n))
            keys[..., :known] -= 1.0
            rows = self.start[groups][..., None] + keys.argsort(-1)
            now, then = rows[..., :cut], rows[..., cut : cut + n_query]
            first = self._examples(groups, now, None, rng)
            return first, self._examples(groups, then, None, rng), False
        size = np.where(there, self.size[groups], 0)
        fixed = np.where(there, self.fixed[groups], 0)
        n_s = np.where(fixed > 0, fixed, np.minimum(n_support, np.maximum(size - 1, 0)))
        n_q = np.minimum(n_query, size - n_s)
        order = _shuffled(size, fixed, rng)
        most_s, most_q = n_s.max(), n_q.max()
        ragged = bool((n_s != most_s).any() or (n_q != most_q).any())
        if ragged:  # padding points at a real row, so that it is finite; its weight is 0
            last = np.maximum(size - 1, 0)[..., None]
            support = np.minimum(_pick(order, np.zeros_like(n_s), n_s), last)
            query = np.minimum(_pick(order, n_s, n_q), last)
        else:
            support, query = order[..., :most_s], order[..., most_s : most_s + most_q]
        start = self.start[groups][..., None]
        return (
            self._examples(groups, start + support, n_s if ragged else None, rng),
            self._examples(groups, start + query, n_q if ragged else None, rng),
            ragged,
        )

    def _examples(
        self, groups: Ints, rows: Ints, n: Ints | None, rng: np.random.RandomState
    ) -> Examples:
        """Take rows of shape (B, n_way, most); the first n of each group, or all of them."""
        B, n_way, most = rows.shape
        device = self.X.device
        X = self.X.take(rows.reshape(B, -1), rng)
        if n is None:
            weight = X.new_ones(B, n_way * most)
        else:
            mask = np.arange(most) < n[..., None]
            weight = on_device(mask.reshape(B, -1), device).to(X)
        if self.y is not None:
            y = self.y.index_select(0, on_device(rows.reshape(-1), device))
            return Examples(X, y.view(B, most, -1), weight)
        places, width = np.broadcast_to(np.arange(n_way), groups.shape), n_way
        if self.code is not None:
            places, width = self.code[groups], self.n_classes
        labels = on_device(np.repeat(places, most, axis=1), device).unsqueeze(-1)
        y = X.new_zeros(B, n_way * most, width)
        return Examples(X, y.scatter_(-1, labels, 1), weight)


def _shuffled(size: Ints, fixed: Ints, rng: np.random.RandomState) -> Ints:
    """Random order of each group's rows, those of a fixed support first."""
    columns = np.arange(size.max())
    keys = rng.random_sample((*size.shape, len(columns)))
    keys[columns >= size[..., None]] = 2.0
    keys[columns < fixed[..., None]] -= 1.0
    return keys.argsort(-1)


def _pick(order: Ints, begin: Ints, n: Ints) -> Ints:
    columns = begin[..., None] + np.minimum(np.arange(n.max()), np.maximum(n - 1, 0)[..., None])
    return np.take_along_axis(order, np.minimum(columns, order.shape[-1] - 1), -1)


def pack_tasks(
    tasks: Sequence[Task],
    scaling: Scaling | None,
    dtype: Any,
    device: torch.device,
    *,
    labels: bool,
    classes: NDArray[Any] | None = None,
    numbers: Sequence[int] | None = None,
    at_hand: bool = False,
) -> PackedTasks:
    """Put the rows of tasks on the device, or leave those of mapped files and sparse arrays.

    Parameters
    ----------
    tasks : sequence of Task
        Already checked.
    scaling : Scaling or None
        Applied once, here.
    dtype : dtype
        Of the rows.
    device : torch.device
        Where they stay.
    labels : bool
        Whether `y` holds class labels.
    classes : ndarray or None, default=None
        All labels, sorted, where the same label in two tasks is the same class.
    numbers : sequence of int, default=None
        What errors call the tasks; None: by their positions.
    at_hand : bool, default=False
        Whether only one episode is drawn of them, so that the other rows had better stay.

    Returns
    -------
    PackedTasks
        With the groups of each task.

    Raises
    ------
    TaskError
        If a task has a label that `classes` lacks.
    """
    rows: list[Ints] = []
    size: list[int] = []
    fixed: list[int] = []
    count: list[int] = []
    for task in tasks:
        is_support = np.zeros(len(task), dtype=bool)
        if task.support is not None:
            is_support[task.support] = True
        codes = np.unique(task.y, return_inverse=True)[1] if labels else np.zeros(len(task), int)
        rows.append(np.lexsort((~is_support, codes)))
        size.extend(np.bincount(codes))
        fixed.extend(np.bincount(codes, weights=is_support).astype(int))
        count.append(codes.max() + 1)
    pairs = list(zip(tasks, rows, strict=True))
    y = None
    if not labels:
        stacked = np.concatenate([task.y[r].reshape(len(r), -1) for task, r in pairs])
        scaled = stacked.astype(np.float64) if scaling is None else scaling.targets(stacked)
        y = torch.tensor(scaled.astype(dtype), device=device)
    counts, sizes = np.array(count), np.array(size)
    code = None
    if classes is not None:
        places_of = range(len(tasks)) if numbers is None else numbers
        named = [
            (np.unique(task.y), classes, label(task, i))
            for task, i in zip(tasks, places_of, strict=True)
        ]
        code = np.concatenate([places(*one) for one in named])
    return PackedTasks(
        store_of(pairs, scaling, dtype, device, at_hand=at_hand),
        y,
        np.cumsum(sizes) - sizes,
        sizes,
        np.array(fixed),
        np.cumsum(counts) - counts,
        counts,
        code,
        0 if classes is None else len(classes),
    )


def pack_pool(
    pool: FewShotTasks,
    scaling: Scaling | None,
    dtype: Any,
    device: torch.device,
    *,
    classes: NDArray[Any] | None = None,
) -> PackedTasks:
    """Put the rows of a labelled pool on the device, or leave those of a file or a sparse array.

    Parameters
    ----------
    pool : FewShotTasks
        The pool.
    scaling : Scaling or None
        Applied once, here.
    dtype : dtype
        Of the rows.
    device : torch.device
        Where they stay.
    classes : ndarray or None, default=None
        All labels, sorted, where an episode's labels are these rather than places in it.

    Returns
    -------
    PackedTasks
        With one group a class.

    Raises
    ------
    TaskError
        If the pool has a label that `classes` lacks.
    """
    return PackedTasks(
        store_of_pool(pool, scaling, dtype, device),
        None,
        pool.starts,
        pool.sizes,
        np.zeros_like(pool.sizes),
        None,
        None,
        None if classes is None else places(pool.classes_, classes, "The pool"),
        0 if classes is None else len(classes),
    )
