"""How much tasks differ: variance between tasks, within them, and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sklearn_meta.analysis.covariance import kept_covariance
from sklearn_meta.analysis.linear_tasks import (
    Floats,
    LinearTasks,
    check_number,
    linear_tasks,
)
from sklearn_meta.analysis.random_coefficients import RandomCoefficients, random_coefficients
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.ranges import check_int

__all__ = ["VarianceComponents", "fit_outputs", "variance_components"]

OWNER = "variance_components"
ROUNDING = 1e-18  # of the mean square of y: what least squares leaves where nothing is left


@dataclass(frozen=True, eq=False)
class VarianceComponents:
    """Variance between tasks, within tasks and of the noise; prints as words.

    Parameters
    ----------
    model : {"coefficients", "means"}
        What was taken to differ between tasks.
    between, within, noise, icc : float
        In squared units of `y` (summed over outputs): how much the tasks' own models differ in
        what they predict at a row; how much `y` varies within a task; how much of that a task's
        own linear model leaves. `icc` is between / (between + noise).
    intervals : dict of str to (float, float)
        Percentiles over resampled tasks, for each of these four.
    mean, covariance : ndarray of shape (p,) and (p, p), or with a first axis of n_outputs
        Of a task's coefficients over tasks; the intercept is the last.
    n_tasks, n_rows : int
        Tasks, and rows of all of them together.
    level : float
        Of the intervals.
    """

    model: str
    between: float
    within: float
    noise: float
    icc: float
    intervals: dict[str, tuple[float, float]]
    mean: Floats
    covariance: Floats
    n_tasks: int
    n_rows: int
    level: float

    @property
    def tau2(self) -> float:
        """Variance over tasks of a coefficient, the mean over coefficients (and outputs)."""
        return float(np.mean(np.diagonal(self.covariance, axis1=-2, axis2=-1)))

    def reliability(self, n_rows: int) -> float:
        """Share of truth in the variance of what tasks learn alone from a few rows.

        Parameters
        ----------
        n_rows : int
            Rows of support.

        Returns
        -------
        float
            The share between / (between + noise * p / n_rows), for rows of an orthogonal design.
            At 0.5, the rows of a task and the other tasks are equally informative about it.
        """
        n = check_int(n_rows, "n_rows", "reliability", 1)
        doubt = self.noise * self.mean.shape[-1] / n
        return float(self.between / (self.between + doubt)) if self.between + doubt else np.nan

    def __str__(self) -> str:
        what = {"means": "means", "coefficients": "linear models"}[self.model]
        low, high = self.intervals["icc"]
        alike = "are all but the same" if high < 0.05 else "differ"
        rows = [
            f"{name:8} {getattr(self, name):.4g} [{a:.4g}, {b:.4g}]"
            for name, (a, b) in self.intervals.items()
            if name != "icc"
        ]
        return "\n".join(
            [
                f"The {what} of {self.n_tasks} tasks ({self.n_rows} rows) {alike}: of the variance "
                f"that one model for all tasks leaves, {100 * self.icc:.0f} % "
                f"[{100 * low:.0f}, {100 * high:.0f}] is between tasks and the rest is noise.",
                f"Variances, with {100 * self.level:g} % intervals over tasks:",
                *rows,
            ]
        )


def variance_components(
    tasks: Any,
    *,
    model: str = "coefficients",
    fit_intercept: bool = True,
    target_type: str | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    random_state: Any = None,
) -> VarianceComponents:
    r"""Split the variance of the targets into between tasks, within tasks, and noise.

    The model is :math:`y = x^\top w_t + \varepsilon` with :math:`w_t \sim (\mu, \Sigma)` and
    :math:`\varepsilon` of variance :math:`\sigma^2`; for `model="means"`, x is the constant 1.
    :math:`\sigma^2` is pooled from least squares within tasks and :math:`\Sigma` found by Fisher
    scoring for restricted maximum likelihood (quadratic estimators that for given weights of the
    tasks are unbiased, whatever the distribution of w). `between` is
    :math:`\operatorname{tr}(\Sigma\,E[x x^\top])`, so the scale of the features does not matter.

    Parameters
    ----------
    tasks : sequence of tasks
        At least 2, as :func:`~sklearn_meta.tasks.as_tasks` takes them, of any sizes. Labels are
        turned into one indicator a class, whose variances are added up; they must mean the same
        in all tasks.
    model : {"coefficients", "means"}, default="coefficients"
        Whether linear models of the tasks differ, or only the means of `y`.
    fit_intercept : bool, default=True
        Whether a linear model has an intercept, which then differs between tasks too.
    target_type : {"class", "real"}, default=None
        What `y` holds; None: as :func:`~sklearn_meta.tasks.as_tasks` reads it.
    level, n_resamples : float and int, default=0.95 and 1000
        Of the intervals: percentiles over resamples of tasks, to first order (the weight of each
        task in the estimator stays). Too narrow with fewer than about 20 tasks.
    random_state : int, RandomState instance or None, default=None
        Of the resamples.

    Returns
    -------
    VarianceComponents
        `between` below zero, which an unbiased estimate may be, is 0.

    Raises
    ------
    TaskError
        If tasks cannot be used, are fewer than 2, or labels have nothing in common.
    ValueError
        If no task has more rows than coefficients (its noise cannot be seen), all tasks together
        have too few rows for a covariance, or a parameter is out of its range.

    Examples
    --------
    >>> from sklearn_meta.analysis import variance_components
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(200, 10, 3, noise=1.0, random_state=0).tasks
    >>> found = variance_components(tasks, fit_intercept=False, random_state=0)
    >>> bool(abs(found.between - 3) < 0.5 and abs(found.noise - 1) < 0.1)
    True
    """
    if model not in ("coefficients", "means"):
        raise ValueError(
            f"The 'model' parameter of {OWNER} must be 'coefficients' or 'means'. "
            f"Got {model!r} instead."
        )
    check_number(level, "level", OWNER, 0, 1)
    check_int(n_resamples, "n_resamples", OWNER, 1)
    data = linear_tasks(
        tasks, fit_intercept=fit_intercept, target_type=target_type, owner=OWNER, min_tasks=2
    )
    if model == "means":
        data = LinearTasks([np.ones((n, 1)) for n in data.n_rows], data.y, None, data.names)
    fits, residual, freedom = fit_outputs(data, OWNER)
    spread = np.array([np.sum((y - y.mean(0)) ** 2) for y in data.y])
    rng, n = check_random_state(random_state), len(data.y)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)
    scale = float(np.mean([np.mean(y**2) for y in data.y])) * len(fits)
    given = fits, residual, freedom, spread, (data.n_rows - 1).astype(np.float64), scale
    parts, drawn = _parts(np.ones((1, n)), *given), _parts(weights, *given)
    ends = [50 * (1 - level), 50 * (1 + level)]
    covariance = np.array([kept_covariance(fit, data.second_moment) for fit in fits])
    mean, one = np.array([fit.mean for fit in fits]), len(fits) == 1
    return VarianceComponents(
        model=model,
        **{name: float(value[0]) for name, value in parts.items()},
        intervals={name: _ends(values, ends) for name, values in drawn.items()},
        mean=mean[0] if one else mean,
        covariance=covariance[0] if one else covariance,
        n_tasks=n,
        n_rows=int(data.n_rows.sum()),
        level=float(level),
    )


def fit_outputs(data: LinearTasks, owner: str) -> tuple[list[RandomCoefficients], Floats, Floats]:
    """Fit the random-coefficients model to each output.

    Parameters
    ----------
    data : LinearTasks
        The tasks.
    owner : str
        Who asks, for the errors.

    Returns
    -------
    fits : list of RandomCoefficients
        One an output.
    residual : ndarray of shape (n_tasks, n_outputs)
        Sums of squares that each task's own least squares leaves.
    freedom : ndarray of shape (n_tasks,)
        Rows less rank.

    Raises
    ------
    ValueError
        If noise or covariance cannot be told from these rows.
    """
    rank = np.array([np.linalg.matrix_rank(X) for X in data.X])
    freedom, p = (data.n_rows - rank).astype(np.float64), data.X[0].shape[1]
    if not freedom.any():
        raise ValueError(
            f"{owner}: no task has more rows than coefficients ({p}, with at most "
            f"{data.n_rows.max()} rows a task), so noise cannot be told from differences between "
            "tasks. Give tasks more rows, or fewer features."
        )
    told, needed = int(np.sum(rank * (rank + 1) // 2)), p * (p + 1) // 2
    if told < needed:
        raise TaskError(
            f"{owner}: a covariance of {p} coefficients has {needed} entries, of which "
            f"{len(rank)} tasks with {int(data.n_rows.sum())} rows tell at most {told}."
        )
    least = [np.linalg.lstsq(X, y, rcond=None)[0] for X, y in zip(data.X, data.y, strict=True)]
    parts = zip(data.X, data.y, least, strict=True)
    residual = np.array([np.sum((y - X @ w) ** 2, axis=0) for X, y, w in parts])
    residual[freedom == 0] = 0.0
    G = np.array([X.T @ X for X in data.X])
    b = np.array([X.T @ y for X, y in zip(data.X, data.y, strict=True)])
    total = np.mean([np.mean(y**2, axis=0) for y in data.y], axis=0)
    residual[residual <= ROUNDING * total * data.n_rows[:, None]] = 0.0
    noise, moment = residual.sum(0) / freedom.sum(), data.second_moment
    fits = [
        random_coefficients(G, b[:, :, q], float(noise[q]), float(total[q]), moment)
        for q in range(len(total))
    ]
    return fits, residual, freedom


def _parts(
    weights: Floats,
    fits: list[RandomCoefficients],
    residual: Floats,
    freedom: Floats,
    spread: Floats,
    spare: Floats,
    scale: float,
) -> dict[str, Floats]:
    """Compute the components for each row of weights of the tasks."""
    with np.errstate(invalid="ignore", divide="ignore"):  # nan where no task could tell
        noise = (weights @ residual) / (weights @ freedom)[:, None]
        within = (weights @ spread) / (weights @ spare)
        between = np.zeros(len(weights))
        for q, fit in enumerate(fits):
            between += fit.between + (weights - 1) @ fit.influence
            between -= (noise[:, q] - fit.noise) * fit.noise_share.sum()
        left = noise.sum(1)
        # below the floor of the working variances, the estimate is their rounding
        between = np.where(between > 1e-9 * scale, between, 0.0)
        icc = between / np.where(between + left == 0, 1.0, between + left)
    return {"between": between, "within": within, "noise": left, "icc": icc}


def _ends(values: Floats, ends: list[float]) -> tuple[float, float]:
    low, high = np.nanpercentile(values, ends)
    return float(low), float(high)
