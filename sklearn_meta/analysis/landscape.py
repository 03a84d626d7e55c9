"""The loss around the way from the prior to what a task adapts to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state

from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.inner.examples import Examples
from sklearn_meta.outer.state import tensors_of
from sklearn_meta.tasks import as_tasks
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.ranges import check_int

__all__ = ["LossLandscape", "loss_landscape"]

Array = NDArray[np.float64]
AT_ONCE = 128  # points of the plane, each a copy of what adapts


@dataclass(frozen=True)
class LossLandscape:
    """Loss on a plane of what adapts, and the path of the inner loop on it.

    Parameters
    ----------
    x, y : ndarray of shape (n_points,)
        Distances from the start, along the way to the end and across it.
    support, query : ndarray of shape (n_points, n_points)
        Task loss at (x[j], y[i]), in the units of meta-training.
    path : ndarray of shape (n_steps + 1, 2)
        Of the inner loop, from the start at (0, 0); its end lies in the plane, what is between is
        projected.
    path_support, path_query : ndarray of shape (n_steps + 1,)
        Loss on the path itself.
    share : float
        Of the squared length of the path's points from the start, what the plane shows.
    """

    x: Array
    y: Array
    support: Array
    query: Array
    path: Array
    path_support: Array
    path_query: Array
    share: float


def loss_landscape(
    estimator: Any, task: Any, *, n_points: int = 21, random_state: Any = None
) -> LossLandscape:
    """Evaluate the loss on the plane through the prior and what a task adapts to.

    The first direction leads from the start of the inner loop to its end, the second is the leading
    one of what the steps between leave over (of chance, where they leave nothing).

    Parameters
    ----------
    estimator : meta-learner
        Meta-fitted, with an inner loop of gradient steps; it stays as it is.
    task : Task, or anything that a sequence of tasks may hold
        With a fixed support.
    n_points : int, default=21
        Along each direction, from half the way before the start to half the way past the end.
    random_state : int, RandomState instance or None, default=None
        Of a second direction of chance.

    Returns
    -------
    LossLandscape
        Losses and path.

    Raises
    ------
    TypeError
        If the estimator is no meta-learner of the package with gradient steps.
    NotMetaFittedError
        If it is not meta-fitted.
    TaskError
        If the task cannot be used.
    ValueError
        If nothing moves, or `n_points` is out of range.

    References
    ----------
    Li, Xu, Taylor, Studer and Goldstein, "Visualizing the Loss Landscape of Neural Nets", NeurIPS
    2018, section 7: planes through optimisation paths.

    Examples
    --------
    >>> from sklearn_meta import MAMLRegressor
    >>> from sklearn_meta.analysis import loss_landscape
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(12, n_rows=20, n_support=5, random_state=0)
    >>> reg = MAMLRegressor(hidden_layer_sizes=8, max_meta_iter=2, random_state=0)
    >>> found = loss_landscape(reg.meta_fit(tasks[:8]), tasks[8], n_points=5, random_state=0)
    >>> found.support.shape, found.path.shape[1]
    ((5, 5), 2)
    """
    n_points = check_int(n_points, "n_points", "loss_landscape", 2)
    algorithm, f, theta, support, query = _parts(estimator, task)
    with torch.enable_grad():
        steps = [
            {k: v.detach() for k, v in phi.items()} for phi in algorithm.path(f, theta, support)
        ]
    points = np.stack([_flat(phi) for phi in steps])
    moves = points - points[0]
    length = float(np.linalg.norm(moves[-1]))
    if length == 0:
        raise ValueError("The inner loop ends where it starts (inner_steps=0?): there is no way.")
    plane = _directions(moves, check_random_state(random_state))
    path = moves @ plane.T
    x = np.linspace(-0.5, 1.5, n_points) * length
    y = np.linspace(-1.0, 1.0, n_points) * length
    grid = np.stack([b * plane[1] + a * plane[0] for b in y for a in x]) + points[0]

    def losses(where: Array, rows: Examples) -> Array:
        found = []
        for begin in range(0, len(where), AT_ONCE):
            phi = _stacked(where[begin : begin + AT_ONCE], steps[0])
            n = len(where[begin : begin + AT_ONCE])
            many = Examples(*(t.expand(n, *t.shape) for t in rows))
            with torch.no_grad():
                found.append(algorithm.risk(f, theta, phi, many).double().numpy())
        return np.concatenate(found)

    total = float((moves**2).sum())
    shape = (n_points, n_points)
    return LossLandscape(
        x,
        y,
        losses(grid, support).reshape(shape),
        losses(grid, query).reshape(shape),
        path,
        losses(points, support),
        losses(points, query),
        float((path**2).sum()) / total,
    )


def _parts(estimator: Any, task: Any) -> Any:
    """Give the algorithm, the network, theta, and the rows as meta-training sees them."""
    name = type(estimator).__name__
    if not isinstance(estimator, BaseMetaLearner) or not hasattr(
        estimator.make_algorithm(), "path"
    ):
        raise TypeError(f"loss_landscape needs a meta-learner with gradient steps; got a {name}.")
    if estimator.meta_state is None:
        raise NotMetaFittedError(f"This {name} is not meta-fitted yet. Call meta_fit(tasks) first.")
    (known,) = as_tasks([task], target_type=estimator.target_type)
    if known.support is None:
        raise TaskError(f"The task has no fixed support (X of shape {known.X.shape}).")
    estimator.meta_state.check_task(known, 0, name)
    own = clone(estimator).fit(known.X_support, known.y_support)
    algorithm, f, arrays, _, scaling, dtype, _ = own._adapted
    X = np.concatenate([dense(known.X_support, dtype), dense(known.X_query, dtype)])
    targets = own.encode_targets(np.concatenate([known.y_support, known.y_query]))
    rows = torch.tensor(scaling.inputs(X))
    y = torch.tensor(scaling.targets(targets), dtype=rows.dtype)
    n, weight = len(known.y_support), torch.ones(len(rows), dtype=rows.dtype)
    theta = tensors_of(arrays, torch.device("cpu"), rows.dtype)
    support, query = Examples(rows[:n], y[:n], weight[:n]), Examples(rows[n:], y[n:], weight[n:])
    return algorithm, f, theta, support, query


def _flat(phi: dict[str, torch.Tensor]) -> Array:
    return np.concatenate([v.double().numpy().ravel() for v in phi.values()])


def _stacked(where: Array, like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    sizes = [v.numel() for v in like.values()]
    parts = np.split(where, np.cumsum(sizes)[:-1], axis=1)
    pairs = zip(like.items(), parts, strict=True)
    return {
        k: torch.tensor(part, dtype=v.dtype).reshape(len(where), *v.shape) for (k, v), part in pairs
    }


def _directions(moves: Array, rng: np.random.RandomState) -> Array:
    first = moves[-1] / np.linalg.norm(moves[-1])
    left = moves - np.outer(moves @ first, first)
    if np.linalg.norm(left) > 1e-6 * np.linalg.norm(moves):
        second = np.linalg.svd(left, full_matrices=False)[2][0]
    else:
        second = rng.standard_normal(moves.shape[1])
    second = second - (second @ first) * first
    return np.stack([first, second / np.linalg.norm(second)])
