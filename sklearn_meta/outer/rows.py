"""Rows of many tasks, kept on the device, on the host or on disk until an episode needs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_meta._devices import torch_dtype
from sklearn_meta.outer.scaling import Scaling
from sklearn_meta.tasks import FewShotTasks, Task
from sklearn_meta.tasks.tables import dense, stays_in_place

__all__ = ["RowStore", "on_device", "store_of_pool", "store_of_tasks"]

Ints = NDArray[np.intp]
# stored as they are, in a half to an eighth of the memory
SMALL = [np.dtype(kind) for kind in (np.bool_, np.int8, np.uint8, np.int16)]
TENSORS = [*SMALL, *map(np.dtype, (np.int32, np.int64, np.float32, np.float64))]


class RowStore(ABC):
    """All rows of some tasks; `take` makes a tensor on the device of those that are drawn."""

    draws = False  # whether `take` draws random numbers, as many as it takes rows

    def __init__(self, device: torch.device, nbytes: int) -> None:
        self.device, self.nbytes = device, nbytes  # bytes of the device that the rows occupy

    @abstractmethod
    def take(self, rows: Ints, rng: np.random.RandomState | None = None) -> Tensor:
        """Return a new tensor (B, n, ...) of rows (B, n); `rng` is used by augmentation alone."""


class DeviceRows(RowStore):
    """Rows in one tensor on the device."""

    def __init__(self, X: Tensor) -> None:
        super().__init__(X.device, X.nbytes)
        self.X = X

    def take(self, rows: Ints, rng: np.random.RandomState | None = None) -> Tensor:
        """Select rows."""
        X = self.X.index_select(0, on_device(rows.reshape(-1), self.device))
        return X.view(*rows.shape, *self.X.shape[1:])


class HostRows(RowStore):
    """Rows that stay in arrays of the host, in mapped files or in sparse arrays."""

    def __init__(
        self, tables: Sequence[Any], table: Ints, row: Ints, dtype: Any, device: torch.device
    ) -> None:
        super().__init__(device, 0)
        self.tables, self.table, self.row = tables, table, row  # row i is tables[table[i]][row[i]]
        dtypes = {t.dtype for t in tables}
        has_tensors = len(dtypes) == 1 and dtypes <= set(TENSORS)
        self.dtype = np.dtype(dtypes.pop() if has_tensors else dtype)

    def take(self, rows: Ints, rng: np.random.RandomState | None = None) -> Tensor:
        """Read each row once, in the order in which the rows are stored."""
        unique, inverse = np.unique(rows, return_inverse=True)
        table, row = self.table[unique], self.row[unique]
        X = np.empty((len(unique), *self.tables[0].shape[1:]), self.dtype)
        order = np.argsort(table, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(table[order])) + 1):  # one table each
            if len(part):
                X[part] = dense(self.tables[table[part[0]]][row[part]])
        flat = on_device(X, self.device).index_select(0, on_device(inverse.ravel(), self.device))
        return flat.view(*rows.shape, *X.shape[1:])


class StoreOver(RowStore):
    """A store that changes the rows of another one when they are taken."""

    def __init__(self, inner: RowStore) -> None:
        super().__init__(inner.device, inner.nbytes)
        self.inner, self.draws = inner, inner.draws


class RotatedRows(StoreOver):
    """Images and their quarter turns: rows 0 to n - 1 as they are, n to 2n - 1 turned once, ..."""

    def __init__(self, inner: RowStore, n: int) -> None:
        super().__init__(inner)
        self.n = n

    def take(self, rows: Ints, rng: np.random.RandomState | None = None) -> Tensor:
        """Take images and turn them."""
        turns, images = np.divmod(rows, self.n)
        X = self.inner.take(images, rng)
        flat, turns = X.view(-1, *X.shape[2:]), turns.reshape(-1)
        for turn in (1, 2, 3):
            turned = on_device(np.flatnonzero(turns == turn), self.device)
            flat[turned] = torch.rot90(flat[turned], turn, (-2, -1))
        return X


class AugmentedRows(StoreOver):
    """Rows that a function of the user changes at random."""

    def __init__(
        self, inner: RowStore, augment: Callable[[Tensor, torch.Generator], Any], dtype: torch.dtype
    ) -> None:
        super().__init__(inner)
        self.augment, self.dtype, self.draws = augment, dtype, True

    def take(self, rows: Ints, rng: np.random.RandomState | None = None) -> Tensor:
        """Take rows and change them."""
        assert rng is not None
        X = self.inner.take(rows, rng).to(self.dtype)
        generator = torch.Generator(self.device).manual_seed(int(rng.randint(2**31 - 1)))
        changed = self.augment(X, generator)
        if not isinstance(changed, Tensor) or changed.shape != X.shape:
            got = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
            raise ValueError(
                f"augment must return a tensor of the shape that it is given, {tuple(X.shape)}; "
                f"got {got}."
            )
        return changed.to(X)


class ScaledRows(StoreOver):
    """Rows that are standardised when they are taken."""

    def __init__(self, inner: RowStore, scaling: Scaling | None, dtype: Any) -> None:
        super().__init__(inner)
        self.dtype, self.mean_and_scale = torch_dtype(dtype), None
        if scaling is not None:
            pair = (scaling.x_mean, scaling.x_scale)
            self.mean_and_scale = [torch.tensor(v.astype(dtype), device=self.device) for v in pair]

    def take(self, rows: Ints, rng: np.random.RandomState | None = None) -> Tensor:
        """Take rows and standardise them."""
        X = self.inner.take(rows, rng).to(self.dtype)
        if self.mean_and_scale is None:
            return X
        mean, scale = self.mean_and_scale
        return (X - mean) / scale


def on_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Send an array to the device without waiting; on the CPU the tensor shares its memory."""
    return torch.from_numpy(array).to(device, non_blocking=True)


def store_of_tasks(
    tasks: Sequence[Task],
    scaling: Scaling | None,
    dtype: Any,
    device: torch.device,
    *,
    on_host: bool = False,
) -> RowStore:
    """Store the rows of tasks, one task after the other.

    They stay on the host if some of them are in mapped files or sparse arrays, or if `on_host`.
    """
    places = [task.where() for task in tasks]
    tables = {id(table): table for table, _ in places}
    if on_host or any(map(stays_in_place, tables.values())):
        number = {key: k for k, key in enumerate(tables)}
        table = np.concatenate([np.full(len(rows), number[id(t)]) for t, rows in places])
        row = np.concatenate([rows for _, rows in places])
        return ScaledRows(
            HostRows(list(tables.values()), table, row, dtype, device), scaling, dtype
        )
    X = np.concatenate([task.X for task in tasks])
    if stays_small([table.dtype for table in tables.values()], dtype):
        return ScaledRows(in_one_tensor(X, device), scaling, dtype)
    return in_one_tensor(scaled(X, scaling, dtype), device)


def store_of_pool(
    pool: FewShotTasks, scaling: Scaling | None, dtype: Any, device: torch.device
) -> RowStore:
    """Store the rows of a pool, in their order."""
    n = pool.X.shape[0]
    scale_later = True
    store: RowStore
    if stays_in_place(pool.X):
        store = HostRows([pool.X], np.zeros(n, int), np.arange(n), dtype, device)
    elif stays_small([pool.X.dtype], dtype):
        store = in_one_tensor(pool.X.copy(), device)
    else:
        scale_later = pool.augment is not None  # which sees rows in their original units
        X = scaled(pool.X, None if scale_later else scaling, dtype)
        store = in_one_tensor(X.copy() if np.shares_memory(X, pool.X) else X, device)
    if pool.rotations:
        store = RotatedRows(store, n)
    if pool.augment is not None:
        store = AugmentedRows(store, pool.augment, torch_dtype(dtype))
    return ScaledRows(store, scaling, dtype) if scale_later else store


def stays_small(dtypes: Iterable[Any], dtype: Any) -> bool:
    """Return whether rows are stored as the small integers they are, until they are taken."""
    kinds = set(map(np.dtype, dtypes))
    return len(kinds) == 1 and kinds <= set(SMALL) and next(iter(kinds)) != np.dtype(dtype)


def scaled(X: NDArray[Any], scaling: Scaling | None, dtype: Any) -> NDArray[Any]:
    """Return rows in the dtype to compute in, standardised."""
    X = X.astype(dtype, copy=False)
    return X if scaling is None else scaling.inputs(X)


def in_one_tensor(X: NDArray[Any], device: torch.device) -> DeviceRows:
    """Store rows on the device; nobody else may hold the array."""
    return DeviceRows(torch.from_numpy(X).to(device))
