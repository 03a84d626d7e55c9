"""Task distribution of linear models whose coefficients come from one Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import Constraint, integer, option, real
from sklearn_meta.tasks.designs import BASIS, Design
from sklearn_meta.tasks.distribution import (
    TaskDensity,
    check_constraints,
    check_drawn_rows,
    regression_rows,
    task_weights,
    warn_not_converged,
)
from sklearn_meta.tasks.random_coefficients import (
    diagonal_shrinkage,
    gaussian_marginals,
    random_coefficients,
    square_root,
)
from sklearn_meta.tasks.task import Task, named_task
from sklearn_meta.tasks.validate import as_tasks, check_task_names, names_of

__all__ = ["GaussianTaskDistribution"]

Array = NDArray[np.float64]
SHARE = real(0.0, 1.0)
CONSTRAINTS = {
    "basis": BASIS,
    "shrinkage": Constraint(
        lambda share: share == "auto" or SHARE.allows(share), f"'auto' or {SHARE.text}", ""
    ),
    "x_distribution": option("empirical", "gaussian"),
    "min_noise": real(0.0),
    "max_iter": integer(1),
    "tol": real(0.0),
}


@dataclass(eq=False, repr=False)
class GaussianTaskDistribution(TaskDensity):
    r"""Regression tasks whose coefficients are drawn from one Gaussian.

    A task has coefficients :math:`w \sim N(\mu, \Sigma)` and targets
    :math:`y = \Phi(X) w + N(0, \sigma^2)`, where :math:`\Phi` are the features that `basis` makes
    of a row. `fit` estimates :math:`\mu, \Sigma, \sigma^2` by maximum likelihood, with the unknown
    coefficients integrated out, so that noise in the estimate of a short task is not taken for a
    difference between tasks. `log_prob` is the density of `y` given `X`,
    :math:`N(\Phi \mu, \Phi \Sigma \Phi^\top + \sigma^2 I)`.

    Parameters
    ----------
    basis : {"polynomial", "spline", "fourier"} or transformer, default=None
        Makes features of rows. It is cloned, and fitted on the rows of all tasks. Any transformer
        of scikit-learn, such as :class:`~sklearn.preprocessing.SplineTransformer`, or the name of a
        basis that :class:`~sklearn_meta.HierarchicalRegressor` describes. With None, the columns of
        `X` are the features.

    fit_intercept : bool, default=True
        Whether to add a constant as the first feature.

    shrinkage : float in [0, 1] or "auto", default="auto"
        How far :math:`\Sigma` is shrunk from the maximum of the likelihood towards its diagonal.
        "auto" estimates the best share by Schäfer and Strimmer's formula (as Ledoit and Wolf do
        for another target). It vanishes as the number of tasks grows.

    x_distribution : {"empirical", "gaussian"}, default="empirical"
        Source of the rows of drawn tasks: rows of one of the fitted tasks, drawn anew for each
        task (without replacement where it has enough), or one Gaussian fitted to all rows.

    n_rows : int, default=None
        Number of rows of a drawn task. With None, that of one of the fitted tasks, drawn anew for
        each task.

    n_support : int, default=None
        The first `n_support` rows of a drawn task are its fixed support. With None no support is
        fixed.

    min_noise : float, default=1e-6
        Lower limit of the noise variance, as a share of the variance of `y` over all tasks. Tasks
        that the features fit exactly would have an infinite density.

    max_iter : int, default=1000
        Maximum number of steps of L-BFGS.

    tol : float, default=1e-6
        L-BFGS stops when a step adds less to the log likelihood of a row, in nats.

    Attributes
    ----------
    mean_ : ndarray of shape (n_coefficients,)
        :math:`\mu`.
    covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        :math:`\Sigma`.
    noise_variance_ : float
        :math:`\sigma^2`, in the squared unit of `y`.
    shrinkage_ : float
        The share that was used.
    coef_ : ndarray of shape (n_tasks, n_coefficients)
        The posterior mean of each fitted task's coefficients.
    basis_ : transformer or None
        The fitted basis.
    n_iter_ : int
        Number of steps of L-BFGS.
    n_features_in_ : int
        Number of columns of `X`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of `X`, where all are strings.

    Raises
    ------
    TaskError
        If there are fewer than two tasks, targets are labels or have several columns, or a task
        has other columns than the fitted ones.
    ValueError
        If a parameter is out of its range.

    See Also
    --------
    DirichletTaskDistribution : Describes tasks by the frequencies of their classes.
    MixtureTaskDistribution : Describes several kinds of tasks.

    Notes
    -----
    Maximum likelihood divides by the number of tasks T, so that :math:`\Sigma` is too small by a
    factor of about 1 - 1/T. `fit` warns when `max_iter` was too small, as it may be where columns
    of `X` lie far from zero; there, use a :class:`~sklearn.preprocessing.StandardScaler` as the
    `basis`.

    References
    ----------
    .. [1] N. Laird and J. Ware, "Random-Effects Models for Longitudinal Data", Biometrics 1982.
    .. [2] J. Schäfer and K. Strimmer, "A Shrinkage Approach to Large-Scale Covariance Matrix
       Estimation and Implications for Functional Genomics", 2005.

    Examples
    --------
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> from sklearn_meta.tasks import GaussianTaskDistribution
    >>> family = make_linear_tasks(300, n_features=2, mean=[1, -2], noise=0.5, random_state=0)
    >>> p_T = GaussianTaskDistribution(fit_intercept=False).fit(family.tasks)
    >>> p_T.mean_.round(1)
    array([ 1.1, -2. ])
    >>> round(p_T.noise_variance_, 2)    # 0.5 squared
    0.24
    >>> p_T.sample(2, random_state=0)
    [Task(X: (20, 2), y: (20,)), Task(X: (20, 2), y: (20,))]
    """

    basis: Any = None
    _: KW_ONLY
    fit_intercept: bool = True
    shrinkage: float | str = "auto"
    x_distribution: str = "empirical"
    n_rows: int | None = None
    n_support: int | None = None
    min_noise: float = 1e-6
    max_iter: int = 1000
    tol: float = 1e-6

    def fit(
        self, tasks: Any, y: Any = None, groups: Any = None, *, sample_weight: Any = None
    ) -> GaussianTaskDistribution:
        """Estimate the distribution of tasks.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, n_features)
            Anything that :func:`as_tasks` takes; all rows are used, support and query.
        y : array-like of shape (n_rows,) or str, default=None
            Targets of a table.
        groups : array-like of shape (n_rows,) or str, default=None
            The task of each row of a table.
        sample_weight : array-like of shape (n_tasks,), default=None
            Weight of each task. With None, all weights are equal.

        Returns
        -------
        self : GaussianTaskDistribution
            The fitted distribution.
        """
        check_constraints(self, CONSTRAINTS)
        check_drawn_rows(self.n_rows, self.n_support, type(self).__name__)
        tasks = as_tasks(tasks, y, groups, target_type="real")
        if len(tasks) < 2:
            raise TaskError("GaussianTaskDistribution.fit needs at least two tasks; got 1.")
        weights = task_weights(sample_weight, tasks)
        tables, targets = regression_rows(tasks, type(self).__name__)
        self._set_features(tasks[0])
        self._features = Design.fit(self.basis, np.concatenate(tables))
        self.basis_ = self._features.basis
        scale = np.var(np.concatenate(targets))
        estimate = random_coefficients(
            [self._design(X) for X in tables],
            targets,
            weights,
            least_noise=max(self.min_noise * float(scale), np.finfo(float).tiny ** 0.5),
            max_iter=self.max_iter,
            tol=self.tol,
        )
        if not estimate.converged:
            remedy = "Increase max_iter or tol, or use a basis of fewer features."
            warn_not_converged(type(self).__name__, self.max_iter, self.tol, remedy)
        auto = self.shrinkage == "auto"
        self.shrinkage_ = diagonal_shrinkage(estimate, weights) if auto else float(self.shrinkage)
        diagonal = np.diag(np.diag(estimate.covariance))
        self.covariance_ = (1 - self.shrinkage_) * estimate.covariance + self.shrinkage_ * diagonal
        self.mean_, self.noise_variance_ = estimate.mean, estimate.noise_variance
        self.coef_, self.n_iter_ = estimate.coef, estimate.n_iter
        self._rows = _RowSource(tables, weights, self.x_distribution)
        self._root = square_root(self.covariance_)
        return self

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks with new coefficients, rows and noise.

        Parameters
        ----------
        n_tasks : int, default=1
            Number of tasks.
        random_state : int, RandomState instance or None, default=None
            Determines the tasks that are drawn.

        Returns
        -------
        tasks : list of Task
            Tasks whose first `n_support` rows are the support, unless it is None.
        """
        check_is_fitted(self)
        check_drawn_rows(self.n_rows, self.n_support, type(self).__name__)
        rng = check_random_state(random_state)
        std, tasks = np.sqrt(self.noise_variance_), []
        for _ in range(n_tasks):
            w = self.mean_ + self._root @ rng.standard_normal(len(self.mean_))
            X = self._rows.draw(self.n_rows, rng)
            y = self._design(X) @ w + std * rng.standard_normal(len(X))
            if self.n_support is not None and self.n_support >= len(X):
                raise ValueError(
                    f"n_support={self.n_support} of GaussianTaskDistribution leaves no query in a "
                    f"task of {len(X)} row(s), the size of one it was fitted on. Set n_rows."
                )
            support = None if self.n_support is None else np.arange(self.n_support)
            tasks.append(named_task(X, y, names_of(self), support))
        return tasks

    def score_samples(self, tasks: Any) -> NDArray[np.float64]:
        """Return the log marginal likelihood of each task.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats.
        """
        return self._marginals(tasks)[0]

    def strangeness(self, tasks: Any) -> NDArray[np.float64]:
        """Return how far each task's targets lie from their expectation, whatever its size.

        The squared Mahalanobis distance of `y` under the marginal is chi-squared with as many
        degrees of freedom as rows; its standardised cube root (Wilson and Hilferty 1931) is close
        to standard normal at any size.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        strangeness : ndarray of shape (n_tasks,)
            Larger values are stranger; about N(0, 1) for tasks of this distribution.
        """
        return self._marginals(tasks)[1]

    def _marginals(self, tasks: Any) -> tuple[Array, Array]:
        check_is_fitted(self)
        tasks = as_tasks(tasks, target_type="real")
        tables, targets = regression_rows(tasks, type(self).__name__, self.n_features_in_)
        check_task_names(tasks[0], 0, names_of(self), "fit")
        designs = [self._design(X) for X in tables]
        return gaussian_marginals(designs, targets, self.mean_, self._root, self.noise_variance_)

    def _design(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._features(X) if self.fit_intercept else self._features.features(X)


class _RowSource:
    """Rows of the fitted tasks, or of a Gaussian that is fitted to all of them."""

    def __init__(self, tables: Sequence[Array], weights: Array, x_distribution: str) -> None:
        self.share = weights / weights.sum()
        self.sizes = np.array([len(X) for X in tables])
        self.tables = tables if x_distribution == "empirical" else None
        if x_distribution == "gaussian":
            rows, row_weights = np.concatenate(tables), np.repeat(weights, self.sizes)
            self.mean = row_weights @ rows / row_weights.sum()
            off = rows - self.mean
            self.root = square_root((row_weights * off.T) @ off / row_weights.sum())

    def draw(self, n_rows: int | None, rng: np.random.RandomState) -> Array:
        """Draw the rows of one task; with None, as many as a task drawn by its weight has."""
        t = rng.choice(len(self.sizes), p=self.share)
        n = self.sizes[t] if n_rows is None else n_rows
        if self.tables is None:
            return self.mean + rng.standard_normal((n, len(self.mean))) @ self.root.T
        table = self.tables[t]
        return table[rng.choice(len(table), size=n, replace=n > len(table))]
