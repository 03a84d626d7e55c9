"""Gaussian classes with new centres in every task, separated by the same features in all."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sklearn_meta.parameters import check_parameter, integer, real
from sklearn_meta.tasks import Task, TaskDensity, as_tasks
from sklearn_meta.tasks.distribution import as_matrix, check_drawn_rows

__all__ = ["BlobTasks", "make_blob_tasks"]


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
    `n_informative` features, and its rows scatter around it by `cluster_std`. The remaining
    features scatter by `nuisance_std` in all classes. The classes of one task say nothing about
    those of another, but *which features separate classes* is the same in all tasks. That can be
    meta-learned, and cannot be seen in the few rows of one support.

    Parameters
    ----------
    n_tasks : int, default=100
        Number of tasks. With the same seed, more tasks begin with the same ones.

    n_way : int, default=3
        Number of classes in a task.

    n_rows : int, default=20
        Number of rows of each class.

    n_features : int, default=8
        Number of features.

    n_informative : int or None, default=2
        Number of features that separate the classes, which come first. None is all of them, which
        leaves next to nothing to meta-learn.

    n_shot : int, default=None
        The first `n_shot` rows of each class become the fixed support. With None no support is
        fixed.

    center_std : float, default=3.0
        Standard deviation of the centres in each informative feature.

    cluster_std : float, default=1.0
        Standard deviation of a class around its centre in each informative feature.

    nuisance_std : float, default=3.0
        Standard deviation of every other feature.

    random_state : int, RandomState instance or None, default=None
        Determines the tasks that are drawn.

    Returns
    -------
    tasks : list of Task
        Tasks with `X` of shape (n_way * n_rows, n_features), sorted by class, and labels from 0 to
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
    check_parameter("n_tasks", n_tasks, integer(1), owner)
    check_parameter("n_way", n_way, integer(2), owner)
    check_parameter("n_rows", n_rows, integer(1), owner)
    check_drawn_rows(n_rows, n_shot, owner, "n_shot")
    check_parameter("n_features", n_features, integer(1), owner)
    if n_informative is None:
        n_informative = n_features
    check_parameter("n_informative", n_informative, integer(1, n_features), owner)
    check_parameter("center_std", center_std, real(0.0), owner)
    scatter = np.full(n_features, check_parameter("nuisance_std", nuisance_std, real(0.0), owner))
    scatter[:n_informative] = check_parameter("cluster_std", cluster_std, real(0.0), owner)
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


@dataclass(eq=False, repr=False)
class BlobTasks(TaskDensity):
    r"""The distribution that :func:`make_blob_tasks` draws from.

    `score_samples` is the log density of `X` given `y`. In an informative feature the rows of a
    class are jointly :math:`N(0, s^2 I + c^2 1 1^\top)`, with s the `cluster_std` and c the
    `center_std`; the others are :math:`N(0, \mathrm{nuisance\_std}^2)`. Labels only say which rows
    are of the same class.

    Parameters
    ----------
    n_way : int, default=3
        Number of classes in a task.
    n_rows : int, default=20
        Number of rows of each class.
    n_features : int, default=8
        Number of features.
    n_informative : int or None, default=2
        Number of features that separate the classes, which come first. None is all of them.
    n_shot : int or None, default=None
        Number of rows of each class in the fixed support. With None no support is fixed.
    center_std : float, default=3.0
        Standard deviation of the class centers in each informative feature.
    cluster_std : float, default=1.0
        Standard deviation of a class around its center in each informative feature.
    nuisance_std : float, default=3.0
        Standard deviation of every other feature.

    Raises
    ------
    TaskError
        If a task has another number of features.
    ValueError
        If a parameter is out of its range, or the density of features without scatter is computed.

    See Also
    --------
    make_blob_tasks : Draws a list of tasks from this distribution.

    Examples
    --------
    >>> from sklearn_meta.datasets import BlobTasks
    >>> family = BlobTasks(n_way=2, n_rows=5, n_features=3)
    >>> task, = family.sample(random_state=0)
    >>> family.log_prob(task) > family.log_prob((task.X[:, ::-1], task.y))   # other features matter
    True
    """

    density_of: ClassVar[str] = "X given y"

    n_way: int = 3
    n_rows: int = 20
    n_features: int = 8
    _: KW_ONLY
    n_informative: int | None = 2
    n_shot: int | None = None
    center_std: float = 3.0
    cluster_std: float = 1.0
    nuisance_std: float = 3.0

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks.

        Parameters
        ----------
        n_tasks : int, default=1
            Number of tasks.
        random_state : int, RandomState instance or None, default=None
            Determines the tasks that are drawn.

        Returns
        -------
        tasks : list of Task
            The tasks of :func:`make_blob_tasks`.
        """
        return make_blob_tasks(n_tasks, random_state=random_state, **self.get_params(deep=False))

    def score_samples(self, tasks: Any) -> NDArray[np.float64]:
        """Return the log density of the rows of each task, given their labels.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats.
        """
        self.sample(1, 0)  # checks the parameters
        owner, d = type(self).__name__, self.n_features
        informative = d if self.n_informative is None else self.n_informative
        used = {"cluster_std": informative, "nuisance_std": d - informative}
        for name, n in used.items():
            if n and getattr(self, name) == 0:
                raise ValueError(f"{owner}: {name}=0 has no density; features must scatter.")
        tasks = as_tasks(tasks, target_type="class")
        log_prob = []
        for i, task in enumerate(tasks):
            X = as_matrix(task, i, owner, d)
            classes = (X[task.y == k, :informative] for k in np.unique(task.y))
            total = sum(_log_class(rows, self.cluster_std, self.center_std) for rows in classes)
            rest = X[:, informative:]
            if rest.size:
                total += _log_class(rest, self.nuisance_std, 0.0)
            log_prob.append(total)
        return np.array(log_prob, dtype=np.float64)


def _log_class(rows: NDArray[np.float64], std: float, center_std: float) -> float:
    """Return the log density of rows that scatter by `std` around one unknown centre."""
    n, d = rows.shape
    along = std**2 + n * center_std**2  # the variance of sqrt(n) times their mean
    mean = rows.mean(0)
    distance = np.sum((rows - mean) ** 2) / std**2 + n * np.sum(mean**2) / along
    log_det = d * ((n - 1) * 2 * np.log(std) + np.log(along))
    return float(-0.5 * (n * d * np.log(2 * np.pi) + log_det + distance))
