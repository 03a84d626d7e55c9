"""Scores over tasks: mean with its interval, paired comparison, calibration of probabilities."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.utils import check_random_state

from sklearn_meta.core.params import Check, integer, option, real

__all__ = [
    "MeanInterval",
    "PairedComparison",
    "TaskCalibration",
    "calibration_error_over_tasks",
    "compare_paired",
    "expected_calibration_error",
    "mean_interval",
]

ROUNDING, HUGE = 1e-12, 1e7  # relative, of what is the same number; printed with an exponent


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
        Level of confidence, between 0 and 1.
    """

    mean: float
    low: float
    high: float
    n_tasks: int
    level: float

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.mean:.3f} (1 task, no interval)"
        half, noise = (self.high - self.low) / 2, ROUNDING * abs(self.mean)
        after = f"({100 * self.level:g} %, {self.n_tasks} tasks)"
        if not max(abs(self.low), abs(self.high)) < HUGE:  # of a learner that diverged, inf too
            return f"{self.mean:.3g} ± {half:.2g} {after}"
        digits = min(max(0, 1 - math.floor(math.log10(half))), 12) if half > noise else 3
        skewed = abs(self.high + self.low - 2 * self.mean) > 1e-6 * half + noise  # of a bootstrap
        ends = f"[{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return f"{self.mean:.{digits}f} {ends if skewed else f'± {half:.{digits}f}'} {after}"


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
    p_ttest : float
        Two-sided p-value of the paired t test.
    p_sign : float
        Two-sided p-value of the sign test.
    """

    difference: MeanInterval
    wins: int
    ties: int
    losses: int
    hurt: float
    p_ttest: float
    p_sign: float

    def __str__(self) -> str:
        _, low, high, *_ = self.difference
        verdict = "a is better" if low > 0 else "a is worse" if high < 0 else "no clear difference"
        return (
            f"{verdict}: a - b is {self.difference}; a wins on {self.wins} tasks, ties on "
            f"{self.ties} and loses on {self.losses} ({100 * self.hurt:.3g} % are hurt); "
            f"p = {self.p_ttest:.2g} (t test), {self.p_sign:.2g} (sign test)"
        )


class TaskCalibration(NamedTuple):
    """Calibration error of all rows together, of each task alone, and the mean of the latter.

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


def mean_interval(
    scores: ArrayLike,
    *,
    level: float = 0.95,
    method: str = "t",
    n_resamples: int = 9999,
    random_state: Any = None,
) -> MeanInterval:
    """Mean of the scores of tasks, with a confidence interval.

    Parameters
    ----------
    scores : array-like of shape (n_tasks,) or (n_seeds, n_tasks)
        As `score_tasks` gives. Seeds are averaged first: the interval is about new tasks alone.
    level : float, default=0.95
        Of confidence, between 0 and 1.
    method : {"t", "bootstrap"}, default="t"
        Student's t, or percentiles over resampled tasks (too narrow with fewer than about 20).
    n_resamples, random_state : int, default=9999 and None
        Number of draws of the bootstrap, and their seed (or a RandomState).

    Returns
    -------
    MeanInterval
        With one task, which cannot tell how tasks vary, `low` and `high` are nan.

    Raises
    ------
    ValueError
        If a score is not finite, naming the task by its position, or an argument is unusable.

    Examples
    --------
    >>> from sklearn_meta.metrics import mean_interval
    >>> print(mean_interval([0.7, 0.8, 0.9, 0.8]))
    0.80 ± 0.13 (95 %, 4 tasks)
    """
    _check("level", level, (lambda v: real(0, 1)[0](v) and 0 < v < 1, "a float in (0.0, 1.0)"))
    _check("method", method, option("t", "bootstrap"))
    _check("n_resamples", n_resamples, integer(1))
    x, rng, tail = _per_task(scores, "scores"), check_random_state(random_state), (1 - level) / 2
    mean, n = float(x.mean()), len(x)
    half = float(stats.t.isf(tail, n - 1) * stats.sem(x)) if n > 1 else math.nan
    low, high = mean - half, mean + half
    if n > 1 and method == "bootstrap":
        means = [x[rng.randint(n, size=n)].mean() for _ in range(n_resamples)]
        low, high = map(float, np.quantile(means, [tail, 1 - tail]))
    return MeanInterval(mean, low, high, n, float(level))


def compare_paired(
    a: ArrayLike,
    b: ArrayLike,
    *,
    level: float = 0.95,
    margin: float = 0.0,
    method: str = "t",
    random_state: Any = None,
) -> PairedComparison:
    """Compare two methods by their scores on the same tasks.

    Parameters
    ----------
    a, b : array-like of shape (n_tasks,) or (n_seeds, n_tasks)
        Scores, higher is better. Seeds are averaged first, and a may have more of them than b.
    level, margin : float, default=0.95 and 0.0
        Of confidence; a task on which a and b are as close as the margin is a tie.
    method, random_state : {"t", "bootstrap"} and int, default="t" and None
        Of the interval of the mean of a - b, see :func:`mean_interval`.

    Returns
    -------
    PairedComparison
        Two-sided p-values, of the sign test without the ties; 1 if no task differs. If all differ
        alike, `p_ttest` is near 0 even for two tasks; if the only task differs, it is nan.

    Raises
    ------
    ValueError
        If the numbers of tasks differ, a score is not finite, or an argument is unusable.

    Examples
    --------
    >>> from sklearn_meta.metrics import compare_paired
    >>> print(compare_paired([0.7, 0.8, 0.9, 0.8], [0.6, 0.8, 0.6, 0.6]))
    no clear difference: a - b is 0.15 ± 0.21 (95 %, 4 tasks); a wins on 3 tasks,
    ties on 1 and loses on 0 (0 % are hurt); p = 0.1 (t test), 0.25 (sign test)
    """
    _check("margin", margin, real(0.0))
    x, y = _per_task(a, "a"), _per_task(b, "b")
    if len(x) != len(y):
        both = f"a of shape {np.shape(a)} and b of shape {np.shape(b)}"
        raise ValueError(f"{both} hold {len(x)} and {len(y)} tasks; they must be the same.")
    noise, n = ROUNDING * np.maximum(np.abs(x), np.abs(y)), len(x)
    gap = np.where(np.abs(x - y) > noise, x - y, 0.0)
    wins, losses = int(np.sum(gap > margin + noise)), int(np.sum(-gap > margin + noise))
    difference = mean_interval(gap, level=level, method=method, random_state=random_state)
    error = float(stats.sem(gap)) if n > 1 else math.nan
    t = abs(difference.mean) / error if error else math.inf
    p_t = 2 * float(stats.t.sf(t, n - 1)) if gap.any() else 1.0
    p_sign = min(1.0, 2 * float(stats.binom.cdf(min(wins, losses), wins + losses, 0.5)))
    return PairedComparison(difference, wins, n - wins - losses, losses, losses / n, p_t, p_sign)


def expected_calibration_error(
    y_true: ArrayLike, y_proba: ArrayLike, *, classes: ArrayLike | None = None, n_bins: int = 15
) -> float:
    """Calibration error of the predicted label, sum_m |B_m| / n * |acc(B_m) - conf(B_m)|.

    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, eq. 3:
    B_m are the rows whose largest probability lies in ((m - 1) / n_bins, m / n_bins].

    Parameters
    ----------
    y_true, y_proba : array-like of shape (n_rows,) and (n_rows, n_classes)
        Labels, and what `predict_proba` gives.
    classes : array-like of shape (n_classes,), default=None
        The label of each column, `classes_`. None: those in `y_true`, sorted, if they are as many.
    n_bins : int, default=15
        Of equal width.

    Returns
    -------
    float
        Between 0 and 1; with few rows, large even for perfect probabilities.

    Raises
    ------
    ValueError
        If labels and probabilities are unusable, or do not fit together.

    Examples
    --------
    >>> from sklearn_meta.metrics import expected_calibration_error
    >>> round(expected_calibration_error(["a", "b"], [[0.8, 0.2], [0.8, 0.2]]), 3)
    0.3
    """
    return _error(_gaps("", (y_true, y_proba, classes)), n_bins)


def calibration_error_over_tasks(tasks: Any, *, n_bins: int = 15) -> TaskCalibration:
    """Measure the expected calibration error over tasks, which may differ in their classes.

    Report `pooled`: tasks of few rows have large errors even for perfect probabilities, as a bin
    of one row is never calibrated (200 tasks of 10 rows: pooled 0.02, mean 0.29). But in `pooled`,
    which is at most the mean by rows, tasks too confident and too timid may cancel out.

    Parameters
    ----------
    tasks : iterable of (y_true, y_proba) or (y_true, y_proba, classes)
        See :func:`expected_calibration_error`.
    n_bins : int, default=15
        Of equal width.

    Returns
    -------
    TaskCalibration
        `pooled`, `mean_per_task` and `per_task`.

    Raises
    ------
    ValueError
        Naming the task by its position.

    Examples
    --------
    >>> from sklearn_meta.metrics import calibration_error_over_tasks
    >>> calibration_error_over_tasks([([0, 1], [[0.75, 0.25], [0.75, 0.25]])]).pooled
    0.25
    """
    rows = [_gaps(f"Task {i}: ", task) for i, task in enumerate(tasks)]
    if not rows:
        raise ValueError("There are no tasks.")
    alone = np.array([_error(row, n_bins) for row in rows])
    return TaskCalibration(_error(np.hstack(rows), n_bins), float(alone.mean()), alone)


def _check(name: str, value: Any, check: Check) -> None:
    if not check[0](value):
        raise ValueError(f"The {name!r} parameter must be {check[1]}. Got {value!r} instead.")


def _per_task(scores: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        x = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers, one a task: {error}.") from None
    if x.ndim not in (1, 2) or not x.size:
        raise ValueError(f"{name} must be (n_tasks,) or (n_seeds, n_tasks). Got shape {x.shape}.")
    for i in np.argwhere(~np.isfinite(x)):
        raise ValueError(f"Task {i[-1]}: {name}{i.tolist()} is {x[tuple(i)]} (shape {x.shape}).")
    return np.atleast_2d(x).mean(axis=0)


def _gaps(task: str, given: Any) -> NDArray[np.float64]:
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
        raise ValueError(f"{task}must be (y_true, y_proba[, classes]). Got {given!r:.80}.")
    y_true, y_proba, classes = (*given, None)[:3]
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
        called = f"labels {labels} for y_proba of shape {p.shape}"
        raise ValueError(f"{task}{called}; `classes` must name each column once, as `classes_`.")
    if unknown := [label for label in y.tolist() if label not in column]:
        raise ValueError(f"{task}y_true holds {unknown[0]!r}, which is not in classes, {labels}.")
    right = p.argmax(axis=1) == [column[label] for label in y.tolist()]
    return np.stack([p.max(axis=1), right - p.max(axis=1)])  # confidence, and what it lacks


def _error(gaps: NDArray[np.float64], n_bins: int) -> float:
    _check("n_bins", n_bins, integer(1))
    m = np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], gaps[0])  # edges belong to the left
    return float(np.abs(np.bincount(m, weights=gaps[1])).sum() / gaps.shape[1])
