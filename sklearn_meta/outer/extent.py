"""How large episodes may become, and what the rows of all tasks take."""

from __future__ import annotations

import copy
from typing import Any

from sklearn_meta.outer.episodes import EpisodeSource, FromPool, FromReader, FromTasks, Rows
from sklearn_meta.outer.packed import PackedTasks
from sklearn_meta.outer.row_store import DeviceRows

__all__ = ["largest", "most_rows", "stored_bytes"]


def stored_bytes(source: EpisodeSource) -> int:
    """Memory of the device that the rows and targets of all tasks take.

    Parameters
    ----------
    source : EpisodeSource
        Where meta-batches come from.

    Returns
    -------
    int
        Bytes; 0 where rows stay in files or come anew.
    """
    packed = _packed(source)
    if packed is None:
        return 0
    store: Any = packed.X
    while hasattr(store, "inner"):
        store = store.inner
    rows = store.X.nbytes if isinstance(store, DeviceRows) else 0
    return rows + (0 if packed.y is None else packed.y.nbytes)


def most_rows(source: EpisodeSource, n_way: int) -> tuple[int, int]:
    """Rows of support and query that no task has more of, without drawing any.

    Parameters
    ----------
    source : EpisodeSource
        Where meta-batches come from.
    n_way : int
        Classes of a task, where the source does not know them before it draws.

    Returns
    -------
    (int, int)
        Rows of one task. A fixed support that nobody has seen yet does not count.
    """
    n_support, packed = source.rows.n_support[1], _packed(source)
    if isinstance(source, FromPool):
        n_way = source.n_way[1]
    elif packed is not None and packed.count is not None:
        n_way = int(packed.count.max())
        n_support = max(n_support, int(packed.fixed.max()))
    return n_way * n_support, n_way * source.rows.n_query


def largest(source: EpisodeSource) -> EpisodeSource:
    """Give a copy that always draws as many rows and classes as a source does at most.

    Parameters
    ----------
    source : EpisodeSource
        Stays as it is.

    Returns
    -------
    EpisodeSource
        To be drawn from in its place.
    """
    most: Any = copy.copy(source)
    most.rows = Rows((source.rows.n_support[1],) * 2, source.rows.n_query)
    if isinstance(source, FromPool):
        most.n_way = (source.n_way[1],) * 2
    return most


def _packed(source: Any) -> PackedTasks | None:
    if isinstance(source, FromPool):
        return source.packed
    if isinstance(source, FromTasks) and not isinstance(source, FromReader):
        return source._packed
    return None
