"""Task distributions p(T): the sources of the tasks of an episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from sklearn_meta._warnings import warn
from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import Constraint, check_parameter, integer
from sklearn_meta.tasks.tables import dense
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import as_tasks, label
from sklearn_meta.tasks.values import kind_of_targets

__all__ = [
    "EmpiricalTasks",
    "TaskDensity",
    "TaskDistribution",
    "as_matrix",
    "check_constraints",
    "check_drawn_rows",
    "regression_rows",
    "task_weights",
    "warn_not_converged",
]


MAX_LISTED = 20  # tasks in the table that EmpiricalTasks prints


class TaskDistribution(ABC):
    """A distribution p(T) over tasks.

    Everything that meta-trains takes a distribution in place of a list of tasks, and `sample` is
    all that it must define. A distribution over tasks with a known list of labels may have the
    list as an attribute `classes_`, for learners that train on the labels of all tasks together.

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
        """Draw independent tasks.

        Parameters
        ----------
        n_tasks : int, default=1
            Number of tasks.
        random_state : int, RandomState instance or None, default=None
            Determines the tasks that are drawn.

        Returns
        -------
        tasks : list of Task
            Tasks, with a fixed support where the distribution determines it.
        """


class EmpiricalTasks(TaskDistribution):
    """The empirical distribution: all tasks of a collection are equally likely.

    Parameters
    ----------
    tasks : sequence of tasks
        Anything that :func:`as_tasks` takes.
    target_type : {"class", "real"}, default=None
        Whether `y` holds labels or numbers. With None, as for :func:`as_tasks`.

    Attributes
    ----------
    tasks : tuple of Task
        The tasks.

    Raises
    ------
    TaskError
        If :func:`as_tasks` refuses the tasks.

    Examples
    --------
    >>> from sklearn_meta.tasks import EmpiricalTasks
    >>> tasks = EmpiricalTasks([([[0.], [1.]], [0.5, 1.]), ([[0.], [1.]], [0., 2.5])])
    >>> len(tasks), len(tasks.sample(5, random_state=0))
    (2, 5)

    Notebooks show the tasks as a table, and so does `print`:

    >>> print(tasks)
    2 tasks, rows of shape (1,)
    task  rows  support    target
       0     2        -  0.5 to 1
       1     2        -  0 to 2.5
    """

    def __init__(self, tasks: Sequence[Any], *, target_type: str | None = None) -> None:
        self.tasks = as_tasks(tasks, target_type=target_type)
        self._target_type = target_type

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks with replacement.

        Parameters
        ----------
        n_tasks : int, default=1
            Number of tasks.
        random_state : int, RandomState instance or None, default=None
            Determines the tasks that are drawn.

        Returns
        -------
        tasks : list of Task
            Tasks of `tasks`, not copies.
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

    def __str__(self) -> str:
        lines = self._table()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = ["  ".join(map(str.rjust, line, widths)) for line in lines]
        return "\n".join([self._title(), *rows, *self._rest()])

    def _repr_html_(self) -> str:
        head, *lines = self._table()
        rows = ["".join(f"<th>{name}</th>" for name in head)]
        rows += ["".join(f"<td>{escape(cell)}</td>" for cell in line) for line in lines]
        table = "\n".join(f"<tr>{row}</tr>" for row in rows)
        return f"<p>{self._title()}</p>\n<table>\n{table}\n</table>" + "".join(
            f"\n<p>{line}</p>" for line in self._rest()
        )

    def _title(self) -> str:
        return f"{len(self)} tasks, rows of shape {self.tasks[0].row_shape}"

    def _rest(self) -> list[str]:
        n_more = len(self) - MAX_LISTED
        return [f"... and {n_more} more"] if n_more > 0 else []

    def _table(self) -> list[list[str]]:
        """Return the head and a line of text for each of the first tasks."""
        y = np.concatenate([task.y for task in self.tasks])
        is_class = "real" not in (self._target_type, kind_of_targets(y))
        lines = [["task", "rows", "support", "classes" if is_class else "target"]]
        for i, task in enumerate(self.tasks[:MAX_LISTED]):
            if is_class:
                target = str(len(np.unique(task.y)))
            else:
                target = f"{task.y.min():.3g} to {task.y.max():.3g}"
            n_support = "-" if task.support is None else str(len(task.support))
            name = str(i) if task.name is None else task.name
            lines.append([name, str(len(task)), n_support, target])
        return lines


class TaskDensity(TaskDistribution, BaseEstimator):
    """A distribution p(T) over tasks that has a density.

    A subclass defines `sample` and `score_samples`, and `fit` if it is learned from tasks. Its
    constructor stores parameters unchanged, so that :func:`sklearn.base.clone` makes an unfitted
    copy.

    Attributes
    ----------
    density_of : str
        What the density is of, such as ``"y given X"``. Only densities of the same thing can be
        compared or mixed.

    Examples
    --------
    Tasks whose targets are noise of one size:

    >>> import numpy as np
    >>> from scipy.stats import norm
    >>> from sklearn.utils import check_random_state
    >>> from sklearn_meta.tasks import Task, TaskDensity, as_tasks
    >>> class Noise(TaskDensity):
    ...     def sample(self, n_tasks=1, random_state=None):
    ...         rng = check_random_state(random_state)
    ...         return [Task(np.ones((5, 1)), rng.normal(size=5)) for _ in range(n_tasks)]
    ...     def score_samples(self, tasks):
    ...         return np.array([norm.logpdf(task.y).sum() for task in as_tasks(tasks)])
    >>> round(Noise().log_prob(([[1.0], [1.0]], [0.0, 0.0])), 4)
    -1.8379
    """

    @property
    def density_of(self) -> str:
        """What the density is of."""
        return "y given X"

    def log_prob(self, task: Any) -> float:
        """Return the log density of one task.

        Parameters
        ----------
        task : Task, (X, y) or (X_support, y_support, X_query, y_query)
            All its rows count, support and query.

        Returns
        -------
        log_prob : float
            In nats; minus infinity for an impossible task.
        """
        return float(self.score_samples([task])[0])

    @abstractmethod
    def score_samples(self, tasks: Any) -> NDArray[np.float64]:
        """Return the log density of each task.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats; minus infinity for an impossible task.
        """

    def strangeness(self, tasks: Any) -> NDArray[np.float64]:
        """Return how little each task looks like one of this distribution, whatever its size.

        A log density falls with the number of rows, so that tasks of different sizes cannot be
        ranked by it. By default strangeness is minus the log density of a row; subclasses that
        know how the density varies over their own tasks have a better measure.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`as_tasks` takes.

        Returns
        -------
        strangeness : ndarray of shape (n_tasks,)
            Larger values are stranger.
        """
        tasks = as_tasks(tasks)
        return -self.score_samples(tasks) / [len(task) for task in tasks]

    def _set_features(self, task: Task) -> None:
        """Set `n_features_in_` and, as scikit-learn, `feature_names_in_` only of named columns."""
        (self.n_features_in_,) = task.row_shape
        if task.feature_names_in is not None:
            self.feature_names_in_ = np.array(task.feature_names_in, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_


def as_matrix(task: Task, i: int, owner: str, n_features: int | None = None) -> NDArray[np.float64]:
    """Return the rows of a task as a dense matrix of so many columns, or refuse them."""
    shape = (len(task), *task.row_shape)
    if len(shape) != 2:
        raise TaskError(
            f"{label(task, i)}: {owner} needs X of shape (n_rows, n_features); got {shape}."
        )
    if n_features is not None and shape[1] != n_features:
        raise TaskError(
            f"{label(task, i)}: X of shape {shape} has {shape[1]} feature(s), but {owner} has "
            f"{n_features}."
        )
    return dense(task.X, np.float64)


def regression_rows(
    tasks: Sequence[Task], owner: str, n_features: int | None = None
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Return the rows and the single target of each task, or refuse the first unusable one."""
    for i, task in enumerate(tasks):
        if task.y.ndim != 1:
            raise TaskError(
                f"{label(task, i)}: {owner} needs one target a row, y of shape (n_rows,); got "
                f"y of shape {task.y.shape} with X of shape {(len(task), *task.row_shape)}."
            )
    X = [as_matrix(task, i, owner, n_features) for i, task in enumerate(tasks)]
    return X, [task.y.astype(np.float64) for task in tasks]


def check_constraints(estimator: BaseEstimator, constraints: Mapping[str, Constraint]) -> None:
    """Refuse the first parameter whose value its constraint does not allow."""
    for name, constraint in constraints.items():
        check_parameter(name, getattr(estimator, name), constraint, type(estimator).__name__)


def warn_not_converged(owner: str, max_iter: int, tol: float, remedy: str) -> None:
    """Warn that an estimate is not the one that more steps would end at."""
    warn(
        f"{owner} has not converged in max_iter={max_iter} steps to tol={tol}. {remedy}",
        ConvergenceWarning,
    )


def check_drawn_rows(
    n_rows: Any, n_support: Any, owner: str, support_name: str = "n_support"
) -> None:
    """Check the number of rows of a drawn task, and of its support, which must leave a query."""
    if n_rows is not None:
        check_parameter("n_rows", n_rows, integer(1 if n_support is None else 2), owner)
    if n_support is not None:
        most = None if n_rows is None else n_rows - 1
        check_parameter(support_name, n_support, integer(1, most), owner)


def task_weights(sample_weight: Any, tasks: Sequence[Task]) -> NDArray[np.float64]:
    """Return a weight for each task; the weights sum to the number of tasks."""
    n = len(tasks)
    weights = np.ones(n) if sample_weight is None else np.asarray(sample_weight, np.float64)
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight must have one weight a task, shape ({n},); got shape {weights.shape}."
        )
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
        raise ValueError(
            "sample_weight must be finite, not negative, and not all zero; got weights from "
            f"{weights.min()} to {weights.max()}."
        )
    return weights * (n / weights.sum())
