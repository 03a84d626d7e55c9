"""The tasks that are most like a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.analysis.distances import cross_distances, known_tasks
from sklearn_meta.tasks import Task

__all__ = ["nearest_tasks", "select_tasks"]


def nearest_tasks(
    tasks: Any,
    task: Any,
    n: int = 5,
    *,
    metric: str | Callable[[Task, Task], float],
    estimator: Any = None,
    random_state: int | np.random.RandomState | None = None,
    metric_params: Mapping[str, Any] | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the tasks nearest to one.

    Parameters
    ----------
    tasks : sequence of tasks
        Where to look, as :func:`~sklearn_meta.tasks.as_tasks` takes them.
    task : Task or (X, y)
        The one.
    n : int, default=5
        How many to find; all if there are fewer.
    metric, estimator, random_state, metric_params : object
        As of :func:`task_distances`. By "logme" and "transfer" the nearest lose least on the way
        from them to `task`.

    Returns
    -------
    places : ndarray of int of shape (n,)
        Positions in `tasks`, the nearest first.
    distances : ndarray of float of shape (n,)
        Theirs.

    Raises
    ------
    TaskError
        If a task cannot be used, or not together with the others.
    ValueError
        If `n` is not positive, or the metric cannot be had.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis import nearest_tasks
    >>> rng = np.random.RandomState(0)
    >>> tasks = [(rng.normal(m, 1, (30, 2)), rng.randint(0, 2, 30)) for m in (0, 3, 9)]
    >>> places, _ = nearest_tasks(tasks, (rng.normal(8, 1, (20, 2)), np.arange(20) % 2), 2,
    ...                           metric="otdd")
    >>> places
    array([2, 1])
    """
    if not n >= 1:
        raise ValueError(f"n must be a positive int; got {n!r}.")
    asked = {"estimator": estimator, "random_state": random_state, "metric_params": metric_params}
    distances = cross_distances(tasks, [task], metric=metric, **asked)[:, 0]
    order = np.argsort(distances, kind="stable")[: int(n)]
    return order, distances[order]


def select_tasks(
    tasks: Any,
    like: Any,
    *,
    n: int | None = None,
    quantile: float | None = None,
    metric: str | Callable[[Task, Task], float],
    estimator: Any = None,
    random_state: int | np.random.RandomState | None = None,
    metric_params: Mapping[str, Any] | None = None,
) -> list[Task]:
    """Keep the tasks that are most like some, to meta-train on the related ones only.

    Parameters
    ----------
    tasks : sequence of tasks
        To choose from, as :func:`~sklearn_meta.tasks.as_tasks` takes them.
    like : Task, (X, y), or sequence of these
        What they are to be like: a task counts by its distance to the nearest of these.
    n : int, default=None
        How many to keep; all if there are fewer.
    quantile : float in (0, 1], default=None
        Which share to keep, rounded up. Give this or `n`.
    metric, estimator, random_state, metric_params : object
        As of :func:`task_distances`.

    Returns
    -------
    list of Task
        In the order in which they were given.

    Raises
    ------
    TaskError
        If a task cannot be used, or not together with the others.
    ValueError
        If both or neither of `n` and `quantile` are given, or out of range, or the metric cannot
        be had.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis import select_tasks
    >>> rng = np.random.RandomState(0)
    >>> tasks = [(rng.normal(m, 1, (30, 2)), rng.randint(0, 2, 30)) for m in (0, 3, 0, 3)]
    >>> kept = select_tasks(tasks, like=tasks[1], quantile=0.5, metric="mmd")
    >>> [bool(task.X.mean() > 1.5) for task in kept]
    [True, True]
    """
    if (n is None) == (quantile is None):
        raise ValueError(f"Give n or quantile; got n={n!r} and quantile={quantile!r}.")
    if n is not None and not n >= 1:
        raise ValueError(f"n must be a positive int; got {n!r}.")
    if quantile is not None and not 0 < quantile <= 1:
        raise ValueError(f"quantile must be in (0, 1]; got {quantile!r}.")
    found, _ = known_tasks(tasks, estimator, metric_params)
    single = isinstance(like, Task) or (isinstance(like, tuple) and len(like) in (2, 4))
    wanted = [like] if single and not _of_tasks(like) else like
    asked = {"estimator": estimator, "random_state": random_state, "metric_params": metric_params}
    distances = cross_distances(found, wanted, metric=metric, **asked).min(axis=1)
    most = n if quantile is None else int(np.ceil(quantile * len(found)))
    kept = np.argsort(distances, kind="stable")[:most]
    return [found[i] for i in np.sort(kept)]


def _of_tasks(like: Any) -> bool:
    """Whether a tuple holds tasks, rather than the arrays of one."""
    return isinstance(like, tuple) and all(isinstance(item, (Task, tuple)) for item in like)
