"""Task distributions that say how likely a task is, and how strange."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from sklearn_meta.tasks.convert import as_tasks
from sklearn_meta.tasks.distribution import TaskDistribution

__all__ = ["TaskDensity"]


class TaskDensity(TaskDistribution, BaseEstimator):
    """A distribution p(T) over tasks that has a density.

    Beside `sample`, a kind of it defines `score_samples`; one that is learned from tasks has `fit`
    too. Parameters are those of the constructor, kept untouched, so that
    :func:`sklearn.base.clone` makes an unfitted copy.

    Attributes
    ----------
    density_of : str
        What has the density: ``"y given X"``, say. Only densities of the same thing may be
        compared or mixed.

    Examples
    --------
    Tasks whose targets are noise of one size:

    >>> import numpy as np
    >>> from scipy.stats import norm
    >>> from sklearn.utils import check_random_state
    >>> from sklearn_meta.tasks import Task, TaskDensity, as_tasks
    >>> class Noise(TaskDensity):
    ...     def sample(self, n_tasks=1, random_state=None):
    ...         rng = check_random_state(random_state)
    ...         return [Task(np.ones((5, 1)), rng.normal(size=5)) for _ in range(n_tasks)]
    ...     def score_samples(self, tasks):
    ...         return np.array([norm.logpdf(task.y).sum() for task in as_tasks(tasks)])
    >>> round(Noise().log_prob(([[1.0], [1.0]], [0.0, 0.0])), 4)
    -1.8379
    """

    @property
    def density_of(self) -> str:
        """What the density is of."""
        return "y given X"

    def log_prob(self, task: Any) -> float:
        """Log density of one task.

        Parameters
        ----------
        task : Task, (X, y) or (X_support, y_support, X_query, y_query)
            All its rows count, support and query.

        Returns
        -------
        log_prob : float
            In nats; minus infinity for what cannot be.
        """
        return float(self.score_samples([task])[0])

    @abstractmethod
    def score_samples(self, tasks: Any) -> NDArray[np.float64]:
        """Log density of each of many tasks.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats; minus infinity for what cannot be.
        """

    def strangeness(self, tasks: Any) -> NDArray[np.float64]:
        """How little each task looks like one of this distribution, whatever its size.

        A log density falls with the number of rows, so that tasks of different sizes cannot be
        ranked by it. Here it is minus the log density of a row; kinds that know how the density
        varies over their own tasks have a better one.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        strangeness : ndarray of shape (n_tasks,)
            The larger, the stranger.
        """
        tasks = as_tasks(tasks)
        return -self.score_samples(tasks) / [len(task) for task in tasks]
