"""Variance between tasks, within them, and of the noise: random coefficients by REML.

The moments are unbiased, so they are not those of the EM in `tasks.random_coefficients`, whose
maximum of the likelihood is too small by a factor of (T - 1) / T or less and never below zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.metrics import LEVEL, mean_error
from sklearn_meta.parameters import check_parameter, integer, option
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.tables import dense
from sklearn_meta.tasks.validate import label, target_kind

__all__ = [
    "Floats",
    "LinearTasks",
    "RandomCoefficients",
    "VarianceComponents",
    "fit_outputs",
    "linear_tasks",
    "variance_components",
]

Floats = NDArray[np.float64]
OWNER = "variance_components"
ROUNDING = 1e-18  # of the mean square of y: residuals of least squares below it are rounding
N_STEPS, CONVERGED = 30, 1e-8  # of Fisher scoring, which takes about 8; relative change
FLOOR = 1e-3  # of a direction's weight, relative to the largest: no direction is left out


@dataclass(frozen=True, eq=False)
class VarianceComponents:
    """Variance between tasks, within tasks and of the noise; `print` shows it in words.

    Parameters
    ----------
    model : {"coefficients", "means"}
        What may differ between tasks.
    between, within, noise, icc : float
        In squared units of `y` (summed over outputs): how much the tasks' models differ in what
        they predict at a row; how much `y` varies within a task; how much of that a linear model of
        the task leaves. `icc` is between / (between + noise).
    intervals : dict of str to (float, float)
        Intervals over tasks for each of these four.
    mean, covariance : ndarray of shape (p,) and (p, p), or with a first axis of n_outputs
        Moments of a task's coefficients over tasks; the intercept is the last.
    n_tasks, n_rows : int
        Number of tasks, and of rows of all of them together.
    level : float
        Level of the intervals.
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
        """Share of truth in the variance of what a task alone learns from a few rows.

        Parameters
        ----------
        n_rows : int
            Number of support rows.

        Returns
        -------
        float
            The share between / (between + noise * p / n_rows), for rows of an orthogonal design.
            At 0.5, the rows of a task and the other tasks are equally informative about it.
        """
        n = check_parameter("n_rows", n_rows, integer(1), "reliability")
        sampling = self.noise * self.mean.shape[-1] / n
        total = self.between + sampling
        return float(self.between / total) if total else np.nan

    def __str__(self) -> str:
        what = {"means": "means", "coefficients": "linear models"}[self.model]
        low, high = self.intervals["icc"]
        verb = "are almost the same" if high < 0.05 else "differ"
        rows = [
            f"{name:8} {getattr(self, name):.4g} [{a:.4g}, {b:.4g}]"
            for name, (a, b) in self.intervals.items()
            if name != "icc"
        ]
        return "\n".join(
            [
                f"The {what} of {self.n_tasks} tasks ({self.n_rows} rows) {verb}: of the variance "
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
    :math:`\sigma^2` is pooled from least squares within tasks, and Fisher scoring for restricted
    maximum likelihood estimates :math:`\Sigma` (quadratic estimators that for given weights of the
    tasks are unbiased, whatever the distribution of w). `between` is
    :math:`\operatorname{tr}(\Sigma\,E[x x^\top])`, so the scale of the features does not matter.

    Parameters
    ----------
    tasks : sequence of tasks
        At least 2 tasks of any sizes, in any form that :func:`~sklearn_meta.tasks.as_tasks`
        accepts. Labels become one indicator for each class, whose variances are added up; they must
        mean the same in all tasks.
    model : {"coefficients", "means"}, default="coefficients"
        Whether linear models of the tasks differ, or only the means of `y`.
    fit_intercept : bool, default=True
        Whether a linear model has an intercept, which then differs between tasks too.
    target_type : {"class", "real"}, default=None
        What `y` contains. None: :func:`~sklearn_meta.tasks.as_tasks` decides.
    level : float, default=0.95
        Level of the intervals: Student's t with Hall's correction for skewness
        (:func:`~sklearn_meta.metrics.mean_interval`) of what each task adds to an estimate, to
        first order. They cover the truth in about 87 % of cases with 10 tasks, 91 % with 20 and
        50, and 96 % with 200 (docs/results/null_comparisons.md).

    Returns
    -------
    VarianceComponents
        The components. An unbiased estimate of `between` below zero is set to 0.

    Raises
    ------
    TaskError
        If tasks cannot be used, are fewer than 2, or labels have nothing in common.
    ValueError
        If no task has more rows than coefficients (so that noise cannot be estimated), all tasks
        together have too few rows for a covariance, or a parameter is out of its range.

    Examples
    --------
    >>> from sklearn_meta.analysis import variance_components
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(200, 10, 3, noise=1.0, random_state=0).tasks
    >>> components = variance_components(tasks, fit_intercept=False)
    >>> bool(abs(components.between - 3) < 0.5 and abs(components.noise - 1) < 0.1)
    True
    """
    check_parameter("model", model, option("coefficients", "means"), OWNER)
    check_parameter("level", level, LEVEL, OWNER)
    data = linear_tasks(tasks, fit_intercept, target_type, OWNER)
    if model == "means":
        data = data._replace(X=[np.ones((n, 1)) for n in data.n_rows])
    fits = fit_outputs(data, OWNER)
    parts = _parts(fits, data.y)
    covariance = np.array([fit.nearest_covariance(data.second_moment) for fit in fits])
    mean, is_single = np.array([fit.mean for fit in fits]), len(fits) == 1
    return VarianceComponents(
        model=model,
        **{name: max(part.value, 0.0) for name, part in parts.items()},
        intervals={name: part.interval(level) for name, part in parts.items()},
        mean=mean[0] if is_single else mean,
        covariance=covariance[0] if is_single else covariance,
        n_tasks=len(data.y),
        n_rows=int(data.n_rows.sum()),
        level=float(level),
    )


class _Part(NamedTuple):
    """An estimate, and its change for each task's weight, to first order."""

    value: float
    influence: Floats
    highest: float = np.inf

    def interval(self, level: float) -> tuple[float, float]:
        """Return the ends, within what is possible."""
        n = len(self.influence)
        added = self.value + n * (self.influence - self.influence.mean())
        interval = mean_error([added[None]], np.zeros(n)).interval(level)
        return max(interval.low, 0.0), min(max(interval.high, 0.0), self.highest)


def _parts(fits: list[RandomCoefficients], y: list[Floats]) -> dict[str, _Part]:
    """Compute the components, and what each task adds to them."""
    spread = np.array([np.sum((values - values.mean(0)) ** 2) for values in y])
    within = _ratio(spread, np.array([len(values) - 1.0 for values in y]))
    noise = _ratio(np.sum([fit.residual for fit in fits], axis=0), fits[0].freedom)
    between = _Part(sum(fit.between for fit in fits), np.zeros(len(y)))
    for fit in fits:
        by_noise = _ratio(fit.residual, fit.freedom).influence * fit.noise_share.sum()
        between = between._replace(influence=between.influence + fit.influence - by_noise)
    # below the floor of the working variances, an estimate is their rounding
    floor = 1e-9 * float(np.mean([np.mean(values**2) for values in y])) * len(fits)
    if between.value <= floor and np.abs(between.influence).max() <= floor:
        between = _Part(0.0, np.zeros(len(y)))
    total = max(between.value, 0.0) + noise.value
    if not total:
        return {"between": between, "within": within, "noise": noise, "icc": between}
    icc = (between.influence * noise.value - noise.influence * between.value) / total**2
    share = _Part(between.value / total, icc, highest=1.0)
    return {"between": between, "within": within, "noise": noise, "icc": share}


def _ratio(above: Floats, below: Floats) -> _Part:
    value = float(above.sum() / below.sum())
    return _Part(value, (above - value * below) / below.sum())


# ---- tasks as matrices -------------------------------------------------------------------------


class LinearTasks(NamedTuple):
    """Designs and numeric targets of tasks."""

    X: list[Floats]  # (n_rows, p), with a last column of ones where an intercept is fitted
    y: list[Floats]  # (n_rows, n_outputs); classes are indicators, one output a class

    @property
    def n_rows(self) -> NDArray[np.int64]:
        """Rows of each task."""
        return np.array([len(y) for y in self.y])

    @property
    def second_moment(self) -> Floats:
        """Mean of x x' over the rows of a task, then over tasks, (p, p)."""
        return np.asarray(np.mean([X.T @ X / len(X) for X in self.X], axis=0))

    def standardised(self) -> LinearTasks:
        """Divide each feature by its root mean square, so that units do not matter."""
        size = _root_mean_square(self.second_moment)
        return LinearTasks([X / size for X in self.X], self.y)


def linear_tasks(
    tasks: Any, fit_intercept: bool, target_type: str | None, owner: str
) -> LinearTasks:
    """Convert two tasks or more to matrices, with indicators for labels."""
    checked = as_tasks(tasks, target_type=target_type)
    if len(checked) < 2:
        raise TaskError(f"{owner} needs at least 2 tasks; got {len(checked)}.")
    X = [dense(task.X, np.float64).reshape(len(task), -1) for task in checked]
    X = [np.column_stack([x, np.ones(len(x))]) for x in X] if fit_intercept else X
    if (target_type or target_kind(checked)) == "class":
        classes = _shared_classes(checked, owner)
        return LinearTasks(X, [(t.y[:, None] == classes).astype(np.float64) for t in checked])
    return LinearTasks(X, [t.y.astype(np.float64).reshape(len(t), -1) for t in checked])


def _shared_classes(tasks: Sequence[Task], owner: str) -> NDArray[Any]:
    labels = [np.unique(task.y) for task in tasks]
    n_tasks_with = Counter(value for of_task in labels for value in of_task.tolist())
    for i, of_task in enumerate(labels):
        if all(n_tasks_with[value] == 1 for value in of_task.tolist()):
            raise TaskError(
                f"{label(tasks[i], i)}: y has no class in common with any other task (it has "
                f"{of_task.tolist()[:5]}), so {owner} cannot compare what a class means from task "
                "to task. Label the classes alike in all tasks, or give numeric scores as y."
            )
    return np.unique(np.concatenate(labels))


def _root_mean_square(moment: Floats) -> Floats:
    """Root mean square of each feature, and 1 for one that is 0."""
    size = np.sqrt(np.diag(moment))
    return np.where(size > 0, size, 1.0)


# ---- restricted maximum likelihood -------------------------------------------------------------


class RandomCoefficients(NamedTuple):
    """Moments of the coefficients of one output, and what each task adds to them."""

    mean: Floats
    covariance: Floats  # unbiased, so that eigenvalues may be below zero
    noise: float  # variance
    mean_covariance: Floats  # of the estimate of the mean
    between: float  # tr(covariance @ M), the variance between tasks of the prediction at a row
    influence: Floats  # change of `between` for each task's weight, with the noise held, (n_tasks,)
    noise_share: Floats  # change of `between` for the noise variance, which the tasks add up
    residual: Floats  # sums of squares that linear models of the tasks leave, (n_tasks,)
    freedom: Floats  # rows less rank, (n_tasks,)

    def nearest_covariance(self, moment: Floats) -> Floats:
        """Drop eigenvalues below zero, and keep the variance of predictions (or 0)."""
        size = _root_mean_square(moment)
        unit = size[:, None] * size  # in which features of any scale count alike
        values, vectors = np.linalg.eigh(self.covariance * unit)
        positive = np.asarray((vectors * np.maximum(values, 0)) @ vectors.T / unit)
        share = float(np.sum(positive * moment))
        return positive * (max(self.between, 0.0) / share) if share > 0 else positive


def fit_outputs(data: LinearTasks, owner: str) -> list[RandomCoefficients]:
    """Fit each output."""
    rank = np.array([np.linalg.matrix_rank(X) for X in data.X])
    freedom, p = (data.n_rows - rank).astype(np.float64), data.X[0].shape[1]
    if not freedom.any():
        raise ValueError(
            f"{owner}: no task has more rows than coefficients ({p}, with at most "
            f"{data.n_rows.max()} rows a task), so noise cannot be separated from differences "
            "between tasks. Give tasks more rows, or fewer features."
        )
    available, needed = int(np.sum(rank * (rank + 1) // 2)), p * (p + 1) // 2
    if available < needed:
        raise TaskError(
            f"{owner}: a covariance of {p} coefficients has {needed} entries, but {len(rank)} "
            f"tasks with {int(data.n_rows.sum())} rows determine at most {available} of them."
        )
    pairs = list(zip(data.X, data.y, strict=True))
    least = [np.linalg.lstsq(X, y, rcond=None)[0] for X, y in pairs]
    residual = np.array(
        [np.sum((y - X @ w) ** 2, axis=0) for (X, y), w in zip(pairs, least, strict=True)]
    )
    residual[freedom == 0] = 0.0
    G, b = np.array([X.T @ X for X in data.X]), np.array([X.T @ y for X, y in pairs])
    total = np.mean([np.mean(y**2, axis=0) for y in data.y], axis=0)
    residual[residual <= ROUNDING * total * data.n_rows[:, None]] = 0.0
    moment = data.second_moment
    return [
        _restricted_likelihood(G, b[:, :, q], float(total[q]), moment, residual[:, q], freedom)
        for q in range(len(total))
    ]


def _restricted_likelihood(
    G: Floats, b: Floats, total: float, moment: Floats, residual: Floats, freedom: Floats
) -> RandomCoefficients:
    """Fit X'X (T, p, p) and X'y (T, p) of the tasks; `total` is the mean of y^2.

    With A_t = X_t' (y_t - X_t mu), E[A A'] = G Sigma G + s2 G - G C G, where C is the covariance
    of the estimated mean. Weighted by K_t = (s2 I + G_t Sigma_0)^-1 this is linear in Sigma and
    unbiased for any fixed Sigma_0; with Sigma_0 the last estimate, the fixed point is REML.
    """
    size = _root_mean_square(moment)
    unit = size[:, None] * size
    G, b, scaled = G / unit, b / size, moment / unit  # in units in which E[x_j^2] = 1
    noise = float(residual.sum() / freedom.sum())
    p, floor = len(size), max(noise, 1e-12 * total, np.finfo(float).tiny)
    eye, last = np.eye(p), np.full((p, p), np.inf)
    guess = eye * max(total, floor) / p
    for _ in range(N_STEPS):
        K = np.linalg.inv(floor * eye + G @ guess)
        B = K @ G  # symmetric: X' V^-1 X
        B = (B + B.swapaxes(1, 2)) / 2
        C = np.linalg.pinv(B.sum(0), hermitian=True)
        mean = C @ np.einsum("tij,tj->i", K, b)
        A = np.einsum("tij,tj->ti", K, b - G @ mean)
        noise_part = B @ K.swapaxes(1, 2)
        target = A[:, :, None] * A[:, None] - noise * noise_part + B @ C @ B
        covariance = _solve(B, target.sum(0))
        change = np.linalg.norm(covariance - last)
        if change <= CONVERGED * np.linalg.norm(covariance) + 1e-12 * total:
            break
        guess, last = _positive(covariance), covariance
    Z = _solve(B, scaled)
    return RandomCoefficients(
        mean / size,
        covariance / unit,
        noise,
        C / unit,
        float(np.sum(covariance * scaled)),
        np.einsum("ij,tij->t", Z, target - B @ covariance @ B),
        np.einsum("ij,tij->t", Z, noise_part),
        residual,
        freedom,
    )


def _solve(B: Floats, target: Floats) -> Floats:
    """Solve sum_t B_t S B_t = target for a symmetric S of least norm, by conjugate gradients."""
    S, r = np.zeros_like(target), (target + target.T) / 2
    d, rr = r.copy(), float(np.sum(r * r))
    stop = 1e-24 * rr
    for _ in range(4 * target.size):
        if rr <= stop:
            break
        Ad = np.sum(B @ d @ B, axis=0)
        step = rr / float(np.sum(d * Ad))
        S, r = S + step * d, r - step * Ad
        rr, before = float(np.sum(r * r)), rr
        d = r + rr / before * d
    return (S + S.T) / 2


def _positive(S: Floats) -> Floats:
    values, vectors = np.linalg.eigh(S)
    least = max(FLOOR * values.max(), np.finfo(float).tiny)
    return np.asarray((vectors * np.maximum(values, least)) @ vectors.T)
