"""What one inner step of MAML can reach on linear tasks, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sklearn_meta.analysis.linear_tasks import check_number
from sklearn_meta.parameters import check_parameter, integer

__all__ = ["MAMLRisk", "maml_risk"]

OWNER = "maml_risk"


@dataclass(frozen=True)
class MAMLRisk:
    """Risk of one inner step at the step asked for and at the best one; prints as words.

    Parameters
    ----------
    inner_lr, risk : float
        The step, on half the mean squared error, and the mean squared error beyond the noise.
    best_inner_lr, best_risk : float
        The step of least risk, and that risk.
    start : float
        The risk before the step: tr(Sigma) + |theta - mu|^2.
    """

    inner_lr: float
    risk: float
    best_inner_lr: float
    best_risk: float
    start: float

    def __str__(self) -> str:
        return (
            f"One step of {self.inner_lr:.4g} takes the error beyond the noise from "
            f"{self.start:.4g} to {self.risk:.4g}; the best step, {self.best_inner_lr:.4g}, "
            f"takes it to {self.best_risk:.4g}."
        )


def maml_risk(
    covariance: ArrayLike,
    noise: float,
    n_support: int,
    *,
    inner_lr: float | None = None,
    offset: ArrayLike = 0.0,
) -> MAMLRisk:
    r"""Risk of one gradient step on the support, for linear tasks with rows x ~ N(0, I).

    A task has :math:`w \sim (\mu, \Sigma)`, noise of variance :math:`\sigma^2` and n support rows;
    the step is on :math:`|Xw - y|^2 / (2n)` from :math:`\theta`. Then, exactly,

    .. math:: E|\theta' - w|^2 = (1 - 2\alpha + \alpha^2 (1 + (d + 1) / n))\,
        (\operatorname{tr}\Sigma + |\theta - \mu|^2) + \alpha^2 \sigma^2 d / n.

    The best start is :math:`\mu`. On the mean squared error without the half, as the package's
    learners take it, the same step has half this rate.

    Parameters
    ----------
    covariance : array-like of shape (d, d)
        :math:`\Sigma`, of the coefficients over tasks, such as
        `variance_components(tasks, fit_intercept=False).covariance`.
    noise : float
        :math:`\sigma^2`, the variance (not the standard deviation) of the noise.
    n_support : int
        Rows of support.
    inner_lr : float, default=None
        The step :math:`\alpha`; None is the best one.
    offset : array-like of shape (d,), or 0
        :math:`\theta - \mu`, how far the start is from the best.

    Returns
    -------
    MAMLRisk
        Risks are mean squared errors of predictions, beyond the noise.

    Raises
    ------
    ValueError
        If the shapes do not match, `covariance` is not symmetric with a trace of at least 0, or a
        number is out of its range.

    Examples
    --------
    >>> from sklearn_meta.analysis import maml_risk
    >>> print(maml_risk([[0.5, 0, 0], [0, 1.5, 0], [0, 0, 3.0]], noise=0.7, n_support=8))
    One step of 0.6441 takes the error beyond the noise from 5 to 1.779; the best step, 0.6441,
    takes it to 1.779.
    """
    sigma, shift = np.asarray(covariance, dtype=np.float64), np.asarray(offset, dtype=np.float64)
    square = sigma.ndim == 2 and sigma.shape[0] == sigma.shape[1] and sigma.size > 0
    if not square or not np.allclose(sigma, sigma.T) or not np.trace(sigma) >= 0:
        raise ValueError(
            f"{OWNER}: covariance must be a symmetric matrix (d, d) with a trace of at least 0; "
            f"got shape {sigma.shape}."
        )
    d = len(sigma)
    if shift.ndim and shift.shape != (d,):
        raise ValueError(
            f"{OWNER}: offset must have one entry a coefficient; got shape {shift.shape} with "
            f"covariance of shape {sigma.shape}."
        )
    if noise != 0:
        check_number(noise, "noise", OWNER)
    n = int(check_parameter("n_support", n_support, integer(1), OWNER))
    start = float(np.trace(sigma) + np.sum(np.broadcast_to(shift, d) ** 2))
    curve, scatter = 1 + (d + 1) / n, noise * d / n

    def risk(step: float) -> float:
        return (1 - 2 * step + step**2 * curve) * start + step**2 * scatter

    best = start / (curve * start + scatter) if start > 0 else 0.0
    step = best if inner_lr is None else check_number(inner_lr, "inner_lr", OWNER)
    return MAMLRisk(step, risk(step), best, risk(best), start)
