"""Gaussian classes whose centres are new in every task, but which always differ the same way."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sklearn_meta.datasets._params import check_int, check_real, check_support_size
from sklearn_meta.tasks import Task

__all__ = ["make_blob_tasks"]


def make_blob_tasks(
    n_tasks: int = 100,
    n_way: int = 3,
    n_rows: int = 20,
    n_features: int = 8,
    *,
    n_informative: int | None = 2,
    n_shot: int | None = None,
    center_std: float = 3.0,
    cluster_std: float = 1.0,
    nuisance_std: float = 3.0,
    random_state: Any = None,
) -> list[Task]:
    """Draw classification tasks of Gaussian classes, with new centres in every task.

    Each class of each task has a centre drawn from N(0, `center_std`²) in the first
    `n_informative` features; there its rows scatter by `cluster_std`. The remaining features
    scatter by `nuisance_std` whatever the class. So the classes of one task say nothing about
    those of another, but *which features tell classes apart* is the same in all tasks: that is
    what there is to meta-learn, and what the few rows of one support cannot show.

    Parameters
    ----------
    n_tasks : int, default=100
        How many tasks. More tasks of the same seed begin with the same ones.

    n_way : int, default=3
        Classes a task.

    n_rows : int, default=20
        Rows of each class.

    n_features : int, default=8
        Features in all.

    n_informative : int, default=2
        The first so many features separate the classes; None is all of them, which leaves next
        to nothing to meta-learn.

    n_shot : int, default=None
        The first `n_shot` rows of each class become the fixed support. With None no support is
        fixed.

    center_std : float, default=3.0
        Standard deviation of the centres, in each informative feature.

    cluster_std : float, default=1.0
        Standard deviation of a class around its centre, in each informative feature.

    nuisance_std : float, default=3.0
        Standard deviation of every other feature.

    random_state : int, RandomState instance or None, default=None
        The source of chance.

    Returns
    -------
    tasks : list of Task
        `X` of shape (n_way * n_rows, n_features), class after class, and `y` of the labels 0 to
        `n_way` - 1.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    A nearest-neighbour classifier, on all features and on those that matter:

    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_shot=2, random_state=0)
    >>> tasks[0]
    Task(X: (60, 8), y: (60,), support: 6 rows)
    >>> def accuracy(task, features):
    ...     model = KNeighborsClassifier(1).fit(task.X_support[:, features], task.y_support)
    ...     return model.score(task.X_query[:, features], task.y_query)
    >>> everything, informative = slice(None), slice(2)
    >>> print(f"{np.mean([accuracy(task, everything) for task in tasks]):.1f}")
    0.6
    >>> print(f"{np.mean([accuracy(task, informative) for task in tasks]):.1f}")
    0.9
    """
    owner = "make_blob_tasks"
    check_int(n_tasks, "n_tasks", owner, 1)
    check_int(n_way, "n_way", owner, 2)
    check_int(n_rows, "n_rows", owner, 1)
    check_int(n_features, "n_features", owner, 1)
    check_support_size(n_shot, "n_shot", owner, n_rows)
    if n_informative is None:
        n_informative = n_features
    check_int(n_informative, "n_informative", owner, 1, n_features)
    center_std = check_real(center_std, "center_std", owner)
    scatter = np.full(n_features, check_real(nuisance_std, "nuisance_std", owner))
    scatter[:n_informative] = check_real(cluster_std, "cluster_std", owner)
    rng = check_random_state(random_state)
    y = np.repeat(np.arange(n_way), n_rows)
    row_of_class = np.tile(np.arange(n_rows), n_way)
    support = None if n_shot is None else row_of_class < n_shot
    tasks = []
    for _ in range(n_tasks):
        centers = np.zeros((n_way, n_features))
        centers[:, :n_informative] = center_std * rng.standard_normal((n_way, n_informative))
        X = centers[y] + scatter * rng.standard_normal((len(y), n_features))
        tasks.append(Task(X, y, support=support))
    return tasks
