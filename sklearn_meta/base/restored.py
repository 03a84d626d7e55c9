"""Estimators from what was written of them; nothing in it is trusted."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.base.adapted import Adapted
from sklearn_meta.base.plain_params import NOT_KEPT, check_all
from sklearn_meta.base.plausible import check_network, check_task, network
from sklearn_meta.inner.backbone import RowNetwork
from sklearn_meta.outer.callbacks import MetaHistory
from sklearn_meta.outer.scaling import Limits, Scaling
from sklearn_meta.outer.state import MetaState
from sklearn_meta.storage import from_json, labels_from

__all__ = ["restored", "restored_task", "take"]

Arrays = Mapping[str, NDArray[Any]]
S = TypeVar("S", Scaling, Limits)


def restored(
    cls: type, arrays: Arrays, document: Mapping[str, Any], params: Mapping[str, Any]
) -> Any:
    """Put an estimator together again.

    Parameters
    ----------
    cls : class
        Of the estimator.
    arrays, document
        From :func:`~sklearn_meta.base.written.written`.
    params : dict
        Parameters to use in the place of those written.

    Returns
    -------
    BaseMetaLearner
        As it was.

    Raises
    ------
    ValueError
        If they do not go together; other errors too, if the document is not what it should be.
    """
    missing = [name for name in document["given"] if name not in params]
    if missing:
        asked = ", ".join(f"{name}=..." for name in missing)
        raise ValueError(
            f"{cls.__name__} was saved with {', '.join(map(repr, missing))} that no file can hold: "
            f"give the same to sklearn_meta.load(path, {asked})"
        )
    given = {name: params[name] for name in document["given"]}
    own = {name: from_json(value) for name, value in document["params"].items()} | given
    est = made(cls, own)
    left = dict(arrays)
    f = None
    if document["meta"] is not None:
        est._meta_state = _state(est, document["meta"], left)
        est.check_structure(est.meta_state)
        f = network(est, est.meta_state.row_shape, len(est.meta_state.theta))
        check_network(est, f, est.meta_state)
    if "history" in document:
        columns = take(left, "history", document["history"])
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        est.history_ = MetaHistory([dict(zip(columns, row, strict=True)) for row in rows])
    if document["task"] is not None:
        restored_task(est, left, document["task"], own, f)
    if left:
        raise ValueError(f"it holds arrays that belong to nothing: {sorted(left)[:3]}")
    rest = {name: value for name, value in params.items() if name not in given}
    return est.set_params(**rest)


def made(cls: type, params: Mapping[str, Any]) -> Any:
    """Construct an estimator of checked parameters.

    Parameters
    ----------
    cls : class
        Of the estimator.
    params : dict
        Any that it has.

    Returns
    -------
    BaseMetaLearner
        New.

    Raises
    ------
    ValueError
        If it has no such parameter, or not of such a value.
    """
    unknown = set(params) - set(inspect.signature(cls).parameters)
    if unknown:
        raise ValueError(f"{cls.__name__} has no parameter {sorted(unknown)[0]!r}")
    est: Any = cls(**params)
    if est.callbacks is not None or est.checkpoint_dir is not None:
        raise ValueError("callbacks and checkpoint_dir do not come from a file")
    check_all(est)
    return est


def take(arrays: dict[str, NDArray[Any]], prefix: str, names: Any) -> dict[str, NDArray[Any]]:
    """Take arrays out of those that are left.

    Parameters
    ----------
    arrays : dict of ndarray
        Those taken are deleted.
    prefix : str
        Of their names.
    names : list of str
        Without the prefix.

    Returns
    -------
    dict of ndarray
        By these names, in this order.

    Raises
    ------
    ValueError
        If one is missing.
    """
    wanted = [f"{prefix}/{name}" for name in names]
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise ValueError(f"its array {missing[0]!r} is missing")
    return {name: arrays.pop(key) for name, key in zip(names, wanted, strict=True)}


def _state(est: Any, told: Mapping[str, Any], left: dict[str, NDArray[Any]]) -> MetaState:
    row_shape, target_shape = _shape(told["row_shape"]), _shape(told["target_shape"], least=0)
    if len(row_shape) == 0 or (est.target_type == "class" and target_shape):
        raise ValueError(f"its rows are of shape {row_shape}, and their targets of {target_shape}")
    names = told["feature_names"]
    if names is not None and [type(name) for name in names] != [str] * row_shape[0]:
        raise ValueError(f"{row_shape[0]} feature names expected, got {str(names)[:60]}")
    theta = take(left, "theta", told["theta"])
    return MetaState(
        theta=theta,
        scaling=_of_columns(Scaling, left, "scaling", row_shape),
        row_shape=row_shape,
        target_shape=target_shape,
        feature_names=names and tuple(names),
        classes=None if told["classes"] is None else labels_from(told["classes"]),
        structural=_fingerprints(est, tuple(est.fingerprints("structural")), told["structural"]),
        training=_fingerprints(est, tuple(est.fingerprints("training")), told["training"]),
        versions={str(k): str(v) for k, v in told["versions"].items()},
        by_task=bool(told["by_task"]),
        limits=_of_columns(Limits, left, "limits", row_shape) if told["limits"] else None,
    )


def _fingerprints(est: Any, names: Sequence[str], told: Any) -> dict[str, Any]:
    """Those told, and for parameters that are newer than the file those of now."""
    then = from_json(told)
    if not isinstance(then, dict):
        raise ValueError(f"a dict expected, got {str(then)[:60]}")
    own = est.fingerprints("structural") | est.fingerprints("training")
    return {name: own[name] for name in names} | then


def _shape(value: Any, least: int = 1) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(n) is not int or n < least for n in value):
        raise ValueError(f"a shape expected, got {str(value)[:60]}")
    return tuple(value)


def _of_columns(
    kind: type[S], left: dict[str, NDArray[Any]], prefix: str, row_shape: tuple[int, ...]
) -> S:
    found = take(left, prefix, kind._fields)
    wide = [(), (1,), row_shape[:1] if len(row_shape) == 1 else ()]
    for name, array in found.items():
        fits = array.shape in wide if name.startswith("x_") else array.ndim == 1
        if not fits or array.dtype.kind != "f":
            raise ValueError(f"its {name} is of shape {array.shape}, for rows of {row_shape}")
    return kind(**found)


def restored_task(
    est: Any,
    left: dict[str, NDArray[Any]],
    told: Mapping[str, Any],
    own: Mapping[str, Any],
    f: RowNetwork | None,
) -> None:
    """Give an estimator back what it had of its last `fit`.

    Parameters
    ----------
    est : BaseMetaLearner
        With its prior.
    left : dict of ndarray
        Arrays of the task, which are taken out.
    told : dict
        From :func:`~sklearn_meta.base.written.written_task`.
    own : dict
        The parameters of `est`.
    f : RowNetwork or None
        Its network, if it is meta-fitted.

    Raises
    ------
    ValueError
        If they do not go together.
    """
    state, row_shape = est.meta_state, _shape(told["row_shape"])
    then = {**own, **{k: from_json(v) for k, v in told["params"].items()}}
    plain = {name: value for name, value in then.items() if name not in NOT_KEPT}
    maker = made(type(est), plain) if told["params"] else est
    if state is None:
        theta = take(left, "scratch", told["scratch"])
        f, algorithm = network(maker, row_shape, len(theta)), maker.make_scratch_algorithm()
    else:
        maker.check_structure(state)
        theta, algorithm = state.theta, maker.make_algorithm()
        if told["scratch"] is not None or row_shape != state.row_shape:
            raise ValueError(f"its rows are of shape {row_shape} and {state.row_shape}")
    phi = take(left, "phi", told["own"])
    phi = {k: phi[k] if k in phi else theta[k] for k in told["phi"]}
    if told["scaling"]:
        scaling = _of_columns(Scaling, left, "task_scaling", row_shape)
    elif state is None or state.by_task:
        raise ValueError("it has no scaling")
    else:
        scaling = state.scaling
    dtype = np.dtype({"<f4": np.float32, "<f8": np.float64}[told["dtype"]])
    assert f is not None
    adapted = Adapted(algorithm, f, theta, phi, scaling, dtype, then)
    for name, value in told["attributes"].items():
        if not (name.isidentifier() and name.endswith("_")) or hasattr(type(est), name):
            raise ValueError(f"it names an attribute {name!r}")
        vars(est)[name] = (
            labels_from(value["labels"]) if "labels" in value else from_json(value["value"])
        )
    check_task(est, adapted)
    est._adapted = adapted
