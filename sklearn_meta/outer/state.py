"""The learned prior: an immutable object of read-only numpy arrays."""

from __future__ import annotations

import io
import math
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, TypeVar

import joblib
import numpy as np
import sklearn
import torch
from numpy.typing import NDArray

from sklearn_meta._archive import write_atomically
from sklearn_meta._version import __version__
from sklearn_meta.exceptions import SaveError, TaskError
from sklearn_meta.outer.class_weights import ClassWeights
from sklearn_meta.outer.scaling import Limits, Scaling, scale_departures, scaling_of
from sklearn_meta.outer.temperature import Temperature
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import check_task_names, label

__all__ = [
    "VERSIONS",
    "Arrays",
    "MetaState",
    "read_shared",
    "scaling_for",
    "tensors_of",
    "to_numpy",
    "to_torch",
]

T = TypeVar("T")

VERSIONS = {
    "sklearn_meta": __version__,
    "torch": str(torch.__version__),
    "numpy": np.__version__,
    "sklearn": sklearn.__version__,
}
N_SHARED = 4  # priors in files that a process keeps; one is used, unless several are compared
N_NETWORKS = 4  # in the cache of a state; one is used, unless a callable makes others
MAX_CACHED_BYTES = 2**26  # of tensors: for larger ones, the copy is a small part of a fit


class Arrays(Mapping[str, NDArray[Any]]):
    """A read-only mapping of read-only arrays, with a cached copy as tensors.

    It pickles, copies and compares like a mapping of arrays: the tensors stay in this process.
    """

    __slots__ = ("_arrays", "_tensors")

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = {k: np.asarray(a) for k, a in arrays.items()}  # also memory-mapped ones
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
        """Return a new dict of shared tensors, which nobody writes to; the last ones are cached."""
        key, tensors = self._tensors  # one read and one write: threads see either pair
        if key != (device, dtype):
            with torch.inference_mode(False):  # the caller may use it; the next one may not
                tensors = to_torch(self._arrays, device, dtype)
            if sum(t.nbytes for t in tensors.values()) <= MAX_CACHED_BYTES:
                self._tensors = (device, dtype), tensors
        return dict(tensors)

    def __reduce__(self) -> tuple[Any, ...]:
        return Arrays, (self._arrays,)

    def __repr__(self) -> str:
        return f"Arrays({self._arrays!r})"


@dataclass(frozen=True, eq=False)
class MetaState:
    """The learned prior, shared by reference between an estimator and its clones.

    Numpy rather than tensors: joblib memory-maps it, and it loads where there is no GPU.

    Parameters
    ----------
    theta : mapping of ndarray
        Meta-parameters, read-only.
    scaling : Scaling
        Statistics of the meta-training tasks. Where each task is scaled by its own support, rows
        are first divided by these: the scales of a typical task, which replace those of a task in
        which nothing varies.
    row_shape : tuple of int
        Shape of one row of X.
    target_shape : tuple of int
        Shape of one row of y.
    feature_names : tuple of str or None
        Column names of X.
    classes : ndarray or None
        All labels, where the same label in two tasks is the same class.
    structural, training : dict
        Fingerprints of the parameters of meta-training, to detect a later change.
    versions : dict of str
        Versions of the packages at meta-training.
    by_task : bool, default=False
        Whether each task is scaled by the statistics of its own support.
    limits : Limits or None, default=None
        How far rows and tasks of meta-training went; None where their statistics were not
        computed, or where each task is scaled by its own.
    shared_labels : bool, default=False
        Whether every task predicts all of `classes`.
    constants : mapping of ndarray, default={}
        Frozen parameters and buffers of the network, read-only. A network that is passed again
        gets them, whatever numbers it brings.
    class_weights : ClassWeights or None, default=None
        The weights of the classes in meta-training, and in new tasks.
    temperature : Temperature or None, default=None
        Of the probabilities of labels that tasks share; None is 1, or that none was chosen.
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
    shared_labels: bool = False
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    class_weights: ClassWeights | None = None
    temperature: Temperature | None = None
    _networks: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
    _file: tuple[str, str] | None = field(default=None, init=False, repr=False)  # path and digest

    def __post_init__(self) -> None:
        object.__setattr__(self, "theta", Arrays(self.theta))
        object.__setattr__(self, "constants", Arrays(self.constants))
        weights = None if self.class_weights is None else self.class_weights.of_column
        for array in (*self.scaling, *(self.limits or ()), self.classes, weights):
            if array is not None:
                array.flags.writeable = False

    @property
    def n_targets(self) -> int:
        """Number of outputs of a regression; 1 for labels."""
        return math.prod(self.target_shape)

    def network(self, key: Any, make: Callable[[], T]) -> T:
        """Return the cached network of a key, or make it.

        Building one takes several times as long as the `fit` of a prototypical network. Clones
        share the cache, and pickles do not hold it.

        Parameters
        ----------
        key : hashable or None
            All that the network depends on; None does not cache it.
        make : callable
            Makes the network.

        Returns
        -------
        RowNetwork
            The same object for the same key, unless several others were made since.
        """
        if key is None:
            return make()
        cached: T | None = self._networks.get(key)
        if cached is None:
            cached = self._networks[key] = make()
            for old in list(self._networks)[:-N_NETWORKS]:
                self._networks.pop(old, None)
        return cached

    def check_task(self, task: Task, i: int, owner: str) -> None:
        """Check the shapes and columns of a task against those of meta-training.

        Parameters
        ----------
        task : Task
            The task.
        i : int
            Its position, for the error.
        owner : str
            The name of the estimator, for the error.

        Raises
        ------
        TaskError
            If they differ.
        """
        for what, got, expected in (
            ("X", task.row_shape, self.row_shape),
            ("y", task.y[:1].size, self.n_targets),
        ):
            if got != expected:
                raise TaskError(
                    f"{label(task, i)}: {what} has rows of shape {got}, but {owner} "
                    f"was meta-fitted with rows of shape {expected} (X of shape "
                    f"{(len(task), *task.row_shape)}, y of {task.y.shape})."
                )
        check_task_names(task, i, self.feature_names)

    def scale_departures(
        self, X: NDArray[Any], y: NDArray[Any] | None, weight: NDArray[Any]
    ) -> dict[int, str]:
        """Find the supports of a stack that are far from the scale of meta-training.

        Parameters
        ----------
        X : ndarray of shape (n_tasks, n_rows, ...)
            Inputs.
        y : ndarray of shape (n_tasks, n_rows, n_outputs) or None
            Real targets; None for labels.
        weight : ndarray of shape (n_tasks, n_rows)
            Weights of the rows, 0 for padding.

        Returns
        -------
        dict of str
            How far a support is, by its position.
        """
        if self.limits is None:
            return {}
        return scale_departures(self.scaling, self.limits, X, y, weight, self.feature_names)

    def shared(self, path: str | os.PathLike[str]) -> MetaState:
        """Write the state to a file, and return it with pickles that name this file.

        Parameters
        ----------
        path : str or os.PathLike
            The file, which every process that unpickles the state must see.

        Returns
        -------
        MetaState
            The same numbers, memory-mapped.
        """
        file, rest = os.path.abspath(path), self.__getstate__()
        large = {name: rest.pop(name) for name in ("theta", "constants")}
        digest = str(joblib.hash((large, rest)))
        joblib.dump((digest, large, pickle.dumps(rest)), content := io.BytesIO())
        write_atomically(file, content.getvalue())  # other processes may have mapped the old file
        return read_shared(file, digest)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return super().__reduce_ex__(protocol) if self._file is None else (read_shared, self._file)

    def __getstate__(self) -> dict[str, Any]:
        # the fields alone, for pickle and for skops, which does not look at __reduce__
        state = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        plain = {"theta": dict(self.theta), "constants": dict(self.constants)}
        return state | plain  # readable without this package

    def __setstate__(self, state: dict[str, Any]) -> None:
        MetaState.__init__(self, **state)  # which makes the arrays read-only again

    def __repr__(self) -> str:
        n = sum(array.size for array in self.theta.values())
        return f"MetaState({n} meta-parameters, rows of shape {self.row_shape})"


@lru_cache(maxsize=N_SHARED)
def read_shared(path: str, digest: str) -> MetaState:
    """Return the state that `MetaState.shared` wrote to a file, which a process reads once."""
    found, large, rest = joblib.load(path, mmap_mode="r")
    if found != digest:
        raise SaveError(f"{path!r} holds another prior than when it was shared.")
    shared = MetaState(**large, **pickle.loads(rest))
    object.__setattr__(shared, "_file", (path, digest))
    return shared


def scaling_for(
    state: MetaState | None,
    X: NDArray[Any],
    y: NDArray[Any] | None,
    weight: NDArray[Any],
) -> Scaling:
    """Return the scaling of a support, or of a stack: that of meta-training, or its own."""
    if state is None:
        return scaling_of(X, y, weight)
    return scaling_of(X, y, weight, state.scaling) if state.by_task else state.scaling


def tensors_of(
    arrays: Mapping[str, NDArray[Any]], device: torch.device, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Return arrays as tensors, which nobody writes to; :class:`Arrays` have cached ones."""
    if isinstance(arrays, Arrays):
        return arrays.tensors(device, dtype)
    return to_torch(arrays, device, dtype)


def to_numpy(params: Mapping[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    """Copy tensors of any device to numpy arrays."""
    return {k: p.detach().to("cpu", copy=True).contiguous().numpy() for k, p in params.items()}


def to_torch(
    params: Mapping[str, NDArray[Any]], device: torch.device, dtype: torch.dtype | None = None
) -> dict[str, torch.Tensor]:
    """Copy numpy arrays to tensors; `dtype` is that of the floating-point ones."""
    tensors = {k: torch.tensor(np.asarray(p)) for k, p in params.items()}
    # in the dtype before it moves: "mps" takes no float64
    return {
        k: t.to(device, dtype if dtype is not None and t.is_floating_point() else t.dtype)
        for k, t in tensors.items()
    }
