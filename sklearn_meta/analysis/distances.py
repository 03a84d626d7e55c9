"""How far apart tasks are, by any of several metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sklearn_meta.analysis.gradients import gradient_distances
from sklearn_meta.analysis.logme_distances import logme_distances
from sklearn_meta.analysis.meta_features import meta_feature_distances
from sklearn_meta.analysis.mmd import mmd_distances
from sklearn_meta.analysis.otdd import otdd_distances
from sklearn_meta.analysis.parameters import parameter_distances
from sklearn_meta.analysis.table import asked_kind, is_real
from sklearn_meta.analysis.task2vec import task2vec_distances
from sklearn_meta.analysis.transfer import transfer_distances
from sklearn_meta.outer.episodes import check_same_rows
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.validate import label

__all__ = ["METRICS", "cross_distances", "known_tasks", "task_distances"]

METRICS: dict[str, Callable[..., NDArray[np.float64]]] = {
    "gradient": gradient_distances,
    "logme": logme_distances,
    "meta_features": meta_feature_distances,
    "mmd": mmd_distances,
    "otdd": otdd_distances,
    "parameter": parameter_distances,
    "task2vec": task2vec_distances,
    "transfer": transfer_distances,
}
"""Each metric by name: a function of (tasks, estimator, rng) that gives (n_tasks, n_tasks)."""

ASYMMETRIC = frozenset({"logme", "transfer"})  # d_ij is what task i is worth to task j
NEED_ESTIMATOR = frozenset({"gradient", "parameter"})


def task_distances(
    tasks: Any,
    *,
    metric: str | Callable[[Task, Task], float],
    estimator: Any = None,
    random_state: int | np.random.RandomState | None = None,
    metric_params: Mapping[str, Any] | None = None,
) -> NDArray[np.float64]:
    """Measure how far apart each two tasks are.

    Parameters
    ----------
    tasks : sequence of tasks
        As :func:`~sklearn_meta.tasks.as_tasks` takes them, with rows of one shape; they may differ
        in their number of rows and in their labels. All rows of a task count, support or not.
    metric : str or callable
        A name of `METRICS`, or a function of two tasks that gives a number; it is called for each
        ordered pair, a task with itself included, and its values are kept as they are.
    estimator : object, default=None
        Meta-fitted; needed by "gradient" and "parameter", and used by "logme", "task2vec" and
        "transfer". To the others only its kind counts: whether `y` are labels or targets.
    random_state : int, RandomState or None, default=None
        What chance there is in a metric.
    metric_params : dict, default=None
        Further arguments of the metric.

    Returns
    -------
    ndarray of shape (n_tasks, n_tasks)
        Zero on the diagonal and symmetric, except that entry (i, j) of "logme" and "transfer" is
        what is lost by going from task i to task j, which need not be that from j to i.

    Raises
    ------
    TaskError
        If a task cannot be used, or not together with the others; the message names it.
    ValueError
        If there is no such metric, it needs an estimator, or gives no distances.
    ImportError
        If the metric needs a package that is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis import task_distances
    >>> rng = np.random.RandomState(0)
    >>> tasks = [(rng.normal(m, 1, (30, 2)), rng.randint(0, 2, 30)) for m in (0, 0, 3)]
    >>> task_distances(tasks, metric="mmd").round(1)
    array([[0. , 0. , 0.9],
           [0. , 0. , 0.9],
           [0.9, 0.9, 0. ]])
    """
    found, _ = known_tasks(tasks, estimator, metric_params)
    if callable(metric):
        _refuse_params(metric_params)
        return _each_pair(found, found, metric)
    function = _function(metric, estimator, metric_params)
    rng = check_random_state(random_state)
    return _checked(function(found, estimator, rng, **(metric_params or {})), metric, len(found))


def cross_distances(
    tasks: Any,
    new: Any,
    *,
    metric: str | Callable[[Task, Task], float],
    estimator: Any = None,
    random_state: int | np.random.RandomState | None = None,
    metric_params: Mapping[str, Any] | None = None,
    symmetric: bool = False,
) -> NDArray[np.float64]:
    """Measure how far new tasks are from known ones, in units that the known ones set.

    Parameters
    ----------
    tasks, new : sequence of tasks
        The known ones, whose targets say what those of the new ones are, and the new ones.
    metric, estimator, random_state, metric_params : object
        As of :func:`task_distances`.
    symmetric : bool, default=False
        Average both directions.

    Returns
    -------
    ndarray of shape (n_tasks, n_new)
        From each known task to each new one. It does not depend on which other tasks are new.

    Raises
    ------
    TaskError
        If the tasks cannot be used together.
    ValueError
        If there is no such metric, it needs an estimator, or gives no distances.
    """
    params = dict(metric_params or {})
    known, kind = known_tasks(tasks, estimator, params)
    unknown = as_tasks(new, target_type=kind)
    m, together, rng = len(known), (*known, *unknown), check_random_state(random_state)
    check_same_rows(unknown[0], known[0], "Task 0 of the new tasks", "the known ones")
    if callable(metric):
        _refuse_params(metric_params)
        there = _each_pair(known, unknown, metric)
        back = _each_pair(unknown, known, metric).T if symmetric else there
        return (there + back) / 2
    function = _function(metric, estimator, metric_params)
    for name, value in {"n_reference": m, "target_type": kind}.items():
        if name in signature(function).parameters:
            params[name] = value
    found = np.asarray(function(together, estimator, rng, **params))
    there, back = found[:m, m:], found[m:, :m].T
    there = (there + back) / 2 if symmetric else there
    _check_finite(there, metric)
    return there


def known_tasks(
    tasks: Any, estimator: Any, metric_params: Mapping[str, Any] | None
) -> tuple[tuple[Task, ...], str]:
    """Check tasks, and say what their targets are.

    Parameters
    ----------
    tasks, estimator, metric_params : object
        As of :func:`task_distances`.

    Returns
    -------
    tasks : tuple of Task
        Checked.
    kind : {"class", "real"}
        What `y` holds.

    Raises
    ------
    TaskError
        If the tasks cannot be used together.
    """
    target_type = (metric_params or {}).get("target_type")
    found = as_tasks(tasks, target_type=asked_kind(estimator, target_type))
    return found, "real" if is_real(found, estimator, target_type) else "class"


def _function(
    metric: str, estimator: Any, params: Mapping[str, Any] | None
) -> Callable[..., NDArray[np.float64]]:
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {sorted(METRICS)} or callable; got {metric!r}.")
    if metric in NEED_ESTIMATOR and estimator is None:
        raise ValueError(f"metric={metric!r} needs a meta-fitted estimator: estimator=...")
    taken = list(signature(METRICS[metric]).parameters)[3:]
    unknown = sorted(set(params or {}) - set(taken))
    if unknown:
        raise ValueError(f"metric={metric!r} takes the metric_params {taken}; got {unknown}.")
    return METRICS[metric]


def _refuse_params(params: Mapping[str, Any] | None) -> None:
    if params:
        raise ValueError(f"metric_params are for named metrics; got {sorted(params)}.")


def _each_pair(
    tasks: Sequence[Task], others: Sequence[Task], metric: Callable[[Task, Task], float]
) -> NDArray[np.float64]:
    distances = np.empty((len(tasks), len(others)))
    for i, a in enumerate(tasks):
        for j, b in enumerate(others):
            value = np.asarray(metric(a, b))
            if value.size != 1:
                raise ValueError(
                    f"metric must give a number; for {label(a, i)} and {label(b, j)} it gave an "
                    f"array of shape {value.shape}."
                )
            distances[i, j] = value.item()
    return distances


def _checked(distances: Any, metric: str, n: int) -> NDArray[np.float64]:
    """Hold distances against what the metric claims, and take rounding away."""
    distances = np.array(distances, dtype=np.float64)
    if distances.shape != (n, n):
        raise ValueError(
            f"metric={metric!r} gave distances of shape {distances.shape} for {n} tasks."
        )
    _check_finite(distances, metric)
    if metric not in ASYMMETRIC:
        if not np.allclose(distances, distances.T, atol=1e-6 * np.abs(distances).max()):
            raise ValueError(f"metric={metric!r} gave distances that are not symmetric.")
        distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0.0)
    return distances


def _check_finite(distances: NDArray[np.float64], metric: str) -> None:
    bad = np.argwhere(~np.isfinite(distances))
    if len(bad):
        i, j = bad[0]
        raise ValueError(f"metric={metric!r} gave {distances[i, j]} for the tasks {i} and {j}.")
