"""Linear regressions whose weights share a Gaussian prior, with their optimal estimator."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_random_state

from sklearn_meta.parameters import check_parameter, integer, real
from sklearn_meta.tasks import Task, TaskDensity, as_tasks
from sklearn_meta.tasks.distribution import check_drawn_rows, regression_rows
from sklearn_meta.tasks.random_coefficients import gaussian_marginals, square_root

__all__ = ["LinearOracle", "LinearTasks", "make_linear_tasks"]


@dataclass(frozen=True, eq=False)
class LinearOracle:
    r"""The posterior mean of a task's weights, for the true prior and noise.

    For :math:`w \sim N(\mu, \Sigma)` and :math:`y = X w + N(0, \sigma^2)` it is the biased ridge
    :math:`(\Sigma^{-1} + X^\top X / \sigma^2)^{-1} (\Sigma^{-1} \mu + X^\top y / \sigma^2)`. No
    method can have a smaller mean squared error over the family. A noise of zero is the limit.
    """

    mean: NDArray[np.float64]
    cov: NDArray[np.float64]
    noise: float

    def __call__(self, X_support: ArrayLike, y_support: ArrayLike) -> NDArray[np.float64]:
        """Return the posterior mean of the weights, or the prior mean if there are no rows."""
        d = len(self.mean)
        y = np.asarray(y_support, dtype=np.float64)
        X = np.asarray(X_support, dtype=np.float64).reshape(len(y), d)
        # With w = mean + L v and v ~ N(0, I), v minimises |y - X w|^2 + noise^2 |v|^2. As a
        # least-squares problem this needs no inverse, and noise=0 is no special case: the
        # solution of least norm is the limit.
        L = np.linalg.cholesky(self.cov)
        A = np.concatenate([X @ L, self.noise * np.eye(d)])
        b = np.concatenate([y - X @ self.mean, np.zeros(d)])
        coef: NDArray[np.float64] = self.mean + L @ np.linalg.lstsq(A, b, rcond=None)[0]
        return coef


def make_linear_tasks(
    n_tasks: int = 100,
    n_rows: int = 20,
    n_features: int = 3,
    *,
    mean: ArrayLike | None = None,
    cov: ArrayLike | None = None,
    noise: float = 1.0,
    n_support: int | None = None,
    random_state: Any = None,
) -> Bunch:
    r"""Draw linear regressions whose weights come from one Gaussian.

    A task has weights :math:`w \sim N(\mu, \Sigma)` and rows :math:`x \sim N(0, I)`,
    :math:`y = x^\top w + \varepsilon`. The optimal estimator from a support is known in closed
    form, so that a meta-learner can be compared with it.

    Parameters
    ----------
    n_tasks : int, default=100
        Number of tasks. With the same seed, more tasks begin with the same ones.

    n_rows : int, default=20
        Number of rows in a task.

    n_features : int, default=3
        The dimension of `x`.

    mean : array-like of shape (n_features,), default=None
        Prior mean :math:`\mu`, which the tasks have in common. None is zero.

    cov : array-like of shape (n_features, n_features), default=None
        Prior covariance :math:`\Sigma` of their differences, symmetric and positive definite. None
        is the identity.

    noise : float, default=1.0
        Standard deviation (not variance) of :math:`\varepsilon`, in the unit of `y`.

    n_support : int, default=None
        Number of rows in the fixed support, which come first. With None no support is fixed.

    random_state : int, RandomState instance or None, default=None
        Determines the tasks that are drawn.

    Returns
    -------
    family : :class:`~sklearn.utils.Bunch`
        With

        tasks : list of Task
            `X` of shape (n_rows, n_features) and `y` of shape (n_rows,).
        coef : ndarray of shape (n_tasks, n_features)
            The true weights.
        oracle : callable
            `oracle(X_support, y_support)` is the posterior mean of the weights, of shape
            (n_features,): the biased ridge
            :math:`(\Sigma^{-1} + X^\top X/\sigma^2)^{-1}(\Sigma^{-1}\mu + X^\top y/\sigma^2)`.
            For :math:`\Sigma = \tau^2 I` it is ridge toward :math:`\mu` with
            :math:`\lambda = \sigma^2/\tau^2`.
        mean, cov, noise : ndarray, ndarray, float
            The parameters of the family.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or `cov` is singular or not symmetric.

    References
    ----------
    .. [1] G. Denevi, C. Ciliberto, R. Grazzi and M. Pontil, "Learning-to-Learn Stochastic Gradient
       Descent with Biased Regularization", ICML 2019: learning around a common mean.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> family = make_linear_tasks(mean=[1, 2, 3], n_support=4, random_state=0)
    >>> family.tasks[0]
    Task(X: (20, 3), y: (20,), support: 4 rows)
    >>> coef = [family.oracle(task.X_support, task.y_support) for task in family.tasks]
    >>> bool(np.mean((family.coef - coef) ** 2) < np.mean((family.coef - family.mean) ** 2))
    True
    """
    owner = "make_linear_tasks"
    check_parameter("n_tasks", n_tasks, integer(1), owner)
    check_parameter("n_rows", n_rows, integer(1), owner)
    check_drawn_rows(n_rows, n_support, owner)
    d = check_parameter("n_features", n_features, integer(1), owner)
    noise = float(check_parameter("noise", noise, real(0.0), owner))
    mu = _as_finite(mean, np.zeros(d), "mean")
    sigma = _as_finite(cov, np.eye(d), "cov")
    variances = np.linalg.eigvalsh(sigma)
    if not np.allclose(sigma, sigma.T) or variances[0] <= d * np.finfo(float).eps * variances[-1]:
        raise ValueError(
            f"The 'cov' parameter of {owner} must be symmetric and positive definite. "
            f"Got eigenvalues from {variances[0]:.3g} to {variances[-1]:.3g}; a singular one has "
            "no density. Drop the direction that does not vary, or give it a small variance."
        )
    rng = check_random_state(random_state)
    L = np.linalg.cholesky(sigma)
    support = None if n_support is None else np.arange(n_support)
    coef, tasks = np.empty((n_tasks, d)), []
    for w in coef:
        w[:] = mu + L @ rng.standard_normal(d)
        X = rng.standard_normal((n_rows, d))
        tasks.append(Task(X, X @ w + noise * rng.standard_normal(n_rows), support=support))
    return Bunch(
        tasks=tasks,
        coef=coef,
        oracle=LinearOracle(mu, sigma, noise),
        mean=mu,
        cov=sigma,
        noise=noise,
    )


def _as_finite(
    value: ArrayLike | None, default: NDArray[np.float64], name: str
) -> NDArray[np.float64]:
    if value is None:
        return default
    array = np.array(value, dtype=np.float64)
    if array.shape != default.shape or not np.isfinite(array).all():
        raise ValueError(
            f"The {name!r} parameter of make_linear_tasks must be a finite array of shape "
            f"{default.shape}. Got shape {array.shape} instead."
        )
    return array


@dataclass(eq=False, repr=False)
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
        If a parameter is out of its range, or the density of tasks without noise is computed.

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

    n_rows: int = 20
    n_features: int = 3
    _: KW_ONLY
    mean: ArrayLike | None = None
    cov: ArrayLike | None = None
    noise: float = 1.0
    n_support: int | None = None

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
            The `tasks` of :func:`make_linear_tasks`.
        """
        tasks: list[Task] = self._family(n_tasks, random_state).tasks
        return tasks

    def score_samples(self, tasks: Any) -> NDArray[np.float64]:
        """Return the log marginal likelihood of each task.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats.
        """
        return self._marginals(tasks)[0]

    def strangeness(self, tasks: Any) -> NDArray[np.float64]:
        """Return how far the targets of each task are from their expectation, for any size.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.

        Returns
        -------
        strangeness : ndarray of shape (n_tasks,)
            As for :class:`~sklearn_meta.tasks.GaussianTaskDistribution`.
        """
        return self._marginals(tasks)[1]

    def _marginals(self, tasks: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        family, owner = self._family(1, 0), type(self).__name__
        if family.noise == 0:
            raise ValueError(f"{owner}: noise=0 has no density; set the noise of the tasks.")
        tasks = as_tasks(tasks, target_type="real")
        X, y = regression_rows(tasks, owner, len(family.mean))
        return gaussian_marginals(X, y, family.mean, square_root(family.cov), family.noise**2)

    def _family(self, n_tasks: int, random_state: Any) -> Any:
        return make_linear_tasks(n_tasks, random_state=random_state, **self.get_params(deep=False))
