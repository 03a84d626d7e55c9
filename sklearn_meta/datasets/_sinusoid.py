"""Sine waves of random amplitude and phase: the regression benchmark of MAML."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from math import pi
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from sklearn_meta.parameters import Constraint, check_parameter, integer, real
from sklearn_meta.tasks import Task, TaskDistribution
from sklearn_meta.tasks.distribution import check_drawn_rows

__all__ = ["SinusoidTasks", "make_sinusoid_tasks"]


def _is_interval(value: Any) -> bool:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    finite = all(isinstance(end, Real) and math.isfinite(end) for end in value)
    return finite and bool(value[0] <= value[1])


INTERVAL = Constraint(_is_interval, "a pair of floats (low, high) with low <= high", "")


def make_sinusoid_tasks(
    n_tasks: int = 100,
    n_rows: int = 20,
    *,
    noise: float = 0.0,
    amplitude: tuple[float, float] = (0.1, 5.0),
    phase: tuple[float, float] = (0.0, pi),
    x_range: tuple[float, float] = (-5.0, 5.0),
    n_support: int | None = None,
    random_state: Any = None,
) -> list[Task]:
    r"""Draw regression tasks that are sine waves.

    A task has an amplitude :math:`A` and a phase :math:`\varphi`, and rows
    :math:`y = A \sin(x - \varphi) + \varepsilon`, all drawn uniformly except the Gaussian noise
    :math:`\varepsilon`. The defaults are the family of Finn et al. [1]_, section 5.1.

    Parameters
    ----------
    n_tasks : int, default=100
        Number of tasks. With the same seed, more tasks begin with the same ones.

    n_rows : int, default=20
        Number of rows in a task.

    noise : float, default=0.0
        Standard deviation of the noise, in the unit of `y`.

    amplitude : (float, float), default=(0.1, 5.0)
        Range of the amplitude :math:`A`.

    phase : (float, float), default=(0.0, pi)
        Range of the phase :math:`\varphi`, in radians.

    x_range : (float, float), default=(-5.0, 5.0)
        Range of the inputs, in radians.

    n_support : int, default=None
        Number of rows in the fixed support, which come first. With None no support is fixed.

    random_state : int, RandomState instance or None, default=None
        Determines the tasks that are drawn.

    Returns
    -------
    tasks : list of Task
        Tasks with `X` of shape (n_rows, 1) and `y` of shape (n_rows,), named after their waves.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    With the defaults, the mean squared error of predicting zero is 4.2517, and that of the best
    function of `x` without knowledge of the task, :math:`(2/\pi)\,2.55\,(-\cos x)`, is 3.0057. A
    method with a larger error has learned nothing from the support.

    References
    ----------
    .. [1] C. Finn, P. Abbeel and S. Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of
       Deep Networks", ICML 2017.

    Examples
    --------
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> make_sinusoid_tasks(n_tasks=2, n_support=5, random_state=0)
    [Task('2.79 sin(x - 2.25)', X: (20, 1), y: (20,), support: 5 rows),
     Task('3.37 sin(x - 2.11)', X: (20, 1), y: (20,), support: 5 rows)]
    """
    owner = "make_sinusoid_tasks"
    check_parameter("n_tasks", n_tasks, integer(1), owner)
    check_parameter("n_rows", n_rows, integer(1), owner)
    check_drawn_rows(n_rows, n_support, owner)
    check_parameter("noise", noise, real(0.0), owner)
    for name, ends in (("amplitude", amplitude), ("phase", phase), ("x_range", x_range)):
        check_parameter(name, ends, INTERVAL, owner)
    rng = check_random_state(random_state)
    support = None if n_support is None else np.arange(n_support)
    tasks = []
    for _ in range(n_tasks):
        A, phi = rng.uniform(*amplitude), rng.uniform(*phase)
        X = rng.uniform(*x_range, size=(n_rows, 1))
        # drawn even if noise is zero, so that `noise` does not change the waves
        error = noise * rng.standard_normal(n_rows)
        y = A * np.sin(X[:, 0] - phi) + error
        tasks.append(Task(X, y, support=support, name=f"{A:.2f} sin(x - {phi:.2f})"))
    return tasks


@dataclass(eq=False, repr=False)
class SinusoidTasks(TaskDistribution, BaseEstimator):
    r"""The distribution that :func:`make_sinusoid_tasks` draws from.

    Passed to `meta_fit` in place of a list of tasks, it draws new waves for every iteration.

    Parameters
    ----------
    n_rows : int, default=20
        Number of rows in a task.
    noise : float, default=0.0
        Standard deviation of the noise, in the unit of `y`.
    amplitude : (float, float), default=(0.1, 5.0)
        Range of the amplitude :math:`A`.
    phase : (float, float), default=(0.0, pi)
        Range of the phase :math:`\varphi`, in radians.
    x_range : (float, float), default=(-5.0, 5.0)
        Range of the inputs, in radians.
    n_support : int or None, default=None
        Number of rows in the fixed support. With None no support is fixed.

    Raises
    ------
    ValueError
        From `sample`, if a parameter is out of its range.

    See Also
    --------
    make_sinusoid_tasks : Draws a list of tasks from this distribution.

    Examples
    --------
    >>> from sklearn_meta.datasets import SinusoidTasks
    >>> family = SinusoidTasks(n_rows=10, noise=0.1)
    >>> family.sample(random_state=0)
    [Task('2.79 sin(x - 2.25)', X: (10, 1), y: (10,))]
    """

    n_rows: int = 20
    _: KW_ONLY
    noise: float = 0.0
    amplitude: tuple[float, float] = (0.1, 5.0)
    phase: tuple[float, float] = (0.0, pi)
    x_range: tuple[float, float] = (-5.0, 5.0)
    n_support: int | None = None

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks.

        Parameters
        ----------
        n_tasks : int, default=1
            Number of tasks.
        random_state : int, RandomState instance or None, default=None
            Determines the tasks that are drawn.

        Returns
        -------
        tasks : list of Task
            The tasks of :func:`make_sinusoid_tasks`.
        """
        return make_sinusoid_tasks(
            n_tasks, random_state=random_state, **self.get_params(deep=False)
        )
