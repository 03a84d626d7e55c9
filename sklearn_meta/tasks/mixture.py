"""Mixtures of task distributions, learned by EM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.utils import check_random_state

from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import integer
from sklearn_meta.tasks.distribution import (
    TaskDensity,
    TaskDistribution,
    check_constraints,
    task_weights,
    warn_not_converged,
)
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import as_tasks, label

__all__ = ["MixtureTaskDistribution"]

Array = NDArray[np.float64]
N_START = 4  # tasks that a component starts from
CONSTRAINTS = {"n_init": integer(1), "max_iter": integer(1)}


@dataclass(eq=False, repr=False)
class MixtureTaskDistribution(TaskDensity):
    """A mixture of task distributions: real tasks and synthetic ones, or several kinds of task.

    Each task is drawn from one component, which is chosen with the probability `weights`. Before
    `fit`, a mixture draws from `components` themselves, which may be fitted already or have
    nothing to fit. `fit` learns copies of them, and the weights, by EM.

    Parameters
    ----------
    components : sequence of TaskDistribution
        The components. `log_prob` and `fit` need components that have a `log_prob` of the same
        thing; to draw, `sample` is enough.

    weights : array-like of shape (n_components,), default=None
        Shares of the components, not negative; scaled to sum to one. With None they are equal.

    fit_components : bool, default=True
        If True, `fit` learns the components that have a `fit`, and the weights; else the weights
        alone.

    n_init : int, default=20
        Number of starts of EM, each from a few other tasks for each component; the best is kept.
        Ignored where only weights are learned, which have one maximum. With three overlapping
        components a single start ended at the best maximum in four runs of ten.

    max_iter : int, default=100
        Maximum number of steps of EM from each start.

    tol : float, default=1e-4
        EM stops when a step adds less to the mean log density of a task, in nats.

    random_state : int, RandomState instance or None, default=None
        Determines the starts.

    Attributes
    ----------
    components_ : list of TaskDistribution
        The fitted copies.
    weights_ : ndarray of shape (n_components,)
        The learned shares.
    n_iter_ : int
        Number of steps of the best start.

    Raises
    ------
    TaskError
        If `fit` has fewer than two tasks a component to learn.
    ValueError
        If there are no components, if weights do not match them, or if a density is needed and
        components have none, or densities of different things.

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

    components: Sequence[TaskDistribution]
    weights: ArrayLike | None = None
    _: KW_ONLY
    fit_components: bool = True
    n_init: int = 20
    max_iter: int = 100
    tol: float = 1e-4
    random_state: Any = None

    @property
    def density_of(self) -> str:
        """What the components' densities are of."""
        return self._densities(self._parts()[0])[0].density_of

    def fit(
        self, tasks: Any, y: Any = None, groups: Any = None, *, sample_weight: Any = None
    ) -> MixtureTaskDistribution:
        """Learn the weights and the components by EM.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, n_features)
            Anything that :func:`as_tasks` takes.
        y : array-like of shape (n_rows,) or str, default=None
            Targets of a table.
        groups : array-like of shape (n_rows,) or str, default=None
            The task of each row of a table.
        sample_weight : array-like of shape (n_tasks,), default=None
            Weight of each task.

        Returns
        -------
        self : MixtureTaskDistribution
            The fitted mixture.
        """
        parts, weights = self._initial()
        self._densities(parts)
        check_constraints(self, CONSTRAINTS)
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
                clone(part) if learns else part
                for part, learns in zip(self.components, learn, strict=True)
            ]
            share = _few_each(counts, len(parts), rng) if any(learn) else None
            runs.append(self._run_em(parts, learn, weights, share, tasks, counts))
        best = max(runs, key=lambda run: run[0])
        _, self.components_, self.weights_, self.n_iter_, converged = best
        if not converged:
            remedy = "Increase max_iter or tol, or use fewer components."
            warn_not_converged(type(self).__name__, self.max_iter, self.tol, remedy)
        return self

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks, each from a component drawn by its weight.

        Parameters
        ----------
        n_tasks : int, default=1
            Number of tasks.
        random_state : int, RandomState instance or None, default=None
            Determines the tasks that are drawn.

        Returns
        -------
        tasks : list of Task
            Tasks of the components in random order.
        """
        parts, weights = self._parts()
        rng = check_random_state(random_state)
        chosen = rng.choice(len(parts), size=n_tasks, p=weights)
        tasks: list[Any] = [None] * n_tasks
        for k in np.unique(chosen):
            positions = np.flatnonzero(chosen == k)
            for i, task in zip(positions, parts[k].sample(len(positions), rng), strict=True):
                tasks[i] = task
        return tasks

    def score_samples(self, tasks: Any) -> Array:
        """Return the log density of each task.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats.
        """
        log_prob: Array = logsumexp(self._joint(tasks), axis=1)
        return log_prob

    def responsibilities(self, tasks: Any) -> Array:
        """Return the probability that each component produced each task.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        share : ndarray of shape (n_tasks, n_components)
            Rows sum to one.
        """
        joint = self._joint(tasks)
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))

    def strangeness(self, tasks: Any) -> Array:
        """Return the smallest strangeness of each task over the components.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        strangeness : ndarray of shape (n_tasks,)
            Larger values are stranger. Components of weight zero do not count.
        """
        parts, weights = self._parts()
        tasks = as_tasks(tasks)
        densities = zip(self._densities(parts), weights, strict=True)
        least: Array = np.min([p.strangeness(tasks) for p, weight in densities if weight], axis=0)
        return least

    def _joint(self, tasks: Any) -> Array:
        parts, weights = self._parts()
        return _joint_log_density(self._densities(parts), weights, as_tasks(tasks))

    def _parts(self) -> tuple[list[Any], Array]:
        """Return the learned components and weights, or those of the constructor."""
        if hasattr(self, "components_"):
            return self.components_, self.weights_
        return self._initial()

    def _initial(self) -> tuple[list[Any], Array]:
        owner, parts = type(self).__name__, self.components
        is_list = isinstance(parts, (list, tuple)) and len(parts) > 0
        if not is_list or not all(isinstance(part, TaskDistribution) for part in parts):
            raise ValueError(
                f"The 'components' parameter of {owner} must be a list of at least one "
                f"TaskDistribution. Got {parts!r} instead."
            )
        n = len(parts)
        weights = np.ones(n) if self.weights is None else np.asarray(self.weights, np.float64)
        valid = weights.shape == (n,) and np.isfinite(weights).all() and weights.min() >= 0
        if not valid or weights.sum() == 0:
            raise ValueError(
                f"The 'weights' parameter of {owner} must be None or one number a component, not "
                f"negative and not all zero, shape ({n},). Got {self.weights!r} instead."
            )
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

    def _run_em(
        self,
        parts: list[Any],
        learn: list[bool],
        weights: Array,
        share: Array | None,  # (n_tasks, n_components), to start from in place of the weights
        tasks: tuple[Task, ...],
        counts: Array,
    ) -> tuple[float, list[Any], Array, int, bool]:
        """Run EM from one start.

        Return the mean log density, the components, the weights, the number of steps, and whether
        they converged.
        """
        previous, n_iter = -np.inf, 0
        while True:
            if share is not None:
                weights = counts @ share / np.sum(counts @ share)
                for k, part in enumerate(parts):
                    # a component without tasks stays as it is
                    if learn[k] and np.sum(counts * share[:, k] > 1e-6) >= 2:
                        part.fit(tasks, sample_weight=counts * share[:, k])
            joint = _joint_log_density(parts, weights, tasks)
            total = logsumexp(joint, axis=1)
            current = float(counts @ total / counts.sum())
            if not np.isfinite(current):
                i = int(np.argmin(total))
                raise TaskError(f"{label(tasks[i], i)} has density zero under every component.")
            converged = current - previous < self.tol
            if converged or n_iter == self.max_iter:
                return current, parts, weights, n_iter, converged
            previous, n_iter = current, n_iter + 1
            share = np.exp(joint - total[:, None])


def _joint_log_density(parts: list[Any], weights: Array, tasks: tuple[Task, ...]) -> Array:
    """Return log weight plus log density, (n_tasks, n_components)."""
    with np.errstate(divide="ignore"):  # a weight of zero
        log_weights = np.log(weights)
    return np.stack([part.score_samples(tasks) for part in parts], axis=1) + log_weights


def _few_each(counts: Array, n_parts: int, rng: np.random.RandomState) -> Array:
    """Assign a few tasks to each component, as components of many tasks would be too similar."""
    order = rng.permutation(np.flatnonzero(counts > 0))
    each = min(len(order) // n_parts, N_START)
    share = np.zeros((len(counts), n_parts))
    for k in range(n_parts):
        share[order[k * each : (k + 1) * each], k] = 1
    return share
