"""Diagonal Fisher information of output layers, and the distance of two of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.analysis.linear_fits import probabilities

__all__ = ["cosine_of_shares", "fisher", "shrunk"]

AT_ONCE = 2**21  # numbers in one chunk
EPS = 1e-8


def shrunk(F: NDArray[np.float64], shrink: float) -> NDArray[np.float64]:
    """Add to each embedding a share of its mean.

    Parameters
    ----------
    F : ndarray of shape (n_tasks, n_features)
        From :func:`task2vec`.
    shrink : float
        How much of it.

    Returns
    -------
    ndarray of shape (n_tasks, n_features)
        New.
    """
    return F + shrink * F.mean(axis=1, keepdims=True)


def cosine_of_shares(A: NDArray[np.float64], B: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each embedding of A to each of B.

    Parameters
    ----------
    A, B : ndarray of shape (n, n_features) and (m, n_features)
        From :func:`task2vec`, of the same probe.

    Returns
    -------
    ndarray of shape (n, m)
        One minus the cosine of a / (a + b + 1e-8) and b / (a + b + 1e-8); 0 between zeros.
    """
    found = np.empty((len(A), len(B)))
    at_once = max(1, AT_ONCE // max(1, B.size))
    for begin in range(0, len(A), at_once):
        a = A[begin : begin + at_once, None]
        total = a + B + EPS
        u, v = a / total, B / total
        norms = np.sqrt((u * u).sum(-1) * (v * v).sum(-1))
        cosine = (u * v).sum(-1) / np.where(norms > 0, norms, 1.0)
        nothing = ~(a.any(axis=-1) | B.any(axis=-1))
        found[begin : begin + at_once] = 1 - np.where(nothing, 1.0, np.minimum(cosine, 1.0))
    return found


def fisher(
    Z: NDArray[np.float64], V: NDArray[np.float64], y: NDArray[np.float64], kind: str, of: str
) -> NDArray[np.float64]:
    """Diagonal Fisher information of an output layer on given features.

    Parameters
    ----------
    Z : ndarray of shape (n_tasks, n, d + 1)
        Features and a constant, zeros where there is no row.
    V : ndarray of shape (n_tasks, d + 1, k)
        Output layers.
    y : ndarray of shape (n_tasks, n, k)
        One-hot labels, or targets: the scale of what is left is theirs.
    kind : {"class", "real"}
        Which.
    of : {"features", "head"}
        As in :func:`task2vec`.

    Returns
    -------
    ndarray of shape (n_tasks, d)
        Without that of the constant.
    """
    n = Z.any(axis=-1).sum(axis=1)[:, None]  # the constant is not zero
    squares, W = Z[..., :-1] ** 2, V[:, :-1]
    if kind == "real":
        left = np.maximum(((y - Z @ V) ** 2).sum(axis=1) / n, EPS)[:, None]  # (n_tasks, 1, k)
        weight = (W**2 if of == "features" else np.ones_like(W)) / left
        return squares.sum(axis=1) / n * weight.sum(axis=-1)
    P = probabilities(Z @ V, y.any(axis=1, keepdims=True))
    if of == "head":
        spread = (P * (1 - P)).sum(axis=-1, keepdims=True)
        return (squares * spread).sum(axis=1) / n
    mean = P @ np.swapaxes(W, 1, 2)  # of V_kc over c
    second = P @ np.swapaxes(W**2, 1, 2)
    return (squares * np.maximum(second - mean**2, 0.0)).sum(axis=1) / n
