"""The directions in which linear tasks lie, and how well the tasks cover them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sklearn_meta.analysis.linear_tasks import Floats, LinearTasks, check_number, linear_tasks
from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import check_parameter, integer

__all__ = ["TaskSubspace", "task_subspace"]

OWNER = "task_subspace"
SINGULAR = 1e-10  # of the covariance of rows: relative eigenvalue of a direction without spread


@dataclass(frozen=True, eq=False)
class TaskSubspace:
    """Second moments of tasks' coefficients, and their leading directions; prints as words.

    Parameters
    ----------
    moment : ndarray of shape (d, d)
        Gamma = E[w w'], for features whitened over all rows (summed over outputs).
    eigenvalues : ndarray of shape (d,)
        Of `moment`, from the largest; an estimate may have some below zero.
    components : ndarray of shape (n_components, d)
        Orthonormal rows that span the leading directions, in the units of the coefficients given.
    task_diversity : float
        The smallest of the `n_components` leading eigenvalues: how much the tasks tell of the
        direction that they tell least of.
    interval : (float, float)
        Of `task_diversity`: percentiles over resampled tasks.
    n_tasks : int
        Tasks.
    level : float
        Of the interval.
    """

    moment: Floats
    eigenvalues: Floats
    components: Floats
    task_diversity: float
    interval: tuple[float, float]
    n_tasks: int
    level: float

    @property
    def share(self) -> float:
        """What part of E|w|^2 lies in the leading directions."""
        r = len(self.components)
        return float(self.eigenvalues[:r].sum() / self.eigenvalues.clip(min=0).sum())

    def __str__(self) -> str:
        r, d = self.components.shape
        low, high = self.interval
        word = (
            "The tasks cover them"
            if low > 0
            else "The tasks do not tell the last of them from noise"
        )
        return (
            f"{100 * self.share:.0f} % of what {self.n_tasks} linear tasks ask of {d} features "
            f"lies in {r} direction{'s' * (r > 1)}. {word}: task diversity "
            f"{self.task_diversity:.3g} [{low:.3g}, {high:.3g}] ({100 * self.level:g} %)."
        )


def task_subspace(
    tasks: Any,
    n_components: int | None = None,
    *,
    method: str = "squares",
    target_type: str | None = None,
    level: float = 0.95,
    n_resamples: int = 200,
    random_state: Any = None,
) -> TaskSubspace:
    r"""Estimate the subspace that the coefficients of linear tasks share, by the method of moments.

    For :math:`x \sim N(0, I)`, :math:`y = x^\top w + \varepsilon`, over rows and tasks,

    .. math:: E[y^2 x x^\top] = 2 \Gamma + (\operatorname{tr}\Gamma + \sigma^2) I, \quad
        \Gamma = E[w w^\top],

    and :math:`E[y^2]` is the factor of I. So :math:`\Gamma` is found without fitting a task, even
    from one row of each. Rows are whitened by their mean and covariance over all tasks first.

    Parameters
    ----------
    tasks : sequence of tasks
        At least 2, as :func:`~sklearn_meta.tasks.as_tasks` takes them. Labels become indicators,
        one output a class; they must mean the same in all tasks.
    n_components : int, default=None
        Dimension of the subspace; None counts the eigenvalues that exceed the sampling error (its
        spectral norm over resamples of tasks, at `level`), and takes at least 1.
    method : {"squares", "pairs"}, default="squares"
        "squares" is the identity above and needs Gaussian rows. "pairs" takes
        :math:`E[x_i y_i y_j x_j^\top]` over pairs of rows of one task, which holds for white rows
        of any distribution and has less noise where tasks have many rows; it needs 2 of each.
    target_type : {"class", "real"}, default=None
        What `y` holds; None: as :func:`~sklearn_meta.tasks.as_tasks` reads it.
    level, n_resamples : float and int, default=0.95 and 200
        Of the interval, and of the choice of `n_components`.
    random_state : int, RandomState instance or None, default=None
        Of the resamples.

    Returns
    -------
    TaskSubspace
        With the whitened second moments, their spectrum and the leading directions.

    Raises
    ------
    TaskError, ValueError
        If tasks cannot be used, rows have no spread in some direction (a constant or duplicate
        feature), or a parameter is out of its range.

    References
    ----------
    Tripuraneni, Jin and Jordan, "Provable Meta-Learning of Linear Representations", ICML 2021.
    Kong et al., "Meta-learning for Mixed Linear Regression", ICML 2020 (pairs).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis import task_subspace
    >>> rng = np.random.RandomState(0)
    >>> X, a = rng.normal(size=(400, 50, 5)), rng.normal(size=(400, 2))
    >>> tasks = [(rows, rows[:, :2] @ coef) for rows, coef in zip(X, a)]
    >>> found = task_subspace(tasks, random_state=0)
    >>> found.components.shape, bool(np.abs(found.components[:, 2:]).max() < 0.1)
    ((2, 5), True)
    """
    if method not in ("squares", "pairs"):
        raise ValueError(
            f"The 'method' parameter of {OWNER} must be 'squares' or 'pairs'. "
            f"Got {method!r} instead."
        )
    check_number(level, "level", OWNER, 0, 1)
    check_parameter("n_resamples", n_resamples, integer(1), OWNER)
    data = linear_tasks(
        tasks, fit_intercept=False, target_type=target_type, owner=OWNER, min_tasks=2
    )
    d, n = data.X[0].shape[1], len(data.X)
    if n_components is not None:
        check_parameter("n_components", n_components, integer(1, d), OWNER)
    white, whitened = _whitened(data)
    sums, weights = _squares(whitened) if method == "squares" else _pairs(whitened, data.names)
    moment = sums.sum(0) / weights.sum()
    values, vectors = _spectrum(moment)
    rng, drawn = check_random_state(random_state), []
    for _ in range(n_resamples):
        taken = rng.randint(n, size=n)
        drawn.append(sums[taken].sum(0) / weights[taken].sum())
    r = n_components or _above_noise(values, moment, np.array(drawn), level)
    of_last = [_spectrum(one)[0][r - 1] for one in drawn]
    low, high = np.percentile(of_last, [50 * (1 - level), 50 * (1 + level)])
    # x.w = (white (x - mean)).v + const for w = white v
    span, _ = np.linalg.qr(white @ vectors[:, :r])
    return TaskSubspace(
        moment, values, span.T, float(values[r - 1]), (float(low), float(high)), n, float(level)
    )


def _whitened(data: LinearTasks) -> tuple[Floats, LinearTasks]:
    rows = np.concatenate(data.X)
    mean, size = rows.mean(0), rows.std(0)
    size[size == 0] = 1.0
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov((rows / size).T, bias=True)))
    if values[0] <= SINGULAR * values[-1]:
        raise TaskError(
            f"{OWNER}: the {len(rows)} rows of all tasks together do not vary in every direction "
            f"of their {len(mean)} features; leave out constant and duplicate ones."
        )
    white: Floats = (vectors / np.sqrt(values)) @ vectors.T / size[:, None]
    X = [(task - mean) @ white for task in data.X]
    return white, LinearTasks(X, data.y, data.classes, data.names)


def _squares(data: LinearTasks) -> tuple[Floats, Floats]:
    """Sum (y^2 x x' - y^2 I) / 2 over the rows of each task; with numbers of rows."""
    eye, sums = np.eye(data.X[0].shape[1]), []
    for X, y in zip(data.X, data.y, strict=True):
        squares = np.sum(y**2, axis=1)
        sums.append(((X * squares[:, None]).T @ X - squares.sum() * eye) / 2)
    return np.array(sums), data.n_rows.astype(np.float64)


def _pairs(data: LinearTasks, names: list[str]) -> tuple[Floats, Floats]:
    """Means over pairs of rows of each task of x y y' x', summed over outputs; a weight each."""
    means = []
    for X, y, name in zip(data.X, data.y, names, strict=True):
        n = len(X)
        if n < 2:
            raise TaskError(f"{name}: method='pairs' needs at least 2 rows; X has shape {X.shape}.")
        b, own = X.T @ y, (X * np.sum(y**2, axis=1)[:, None]).T @ X
        means.append((b @ b.T - own) / (n * (n - 1)))
    return np.array(means), np.ones(len(means))


def _spectrum(moment: Floats) -> tuple[Floats, Floats]:
    values, vectors = np.linalg.eigh(moment)
    return values[::-1], vectors[:, ::-1]


def _above_noise(values: Floats, moment: Floats, drawn: Floats, level: float) -> int:
    """Count the eigenvalues that an error as large as that of resamples could not make of 0."""
    errors = np.linalg.norm(drawn - moment, ord=2, axis=(1, 2))
    return max(1, int(np.sum(values > np.quantile(errors, level))))
