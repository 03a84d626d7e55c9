"""The MLAP bound of ridge toward a learned centre, with every expectation in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from sklearn_meta.analysis.bounds import MLAPBound, gaussian_kl, mlap_bound
from sklearn_meta.analysis.linear_tasks import (
    Floats,
    LinearTasks,
    check_number,
    linear_tasks,
    quadratic,
)
from sklearn_meta.exceptions import TaskError

__all__ = ["linear_mlap_bound"]

OWNER = "linear_mlap_bound"


def linear_mlap_bound(
    tasks: Any,
    theta: ArrayLike | None = None,
    *,
    tolerance: float | None = None,
    alpha: float = 1.0,
    prior_scale: float = 1.0,
    posterior_scale: float = 0.3,
    hyper_prior_scale: float = 1.0,
    hyper_posterior_scale: float = 0.1,
    fit_intercept: bool = True,
    target_type: str | None = None,
    delta: float = 0.05,
) -> MLAPBound:
    r"""Certificate for a linear learner: a bound on its share of wrong predictions in new tasks.

    The hyper-prior of a prior's centre m is :math:`N(0, \kappa_p^2 I)`, its hyper-posterior
    :math:`N(\theta, \kappa_q^2 I)`, the prior of weights :math:`N(m, s_p^2 I)`. The learner's
    posterior is :math:`N(v(m), s_q^2 I)`, where v(m) is ridge toward m with penalty `alpha`. As v
    is linear in m, the losses and divergences of :func:`mlap_bound` are exact.

    `theta` may be learned from these tasks. All else must be set before seeing them; the tasks
    must be independent, and their features in units fixed beforehand.

    Parameters
    ----------
    tasks : sequence of tasks
        At least 2 of at least 2 rows. Labels must be the same two in all tasks, and the loss is 1
        for a wrong one.
    theta : array-like of shape (p,), default=None
        The centre of the hyper-posterior, the intercept last; None: ridge on the rows of all
        tasks together.
    tolerance : float, default=None
        For regression, which needs it: the loss is 1 where a prediction is further off.
    alpha : float, default=1.0
        The penalty.
    prior_scale, posterior_scale : float, default=1.0 and 0.3
        :math:`s_p` and :math:`s_q`.
    hyper_prior_scale, hyper_posterior_scale : float, default=1.0 and 0.1
        :math:`\kappa_p` and :math:`\kappa_q`.
    fit_intercept, target_type : bool and {"class", "real"}, default=True and None
        Whether to append a constant, and what `y` holds; None: as `as_tasks` reads it.
    delta : float, default=0.05
        Chance that the bound is wrong.

    Returns
    -------
    MLAPBound
        Of the randomised predictor, whose weights are drawn for every prediction.

    Raises
    ------
    TaskError, ValueError
        If tasks cannot be used, labels are not two, `theta` has another shape, `tolerance` is
        missing or superfluous, or a number is out of its range.

    Examples
    --------
    >>> from sklearn_meta.analysis import linear_mlap_bound
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(200, 200, 2, noise=0.1, random_state=0).tasks
    >>> linear_mlap_bound(tasks, tolerance=1.0).vacuous
    False
    """
    scales = {
        "alpha": alpha,
        "prior_scale": prior_scale,
        "posterior_scale": posterior_scale,
        "hyper_prior_scale": hyper_prior_scale,
        "hyper_posterior_scale": hyper_posterior_scale,
    }
    for name, value in scales.items():
        check_number(value, name, OWNER)
    data = linear_tasks(
        tasks, fit_intercept=fit_intercept, target_type=target_type, owner=OWNER, min_tasks=2
    )
    short = [name for name, n in zip(data.names, data.n_rows, strict=True) if n < 2]
    if short:
        raise TaskError(f"{short[0]}: the bound needs tasks of at least 2 rows; it has one.")
    targets = _targets(data, tolerance)
    centre = _centre(data, targets, theta, alpha)
    losses, kl, p = [], [], len(centre)
    base = gaussian_kl(np.zeros(p), posterior_scale, prior_scale)
    for X, y in zip(data.X, targets, strict=True):
        G = X.T @ X + alpha * np.eye(p)
        A = alpha * np.linalg.inv(G)  # v(m) = A m + (X'X + alpha I)^-1 X'y
        mean = A @ centre + np.linalg.solve(G, X.T @ y)
        spread = hyper_posterior_scale**2 * A @ A + posterior_scale**2 * np.eye(p)
        losses.append(_gibbs(X @ mean, np.sqrt(quadratic(X, spread)), y, tolerance))
        moved = np.sum((mean - centre) ** 2)
        moved += hyper_posterior_scale**2 * np.sum((A - np.eye(p)) ** 2)
        kl.append(base + moved / (2 * prior_scale**2))
    hyper = gaussian_kl(centre, hyper_posterior_scale, hyper_prior_scale)
    return mlap_bound(losses, data.n_rows, kl, hyper, delta=delta)


def _targets(data: LinearTasks, tolerance: float | None) -> list[Floats]:
    if data.classes is None:
        if tolerance is None:
            raise ValueError(f"{OWNER}: regression needs a tolerance, in the unit of y; got None.")
        check_number(tolerance, "tolerance", OWNER)
        if data.y[0].shape[1] != 1:
            raise TaskError(
                f"{OWNER} needs one target a row; {data.names[0]} has y of {data.y[0].shape}."
            )
        return [y[:, 0] for y in data.y]
    if tolerance is not None:
        raise ValueError(f"{OWNER}: tolerance is for regression; these tasks have labels.")
    if len(data.classes) != 2:
        raise TaskError(f"{OWNER} needs two classes in all; there are {len(data.classes)}.")
    return [2 * y[:, 1] - 1 for y in data.y]


def _centre(
    data: LinearTasks, targets: list[Floats], theta: ArrayLike | None, alpha: float
) -> Floats:
    p = data.X[0].shape[1]
    if theta is not None:
        centre = np.asarray(theta, dtype=np.float64)
        if centre.shape != (p,) or not np.isfinite(centre).all():
            raise ValueError(
                f"{OWNER}: theta must be finite, one entry a coefficient; got shape "
                f"{centre.shape} for rows of {p} coefficients."
            )
        return centre
    X, y = np.concatenate(data.X), np.concatenate(targets)
    return np.asarray(np.linalg.solve(X.T @ X + alpha * np.eye(p), X.T @ y), dtype=np.float64)


def _gibbs(mean: Floats, scale: Floats, y: Floats, tolerance: float | None) -> float:
    """Chance of a wrong prediction, which is N(mean, scale^2), the mean over rows."""
    scale = np.maximum(scale, np.finfo(float).tiny)
    if tolerance is None:
        return float(np.mean(ndtr(-y * mean / scale)))
    above, below = (y - mean - tolerance) / scale, (mean - y - tolerance) / scale
    return float(np.mean(np.minimum(ndtr(above) + ndtr(below), 1.0)))
