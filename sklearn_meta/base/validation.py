"""Validate the support and query rows of an estimator that `fit` and `predict` receive."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length, validate_data

from sklearn_meta.outer.state import MetaState
from sklearn_meta.tasks.tables import dense, dtype_of_rows, is_frame
from sklearn_meta.tasks.validate import check_feature_names, names_of
from sklearn_meta.tasks.values import as_rows, as_targets, as_weights, holds_targets

__all__ = [
    "check_adds_rows",
    "labels_of",
    "not_adapted",
    "validate_like_prior",
    "validate_query",
    "validate_rows",
    "validate_support",
    "validate_weight",
]


def validate_support(
    estimator: BaseEstimator,
    X: Any,
    y: Any,
    *,
    allow_nd: bool,
    kind: str,
    least: int = 1,
    reset: bool = True,
) -> tuple[Any, NDArray[Any]]:
    """Return rows and targets of a kind, "class" or "real", and set the features of the estimator.

    There must be at least `least` rows. Sparse rows stay sparse. Without `reset`, the features must
    be those of the estimator.
    """
    if reset and is_plain(estimator, X) and is_plain_target(y, len(X), kind):
        estimator.n_features_in_ = X.shape[1]
        return X, y
    rows = as_rows(X, "X", least=least)
    validate_data(estimator, X if is_frame(X) else rows, y, reset=reset, skip_check_array=True)
    check_ndim(estimator, rows, allow_nd)
    y = as_targets(y, "y", kind)
    check_consistent_length(rows, y)
    return rows, y


def labels_of(y: NDArray[Any], *others: Any) -> NDArray[Any]:
    """Return the sorted labels of y and of other arrays, each of which may be None."""
    parts = [y, *(as_targets(part, "classes", "class") for part in others if part is not None)]
    parts = [part for part in parts if len(part)] or [y]  # no rows have no kind of label
    if len({part.dtype.kind == "U" for part in parts}) > 1:
        raise ValueError("The labels of y, classes and earlier calls mix strings and numbers.")
    return np.unique(np.concatenate(parts))


def not_adapted(has_prior: bool) -> str:
    """Return the message of `check_is_fitted` for a meta-learner."""
    if not has_prior:
        return (
            "This %(name)s is not fitted yet. Call meta_fit(tasks) with old tasks, and then "
            "fit(X, y) with the labelled rows of a new one."
        )
    return (
        "This %(name)s is not fitted yet: it has learned from tasks, but has not adapted to one. "
        "Call fit(X, y) with the labelled rows of a new task, or fit(X[:0], y[:0]) to predict by "
        "the prior alone, if the learner has one."
    )


def validate_query(estimator: BaseEstimator, X: Any, *, allow_nd: bool, least: int = 1) -> Any:
    """Return query rows, checked against the features that the estimator was fitted to."""
    rows = as_rows(X, "X", least=least)
    validate_data(estimator, X if is_frame(X) else rows, reset=False, skip_check_array=True)
    check_ndim(estimator, rows, allow_nd)
    return rows


def check_ndim(estimator: BaseEstimator, rows: Any, allow_nd: bool) -> None:
    """Raise a ValueError for images where an estimator takes vectors."""
    if rows.ndim > 2 and not allow_nd:
        raise ValueError(
            f"Found array with dim {rows.ndim}, while {type(estimator).__name__} takes X of shape "
            f"(n_rows, n_features); got shape {rows.shape}."
        )


def validate_rows(estimator: BaseEstimator, X: Any, dtype: Any, *, allow_nd: bool) -> Any:
    """Return query rows in the dtype of the support."""
    n_features = getattr(estimator, "n_features_in_", None)
    if is_plain(estimator, X) and X.dtype == dtype and X.shape[1] == n_features:
        return X
    return validate_query(estimator, X, allow_nd=allow_nd).astype(dtype, copy=False)


def is_plain(estimator: BaseEstimator, X: Any) -> bool:
    """Return whether the checks would return X as it is.

    They would take two thirds of the time of `predict`, and an eighth of that of `fit`.
    """
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.size > 0
        and X.dtype in (np.float64, np.float32)
        and not hasattr(estimator, "feature_names_in_")
        and bool(np.isfinite(X).all())
    )


def is_plain_target(y: Any, n_rows: int, kind: str) -> bool:
    """Return whether the checks would return y as it is."""
    if type(y) is not np.ndarray or not holds_targets(y, kind) or len(y) != n_rows:
        return False
    return y.dtype.kind != "f" or (kind == "real" and bool(np.isfinite(y).all()))


def validate_like_prior(estimator: BaseEstimator, X: Any, state: MetaState | None) -> NDArray[Any]:
    """Return support rows as a float64 or float32 array, checked against meta-training."""
    X = dense(X, dtype_of_rows([X.dtype]))
    if state is None:
        return X
    if X.shape[1:] != state.row_shape:
        raise ValueError(
            f"X has {describe_features(X.shape[1:])}, but {type(estimator).__name__} was "
            f"meta-fitted with {describe_features(state.row_shape)} (X of shape {X.shape})."
        )
    check_feature_names(names_of(estimator), state.feature_names)
    return X


def describe_features(shape: tuple[int, ...]) -> str:
    """Describe the shape of a row."""
    return f"{shape[0]} features" if len(shape) == 1 else f"rows of shape {shape}"


def check_adds_rows(*, by_task: bool, transductive: bool, balanced: bool) -> None:
    """Raise a ValueError if the features or the weight of a row depend on the other rows."""
    if by_task:
        raise ValueError(
            "partial_fit cannot add rows with scaling='task': it standardises rows by "
            "statistics of the whole support, which more rows change. Call fit with all "
            "rows, or meta_fit with another scaling."
        )
    if transductive:
        raise ValueError(
            "partial_fit cannot add rows to batch statistics (norm='batch', or BatchNorm "
            "in a backbone of your own), which are those of the whole support. Call fit "
            "with all rows."
        )
    if balanced:
        raise ValueError(
            "partial_fit cannot add rows with class_weight='balanced' where labels are local to a "
            "task: the weights are those of the whole support, which more rows change. Call fit "
            "with all rows."
        )


def validate_weight(sample_weight: Any, X: NDArray[Any]) -> NDArray[np.float64]:
    """Return sample weights (n_rows,); None stands for ones."""
    if sample_weight is None or len(X) == 0:
        return np.ones(len(X))
    return as_weights(sample_weight, X.shape, "sample_weight")
