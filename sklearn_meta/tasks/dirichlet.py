"""Task distribution of the same classes in different proportions."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import gammaln, psi
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import integer
from sklearn_meta.tasks.distribution import (
    TaskDensity,
    as_matrix,
    check_constraints,
    task_weights,
)
from sklearn_meta.tasks.task import Task, named_task
from sklearn_meta.tasks.validate import as_tasks, names_of

__all__ = ["DirichletTaskDistribution", "log_dirichlet_multinomial"]

Array = NDArray[np.float64]
N_TRIES = 1000  # draws of proportions for one task
N_SIMULATED = 400  # tasks of one size, for the mean and the spread of their log_prob
BOUNDS = (1e-4, 1e4)  # of each concentration
CONSTRAINTS = {"n_rows": integer(1, none=True), "min_class_rows": integer(0)}


@dataclass(eq=False, repr=False)
class DirichletTaskDistribution(TaskDensity):
    r"""Classification tasks with the same classes, in proportions drawn from a Dirichlet.

    A task has proportions :math:`\pi \sim \mathrm{Dir}(\alpha)` and class counts drawn from the
    multinomial with these proportions. The rows of a class have the same distribution in all
    tasks. Examples are hospitals with the same diagnoses, or users who like the same genres. `fit`
    estimates :math:`\alpha` by maximum likelihood of the class counts, and keeps the rows of all
    tasks as the pool to draw from. `log_prob` is the probability of the counts given the number of
    rows, the Dirichlet-multinomial

    .. math:: \frac{n!\,\Gamma(a)}{\Gamma(n + a)}
              \prod_k \frac{\Gamma(n_k + \alpha_k)}{n_k!\,\Gamma(\alpha_k)},
              \quad a = \sum_k \alpha_k.

    Parameters
    ----------
    alpha : float or array-like of shape (n_classes,), default=None
        The concentrations, in the order of the sorted labels. With None they are estimated.

    n_rows : int, default=None
        Number of rows of a drawn task. With None, that of one of the fitted tasks, drawn anew for
        each task.

    min_class_rows : int, default=2
        A drawn task has at least two classes, and at least this many rows of each of its classes.
        A classifier's `meta_fit` needs one more than its `n_shot`. Proportions are drawn again
        until the task has them. With 0, tasks are drawn without these conditions, from the
        distribution that `score_samples` is the density of.

    Attributes
    ----------
    alpha_ : ndarray of shape (n_classes,)
        :math:`\alpha`, each between 1e-4 and 1e4 if it is estimated. With large values all tasks
        have nearly the same proportions.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    n_features_in_ : int
        Number of columns of `X`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of `X`, where all are strings.

    Raises
    ------
    TaskError
        If there are fewer than two tasks or classes, or targets are not labels.
    ValueError
        If a parameter is out of its range, or no draw has `min_class_rows`.

    See Also
    --------
    GaussianTaskDistribution : Describes tasks by the mean and covariance of linear models.
    MixtureTaskDistribution : Describes several kinds of tasks.

    References
    ----------
    .. [1] T. Minka, "Estimating a Dirichlet Distribution", 2000.

    Examples
    --------
    >>> from sklearn_meta.tasks import DirichletTaskDistribution, Task
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["ill", "ill", "well", "well"]
    >>> wards = [Task(X, y), Task(X[:3], y[:3]), Task(X[1:], y[1:])]
    >>> p_T = DirichletTaskDistribution(alpha=1.0, n_rows=8).fit(wards)
    >>> p_T.sample(random_state=0)
    [Task(X: (8, 1), y: (8,))]
    >>> round(p_T.log_prob(wards[0]), 4)    # 2 of 4 rows: as likely as 0, 1, 3 or 4
    -1.6094
    """

    density_of: ClassVar[str] = "class counts given the number of rows"

    alpha: float | ArrayLike | None = None
    _: KW_ONLY
    n_rows: int | None = None
    min_class_rows: int = 2

    def fit(
        self, tasks: Any, y: Any = None, groups: Any = None, *, sample_weight: Any = None
    ) -> DirichletTaskDistribution:
        """Estimate the concentrations, and store the rows.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, n_features)
            Anything that :func:`as_tasks` takes; all rows are used, support and query. A label
            is the same class in all tasks.
        y : array-like of shape (n_rows,) or str, default=None
            Labels of a table.
        groups : array-like of shape (n_rows,) or str, default=None
            The task of each row of a table.
        sample_weight : array-like of shape (n_tasks,), default=None
            Weight of each task, in the estimate of `alpha_` and as a source of rows.

        Returns
        -------
        self : DirichletTaskDistribution
            The fitted distribution.
        """
        owner = type(self).__name__
        check_constraints(self, CONSTRAINTS)
        tasks = as_tasks(tasks, y, groups, target_type="class")
        if len(tasks) < 2 and self.alpha is None:
            raise TaskError(f"{owner}.fit needs at least two tasks to estimate alpha; got 1.")
        weights = task_weights(sample_weight, tasks)
        X = np.concatenate([as_matrix(task, i, owner) for i, task in enumerate(tasks)])
        labels = np.concatenate([task.y for task in tasks])
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise TaskError(
                f"{owner}.fit needs two classes; all {len(labels)} rows of the tasks are of class "
                f"{self.classes_.tolist()[0]!r}."
            )
        counts = np.stack([self._counts(task) for task in tasks])
        estimated = self.alpha is None
        self.alpha_ = _estimate(counts, weights) if estimated else self._fixed_alpha()
        self._set_features(tasks[0])
        self._X, self._sizes, self._share = X, counts.sum(1).astype(int), weights / weights.sum()
        of_row = np.repeat(weights, self._sizes)
        self._pools = [np.flatnonzero((codes == k) & (of_row > 0)) for k in range(counts.shape[1])]
        self._chances = [of_row[rows] / of_row[rows].sum() for rows in self._pools]
        return self

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks with new proportions, and rows of the pool with replacement.

        Parameters
        ----------
        n_tasks : int, default=1
            Number of tasks.
        random_state : int, RandomState instance or None, default=None
            Determines the tasks that are drawn.

        Returns
        -------
        tasks : list of Task
            Tasks without a fixed support, whose rows are sorted by class.
        """
        check_is_fitted(self)
        check_constraints(self, CONSTRAINTS)
        rng = check_random_state(random_state)
        tasks = []
        for _ in range(n_tasks):
            counts = self._draw_counts(rng)
            rows = [
                rng.choice(pool, size=n, p=chance)
                for pool, n, chance in zip(self._pools, counts, self._chances, strict=True)
                if n
            ]
            X, y = self._X[np.concatenate(rows)], np.repeat(self.classes_, counts)
            tasks.append(named_task(X, y, names_of(self)))
        return tasks

    def score_samples(self, tasks: Any) -> Array:
        """Return the log probability of the class counts of each task.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats; minus infinity for a task with a label that is not in `classes_`.
        """
        check_is_fitted(self)
        tasks = as_tasks(tasks, target_type="class")
        possible = np.array([np.isin(task.y, self.classes_).all() for task in tasks])
        counts = np.stack([self._counts(task) for task in tasks])
        return np.where(possible, log_dirichlet_multinomial(counts, self.alpha_), -np.inf)

    def strangeness(self, tasks: Any) -> Array:
        """Return how unlikely the counts are, compared with those of tasks of the same size.

        This is `log_prob`, standardised by its mean and standard deviation over 400 simulated
        tasks of this distribution and of the same size (always the same ones), with the sign
        reversed.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        strangeness : ndarray of shape (n_tasks,)
            Larger values are stranger; infinite for a label that is not in `classes_`.
        """
        tasks = as_tasks(tasks, target_type="class")
        log_prob, sizes = self.score_samples(tasks), np.array([len(task) for task in tasks])
        strangeness = np.empty(len(tasks))
        for n in np.unique(sizes):
            rng = np.random.RandomState(n % 2**32)
            shares = rng.dirichlet(self.alpha_, size=N_SIMULATED)
            simulated = np.array([rng.multinomial(n, share) for share in shares], np.float64)
            typical = log_dirichlet_multinomial(simulated, self.alpha_)
            std = max(float(typical.std()), 1e-9)
            strangeness[sizes == n] = (typical.mean() - log_prob[sizes == n]) / std
        return strangeness

    def _draw_counts(self, rng: np.random.RandomState) -> Any:
        for _ in range(N_TRIES):
            n = self.n_rows or rng.choice(self._sizes, p=self._share)
            counts = rng.multinomial(n, rng.dirichlet(self.alpha_))
            drawn = counts[counts > 0]
            if self.min_class_rows == 0 or (len(drawn) > 1 and drawn.min() >= self.min_class_rows):
                return counts
        raise ValueError(
            f"In {N_TRIES} draws of {type(self).__name__} no task had two classes, and "
            f"min_class_rows={self.min_class_rows} rows of each class that it had. Set a larger "
            "n_rows."
        )

    def _counts(self, task: Task) -> Array:
        return (task.y[:, None] == self.classes_).sum(0).astype(np.float64)

    def _fixed_alpha(self) -> Array:
        n, alpha = len(self.classes_), np.asarray(self.alpha, dtype=np.float64)
        if alpha.shape not in ((), (n,)) or not np.isfinite(alpha).all() or alpha.min() <= 0:
            raise ValueError(
                f"The 'alpha' parameter of {type(self).__name__} must be None, a positive float, "
                f"or one a class, shape ({n},). Got {self.alpha!r} instead."
            )
        return np.broadcast_to(alpha, n).copy()


def log_dirichlet_multinomial(counts: Array, alpha: Array) -> Array:
    """Return the log probability of counts, multinomial coefficient included."""
    n, total = counts.sum(-1), alpha.sum()  # counts: (..., n_classes)
    log_prob: Array = gammaln(n + 1) + gammaln(total) - gammaln(n + total)
    each = gammaln(counts + alpha) - gammaln(alpha) - gammaln(counts + 1)
    return log_prob + each.sum(-1)


def _estimate(counts: Array, weights: Array) -> Array:
    """Maximise the likelihood over the logarithms of the concentrations, within their bounds.

    Without bounds, proportions that never differ would have infinite concentrations.
    """
    n = counts.sum(1)

    def loss(log_alpha: Array) -> tuple[float, Array]:
        alpha = np.exp(log_alpha)
        slope = (
            psi(counts + alpha) - psi(alpha) + (psi(alpha.sum()) - psi(n + alpha.sum()))[:, None]
        )
        value = -weights @ log_dirichlet_multinomial(counts, alpha)
        return float(value / weights.sum()), -alpha * (weights @ slope) / weights.sum()

    share = (weights @ counts + 0.5) / (weights @ n + 0.5 * counts.shape[1])
    start = np.log(np.clip(share * counts.shape[1], *BOUNDS))
    limits: list[tuple[float, float]] = [tuple(np.log(BOUNDS))] * len(start)
    options = {"ftol": 1e-14, "gtol": 1e-9}
    result = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    return np.exp(result.x)
