"""The random-coefficients model y = X w + e, w ~ (mu, Sigma), fitted by Fisher scoring (REML)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from sklearn_meta.analysis.linear_tasks import Floats, root_mean_square

__all__ = ["RandomCoefficients", "random_coefficients"]

N_STEPS, NEAR = 30, 1e-8  # of Fisher scoring, which takes about 8, and when it has converged
FLOOR = 1e-3  # of a direction's weight, relative to the largest: none is ever left out


@dataclass(frozen=True, eq=False)
class RandomCoefficients:
    """Moments of the coefficients of one output, and how much each task says about them.

    Parameters
    ----------
    mean, covariance : ndarray of shape (p,) and (p, p)
        Of w over tasks. The covariance is unbiased, so it may have eigenvalues below zero.
    noise : float
        Variance of e.
    mean_covariance : ndarray of shape (p, p)
        Of the estimate of the mean.
    between : float
        tr(Sigma M), the variance between tasks of the prediction at a row.
    influence, noise_share : ndarray of shape (n_tasks,)
        Change of `between` per unit of weight of a task, with the noise held; and its change per
        unit of noise variance, which the tasks add up.
    """

    mean: Floats
    covariance: Floats
    noise: float
    mean_covariance: Floats
    between: float
    influence: Floats
    noise_share: Floats


def random_coefficients(
    G: Floats, b: Floats, noise: float, total: float, moment: Floats
) -> RandomCoefficients:
    """Fit the model to sufficient statistics of tasks.

    With A_t = X_t' (y_t - X_t mu), E[A A'] = G Sigma G + s2 G - G C G, where C is the covariance
    of the estimated mean. Weighted by K_t = (s2 I + G_t Sigma_0)^-1 this is linear in Sigma and
    unbiased for any fixed Sigma_0; with Sigma_0 the last estimate, the fixed point is REML.

    Parameters
    ----------
    G, b : ndarray of shape (n_tasks, p, p) and (n_tasks, p)
        X'X and X'y of each task. Tasks with fewer rows than coefficients are of use too.
    noise : float
        Variance of e.
    total : float
        Mean of y^2, the scale of everything.
    moment : ndarray of shape (p, p)
        M, the second moment of a row.

    Returns
    -------
    RandomCoefficients
        The fit.
    """
    size = root_mean_square(moment)
    G, b = G / (size[:, None] * size), b / size  # coefficients in units in which E[x_j^2] = 1
    p, floor = len(size), max(noise, 1e-12 * total, np.finfo(float).tiny)
    eye, last = np.eye(p), np.full((p, p), np.inf)
    guess = eye * max(total, floor) / p
    for _ in range(N_STEPS):
        K = np.linalg.inv(floor * eye + G @ guess)
        B = K @ G  # symmetric: X' V^-1 X
        B = (B + B.swapaxes(1, 2)) / 2
        C = np.linalg.pinv(B.sum(0), hermitian=True)
        mean = C @ np.einsum("tij,tj->i", K, b)
        A = np.einsum("tij,tj->ti", K, b - G @ mean)
        noise_part = B @ K.swapaxes(1, 2)
        told = A[:, :, None] * A[:, None] - noise * noise_part + B @ C @ B
        covariance = _solve(partial(_seen, B), told.sum(0))
        change = np.linalg.norm(covariance - last)
        if change <= NEAR * np.linalg.norm(covariance) + 1e-12 * total:
            break
        guess, last = _positive(covariance), covariance
    scaled = moment / (size[:, None] * size)
    Z = _solve(partial(_seen, B), scaled)
    influence = np.einsum("ij,tij->t", Z, told - B @ covariance @ B)
    unit = size[:, None] * size
    return RandomCoefficients(
        mean / size,
        covariance / unit,
        noise,
        C / unit,
        float(np.sum(covariance * scaled)),
        influence,
        np.einsum("ij,tij->t", Z, noise_part),
    )


def _seen(B: Floats, S: Floats) -> Floats:
    """Sum B_t S B_t over tasks: what a covariance S shows of itself."""
    total: Floats = np.sum(B @ S @ B, axis=0)
    return total


def _solve(apply: Callable[[Floats], Floats], target: Floats) -> Floats:
    """Conjugate gradients on symmetric matrices; of many solutions, the one of least norm."""
    S, r = np.zeros_like(target), (target + target.T) / 2
    d, rr = r.copy(), float(np.sum(r * r))
    stop = 1e-24 * rr
    for _ in range(4 * target.size):
        if rr <= stop:
            break
        Ad = apply(d)
        step = rr / float(np.sum(d * Ad))
        S, r = S + step * d, r - step * Ad
        rr, before = float(np.sum(r * r)), rr
        d = r + rr / before * d
    return (S + S.T) / 2


def _positive(S: Floats) -> Floats:
    values, vectors = np.linalg.eigh(S)
    least = max(FLOOR * values.max(), np.finfo(float).tiny)
    kept: Floats = (vectors * np.maximum(values, least)) @ vectors.T
    return kept
