"""What the parameters of a Gaussian task distribution may be."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from sklearn_meta.tasks.fitting import check_rows
from sklearn_meta.tasks.ranges import check_int

__all__ = ["check_gaussian"]


def check_gaussian(est: Any) -> None:
    """Refuse parameters that are out of their range.

    Parameters
    ----------
    est : GaussianTaskDistribution
        Whose parameters.

    Raises
    ------
    ValueError
        Naming the parameter.
    """
    owner, basis = type(est).__name__, est.basis
    if basis is not None and not (hasattr(basis, "fit") and hasattr(basis, "transform")):
        raise ValueError(
            f"The 'basis' parameter of {owner} must be None or a transformer with fit and "
            f"transform. Got {basis!r} instead."
        )
    if est.shrinkage != "auto":
        _check_real(est.shrinkage, "shrinkage", owner, "'auto' or ", 1.0)
    _check_real(est.min_noise, "min_noise", owner, "", np.inf)
    _check_real(est.tol, "tol", owner, "", np.inf)
    check_int(est.max_iter, "max_iter", owner, 1)
    check_rows(est.n_rows, est.n_support, owner)
    if est.x_distribution not in ("empirical", "gaussian"):
        raise ValueError(
            f"The 'x_distribution' parameter of {owner} must be 'empirical' or 'gaussian'. "
            f"Got {est.x_distribution!r} instead."
        )


def _check_real(value: Any, name: str, owner: str, other: str, most: float) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 <= float(value) <= most:
        span = f"[0.0, {most}]" if np.isfinite(most) else "[0.0, inf)"
        raise ValueError(
            f"The {name!r} parameter of {owner} must be {other}a float in the range {span}. "
            f"Got {value!r} instead."
        )
