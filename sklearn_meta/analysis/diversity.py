"""How different the tasks of a set are from one another, in one number."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sklearn_meta.analysis.fisher import cosine_of_shares, shrunk
from sklearn_meta.analysis.rows import halves
from sklearn_meta.analysis.task2vec import embedding, rows_for

__all__ = ["Diversity", "diversity_coefficient", "mean_of_pairs"]


class Diversity(NamedTuple):
    """The diversity of a set of tasks.

    Attributes
    ----------
    coefficient : float
        Mean distance of two different tasks, from 0 to 1.
    low, high : float
        Confidence interval.
    floor : float
        Mean distance of two halves of the same task: what noise alone gives.
    between_halves : float
        Mean distance of halves of two different tasks: what to hold `floor` against, for halves
        have half the rows. If the two are alike, the tasks are not told apart.
    """

    coefficient: float
    low: float
    high: float
    floor: float
    between_halves: float


def diversity_coefficient(
    tasks: Any,
    estimator: Any = None,
    random_state: Any = None,
    *,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    shrink: float = 1.0,
    target_type: str | None = None,
) -> Diversity:
    """Mean Task2Vec distance of two tasks, with an interval and the floor that noise sets.

    Parameters
    ----------
    tasks : sequence of tasks
        At least two; a task needs two rows (of a class).
    estimator : meta-learner, default=None
        Its backbone is the probe, as in :func:`task2vec`.
    random_state : int, RandomState instance or None, default=None
        Draws the probe, the halves and the bootstrap.
    confidence : float, default=0.95
        Of the interval.
    n_bootstrap : int, default=1000
        Samples of tasks (not of pairs: all pairs of a task stand and fall with it).
    shrink, target_type : float and {"class", "real"}, default=1.0 and None
        As in :func:`task2vec_distances`.

    Returns
    -------
    Diversity
        A named tuple of numbers.

    Raises
    ------
    ValueError
        If there are fewer than two tasks, or a parameter is out of range.
    TaskError
        If a task cannot be used, or cut into halves.
    NotMetaFittedError
        If the estimator has no prior.

    Notes
    -----
    The coefficient depends on the probe and on the rows of a task: compare it between sets of
    tasks of like size, under one probe, and beside its floor.

    References
    ----------
    Miranda, Yu, Wang and Koyejo, "The Curse of Low Task Diversity", 2022.

    Examples
    --------
    >>> from sklearn_meta.analysis import diversity_coefficient
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(n_tasks=20, noise=0.1, random_state=0).tasks
    >>> found = diversity_coefficient(tasks, random_state=0)
    >>> found.low < found.coefficient < found.high, found.floor < found.between_halves
    (True, True)
    """
    if not (isinstance(confidence, Real) and 0 < confidence < 1):
        raise ValueError(
            "The 'confidence' parameter of diversity_coefficient must be in the range (0, 1). "
            f"Got {confidence!r} instead."
        )
    if not (isinstance(n_bootstrap, Integral) and n_bootstrap >= 1):
        raise ValueError(
            "The 'n_bootstrap' parameter of diversity_coefficient must be an int in the range "
            f"[1, inf). Got {n_bootstrap!r} instead."
        )
    rng = check_random_state(random_state)
    rows = rows_for(tasks, estimator, "diversity_coefficient", target_type)
    n = len(rows.tasks)
    if n < 2:
        raise ValueError(f"diversity_coefficient compares pairs of tasks; got {n} task.")
    parts = [rows.everything, *halves(rows, rng)]
    F, A, B = (shrunk(part, shrink) for part in embedding(rows, parts, rng, estimator))
    low, high = _interval(cosine_of_shares(F, F), confidence, int(n_bootstrap), rng)
    of_halves = cosine_of_shares(A, B)
    return Diversity(
        coefficient=float(mean_of_pairs(cosine_of_shares(F, F), np.ones((1, n)))[0]),
        low=low,
        high=high,
        floor=float(np.diag(of_halves).mean()),
        between_halves=float(mean_of_pairs(of_halves, np.ones((1, n)))[0]),
    )


def mean_of_pairs(d: NDArray[np.float64], times: NDArray[Any]) -> NDArray[np.float64]:
    """Mean distance of two different tasks, in samples that hold a task several times.

    Parameters
    ----------
    d : ndarray of shape (n_tasks, n_tasks)
        Distances.
    times : ndarray of shape (n_samples, n_tasks)
        How often each task is in each sample. Two copies of one task are no pair.

    Returns
    -------
    ndarray of shape (n_samples,)
        NaN for a sample of one task alone.
    """
    off = d - np.diag(np.diag(d))
    pairs = times.sum(axis=1) ** 2.0 - (times**2).sum(axis=1)
    total = ((times @ off) * times).sum(axis=1)
    return total / np.where(pairs > 0, pairs, np.nan)


def _interval(
    d: NDArray[np.float64], confidence: float, n_bootstrap: int, rng: np.random.RandomState
) -> tuple[float, float]:
    """Percentiles of the bootstrap over tasks."""
    n = len(d)
    times = rng.multinomial(n, np.full(n, 1 / n), size=n_bootstrap)
    found = mean_of_pairs(d, times)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.nanquantile(found, tails) if np.isfinite(found).any() else (np.nan, np.nan)
    return float(low), float(high)
