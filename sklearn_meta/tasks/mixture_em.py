"""EM over the component that each task came from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import label

__all__ = ["alternate", "joint_log_density"]

Array = NDArray[np.float64]


def alternate(
    parts: list[Any],
    learn: list[bool],
    weights: Array,
    share: Array | None,
    tasks: tuple[Task, ...],
    counts: Array,
    max_iter: int,
    tol: float,
) -> tuple[float, list[Any], Array, int]:
    """Run EM from one start.

    Parameters
    ----------
    parts : list of TaskDensity
        The components; those to learn are fitted in place.
    learn : list of bool
        Which to learn.
    weights : ndarray of shape (n_components,)
        To start from, where `share` is None.
    share : ndarray of shape (n_tasks, n_components) or None
        The share of each component in each task, to start from; tasks without any wait.
    tasks : tuple of Task
        The tasks.
    counts : ndarray of shape (n_tasks,)
        How much each counts.
    max_iter : int
        Most steps.
    tol : float
        The end: a step adds less to the mean log density.

    Returns
    -------
    log_prob : float
        The mean log density of a task.
    parts : list of TaskDensity
        The components.
    weights : ndarray of shape (n_components,)
        Their shares.
    n_iter : int
        Steps made.

    Raises
    ------
    TaskError
        If a task has density zero.
    """
    before, step = -np.inf, 0
    while True:
        if share is not None:
            weights = counts @ share / np.sum(counts @ share)
            for k, part in enumerate(parts):
                # a component that no task is left to keeps what it has learned
                if learn[k] and np.sum(counts * share[:, k] > 1e-6) >= 2:
                    part.fit(tasks, sample_weight=counts * share[:, k])
        joint = joint_log_density(parts, weights, tasks)
        total = logsumexp(joint, axis=1)
        now = float(counts @ total / counts.sum())
        if not np.isfinite(now):
            i = int(np.argmin(total))
            raise TaskError(f"{label(tasks[i], i)} has density zero under every component.")
        if now - before < tol or step == max_iter:
            return now, parts, weights, step
        before, step = now, step + 1
        share = np.exp(joint - total[:, None])


def joint_log_density(parts: list[Any], weights: Array, tasks: tuple[Task, ...]) -> Array:
    """Log density of each task and component together.

    Parameters
    ----------
    parts : list of TaskDensity
        The components.
    weights : ndarray of shape (n_components,)
        Their shares.
    tasks : tuple of Task
        The tasks.

    Returns
    -------
    joint : ndarray of shape (n_tasks, n_components)
        Log weight plus log density.
    """
    with np.errstate(divide="ignore"):  # a weight of zero
        log_weights = np.log(weights)
    return np.stack([part.score_samples(tasks) for part in parts], axis=1) + log_weights
