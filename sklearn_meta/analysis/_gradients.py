"""Gradients of tasks at the learned prior, and parameters that tasks adapt to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import cosine_distances

from sklearn_meta.analysis._stacks import Learner
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.nn.backbone import BODY

__all__ = ["gradient_distances", "parameter_distances", "task_gradients"]

Floats = NDArray[np.float64]


def task_gradients(tasks: Any, estimator: BaseMetaLearner) -> NDArray[np.float64]:
    """Compute the gradient of the loss of each task with respect to theta, before adapting.

    The loss is that on all rows of the task. Learners without an inner loop (such as ProtoNet)
    have the gradient of the meta-loss, with the rows of the task as support and as query.

    Parameters
    ----------
    tasks : sequence of tasks
        Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.
    estimator : meta-learner
        Meta-fitted estimator.

    Returns
    -------
    ndarray of shape (n_tasks, n_meta_parameters)
        In the order of `estimator.theta_`, each array in C order.

    Raises
    ------
    TaskError
        If a task is invalid.
    TypeError
        If the estimator is not a meta-learner.
    NotMetaFittedError
        If the estimator is not meta-fitted.
    """
    return _gradients(Learner(tasks, estimator, "task_gradients"))


def gradient_distances(
    tasks: Any, estimator: BaseMetaLearner, random_state: Any = None
) -> NDArray[np.float64]:
    """One minus the cosine of task gradients at the learned prior.

    d_ij = 1 - g_i . g_j / (|g_i| |g_j|), with the gradients of :func:`task_gradients`.

    Parameters
    ----------
    tasks : sequence of tasks
        Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.
    estimator : meta-learner
        Meta-fitted estimator.
    random_state : int, RandomState instance or None, default=None
        Ignored: the result is deterministic.

    Returns
    -------
    d : ndarray of shape (n_tasks, n_tasks)
        Symmetric, from 0 (the same direction) over 1 (orthogonal, or no gradient at all) to 2
        (opposite); zero on the diagonal.

    Raises
    ------
    TaskError
        If a task is invalid.
    TypeError
        If the estimator is not a meta-learner.
    NotMetaFittedError
        If the estimator is not meta-fitted.

    Notes
    -----
    Gradients of a few rows are noisy. The gradients of all tasks are in memory at once: n_tasks
    times the number of meta-parameters.

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
    d: Floats = cosine_distances(_gradients(Learner(tasks, estimator, "gradient_distances")))
    return d


def parameter_distances(
    tasks: Any, estimator: BaseMetaLearner, random_state: Any = None
) -> NDArray[np.float64]:
    """Relative Euclidean distance between the parameters that tasks adapt to, on all their rows.

    d_ij = |phi_i - phi_j| / ((|phi_i| + |phi_j|) / 2), over all parameters that adapt. If labels
    are local to a task, the parameters of classes (rows of an output layer, prototypes) are
    compared under the one-to-one assignment of classes with the smallest distance, and a class
    without a partner is compared to zero. If labels mean the same in all tasks, the same labels are
    compared.

    Parameters
    ----------
    tasks : sequence of tasks
        Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.
    estimator : meta-learner
        Meta-fitted estimator.
    random_state : int, RandomState instance or None, default=None
        Ignored: the result is deterministic.

    Returns
    -------
    d : ndarray of shape (n_tasks, n_tasks)
        Symmetric, from 0 to 2; zero on the diagonal.

    Raises
    ------
    TaskError
        If a task is invalid.
    TypeError
        If the estimator is not a meta-learner.
    NotMetaFittedError
        If the estimator is not meta-fitted.

    Notes
    -----
    The adapted parameters of all tasks are in memory at once.

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
    shared, of_classes = _adapted_parameters(Learner(tasks, estimator, "parameter_distances"))
    squares = cdist(shared, shared, "sqeuclidean") + _matched_squares(of_classes)
    norms = np.sqrt((shared**2).sum(axis=1) + (of_classes**2).sum(axis=(1, 2)))
    mean = (norms[:, None] + norms) / 2
    d = np.sqrt(squares) / np.where(mean > 0, mean, 1.0)
    np.fill_diagonal(d, 0.0)
    return d


def _gradients(learner: Learner) -> Floats:
    """Gradients of all rows of each task, (n_tasks, n_meta_parameters)."""
    rows = learner.rows.all_rows
    chunks = [(i, learner.gradients(rows, i)) for i in learner.chunks(rows)]
    G = np.empty((len(rows), chunks[0][1].shape[1]))
    for i, part in chunks:
        G[i] = part
    return G


def _adapted_parameters(learner: Learner) -> tuple[Floats, Floats]:
    """Return the parameters of tasks (T, p), and those of their classes (T, n_way, q)."""
    rows, n_columns = learner.rows, learner.rows.n_columns
    local = rows.labels is not None and learner.label_space.classes is None
    choice, chunks = rows.all_rows, []
    for places in learner.chunks(choice):
        phi = learner.adapt(choice, places).phi
        phi = learner.algorithm.parameters(learner.start, phi)
        n, width = len(places), int(n_columns[places].max())
        numbers = {k: p.detach().cpu().double() for k, p in phi.items() if p.is_floating_point()}
        class_names = [k for k in numbers if local and not k.startswith(BODY)]
        whole = [p.flatten(1).numpy() for k, p in numbers.items() if k not in class_names]
        each = [numbers[k].reshape(n, width, -1).numpy() for k in class_names]
        shared = np.concatenate([np.zeros((n, 0)), *whole], axis=1)
        of_classes = np.concatenate([np.zeros((n, width, 0)), *each], axis=2)
        of_classes *= (np.arange(width) < n_columns[places][:, None])[..., None]
        chunks.append((places, shared, of_classes))
    all_shared = np.empty((len(choice), chunks[0][1].shape[1]))
    all_of_classes = np.zeros((len(choice), int(n_columns.max()), chunks[0][2].shape[2]))
    for places, shared, of_classes in chunks:
        all_shared[places], all_of_classes[places, : of_classes.shape[1]] = shared, of_classes
    return all_shared, all_of_classes


def _matched_squares(C: Floats) -> Floats:
    """Squared distances of C (T, n_way, q) under the best assignment of classes, (T, T)."""
    squares = np.zeros((len(C), len(C)))
    if not C.shape[2]:
        return squares
    for i in range(len(C)):
        # (tasks behind i, classes of i, classes of theirs)
        cost = np.stack([((C[i + 1 :] - c[None, None]) ** 2).sum(-1) for c in C[i]], axis=1)
        for j, square in enumerate(cost, i + 1):
            a, b = linear_sum_assignment(square)
            squares[i, j] = squares[j, i] = square[a, b].sum()
    return squares
