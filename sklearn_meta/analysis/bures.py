"""Distances between Gaussians, for many of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Gaussians"]

AT_ONCE = 2**19  # numbers of a chunk: 4 MB, several times in each thread


class Gaussians(NamedTuple):
    """Means and covariances of samples.

    Attributes
    ----------
    means : ndarray of shape (n_samples, n_features)
        Of each.
    factors : ndarray of shape (n_samples, n_features, width)
        F with F F^T the covariance.
    traces : ndarray of shape (n_samples,)
        Of the covariance.
    """

    means: NDArray[np.float64]
    factors: NDArray[np.float64]
    traces: NDArray[np.float64]

    @classmethod
    def of(cls, samples: Sequence[NDArray[np.float64]]) -> Gaussians:
        """Take the moments of samples.

        Parameters
        ----------
        samples : sequence of ndarray of shape (n, n_features)
            At least one row each.

        Returns
        -------
        Gaussians
            With covariances that are divided by n.
        """
        means = np.array([sample.mean(axis=0) for sample in samples])
        factors = [_factor(sample - mean) for sample, mean in zip(samples, means, strict=True)]
        width = max(factor.shape[1] for factor in factors)
        stacked = np.zeros((len(factors), means.shape[1], width))  # columns of 0 change no product
        for factor, place in zip(factors, stacked, strict=True):
            place[:, : factor.shape[1]] = factor
        return cls(means, stacked, (stacked**2).sum(axis=(1, 2)))

    def distances(self, pairs: NDArray[np.intp]) -> NDArray[np.float64]:
        """Measure the squared 2-Wasserstein distance of pairs.

        W2^2 = |m - m'|^2 + tr S + tr S' - 2 tr (S^.5 S' S^.5)^.5, where m is the mean and S the
        covariance. The last trace is the nuclear norm of F^T F' for any factors S = F F^T: a
        sample of few rows has a narrow one, itself.

        Parameters
        ----------
        pairs : ndarray of int of shape (n_pairs, 2)
            Which to compare.

        Returns
        -------
        ndarray of shape (n_pairs,)
            Squared distances.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_meta.analysis.bures import Gaussians
        >>> near, wide = np.array([[-1.0], [1.0]]), np.array([[2.0], [8.0]])
        >>> Gaussians.of([near, wide]).distances(np.array([[0, 1]]))  # (5 - 0)^2 + (3 - 1)^2
        array([29.])
        """
        means, factors, traces = self
        a, b = pairs.T
        found = traces[a] + traces[b]
        step = max(1, AT_ONCE // factors[0].size)
        for begin in range(0, len(pairs), step):
            at = slice(begin, begin + step)
            found[at] += ((means[a[at]] - means[b[at]]) ** 2).sum(axis=1)
            products = factors[a[at]].transpose(0, 2, 1) @ factors[b[at]]
            found[at] -= 2 * np.linalg.svd(products, compute_uv=False).sum(axis=1)
        return np.maximum(found, 0.0)


def _factor(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """F of shape (n_features, min(n, n_features)) with F F^T the covariance."""
    n, n_features = centred.shape
    if n > n_features:
        centred = np.asarray(np.linalg.qr(centred, mode="r"))
    return centred.T / np.sqrt(n)
