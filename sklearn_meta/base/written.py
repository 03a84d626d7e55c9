"""What is written of an estimator: arrays, and a document of plain values."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.base.plain_params import NOT_KEPT, check_all, is_plain, plain
from sklearn_meta.base.written_parts import written_meta, written_task
from sklearn_meta.outer.state import VERSIONS
from sklearn_meta.storage import to_json

__all__ = ["FORMAT", "written"]

Arrays = dict[str, NDArray[Any]]

FORMAT = 1


def written(est: Any, stacklevel: int) -> tuple[Arrays, dict[str, Any]]:
    """Take an estimator apart.

    Parameters
    ----------
    est : BaseMetaLearner
        It stays as it is.
    stacklevel : int
        Of the user's line, for warnings.

    Returns
    -------
    arrays : dict of ndarray
        All of its arrays.
    document : dict
        All else.

    Raises
    ------
    SaveError
        If it holds what no file can.
    ValueError
        If a parameter is out of range, or makes another network than the one that was learned.
    """
    check_all(est)
    if est.meta_state is not None:  # `load` would refuse it, too late
        est.check_structure(est.meta_state)
    params, given = _params(est, stacklevel + 1)
    state, arrays = est.meta_state, dict[str, NDArray[Any]]()
    document: dict[str, Any] = {
        "class": [type(est).__module__, type(est).__qualname__],
        "versions": VERSIONS,
        "params": params,
        "given": given,
        "meta": None,
        "task": None,
    }
    if state is not None:
        arrays, document["meta"] = written_meta(state)
    if hasattr(est, "history_"):
        columns = _history(est.history_)
        document["history"] = list(columns)
        arrays |= {f"history/{k}": column for k, column in columns.items()}
    if hasattr(est, "_adapted"):
        own, document["task"] = written_task(est, est.get_params(deep=False))
        arrays |= own
    return arrays, document


def _params(est: Any, stacklevel: int) -> tuple[dict[str, Any], list[str]]:
    """Parameters as JSON, and the names of those that are code."""
    kept: dict[str, Any] = {}
    given, dropped = [], []
    for name, value in est.get_params(deep=False).items():
        chance = isinstance(value, (np.random.RandomState, np.random.Generator))
        if value is not None and (chance or name in NOT_KEPT):
            dropped.append(name)
            value = None
        if is_plain(value):
            kept[name] = to_json(plain(value))
        else:
            given.append(name)
    if dropped:
        warnings.warn(
            f"{', '.join(map(repr, dropped))} of {type(est).__name__} cannot be saved: None in the "
            "file.",
            UserWarning,
            stacklevel=stacklevel,
        )
    return kept, given


def _history(rows: Any) -> Arrays:
    """Columns that all epochs have, and that are numbers."""
    names = [k for k in rows[0] if all(k in row for row in rows)] if len(rows) else []
    columns = {k: [row[k] for row in rows] for k in names}
    kinds = (bool, int, float, np.bool_, np.integer, np.floating)
    plain_ones = {k: v for k, v in columns.items() if all(isinstance(x, kinds) for x in v)}
    return {k: np.array(v) for k, v in plain_ones.items() if len({type(x) for x in v}) == 1}
