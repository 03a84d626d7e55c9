"""Optimal transport between equal masses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sklearn_meta._optional import need

__all__ = ["transport_cost"]


def transport_cost(cost: NDArray[np.float64]) -> float:
    """Find the least mean cost of moving n equal masses onto m others, exactly.

    Parameters
    ----------
    cost : ndarray of shape (n, m)
        Of moving one onto another.

    Returns
    -------
    float
        Of the best plan. Where n = m a permutation is one, and is found without POT.

    Raises
    ------
    ImportError
        If n and m differ and POT is not installed.
    RuntimeError
        If the solver stops before the best plan.
    """
    n, m = cost.shape
    if 1 in (n, m):
        return float(cost.mean())
    if n == m:
        return float(cost[linear_sum_assignment(cost)].mean())
    ot = need("ot", "distances", "metric='otdd' of tasks that differ in their number of rows")
    value, log = ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), cost, numItermax=10**7, log=True)
    if log["warning"] is not None:
        raise RuntimeError(f"metric='otdd': {log['warning']}")
    return float(value)
