"""What a fitted estimator consists of as plain data, and checks of such data from a file.

A file can claim a layer of a billion units or rows of a trillion values, so that sizes are compared
with the arrays in the file before a network is built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_meta._archive import PROCESS_PARAMS, is_plain, saving
from sklearn_meta.base.adapted import Adapted
from sklearn_meta.exceptions import SaveError
from sklearn_meta.nn.backbone import BODY
from sklearn_meta.outer.callbacks import MetaHistory
from sklearn_meta.outer.scaling import Limits, Scaling
from sklearn_meta.outer.state import MetaState, to_torch
from sklearn_meta.parameters import fingerprint

__all__ = [
    "adapted_to_plain",
    "changed_params",
    "check_adapted",
    "check_meta_state",
    "check_network_size",
    "history_from_plain",
    "history_to_plain",
    "meta_state_from_plain",
    "meta_state_to_plain",
]

Arrays = Mapping[str, NDArray[Any]]

MAX_ROW = 1 << 22  # values of a row of a network that is no MLP
MAX_TRIAL = 1 << 24  # values of the arrays of a head, broadcast to one another
SPARE, SPARE_FACTOR = 1 << 20, 64  # values of a network beyond those in the file


def meta_state_to_plain(state: MetaState) -> dict[str, Any]:
    """Return the fields of a learned prior as dicts, tuples and arrays."""
    limits = None if state.limits is None else state.limits._asdict()
    mappings = {k: dict(getattr(state, k)) for k in ("structural", "training", "versions")}
    fields = state.__getstate__()
    return fields | mappings | {"scaling": state.scaling._asdict(), "limits": limits}


def meta_state_from_plain(plain: Mapping[str, Any]) -> MetaState:
    """Return the learned prior of `meta_state_to_plain`."""
    limits = None if plain["limits"] is None else Limits(**plain["limits"])
    return MetaState(**{**plain, "scaling": Scaling(**plain["scaling"]), "limits": limits})


def history_to_plain(rows: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Return the columns that all epochs have, each of numbers of one type."""
    names = [k for k in rows[0] if all(k in row for row in rows)] if len(rows) else []
    columns = {k: [row[k] for row in rows] for k in names}
    kinds = (bool, int, float, np.bool_, np.integer, np.floating)
    return {
        k: np.array(column)
        for k, column in columns.items()
        if isinstance(column[0], kinds) and len({type(x) for x in column}) == 1
    }


def history_from_plain(columns: Mapping[str, NDArray[Any]]) -> MetaHistory:
    """Return the history of `history_to_plain`."""
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("the columns of its history have different lengths")
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return MetaHistory([dict(zip(columns, row, strict=True)) for row in rows])


def adapted_to_plain(
    adapted: Adapted, params: Mapping[str, Any], learned: MetaState | None
) -> dict[str, Any]:
    """Return what an adaptation has beyond the parameters and the prior of its estimator."""
    theta = {} if learned is None else learned.theta
    return {
        "params": changed_params(adapted.params, params),
        "row_shape": tuple(adapted.backbone.row_shape),
        "dtype": np.dtype(adapted.dtype).str,
        "theta": dict(adapted.theta) if learned is None else None,
        "phi": {k: None if _same(p, theta.get(k)) else p for k, p in adapted.phi.items()},
        "scaling": _scaling_to_plain(adapted.scaling, learned),
    }


def changed_params(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a fit that matter to predictions, and differ from other ones."""
    changed = {
        name: value
        for name, value in then.items()
        if name not in (*PROCESS_PARAMS, "random_state", "device")
        and value is not now[name]
        and fingerprint(value) != fingerprint(now[name])
    }
    code = [name for name, value in changed.items() if not is_plain(value)]
    if code and saving() is not None:
        raise SaveError(f"{code[0]!r} is code that was changed since fit; call fit again")
    return changed


def _same(a: NDArray[Any], b: NDArray[Any] | None) -> bool:
    return b is not None and (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()


def _scaling_to_plain(scaling: Scaling, learned: MetaState | None) -> dict[str, Any] | None:
    if learned is not None and all(map(_same, scaling, learned.scaling)):
        return None
    return {k: np.asarray(v) for k, v in scaling._asdict().items()}


# ---- checks of what comes from a file ------------------------------------------------------------


def check_meta_state(state: MetaState, target_type: str, expected: Mapping[str, Any]) -> None:
    """Compare the arrays of a learned prior with those that its algorithm would learn."""
    shapes = (*state.row_shape, *state.target_shape)
    if not state.row_shape or any(type(n) is not int or n < 1 for n in shapes):
        raise ValueError(f"its rows have shape {state.row_shape}, targets {state.target_shape}")
    if target_type == "class" and state.target_shape:
        raise ValueError(f"its labels have shape {state.target_shape}")
    _check_names(state.feature_names, state.row_shape)
    for group in (state.scaling, *((state.limits,) if state.limits is not None else ())):
        _check_scaling(group._asdict(), state.row_shape, state.n_targets)
    if expected.keys() != state.theta.keys():
        odd = sorted(expected.keys() ^ state.theta.keys())
        raise ValueError(f"theta does not have the arrays that its algorithm learns: {odd[:3]}")
    for name, p in expected.items():
        array = state.theta[name]
        steps = p.ndim == 1 and not name.startswith((BODY, "head."))  # one a step, of any number
        fits = array.ndim == 1 if steps else array.shape == tuple(p.shape)
        if not fits or array.dtype.kind != "f":
            raise ValueError(
                f"theta[{name!r}] is {array.dtype} of shape {array.shape}, not {tuple(p.shape)}"
            )


def _check_names(names: Sequence[str] | None, row_shape: tuple[int, ...]) -> None:
    if names is not None and [type(name) for name in names] != [str] * row_shape[0]:
        raise ValueError(f"{row_shape[0]} feature names expected, got {str(names)[:60]}")


def _check_scaling(arrays: Arrays, row_shape: tuple[int, ...], n_targets: int) -> None:
    wide = [(), (1,), row_shape[:1] if len(row_shape) == 1 else ()]
    for name, array in arrays.items():
        fits = array.shape in wide if name.startswith("x_") else array.shape == (n_targets,)
        if not fits or array.dtype.kind != "f":
            raise ValueError(f"{name} has shape {array.shape}, for rows of shape {row_shape}")


def check_network_size(
    row_shape: tuple[int, ...], widths: Sequence[int] | None, n_extra: int, theta: Arrays
) -> None:
    """Refuse hidden layers (None: not an MLP) much larger than the arrays in the file.

    `n_extra` inputs may be added to those of a row.
    """
    n_values = sum(array.size for array in theta.values())
    if widths is None:
        if math.prod(row_shape) > MAX_ROW:
            raise ValueError(f"row shape {row_shape} exceeds the limit of {MAX_ROW} values")
        return
    needed = sum(a * b for a, b in pairwise((math.prod(row_shape) + n_extra, *widths)))
    if len(widths) > len(theta) or needed > SPARE_FACTOR * n_values + SPARE:
        raise ValueError(
            f"its parameters ask for {len(widths)} layers of {needed} weights, but it has "
            f"{len(theta)} arrays of {n_values} values"
        )


def check_adapted(adapted: Adapted, attributes: Mapping[str, Any], target_type: str) -> None:
    """Predict two rows, and compare the outputs with the attributes that `fit` has set."""
    row_shape = adapted.backbone.row_shape
    _check_scaling(adapted.scaling._asdict(), row_shape, adapted.scaling.y_mean.size)
    _check_names(attributes.get("feature_names_in_"), row_shape)
    if attributes["n_features_in_"] != row_shape[0]:
        raise ValueError(f"n_features_in_ is {attributes['n_features_in_']} for rows {row_shape}")
    for name, p in adapted.phi.items():
        if name.startswith(BODY) and p.shape != adapted.theta[name].shape:
            raise ValueError(f"phi[{name!r}] does not have the shape of theta")
    n_outputs = _n_outputs(adapted)
    if target_type == "class":
        classes, columns = attributes["classes_"], attributes["_column_of_class_"]
        fits = classes.shape == columns.shape and columns.dtype.kind == "i"
        if not fits or not all(0 <= c < n_outputs for c in columns.tolist()):
            raise ValueError(f"its classes do not go with {n_outputs} outputs")
    elif adapted.scaling.y_mean.size != n_outputs or "_one_dimensional_" not in attributes:
        raise ValueError(f"its targets do not go with {n_outputs} outputs")


def _n_outputs(adapted: Adapted) -> int:
    """Predict two rows, unless broadcasting would make the outputs large."""
    f = adapted.backbone
    heads = [p for k, p in adapted.phi.items() if not k.startswith(BODY)]
    size = math.prod(map(max, zip_longest(*(p.shape[::-1] for p in heads), fillvalue=1)))
    if size > max([MAX_TRIAL, *(SPARE_FACTOR * p.size for p in heads)]):
        raise ValueError(f"its phi has arrays of shapes {[p.shape for p in heads[:3]]}")
    device, dtype = torch.device("cpu"), torch.from_numpy(np.empty(0, adapted.dtype)).dtype
    theta, phi = (to_torch(arrays, device, dtype) for arrays in (adapted.theta, adapted.phi))
    with torch.no_grad():
        out = adapted.algorithm.predict(f, theta, phi, torch.zeros(2, *f.row_shape, dtype=dtype))
    if out.ndim != 2 or len(out) != 2:
        raise ValueError(f"it predicts outputs of shape {tuple(out.shape)} for two rows")
    return out.shape[1]
