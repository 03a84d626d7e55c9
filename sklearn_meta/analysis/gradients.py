"""Which way each task pulls the learned prior."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.analysis.learner import Learner, checked_estimator
from sklearn_meta.analysis.rows import Chosen, TaskRows

__all__ = ["gradient_distances", "gradients_of", "learner_of", "task_gradients", "units"]


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
    Gradients of few rows are noisy. The gradients of all tasks are held at once, n_tasks times the
    meta-parameters.

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
    learner = learner_of(tasks, estimator, "gradient_distances")
    unit = units(gradients_of(learner, learner.rows.everything))
    d = 1 - np.clip(unit @ unit.T, -1.0, 1.0)
    np.fill_diagonal(d, 0.0)
    return d


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
    learner = learner_of(tasks, estimator, "task_gradients")
    return gradients_of(learner, learner.rows.everything).astype(np.float64)


def learner_of(tasks: Any, estimator: Any, owner: str) -> Learner:
    """Check tasks and a meta-fitted estimator.

    Parameters
    ----------
    tasks : sequence of tasks
        As given by the user.
    estimator : meta-learner
        Likewise.
    owner : str
        Who asks, for errors.

    Returns
    -------
    Learner
        Of these tasks.
    """
    est = checked_estimator(estimator, owner)
    return Learner(est, TaskRows.of(tasks, est.target_type))


def gradients_of(learner: Learner, chosen: Chosen) -> NDArray[Any]:
    """Stack the gradients of all tasks.

    Parameters
    ----------
    learner : Learner
        Of the tasks.
    chosen : list of ndarray of int
        Which rows of each.

    Returns
    -------
    ndarray of shape (n_tasks, n_meta_parameters)
        In the order of the tasks.
    """
    G = None
    for places in learner.chunks(chosen):
        part = learner.gradients(learner.rows.stack(chosen, places, learner.dtype))
        G = np.empty((len(chosen), part.shape[1]), part.dtype) if G is None else G
        G[places] = part
    assert G is not None
    return G


def units(G: NDArray[Any]) -> NDArray[np.float64]:
    """Bring rows to length one.

    Parameters
    ----------
    G : ndarray of shape (n, d)
        Rows.

    Returns
    -------
    ndarray of shape (n, d)
        Zero where they are zero.
    """
    G = G.astype(np.float64, copy=False)
    length = np.linalg.norm(G, axis=1, keepdims=True)
    unit: NDArray[np.float64] = G / np.where(length > 0, length, 1.0)
    return unit
