"""Sine waves of random amplitude and phase: the regression benchmark of MAML."""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sklearn_meta.datasets._params import (
    check_int,
    check_interval,
    check_real,
    check_support_size,
)
from sklearn_meta.tasks import Task

__all__ = ["make_sinusoid_tasks"]


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
    r"""Draw sine waves, each task one wave.

    A task has an amplitude :math:`A` and a phase :math:`\varphi`, and rows
    :math:`y = A \sin(x - \varphi) + \varepsilon`, all drawn uniformly but the Gaussian noise
    :math:`\varepsilon`. The defaults are the family of Finn et al. [1]_, section 5.1.

    Parameters
    ----------
    n_tasks : int, default=100
        How many tasks. More tasks of the same seed begin with the same ones.

    n_rows : int, default=20
        Rows a task.

    noise : float, default=0.0
        Standard deviation of the noise, in the unit of `y`.

    amplitude : (float, float), default=(0.1, 5.0)
        The range of :math:`A`.

    phase : (float, float), default=(0.0, pi)
        The range of :math:`\varphi`, in radians.

    x_range : (float, float), default=(-5.0, 5.0)
        The range of the inputs, in radians.

    n_support : int, default=None
        The first `n_support` rows become the fixed support (rows are independent, so the first
        are as good as any). With None no support is fixed.

    random_state : int, RandomState instance or None, default=None
        The source of chance.

    Returns
    -------
    tasks : list of Task
        `X` of shape (n_rows, 1) and `y` of shape (n_rows,), each named after its wave.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    For the defaults, the mean squared error of predicting zero is 4.2517, and that of the best
    function of `x` that knows nothing of the task, :math:`(2/\pi)\,2.55\,(-\cos x)`, is 3.0057:
    a method above that has learned nothing from the support.

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
    check_int(n_tasks, "n_tasks", owner, 1)
    check_int(n_rows, "n_rows", owner, 1)
    check_support_size(n_support, "n_support", owner, n_rows)
    check_real(noise, "noise", owner)
    amplitudes = check_interval(amplitude, "amplitude", owner)
    phases = check_interval(phase, "phase", owner)
    ends = check_interval(x_range, "x_range", owner)
    rng = check_random_state(random_state)
    support = None if n_support is None else np.arange(n_support)
    tasks = []
    for _ in range(n_tasks):
        A, phi = rng.uniform(*amplitudes), rng.uniform(*phases)
        X = rng.uniform(*ends, size=(n_rows, 1))
        # drawn even when it is zero, so that `noise` does not change the waves
        error = noise * rng.standard_normal(n_rows)
        y = A * np.sin(X[:, 0] - phi) + error
        tasks.append(Task(X, y, support=support, name=f"{A:.2f} sin(x - {phi:.2f})"))
    return tasks
