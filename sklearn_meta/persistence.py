"""Load saved estimators, and keep thousands of adapted models in one file."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

import sklearn_meta.algorithms as algorithms
from sklearn_meta._archive import (
    FORMAT,
    FORMAT_1_ERROR,
    Loading,
    Saving,
    check_file,
    dumps,
    load_object,
    loads,
    naming,
    public_module,
    session_of,
    write_atomically,
)
from sklearn_meta._optional import need
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.base.state import changed_params
from sklearn_meta.exceptions import NotMetaFittedError, SaveError
from sklearn_meta.outer.callbacks import MetaHistory
from sklearn_meta.outer.scaling import Limits, Scaling
from sklearn_meta.outer.state import VERSIONS, MetaState

__all__ = ["TRUSTED_TYPES", "AdaptedTasks", "load", "save_adapted"]

Path = str | os.PathLike[str]
Arrays = dict[str, NDArray[Any]]

ESTIMATORS = [
    (cls.__module__, cls.__name__) for cls in vars(algorithms).values() if isinstance(cls, type)
]
# not imported, since loading a meta-learner does not need them
ESTIMATORS += [
    *(
        ("sklearn_meta.algorithms.hierarchical_classification", name)
        for name in ("ClassPrior", "ClassSums", "GaussianLogits", "MeansPrior")
    ),
    *(
        ("sklearn_meta.algorithms.hierarchical_regression", name)
        for name in ("CoefInformation", "CoefPosterior", "CoefPrior", "RegressionPrior")
    ),
    ("sklearn_meta.tasks.designs", "Design"),
    *(
        ("sklearn_meta.ensemble", name)
        for name in (
            "GuardedMetaClassifier",
            "GuardedMetaRegressor",
            "GuardPrior",
            "Members",
            "Calibration",
        )
    ),
    *(
        ("sklearn_meta.conformal", name)
        for name in (
            "TaskConformalClassifier",
            "TaskConformalRegressor",
            "ConformalPrior",
            "CalibrationTask",
        )
    ),
    ("sklearn_meta.pipeline", "MetaPipeline"),
    ("sklearn_meta.pipeline", "TransformerState"),
]
#: Names of the types that saved estimators of this package consist of, beyond those that skops
#: trusts: by the public name that `save` writes, and by the module that skops alone writes.
#: Building one from a file runs no code of the file.
TRUSTED_TYPES: tuple[str, ...] = (
    "numpy.dtype",  # an attribute of imputers
    "scipy.interpolate._bsplines.BSpline",  # of the basis "spline", and an attribute of it
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    *(f"{public_module(module, name)}.{name}" for module, name in ESTIMATORS),
    *(f"{module}.{name}" for module, name in ESTIMATORS),
    *(f"{cls.__module__}.{cls.__name__}" for cls in (MetaState, Scaling, Limits, MetaHistory)),
)


def load(
    path: Path,
    *,
    types: Sequence[type] = (),
    trusted: Sequence[str] | None = None,
    **params: Any,
) -> Any:
    """Read an estimator, a pipeline or a guarded learner from the file that its `save` wrote.

    The digest and the sizes of a file are checked before it is unpacked. Nothing in it is executed,
    and only types that are trusted are built.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    types : sequence of class, default=()
        Your own classes of estimators that the file may contain.
    trusted : sequence of str or None, default=None
        Names of further types to trust, beyond :data:`TRUSTED_TYPES` and those that skops trusts,
        such as transformers of a pipeline, or the per-task and pooled estimators of a guarded
        learner.
    **params : dict
        Parameters of the meta-learners in the file to replace, such as ``device="cpu"``. A
        `backbone` that is a module, or a function that makes one, is not in the file and must be
        passed again.

    Returns
    -------
    estimator
        As it was saved: it predicts the same to the last bit.

    Raises
    ------
    SaveError
        If the file has another content, was truncated or altered, comes from a later version,
        contains a type that is not trusted, or has parts that do not belong together.
    FileNotFoundError
        If there is no such file.

    Warns
    -----
    UserWarning
        If another version of this package or of torch has written the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import sklearn_meta
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(12, n_shot=2, random_state=0)
    >>> clf = ProtoNetClassifier(hidden_layer_sizes=8, max_meta_iter=10, random_state=0)
    >>> clf = clf.meta_fit(tasks[:11])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clf.save(Path(folder) / "prior.skops")
    ...     same = sklearn_meta.load(Path(folder) / "prior.skops")
    >>> same.fit(tasks[11].X_support, tasks[11].y_support).predict(tasks[11].X_query).shape
    (54,)
    """
    names = [f"{cls.__module__}.{cls.__name__}" for cls in types]
    estimator, versions = load_object(path, {*TRUSTED_TYPES, *names, *(trusted or ())}, params)
    if not hasattr(estimator, "meta_fit"):
        kind = type(estimator).__name__
        raise SaveError(f"{os.fspath(path)!r} holds a {kind}, and no estimator with meta_fit.")
    others = [
        f"{name} {versions[name][:40]} (this is {VERSIONS[name]})"
        for name in ("sklearn_meta", "torch")
        if _compatible(versions[name]) != _compatible(VERSIONS[name])
    ]
    if others:
        warnings.warn(
            f"{os.fspath(path)!r} was written with {', '.join(others)}; predictions may differ.",
            UserWarning,
            stacklevel=2,
        )
    return estimator


def _compatible(version: str) -> list[str]:
    """Return the part of a version that says what works together; before 1.0, two numbers."""
    first, *rest = version.split(".")
    return [first, *rest[:1]] if first == "0" else [first]


# ---- many adapted models -------------------------------------------------------------------------

INDEX = "index"  # the tensor with all that is not numbers of models
N_DIGEST = 16  # bytes
ARRAY = "<array>"  # the key of a reference
DTYPES = {"bool", "float16", "float32", "float64"}  # of safetensors
DTYPES |= {f"{kind}{n}" for kind in ("int", "uint") for n in (8, 16, 32, 64)}


def save_adapted(
    path: Path,
    prior: BaseMetaLearner,
    adapted: Mapping[str, BaseMetaLearner] | Iterable[tuple[str, BaseMetaLearner]],
) -> None:
    """Write adapted models to one file, which stores only what differs from their common prior.

    :class:`AdaptedTasks` reads them. For a model that adapts only its output layer, the file has
    this layer and a few dozen bytes. The function needs the package safetensors (extra ``save``).

    Parameters
    ----------
    path : str or os.PathLike
        The file; it is replaced if it exists.
    prior : estimator
        Meta-fitted estimator. The file identifies it but does not contain it: use `prior.save`.
    adapted : dict of estimators, or iterable of (str, estimator)
        Fitted clones of the prior, by the names of their tasks. An iterable is consumed one by one,
        so that a single estimator may be fitted again and again.

    Raises
    ------
    SaveError
        If a model is not adapted from this prior, or has attributes that are not plain data.
    ValueError
        If a name comes twice.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_meta import ANILClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.persistence import AdaptedTasks, save_adapted
    >>> tasks = make_blob_tasks(12, n_shot=2, random_state=0)
    >>> clf = ANILClassifier(hidden_layer_sizes=8, max_meta_iter=10, random_state=0)
    >>> clf = clf.meta_fit(tasks[:10])
    >>> one_by_one = ((f"task {i}", clf.fit(t.X, t.y)) for i, t in enumerate(tasks[10:]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_adapted(Path(folder) / "tasks.safetensors", clf, one_by_one)
    ...     AdaptedTasks(Path(folder) / "tasks.safetensors", clf)["task 1"].classes_
    array([0, 1, 2])
    """
    safetensors = need("safetensors.numpy", "save", "save_adapted")
    digest_of_prior, params = _digest_of_prior(prior), prior.get_params(deep=False)
    number_of: dict[str, int] = {}  # of the models, in the order in which they come
    kinds: dict[str, tuple[int, Any]] = {}  # number, and state with references to arrays
    stacks: list[StackedModels] = []  # of the models of each kind
    # arrays and buffers: a million models need little more than their own numbers
    kind_of, row_of, digests = array("I"), array("I"), bytearray()
    for name, est in adapted.items() if isinstance(adapted, Mapping) else adapted:
        if not isinstance(name, str) or "\0" in name:
            raise TypeError(f"names of tasks must be strings without NUL; got {name!r}.")
        if name in number_of:
            raise ValueError(f"The task {name!r} comes twice.")
        try:
            state = _model_state(prior, params, est, digest_of_prior)
        except SaveError as error:
            raise SaveError(f"The model of task {name!r} {str(error).rstrip('.')}.") from None
        plain = _flatten(state, "", arrays := Arrays())
        with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
            kind, _ = kinds.setdefault(repr(plain), (len(kinds), plain))
        if kind == len(stacks):
            stacks.append(StackedModels(arrays))
        number_of[name] = len(number_of)
        kind_of.append(kind)
        row_of.append(stacks[kind].n)
        stacks[kind].add(arrays)
        digests += _digest(arrays)
    names = sorted(number_of)
    order = np.array([number_of[name] for name in names], np.intp)
    tensors = {
        f"{kind}/{key}": stacked
        for kind, stack in enumerate(stacks)
        for key, stacked in stack.arrays()
    }
    index = {
        "format": FORMAT,
        "class": type(prior).__name__,
        "versions": VERSIONS,
        "prior": digest_of_prior,
        "names": np.frombuffer("\0".join(names).encode(), np.uint8),
        "kinds": [(str(kind), plain) for kind, plain in kinds.values()],
        "kind_of": np.array(kind_of, np.uint32)[order],
        "row_of": np.array(row_of, np.uint32)[order],
        "digests": np.array(digests, np.uint8).reshape(-1, N_DIGEST)[order],
    }
    try:
        data = dumps(index)
    except Exception as error:  # an attribute of the user's own class can raise anything
        raise SaveError(f"The models cannot be saved: {str(error).rstrip('.')}.") from error
    tensors[INDEX] = np.frombuffer(data, np.uint8)
    content = safetensors.save(tensors, {"sha256": hashlib.sha256(data).hexdigest()})
    write_atomically(path, content)


class StackedModels:
    """Arrays of models of one kind, which have the same names, dtypes and shapes."""

    def __init__(self, first: Arrays) -> None:
        self.n = 0
        self._form = {key: (value.dtype, value.shape) for key, value in first.items()}
        self._data = {key: bytearray() for key in first}

    def add(self, arrays: Arrays) -> None:
        """Append the arrays of a model."""
        self.n += 1
        for key, value in arrays.items():
            self._data[key] += value.tobytes()

    def arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the arrays of all models, (n, ...), by name."""
        for key, (dtype, shape) in self._form.items():
            yield key, np.ndarray((self.n, *shape), dtype, self._data[key])


class AdaptedTasks(Mapping[str, Any]):
    """The adapted models of a file that :func:`save_adapted` wrote, by the names of their tasks.

    This is a read-only mapping with names in alphabetical order. Creating it reads and checks the
    index of the file. A model is read, and compared with its own digest, when it is accessed. The
    class needs the package safetensors (extra ``save``).

    Parameters
    ----------
    path : str or os.PathLike
        The file. If it is replaced, accessing a model raises an error.
    prior : estimator
        The meta-fitted estimator that the tasks were adapted from, with the same `theta_`.

    Raises
    ------
    SaveError
        If the file has another content, was truncated or altered, or belongs to another prior.
    NotMetaFittedError, TypeError, ValueError
        If the prior is not meta-fitted, is no meta-learner, or has parameters for another network.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.base import clone
    >>> from sklearn_meta import ANILClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.persistence import AdaptedTasks, save_adapted
    >>> tasks = make_blob_tasks(12, n_shot=2, random_state=0)
    >>> prior = ANILClassifier(hidden_layer_sizes=8, max_meta_iter=10, random_state=0)
    >>> prior = prior.meta_fit(tasks[:10])
    >>> ann, bob = (clone(prior).fit(t.X_support, t.y_support) for t in tasks[10:])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_adapted(Path(folder) / "tasks.safetensors", prior, {"ann": ann, "bob": bob})
    ...     store = AdaptedTasks(Path(folder) / "tasks.safetensors", prior)
    ...     list(store), store["ann"].predict(tasks[10].X_query).shape
    (['ann', 'bob'], (54,))
    """

    def __init__(self, path: Path, prior: BaseMetaLearner) -> None:
        need("safetensors", "save", "AdaptedTasks")
        digest_of_prior = _digest_of_prior(prior)
        prior.check_structure(_meta_state_of(prior))
        check_file(path)
        self.path, self.prior = path, clone(prior)
        self._params = self.prior.get_params(deep=False)
        self._groups: dict[str, list[str]] = {}  # keys of the tensors of a group
        self._checked: set[int] = set()  # kinds
        with naming(path):
            with self._open() as file:
                metadata, keys = file.metadata() or {}, file.keys()
                if "digested" in metadata:
                    raise SaveError(FORMAT_1_ERROR)
                if INDEX not in keys or "sha256" not in metadata:
                    raise SaveError("does not hold adapted tasks.")
                data = file.get_tensor(INDEX).tobytes()
            for key in keys:
                self._groups.setdefault(key.partition("/")[0], []).append(key)
            if hashlib.sha256(data).hexdigest() != metadata["sha256"]:
                raise SaveError("was altered: the digest of its index is wrong.")
            index = loads(data)
            if index["format"] > FORMAT:
                raise SaveError(f"has format {index['format']} of a later version.")
            if index["prior"] != digest_of_prior:
                raise SaveError(
                    f"was adapted from another prior, a {index['class']} with the digest "
                    f"{index['prior'][:12]} and not {digest_of_prior[:12]}."
                )
            self._kinds, self._kind_of = index["kinds"], index["kind_of"]
            self._row_of, self._digests = index["row_of"], index["digests"]
            names = index["names"].tobytes().decode().split("\0")
            # of no models there is one empty name
            self._positions = dict(zip(names, range(len(self._kind_of)), strict=False))

    def _open(self) -> Any:
        return need("safetensors", "save", "AdaptedTasks").safe_open(os.fspath(self.path), "np")

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __contains__(self, name: object) -> bool:
        return name in self._positions

    def __getitem__(self, name: str) -> Any:
        i = self._positions[name]
        with naming(self.path):
            kind = int(self._kind_of[i])
            group, plain = self._kinds[kind]
            arrays = self._read_arrays(group, int(self._row_of[i]))
            if _digest(arrays) != self._digests[i].tobytes():
                raise SaveError(
                    "was altered, or replaced since it was opened: open it again. The digest of "
                    f"the task {name!r} is wrong."
                )
            est = type(self.prior)(**self._params)
            state = _unflatten(plain, arrays) | {"_meta_state": self.prior.meta_state}
            if kind in self._checked:  # models of a kind have the same attributes and shapes
                est.__setstate__(state)
                return est
            with session_of(Loading({})):
                est.__setstate__(state)
            self._checked.add(kind)
        return est

    def _read_arrays(self, group: str, row: int) -> Arrays:
        with self._open() as file:
            return {
                key.partition("/")[2]: np.asarray(file.get_slice(key)[row : row + 1])[0]
                for key in self._groups.get(group, [])
            }

    def __repr__(self) -> str:
        return f"AdaptedTasks({os.fspath(self.path)!r}, {len(self)} tasks)"


def _meta_state_of(est: object) -> MetaState:
    """Return what a meta-learner has learned, or raise an error."""
    if not isinstance(est, BaseMetaLearner):
        last = ": of a pipeline, its last step" if hasattr(est, "steps") else ""
        raise TypeError(f"prior must be a meta-learner{last}. Got a {type(est).__name__} instead.")
    if est.meta_state is None:
        raise NotMetaFittedError(
            f"This {type(est).__name__} is not meta-fitted yet. Call meta_fit(tasks) first."
        )
    return est.meta_state


def _digest_of_prior(est: BaseMetaLearner) -> str:
    """Return a digest of all that a prior has learned."""
    state = _meta_state_of(est)
    shapes = [type(est).__qualname__, state.row_shape, state.target_shape, state.feature_names]
    classes = None if state.classes is None else state.classes.tolist()
    arrays = dict(state.theta)
    arrays |= {f"constants/{k}": v for k, v in state.constants.items()}
    for name, group in (("scaling", state.scaling), ("limits", state.limits)):
        if group is not None:
            arrays |= {f"{name}/{k}": np.asarray(v) for k, v in group._asdict().items()}
    return hashlib.sha256(repr([*shapes, classes]).encode() + _digest(arrays)).hexdigest()


def _digest(arrays: Arrays) -> bytes:
    digest = hashlib.blake2b(digest_size=N_DIGEST)
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.dtype.name} {values.shape} ".encode())
        digest.update(np.asarray(values, values.dtype.newbyteorder("<"), order="C").tobytes())
    return digest.digest()


def _model_state(
    prior: BaseMetaLearner, params_of_prior: dict[str, Any], est: object, digest_of_prior: str
) -> dict[str, Any]:
    """Return what `fit` has set, with the parameters of the fit that differ from the prior's."""
    if not isinstance(est, BaseMetaLearner):
        raise SaveError(f"is a {type(est).__name__}, and not a {type(prior).__name__}")
    if not est.__sklearn_is_fitted__():
        raise SaveError("is not adapted. Call fit first")
    with session_of(Saving()):
        try:
            state = est.__getstate__()
            params = est.get_params(deep=False) | state["_adapted"]["params"]
            changed = changed_params(params, params_of_prior)
        except ValueError as error:
            raise SaveError(f"cannot be saved: {error}") from None
    if est.meta_state is not prior.meta_state and _digest_of_prior(est) != digest_of_prior:
        raise SaveError("is adapted from another prior")
    learned = {k: v for k, v in state.items() if k.endswith("_") and k != "history_"}
    return learned | {"_adapted": state["_adapted"] | {"params": changed}}


def _flatten(value: Any, path: str, arrays: Arrays) -> Any:
    """Collect the arrays of nested dicts by their paths, and return the rest with references."""
    if isinstance(value, dict):
        return {k: _flatten(v, f"{path}.{k}", arrays) for k, v in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        whole = np.ascontiguousarray(value, value.dtype.newbyteorder("=")).reshape(value.shape)
        plain = whole.dtype.name in DTYPES
        arrays[path] = whole if plain else np.frombuffer(whole.tobytes(), np.uint8)
        return {ARRAY: path, "dtype": whole.dtype.str, "shape": whole.shape}
    return value


def _unflatten(value: Any, arrays: Arrays) -> Any:
    if not isinstance(value, dict):
        return value.copy() if isinstance(value, np.ndarray) else value
    if ARRAY in value:
        dtype = np.dtype(value["dtype"])
        stored = arrays[value[ARRAY]]
        return stored if stored.dtype == dtype else stored.view(dtype).reshape(value["shape"])
    return {k: _unflatten(v, arrays) for k, v in value.items()}
