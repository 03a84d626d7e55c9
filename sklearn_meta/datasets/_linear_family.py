"""The linear regressions of make_linear_tasks, as a distribution with a density."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_meta.datasets._linear import make_linear_tasks
from sklearn_meta.datasets._params import regression_rows
from sklearn_meta.tasks import Task, TaskDensity
from sklearn_meta.tasks.marginal import cube_root_score, gaussian_marginal, square_root

__all__ = ["LinearTasks"]


class LinearTasks(TaskDensity):
    r"""The distribution that :func:`make_linear_tasks` draws from.

    `score_samples` is the log density of `y` given `X`,
    :math:`N(X \mu, X \Sigma X^\top + \sigma^2 I)`.

    Parameters
    ----------
    n_rows : int, default=20
        Number of rows in a task.
    n_features : int, default=3
        Number of features.
    mean : array-like of shape (n_features,), default=None
        Mean :math:`\mu` of the weights. None is zero.
    cov : array-like of shape (n_features, n_features), default=None
        Covariance :math:`\Sigma` of the weights, symmetric and positive definite. None is the
        identity.
    noise : float, default=1.0
        Standard deviation of the noise, in the unit of `y`.
    n_support : int or None, default=None
        Number of rows in the fixed support. With None no support is fixed.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or a density is asked of tasks without noise.

    See Also
    --------
    make_linear_tasks : Draws a list of tasks from this distribution.

    Examples
    --------
    >>> from sklearn_meta.datasets import LinearTasks
    >>> family = LinearTasks(n_rows=5, n_features=1, noise=0.5)
    >>> family.sample(2, random_state=0)
    [Task(X: (5, 1), y: (5,)), Task(X: (5, 1), y: (5,))]
    >>> round(family.log_prob(([[0.0], [2.0]], [0.0, 3.0])), 4)
    -2.927
    """

    def __init__(
        self,
        n_rows: int = 20,
        n_features: int = 3,
        *,
        mean: ArrayLike | None = None,
        cov: ArrayLike | None = None,
        noise: float = 1.0,
        n_support: int | None = None,
    ) -> None:
        self.n_rows = n_rows
        self.n_features = n_features
        self.mean = mean
        self.cov = cov
        self.noise = noise
        self.n_support = n_support

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
            The `tasks` of :func:`make_linear_tasks`.
        """
        tasks: list[Task] = self._family(n_tasks, random_state).tasks
        return tasks

    def score_samples(self, tasks: Any) -> NDArray[np.float64]:
        """Log marginal likelihood of each of many tasks.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`~sklearn_meta.tasks.as_tasks` takes.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats.
        """
        return self._marginals(tasks)[:, 0]

    def strangeness(self, tasks: Any) -> NDArray[np.float64]:
        """How far each task's targets lie from what they should be, whatever its size.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`~sklearn_meta.tasks.as_tasks` takes.

        Returns
        -------
        strangeness : ndarray of shape (n_tasks,)
            As that of :class:`~sklearn_meta.tasks.GaussianTaskDistribution`.
        """
        found = self._marginals(tasks)
        return cube_root_score(found[:, 1], found[:, 2])

    def _marginals(self, tasks: Any) -> NDArray[np.float64]:
        family = self._family(1, 0)
        owner, d = type(self).__name__, len(family.mean)
        root, found = square_root(family.cov), []
        for X, y in regression_rows(tasks, owner, d, family.noise):
            marginal = gaussian_marginal(X, y, family.mean, root, family.noise**2)
            found.append((*marginal, len(y)))
        return np.array(found, dtype=np.float64)

    def _family(self, n_tasks: int, random_state: Any) -> Any:
        return make_linear_tasks(n_tasks, random_state=random_state, **self.get_params(deep=False))
