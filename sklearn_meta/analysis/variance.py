"""How much tasks differ: variance between tasks, within them, and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sklearn_meta.analysis.covariance import kept_covariance
from sklearn_meta.analysis.linear_tasks import (
    Floats,
    LinearTasks,
    check_number,
    linear_tasks,
)
from sklearn_meta.analysis.random_coefficients import RandomCoefficients, random_coefficients
from sklearn_meta.exceptions import TaskError
from sklearn_meta.metrics import mean_error
from sklearn_meta.parameters import check_parameter, integer

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
        For each of these four, over tasks.
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
        n = int(check_parameter("n_rows", n_rows, integer(1), "reliability"))
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
    level : float, default=0.95
        Of the intervals: Student's t with Hall's correction for skewness
        (:func:`~sklearn_meta.metrics.mean_interval`) of what each task adds to an estimate, to
        first order. They hold the truth in about 87 % of cases with 10 tasks, 91 % with 20 and 50,
        and 96 % with 200 (docs/results/null_comparisons.md).

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
    >>> found = variance_components(tasks, fit_intercept=False)
    >>> bool(abs(found.between - 3) < 0.5 and abs(found.noise - 1) < 0.1)
    True
    """
    if model not in ("coefficients", "means"):
        raise ValueError(
            f"The 'model' parameter of {OWNER} must be 'coefficients' or 'means'. "
            f"Got {model!r} instead."
        )
    check_number(level, "level", OWNER, 0, 1)
    data = linear_tasks(
        tasks, fit_intercept=fit_intercept, target_type=target_type, owner=OWNER, min_tasks=2
    )
    if model == "means":
        data = LinearTasks([np.ones((n, 1)) for n in data.n_rows], data.y, None, data.names)
    fits, residual, freedom = fit_outputs(data, OWNER)
    spread = np.array([np.sum((y - y.mean(0)) ** 2) for y in data.y])
    # below the floor of the working variances, an estimate is their rounding
    floor = 1e-9 * float(np.mean([np.mean(y**2) for y in data.y])) * len(fits)
    parts = _parts(fits, residual, freedom, spread, (data.n_rows - 1).astype(np.float64), floor)
    covariance = np.array([kept_covariance(fit, data.second_moment) for fit in fits])
    mean, one = np.array([fit.mean for fit in fits]), len(fits) == 1
    return VarianceComponents(
        model=model,
        **{name: max(part.value, 0.0) for name, part in parts.items()},
        intervals={name: part.interval(level) for name, part in parts.items()},
        mean=mean[0] if one else mean,
        covariance=covariance[0] if one else covariance,
        n_tasks=len(data.y),
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


class _Part(NamedTuple):
    """An estimate, and its change for each task's weight, to first order."""

    value: float
    influence: Floats
    highest: float = np.inf

    def interval(self, level: float) -> tuple[float, float]:
        """Return the ends, within what is possible."""
        n = len(self.influence)
        added = self.value + n * (self.influence - self.influence.mean())
        found = mean_error([added[None]], np.zeros(n)).interval(level)
        return max(found.low, 0.0), min(max(found.high, 0.0), self.highest)


def _parts(
    fits: list[RandomCoefficients],
    residual: Floats,
    freedom: Floats,
    spread: Floats,
    spare: Floats,
    floor: float,
) -> dict[str, _Part]:
    """Compute the components, and what each task adds to them."""
    noise, within = _ratio(residual.sum(axis=1), freedom), _ratio(spread, spare)
    between = _Part(sum(fit.between for fit in fits), np.zeros(len(freedom)))
    for q, fit in enumerate(fits):
        own = fit.influence - _ratio(residual[:, q], freedom).influence * fit.noise_share.sum()
        between = between._replace(influence=between.influence + own)
    if between.value <= floor and np.abs(between.influence).max() <= floor:
        between = _Part(0.0, np.zeros(len(freedom)))
    total = max(between.value, 0.0) + noise.value
    if not total:
        return {"between": between, "within": within, "noise": noise, "icc": between}
    icc = (between.influence * noise.value - noise.influence * between.value) / total**2
    share = _Part(between.value / total, icc, highest=1.0)
    return {"between": between, "within": within, "noise": noise, "icc": share}


def _ratio(above: Floats, below: Floats) -> _Part:
    value = float(above.sum() / below.sum())
    return _Part(value, (above - value * below) / below.sum())
