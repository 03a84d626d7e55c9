"""Guarded learners from what was written of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier

from sklearn_meta.base.restored import take
from sklearn_meta.persistence.by_skops import unpacked
from sklearn_meta.persistence.guard_saved import PLAIN
from sklearn_meta.storage import from_json, labels_from

__all__ = ["restored_guard"]

Arrays = dict[str, NDArray[Any]]


def restored_guard(
    remake: Callable[[Arrays, Mapping[str, Any]], Any],
    arrays: Arrays,
    document: Mapping[str, Any],
    trusted: Sequence[str] | None,
) -> Any:
    """Put a guarded learner together again.

    Parameters
    ----------
    remake : callable
        From arrays and a document to the learner that it guards.
    arrays, document
        From the file.
    trusted : sequence of str or None
        Names of types to trust.

    Returns
    -------
    GuardedMetaEstimator
        As it was.

    Raises
    ------
    SaveError
        If an estimator is of a type that is not trusted, or cannot be read.
    ValueError
        If the parts do not go together; other errors too, if they are not what they should be.
    """
    from sklearn_meta.ensemble import (  # which imports this package
        MEMBERS,
        Calibration,
        GuardedMetaClassifier,
        GuardedMetaRegressor,
        Members,
        make_prior,
    )

    kinds: dict[str, Any] = {
        one.__name__: one for one in (GuardedMetaClassifier, GuardedMetaRegressor)
    }
    plain = unpacked(arrays.pop(PLAIN).tobytes(), trusted, "GuardedMetaEstimator", "estimators")
    name, classify = document["guard"], document["guard"] == GuardedMetaClassifier.__name__
    learner = remake(_within(arrays, "estimator"), document["learner"])
    own = {key: from_json(value) for key, value in document["params"].items()}
    guard = kinds[name](learner, local=plain["local"], pooled=plain["pooled"], **own)
    if is_classifier(learner) != classify:
        raise TypeError(f"a {name} cannot guard {learner!r}")
    prior, task, meta = document["prior"], document["task"], None
    if prior is not None:
        meta = remake(_within(arrays, "meta"), prior["meta"])
        vectors = take(arrays, "calibration", ("offset", "offset_blind", "loss"))
        if any(v.shape != (len(MEMBERS),) or v.dtype.kind != "f" for v in vectors.values()):
            raise ValueError(f"three numbers expected, got {vectors}")
        rest: dict[str, Any] = from_json(prior["calibration"])
        told = Calibration(**rest | vectors)
        if told.classify is not classify:
            raise ValueError(f"its weights are of another kind than a {name}")
        local, pooled = plain["arms"]
        names = prior["feature_names"] and tuple(map(str, prior["feature_names"]))
        guard._meta_state = make_prior(Members(clone(meta), local, pooled), told, names)
    if task is not None:
        pooled = None if prior is None else guard.meta_state.members.pooled
        guard._fitted = Members(meta, plain["fitted"], pooled)
        _set_task(guard, task, MEMBERS, classify)
    if arrays:
        raise ValueError(f"it holds arrays that belong to nothing: {sorted(arrays)[:3]}")
    return guard


def _within(arrays: Arrays, prefix: str) -> Arrays:
    names = [key.removeprefix(f"{prefix}/") for key in arrays if key.startswith(f"{prefix}/")]
    return take(arrays, prefix, names)


def _set_task(guard: Any, task: Mapping[str, Any], arms: Sequence[str], classify: bool) -> None:
    """Give a guarded learner back what it had of its last `fit`."""
    weights = np.array(from_json(task["weights"]), dtype=np.float64)
    if weights.shape != (len(arms),) or abs(weights.sum() - 1) > 1e-6:
        raise ValueError(f"three weights that sum to 1 expected, got {weights}")
    guard.weights_ = dict(zip(arms, weights.tolist(), strict=True))
    guard._y_shape = tuple(map(int, task["y_shape"]))
    guard.n_features_in_ = int(task["n_features"])
    if task["feature_names"] is not None:
        guard.feature_names_in_ = np.array(task["feature_names"], dtype=object)
    if classify:
        guard.classes_ = labels_from(task["classes"])
