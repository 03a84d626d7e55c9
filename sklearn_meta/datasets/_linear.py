"""Linear regressions whose weights share a Gaussian prior: the family with a known best answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_random_state

from sklearn_meta.datasets._params import check_int, check_real, check_support_size
from sklearn_meta.tasks import Task

__all__ = ["LinearOracle", "make_linear_tasks"]


@dataclass(frozen=True, eq=False)
class LinearOracle:
    r"""The posterior mean of a task's weights, for whoever knows the prior and the noise.

    For :math:`w \sim N(\mu, \Sigma)` and :math:`y = X w + N(0, \sigma^2)` it is the biased ridge
    :math:`(\Sigma^{-1} + X^\top X / \sigma^2)^{-1} (\Sigma^{-1} \mu + X^\top y / \sigma^2)`. No
    method can have a smaller mean squared error over the family.

    Parameters
    ----------
    mean : ndarray of shape (n_features,)
        The prior mean :math:`\mu`.
    cov : ndarray of shape (n_features, n_features)
        The prior covariance :math:`\Sigma`, positive definite.
    noise : float
        The standard deviation :math:`\sigma`; zero is the limit of a vanishing one.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.datasets._linear import LinearOracle
    >>> LinearOracle(mean=np.zeros(1), cov=np.eye(1), noise=1.0)([[1.0]], [2.0])
    array([1.])
    """

    mean: NDArray[np.float64]
    cov: NDArray[np.float64]
    noise: float

    def __call__(self, X_support: ArrayLike, y_support: ArrayLike) -> NDArray[np.float64]:
        """Return the posterior mean of the weights.

        Parameters
        ----------
        X_support : array-like of shape (n_rows, n_features)
            The inputs; `n_rows` may be 0, which leaves the prior mean.
        y_support : array-like of shape (n_rows,)
            The targets.

        Returns
        -------
        coef : ndarray of shape (n_features,)
            The weights.
        """
        d = len(self.mean)
        y = np.asarray(y_support, dtype=np.float64)
        X = np.asarray(X_support, dtype=np.float64).reshape(len(y), d)
        # With w = mean + L v and v ~ N(0, I), the answer minimises |y - X w|^2 + noise^2 |v|^2.
        # As one least-squares problem nothing is inverted or squared, and noise=0 is no special
        # case: the solution of least norm is the limit.
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
    :math:`y = x^\top w + \varepsilon`. The best that can be done with a support is known in closed
    form, so this is where a meta-learner is measured against an optimum.

    Parameters
    ----------
    n_tasks : int, default=100
        How many tasks. More tasks of the same seed begin with the same ones.

    n_rows : int, default=20
        Rows a task.

    n_features : int, default=3
        The dimension of `x`.

    mean : array-like of shape (n_features,), default=None
        The prior mean :math:`\mu`, what the tasks have in common; None is zero.

    cov : array-like of shape (n_features, n_features), default=None
        The prior covariance :math:`\Sigma`, symmetric and positive definite, how they differ;
        None is the identity.

    noise : float, default=1.0
        Standard deviation (not variance) of :math:`\varepsilon`, in the unit of `y`.

    n_support : int, default=None
        The first `n_support` rows become the fixed support. With None no support is fixed.

    random_state : int, RandomState instance or None, default=None
        The source of chance.

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
    >>> found = [family.oracle(task.X_support, task.y_support) for task in family.tasks]
    >>> around_mean, with_prior = family.coef - family.mean, family.coef - found
    >>> bool(np.mean(with_prior**2) < np.mean(around_mean**2))
    True
    """
    owner = "make_linear_tasks"
    check_int(n_tasks, "n_tasks", owner, 1)
    check_int(n_rows, "n_rows", owner, 1)
    d = check_int(n_features, "n_features", owner, 1)
    check_support_size(n_support, "n_support", owner, n_rows)
    noise = check_real(noise, "noise", owner)
    mu = _checked(mean, np.zeros(d), "mean")
    sigma = _checked(cov, np.eye(d), "cov")
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


def _checked(
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
