"""The Gaussian classes of make_blob_tasks, as a distribution with a density."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.datasets._blobs import make_blob_tasks
from sklearn_meta.tasks import Task, TaskDensity, as_tasks
from sklearn_meta.tasks.fitting import check_columns

__all__ = ["BlobTasks"]


class BlobTasks(TaskDensity):
    r"""The distribution that :func:`make_blob_tasks` draws from.

    `score_samples` is the log density of `X` given `y`. In an informative feature the rows of a
    class are jointly :math:`N(0, s^2 I + c^2 1 1^\top)`, with s the `cluster_std` and c the
    `center_std`; the others are :math:`N(0, \mathrm{nuisance\_std}^2)`. Labels mean nothing but
    which rows are of the same class.

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
        If a parameter is out of its range, or a density is asked of features that do not scatter.

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

    def __init__(
        self,
        n_way: int = 3,
        n_rows: int = 20,
        n_features: int = 8,
        *,
        n_informative: int | None = 2,
        n_shot: int | None = None,
        center_std: float = 3.0,
        cluster_std: float = 1.0,
        nuisance_std: float = 3.0,
    ) -> None:
        self.n_way = n_way
        self.n_rows = n_rows
        self.n_features = n_features
        self.n_informative = n_informative
        self.n_shot = n_shot
        self.center_std = center_std
        self.cluster_std = cluster_std
        self.nuisance_std = nuisance_std

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks.

        Parameters
        ----------
        n_tasks : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            The source of chance.

        Returns
        -------
        tasks : list of Task
            Those of :func:`make_blob_tasks`.
        """
        return make_blob_tasks(n_tasks, random_state=random_state, **self.get_params(deep=False))

    def score_samples(self, tasks: Any) -> NDArray[np.float64]:
        """Log density of the rows of each of many tasks, given their labels.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`~sklearn_meta.tasks.as_tasks` takes.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats.
        """
        self.sample(1, 0)  # its complaints about parameters
        owner, d = type(self).__name__, self.n_features
        informative = d if self.n_informative is None else self.n_informative
        used = {"cluster_std": informative, "nuisance_std": d - informative}
        for name, n in used.items():
            if n and getattr(self, name) == 0:
                raise ValueError(f"{owner}: {name}=0 has no density; features must scatter.")
        tasks = as_tasks(tasks, target_type="class")
        found = []
        for i, task in enumerate(tasks):
            X = check_columns(task, i, owner, d)
            classes = (X[task.y == k, :informative] for k in np.unique(task.y))
            total = sum(_log_class(rows, self.cluster_std, self.center_std) for rows in classes)
            rest = X[:, informative:]
            if rest.size:
                total += _log_class(rest, self.nuisance_std, 0.0)
            found.append(total)
        return np.array(found, dtype=np.float64)


def _log_class(rows: NDArray[np.float64], std: float, center_std: float) -> float:
    """Log density of rows that scatter by `std` around one unknown centre."""
    n, d = rows.shape
    along = std**2 + n * center_std**2  # the variance of sqrt(n) times their mean
    mean = rows.mean(0)
    distance = np.sum((rows - mean) ** 2) / std**2 + n * np.sum(mean**2) / along
    log_det = d * ((n - 1) * 2 * np.log(std) + np.log(along))
    return float(-0.5 * (n * d * np.log(2 * np.pi) + log_det + distance))
