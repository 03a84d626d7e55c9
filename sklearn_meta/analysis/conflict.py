"""How many pairs of tasks pull the learned prior apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state

from sklearn_meta.analysis._gradients import gradients_of
from sklearn_meta.analysis._stacks import Learner

__all__ = ["GradientConflict", "gradient_conflict"]


class GradientConflict(NamedTuple):
    """How many pairs of tasks pull the prior apart.

    Attributes
    ----------
    share : float
        Of pairs whose gradients point away from each other, with the noise of few rows taken out.
    raw : float
        Of pairs with a negative cosine of the gradients on all rows. Noise draws it towards .5.
    reliability : float
        Mean over tasks of the cosine between the gradients on two halves of a task's rows.
    """

    share: float
    raw: float
    reliability: float


def gradient_conflict(tasks: Any, estimator: Any, random_state: Any = None) -> GradientConflict:
    """Count the pairs of tasks whose gradients at the prior point away from each other.

    Noise alone makes half of all pairs conflict, which hides that tasks agree. So the rows of each
    task are cut into two halves at random, which gives two cosines a_ij and b_ij a pair, whose
    noises are independent: their mean m, and their covariance v over pairs, are those of the true
    cosines. The share is that of a normal distribution below zero, Phi(-m / v^.5): 0 or 1 if v is
    not positive.

    Parameters
    ----------
    tasks : sequence of tasks
        At least two.
    estimator : meta-learner
        Meta-fitted.
    random_state : int, RandomState instance or None, default=None
        Cuts tasks into halves.

    Returns
    -------
    GradientConflict
        A named tuple of numbers.

    Raises
    ------
    ValueError
        If there are fewer than two tasks.
    TaskError
        If a task cannot be used, or cut into halves.
    TypeError
        If the estimator is no meta-learner.
    NotMetaFittedError
        If the estimator has no prior.

    References
    ----------
    Yu, Kumar, Gupta, Levine, Hausman and Finn, "Gradient Surgery for Multi-Task Learning",
    NeurIPS 2020, definition 1 (conflicting gradients).

    Examples
    --------
    >>> from sklearn_meta import MAMLRegressor
    >>> from sklearn_meta.analysis import gradient_conflict
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = MAMLRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> found = gradient_conflict(tasks, reg.meta_fit(tasks), random_state=0)
    >>> 0 <= found.share <= 1
    True
    """
    learner = Learner(tasks, estimator, "gradient_conflict")
    n = len(learner.rows.tasks)
    if n < 2:
        raise ValueError(f"gradient_conflict compares pairs of tasks; got {n} task.")
    first, second = learner.rows.halves(check_random_state(random_state))
    pair = np.triu_indices(n, 1)
    parts = (learner.rows.all_rows, first, second)
    G, A, B = (normalize(gradients_of(learner, part)) for part in parts)
    a, b, c = A @ A.T, B @ B.T, A @ B.T
    # both ways to make two cosines of a pair that have no row in common
    one = np.concatenate([a[pair], c[pair]])
    other = np.concatenate([b[pair], c.T[pair]])
    return GradientConflict(
        share=_below_zero(one, other),
        raw=float(((G @ G.T)[pair] < 0).mean()),
        reliability=float(np.diag(c).mean()),
    )


def _below_zero(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Share of a normal distribution below zero, from two noisy copies of draws from it."""
    mean = (a.mean() + b.mean()) / 2
    variance = ((a - a.mean()) * (b - b.mean())).mean()
    if variance > 0:
        return float(norm.cdf(-mean / np.sqrt(variance)))
    return float(mean < 0)
