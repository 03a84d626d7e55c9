"""How far apart tasks end up in the space of adapted parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from sklearn_meta.analysis.learner import Learner, checked_estimator
from sklearn_meta.analysis.rows import TaskRows

__all__ = ["parameter_distances"]


def parameter_distances(
    tasks: Any, estimator: Any, random_state: Any = None
) -> NDArray[np.float64]:
    """Relative Euclidean distance between what tasks adapt to, on all their rows.

    d_ij = |phi_i - phi_j| / ((|phi_i| + |phi_j|) / 2), over all that adapts. What belongs to a
    class (rows of an output layer, prototypes) is compared under the one-to-one assignment of
    classes of smallest distance, for labels are names local to a task; a class without a partner
    is compared to zero.

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
        Symmetric, from 0 to 2; zero on the diagonal.

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
    The adapted parameters of all tasks are held at once.

    Examples
    --------
    >>> from sklearn_meta import MAMLRegressor
    >>> from sklearn_meta.analysis import parameter_distances
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = MAMLRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> parameter_distances(tasks[:3], reg.meta_fit(tasks)).shape
    (3, 3)
    """
    est = checked_estimator(estimator, "parameter_distances")
    rows = TaskRows.of(tasks, est.target_type)
    shared, of_class = _adapted(Learner(est, rows), rows)
    squares = cdist(shared, shared, "sqeuclidean") + _matched(of_class, rows)
    norms = np.sqrt((shared**2).sum(1) + (0.0 if of_class is None else (of_class**2).sum((1, 2))))
    mean = (norms[:, None] + norms) / 2
    d = np.sqrt(squares) / np.where(mean > 0, mean, 1.0)
    np.fill_diagonal(d, 0.0)
    return d


def _adapted(
    learner: Learner, rows: TaskRows
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Give what a task has as a whole (T, p), and what it has for each class (T, n_way, q)."""
    n_tasks, n_way = len(rows.tasks), int(rows.n_columns.max())
    shared, of_class = None, None
    for places in learner.chunks(rows.everything):
        phi, _, part = learner.adapt(rows.stack(rows.everything, places, learner.dtype))
        width = part.y.shape[-1]
        numbers = {k: p.detach().cpu().double() for k, p in phi.items() if p.is_floating_point()}
        own = [k for k in numbers if rows.labels is not None and not k.startswith("backbone.")]
        whole = [p.flatten(1).numpy() for k, p in numbers.items() if k not in own]
        each = [numbers[k].reshape(len(places), width, -1).numpy() for k in own]
        if shared is None:
            shared = np.zeros((n_tasks, sum(p.shape[1] for p in whole)))
            if each:
                of_class = np.zeros((n_tasks, n_way, sum(p.shape[2] for p in each)))
        if whole:
            shared[places] = np.concatenate(whole, axis=1)
        if of_class is not None:
            there = np.arange(width) < rows.n_columns[places][:, None]
            of_class[places, :width] = np.concatenate(each, axis=2) * there[..., None]
    assert shared is not None
    return shared, of_class


def _matched(C: NDArray[np.float64] | None, rows: TaskRows) -> NDArray[np.float64] | float:
    """Squared distances under the best assignment of classes."""
    if C is None:
        return 0.0
    n_tasks = len(C)
    found = np.zeros((n_tasks, n_tasks))
    for i in range(n_tasks):
        # (tasks behind i, classes of i, classes of theirs)
        cost = np.stack([((C[i + 1 :] - c[None, None]) ** 2).sum(-1) for c in C[i]], axis=1)
        for j, square in enumerate(cost, i + 1):
            a, b = linear_sum_assignment(square)
            found[i, j] = found[j, i] = square[a, b].sum()
    return found
