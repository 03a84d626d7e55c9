"""Task distributions p(T): where the tasks of an episode come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sklearn_meta.tasks.convert import as_tasks
from sklearn_meta.tasks.task import Task

__all__ = ["EmpiricalTasks", "TaskDistribution"]


class TaskDistribution(ABC):
    """A distribution p(T) over tasks.

    The one thing a distribution must be able to do is to be drawn from; everything that
    meta-trains takes one in place of a list of tasks. One that draws labels from a known list may
    have it as an attribute `classes_`; the learners that train on the labels of all tasks together
    look there.

    Examples
    --------
    Tasks that differ in one slope:

    >>> import numpy as np
    >>> from sklearn.utils import check_random_state
    >>> from sklearn_meta.tasks import Task, TaskDistribution
    >>> class Slopes(TaskDistribution):
    ...     def sample(self, n_tasks=1, random_state=None):
    ...         rng = check_random_state(random_state)
    ...         X = rng.normal(size=(n_tasks, 10, 1))
    ...         return [Task(x, rng.normal() * x[:, 0]) for x in X]
    >>> len(Slopes().sample(3, random_state=0))
    3
    """

    @abstractmethod
    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks, independently.

        Parameters
        ----------
        n_tasks : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            The source of chance.

        Returns
        -------
        tasks : list of Task
            With a fixed support where the distribution has a say in it.
        """


class EmpiricalTasks(TaskDistribution):
    """The empirical distribution: each of the given tasks is as likely as the others.

    Parameters
    ----------
    tasks : sequence of tasks
        Anything that :func:`as_tasks` takes.
    target_type : {"class", "real"}, default=None
        Whether `y` holds labels or numbers; None: as for :func:`as_tasks`.

    Attributes
    ----------
    tasks : tuple of Task
        The support of the distribution.

    Raises
    ------
    TaskError
        If :func:`as_tasks` refuses the tasks.

    Examples
    --------
    >>> from sklearn_meta.tasks import EmpiricalTasks
    >>> tasks = EmpiricalTasks([([[0.], [1.]], [0., 1.]), ([[0.], [1.]], [0., 2.])])
    >>> len(tasks), len(tasks.sample(5, random_state=0))
    (2, 5)
    """

    def __init__(self, tasks: Sequence[Any], *, target_type: str | None = None) -> None:
        self.tasks = as_tasks(tasks, target_type=target_type)

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks with replacement.

        Parameters
        ----------
        n_tasks : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            The source of chance.

        Returns
        -------
        tasks : list of Task
            The very objects, not copies.
        """
        rng = check_random_state(random_state)
        return [self.tasks[i] for i in rng.randint(len(self.tasks), size=n_tasks)]

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, i: int) -> Task:
        return self.tasks[i]

    def __repr__(self) -> str:
        rows = np.array([len(task) for task in self.tasks])
        return f"EmpiricalTasks({len(rows)} tasks of {rows.min()} to {rows.max()} rows)"
