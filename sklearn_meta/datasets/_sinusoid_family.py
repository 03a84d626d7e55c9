"""The sine waves of make_sinusoid_tasks, as a distribution with a density."""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.datasets._params import regression_rows
from sklearn_meta.datasets._sinusoid import make_sinusoid_tasks
from sklearn_meta.datasets._wave_density import log_density_of_wave
from sklearn_meta.tasks import Task, TaskDensity

__all__ = ["SinusoidTasks"]


class SinusoidTasks(TaskDensity):
    r"""The distribution that :func:`make_sinusoid_tasks` draws from.

    `score_samples` is the log density of `y` given `X`, the mean of
    :math:`N(y; A \sin(x - \varphi), \sigma^2 I)` over the uniform amplitude and phase: in closed
    form over the amplitude, by Gauss-Legendre quadrature over the phase, in panels that are
    narrower than the noise lets the likelihood be.

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
        If a parameter is out of its range, or a density is asked of waves with no noise, or so
        little (about 1e-4 of the amplitude) that the quadrature would need too many nodes.

    See Also
    --------
    make_sinusoid_tasks : Draws a list of tasks from this distribution.

    Examples
    --------
    >>> from sklearn_meta.datasets import SinusoidTasks
    >>> family = SinusoidTasks(n_rows=10, noise=0.1)
    >>> wave, = family.sample(random_state=0)
    >>> family.log_prob(wave) > family.log_prob((wave.X / 2, wave.y))    # another frequency
    True
    """

    def __init__(
        self,
        n_rows: int = 20,
        *,
        noise: float = 0.0,
        amplitude: tuple[float, float] = (0.1, 5.0),
        phase: tuple[float, float] = (0.0, pi),
        x_range: tuple[float, float] = (-5.0, 5.0),
        n_support: int | None = None,
    ) -> None:
        self.n_rows = n_rows
        self.noise = noise
        self.amplitude = amplitude
        self.phase = phase
        self.x_range = x_range
        self.n_support = n_support

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks.

        Parameters
        ----------
        n_tasks : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            The source of chance.

        Returns
        -------
        tasks : list of Task
            Those of :func:`make_sinusoid_tasks`.
        """
        return make_sinusoid_tasks(
            n_tasks, random_state=random_state, **self.get_params(deep=False)
        )

    def score_samples(self, tasks: Any) -> NDArray[np.float64]:
        """Log density of the targets of each of many tasks.

        Parameters
        ----------
        tasks : sequence of tasks
            Anything that :func:`~sklearn_meta.tasks.as_tasks` takes. Rows may lie outside
            `x_range`.

        Returns
        -------
        log_prob : ndarray of shape (n_tasks,)
            In nats.
        """
        self.sample(1, 0)  # its complaints about parameters
        rows = regression_rows(tasks, type(self).__name__, 1, self.noise)
        return np.array(
            [
                log_density_of_wave(X[:, 0], y, self.noise, self.amplitude, self.phase)
                for X, y in rows
            ]
        )
