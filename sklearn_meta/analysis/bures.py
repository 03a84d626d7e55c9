"""Distances between Gaussians, for many of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["gaussian_distances"]

AT_ONCE = 2**21  # numbers in memory: 16 MB


def gaussian_distances(
    samples: Sequence[NDArray[np.float64]], pairs: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Measure the squared 2-Wasserstein distance of the Gaussians of pairs of samples.

    W2^2 = |m - m'|^2 + tr S + tr S' - 2 tr (S^.5 S' S^.5)^.5, where m is the mean and S the
    covariance (divided by n) of a sample. The last trace is the nuclear norm of F^T F' for any
    factors S = F F^T: a sample of few rows has a narrow one, itself.

    Parameters
    ----------
    samples : sequence of ndarray of shape (n, n_features)
        At least one row each.
    pairs : ndarray of int of shape (n_pairs, 2)
        Which samples to compare.

    Returns
    -------
    ndarray of shape (n_pairs,)
        Squared distances.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis.bures import gaussian_distances
    >>> near, wide = np.array([[-1.0], [1.0]]), np.array([[2.0], [8.0]])
    >>> gaussian_distances([near, wide], np.array([[0, 1]]))  # (5 - 0)^2 + (3 - 1)^2
    array([29.])
    """
    means = np.array([sample.mean(axis=0) for sample in samples])
    factors = [_factor(sample - mean) for sample, mean in zip(samples, means, strict=True)]
    width = max(factor.shape[1] for factor in factors)
    stacked = np.zeros((len(factors), means.shape[1], width))  # columns of 0 change no product
    for factor, place in zip(factors, stacked, strict=True):
        place[:, : factor.shape[1]] = factor
    spread = (stacked**2).sum(axis=(1, 2))
    a, b = pairs.T
    found = spread[a] + spread[b]
    step = max(1, AT_ONCE // stacked[0].size)
    for begin in range(0, len(pairs), step):
        at = slice(begin, begin + step)
        found[at] += ((means[a[at]] - means[b[at]]) ** 2).sum(axis=1)
        products = stacked[a[at]].transpose(0, 2, 1) @ stacked[b[at]]
        found[at] -= 2 * np.linalg.svd(products, compute_uv=False).sum(axis=1)
    return np.maximum(found, 0.0)


def _factor(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """F of shape (n_features, min(n, n_features)) with F F^T the covariance."""
    n, n_features = centred.shape
    if n > n_features:
        centred = np.asarray(np.linalg.qr(centred, mode="r"))
    return centred.T / np.sqrt(n)
