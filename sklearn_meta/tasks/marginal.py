"""Density of rows of a linear model whose coefficients are Gaussian, without n x n matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["cube_root_score", "gaussian_marginal", "square_root"]

Array = NDArray[np.float64]


def gaussian_marginal(
    Phi: Array,  # design, (n_rows, p)
    y: Array,  # (n_rows,)
    mean: Array,  # of the coefficients, (p,)
    root: Array,  # L with L L^T their covariance, (p, p); it may be singular
    noise_variance: float,
) -> tuple[float, float]:
    """Return log density and squared Mahalanobis distance of y.

    The marginal is N(Phi mean, Phi L L^T Phi^T + noise_variance I); the squared distance has a
    chi-squared distribution with n_rows degrees of freedom.
    """
    # min over v of |(y - Phi mean - Phi L v) / s|^2 + |v|^2 is the squared distance, and R of the
    # QR decomposition has the determinant. Nothing is squared or inverted: a small noise is fine.
    n, p = Phi.shape
    s = np.sqrt(noise_variance)
    A = np.concatenate([Phi @ root / s, np.eye(p)])
    b = np.concatenate([(y - Phi @ mean) / s, np.zeros(p)])
    Q, R = np.linalg.qr(A)
    distance = float(np.sum((b - Q @ (Q.T @ b)) ** 2))
    log_det = n * np.log(noise_variance) + 2 * np.log(np.abs(np.diag(R))).sum()
    return float(-0.5 * (n * np.log(2 * np.pi) + log_det + distance)), distance


def square_root(cov: Array) -> Array:
    """Return a matrix L (not triangular) with L L^T = cov, for a cov that may be singular."""
    values, vectors = np.linalg.eigh(cov)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def cube_root_score(distance: ArrayLike, n: ArrayLike) -> Array:
    """Turn squared distances of vectors of lengths n into scores that are about standard normal.

    The cube root of a chi-squared variable over its degrees of freedom is close to normal (E. B.
    Wilson and M. M. Hilferty, "The distribution of chi-square", PNAS 1931). Unlike a tail
    probability it separates very far vectors from extremely far ones.
    """
    n = np.asarray(n, dtype=np.float64)
    variance = 2 / (9 * n)
    return np.asarray((np.cbrt(np.asarray(distance) / n) - 1 + variance) / np.sqrt(variance))
