"""Counts whose proportions have a Dirichlet distribution: their density, and its maximum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln, psi

__all__ = ["estimate_concentrations", "log_dirichlet_multinomial"]

Array = NDArray[np.float64]
BOUNDS = (1e-4, 1e4)  # of each concentration


def log_dirichlet_multinomial(counts: Array, alpha: Array) -> Array:
    """Log probability of counts whose proportions have a Dirichlet distribution.

    Parameters
    ----------
    counts : ndarray of shape (..., n_classes)
        Whole numbers.
    alpha : ndarray of shape (n_classes,)
        The concentrations.

    Returns
    -------
    log_prob : ndarray of shape (...,)
        In nats, the multinomial coefficient included.
    """
    n, total = counts.sum(-1), alpha.sum()
    log_prob: Array = gammaln(n + 1) + gammaln(total) - gammaln(n + total)
    each = gammaln(counts + alpha) - gammaln(alpha) - gammaln(counts + 1)
    return log_prob + each.sum(-1)


def estimate_concentrations(counts: Array, weights: Array) -> Array:
    """Maximise the likelihood, over the logarithms of the concentrations.

    Parameters
    ----------
    counts : ndarray of shape (n_tasks, n_classes)
        Rows of each class.
    weights : ndarray of shape (n_tasks,)
        How much each task counts.

    Returns
    -------
    alpha : ndarray of shape (n_classes,)
        Each between 1e-4 and 1e4: proportions that never differ would have no end.
    """
    n = counts.sum(1)

    def loss(log_alpha: Array) -> tuple[float, Array]:
        alpha = np.exp(log_alpha)
        slope = (
            psi(counts + alpha) - psi(alpha) + (psi(alpha.sum()) - psi(n + alpha.sum()))[:, None]
        )
        value = -weights @ log_dirichlet_multinomial(counts, alpha)
        return float(value / weights.sum()), -alpha * (weights @ slope) / weights.sum()

    share = (weights @ counts + 0.5) / (weights @ n + 0.5 * counts.shape[1])
    start = np.log(np.clip(share * counts.shape[1], *BOUNDS))
    limits: Sequence[tuple[float, float]] = [tuple(np.log(BOUNDS))] * len(start)
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=limits,
        options={"ftol": 1e-14, "gtol": 1e-9},
    )
    return np.exp(found.x)
