"""Tasks that mix the same classes in different proportions."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.columns import names_of, set_names
from sklearn_meta.tasks.convert import as_tasks
from sklearn_meta.tasks.density import TaskDensity
from sklearn_meta.tasks.dirichlet_multinomial import (
    estimate_concentrations,
    log_dirichlet_multinomial,
)
from sklearn_meta.tasks.fitting import check_columns, check_rows, task_weights
from sklearn_meta.tasks.ranges import check_int
from sklearn_meta.tasks.task import Task

__all__ = ["DirichletTaskDistribution"]

Array = NDArray[np.float64]
N_TRIES = 1000  # draws of proportions for one task
N_SIMULATED = 400  # tasks of one size, for the mean and the spread of their log_prob


class DirichletTaskDistribution(TaskDensity):
    r"""Classification tasks with the same classes, in proportions drawn from a Dirichlet.

    A task has proportions :math:`\pi \sim \mathrm{Dir}(\alpha)` and rows of class k as often as
    a multinomial draw says; what rows of a class look like is the same in all tasks. Such are
    hospitals with the same diagnoses, or users who like the same genres. `fit` finds
    :math:`\alpha` by maximum likelihood of the class counts, and keeps the rows of all tasks as
    the pool to draw from. `log_prob` is that of the counts, given how many rows there are: the
    Dirichlet-multinomial

    .. math:: \frac{n!\,\Gamma(a)}{\Gamma(n + a)}
              \prod_k \frac{\Gamma(n_k + \alpha_k)}{n_k!\,\Gamma(\alpha_k)},
              \quad a = \sum_k \alpha_k.

    Parameters
    ----------
    alpha : float or array-like of shape (n_classes,), default=None
        The concentrations, known beforehand (in the order of the sorted labels); None: estimated.

    n_rows : int, default=None
        Rows of a drawn task; None: as many as one of the fitted tasks, drawn anew for each.

    min_class_rows : int, default=2
        A drawn task has at least two classes, and so many rows of each that it has at all, which
        is what a classifier's `meta_fit` needs (one more than its `n_shot`). Proportions are drawn
        again until it has. With 0 any draw will do: that is what `score_samples` tells the
        density of.

    Attributes
    ----------
    alpha_ : ndarray of shape (n_classes,)
        :math:`\alpha`, each between 1e-4 and 1e4 where it is estimated. Large ones say that all
        tasks have the same proportions.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    n_features_in_ : int
        Columns of `X`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where all are strings.

    Raises
    ------
    TaskError
        If there are fewer than two tasks, or one class only, or targets are no labels.
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

    def __init__(
        self,
        alpha: float | ArrayLike | None = None,
        *,
        n_rows: int | None = None,
        min_class_rows: int = 2,
    ) -> None:
        self.alpha = alpha
        self.n_rows = n_rows
        self.min_class_rows = min_class_rows

    def fit(
        self, tasks: Any, y: Any = None, groups: Any = None, *, sample_weight: Any = None
    ) -> DirichletTaskDistribution:
        """Estimate the concentrations, and keep the rows.

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
            How much each task counts for `alpha_`, and as a source of rows.

        Returns
        -------
        self : DirichletTaskDistribution
            Fitted.
        """
        owner = type(self).__name__
        self._check_drawing()
        tasks = as_tasks(tasks, y, groups, target_type="class")
        if len(tasks) < 2 and self.alpha is None:
            raise TaskError(f"{owner}.fit needs at least two tasks to estimate alpha; got 1.")
        weights = task_weights(sample_weight, tasks)
        X = np.concatenate([check_columns(task, i, owner, None) for i, task in enumerate(tasks)])
        labels = np.concatenate([task.y for task in tasks])
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise TaskError(
                f"{owner}.fit needs two classes; all {len(labels)} rows of the tasks are of class "
                f"{self.classes_.tolist()[0]!r}."
            )
        counts = np.stack([self._counts(task) for task in tasks])
        if self.alpha is None:
            self.alpha_ = estimate_concentrations(counts, weights)
        else:
            self.alpha_ = self._known_alpha()
        self.n_features_in_ = X.shape[1]
        set_names(self, tasks[0].feature_names_in)
        self._X, self._sizes, self._share = X, counts.sum(1).astype(int), weights / weights.sum()
        each = np.repeat(weights, self._sizes)
        self._pools = [np.flatnonzero((codes == k) & (each > 0)) for k in range(counts.shape[1])]
        self._chances = [each[rows] / each[rows].sum() for rows in self._pools]
        return self

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks: proportions, and rows of the pool with replacement.

        Parameters
        ----------
        n_tasks : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            The source of chance.

        Returns
        -------
        tasks : list of Task
            Class after class, without a fixed support.
        """
        check_is_fitted(self)
        self._check_drawing()
        rng = check_random_state(random_state)
        tasks = []
        for _ in range(n_tasks):
            counts = self._draw_counts(rng)
            rows = [
                rng.choice(pool, size=n, p=chance)
                for pool, n, chance in zip(self._pools, counts, self._chances, strict=True)
                if n
            ]
            tasks.append(Task(self._X[np.concatenate(rows)], np.repeat(self.classes_, counts)))
            tasks[-1].feature_names_in = names_of(self)
        return tasks

    def score_samples(self, tasks: Any) -> Array:
        """Log probability of the class counts of each of many tasks.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats; minus infinity if a label is none of `classes_`.
        """
        check_is_fitted(self)
        tasks = as_tasks(tasks, target_type="class")
        known = np.array([np.isin(task.y, self.classes_).all() for task in tasks])
        counts = np.stack([self._counts(task) for task in tasks])
        return np.where(known, log_dirichlet_multinomial(counts, self.alpha_), -np.inf)

    def strangeness(self, tasks: Any) -> Array:
        """How unlikely the counts are among those of as many rows.

        `log_prob`, less its mean over tasks of this distribution and of that size, over its
        standard deviation there, with the sign turned; 400 simulated tasks give the two, always
        the same ones.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        strangeness : ndarray of shape (n_tasks,)
            The larger, the stranger; infinite for a label that is none of `classes_`.
        """
        tasks = as_tasks(tasks, target_type="class")
        found, sizes = self.score_samples(tasks), np.array([len(task) for task in tasks])
        strange = np.empty(len(tasks))
        for n in np.unique(sizes):
            rng = np.random.RandomState(n % 2**32)
            shares = rng.dirichlet(self.alpha_, size=N_SIMULATED)
            simulated = np.array([rng.multinomial(n, share) for share in shares], np.float64)
            usual = log_dirichlet_multinomial(simulated, self.alpha_)
            std = max(float(usual.std()), 1e-9)
            strange[sizes == n] = (usual.mean() - found[sizes == n]) / std
        return strange

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

    def _known_alpha(self) -> Array:
        n, alpha = len(self.classes_), np.asarray(self.alpha, dtype=np.float64)
        if alpha.shape not in ((), (n,)) or not np.isfinite(alpha).all() or alpha.min() <= 0:
            raise ValueError(
                f"The 'alpha' parameter of {type(self).__name__} must be None, a positive float, "
                f"or one a class, shape ({n},). Got {self.alpha!r} instead."
            )
        return np.broadcast_to(alpha, n).copy()

    def _check_drawing(self) -> None:
        check_rows(self.n_rows, None, type(self).__name__)
        check_int(self.min_class_rows, "min_class_rows", type(self).__name__, 0)
