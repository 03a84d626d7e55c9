"""The evidence of Bayesian linear regression, at its best precisions, for many problems at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evidence", "best_evidence"]

SPAN = np.linspace(-27.0, 27.0, 55)  # log of alpha / beta, in units of the largest s^2
GOLD = (np.sqrt(5.0) - 1) / 2
LEAST_NOISE = 1e-12  # share of |y|^2 that counts as noise at least


class Evidence(NamedTuple):
    """Greatest evidence of y = F w + noise, w ~ N(0, I / alpha), noise ~ N(0, I / beta).

    Attributes
    ----------
    value : ndarray of shape (...)
        log p(y | F, alpha, beta), in nats.
    alpha, beta : ndarray of shape (...)
        Precisions of the weights and of the noise.
    """

    value: NDArray[np.float64]
    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]


def best_evidence(
    squares: NDArray[np.float64],
    along: NDArray[np.float64],
    left: NDArray[np.float64],
    n: int,
) -> Evidence:
    """Maximise the evidence over both precisions.

    With F = U s V^T and t = alpha / beta, beta has a closed form, and log t is searched: on a grid,
    since there may be several maxima, then by golden sections to the rounding of the value.

    Parameters
    ----------
    squares : ndarray of shape (..., k)
        s^2, the squared singular values of F.
    along : ndarray of shape (..., k)
        (U^T y)^2.
    left : ndarray of shape (...)
        |y|^2 - sum of `along`: what no weights reach.
    n : int
        Length of y.

    Returns
    -------
    Evidence
        Of each problem. Where y is matched without noise the evidence has no bound, and 1e-12 of
        |y|^2 counts as noise.
    """
    top = np.maximum(squares.max(axis=-1, initial=0.0), np.finfo(float).tiny)
    scaled = squares / top[..., None]
    total = left + along.sum(axis=-1)

    def value(log_t: NDArray[np.float64]) -> NDArray[np.float64]:
        gain = scaled / np.exp(log_t)[..., None]
        noise = _noise(left, along, gain, total)
        return -0.5 * (n * (np.log(2 * np.pi * noise / n) + 1) + np.log1p(gain).sum(axis=-1))

    grid = np.stack([value(np.full(total.shape, log_t)) for log_t in SPAN])
    low = SPAN[np.maximum(grid.argmax(axis=0) - 1, 0)]
    high = SPAN[np.minimum(grid.argmax(axis=0) + 1, len(SPAN) - 1)]
    for _ in range(40):  # an interval of 2 shrinks to 1e-8, the value's rounding
        a, b = high - GOLD * (high - low), low + GOLD * (high - low)
        left_is_better = value(a) > value(b)
        low, high = np.where(left_is_better, low, a), np.where(left_is_better, b, high)
    log_t = (low + high) / 2
    gain = scaled / np.exp(log_t)[..., None]
    beta = n / _noise(left, along, gain, total)
    return Evidence(value(log_t), beta * np.exp(log_t) * top, beta)


def _noise(
    left: NDArray[np.float64],
    along: NDArray[np.float64],
    gain: NDArray[np.float64],
    total: NDArray[np.float64],
) -> NDArray[np.float64]:
    """N / beta at its best for a given alpha / beta."""
    return np.maximum(left + (along / (1 + gain)).sum(axis=-1), LEAST_NOISE * total)
