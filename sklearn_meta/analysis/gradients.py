"""Which way each task pulls the learned prior."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.utils import check_random_state

from sklearn_meta.analysis.learner import Learner, checked_estimator
from sklearn_meta.analysis.rows import Chosen, TaskRows, halves

__all__ = ["GradientConflict", "gradient_conflict", "gradient_distances", "task_gradients"]


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


def gradient_distances(tasks: Any, estimator: Any, random_state: Any = None) -> NDArray[np.float64]:
    """One minus the cosine of task gradients at the learned prior.

    The gradient of a task is that of its loss on all its rows, before anything adapts, with
    respect to theta: d_ij = 1 - g_i . g_j / (|g_i| |g_j|). Learners without an inner loop (such as
    ProtoNet) have the gradient of the meta-loss, with the task's rows as support and as query.

    Parameters
    ----------
    tasks : sequence of tasks
        As :func:`~sklearn_meta.tasks.as_tasks` takes them.
    estimator : meta-learner
        Meta-fitted.
    random_state : int, RandomState instance or None, default=None
        Not used: nothing is left to chance.

    Returns
    -------
    d : ndarray of shape (n_tasks, n_tasks)
        Symmetric, from 0 (the same direction) over 1 (orthogonal, or no gradient at all) to 2
        (opposite); zero on the diagonal.

    Raises
    ------
    TaskError
        If a task cannot be used.
    TypeError
        If the estimator is no meta-learner.
    NotMetaFittedError
        If the estimator has no prior.

    Notes
    -----
    Gradients of few rows are noisy: see `reliability` of :func:`gradient_conflict`. The gradients
    of all tasks are held at once, n_tasks times the meta-parameters.

    Examples
    --------
    >>> from sklearn_meta import MAMLRegressor
    >>> from sklearn_meta.analysis import gradient_distances
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = MAMLRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> gradient_distances(tasks[:3], reg.meta_fit(tasks)).shape
    (3, 3)
    """
    learner = _learner(tasks, estimator, "gradient_distances")
    unit = _units(_gradients(learner, learner.rows.everything))
    d = 1 - np.clip(unit @ unit.T, -1.0, 1.0)
    np.fill_diagonal(d, 0.0)
    return d


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
    learner = _learner(tasks, estimator, "gradient_conflict")
    n = len(learner.rows.tasks)
    if n < 2:
        raise ValueError(f"gradient_conflict compares pairs of tasks; got {n} task.")
    first, second = halves(learner.rows, check_random_state(random_state))
    pair = np.triu_indices(n, 1)
    parts = (learner.rows.everything, first, second)
    G, A, B = (_units(_gradients(learner, part)) for part in parts)
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


def task_gradients(tasks: Any, estimator: Any) -> NDArray[np.float64]:
    """Gradient of the loss of each task with respect to theta, before anything adapts.

    Parameters
    ----------
    tasks : sequence of tasks
        As :func:`~sklearn_meta.tasks.as_tasks` takes them.
    estimator : meta-learner
        Meta-fitted.

    Returns
    -------
    ndarray of shape (n_tasks, n_meta_parameters)
        In the order of `estimator.theta_`, each array in C order.

    Raises
    ------
    TaskError
        If a task cannot be used.
    TypeError
        If the estimator is no meta-learner.
    NotMetaFittedError
        If the estimator has no prior.
    """
    learner = _learner(tasks, estimator, "task_gradients")
    return _gradients(learner, learner.rows.everything).astype(np.float64)


def _learner(tasks: Any, estimator: Any, owner: str) -> Learner:
    est = checked_estimator(estimator, owner)
    return Learner(est, TaskRows.of(tasks, est._target_type))


def _gradients(learner: Learner, chosen: Chosen) -> NDArray[Any]:
    G = None
    for places in learner.chunks(chosen):
        part = learner.gradients(learner.rows.stack(chosen, places, learner.dtype))
        G = np.empty((len(chosen), part.shape[1]), part.dtype) if G is None else G
        G[places] = part
    assert G is not None
    return G


def _units(G: NDArray[Any]) -> NDArray[np.float64]:
    """Rows of length one, or zero where they are."""
    G = G.astype(np.float64, copy=False)
    length = np.linalg.norm(G, axis=1, keepdims=True)
    unit: NDArray[np.float64] = G / np.where(length > 0, length, 1.0)
    return unit
