"""Where the rows of all tasks lie, and how those of an episode become a tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_meta.outer.scaling import Scaling
from sklearn_meta.tasks.arrays import dense

__all__ = [
    "Augmented",
    "DeviceRows",
    "HostRows",
    "RowStore",
    "Scaled",
    "Turned",
    "dtype_of_rows",
    "kept_small",
    "on_device",
]

Ints = NDArray[np.intp]
BYTES = [np.dtype(kind) for kind in (np.bool_, np.int8, np.uint8)]
SMALL = [*BYTES, np.dtype(np.int16)]  # kept as they are, in a half to an eighth of the memory
TENSORS = [*SMALL, *map(np.dtype, (np.int32, np.int64, np.float32, np.float64))]


def dtype_of_rows(dtypes: Iterable[Any]) -> Any:
    """Give the dtype to compute in.

    Parameters
    ----------
    dtypes : iterable of dtype
        Those of X, one a task.

    Returns
    -------
    type
        float32 if each is float32, or holds bytes or bools; else float64.
    """
    exact = [np.dtype(np.float32), *BYTES]
    return np.float32 if all(np.dtype(d) in exact for d in set(dtypes)) else np.float64


def kept_small(dtypes: Iterable[Any], dtype: Any) -> bool:
    """Whether rows are to be kept as the integers they are, until they are used.

    Parameters
    ----------
    dtypes : iterable of dtype
        Those of X, one a task.
    dtype : dtype
        To compute in.

    Returns
    -------
    bool
        True if they are one and the same, and smaller.
    """
    kinds = set(map(np.dtype, dtypes))
    return len(kinds) == 1 and kinds <= set(SMALL) and next(iter(kinds)) != np.dtype(dtype)


class RowStore(ABC):
    """All rows of the tasks; some of them become a tensor when they are drawn.

    Parameters
    ----------
    device : torch.device
        Where the tensor lies.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @abstractmethod
    def take(self, rows: Ints, rng: np.random.RandomState) -> Tensor:
        """Take rows.

        Parameters
        ----------
        rows : ndarray of int of shape (B, n)
            Positions.
        rng : RandomState
            The source of chance, where rows are altered by chance.

        Returns
        -------
        X : Tensor of shape (B, n, ...)
            New.
        """


class DeviceRows(RowStore):
    """Rows in one tensor on the device.

    Parameters
    ----------
    X : Tensor of shape (n_rows, ...)
        The rows.
    """

    def __init__(self, X: Tensor) -> None:
        super().__init__(X.device)
        self.X = X

    def take(self, rows: Ints, rng: np.random.RandomState) -> Tensor:
        """Take rows."""
        found = self.X.index_select(0, on_device(rows.reshape(-1), self.device))
        return found.view(*rows.shape, *self.X.shape[1:])


class HostRows(RowStore):
    """Rows that stay in arrays of the host: in mapped files, in sparse arrays.

    Parameters
    ----------
    tables : sequence of ndarray or csr_array of shape (n, ...)
        Where they lie.
    table, row : ndarray of int of shape (n_rows,)
        The table of each row, and its position there.
    dtype : dtype
        Of the result, where the tables are no tensors' dtype.
    device : torch.device
        Where to.
    """

    def __init__(
        self, tables: Sequence[Any], table: Ints, row: Ints, dtype: Any, device: torch.device
    ) -> None:
        super().__init__(device)
        self.tables, self.table, self.row = tables, table, row
        kinds = {t.dtype for t in tables}
        plain = len(kinds) == 1 and kinds <= set(TENSORS)
        self.dtype = np.dtype(kinds.pop() if plain else dtype)

    def take(self, rows: Ints, rng: np.random.RandomState) -> Tensor:
        """Take rows: each once, in the order in which they lie."""
        wanted, place = np.unique(rows, return_inverse=True)
        table, row = self.table[wanted], self.row[wanted]
        X = np.empty((len(wanted), *self.tables[0].shape[1:]), self.dtype)
        for k in np.unique(table):
            here = table == k
            X[here] = dense(self.tables[k][row[here]])
        found = on_device(X, self.device).index_select(0, on_device(place.ravel(), self.device))
        return found.view(*rows.shape, *X.shape[1:])


class Turned(RowStore):
    """Images, and their quarter turns: rows 0 to n - 1 as they are, n to 2n - 1 turned once, ...

    Parameters
    ----------
    inner : RowStore
        The n images.
    n : int
        How many.
    order : ndarray of int of shape (4 n,)
        Which of these come first, second, and so on.
    """

    def __init__(self, inner: RowStore, n: int, order: Ints) -> None:
        super().__init__(inner.device)
        self.inner = inner
        self.turns, self.images = np.divmod(order, n)

    def take(self, rows: Ints, rng: np.random.RandomState) -> Tensor:
        """Take images, and turn them."""
        X = self.inner.take(self.images[rows], rng)
        flat, turns = X.view(-1, *X.shape[2:]), self.turns[rows].reshape(-1)
        for turn in (1, 2, 3):
            here = on_device(np.flatnonzero(turns == turn), self.device)
            flat[here] = torch.rot90(flat[here], turn, (-2, -1))
        return X


class Augmented(RowStore):
    """Rows altered by chance, by the user's function.

    Parameters
    ----------
    inner : RowStore
        The rows.
    augment : callable
        From rows and a generator to rows.
    dtype : torch.dtype
        Floating-point.
    """

    def __init__(
        self, inner: RowStore, augment: Callable[[Tensor, Any], Tensor], dtype: torch.dtype
    ) -> None:
        super().__init__(inner.device)
        self.inner, self.augment, self.dtype = inner, augment, dtype

    def take(self, rows: Ints, rng: np.random.RandomState) -> Tensor:
        """Take rows, and alter them."""
        X = self.inner.take(rows, rng).to(self.dtype)
        generator = torch.Generator(self.device).manual_seed(int(rng.randint(2**31 - 1)))
        altered = self.augment(X, generator)
        if not isinstance(altered, Tensor) or altered.shape != X.shape:
            got = tuple(altered.shape) if isinstance(altered, Tensor) else type(altered).__name__
            raise ValueError(
                f"augment must return a tensor of the shape that it is given, {tuple(X.shape)}; "
                f"got {got}."
            )
        return altered.to(X)


class Scaled(RowStore):
    """Rows scaled when they are used, and not before.

    Parameters
    ----------
    inner : RowStore
        The rows as they are.
    scaling : Scaling or None
        What to do to them.
    dtype : dtype
        Floating-point, of numpy.
    """

    def __init__(self, inner: RowStore, scaling: Scaling | None, dtype: Any) -> None:
        super().__init__(inner.device)
        self.inner, self.dtype = inner, torch.from_numpy(np.empty(0, dtype)).dtype
        self.how = None
        if scaling is not None:
            pair = (scaling.x_mean, scaling.x_scale)
            self.how = [torch.tensor(v.astype(dtype), device=self.device) for v in pair]

    def take(self, rows: Ints, rng: np.random.RandomState) -> Tensor:
        """Take rows, and scale them."""
        X = self.inner.take(rows, rng).to(self.dtype)
        return X if self.how is None else (X - self.how[0]) / self.how[1]


def on_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Send an array to the device, without waiting for it.

    Parameters
    ----------
    array : ndarray
        Not written to afterwards.
    device : torch.device
        Where to.

    Returns
    -------
    Tensor
        On the CPU, the very memory.
    """
    return torch.from_numpy(array).to(device, non_blocking=True)
