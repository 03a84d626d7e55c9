"""How likely targets are under a noisy sine wave of unknown amplitude and phase."""

from __future__ import annotations

from math import ceil, log, pi

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp

__all__ = ["log_density_of_wave"]

Array = NDArray[np.float64]
PANELS_AT_MOST = 200_000
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


def log_density_of_wave(
    x: Array,
    y: Array,
    noise: float,
    amplitude: tuple[float, float],
    phase: tuple[float, float],
) -> float:
    """Integrate the likelihood of ``y = A sin(x - phi) + noise`` over uniform A and phi."""
    phi, log_weight = _phases(len(y), noise, amplitude, phase)
    c, s = np.cos(phi), np.sin(phi)
    S, C = np.sin(x), np.cos(x)  # sin(x - phi) = c S - s C
    ys = c * (y @ S) - s * (y @ C)
    ss = np.maximum(c * c * (S @ S) - 2 * c * s * (S @ C) + s * s * (C @ C), 0)
    low, high = amplitude
    if low == high:
        over_A = -(low * low * ss - 2 * low * ys) / (2 * noise**2)
    else:
        over_A = _log_mean_over_amplitude(ys / noise, np.sqrt(ss), noise, low, high)
    constant = -(y @ y) / (2 * noise**2) - len(y) * log(noise * np.sqrt(2 * pi))
    return float(constant + logsumexp(log_weight + over_A))


def _phases(
    n: int, noise: float, amplitude: tuple[float, float], phase: tuple[float, float]
) -> tuple[Array, Array]:
    """Nodes and log weights of the mean over phases."""
    begin, end = phase
    if begin == end:
        return np.array([begin]), np.zeros(1)
    # the likelihood of a phase is no narrower than this; a panel of 16 nodes takes several
    width = noise / (max(abs(amplitude[0]), abs(amplitude[1]), noise) * np.sqrt(n))
    n_panels = max(ceil((end - begin) / (2 * width)), 8)
    if n_panels > PANELS_AT_MOST:
        raise ValueError(
            f"SinusoidTasks: noise={noise} is too small for a density by quadrature over phases "
            f"from {begin} to {end}; it needs {noise * n_panels / PANELS_AT_MOST:.1e} or so."
        )
    half = (end - begin) / (2 * n_panels)
    middles = begin + half * (2 * np.arange(n_panels) + 1)
    log_weight = np.log(WEIGHTS / (2 * n_panels))
    return (middles[:, None] + half * NODES).ravel(), np.tile(log_weight, n_panels)


def _log_mean_over_amplitude(
    y_s: Array, size: Array, noise: float, low: float, high: float
) -> Array:
    """Mean over A in [low, high] of exp(-(A^2 size^2 - 2 A y_s noise) / (2 noise^2)), its log."""
    # in t = A size / noise - at, with at = y_s / size, the integrand is that of a normal density
    tiny = np.finfo(float).tiny
    size = np.maximum(size, tiny**0.25)
    at = y_s / size
    a, b = low * size / noise - at, high * size / noise - at
    swap = a > 0  # the upper tail is the lower one mirrored: no difference of ones
    a, b = np.where(swap, -b, a), np.where(swap, -a, b)
    width, middle = b - a, (a + b) / 2
    # a narrow slice is its middle and a curvature; a difference of its ends would be rounding
    narrow = width * (1 + np.abs(middle)) < 1e-2
    with np.errstate(divide="ignore", invalid="ignore"):
        upper, lower = log_ndtr(b), log_ndtr(a)
        slice_ = upper + np.log1p(-np.exp(lower - upper))
    flat = -(middle**2) / 2 - log(2 * pi) / 2 + np.log(np.maximum(width, tiny))
    flat += np.log1p(np.where(narrow, width**2 * (middle**2 - 1) / 24, 0))
    mass = np.where(narrow, flat, slice_)
    return mass + at**2 / 2 + log(2 * pi) / 2 - np.log(np.maximum(width, tiny))
