"""What is written of a learned prior, and of an adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.base.adapted import Adapted
from sklearn_meta.base.plain_params import NOT_KEPT, is_plain, plain
from sklearn_meta.exceptions import SaveError
from sklearn_meta.outer.scaling import Limits, Scaling
from sklearn_meta.outer.state import MetaState
from sklearn_meta.parameters import fingerprint
from sklearn_meta.storage import labels_to_json, to_json

__all__ = ["written_meta", "written_task"]

Arrays = dict[str, NDArray[Any]]


def written_meta(state: MetaState) -> tuple[Arrays, dict[str, Any]]:
    """Take a learned prior apart.

    Parameters
    ----------
    state : MetaState
        It stays as it is.

    Returns
    -------
    arrays : dict of ndarray
        All of its arrays.
    document : dict
        All else.

    Raises
    ------
    SaveError
        If its labels are of several kinds.
    """
    arrays = {f"theta/{k}": p for k, p in state.theta.items()}
    document = {
        "theta": list(state.theta),
        "by_task": state.by_task,
        "limits": state.limits is not None,
        "row_shape": list(state.row_shape),
        "target_shape": list(state.target_shape),
        "feature_names": state.feature_names and list(state.feature_names),
        "classes": None if state.classes is None else _labels("classes", state.classes),
        "structural": to_json(dict(state.structural)),
        "training": to_json(dict(state.training)),
        "versions": dict(state.versions),
    }
    arrays |= _fields("scaling", state.scaling)
    return arrays | ({} if state.limits is None else _fields("limits", state.limits)), document


def _fields(prefix: str, group: Scaling | Limits) -> Arrays:
    return {f"{prefix}/{k}": np.asarray(v) for k, v in group._asdict().items()}


def written_task(est: Any, known: Mapping[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    """Take apart what an estimator has of its last `fit`, beyond its prior.

    Parameters
    ----------
    est : BaseMetaLearner
        Fitted.
    known : dict
        Parameters that need not be written again.

    Returns
    -------
    arrays : dict of ndarray
        Of this task.
    document : dict
        All else.

    Raises
    ------
    SaveError
        If it holds what no file can.
    """
    adapted: Adapted = est._adapted
    state, own = est.meta_state, dict[str, NDArray[Any]]()
    theta = {} if state is None else state.theta
    for k, p in adapted.phi.items():
        if k not in theta or not _same(p, theta[k]):
            own[f"phi/{k}"] = p
    shared = state is not None and not state.by_task
    shared = shared and all(map(np.array_equal, state.scaling, adapted.scaling))
    if not shared:
        own |= _fields("task_scaling", adapted.scaling)
    if state is None:
        own |= {f"scratch/{k}": p for k, p in adapted.theta.items()}
    document = {
        "params": _changed(est, adapted.params, known),
        "row_shape": list(adapted.backbone.row_shape),
        "dtype": np.dtype(adapted.dtype).str,
        "phi": list(adapted.phi),
        "own": [k for k in adapted.phi if f"phi/{k}" in own],
        "scaling": not shared,
        "scratch": list(adapted.theta) if state is None else None,
        "attributes": {k: _attribute(k, v) for k, v in vars(est).items() if _learned(k)},
    }
    return own, document


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()


def _learned(name: str) -> bool:
    return name.endswith("_") and name != "history_"


def _changed(est: Any, then: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the last `fit` that are not the known ones: `predict` goes by those of then."""
    changed = {}
    for name, value in then.items():
        if name in (*NOT_KEPT, "random_state", "device"):
            continue
        if name in known and fingerprint(value) == fingerprint(known[name]):
            continue
        if not (is_plain(value) and is_plain(known.get(name))):
            raise SaveError(
                f"{type(est).__name__} cannot be saved: {name!r} was set since fit, and is code. "
                "Call fit again."
            )
        changed[name] = to_json(plain(value))
    return changed


def _labels(name: str, labels: NDArray[Any]) -> dict[str, Any]:
    try:
        return labels_to_json(labels)
    except TypeError as error:
        raise SaveError(f"{name!r} cannot be saved: {error}.") from None


def _attribute(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, np.ndarray):
        return {"labels": _labels(name, value)}
    try:
        return {"value": to_json(value)}
    except TypeError as error:
        raise SaveError(f"The attribute {name!r} cannot be saved: {error}.") from None
