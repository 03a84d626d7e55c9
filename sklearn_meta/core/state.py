"""What meta-training leaves behind: an immutable object of read-only numpy arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray

from sklearn_meta._version import __version__
from sklearn_meta.core.scaling import Scaling

__all__ = ["VERSIONS", "MetaState", "read_only", "to_numpy", "to_torch"]


VERSIONS = {
    "sklearn_meta": __version__,
    "torch": str(torch.__version__),
    "numpy": np.__version__,
    "sklearn": sklearn.__version__,
}


@dataclass(frozen=True, eq=False)
class MetaState:
    """The learned prior, shared by reference between an estimator and its clones.

    Numpy rather than tensors: joblib memory-maps it, and it loads where there is no GPU.

    Attributes
    ----------
    theta : dict of ndarray
        Meta-parameters, read-only.
    scaling : Scaling or None
        Statistics of the meta-training tasks; None where each task is scaled by its own.
    row_shape : tuple of int
        Shape of one row of X.
    target_shape : tuple of int
        Shape of one row of y.
    feature_names : tuple of str or None
        Column names of X.
    classes : ndarray or None
        All labels, where the same label in two tasks is the same class.
    structural, training : dict
        Fingerprints of the parameters it was learned with, by which a later change is noticed.
    versions : dict of str
        Of the packages it was learned with.
    """

    theta: Mapping[str, NDArray[Any]]
    scaling: Scaling | None
    row_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    feature_names: tuple[str, ...] | None
    classes: NDArray[Any] | None
    structural: Mapping[str, Any]
    training: Mapping[str, Any]
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "theta", MappingProxyType(dict(self.theta)))
        for array in (*self.theta.values(), *(self.scaling or ()), self.classes):
            if array is not None:
                array.flags.writeable = False

    @property
    def n_targets(self) -> int:
        """Outputs of a regression; 1 for labels."""
        return math.prod(self.target_shape)

    def __reduce__(self) -> tuple[Any, ...]:
        # through __init__, so that arrays are read-only after unpickling too
        theta, *rest = (getattr(self, field.name) for field in fields(self))
        return MetaState, (dict(theta), *rest)  # a mapping proxy does not pickle

    def __repr__(self) -> str:
        n = sum(array.size for array in self.theta.values())
        return f"MetaState({n} meta-parameters, rows of shape {self.row_shape})"


def read_only(arrays: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """Show arrays that cannot be written to.

    Parameters
    ----------
    arrays : dict of ndarray
        Left as they are.

    Returns
    -------
    mapping of ndarray
        Views.
    """
    views = {k: array.view() for k, array in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return MappingProxyType(views)


def to_numpy(params: Mapping[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    """Copy tensors to numpy arrays.

    Parameters
    ----------
    params : dict of Tensor
        On any device.

    Returns
    -------
    dict of ndarray
        Of the same dtypes.
    """
    return {k: p.detach().to("cpu", copy=True).contiguous().numpy() for k, p in params.items()}


def to_torch(
    params: Mapping[str, NDArray[Any]], device: torch.device, dtype: torch.dtype | None = None
) -> dict[str, torch.Tensor]:
    """Copy numpy arrays to tensors.

    Parameters
    ----------
    params : dict of ndarray
        Left as they are.
    device : torch.device
        Where to.
    dtype : torch.dtype, default=None
        Of the floating-point ones; None: as they are.

    Returns
    -------
    dict of Tensor
        New tensors.
    """
    tensors = {k: torch.tensor(np.asarray(p), device=device) for k, p in params.items()}
    if dtype is None:
        return tensors
    return {k: t.to(dtype) if t.is_floating_point() else t for k, t in tensors.items()}
