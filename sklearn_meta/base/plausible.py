"""Whether arrays from a file go with the network that its parameters ask for.

A file may ask for a layer of a billion units. What is large is made on torch's "meta" device, of
shapes without numbers; what is small is not, since the first use of that device takes a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import pairwise, zip_longest
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from sklearn_meta.base.adapted import Adapted
from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import BODY
from sklearn_meta.inner.backbone import RowNetwork
from sklearn_meta.inner.heads import WEIGHT
from sklearn_meta.outer.outer_loop import widths
from sklearn_meta.outer.state import MetaState

__all__ = ["check_network", "check_task", "network"]

MAX_ROW = 1 << 24  # numbers of a row, for a network of the user's own, which is made in earnest
LARGE_ROW = 1 << 18
LARGE = 1 << 24  # numbers of a network, or of an output


class _Stay(TorchFunctionMode):
    """What has no numbers cannot be moved to the CPU, and need not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is torch.Tensor.to else func(*args, **(kwargs or {}))


@contextmanager
def _shapes_alone() -> Iterator[None]:
    with torch.device("meta"), _Stay(), torch.no_grad():
        yield


def _is_large(est: Any, row_shape: tuple[int, ...]) -> bool:
    """Whether the built-in network of these parameters is, or what it makes of a row."""
    names = set(est.fingerprints("structural")) - {"hidden_layer_sizes"}
    values = [getattr(est, name) for name in names]
    more = [int(value) for value in values if isinstance(value, Integral)]
    hidden = widths(est.hidden_layer_sizes) if est.backbone == "mlp" else (64,)
    sizes = (sum(more, math.prod(row_shape)), *hidden)
    return sizes[0] > LARGE_ROW or sum(a * b for a, b in pairwise(sizes)) > LARGE


def network(est: Any, row_shape: tuple[int, ...], n_arrays: int) -> RowNetwork:
    """Make the network of an estimator, without numbers if it is a built-in one.

    Parameters
    ----------
    est : BaseMetaLearner
        With checked parameters.
    row_shape : tuple of int
        Of a row.
    n_arrays : int
        How many arrays the file has for it.

    Returns
    -------
    RowNetwork
        To be called with parameters.

    Raises
    ------
    ValueError
        If it has more layers than that, or does not take such rows.
    """
    if not isinstance(est.backbone, str):
        if math.prod(row_shape) > MAX_ROW:
            raise ValueError(f"rows of shape {row_shape} are absurd")
        f: RowNetwork = est.make_backbone(row_shape, 0)
        return f
    n_layers = len(widths(est.hidden_layer_sizes)) if est.backbone == "mlp" else 0
    if n_layers > n_arrays:
        raise ValueError(f"hidden_layer_sizes names {n_layers} layers; there are {n_arrays} arrays")
    with _shapes_alone() if _is_large(est, row_shape) else nullcontext():
        f = est.make_backbone(row_shape, 0)
    return f


def check_network(est: Any, f: RowNetwork, state: MetaState) -> None:
    """Hold a learned prior against the network.

    Parameters
    ----------
    est : BaseMetaLearner
        For its algorithm.
    f : RowNetwork
        Its network.
    state : MetaState
        The prior.

    Raises
    ------
    ValueError
        If the prior is for another one.
    """
    est.check_backbone(f, state.theta)
    learned_head = state.theta.get(WEIGHT)
    n_outputs = state.n_targets
    if state.classes is not None:
        n_outputs = len(state.classes)
    elif est.target_type == "class" and learned_head is not None:
        n_outputs = len(learned_head)
    with _shapes_alone():
        expected = est.make_algorithm().init(f, n_outputs, torch.Generator("cpu"))
    if expected.keys() != state.theta.keys():
        odd = sorted(expected.keys() ^ state.theta.keys())
        raise ValueError(f"theta has other arrays than {type(est).__name__} learns: {odd[:3]}")
    for name, p in expected.items():
        found = state.theta[name]
        steps = p.ndim == 1 and not name.startswith((BODY, "head."))  # one a step, of any number
        fits = found.ndim == 1 if steps else found.shape == tuple(p.shape)
        if not fits or found.dtype.kind != "f":
            raise ValueError(
                f"theta[{name!r}] holds {found.dtype} of shape {found.shape}; {type(est).__name__} "
                f"learns one of shape {tuple(p.shape)}"
            )


def check_task(est: Any, adapted: Adapted) -> None:
    """Hold what was adapted against the network, and the labels against its outputs.

    Parameters
    ----------
    est : BaseMetaLearner
        With the attributes that `fit` sets.
    adapted : Adapted
        The rest of it.

    Raises
    ------
    ValueError
        If they do not go together; AttributeError if one is missing.
    """
    f, row_shape = adapted.backbone, adapted.backbone.row_shape
    if est.meta_state is None:
        est.check_backbone(f, adapted.theta)
    for name, p in adapted.phi.items():
        if name.startswith(BODY) and p.shape != adapted.theta[name].shape:
            raise ValueError(f"phi[{name!r}] has shape {p.shape}, and theta another")
    large = isinstance(est.backbone, str) and _is_large(est, row_shape)
    device = "meta" if large or _spread(adapted) > LARGE else "cpu"
    theta, phi = (_tensors(p, device, adapted.dtype) for p in (adapted.theta, adapted.phi))
    with torch.device(device), torch.no_grad():
        rows = torch.zeros(2, *row_shape, dtype=torch.from_numpy(np.empty(0, adapted.dtype)).dtype)
        out = adapted.algorithm.predict(f, theta, phi, rows)
    if out.ndim != 2 or len(out) != 2:
        raise ValueError(f"phi of its shapes gives outputs of shape {tuple(out.shape)} for 2 rows")
    names = getattr(est, "feature_names_in_", None)
    n_features = row_shape[0]
    if type(est.n_features_in_) is not int or est.n_features_in_ != n_features:
        raise ValueError(f"n_features_in_ is {est.n_features_in_!r} for rows of {row_shape}")
    if names is not None and [type(name) for name in names] != [str] * n_features:
        raise ValueError(f"{n_features} feature names expected, got {str(names)[:60]}")
    if est.target_type == "class":
        columns = est._column_of_class_
        fits = isinstance(est.classes_, np.ndarray) and isinstance(columns, np.ndarray)
        fits = fits and columns.dtype.kind == "i" and columns.shape == est.classes_.shape
        if not fits or not all(0 <= c < out.shape[1] for c in columns.tolist()):
            raise ValueError(f"its classes do not go with {out.shape[1]} outputs")
    elif type(est._one_dimensional_) is not bool or adapted.scaling.y_mean.size != out.shape[1]:
        raise ValueError(f"its targets do not go with {out.shape[1]} outputs")


def _spread(adapted: Adapted) -> int:
    """Bound how many numbers arrays of phi make of one another, however they are broadcast."""
    shapes = [p.shape[::-1] for k, p in adapted.phi.items() if not k.startswith(BODY)]
    return math.prod(map(max, zip_longest(*shapes, fillvalue=1)))


def _tensors(arrays: Mapping[str, NDArray[Any]], device: str, dtype: Any) -> Params:
    """Tensors of these shapes, without numbers on the "meta" device."""
    found = {}
    for name, array in arrays.items():
        kind = np.dtype(dtype) if array.dtype.kind == "f" else array.dtype
        like = torch.from_numpy(np.empty(0, kind)).dtype
        found[name] = torch.empty(array.shape, dtype=like, device=device)
    return found
