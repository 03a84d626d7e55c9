"""Class labels as JSON: arrays of strings, which safetensors has not, and of all else."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.storage.plain import from_json, to_json

__all__ = ["labels_from", "labels_to_json"]

KINDS = re.compile(r"[<>|](b1|[iu][1248]|f[248]|[mM]8\[\w{1,8}\]|[US]\d{1,6}|O)")
MAX_BYTES = 1 << 26  # of an array of strings, which are as wide as the widest


def labels_to_json(labels: NDArray[Any]) -> dict[str, Any]:
    """Turn labels into what JSON has.

    Parameters
    ----------
    labels : ndarray of shape (n_labels,)
        Bools, numbers, strings, dates; or objects that are all of one of these kinds.

    Returns
    -------
    dict
        For :func:`labels_from`.

    Raises
    ------
    TypeError
        If they are something else.
    """
    dtype = labels.dtype.str
    if labels.ndim != 1 or not KINDS.fullmatch(dtype):
        raise TypeError(f"labels of dtype {labels.dtype} and shape {labels.shape} are not plain")
    if labels.dtype.kind in "mM":
        return {"dtype": dtype, "labels": labels.view(np.int64).tolist()}
    if labels.dtype.kind == "S":
        return {"dtype": dtype, "labels": [label.decode("latin-1") for label in labels.tolist()]}
    values = [v.item() if isinstance(v, np.generic) else v for v in labels.tolist()]
    kinds = sorted({type(v).__name__ for v in values})
    if not (len(kinds) <= 1 and all(isinstance(v, (bool, int, float, str)) for v in values)):
        raise TypeError(f"labels of several kinds ({', '.join(kinds)}), or not plain ones")
    return {"dtype": dtype, "labels": [to_json(v) for v in values]}


def labels_from(document: Any) -> NDArray[Any]:
    """Turn labels from JSON back into the array.

    Parameters
    ----------
    document : dict
        From :func:`labels_to_json`.

    Returns
    -------
    ndarray of shape (n_labels,)
        Of the same dtype, read-only.

    Raises
    ------
    ValueError
        If they are not what they say.
    """
    match document:
        case {"dtype": str(name), "labels": list(labels)} if KINDS.fullmatch(name):
            dtype = np.dtype(name)
        case _:
            raise ValueError(f"labels expected; got {str(document)[:60]}")
    wanted: Any = {"b": bool, "f": float, "U": str, "S": str, "O": (bool, int, float, str)}
    values = [from_json(label) for label in labels]
    if not all(isinstance(v, wanted.get(dtype.kind, int)) for v in values):
        raise ValueError(f"labels of dtype {name} expected; got {str(values)[:60]}")
    if dtype.itemsize * len(values) > MAX_BYTES:
        raise ValueError(f"labels of dtype {name} are too wide")
    if dtype.kind == "S":
        values = [v.encode("latin-1") for v in values]
    array = np.array(values, dtype=np.int64 if dtype.kind in "mM" else dtype)
    array = array.astype(dtype).reshape(len(values))
    array.flags.writeable = False
    return array
