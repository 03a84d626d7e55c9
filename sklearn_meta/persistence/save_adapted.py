"""Writing many adapted models to one file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.base.plain_params import is_plain
from sklearn_meta.base.written import FORMAT
from sklearn_meta.base.written_parts import written_meta, written_task
from sklearn_meta.exceptions import NotMetaFittedError, SaveError
from sklearn_meta.outer.state import VERSIONS
from sklearn_meta.persistence.table import Texts
from sklearn_meta.storage import write

__all__ = ["N_DIGEST", "name_of_prior", "save_adapted"]

N_DIGEST = 16  # bytes, of a task

Arrays = dict[str, NDArray[Any]]


def save_adapted(
    path: str | os.PathLike[str],
    prior: Any,
    adapted: Mapping[str, Any] | Iterable[tuple[str, Any]],
) -> None:
    """Write adapted models to one file, each as what differs from the prior they share.

    :class:`AdaptedTasks` reads them. Of a model that adapts its output layer alone that layer is
    written, and a few dozen bytes.

    Parameters
    ----------
    path : str or os.PathLike
        The file; it is replaced if it exists.
    prior : estimator
        Meta-fitted. It is named in the file, and not written: `prior.save` does.
    adapted : dict of estimators, or iterable of (str, estimator)
        Clones of the prior, fitted; by the names of their tasks. An iterable is taken one by one,
        so that a single estimator may be fitted again and again.

    Raises
    ------
    SaveError
        If one is not adapted from this prior, or holds what no file can.
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
    named = name_of_prior(prior)
    params = prior.get_params(deep=False)
    code = {k: v for k, v in params.items() if not is_plain(v)}  # that of the prior serves
    pairs = adapted.items() if isinstance(adapted, Mapping) else adapted
    found: dict[str, tuple[Arrays, str]] = {}
    groups: dict[Any, str] = {}
    for name, est in pairs:
        if not isinstance(name, str):
            raise TypeError(f"names of tasks must be strings; got {name!r}.")
        if name in found:
            raise ValueError(f"The task {name!r} comes twice.")
        found[name] = _row(prior, name, est, code, groups)
    names = sorted(found)
    kinds = sorted({told for _, told in found.values()})
    number = {told: i for i, told in enumerate(kinds)}
    stacks: dict[str, list[Arrays]] = {group: [] for group in groups.values()}
    kind_of, row_of, digests = [], [], []
    for name in names:
        arrays, told = found[name]
        stack = stacks[json.loads(told)["group"]]
        kind_of.append(number[told])
        row_of.append(len(stack))
        stack.append(arrays)
    later = {
        f"{group}/{key}": np.stack([arrays[key] for arrays in stack])
        for group, stack in stacks.items()
        for key in stack[0]
    }
    for name in names:
        digest = hashlib.blake2b(digest_size=N_DIGEST)
        for array in found[name][0].values():
            digest.update(np.asarray(array, array.dtype.newbyteorder("<"), order="C").tobytes())
        digests.append(np.frombuffer(digest.digest(), np.uint8))
    texts, told_texts = Texts.of(names), Texts.of(kinds)
    index = {
        "names": texts.blob,
        "name_ends": texts.ends,
        "kinds": told_texts.blob,
        "kind_ends": told_texts.ends,
        "kind_of": np.array(kind_of, np.uint32),
        "row_of": np.array(row_of, np.uint32),
        "digests": np.array(digests, np.uint8).reshape(-1, N_DIGEST),
    }
    document = {
        "format": FORMAT,
        "kind": "adapted tasks",
        "class": [type(prior).__module__, type(prior).__qualname__],
        "versions": VERSIONS,
        "prior": named,
    }
    write(path, index, document, later)


def _row(
    prior: Any, name: str, est: Any, code: Mapping[str, Any], groups: dict[Any, str]
) -> tuple[Arrays, str]:
    """Give a task's own arrays, widest first as they lie in the file, and the rest as text."""
    if not isinstance(est, BaseMetaLearner):
        raise SaveError(
            f"The model of task {name!r} is a {type(est).__name__}, and not a "
            f"{type(prior).__name__}, as the prior is."
        )
    if not hasattr(est, "_adapted"):
        raise SaveError(f"The model of task {name!r} is not adapted. Call fit first.")
    if est.meta_state is not prior.meta_state and name_of_prior(est) != name_of_prior(prior):
        raise SaveError(f"The model of task {name!r} is adapted from another prior.")
    arrays, told = written_task(est, code)
    arrays = dict(sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])))
    key = tuple((k, a.dtype.str, a.shape) for k, a in arrays.items())
    told["group"] = groups.setdefault(key, str(len(groups)))
    return arrays, json.dumps(told, separators=(",", ":"), allow_nan=False)


def name_of_prior(est: Any) -> str:
    """Give what tells a learned prior from others: a digest of all that is learned.

    Parameters
    ----------
    est : BaseMetaLearner
        Meta-fitted.

    Returns
    -------
    str
        In hexadecimal.

    Raises
    ------
    NotMetaFittedError
        If it is not meta-fitted.
    TypeError
        If it is no meta-learner.
    """
    if not isinstance(est, BaseMetaLearner):
        last = ": of a pipeline, its last step" if hasattr(est, "steps") else ""
        raise TypeError(f"prior must be a meta-learner{last}. Got a {type(est).__name__} instead.")
    if est.meta_state is None:
        raise NotMetaFittedError(
            f"This {type(est).__name__} is not meta-fitted yet. Call meta_fit(tasks) first."
        )
    arrays, told = written_meta(est.meta_state)
    learned = {k: told[k] for k in ("row_shape", "target_shape", "feature_names", "classes")}
    digest = hashlib.sha256(json.dumps([type(est).__qualname__, learned]).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}{array.dtype.newbyteorder('<').str}{array.shape}".encode())
        digest.update(np.asarray(array, array.dtype.newbyteorder("<"), order="C").tobytes())
    return digest.hexdigest()
