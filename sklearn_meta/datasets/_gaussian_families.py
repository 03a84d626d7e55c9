"""Synthetic regressions with trends or two Cauchy peaks, to compare learners of few tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import truncnorm
from sklearn.utils import check_random_state

from sklearn_meta.parameters import check_parameter, integer, option
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.distribution import check_drawn_rows

__all__ = ["make_cauchy_tasks", "make_trend_tasks"]

# ranges of amplitude and frequency; mean and deviation of shift, intercept and slope; noise
TRENDS: dict[str, dict[str, Any]] = {
    "easy": {
        "amplitude": (0.7, 1.3),
        "frequency": (1.5, 1.5),
        "shift": (0.0, 0.1),
        "intercept": (5.0, 0.1),
        "slope": (0.5, 0.2),
        "noise": 0.1,
    },
    "hard": {
        "amplitude": (0.7, 1.4),
        "frequency": (1.0, 2.0),
        "shift": (0.0, 2.0),
        "intercept": (5.0, 0.8),
        "slope": (0.5, 0.6),
        "noise": 0.2,
    },
}


def make_trend_tasks(
    n_tasks: int = 20,
    n_rows: int = 10,
    *,
    difficulty: str = "easy",
    n_support: int | None = None,
    random_state: Any = None,
) -> list[Task]:
    r"""Draw regression tasks that are sine waves around a line.

    A task is :math:`y = s x + A \sin(\omega (x - c)) + b + \varepsilon`, with rows :math:`x` drawn
    uniformly from [-5, 5]. These are the families "Sinusoid-E" and "Sinusoid-H" of Wu [2]_; the
    first one is the sinusoid of Rothfuss et al. [1]_.

    Parameters
    ----------
    n_tasks : int, default=20
        Number of tasks. With the same seed, more tasks begin with the same ones.

    n_rows : int, default=10
        Number of rows in a task.

    difficulty : {"easy", "hard"}, default="easy"
        The family. With "easy", :math:`A \sim U(0.7, 1.3)`, :math:`\omega = 1.5`,
        :math:`c \sim N(0, 0.1^2)`, :math:`b \sim N(5, 0.1^2)`, :math:`s \sim N(0.5, 0.2^2)` and the
        noise has standard deviation 0.1. With "hard", these are U(0.7, 1.4), U(1, 2),
        :math:`N(0, 2^2)`, :math:`N(5, 0.8^2)`, :math:`N(0.5, 0.6^2)` and 0.2.

    n_support : int, default=None
        Number of rows in the fixed support, which come first. With None no support is fixed.

    random_state : int, RandomState instance or None, default=None
        Determines the tasks that are drawn.

    Returns
    -------
    tasks : list of Task
        Tasks with `X` of shape (n_rows, 1) and `y` of shape (n_rows,).

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    See Also
    --------
    make_cauchy_tasks : The family of the same comparison with two inputs.
    make_sinusoid_tasks : The sine waves of MAML.

    References
    ----------
    .. [1] J. Rothfuss, V. Fortuin, M. Josifoski and A. Krause, "PACOH: Bayes-Optimal Meta-Learning
       with PAC-Guarantees", ICML 2021; constants of the authors' code.
    .. [2] Y. Wu, "ALPaCA vs. GP-based Prior Learning: A comparison between two Bayesian
       Meta-Learning Algorithms", report and code of MetaL-Benchmark.

    Examples
    --------
    >>> from sklearn_meta.datasets import make_trend_tasks
    >>> make_trend_tasks(n_tasks=1, n_support=5, random_state=0)
    [Task('0.05 x + 1.03 sin(1.50 (x - 0.07)) + 5.16', X: (10, 1), y: (10,), support: 5 rows)]
    """
    owner = "make_trend_tasks"
    _check(owner, n_tasks, n_rows, n_support)
    check_parameter("difficulty", difficulty, option(*TRENDS), owner)
    family, rng = TRENDS[difficulty], check_random_state(random_state)
    tasks = []
    for _ in range(n_tasks):
        A, c = rng.uniform(*family["amplitude"]), rng.normal(*family["shift"])
        b, s = rng.normal(*family["intercept"]), rng.normal(*family["slope"])
        omega = rng.uniform(*family["frequency"])
        X = rng.uniform(-5, 5, size=(n_rows, 1))
        mean = s * X[:, 0] + A * np.sin(omega * (X[:, 0] - c)) + b
        y = mean + family["noise"] * rng.standard_normal(n_rows)
        name = f"{s:.2f} x + {A:.2f} sin({omega:.2f} (x - {c:.2f})) + {b:.2f}"
        tasks.append(Task(X, y, support=_support(n_support), name=name))
    return tasks


def make_cauchy_tasks(
    n_tasks: int = 20,
    n_rows: int = 20,
    *,
    n_support: int | None = None,
    random_state: Any = None,
) -> list[Task]:
    r"""Draw regression tasks of two inputs around a mean with two peaks.

    A task is a Gaussian process with the covariance
    :math:`0.2^2 \exp(-|x - x'|^2 / (2 \cdot 0.5))` around the mean
    :math:`6 / (\pi (1 + |x + 1|^2)) + 3 / (\pi (1 + |x - 2|^2)) + 1`, with noise of standard
    deviation 0.05. Inputs are normal with standard deviation 2.5, truncated to [-7.5, 5]. This is
    the family "Cauchy" of Rothfuss et al. [1]_.

    Parameters
    ----------
    n_tasks : int, default=20
        Number of tasks. With the same seed, more tasks begin with the same ones.

    n_rows : int, default=20
        Number of rows in a task.

    n_support : int, default=None
        Number of rows in the fixed support, which come first. With None no support is fixed.

    random_state : int, RandomState instance or None, default=None
        Determines the tasks that are drawn.

    Returns
    -------
    tasks : list of Task
        Tasks with `X` of shape (n_rows, 2) and `y` of shape (n_rows,).

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    See Also
    --------
    make_trend_tasks : The families of the same comparison with one input.

    References
    ----------
    .. [1] J. Rothfuss, V. Fortuin, M. Josifoski and A. Krause, "PACOH: Bayes-Optimal Meta-Learning
       with PAC-Guarantees", ICML 2021; constants of the authors' code.

    Examples
    --------
    >>> from sklearn_meta.datasets import make_cauchy_tasks
    >>> make_cauchy_tasks(n_tasks=1, n_support=10, random_state=0)
    [Task(X: (20, 2), y: (20,), support: 10 rows)]
    """
    _check("make_cauchy_tasks", n_tasks, n_rows, n_support)
    rng, tasks = check_random_state(random_state), []
    for _ in range(n_tasks):
        X = truncnorm.rvs(-3, 2, scale=2.5, size=(n_rows, 2), random_state=rng)
        differences = X[:, None] - X
        K = 0.2**2 * np.exp(-np.sum(differences**2, axis=-1) / (2 * 0.5))
        root = np.linalg.cholesky(K + 1e-10 * np.eye(n_rows))
        y = _two_peaks(X) + root @ rng.standard_normal(n_rows)
        y += 0.05 * rng.standard_normal(n_rows)
        tasks.append(Task(X, y, support=_support(n_support)))
    return tasks


def _two_peaks(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the Cauchy family."""
    near, far = (1 / (np.pi * (1 + np.sum((X - at) ** 2, axis=1))) for at in (-1, 2))
    return np.asarray(6 * near + 3 * far + 1)


def _support(n_support: int | None) -> NDArray[np.intp] | None:
    return None if n_support is None else np.arange(n_support)


def _check(owner: str, n_tasks: int, n_rows: int, n_support: int | None) -> None:
    check_parameter("n_tasks", n_tasks, integer(1), owner)
    check_parameter("n_rows", n_rows, integer(1), owner)
    check_drawn_rows(n_rows, n_support, owner)
