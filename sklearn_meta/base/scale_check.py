"""Warn of supports in other units than the tasks of meta-training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.outer.scaling import own_statistics
from sklearn_meta.outer.state import MetaState

__all__ = ["scale_departures"]

# the root mean square of a support, against the farthest row of meta-training; of several inputs,
# one may be the first to come out larger than ever before
FAR = {"X": 30.0, "y": 10.0}
CLOSE = 1e-3  # the standard deviation of a support, against that of the task that varied least
CHANCE = 1e-5  # how seldom as many normal rows lie as close together


def scale_departures(
    state: MetaState | None, X: NDArray[Any], y: NDArray[Any] | None, weight: NDArray[Any]
) -> dict[int, str]:
    """Say which supports of a stack are far from the scale of meta-training, and by how much.

    Parameters
    ----------
    state : MetaState or None
        With the limits to compare with; nothing is far without them.
    X : ndarray of shape (n_tasks, n_rows, ...)
        Inputs.
    y : ndarray of shape (n_tasks, n_rows, n_outputs) or None
        Real targets; None for labels.
    weight : ndarray of shape (n_tasks, n_rows)
        Of each row, 0 for padding.

    Returns
    -------
    dict of str
        What to say of a task, by its position in the stack.
    """
    if state is None or state.limits is None:
        return {}
    scaling, limits = state.scaling, state.limits
    found = {} if y is None else _compared("y", y, weight, scaling[2:], limits[2:], None)
    return found | _compared("X", X, weight, scaling[:2], limits[:2], state.feature_names)


def _compared(
    what: str,
    values: NDArray[Any],
    weight: NDArray[Any],
    scaling: Sequence[NDArray[Any]],
    limits: Sequence[NDArray[Any]],
    names: Sequence[str] | None,
) -> dict[int, str]:
    n_tasks, (centre, unit), (most, least) = len(values), scaling, limits
    mean, scale = (part.reshape(n_tasks, -1) for part in own_statistics(values, weight))
    spread = scale / unit
    distance = np.hypot((mean - centre) / unit, spread)
    n_rows = (weight > 0).sum(-1, keepdims=True)
    if values.ndim > 3:
        n_rows = n_rows * values[0, 0].size
    power = 1 / np.maximum(n_rows - 1, 1)
    far = distance > FAR[what] * most
    n_chances, varies = spread.shape[1], spread > 0
    one = np.minimum(CLOSE / n_chances, (CHANCE / n_chances) ** power)
    close = varies & (spread < one * least)
    every = np.minimum(CLOSE, CHANCE**power)
    close |= (varies & (spread < every * least)).all(axis=1, keepdims=True)
    found = {}
    for i in np.flatnonzero(far.any(axis=1) | close.any(axis=1)):
        if far[i].any():
            ratio = np.where(far[i], distance[i] / most, 0.0)
            k = int(ratio.argmax())
            words = f"{ratio[k]:.3g} times as far out as any row"
        else:
            ratio = np.where(close[i], spread[i] / np.where(close[i], least, 1.0), np.inf)
            k = int(ratio.argmin())
            words = f"only {ratio[k]:.3g} times as spread out as any task"
        which = what if n_chances == 1 else f"column {names[k] if names else k!r} of {what}"
        found[int(i)] = f"is far from the scale of meta-training: {which} is {words} there"
    return found
