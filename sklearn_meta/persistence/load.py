"""Estimators from the files that their `save` wrote."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import sklearn_meta.algorithms as algorithms
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.base.restored import restored
from sklearn_meta.base.written import FORMAT
from sklearn_meta.exceptions import SaveError
from sklearn_meta.outer.state import VERSIONS
from sklearn_meta.persistence.guards import restored_guard
from sklearn_meta.persistence.pipelines import restored_pipeline
from sklearn_meta.storage import read, refusing

__all__ = ["check_kind", "class_named", "load"]

WRAPPERS: dict[str, Any] = {"pipeline": restored_pipeline, "guarded": restored_guard}


def load(
    path: str | os.PathLike[str],
    *,
    types: Sequence[type] = (),
    trusted: Sequence[str] | None = None,
    **params: Any,
) -> Any:
    """Read an estimator, a pipeline or a guarded learner from the file that its `save` wrote.

    Nothing in the file is executed or imported by name; what does not fit together is refused
    before memory is taken for it.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    types : sequence of class, default=()
        Estimators of your own that the file may hold. Those of this package it may hold anyway.
    trusted : sequence of str or None, default=None
        Names of types to trust, beyond those that skops does, in the transformers of a pipeline or
        the local and pooled estimators of a guarded learner.
    **params : dict
        Parameters to set in the place of those saved, ``device="cpu"``, of the meta-learner inside
        a pipeline or guard. Those that no file can
        hold must be given again: a `backbone` that is a module, or a function that makes one.

    Returns
    -------
    estimator
        As it was saved: it predicts the same to the last bit.

    Raises
    ------
    SaveError
        If the file is something else, was cut off or altered, comes from a later version, or does
        not fit together.
    FileNotFoundError
        If there is none.

    Warns
    -----
    UserWarning
        If another version of this package or of torch has written it.

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
    ...     clf.save(Path(folder) / "prior.safetensors")
    ...     same = sklearn_meta.load(Path(folder) / "prior.safetensors")
    >>> same.fit(tasks[11].X_support, tasks[11].y_support).predict(tasks[11].X_query).shape
    (54,)
    """
    arrays, document = read(path)
    with refusing(path):
        check_kind(document, ("estimator", *WRAPPERS))
        learner = document
        while "learner" in learner:
            learner = learner["learner"]
        class_named(learner["class"], types)
        _warn_of_versions(path, learner["versions"])

        def remake(arrays: Any, document: Mapping[str, Any]) -> Any:
            kind = document.get("kind", "estimator")  # learners inside have none in the first files
            if kind == "estimator":
                return restored(class_named(document["class"], types), arrays, document, params)
            return WRAPPERS[kind](remake, arrays, document, trusted)

        return remake(arrays, document)


def check_kind(document: Mapping[str, Any], kinds: Sequence[str]) -> str:
    """Refuse files of a later version, or of another use.

    Parameters
    ----------
    document : dict
        From the file.
    kinds : sequence of str
        Those welcome.

    Returns
    -------
    str
        The one it is.

    Raises
    ------
    SaveError
        If it is something else.
    """
    format, kind = document["format"], document["kind"]
    if type(format) is not int or format > FORMAT:
        raise SaveError(
            f"was written by a later version of sklearn_meta: format {format}, and this is "
            f"sklearn_meta {VERSIONS['sklearn_meta']}, which reads up to {FORMAT}."
        )
    if kind not in kinds:
        raise SaveError(f"holds {str(kind)[:40]!r}, not {' or '.join(map(repr, kinds))}.")
    return str(kind)


def class_named(named: Sequence[str], types: Sequence[type]) -> type:
    """Find the class of an estimator among those there are; nothing is imported.

    Parameters
    ----------
    named : (str, str)
        Module and name.
    types : sequence of class
        The user's own.

    Returns
    -------
    class
        Of this package if the module is, else of the user's.

    Raises
    ------
    SaveError
        If there is none.
    """
    module, name = map(str, named)
    ours = module.split(".")[0] == "sklearn_meta"
    there = vars(algorithms).values() if ours else types
    for cls in there:
        if isinstance(cls, type) and issubclass(cls, BaseMetaLearner) and cls.__qualname__ == name:
            return cls
    hint = "" if ours else f": sklearn_meta.load(path, types=[{name.split('.')[-1]}])"
    raise SaveError(
        f"holds a {module}.{name}, which is no estimator "
        + ("of this version of sklearn_meta." if ours else f"in types{hint}.")
    )


def _warn_of_versions(path: str | os.PathLike[str], then: Mapping[str, str]) -> None:
    other = [
        f"{name} {str(then[name])[:40]} (here {VERSIONS[name]})"
        for name in ("sklearn_meta", "torch")
        if _major(str(then[name])) != _major(VERSIONS[name])
    ]
    if other:
        warnings.warn(
            f"{os.fspath(path)!r} was written with {', '.join(other)}; predictions may differ.",
            UserWarning,
            stacklevel=3,
        )


def _major(version: str) -> list[str]:
    """Give the part of a version that says what works together; before 1.0, two numbers."""
    first, *rest = version.split(".")
    return [first, *rest[:1]] if first == "0" else [first]
