"""Certificates: PAC-Bayes bounds on the risk of new tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sklearn_meta.analysis.linear_tasks import Floats, check_number

__all__ = ["MLAPBound", "gaussian_kl", "mlap_bound"]

OWNER = "mlap_bound"


@dataclass(frozen=True, eq=False)
class MLAPBound:
    """A bound on the mean loss of new tasks, and its three terms; prints as words.

    Parameters
    ----------
    bound : float
        Holds with probability 1 - delta over the tasks and rows seen; says nothing from 1 on.
    empirical : float
        Mean over tasks of the loss on the rows seen.
    task_term : float
        Mean over tasks of what few rows cost.
    environment_term : float
        What few tasks cost.
    task_terms : ndarray of shape (n_tasks,)
        The former, task by task.
    delta : float
        Chance that the bound is wrong.
    """

    bound: float
    empirical: float
    task_term: float
    environment_term: float
    task_terms: Floats
    delta: float

    @property
    def vacuous(self) -> bool:
        """Whether any loss in [0, 1] would satisfy the bound."""
        return self.bound >= 1

    def __str__(self) -> str:
        sure = f"with probability {1 - self.delta:.4g}"
        terms = (
            f"{self.empirical:.3g} on the rows seen + {self.task_term:.3g} for few rows a task + "
            f"{self.environment_term:.3g} for {len(self.task_terms)} tasks"
        )
        if self.vacuous:
            return (
                f"Vacuous: the bound on the loss of new tasks is {self.bound:.3g}, and no loss "
                f"exceeds 1 ({terms})."
            )
        return f"The mean loss of new tasks is at most {self.bound:.3g} {sure} ({terms})."


def mlap_bound(
    losses: ArrayLike,
    n_rows: ArrayLike,
    kl_tasks: ArrayLike,
    kl_hyper: float,
    *,
    delta: float = 0.05,
) -> MLAPBound:
    r"""Compute the PAC-Bayes bound of Amit and Meir on the mean loss of new tasks.

    For losses in [0, 1] and n tasks of :math:`m_i` rows, with probability :math:`1 - \delta`,

    .. math:: \frac1n \sum_i \Bigl[ \hat{er}_i + \sqrt{\frac{D + D_i + \ln(2 n m_i / \delta)}
        {2 (m_i - 1)}} \Bigr] + \sqrt{\frac{D + \ln(2 n / \delta)}{2 (n - 1)}}

    bounds the loss of a new task that is learned from as many rows by the same rule. It holds if
    the tasks are independent draws of one distribution and their rows too, and if the hyper-prior,
    the rule and :math:`\delta` were chosen before they were seen. :func:`linear_mlap_bound` has the
    terms of a linear learner.

    Parameters
    ----------
    losses : array-like of shape (n_tasks,)
        :math:`\hat{er}_i`: mean loss over the rows of a task, over draws of the prior from the
        hyper-posterior and of the weights from the task's posterior (the Gibbs loss; not that of
        the posterior's mean).
    n_rows : int or array-like of int of shape (n_tasks,)
        Rows of each task, at least 2.
    kl_tasks : float or array-like of shape (n_tasks,)
        :math:`D_i`: KL divergence of the task's posterior from the prior, the mean over priors
        drawn from the hyper-posterior.
    kl_hyper : float
        :math:`D`: KL divergence of the hyper-posterior from the hyper-prior, see
        :func:`gaussian_kl`.
    delta : float, default=0.05
        Chance that the bound is wrong.

    Returns
    -------
    MLAPBound
        The bound with its terms, and whether it is vacuous.

    Raises
    ------
    ValueError
        If a loss lies outside [0, 1], shapes differ, a divergence is negative, or there are fewer
        than 2 tasks, or 2 rows of one.

    References
    ----------
    Amit and Meir, "Meta-Learning by Adjusting Priors Based on Extended PAC-Bayes Theory", ICML
    2018, theorem 2.

    Examples
    --------
    >>> from sklearn_meta.analysis import mlap_bound
    >>> print(mlap_bound([0.05] * 100, n_rows=500, kl_tasks=2.0, kl_hyper=1.0))
    The mean loss of new tasks is at most 0.399 with probability 0.95 (0.05 on the rows seen
    + 0.132 for few rows a task + 0.217 for 100 tasks).
    """
    error = np.asarray(losses, dtype=np.float64)
    if error.ndim != 1 or len(error) < 2:
        raise ValueError(f"{OWNER}: losses must hold at least 2 tasks; got shape {error.shape}.")
    bad = np.flatnonzero(~((error >= 0) & (error <= 1)))
    if len(bad):
        raise ValueError(
            f"{OWNER}: the bound is for losses in [0, 1]; losses[{bad[0]}] is {error[bad[0]]:g}."
        )
    check_number(delta, "delta", OWNER, 0, 1)
    rows = _one_each(n_rows, "n_rows", error, 2)
    kl = _one_each(kl_tasks, "kl_tasks", error, 0)
    hyper = float(_one_each(kl_hyper, "kl_hyper", error[:1], 0)[0])
    n = len(error)
    terms = np.sqrt((hyper + kl + np.log(2 * n * rows / delta)) / (2 * (rows - 1)))
    environment = math.sqrt((hyper + math.log(2 * n / delta)) / (2 * (n - 1)))
    empirical, task = float(error.mean()), float(terms.mean())
    return MLAPBound(empirical + task + environment, empirical, task, environment, terms, delta)


def gaussian_kl(offset: ArrayLike, scale: float, prior_scale: float) -> float:
    r"""KL divergence of N(m, scale^2 I) from N(m_0, prior_scale^2 I).

    :math:`|m - m_0|^2 / (2 \kappa_p^2) + d\,(\kappa_q^2 / (2 \kappa_p^2) + \ln(\kappa_p /
    \kappa_q) - 1/2)`. The published code of Amit and Meir lacks the factor d, the dimension,
    without which this is no divergence and the bound does not hold.

    Parameters
    ----------
    offset : array-like of shape (d,)
        Difference of the means, m - m_0.
    scale, prior_scale : float
        Standard deviations.

    Returns
    -------
    float
        The divergence in nats.

    Raises
    ------
    ValueError
        If a scale is not positive.

    Examples
    --------
    >>> from sklearn_meta.analysis import gaussian_kl
    >>> gaussian_kl([1.0, 1.0], 1.0, 1.0)
    1.0
    """
    q = check_number(scale, "scale", "gaussian_kl")
    p = check_number(prior_scale, "prior_scale", "gaussian_kl")
    m = np.asarray(offset, dtype=np.float64)
    each = q**2 / (2 * p**2) + math.log(p / q) - 0.5
    return float(np.sum(m**2) / (2 * p**2) + m.size * each)


def _one_each(values: ArrayLike, name: str, error: Floats, least: float) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim and found.shape != error.shape:
        raise ValueError(
            f"{OWNER}: {name} must be a number or one a task; got shape {found.shape} with losses "
            f"of shape {error.shape}."
        )
    if not np.all(np.isfinite(found)) or np.min(found, initial=np.inf) < least:
        raise ValueError(f"{OWNER}: {name} must be finite and at least {least:g}; got {values!r}.")
    return np.broadcast_to(found, error.shape)
