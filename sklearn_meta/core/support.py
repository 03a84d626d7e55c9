"""What `fit` asks of a support, and of the parameters set since `meta_fit`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Number
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from sklearn_meta.core.algorithm import BODY
from sklearn_meta.core.backbone import RowNetwork
from sklearn_meta.core.row_store import dtype_of_rows
from sklearn_meta.core.state import MetaState
from sklearn_meta.exceptions import StaleMetaStateWarning
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.columns import check_feature_names, names_of

__all__ = [
    "check_fits",
    "check_labels",
    "check_query",
    "check_structure",
    "check_support",
    "check_weight",
    "warn_if_stale",
]


def check_support(
    est: Any, X: Any, y: Any, *, allow_nd: bool, **options: Any
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Validate a support, and hold it against the meta state.

    Parameters
    ----------
    est : BaseMetaLearner
        Which adapts; its `n_features_in_` is set.
    X, y : array-like
        As given to `fit`.
    allow_nd : bool
        Whether rows may be images.
    **options : dict
        More of :func:`sklearn.utils.validation.validate_data`.

    Returns
    -------
    X, y : ndarray
        X of float64 or float32.

    Raises
    ------
    ValueError
        If the support does not go with the meta state.
    """
    state, owner = est._meta_state, type(est).__name__
    if _is_plain(est, X) and _is_plain_target(y, len(X), options.get("multi_output", False)):
        est.n_features_in_ = X.shape[1]
    else:
        X, y = _validated(est, X, y, allow_nd=allow_nd, **options)
    if state is None:
        return X, y
    if X.shape[1:] != state.row_shape:
        raise ValueError(
            f"X has {_features(X.shape[1:])}, but {owner} was meta-fitted with "
            f"{_features(state.row_shape)} (X of shape {X.shape})."
        )
    check_feature_names(names_of(est), state.feature_names)
    return X, y


def _validated(est: Any, X: Any, y: Any, **options: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    dtypes = [np.float64, np.float32]
    if hasattr(X, "toarray") or isinstance(X, np.ndarray):  # bytes are computed in float32
        dtypes = dtypes if X.dtype in dtypes else [dtype_of_rows([X.dtype])]
    X, y = validate_data(est, X, y, dtype=dtypes, accept_sparse="csr", **options)
    return dense(X), y


def check_query(est: Any, X: Any, dtype: Any, *, allow_nd: bool) -> Any:
    """Validate query rows.

    Parameters
    ----------
    est : BaseMetaLearner
        Which has adapted.
    X : array-like
        As given to `predict`.
    dtype : dtype
        Of the support.
    allow_nd : bool
        Whether rows may be images.

    Returns
    -------
    X : ndarray or csr_array
        Of that dtype.

    Raises
    ------
    ValueError
        If the rows do not go with the support.
    """
    if _is_plain(est, X) and X.dtype == dtype and X.shape[1] == est.n_features_in_:
        return X
    how = {"dtype": dtype, "accept_sparse": "csr", "allow_nd": allow_nd}
    return validate_data(est, X, reset=False, **how)


def _is_plain(est: Any, X: Any) -> bool:
    """Whether scikit-learn would find nothing to do or to say, in a tenth of its time."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.size > 0
        and X.dtype in (np.float64, np.float32)
        and not hasattr(est, "feature_names_in_")
        and bool(np.isfinite(X).all())
    )


def _is_plain_target(y: Any, n_rows: int, multi_output: bool) -> bool:
    return (
        type(y) is np.ndarray
        and (y.ndim == 1 or (multi_output and y.ndim == 2 and y.size > 0))
        and len(y) == n_rows
        and (y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool(np.isfinite(y).all())))
    )


def check_labels(y: NDArray[Any]) -> None:
    """Refuse targets that are no labels.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        As given to `fit`.

    Raises
    ------
    ValueError
        If they are continuous, or cannot be sorted.
    """
    try:
        with warnings.catch_warnings():  # as many classes as rows are no regression here
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            check_classification_targets(y)
        np.unique(y)
    except TypeError as error:
        raise ValueError(
            f"y of shape {y.shape} mixes kinds of label that cannot be sorted: {error}."
        ) from None


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
    for name, now in est._fingerprints(est._structural).items():
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
    now = est._fingerprints(est._without_effect())
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
