"""What `fit` asks of a support, and of the parameters set since `meta_fit`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Number
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from sklearn_meta.exceptions import StaleMetaStateWarning
from sklearn_meta.nn.backbone import BODY, RowNetwork
from sklearn_meta.outer.row_store import dtype_of_rows
from sklearn_meta.outer.state import MetaState
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.frames import is_frame
from sklearn_meta.tasks.validate import check_feature_names, names_of
from sklearn_meta.tasks.values import as_rows, as_targets, holds_targets

__all__ = [
    "check_fits",
    "check_query",
    "check_structure",
    "check_support",
    "check_weight",
    "checked_query",
    "checked_support",
    "warn_if_stale",
]


def check_support(
    est: Any, X: Any, y: Any, *, allow_nd: bool, kind: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Validate a support, and hold it against the meta state.

    Sets `n_features_in_` of the estimator. Returns X of float64 or float32, and y of `kind`
    "class" or "real".
    """
    state, owner = est.meta_state, type(est).__name__
    if _is_plain(est, X) and _is_plain_target(y, len(X), kind):
        est.n_features_in_ = X.shape[1]
    else:
        X, y = checked_support(est, X, y, allow_nd=allow_nd, kind=kind)
        X = dense(X, dtype_of_rows([X.dtype]))
    if state is None:
        return X, y
    if X.shape[1:] != state.row_shape:
        raise ValueError(
            f"X has {_features(X.shape[1:])}, but {owner} was meta-fitted with "
            f"{_features(state.row_shape)} (X of shape {X.shape})."
        )
    check_feature_names(names_of(est), state.feature_names)
    return X, y


def checked_support(
    est: Any, X: Any, y: Any, *, allow_nd: bool, kind: str
) -> tuple[Any, NDArray[Any]]:
    """Return rows and targets as `as_rows` and `as_targets` do, and set the features of `est`."""
    rows = as_rows(X, "X")
    validate_data(est, X if is_frame(X) else rows, y, skip_check_array=True)
    _check_axes(est, rows, allow_nd)
    y = as_targets(y, "y", kind)
    check_consistent_length(rows, y)
    return rows, y


def checked_query(est: Any, X: Any, *, allow_nd: bool) -> Any:
    """Return query rows as `as_rows` does, held against the features that `est` was fitted to."""
    rows = as_rows(X, "X")
    validate_data(est, X if is_frame(X) else rows, reset=False, skip_check_array=True)
    _check_axes(est, rows, allow_nd)
    return rows


def _check_axes(est: Any, rows: Any, allow_nd: bool) -> None:
    if rows.ndim > 2 and not allow_nd:
        raise ValueError(
            f"Found array with dim {rows.ndim}, while {type(est).__name__} takes X of shape "
            f"(n_rows, n_features); got shape {rows.shape}."
        )


def check_query(est: Any, X: Any, dtype: Any, *, allow_nd: bool) -> Any:
    """Validate query rows; return them in the dtype of the support."""
    if _is_plain(est, X) and X.dtype == dtype and X.shape[1] == est.n_features_in_:
        return X
    return checked_query(est, X, allow_nd=allow_nd).astype(dtype, copy=False)


def _is_plain(est: Any, X: Any) -> bool:
    """Whether the checks would find nothing to do or to say, in a tenth of their time."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.size > 0
        and X.dtype in (np.float64, np.float32)
        and not hasattr(est, "feature_names_in_")
        and bool(np.isfinite(X).all())
    )


def _is_plain_target(y: Any, n_rows: int, kind: str) -> bool:
    """Whether `as_targets` would find nothing to do or to say."""
    if type(y) is not np.ndarray or not holds_targets(y, kind) or len(y) != n_rows:
        return False
    return y.dtype.kind != "f" or (kind == "real" and bool(np.isfinite(y).all()))


def check_weight(sample_weight: Any, X: NDArray[Any]) -> NDArray[Any]:
    """Validate sample weights.

    Parameters
    ----------
    sample_weight : array-like of shape (n_rows,) or None
        None: all one.
    X : ndarray of shape (n_rows, ...)
        The rows.

    Returns
    -------
    ndarray of shape (n_rows,)
        Not negative, the largest 1.

    Raises
    ------
    ValueError
        If they cannot be used.
    """
    if sample_weight is None:
        return np.ones(len(X))
    if isinstance(sample_weight, (str, Number)):
        raise ValueError(f"sample_weight must be (n_rows,); got {sample_weight!r}.")
    weight = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    if weight.ndim != 1:
        raise ValueError(f"sample_weight must be (n_rows,); got shape {weight.shape}.")
    check_consistent_length(X, weight)
    if (weight < 0).any() or not weight.any():
        raise ValueError("sample_weight must not be negative, nor zero for all rows.")
    return weight / weight.max()  # only their ratios matter, and large ones would overflow


def check_structure(est: Any, state: MetaState) -> None:
    """Refuse a structural parameter that was changed since `meta_fit`.

    Parameters
    ----------
    est : BaseMetaLearner
        With the parameters of now.
    state : MetaState
        With those of then.

    Raises
    ------
    ValueError
        Saying from what to what.
    """
    for name, now in est.fingerprints("structural").items():
        then = state.structural[name]
        if now != then:
            raise ValueError(
                f"The {name!r} parameter of {type(est).__name__} was changed from {then!r} to "
                f"{now!r} since meta_fit; the learned prior is for another network. "
                "Call meta_fit again, with warm_start=False."
            )


def check_fits(est: Any, f: RowNetwork, theta: Mapping[str, NDArray[Any]]) -> None:
    """Refuse learned parameters of another network: two functions may have one name.

    Parameters
    ----------
    est : BaseMetaLearner
        For the error.
    f : RowNetwork
        Made by the parameters of now.
    theta : dict of ndarray
        The learned ones.

    Raises
    ------
    ValueError
        With the shapes of both.
    """
    own = {k: tuple(p.shape) for k, p in f.init(torch.Generator()).items()}
    learned = {k: p.shape for k, p in theta.items() if k.startswith(BODY)}
    if own != learned:
        raise ValueError(
            f"The 'backbone' parameter of {type(est).__name__} makes a network with parameters "
            f"{own}, but meta_fit learned {learned}. Call meta_fit again, with warm_start=False."
        )


def warn_if_stale(est: Any, state: MetaState, stacklevel: int) -> bool:
    """Warn that a meta-training parameter was changed since `meta_fit`.

    Parameters
    ----------
    est : BaseMetaLearner
        With the parameters of now.
    state : MetaState
        With those of then.
    stacklevel : int
        Of the caller's caller, so that the warning points at the user's line.

    Returns
    -------
    bool
        Whether there was something to warn of.
    """
    now = est.fingerprints("training")
    changed = [name for name, value in now.items() if value != state.training[name]]
    if changed:
        warnings.warn(
            f"{', '.join(map(repr, changed))} changed since meta_fit and has no effect on fit; "
            "call meta_fit again.",
            StaleMetaStateWarning,
            stacklevel=stacklevel,
        )
    return bool(changed)


def _features(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} features" if len(shape) == 1 else f"rows of shape {shape}"
