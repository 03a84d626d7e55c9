"""What meta-training leaves behind: an immutable object of read-only numpy arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray

from sklearn_meta._version import __version__
from sklearn_meta.outer.scaling import Limits, Scaling, scaling_of

__all__ = [
    "VERSIONS",
    "Arrays",
    "MetaState",
    "scaling_for",
    "tensors_of",
    "to_numpy",
    "to_torch",
]


VERSIONS = {
    "sklearn_meta": __version__,
    "torch": str(torch.__version__),
    "numpy": np.__version__,
    "sklearn": sklearn.__version__,
}


N_NETWORKS = 4  # kept by a meta state; one, unless a callable makes it, and another the next time
IMMUTABLE = (type, str, bool, int, float, torch.device)
LARGEST_KEPT = 2**26  # bytes of tensors kept beside arrays: copying more costs little of a fit


class Arrays(Mapping[str, NDArray[Any]]):
    """Read-only arrays by name, which remember what they are as tensors.

    Parameters
    ----------
    arrays : mapping of ndarray
        From now on read-only.

    Notes
    -----
    Pickles, copies and compares like a mapping of arrays alone: the tensors stay here.
    """

    __slots__ = ("_arrays", "_tensors")

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = dict(arrays)
        self._tensors: tuple[Any, dict[str, torch.Tensor]] = (None, {})
        for array in self._arrays.values():
            array.flags.writeable = False

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def tensors(self, device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """Give them as tensors, which nobody writes to; the last kind asked for is kept.

        Parameters
        ----------
        device : torch.device
            Where to.
        dtype : torch.dtype
            Of the floating-point ones.

        Returns
        -------
        dict of Tensor
            A new dict of shared tensors.
        """
        kind, kept = self._tensors  # one read, one write: threads see one pair or the other
        if kind != (device, dtype):
            with torch.inference_mode(False):  # the caller may be in it; the next one may not
                kept = to_torch(self._arrays, device, dtype)
            if sum(t.nbytes for t in kept.values()) <= LARGEST_KEPT:
                self._tensors = (device, dtype), kept
        return dict(kept)

    def __reduce__(self) -> tuple[Any, ...]:
        return Arrays, (self._arrays,)

    def __repr__(self) -> str:
        return f"Arrays({self._arrays!r})"


@dataclass(frozen=True, eq=False)
class MetaState:
    """The learned prior, shared by reference between an estimator and its clones.

    Numpy rather than tensors: joblib memory-maps it, and it loads where there is no GPU.

    Attributes
    ----------
    theta : dict of ndarray
        Meta-parameters, read-only.
    scaling : Scaling
        Statistics of the meta-training tasks. Where each task is scaled by its own, it is divided
        by these first: they are the scales of a typical task, which stand in where nothing varies.
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
    by_task : bool, default=False
        Whether each task is scaled by the statistics of its own support.
    limits : Limits or None, default=None
        How far rows and tasks went; None where they were not looked at before meta-training, or
        where each task is scaled by its own.
    """

    theta: Mapping[str, NDArray[Any]]
    scaling: Scaling
    row_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    feature_names: tuple[str, ...] | None
    classes: NDArray[Any] | None
    structural: Mapping[str, Any]
    training: Mapping[str, Any]
    versions: Mapping[str, str]
    by_task: bool = False
    limits: Limits | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "theta", Arrays(self.theta))
        object.__setattr__(self, "_networks", {})
        object.__setattr__(self, "_seen", ())
        for array in (*self.scaling, *(self.limits or ()), self.classes):
            if array is not None:
                array.flags.writeable = False

    def has_seen(self, params: tuple[Any, ...]) -> bool:
        """Whether these very parameters were the last that were held against the state.

        Parameters
        ----------
        params : tuple
            Class and values.

        Returns
        -------
        bool
            True if nothing was found amiss, so that it need not be done again.
        """
        seen: tuple[Any, ...] = self._seen  # type: ignore[attr-defined]
        return len(seen) == len(params) and all(map(operator.is_, seen, params))

    def remember(self, params: tuple[Any, ...]) -> None:
        """Take note that nothing was amiss with these parameters.

        Parameters
        ----------
        params : tuple
            Class and values; not kept if any of them can change in place.
        """
        fixed = all(value is None or isinstance(value, IMMUTABLE) for value in params)
        object.__setattr__(self, "_seen", params if fixed else ())

    def network(self, key: Any, make: Callable[[], Any]) -> Any:
        """Give what was made for a key, or make it; clones share it, pickles do not hold it.

        Parameters
        ----------
        key : hashable or None
            All that the network depends on; None: it is made anew, and not kept.
        make : callable
            Makes it.

        Returns
        -------
        object
            The very one, for the same key, unless many others came since.
        """
        known: dict[Any, Any] = self._networks  # type: ignore[attr-defined]
        if key is not None and key in known:
            return known[key]
        made = make()
        if key is not None:  # a new dict: another thread may be reading the old one
            recent = list(known.items())[1 - N_NETWORKS :]
            object.__setattr__(self, "_networks", dict([*recent, (key, made)]))
        return made

    @property
    def n_targets(self) -> int:
        """Outputs of a regression; 1 for labels."""
        return math.prod(self.target_shape)

    def __getstate__(self) -> dict[str, Any]:
        # the fields alone, for pickle and for skops, which looks at no __reduce__
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        return state | {"theta": dict(self.theta)}  # plain, for those who read it without us

    def __setstate__(self, state: dict[str, Any]) -> None:
        MetaState.__init__(self, **state)  # arrays are read-only here too

    def __repr__(self) -> str:
        n = sum(array.size for array in self.theta.values())
        return f"MetaState({n} meta-parameters, rows of shape {self.row_shape})"


def scaling_for(
    state: MetaState | None,
    X: NDArray[Any],
    y: NDArray[Any] | None,
    weight: NDArray[Any],
) -> Scaling:
    """Standardise a support, or a stack of them, as meta-training did; without it, by itself."""
    if state is None:
        return scaling_of(X, y, weight)
    return scaling_of(X, y, weight, state.scaling) if state.by_task else state.scaling


def tensors_of(
    arrays: Mapping[str, NDArray[Any]], device: torch.device, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Give arrays as tensors, those that they remember if they are :class:`Arrays`.

    Parameters
    ----------
    arrays : mapping of ndarray
        Left as they are.
    device : torch.device
        Where to.
    dtype : torch.dtype
        Of the floating-point ones.

    Returns
    -------
    dict of Tensor
        Not to be written to.
    """
    if isinstance(arrays, Arrays):
        return arrays.tensors(device, dtype)
    return to_torch(arrays, device, dtype)


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
