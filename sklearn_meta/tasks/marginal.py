"""Rows of a linear model whose coefficients are Gaussian: their density, without n x n matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cube_root_score", "gaussian_marginal", "square_root"]


def gaussian_marginal(
    Phi: NDArray[np.float64],
    y: NDArray[np.float64],
    mean: NDArray[np.float64],
    root: NDArray[np.float64],
    noise_variance: float,
) -> tuple[float, float]:
    r"""Log density and squared Mahalanobis distance of :math:`y` under the marginal.

    For :math:`w \sim N(\mu, L L^\top)` and :math:`y = \Phi w + N(0, \sigma^2 I)` it is
    :math:`N(\Phi \mu, \Phi L L^\top \Phi^\top + \sigma^2 I)`.

    Parameters
    ----------
    Phi : ndarray of shape (n_rows, p)
        The design.
    y : ndarray of shape (n_rows,)
        The targets.
    mean : ndarray of shape (p,)
        The mean of the coefficients.
    root : ndarray of shape (p, p)
        :math:`L`; it may be singular.
    noise_variance : float
        :math:`\sigma^2 > 0`.

    Returns
    -------
    log_prob : float
        In nats.
    distance : float
        The square, which has a chi-squared distribution with `n_rows` degrees of freedom.
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


def square_root(cov: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give a matrix `L` with `L L^T = cov`, for a covariance that may be singular.

    Parameters
    ----------
    cov : ndarray of shape (p, p)
        Symmetric, without eigenvalues below zero but for rounding.

    Returns
    -------
    root : ndarray of shape (p, p)
        Not triangular.
    """
    values, vectors = np.linalg.eigh(cov)
    root: NDArray[np.float64] = vectors * np.sqrt(np.maximum(values, 0))
    return root


def cube_root_score(distance: Any, n: Any) -> NDArray[np.float64]:
    """Turn squared distances of vectors of different lengths into comparable scores.

    The cube root of a chi-squared variable over its degrees of freedom is close to normal (Wilson
    and Hilferty, "The distribution of chi-square", PNAS 1931). Unlike a tail probability it tells
    the very far from the extremely far.

    Parameters
    ----------
    distance : array-like of shape (n_tasks,)
        Squared Mahalanobis distances.
    n : array-like of shape (n_tasks,)
        Their degrees of freedom.

    Returns
    -------
    score : ndarray of shape (n_tasks,)
        About standard normal where the vectors are what they should be.
    """
    n = np.asarray(n, dtype=np.float64)
    variance = 2 / (9 * n)
    score: NDArray[np.float64] = (np.cbrt(np.asarray(distance) / n) - 1 + variance) / np.sqrt(
        variance
    )
    return score
