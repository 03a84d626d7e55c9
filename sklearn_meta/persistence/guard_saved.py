"""Guarded learners that can be saved: meta-learners as arrays, plain estimators through skops."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from sklearn_meta._optional import need
from sklearn_meta.base.written import FORMAT
from sklearn_meta.exceptions import SaveError
from sklearn_meta.storage import labels_to_json, to_json, write

__all__ = ["PLAIN", "SavedGuard"]

PLAIN = "plain estimators"  # what their array is called


class SavedGuard:
    """What a :class:`~sklearn_meta.ensemble.GuardedMetaEstimator` has of it."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, prior and last adaptation to a file, for :func:`sklearn_meta.load`.

        As the `save` of a meta-learner. The local and the pooled estimator go through skops into
        the same file: no pickle, but `load` asks for trust in types that skops does not know.

        Parameters
        ----------
        path : str or os.PathLike
            The file; it is replaced if it exists.

        Raises
        ------
        SaveError
            If something cannot be written: a guarded learner that has no `save`, say.
        ImportError
            If skops is not installed.
        """
        arrays, document = self._written(stacklevel=5)
        write(path, arrays, {"format": FORMAT, **document})

    def _written(self, stacklevel: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Take the guarded learner apart, into arrays and a document."""
        guard: Any = self
        _check_kinds(guard)
        skops = need("skops.io", "save", f"{type(guard).__name__}.save")
        prior, fitted = guard.meta_state, getattr(guard, "_fitted", None)
        arrays, learner = _within("estimator", guard.estimator, stacklevel)
        document: dict[str, Any] = {
            "kind": "guarded",
            "guard": type(guard).__name__,
            "learner": learner,
            "params": _params(guard),
            "prior": None,
            "task": None,
        }
        plain = {"local": guard.local, "pooled": guard.pooled, "arms": None, "fitted": None}
        if prior is not None:
            # of an adapted meta-learner the prior is a clone; one that failed was not adapted
            adapted = None if fitted is None else fitted.meta
            own, meta = _within(
                "meta", prior.members.meta if adapted is None else adapted, stacklevel
            )
            told = prior.calibration._asdict()
            vectors = {k: told.pop(k) for k in [*told] if isinstance(told[k], np.ndarray)}
            arrays |= own | {f"calibration/{k}": v for k, v in vectors.items()}
            names = prior.feature_names
            document["prior"] = {
                "meta": meta,
                "calibration": to_json(told),
                "feature_names": names and list(names),
            }
            plain["arms"] = [prior.members.local, prior.members.pooled]
        if fitted is not None:
            plain["fitted"] = fitted.local
            document["task"] = _task(guard)
        try:
            dumped = skops.dumps(plain)
        except Exception as error:  # whatever an estimator of the user's raises
            raise SaveError(f"skops cannot save the local or pooled estimator: {error}") from error
        arrays[PLAIN] = np.frombuffer(dumped, np.uint8)
        return arrays, document


def _check_kinds(guard: Any) -> None:
    """Refuse what `load` would have to make something else of."""
    name, inner = type(guard).__name__, guard.estimator
    if type(guard).__module__.split(".")[0] != "sklearn_meta":
        raise SaveError(
            f"{name} cannot be saved: it is a class of your own, of which `load` would make "
            "another. pickle and joblib keep it."
        )
    held = [inner] if guard.meta_state is None else [inner, guard.meta_state.members.meta]
    for learner in held:
        if not hasattr(learner, "_written"):
            raise SaveError(
                f"{name} cannot be saved: it guards a {type(learner).__name__}, which has no file "
                "format of its own. pickle and joblib keep both."
            )
    if type(held[-1]) is not type(inner):
        raise SaveError(
            f"{name} cannot be saved: its estimator is a {type(inner).__name__}, and it was "
            f"meta-fitted with a {type(held[-1]).__name__}. Call meta_fit again, or set it back."
        )


def _within(prefix: str, learner: Any, stacklevel: int) -> tuple[dict[str, Any], dict[str, Any]]:
    arrays, document = learner._written(stacklevel)
    return {f"{prefix}/{name}": array for name, array in arrays.items()}, document


def _params(guard: Any) -> dict[str, Any]:
    """Parameters as JSON, but for estimators."""
    kept = {name: getattr(guard, name) for name in ("n_support", "cv", "n_folds", "random_state")}
    if isinstance(kept["random_state"], (np.random.RandomState, np.random.Generator)):
        warnings.warn(
            f"'random_state' of {type(guard).__name__} cannot be saved: None in the file.",
            UserWarning,
            stacklevel=3,
        )
        kept["random_state"] = None
    return {name: to_json(value) for name, value in kept.items()}


def _task(guard: Any) -> dict[str, Any]:
    """Give what `fit` has left, but for estimators."""
    names, classes = getattr(guard, "feature_names_in_", None), getattr(guard, "classes_", None)
    return {
        "weights": to_json([*guard.weights_.values()]),
        "y_shape": list(guard._y_shape),
        "n_features": guard.n_features_in_,
        "feature_names": None if names is None else names.tolist(),
        "classes": None if classes is None else _labels(guard, classes),
    }


def _labels(guard: Any, classes: Any) -> dict[str, Any]:
    try:
        return labels_to_json(classes)
    except TypeError as error:
        raise SaveError(f"{type(guard).__name__} cannot be saved: {error}") from None
