"""Several task distributions, each drawn from now and then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.utils import check_random_state

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.convert import as_tasks
from sklearn_meta.tasks.density import TaskDensity
from sklearn_meta.tasks.distribution import TaskDistribution
from sklearn_meta.tasks.fitting import task_weights
from sklearn_meta.tasks.mixture_em import alternate, joint_log_density
from sklearn_meta.tasks.ranges import check_int
from sklearn_meta.tasks.task import Task

__all__ = ["MixtureTaskDistribution"]

Array = NDArray[np.float64]
N_START = 4  # tasks that a component starts from


class MixtureTaskDistribution(TaskDensity):
    """A mixture of task distributions: real tasks and synthetic ones, or several kinds of task.

    Each task is drawn from one component, which is chosen with the probability `weights`. As it
    is made, a mixture draws from the very components it was given, which may be fitted already or
    have nothing to fit; `fit` learns copies of them, and the weights, by EM.

    Parameters
    ----------
    components : sequence of TaskDistribution
        What is mixed. To be drawn from is all they need; `log_prob` and `fit` need components
        with a `log_prob` of the same thing.

    weights : array-like of shape (n_components,), default=None
        Their shares, not negative; scaled to sum to one. None is equal shares.

    fit_components : bool, default=True
        Whether `fit` learns the components that have a `fit`, or the weights alone.

    n_init : int, default=20
        Number of starts of EM, each from other few tasks for each component; the best is kept.
        Ignored where only weights are learned: these have one maximum. With three overlapping
        components a single start ended at the best maximum in four runs of ten.

    max_iter : int, default=100
        Most steps of EM from each start.

    tol : float, default=1e-4
        EM ends where a step adds less to the mean log density of a task, in nats.

    random_state : int, RandomState instance or None, default=None
        Of the starts.

    Attributes
    ----------
    components_ : list of TaskDistribution
        The fitted copies.
    weights_ : ndarray of shape (n_components,)
        The learned shares.
    n_iter_ : int
        Steps of the best start.

    Raises
    ------
    TaskError
        If `fit` has fewer than two tasks a component to learn.
    ValueError
        If there are no components, or weights do not fit them, or a density is asked of
        components that have none or have densities of different things.

    See Also
    --------
    GaussianTaskDistribution : Describes one kind of tasks.
    DirichletTaskDistribution : Describes tasks by the frequencies of their classes.

    Examples
    --------
    A few real tasks, extended by those of a distribution that was fitted to them:

    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> from sklearn_meta.tasks import (
    ...     EmpiricalTasks, GaussianTaskDistribution, MixtureTaskDistribution)
    >>> real = make_linear_tasks(12, random_state=0).tasks
    >>> synthetic = GaussianTaskDistribution().fit(real)
    >>> both = MixtureTaskDistribution([EmpiricalTasks(real), synthetic], weights=[1, 3])
    >>> drawn = both.sample(1000, random_state=0)
    >>> sum(any(task is one for one in real) for task in drawn)
    254
    """

    def __init__(
        self,
        components: Sequence[TaskDistribution],
        weights: ArrayLike | None = None,
        *,
        fit_components: bool = True,
        n_init: int = 20,
        max_iter: int = 100,
        tol: float = 1e-4,
        random_state: Any = None,
    ) -> None:
        self.components = components
        self.weights = weights
        self.fit_components = fit_components
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    @property
    def density_of(self) -> str:
        """What the components' densities are of."""
        return self._densities(self._parts()[0])[0].density_of

    def fit(
        self, tasks: Any, y: Any = None, groups: Any = None, *, sample_weight: Any = None
    ) -> MixtureTaskDistribution:
        """Learn the weights, and the components, by EM.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, n_features)
            Anything that :func:`as_tasks` takes.
        y : array-like of shape (n_rows,) or str, default=None
            Targets of a table.
        groups : array-like of shape (n_rows,) or str, default=None
            The task of each row of a table.
        sample_weight : array-like of shape (n_tasks,), default=None
            How much each task counts.

        Returns
        -------
        self : MixtureTaskDistribution
            Fitted.
        """
        parts, weights = self._given()
        self._densities(parts)
        check_int(self.n_init, "n_init", type(self).__name__, 1)
        check_int(self.max_iter, "max_iter", type(self).__name__, 1)
        tasks = as_tasks(tasks, y, groups)
        counts = task_weights(sample_weight, tasks)
        learn = [self.fit_components and hasattr(part, "fit") for part in parts]
        if any(learn) and np.sum(counts > 0) < 2 * len(parts):
            raise TaskError(
                "MixtureTaskDistribution.fit needs two tasks a component; got "
                f"{np.sum(counts > 0)} task(s) for {len(parts)} components."
            )
        rng = check_random_state(self.random_state)
        runs = []
        for _ in range(self.n_init if any(learn) else 1):
            parts = [
                clone(part) if wanted else part
                for part, wanted in zip(self.components, learn, strict=True)
            ]
            share = _few_each(counts, len(parts), rng) if any(learn) else None
            runs.append(
                alternate(parts, learn, weights, share, tasks, counts, self.max_iter, self.tol)
            )
        _, self.components_, self.weights_, self.n_iter_ = max(runs, key=lambda run: run[0])
        return self

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks, each from a component drawn by its weight.

        Parameters
        ----------
        n_tasks : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            The source of chance.

        Returns
        -------
        tasks : list of Task
            In random order.
        """
        parts, weights = self._parts()
        rng = check_random_state(random_state)
        chosen = rng.choice(len(parts), size=n_tasks, p=weights)
        tasks: list[Any] = [None] * n_tasks
        for k in np.unique(chosen):
            places = np.flatnonzero(chosen == k)
            for i, task in zip(places, parts[k].sample(len(places), rng), strict=True):
                tasks[i] = task
        return tasks

    def score_samples(self, tasks: Any) -> Array:
        """Log density of each of many tasks.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats.
        """
        parts, weights = self._parts()
        self._densities(parts)
        log_prob: Array = logsumexp(joint_log_density(parts, weights, as_tasks(tasks)), axis=1)
        return log_prob

    def responsibilities(self, tasks: Any) -> Array:
        """Probability of each component to have made each task.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        share : ndarray of shape (n_tasks, n_components)
            Rows sum to one.
        """
        parts, weights = self._parts()
        self._densities(parts)
        joint = joint_log_density(parts, weights, as_tasks(tasks))
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))

    def strangeness(self, tasks: Any) -> Array:
        """Compute the smallest strangeness of each task over the components.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        strangeness : ndarray of shape (n_tasks,)
            The larger, the stranger. Components of weight zero do not count.
        """
        parts, weights = self._parts()
        tasks = as_tasks(tasks)
        parts = [
            part for part, weight in zip(self._densities(parts), weights, strict=True) if weight
        ]
        least: Array = np.min([part.strangeness(tasks) for part in parts], axis=0)
        return least

    def _parts(self) -> tuple[list[Any], Array]:
        """Give the learned components, or those given."""
        if hasattr(self, "components_"):
            return self.components_, self.weights_
        return self._given()

    def _given(self) -> tuple[list[Any], Array]:
        owner, parts = type(self).__name__, self.components
        good = isinstance(parts, (list, tuple)) and len(parts) > 0
        if not good or not all(isinstance(part, TaskDistribution) for part in parts):
            raise ValueError(
                f"The 'components' parameter of {owner} must be a list of at least one "
                f"TaskDistribution. Got {parts!r} instead."
            )
        n = len(parts)
        weights = np.ones(n) if self.weights is None else np.asarray(self.weights, np.float64)
        if weights.shape != (n,) or not np.isfinite(weights).all() or weights.min() < 0:
            raise ValueError(
                f"The 'weights' parameter of {owner} must be None or one number a component, not "
                f"negative, shape ({n},). Got {self.weights!r} instead."
            )
        if weights.sum() == 0:
            raise ValueError(f"The 'weights' parameter of {owner} must not be all zero.")
        return list(parts), weights / weights.sum()

    def _densities(self, parts: list[Any]) -> list[Any]:
        for k, part in enumerate(parts):
            if not isinstance(part, TaskDensity):
                raise ValueError(
                    f"Component {k} of MixtureTaskDistribution, {type(part).__name__}, can be "
                    "drawn from but has no log_prob, so neither has the mixture."
                )
        kinds = {part.density_of for part in parts}
        if len(kinds) > 1:
            raise ValueError(
                "The components of MixtureTaskDistribution have densities of different things: "
                f"{' and '.join(sorted(kinds))}. They cannot be compared."
            )
        return parts


def _few_each(counts: Array, n_parts: int, rng: np.random.RandomState) -> Array:
    """Start components from few tasks: those of many would all be alike, where EM moves slowly."""
    order = rng.permutation(np.flatnonzero(counts > 0))
    each = min(len(order) // n_parts, N_START)
    share = np.zeros((len(counts), n_parts))
    for k in range(n_parts):
        share[order[k * each : (k + 1) * each], k] = 1
    return share
