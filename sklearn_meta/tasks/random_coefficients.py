"""Maximum likelihood of a linear model whose coefficients differ from task to task, by EM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.tasks.marginal import square_root

__all__ = ["RandomCoefficients", "diagonal_shrinkage", "random_coefficients"]

Array = NDArray[np.float64]


class RandomCoefficients(NamedTuple):
    """What was estimated: parameters of the family, and what is known of each task's own."""

    mean: Array
    covariance: Array
    noise_variance: float
    coef: Array  # posterior means, (n_tasks, p)
    spread: Array  # posterior covariances, (n_tasks, p, p)
    n_iter: int
    converged: bool


def random_coefficients(
    designs: Sequence[Array],
    targets: Sequence[Array],
    weights: Array,
    *,
    least_noise: float,
    max_iter: int,
    tol: float,
) -> RandomCoefficients:
    """Estimate mean, covariance and noise of ``y_t = Phi_t w_t + noise``, ``w_t ~ N(mean, cov)``.

    Parameters
    ----------
    designs : sequence of ndarray of shape (n_t, p)
        One a task.
    targets : sequence of ndarray of shape (n_t,)
        One a task.
    weights : ndarray of shape (n_tasks,)
        How much each task counts.
    least_noise : float
        The noise variance is not put below it.
    max_iter : int
        Most steps of EM.
    tol : float
        EM ends where a step adds less than this to the log likelihood of a row.

    Returns
    -------
    RandomCoefficients
        The estimates of the last step.
    """
    G = np.stack([Phi.T @ Phi for Phi in designs])
    n = np.array([len(y) for y in targets], dtype=np.float64)
    each = np.sqrt(np.repeat(weights, n.astype(int)))
    rows, p = float(weights @ n), G.shape[1]
    start = np.linalg.lstsq(
        each[:, None] * np.concatenate(designs), each * np.concatenate(targets), rcond=None
    )[0]
    # what is left of one model for all: sums of squares of targets far from zero would cancel
    left_of = [y - Phi @ start for Phi, y in zip(designs, targets, strict=True)]
    b = np.stack([Phi.T @ y for Phi, y in zip(designs, left_of, strict=True)])
    yy = np.array([y @ y for y in left_of])
    whole = np.einsum("t,tij->ij", weights, G)
    mean = np.zeros(p)
    pooled = float(weights @ yy / rows)
    noise = max(pooled / 2, least_noise)
    scale = np.maximum(np.diag(whole) / rows, np.finfo(float).tiny)
    cov = np.diag(max(pooled, least_noise) / (2 * p * scale))
    before, converged, step = -np.inf, False, 0
    while True:
        root = square_root(cov)
        inner = np.eye(p) + root.T @ G @ root / noise
        spread = root @ np.linalg.inv(inner) @ root.T
        b_mean = b - G @ mean
        shift = np.einsum("tij,tj->ti", spread, b_mean) / noise
        coef = mean + shift
        rest = yy - 2 * b @ mean + np.einsum("i,tij,j->t", mean, G, mean)
        quad = (rest - np.einsum("ti,ti->t", shift, b_mean)) / noise
        log_det = n * np.log(2 * np.pi * noise) + np.linalg.slogdet(inner)[1]
        now = float(-0.5 * weights @ (log_det + quad) / rows)
        converged = now - before < tol
        if converged or step == max_iter:
            return RandomCoefficients(
                start + mean, cov, noise, start + coef, spread, step, converged
            )
        before, step = now, step + 1
        mean = weights @ coef / weights.sum()
        off = coef - mean
        cov = (np.einsum("t,ti,tj->ij", weights, off, off) + np.tensordot(weights, spread, 1)) / (
            weights.sum()
        )
        left = yy - 2 * np.einsum("ti,ti->t", b, coef) + np.einsum("ti,tij,tj->t", coef, G, coef)
        left += np.einsum("tij,tji->t", G, spread)
        noise = max(float(weights @ left / rows), least_noise)


def diagonal_shrinkage(found: RandomCoefficients, weights: Array) -> float:
    """Share of the covariance to replace by its diagonal: that of Schäfer and Strimmer.

    It is the sum of the sampling variances of the correlations over the sum of their squares (J.
    Schäfer and K. Strimmer, "A shrinkage approach to large-scale covariance matrix estimation",
    2005), with each task's second moments about the mean as the sample: what is not known of its
    coefficients is in them.

    Parameters
    ----------
    found : RandomCoefficients
        The estimates.
    weights : ndarray of shape (n_tasks,)
        How much each task counts.

    Returns
    -------
    shrinkage : float
        In [0, 1]; 0 where there is one coefficient only.
    """
    off = found.coef - found.mean
    moments = np.einsum("ti,tj->tij", off, off) + found.spread
    share = weights / weights.sum()
    overall = np.tensordot(share, moments, 1)
    std = np.sqrt(np.maximum(np.diag(overall), np.finfo(float).tiny))
    moments, overall = moments / np.outer(std, std), overall / np.outer(std, std)
    outside = ~np.eye(len(std), dtype=bool)
    squares, lonely = np.sum(overall[outside] ** 2), 1 - np.sum(share**2)
    if squares <= 0:
        return 0.0
    if lonely <= 0:  # all the weight on one task: nothing says how the others vary
        return 1.0
    variance = np.tensordot(share**2, (moments - overall) ** 2, 1) / lonely
    return float(np.clip(variance[outside].sum() / squares, 0, 1))
