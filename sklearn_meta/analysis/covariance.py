"""From an unbiased estimate of a covariance to one that is a covariance."""

from __future__ import annotations

import numpy as np

from sklearn_meta.analysis.linear_tasks import Floats, root_mean_square
from sklearn_meta.analysis.random_coefficients import RandomCoefficients

__all__ = ["kept_covariance"]


def kept_covariance(fit: RandomCoefficients, moment: Floats) -> Floats:
    """Find the covariance nearest to an unbiased estimate of one.

    Parameters
    ----------
    fit : RandomCoefficients
        With the estimate.
    moment : ndarray of shape (p, p)
        M, the second moment of a row.

    Returns
    -------
    ndarray of shape (p, p)
        No eigenvalue below zero, and the same variance of predictions (0, if that is negative).
    """
    size = root_mean_square(moment)
    unit = size[:, None] * size  # in which features of any scale count alike
    values, vectors = np.linalg.eigh(fit.covariance * unit)
    positive: Floats = (vectors * np.maximum(values, 0)) @ vectors.T / unit
    share = float(np.sum(positive * moment))
    return positive * (max(fit.between, 0.0) / share) if share > 0 else positive
