"""Scores over tasks: mean with its interval, paired comparison, calibration of probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.sparse.csgraph import connected_components

from sklearn_meta.parameters import Constraint, integer, option, real

__all__ = [
    "MeanInterval",
    "PairedComparison",
    "TaskCalibration",
    "calibration_error_over_tasks",
    "compare_paired",
    "expected_calibration_error",
    "mean_interval",
]

ROUNDING = 1e-12  # relative difference of numbers that count as equal
HUGE = 1e7  # numbers from here on are printed with an exponent
SYMMETRIC = 0.1  # intervals with less relative asymmetry are printed as mean ± half width
METHODS = ("hall", "t")
LEVEL = Constraint(lambda v: real(0, 1).allows(v) and 0 < v < 1, "a float in (0.0, 1.0)", "float")


class MeanInterval(NamedTuple):
    """Mean over tasks and the ends of its interval; ``0.812 ± 0.013 (95 %, 600 tasks)``.

    Attributes
    ----------
    mean : float
        Mean over tasks.
    low, high : float
        Ends of the confidence interval; nan with one task.
    n_tasks : int
        Number of tasks.
    level : float
        Confidence level, between 0 and 1.
    n_trainings : int
        Number of trainings whose differences contribute to the interval. If 0, the interval is
        over tasks alone: it is about these trained models, not about the algorithm.
    """

    mean: float
    low: float
    high: float
    n_tasks: int
    level: float
    n_trainings: int = 0

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.mean:.3f} (1 task, no interval)"
        half, noise = (self.high - self.low) / 2, ROUNDING * abs(self.mean)
        trainings = f", {self.n_trainings} trainings" if self.n_trainings else ""
        basis = f"({100 * self.level:.3g} %, {self.n_tasks} tasks{trainings})"
        if not max(abs(self.low), abs(self.high)) < HUGE:  # inf, too: a learner diverged
            return f"{self.mean:.3g} ± {half:.2g} {basis}"
        digits = min(max(0, 1 - math.floor(math.log10(half))), 12) if half > noise else 3
        skewed = abs(self.high + self.low - 2 * self.mean) > SYMMETRIC * half + noise
        ends = f"[{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return f"{self.mean:.{digits}f} {ends if skewed else f'± {half:.{digits}f}'} {basis}"


class PairedComparison(NamedTuple):
    """Comparison of the scores a and b of two estimators on the same tasks.

    Attributes
    ----------
    difference : MeanInterval
        Mean of a - b over tasks, with a confidence interval.
    wins, ties, losses : int
        Number of tasks on which a is better than, equal to and worse than b.
    hurt : float
        Share of the tasks on which a is worse.
    p_mean : float
        Two-sided p-value of the mean, below 1 - level if the interval excludes 0. If all
        differences are equal, there is no scatter to test the mean by, and it is `p_sign`.
    p_sign : float
        Two-sided p-value of the sign test.
    """

    difference: MeanInterval
    wins: int
    ties: int
    losses: int
    hurt: float
    p_mean: float
    p_sign: float

    @property
    def is_better(self) -> bool:
        """Whether a is ahead, at the level of the interval."""
        return self.difference.mean > 0 and self._is_clear()

    @property
    def is_worse(self) -> bool:
        """Whether a is behind, at the level of the interval."""
        return self.difference.mean < 0 and self._is_clear()

    def _is_clear(self) -> bool:
        return self.p_mean < 1 - self.difference.level

    def __str__(self) -> str:
        clear = "a is better" if self.is_better else "a is worse" if self.is_worse else None
        return (
            f"{clear or 'no clear difference'}: a - b is {self.difference}; a wins on {self.wins} "
            f"tasks, ties on {self.ties} and loses on {self.losses} ({100 * self.hurt:.3g} % are "
            f"hurt); p = {self.p_mean:.2g} (mean), {self.p_sign:.2g} (sign test)"
        )


class TaskCalibration(NamedTuple):
    """Calibration error of all rows together, of each task, and the mean of the latter.

    Attributes
    ----------
    pooled : float
        Calibration error of the rows of all tasks together.
    mean_per_task : float
        Mean of `per_task`.
    per_task : ndarray of shape (n_tasks,)
        Calibration error of each task.
    """

    pooled: float
    mean_per_task: float
    per_task: NDArray[np.float64]


def mean_interval(scores: ArrayLike, *, level: float = 0.95, method: str = "hall") -> MeanInterval:
    r"""Compute the mean of the scores of tasks, with a confidence interval.

    With scores of several trainings (seeds, folds), the interval is about the algorithm: where the
    mean would be with new tasks and with the models trained again.

    Parameters
    ----------
    scores : array-like of shape (n_tasks,) or (n_trainings, n_tasks)
        Scores as returned by `score_tasks`. With one training, or if no two trainings were scored
        on the same tasks, the interval is over tasks alone. In two dimensions, nan means that a
        task was not scored for a training, as with folds.
    level : float, default=0.95
        Confidence level, between 0 and 1.
    method : {"hall", "t"}, default="hall"
        "t" is Student's interval; "hall" takes, at each end, the wider of that and of Hall's
        correction for skewness, which vanishes for symmetric scores.

    Returns
    -------
    MeanInterval
        The mean and its interval. With one task, `low` and `high` are nan.

    Raises
    ------
    ValueError
        If a score is not finite, or an argument is invalid.

    Notes
    -----
    The model is :math:`d_{rt} = \mu + u_t + v_r + e_{rt}` for training r and task t. The variance
    of the mean is estimated by :math:`s^2 / n + c\,\hat\theta`, where s is the standard deviation
    of the n means of tasks and :math:`\hat\theta`, the variance between trainings, is how far the
    means of two trainings on their common tasks are apart beyond what the scatter over these tasks
    explains (0 if that is negative). c makes the sum unbiased for any tasks that the trainings
    were scored on; for S seeds and K folds it is about 1 / (S K). Degrees of freedom are
    Satterthwaite's. On normal scores the interval misses the mean in 2 to 6 % of cases instead of
    5, and in up to 8 % for three seeds on one fold.

    The t interval of skewed scores is wrong on one side: for 20 lognormal scores it is too low in
    14 % of cases instead of 2.5. Hall's monotone transformation of t leaves 8 %, and 4 % with 50
    tasks; the BCa bootstrap (:func:`scipy.stats.bootstrap`) leaves more
    (docs/results/null_comparisons.md). For symmetric scores with heavy tails, whose skewness is
    due to chance, Hall's interval alone would miss the mean too often, and Student's does not;
    so each end is that of the wider one. With very few tasks no interval of skewed scores, such as
    R^2, holds its level.

    References
    ----------
    Hall, "On the removal of skewness by transformation", Journal of the Royal Statistical Society
    B 54, 1992. Satterthwaite, "An approximate distribution of estimates of variance components",
    Biometrics Bulletin 2, 1946.

    Examples
    --------
    >>> from sklearn_meta.metrics import mean_interval
    >>> print(mean_interval([0.7, 0.8, 0.9, 0.8]))
    0.80 ± 0.13 (95 %, 4 tasks)
    >>> print(mean_interval([[0.7, 0.8, 0.9, 0.8], [0.6, 0.8, 0.8, 0.7]]))
    0.76 [0.54, 0.94] (95 %, 4 tasks, 2 trainings)
    """
    _check("level", level, LEVEL)
    _check("method", method, option(*METHODS))
    table = _table(scores, "scores")
    rounding = ROUNDING * np.nanmax(np.abs(table), axis=0)
    return mean_error([table], rounding, method).interval(level)


def compare_paired(
    a: ArrayLike,
    b: ArrayLike,
    *,
    level: float = 0.95,
    margin: float = 0.0,
    method: str = "hall",
) -> PairedComparison:
    """Compare two methods by their scores on the same tasks.

    Parameters
    ----------
    a, b : array-like of shape (n_tasks,) or (n_trainings, n_tasks)
        Scores, higher is better. With several trainings the comparison is about the algorithms,
        with one about the trained models; see :func:`mean_interval`. If a and b have equally many
        trainings, these are paired.
    level, margin : float, default=0.95 and 0.0
        Confidence level; a task on which a and b differ by at most the margin is a tie.
    method : {"hall", "t"}, default="hall"
        Method of the interval of the mean of a - b and of its p-value; see :func:`mean_interval`.

    Returns
    -------
    PairedComparison
        The comparison with two-sided p-values; the sign test ignores ties, and has a p-value of 1
        if all tasks are ties. `p_mean` is nan with one task.

    Raises
    ------
    ValueError
        If the numbers of tasks differ, a score is not finite, or an argument is invalid.

    Examples
    --------
    >>> from sklearn_meta.metrics import compare_paired
    >>> print(compare_paired([0.7, 0.8, 0.9, 0.8], [0.6, 0.8, 0.6, 0.6]))
    no clear difference: a - b is 0.15 ± 0.21 (95 %, 4 tasks); a wins on 3 tasks,
    ties on 1 and loses on 0 (0 % are hurt); p = 0.1 (mean), 0.25 (sign test)
    """
    _check("level", level, LEVEL)
    _check("margin", margin, real(0.0))
    _check("method", method, option(*METHODS))
    x, y = _table(a, "a"), _table(b, "b")
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"a of shape {np.shape(a)} and b of shape {np.shape(b)} hold {x.shape[1]} and "
            f"{y.shape[1]} tasks; they must be the same."
        )
    rounding = ROUNDING * np.nanmax(np.abs([*x, *y]), axis=0)
    if x.shape == y.shape:
        gaps = np.where(np.abs(x - y) <= rounding, 0.0, x - y)
        for i in np.flatnonzero(np.isnan(gaps).all(axis=0)):
            raise ValueError(f"Task {i}: no training has a score of both a and b.")
        error = mean_error([gaps], rounding, method)
    else:  # trainings that are not paired vary on their own
        error = mean_error([x, -y], rounding, method)
    gap, n = error.scores, len(error.scores)
    wins, losses = int(np.sum(gap > margin + rounding)), int(np.sum(-gap > margin + rounding))
    p_sign = float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    p_mean = math.nan if n == 1 else error.p_value() if error.error else p_sign
    return PairedComparison(
        error.interval(level), wins, n - wins - losses, losses, losses / n, p_mean, p_sign
    )


@dataclass(frozen=True)
class MeanError:
    """Standard error of the mean over tasks, with regard to new tasks and new trainings.

    scipy's t tests know neither Hall's correction for skewness nor variance between trainings.
    """

    scores: NDArray[np.float64]  # mean score of each task over its trainings
    error: float  # 0 if nothing varies, nan for one task
    freedom: float
    skewness: float  # of the mean, to first order; with 0, intervals are Student's
    n_trainings: int  # whose differences contribute to the error

    def interval(self, level: float) -> MeanInterval:
        """Return the mean between the ends that have the p-value 1 - level."""
        mean, n, tail = float(self.scores.mean()), len(self.scores), (1 - level) / 2
        low = high = mean if n > 1 else math.nan
        if self.error > 0:
            q = float(stats.t.isf(tail, self.freedom))
            low, high = (
                mean - self.error * max(q, self._t(q)),
                mean + self.error * max(q, -self._t(-q)),
            )
        return MeanInterval(mean, low, high, n, float(level), self.n_trainings)

    def p_value(self, of: float = 0.0, alternative: str = "two-sided") -> float:
        """Return the p-value of the hypothesis that the true mean is `of`."""
        t, a = (float(self.scores.mean()) - of) / self.error, self.skewness
        symmetric = t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6  # Hall 1992, eq. 2.4
        above = float(stats.t.sf(min(t, symmetric), self.freedom))
        below = float(stats.t.cdf(max(t, symmetric), self.freedom))
        both = min(1.0, 2 * min(above, below))
        return {"two-sided": both, "greater": above, "less": below}[alternative]

    def _t(self, symmetric: float) -> float:
        """Return the t that Hall's transformation makes symmetric."""
        a = self.skewness
        if abs(a) < 1e-8:
            return symmetric
        return 3 / a * (float(np.cbrt(1 + a * (symmetric - a / 6))) - 1)


def mean_error(
    tables: Sequence[NDArray[np.float64]],
    rounding: NDArray[np.float64],
    method: str = "hall",
) -> MeanError:
    """Estimate the error of the mean over tasks of a sum of tables (n_trainings, n_tasks).

    Tasks that a training was not scored on are nan. The trainings of different tables are
    independent.
    """
    scores = np.sum([np.nanmean(table, axis=0) for table in tables], axis=0)
    deviation, n = scores - scores.mean(), len(scores)
    deviation = np.zeros(n) if np.all(np.abs(deviation) <= rounding) else deviation
    centered = [table - np.nanmean(table) for table in tables]
    unit = max(float(np.nanmax(np.abs(x))) for x in (deviation, *centered)) or 1.0
    if n == 1:
        return MeanError(scores, math.nan, math.nan, 0.0, 0)
    tasks = float(np.sum((deviation / unit) ** 2)) / (n - 1) / n
    trainings = [part for x in centered if (part := _between_trainings(x / unit)) is not None]
    variance = tasks + sum(part.excess for part in trainings)
    squares = tasks**2 / (n - 1) + sum(part.square**2 / part.freedom for part in trainings)
    skewness = 0.0
    if method == "hall" and n > 2 and tasks > 0:
        third = float(np.sum((deviation / unit) ** 3)) * n / ((n - 1) * (n - 2))
        skewness = third / n**2 / variance**1.5
    return MeanError(
        scores,
        unit * math.sqrt(variance),
        variance**2 / squares if squares else math.nan,
        skewness,
        sum(part.n for part in trainings),
    )


class _BetweenTrainings(NamedTuple):
    """Contribution of training again to the variance of the mean, and its mean square."""

    excess: float
    square: float
    freedom: int
    n: int


def _between_trainings(table: NDArray[np.float64]) -> _BetweenTrainings | None:
    """Compare all pairs of trainings on the tasks that both were scored on."""
    scored = np.isfinite(table)
    if scored.sum(axis=1).max() == 1:  # the scatter of the tasks includes that of the trainings
        return _BetweenTrainings(0.0, 0.0, 1, len(table))
    n, x, m = table.shape[1], np.where(scored, table, 0.0), scored.astype(np.float64)
    common = m @ m.T
    pairs = np.argwhere(np.triu(common > 1, 1))  # one common task has no scatter
    if not len(pairs):
        return None
    r, s = pairs.T
    sums, squares = x @ m.T, x**2 @ m.T
    gap = (sums - sums.T)[r, s] / common[r, s]
    scatter = (squares + squares.T - 2 * x @ x.T)[r, s] - common[r, s] * gap**2
    scatter = np.maximum(scatter, 0.0) / (common[r, s] - 1) / common[r, s]
    linked, label = connected_components(common > 1, directed=False)
    isolated = int(np.sum(np.bincount(label) == 1))
    weights = m / m.sum(axis=0) / n
    together, each = float(np.sum(weights.sum(axis=1) ** 2)), float(np.mean(1 / m.sum(axis=0)))
    # the variance between tasks, scored by different trainings, includes a share of it
    missing = max(together - (each - together) / (n - 1), 0.0) / 2
    square = missing * float(np.mean(gap**2))
    return _BetweenTrainings(
        max(square - missing * float(np.mean(scatter)), 0.0),
        square,
        len(table) - linked,
        len(table) - isolated,
    )


def expected_calibration_error(
    y_true: ArrayLike, y_proba: ArrayLike, *, classes: ArrayLike | None = None, n_bins: int = 15
) -> float:
    """Compute the calibration error of labels, sum_m |B_m| / n * |acc(B_m) - conf(B_m)|.

    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, eq. 3:
    B_m are the rows whose largest probability lies in ((m - 1) / n_bins, m / n_bins].

    Parameters
    ----------
    y_true, y_proba : array-like of shape (n_rows,) and (n_rows, n_classes)
        True labels, and probabilities as returned by `predict_proba`.
    classes : array-like of shape (n_classes,), default=None
        The label of each column, `classes_`. None: the sorted labels in `y_true`.
    n_bins : int, default=15
        Number of bins of equal width.

    Returns
    -------
    float
        Error between 0 and 1; with few rows, large even for perfect probabilities.

    Raises
    ------
    ValueError
        If labels or probabilities are invalid, or do not match.

    Examples
    --------
    >>> from sklearn_meta.metrics import expected_calibration_error
    >>> round(expected_calibration_error(["a", "b"], [[0.8, 0.2], [0.8, 0.2]]), 3)
    0.3
    """
    return _error(_gaps("", (y_true, y_proba, classes)), n_bins)


def calibration_error_over_tasks(tasks: Any, *, n_bins: int = 15) -> TaskCalibration:
    """Compute the expected calibration error over tasks, which may differ in their classes.

    Report `pooled`: tasks of few rows have large errors even for perfect probabilities, because a
    bin of one row is never calibrated (200 tasks of 10 rows: pooled 0.02, mean 0.29). But in
    `pooled`, which is at most the mean by rows, overconfident and underconfident tasks may cancel
    out.

    Parameters
    ----------
    tasks : iterable of (y_true, y_proba) or (y_true, y_proba, classes)
        See :func:`expected_calibration_error`.
    n_bins : int, default=15
        Number of bins of equal width.

    Returns
    -------
    TaskCalibration
        The errors `pooled`, `mean_per_task` and `per_task`.

    Raises
    ------
    ValueError
        If a task is invalid; the message names its position.

    Examples
    --------
    >>> from sklearn_meta.metrics import calibration_error_over_tasks
    >>> calibration_error_over_tasks([([0, 1], [[0.75, 0.25], [0.75, 0.25]])]).pooled
    0.25
    """
    rows = [_gaps(f"Task {i}: ", task) for i, task in enumerate(tasks)]
    if not rows:
        raise ValueError("There are no tasks.")
    per_task = np.array([_error(row, n_bins) for row in rows])
    return TaskCalibration(_error(np.hstack(rows), n_bins), float(per_task.mean()), per_task)


def _check(name: str, value: Any, check: Constraint) -> None:
    if not check[0](value):
        raise ValueError(f"The {name!r} parameter must be {check[1]}. Got {value!r} instead.")


def _table(scores: ArrayLike, name: str) -> NDArray[np.float64]:
    """Validate scores, and return them as (n_trainings, n_tasks) with nan for tasks not scored."""
    try:
        x = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers, one a task: {error}.") from None
    if x.ndim not in (1, 2) or not x.size:
        raise ValueError(
            f"{name} must be (n_tasks,) or (n_trainings, n_tasks). Got shape {x.shape}."
        )
    invalid = ~np.isfinite(x) & ~(np.isnan(x) & (x.ndim == 2) & np.isfinite(x).any(axis=0))
    for i in np.argwhere(invalid):
        raise ValueError(f"Task {i[-1]}: {name}{i.tolist()} is {x[tuple(i)]} (shape {x.shape}).")
    return np.atleast_2d(x)


def _gaps(task: str, value: Any) -> NDArray[np.float64]:
    """Validate the predictions of a task, and return confidence and accuracy minus confidence."""
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise ValueError(f"{task}must be (y_true, y_proba[, classes]). Got {value!r:.80}.")
    y_true, y_proba, classes = (*value, None)[:3]
    try:
        y, p = np.asarray(y_true), np.asarray(y_proba, dtype=np.float64)
        labels = (np.unique(y) if classes is None else np.ravel(classes)).tolist()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{task}y_true, y_proba or classes are unusable: {error}.") from None
    if y.ndim != 1 or p.ndim != 2 or len(y) != len(p) or not p.size:
        got = f"y_true of shape {y.shape} and y_proba of shape {p.shape}"
        raise ValueError(f"{task}must be (n_rows,) and (n_rows, n_classes): {got}.")
    for i in np.flatnonzero(~((np.abs(p.sum(axis=1) - 1) < 1e-3) & (p >= 0).all(axis=1))):
        raise ValueError(f"{task}y_proba[{i}] is {p[i].tolist()}, not probabilities summing to 1.")
    column = {label: k for k, label in enumerate(labels)}
    if not len(column) == len(labels) == p.shape[1]:
        raise ValueError(
            f"{task}labels {labels} for y_proba of shape {p.shape}; `classes` must name each "
            "column once, as `classes_`."
        )
    if unknown := [label for label in y.tolist() if label not in column]:
        raise ValueError(f"{task}y_true holds {unknown[0]!r}, which is not in classes, {labels}.")
    right = p.argmax(axis=1) == [column[label] for label in y.tolist()]
    return np.stack([p.max(axis=1), right - p.max(axis=1)])


def _error(gaps: NDArray[np.float64], n_bins: int) -> float:
    _check("n_bins", n_bins, integer(1))
    m = np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], gaps[0])  # bins include upper edges
    return float(np.abs(np.bincount(m, weights=gaps[1])).sum() / gaps.shape[1])
