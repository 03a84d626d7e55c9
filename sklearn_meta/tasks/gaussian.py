"""Tasks that are linear models of given features, with coefficients from one Gaussian."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.columns import check_task_names, names_of, set_names
from sklearn_meta.tasks.convert import as_tasks
from sklearn_meta.tasks.density import TaskDensity
from sklearn_meta.tasks.fitting import check_columns, check_rows, task_weights
from sklearn_meta.tasks.gaussian_params import check_gaussian
from sklearn_meta.tasks.marginal import cube_root_score, gaussian_marginal, square_root
from sklearn_meta.tasks.random_coefficients import diagonal_shrinkage, random_coefficients
from sklearn_meta.tasks.row_source import RowSource
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import label

__all__ = ["GaussianTaskDistribution"]


class GaussianTaskDistribution(TaskDensity):
    r"""Regression tasks that differ in a vector of coefficients, drawn from one Gaussian.

    A task has coefficients :math:`w \sim N(\mu, \Sigma)` and targets
    :math:`y = \Phi(X) w + N(0, \sigma^2)`, where :math:`\Phi` are the features that `basis` makes
    of a row. `fit` finds :math:`\mu, \Sigma, \sigma^2` by maximum likelihood: EM over the
    unknown coefficients, so that what is noise in a short task's own estimate is not taken for a
    difference between tasks. `log_prob` is that of `y` given `X`,
    :math:`N(\Phi \mu, \Phi \Sigma \Phi^\top + \sigma^2 I)`.

    Parameters
    ----------
    basis : transformer, default=None
        Makes features of rows; cloned, and fitted on the rows of all tasks. Any of
        scikit-learn's, such as :class:`~sklearn.preprocessing.SplineTransformer`. None: the
        columns of `X` as they are.

    fit_intercept : bool, default=True
        Whether a constant is one more feature, the first.

    shrinkage : float in [0, 1] or "auto", default="auto"
        How far :math:`\Sigma` is shrunk from the maximum of the likelihood towards its diagonal;
        "auto" estimates the best share, as Ledoit and Wolf do for another target, by Schäfer and
        Strimmer's formula. It vanishes as tasks become many.

    x_distribution : {"empirical", "gaussian"}, default="empirical"
        Where the rows of drawn tasks come from: rows of one of the fitted tasks, drawn anew for
        each task (without replacement where it has enough), or one Gaussian fitted to all rows.

    n_rows : int, default=None
        Rows of a drawn task; None: as many as one of the fitted tasks, drawn anew for each.

    n_support : int, default=None
        The first `n_support` rows of a drawn task are its fixed support. With None no support is
        fixed.

    min_noise : float, default=1e-6
        Share of the variance of `y`, over all tasks, that the noise variance is not put below:
        tasks that the features fit exactly would have an infinite density.

    max_iter : int, default=1000
        Most steps of EM.

    tol : float, default=1e-6
        EM ends where a step adds less to the log likelihood of a row, in nats.

    Attributes
    ----------
    mean_ : ndarray of shape (n_coefficients,)
        :math:`\mu`.
    covariance_ : ndarray of shape (n_coefficients, n_coefficients)
        :math:`\Sigma`.
    noise_variance_ : float
        :math:`\sigma^2`, in the squared unit of `y`.
    shrinkage_ : float
        The share used.
    coef_ : ndarray of shape (n_tasks, n_coefficients)
        The posterior mean of each fitted task's coefficients.
    basis_ : transformer or None
        The fitted basis.
    n_iter_ : int
        Steps of EM.
    n_features_in_ : int
        Columns of `X`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where all are strings.

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
    Maximum likelihood divides by the number of tasks T: :math:`\Sigma` is too small by about a
    T-th of itself. EM is slow where tasks hardly differ in some direction (a warning says when
    `max_iter` was too few), and where columns of `X` lie far from zero, which a
    :class:`~sklearn.preprocessing.StandardScaler` as the `basis` mends.

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

    def __init__(
        self,
        basis: Any = None,
        *,
        fit_intercept: bool = True,
        shrinkage: float | str = "auto",
        x_distribution: str = "empirical",
        n_rows: int | None = None,
        n_support: int | None = None,
        min_noise: float = 1e-6,
        max_iter: int = 1000,
        tol: float = 1e-6,
    ) -> None:
        self.basis = basis
        self.fit_intercept = fit_intercept
        self.shrinkage = shrinkage
        self.x_distribution = x_distribution
        self.n_rows = n_rows
        self.n_support = n_support
        self.min_noise = min_noise
        self.max_iter = max_iter
        self.tol = tol

    def fit(
        self, tasks: Any, y: Any = None, groups: Any = None, *, sample_weight: Any = None
    ) -> GaussianTaskDistribution:
        """Estimate the distribution that tasks came from.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, n_features)
            Anything that :func:`as_tasks` takes; all rows are used, support and query.
        y : array-like of shape (n_rows,) or str, default=None
            Targets of a table.
        groups : array-like of shape (n_rows,) or str, default=None
            The task of each row of a table.
        sample_weight : array-like of shape (n_tasks,), default=None
            How much each task counts; None: all the same.

        Returns
        -------
        self : GaussianTaskDistribution
            Fitted.
        """
        check_gaussian(self)
        tasks = as_tasks(tasks, y, groups, target_type="real")
        if len(tasks) < 2:
            raise TaskError("GaussianTaskDistribution.fit needs at least two tasks; got 1.")
        weights = task_weights(sample_weight, tasks)
        tables, targets = self._tables(tasks, None)
        self.n_features_in_ = tables[0].shape[1]
        self.basis_ = None if self.basis is None else clone(self.basis).fit(np.concatenate(tables))
        scale = np.var(np.concatenate(targets))
        found = random_coefficients(
            [self._design(X) for X in tables],
            targets,
            weights,
            least_noise=max(self.min_noise * float(scale), np.finfo(float).tiny ** 0.5),
            max_iter=self.max_iter,
            tol=self.tol,
        )
        if not found.converged:
            warnings.warn(
                f"GaussianTaskDistribution has not converged in max_iter={self.max_iter} steps of "
                f"EM to tol={self.tol}. Give it more, or a basis of fewer features.",
                ConvergenceWarning,
                stacklevel=2,
            )
        auto = self.shrinkage == "auto"
        self.shrinkage_ = diagonal_shrinkage(found, weights) if auto else float(self.shrinkage)
        diagonal = np.diag(np.diag(found.covariance))
        self.covariance_ = (1 - self.shrinkage_) * found.covariance + self.shrinkage_ * diagonal
        self.mean_, self.noise_variance_ = found.mean, found.noise_variance
        self.coef_, self.n_iter_ = found.coef, found.n_iter
        set_names(self, tasks[0].feature_names_in)
        self._rows = RowSource(tables, weights, self.x_distribution)
        self._root = square_root(self.covariance_)
        return self

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks: coefficients, rows and noise, all anew.

        Parameters
        ----------
        n_tasks : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            The source of chance.

        Returns
        -------
        tasks : list of Task
            With the first `n_support` rows as the support, if it is given.
        """
        check_is_fitted(self)
        check_rows(self.n_rows, self.n_support, type(self).__name__)
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
            tasks.append(Task(X, y, support=support))
            tasks[-1].feature_names_in = names_of(self)
        return tasks

    def score_samples(self, tasks: Any) -> NDArray[np.float64]:
        """Log marginal likelihood of each of many tasks.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats.
        """
        return np.array([log_prob for log_prob, _ in self._marginals(tasks)])

    def strangeness(self, tasks: Any) -> NDArray[np.float64]:
        """How far each task's targets lie from what they should be, whatever its size.

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
            The larger, the stranger; about N(0, 1) for tasks of this distribution.
        """
        tasks = as_tasks(tasks, target_type="real")
        return cube_root_score([d for _, d in self._marginals(tasks)], [len(t) for t in tasks])

    def _marginals(self, tasks: Any) -> list[tuple[float, float]]:
        check_is_fitted(self)
        tasks = as_tasks(tasks, target_type="real")
        tables, targets = self._tables(tasks, self.n_features_in_)
        check_task_names(tasks[0], 0, names_of(self), "fit")
        return [
            gaussian_marginal(self._design(X), y, self.mean_, self._root, self.noise_variance_)
            for X, y in zip(tables, targets, strict=True)
        ]

    def _tables(
        self, tasks: tuple[Task, ...], n_features: int | None
    ) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        owner = type(self).__name__
        for i, task in enumerate(tasks):
            if task.y.ndim != 1:
                raise TaskError(
                    f"{label(task, i)}: {owner} needs one target a row, y of shape (n_rows,); got "
                    f"y of shape {task.y.shape} with X of shape {(len(task), *task.row_shape)}."
                )
        tables = [check_columns(task, i, owner, n_features) for i, task in enumerate(tasks)]
        return tables, [task.y.astype(np.float64) for task in tasks]

    def _design(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        Phi = X if self.basis_ is None else dense(self.basis_.transform(X), np.float64)
        return np.c_[np.ones(len(Phi)), Phi] if self.fit_intercept else Phi
