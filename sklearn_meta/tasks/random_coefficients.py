"""Linear models whose coefficients differ from task to task by a Gaussian: density and EM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "RandomCoefficients",
    "diagonal_shrinkage",
    "gaussian_marginals",
    "random_coefficients",
    "square_root",
]

Array = NDArray[np.float64]


class RandomCoefficients(NamedTuple):
    """Estimates of the family's parameters, and the posterior of the coefficients of each task."""

    mean: Array
    covariance: Array
    noise_variance: float
    coef: Array  # posterior means, (n_tasks, p)
    spread: Array  # posterior covariances, (n_tasks, p, p)
    n_iter: int
    converged: bool


def random_coefficients(
    designs: Sequence[Array],  # (n_t, p), one a task
    targets: Sequence[Array],  # (n_t,)
    weights: Array,  # how much each task counts, (n_tasks,)
    *,
    n_rows: Array | None = None,  # of each task, where its rows are scaled by roots of weights
    least_noise: float,
    max_iter: int,
    tol: float,
    start: tuple[Array, float] | None = None,
    stop: Literal["log_likelihood", "change"] = "log_likelihood",
) -> RandomCoefficients:
    """Estimate mean, covariance and noise of ``y_t = Phi_t w_t + noise``, ``w_t ~ N(mean, cov)``.

    `start` is a covariance and a noise variance; None takes half of what one model for all tasks
    leaves for each. EM stops where a step adds less than `tol` to the log likelihood of a row, or
    changes no parameter by `tol`.
    """
    G = np.stack([Phi.T @ Phi for Phi in designs])
    lengths = np.array([len(y) for y in targets])
    n = lengths.astype(np.float64) if n_rows is None else n_rows
    root_weights = np.sqrt(np.repeat(weights, lengths))
    rows, p = float(weights @ n), G.shape[1]
    pooled_coef = np.linalg.lstsq(
        root_weights[:, None] * np.concatenate(designs),
        root_weights * np.concatenate(targets),
        rcond=np.sqrt(np.finfo(float).eps * p),  # EM does not shrink what the rows do not determine
    )[0]
    # residuals of one model for all: sums of squares of targets far from zero would cancel
    residuals = [y - Phi @ pooled_coef for Phi, y in zip(designs, targets, strict=True)]
    b = np.stack([Phi.T @ r for Phi, r in zip(designs, residuals, strict=True)])
    yy = np.array([r @ r for r in residuals])
    mean = np.zeros(p)
    if start is None:
        pooled = float(weights @ yy / rows)
        scale = np.diag(np.einsum("t,tij->ij", weights, G)) / rows
        scale = np.maximum(scale, np.finfo(float).tiny)
        start = np.diag(max(pooled, least_noise) / (2 * p * scale)), pooled / 2
    cov, noise = start[0], max(start[1], least_noise)
    before, change, step = -np.inf, np.inf, 0
    while True:
        root = square_root(cov)
        inner = np.eye(p) + root.T @ G @ root / noise
        spread = root @ np.linalg.inv(inner) @ root.T
        b_mean = b - G @ mean
        shift = np.einsum("tij,tj->ti", spread, b_mean) / noise
        coef = mean + shift
        if stop == "change":
            converged = change < tol
        else:
            rest = yy - 2 * b @ mean + np.einsum("i,tij,j->t", mean, G, mean)
            quad = (rest - np.einsum("ti,ti->t", shift, b_mean)) / noise
            log_det = n * np.log(2 * np.pi * noise) + np.linalg.slogdet(inner)[1]
            log_likelihood = float(-0.5 * weights @ (log_det + quad) / rows)
            converged, before = log_likelihood - before < tol, log_likelihood
        if converged or step == max_iter:
            return RandomCoefficients(
                pooled_coef + mean, cov, noise, pooled_coef + coef, spread, step, converged
            )
        last, step = (mean, cov, noise), step + 1
        mean = weights @ coef / weights.sum()
        off = coef - mean
        cov = (np.einsum("t,ti,tj->ij", weights, off, off) + np.tensordot(weights, spread, 1)) / (
            weights.sum()
        )
        left = yy - 2 * np.einsum("ti,ti->t", b, coef) + np.einsum("ti,tij,tj->t", coef, G, coef)
        left += np.einsum("tij,tji->t", G, spread)
        noise = max(float(weights @ left / rows), least_noise)
        moves = zip((mean, cov, noise), last, strict=True)
        change = max(float(np.abs(new - old).max()) for new, old in moves)


def diagonal_shrinkage(
    fit: RandomCoefficients, weights: Array, blocks: NDArray[np.bool_] | None = None
) -> float:
    """Return the share of the covariance to replace by its diagonal (or `blocks`), in [0, 1].

    It is the sum of the sampling variances of the correlations over the sum of their squares (J.
    Schäfer and K. Strimmer, "A shrinkage approach to large-scale covariance matrix estimation",
    2005), with the second moments of each task about the mean as the sample: they include what is
    unknown of its coefficients. 0 where there is only one coefficient.
    """
    off = fit.coef - fit.mean
    moments = np.einsum("ti,tj->tij", off, off) + fit.spread
    share = weights / weights.sum()
    overall = np.tensordot(share, moments, 1)
    std = np.sqrt(np.maximum(np.diag(overall), np.finfo(float).tiny))
    moments, overall = moments / np.outer(std, std), overall / np.outer(std, std)
    outside = ~np.eye(len(std), dtype=bool) if blocks is None else ~blocks
    squares, unevenness = np.sum(overall[outside] ** 2), 1 - np.sum(share**2)
    if squares <= 0:
        return 0.0
    if unevenness <= 0:  # all the weight on one task: nothing says how the others vary
        return 1.0
    variance = np.tensordot(share**2, (moments - overall) ** 2, 1) / unevenness
    return float(np.clip(variance[outside].sum() / squares, 0, 1))


def gaussian_marginals(
    designs: Sequence[Array],
    targets: Sequence[Array],
    mean: Array,
    root: Array,
    noise_variance: float,
) -> tuple[Array, Array]:
    """Return the log density of each task's targets, and how strange they are: about N(0, 1)."""
    pairs = zip(designs, targets, strict=True)
    marginals = [_marginal(Phi, y, mean, root, noise_variance) for Phi, y in pairs]
    log_prob, distance = np.array(marginals, dtype=np.float64).T
    return log_prob, _cube_root_score(distance, np.array([len(y) for y in targets], np.float64))


def square_root(cov: Array) -> Array:
    """Return a matrix L (not triangular) with L L^T = cov, for a cov that may be singular."""
    values, vectors = np.linalg.eigh(cov)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def _marginal(
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


def _cube_root_score(distance: Array, n: Array) -> Array:
    """Turn squared distances of vectors of lengths n into scores that are about standard normal.

    The cube root of a chi-squared variable over its degrees of freedom is close to normal (E. B.
    Wilson and M. M. Hilferty, "The distribution of chi-square", PNAS 1931). Unlike a tail
    probability it separates very far vectors from extremely far ones.
    """
    variance = 2 / (9 * n)
    return np.asarray((np.cbrt(distance / n) - 1 + variance) / np.sqrt(variance))
