"""A conformal p-value for the hypothesis that a new task comes from the training tasks."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import Constraint, integer, real
from sklearn_meta.tasks.distribution import TaskDensity, check_constraints
from sklearn_meta.tasks.gaussian import GaussianTaskDistribution
from sklearn_meta.tasks.task import Task, take_rows
from sklearn_meta.tasks.validate import as_tasks, label

__all__ = ["TaskNovelty"]

SHARE = real(0.0, open_left=True)
CONSTRAINTS = {
    "distribution": Constraint(
        lambda value: value is None or isinstance(value, TaskDensity), "None or a TaskDensity", ""
    ),
    "n_support": integer(1, none=True),
    "calibration": Constraint(
        lambda value: SHARE.allows(value) and value < 1, "a float in the range (0.0, 1.0)", ""
    ),
}


@dataclass(eq=False, repr=False)
class TaskNovelty(BaseEstimator):
    """Novelty detection for tasks: conformal p-values of the supports of new tasks.

    A distribution is fitted to some of the tasks, and the others are held out. The p-value of a
    new task is the share of held-out tasks whose support is at least as strange,
    (1 + number of these) / (1 + number of held-out tasks), with ties broken at random. If the new
    task comes from the same distribution as the others, and its support is drawn in the same way,
    all ranks are equally likely. Then at most a share p of such tasks has a p-value of p or less,
    whatever the distribution, and however badly it fits (split conformal prediction). A poor fit
    costs power, not validity.

    Parameters
    ----------
    distribution : TaskDensity, default=None
        The distribution whose `strangeness`, which is comparable across sizes of support, is used.
        It is cloned, and fitted if it has a `fit`. With None, a
        :class:`GaussianTaskDistribution` of the columns of `X`.

    n_support : int, default=None
        Number of rows drawn as the support of each held-out task without a fixed support. Set it
        to the size of the supports of new tasks. With None, all rows are used.

    calibration : float in (0, 1), default=0.5
        Share of the tasks that is held out.

    random_state : int, RandomState instance or None, default=0
        Determines the split, the supports, and the order of ties.

    Attributes
    ----------
    distribution_ : TaskDensity
        The fitted distribution.
    strangeness_ : ndarray of shape (n_held_out,)
        The strangeness of the held-out supports, sorted.

    Raises
    ------
    TaskError
        If there are too few tasks to fit on and to hold out.
    ValueError
        If a parameter is out of its range, or the distribution has no density.

    See Also
    --------
    sklearn_meta.analysis.task_distances : Distances between all pairs of tasks.

    References
    ----------
    .. [1] V. Vovk, A. Gammerman and G. Shafer, "Algorithmic Learning in a Random World", 2005.
    .. [2] S. Bates, E. Candès, L. Lei, Y. Romano and M. Sesia, "Testing for Outliers with
       Conformal p-values", Annals of Statistics 2023: p-values by one set of held-out tasks are
       each valid, but not independent of one another.

    Examples
    --------
    Sine waves of twice the frequency are detected as novel:

    >>> from sklearn.preprocessing import SplineTransformer
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> from sklearn_meta.tasks import GaussianTaskDistribution, TaskNovelty
    >>> tasks = make_sinusoid_tasks(100, noise=0.1, random_state=0)
    >>> waves = GaussianTaskDistribution(SplineTransformer(n_knots=10), tol=1e-4)
    >>> novelty = TaskNovelty(waves, n_support=10).fit(tasks)
    >>> same, = make_sinusoid_tasks(1, n_rows=10, noise=0.1, random_state=1)
    >>> novelty.novelty(same) > 0.05
    True
    >>> round(novelty.novelty((same.X / 2, same.y)), 2)
    0.02
    """

    distribution: TaskDensity | None = None
    _: KW_ONLY
    n_support: int | None = None
    calibration: float = 0.5
    random_state: Any = 0

    def fit(self, tasks: Any, y: Any = None, groups: Any = None) -> TaskNovelty:
        """Fit the distribution to some tasks, and compute the strangeness of the others' supports.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, n_features)
            Anything that :func:`as_tasks` takes.
        y : array-like of shape (n_rows,) or str, default=None
            Targets of a table.
        groups : array-like of shape (n_rows,) or str, default=None
            The task of each row of a table.

        Returns
        -------
        self : TaskNovelty
            The fitted detector.
        """
        p_T = GaussianTaskDistribution() if self.distribution is None else self.distribution
        check_constraints(self, CONSTRAINTS)
        tasks = as_tasks(tasks, y, groups)
        n_held_out = round(self.calibration * len(tasks))
        n_fitted = len(tasks) - n_held_out
        if n_held_out < 1 or (hasattr(p_T, "fit") and n_fitted < 2):
            raise TaskError(
                f"calibration={self.calibration} of {len(tasks)} task(s) leaves {n_fitted} to fit "
                f"on and {n_held_out} to hold out; two and one are needed at least."
            )
        rng = check_random_state(self.random_state)
        order = rng.permutation(len(tasks))
        supports = [_support(tasks[i], i, self.n_support, rng) for i in order[:n_held_out]]
        training = [tasks[i] for i in order[n_held_out:]]
        self.distribution_ = clone(p_T).fit(training) if hasattr(p_T, "fit") else p_T
        self.strangeness_ = np.sort(self.distribution_.strangeness(supports))
        return self

    def p_values(self, tasks: Any) -> NDArray[np.float64]:
        """Return the p-value of each task, by its support.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes. All rows of a task without a fixed support count.

        Returns
        -------
        p_values : ndarray of shape (n_tasks,)
            In (0, 1], not less than 1 / (1 + number of held-out tasks). Small values are novel.
        """
        check_is_fitted(self)
        supports = [
            task if task.support is None else take_rows(task, task.support)
            for task in as_tasks(tasks)
        ]
        strangeness, reference = self.distribution_.strangeness(supports), self.strangeness_
        above = np.searchsorted(reference, strangeness, "right")
        ties = above - np.searchsorted(reference, strangeness, "left")
        rng = check_random_state(self.random_state)
        ties_ahead = np.floor(rng.uniform(size=len(supports)) * (ties + 1))
        n_stranger = len(reference) - above + ties_ahead
        p_values: NDArray[np.float64] = (1 + n_stranger) / (1 + len(reference))
        return p_values

    def novelty(self, task: Any) -> float:
        """Return the p-value of one task, by its support.

        Parameters
        ----------
        task : Task, (X, y) or (X_support, y_support, X_query, y_query)
            All rows of a task without a fixed support count.

        Returns
        -------
        p_value : float
            As in `p_values`.
        """
        return float(self.p_values([task])[0])


def _support(task: Task, i: int, n_support: int | None, rng: np.random.RandomState) -> Task:
    if task.support is not None:
        return take_rows(task, task.support)
    if n_support is None:
        return task
    if n_support > len(task):
        raise TaskError(
            f"{label(task, i)} has {len(task)} row(s), fewer than n_support={n_support}."
        )
    return take_rows(task, rng.permutation(len(task))[:n_support])
