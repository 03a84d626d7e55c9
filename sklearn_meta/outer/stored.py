"""Which store the rows of tasks, or of a pool, go to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse

from sklearn_meta.outer.row_store import (
    Augmented,
    DeviceRows,
    HostRows,
    RowStore,
    Scaled,
    Turned,
    kept_small,
)
from sklearn_meta.outer.scaling import Scaling
from sklearn_meta.tasks import FewShotTasks, Task
from sklearn_meta.tasks.arrays import on_disk

__all__ = ["store_of", "store_of_pool"]

Ints = NDArray[np.intp]


def store_of(
    pairs: Sequence[tuple[Task, Ints]],
    scaling: Scaling | None,
    dtype: Any,
    device: torch.device,
    *,
    at_hand: bool,
) -> RowStore:
    """Store the rows of tasks.

    Parameters
    ----------
    pairs : sequence of (Task, ndarray of int)
        Each task, and its rows in the order wanted.
    scaling : Scaling or None
        Of the inputs.
    dtype : dtype
        To compute in.
    device : torch.device
        Where to.
    at_hand : bool
        Whether they stay on the host in any case.

    Returns
    -------
    RowStore
        On the host, if some lie in mapped files or sparse arrays.
    """
    places = [(table, rows[order]) for (table, rows), order in ((t.where(), r) for t, r in pairs)]
    tables = {id(table): table for table, _ in places}
    if at_hand or any(map(_stays, tables.values())):
        number = {key: k for k, key in enumerate(tables)}
        of = np.concatenate([np.full(len(rows), number[id(table)]) for table, rows in places])
        row = np.concatenate([rows for _, rows in places])
        host = HostRows(list(tables.values()), of, row, dtype, device)
        return Scaled(host, scaling, dtype)
    X = np.concatenate([table[rows] for table, rows in places])
    if kept_small([table.dtype for table in tables.values()], dtype):
        return Scaled(_in_one_tensor(X, device), scaling, dtype)
    return _in_one_tensor(_scaled(X, scaling, dtype), device)


def store_of_pool(
    pool: FewShotTasks, scaling: Scaling | None, dtype: Any, device: torch.device
) -> RowStore:
    """Store the rows of a pool, class after class.

    Parameters
    ----------
    pool : FewShotTasks
        The pool.
    scaling : Scaling or None
        Of the inputs.
    dtype : dtype
        To compute in.
    device : torch.device
        Where to.

    Returns
    -------
    RowStore
        On the host, if the pool lies in a mapped file or a sparse array.
    """
    n = pool.X.shape[0]
    order = np.arange(n) if pool.rotations else pool.rows  # turned ones share their image
    later = True  # to be scaled when used
    store: RowStore
    if _stays(pool.X):
        store = HostRows([pool.X], np.zeros(n, int), order, dtype, device)
    elif kept_small([pool.X.dtype], dtype):
        store = _in_one_tensor(pool.X[order], device)
    else:
        later = pool.augment is not None  # which sees rows in their own units
        store = _in_one_tensor(_scaled(pool.X[order], None if later else scaling, dtype), device)
    if pool.rotations:
        store = Turned(store, n, pool.rows)
    if pool.augment is not None:
        store = Augmented(store, pool.augment, torch.from_numpy(np.empty(0, dtype)).dtype)
    return Scaled(store, scaling, dtype) if later else store


def _stays(table: Any) -> bool:
    return issparse(table) or on_disk(table)


def _scaled(X: NDArray[Any], scaling: Scaling | None, dtype: Any) -> NDArray[Any]:
    X = X.astype(dtype, copy=False)
    return X if scaling is None else scaling.inputs(X)


def _in_one_tensor(X: NDArray[Any], device: torch.device) -> DeviceRows:
    return DeviceRows(torch.from_numpy(X).to(device))  # X is a copy already
