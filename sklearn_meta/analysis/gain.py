"""Whether to pool, to learn each task alone, or to meta-learn: the rule for linear tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from sklearn_meta.analysis.covariance import kept_covariance
from sklearn_meta.analysis.designs import Designs, gaussian_designs, row_designs
from sklearn_meta.analysis.linear_tasks import Floats, LinearTasks, linear_tasks
from sklearn_meta.analysis.risks import LinearPrior
from sklearn_meta.analysis.variance import fit_outputs
from sklearn_meta.parameters import check_parameter, integer

__all__ = ["PredictedGain", "predicted_gain"]

OWNER = "predicted_gain"
ARMS = ("pool", "local", "meta")
NEAR = 0.1  # `n_tasks_enough` is where this share of the gain is still missing


@dataclass(frozen=True, eq=False)
class PredictedGain:
    """Predicted risks of pooling, local learning and meta-learning; prints as a table and words.

    Parameters
    ----------
    n_support : ndarray of int of shape (n_sizes,)
        Rows of support.
    pool, local, meta : ndarray of shape (n_sizes,)
        Mean squared error beyond the noise: of one linear model for all tasks, of least squares
        on the support, and of ridge toward the mean of the tasks with the best penalty.
    noise : float
        Variance of the noise, which every arm has on top.
    winner : ndarray of str of shape (n_sizes,)
        The arm of the least risk; of equals the simpler.
    gain : ndarray of shape (n_sizes,)
        1 - meta / min(pool, local); below zero where meta-learning loses. At most 0.5, reached at
        tau^2 = s2 / n, if all coefficients vary alike and the design is orthogonal.
    n_tasks_enough : ndarray of shape (n_sizes,)
        Source tasks from which on 90 % of the gain over the simple arms at their best is there;
        inf where there is none to be had.
    standard_error : ndarray of shape (n_sizes,)
        Of `meta`, from the draws of supports.
    design : ndarray of str of shape (n_sizes,)
        Where the supports came from: "rows", "gaussian" or "orthogonal".
    n_tasks : int
        Source tasks.
    """

    n_support: NDArray[np.int64]
    pool: Floats
    local: Floats
    meta: Floats
    noise: float
    winner: NDArray[np.str_]
    gain: Floats
    n_tasks_enough: Floats
    standard_error: Floats
    design: NDArray[np.str_]
    n_tasks: int

    def __str__(self) -> str:
        names = {"pool": "one model for all", "local": "each task alone", "meta": "meta-learning"}
        head = f"{'rows':>6} {'pool':>10} {'local':>10} {'meta':>10}  {'gain':>6}  best"
        lines = [
            f"{n:6d} {p:10.4g} {o:10.4g} {m:10.4g}  {100 * g:4.0f} %  {names[str(w)]}"
            for n, p, o, m, g, w in zip(
                self.n_support,
                self.pool,
                self.local,
                self.meta,
                self.gain,
                self.winner,
                strict=True,
            )
        ]
        best = int(np.argmax(self.gain))
        if self.gain[best] <= 0:
            word = "Meta-learning is not predicted to gain anything over the better simple arm."
        else:
            enough = self.n_tasks_enough[best]
            tasks = "no number of" if np.isinf(enough) else f"{enough:.0f}"
            word = (
                f"Meta-learning gains most, {100 * self.gain[best]:.0f} % of the error of the "
                f"better simple arm, with {self.n_support[best]} rows; {tasks} tasks are enough "
                f"for that (there are {self.n_tasks})."
            )
        title = f"Squared error beyond the noise ({self.noise:.4g}), for linear models:"
        return "\n".join([title, head, *lines, word])


def predicted_gain(
    tasks: Any,
    n_support: ArrayLike,
    *,
    n_tasks: int | None = None,
    design: str = "rows",
    fit_intercept: bool = True,
    target_type: str | None = None,
    n_draws: int = 400,
    random_state: Any = None,
) -> PredictedGain:
    r"""Predict the risks of pooling, local learning and meta-learning for linear tasks.

    With the moments of :func:`variance_components`, and M the second moment of a query row:

    - pool: :math:`\operatorname{tr} M (\Sigma + C)`, C the covariance of the estimated mean;
    - local: :math:`\sigma^2 E \operatorname{tr} M (X^\top X)^{-1}`, which is
      :math:`\sigma^2 d / (n - d - 1)` for Gaussian rows;
    - meta: :math:`E \operatorname{tr} M (P + A C A^\top)` with
      :math:`P = (\Sigma^{-1} + X^\top X / \sigma^2)^{-1}` and :math:`A = P \Sigma^{-1}`: ridge
      toward the estimated mean, which is the Bayes rule where that is the mean.

    They are exact for the moments put in, whatever the distribution of w and of the noise; means
    over supports X are over `n_draws` of them. Features are taken in units of their root mean
    square, which matters to least squares on fewer rows than coefficients alone. What it cannot
    know is how far from linear the tasks are, and the moments of few tasks are rough: see the
    intervals of `variance_components`.

    Parameters
    ----------
    tasks : sequence of tasks
        At least 2, as :func:`~sklearn_meta.tasks.as_tasks` takes them. Labels become indicators,
        one output a class, whose risks are added up; they must mean the same in all tasks.
    n_support : int or array-like of int
        Rows of support to predict for.
    n_tasks : int, default=None
        Number of source tasks to predict for, of the sizes of those given. None: those given.
    design : {"rows", "gaussian", "orthogonal"}, default="rows"
        Supports are rows of the tasks (of those with more than that many rows; "gaussian" where
        there are none), Gaussian rows of the same mean and covariance, or such that
        :math:`X^\top X = n M`.
    fit_intercept, target_type : bool and {"class", "real"}, default=True and None
        As in `variance_components`.
    n_draws : int, default=400
        Supports for each size.
    random_state : int, RandomState instance or None, default=None
        Of these draws.

    Returns
    -------
    PredictedGain
        One entry for each of `n_support`.

    Raises
    ------
    TaskError, ValueError
        As `variance_components`, and if `n_support`, `n_tasks`, `design` or `n_draws` is no
        positive int, or not one of the names.

    Examples
    --------
    >>> from sklearn_meta.analysis import predicted_gain
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(200, 30, 3, noise=2.0, random_state=0).tasks
    >>> found = predicted_gain(tasks, [4, 200], fit_intercept=False, random_state=0)
    >>> [str(arm) for arm in found.winner], bool(found.gain[0] > found.gain[1])
    (['meta', 'meta'], True)
    """
    if design not in ("rows", "gaussian", "orthogonal"):
        raise ValueError(
            f"The 'design' parameter of {OWNER} must be 'rows', 'gaussian' or 'orthogonal'. "
            f"Got {design!r} instead."
        )
    sizes = [int(check_parameter("n_support", n, integer(1), OWNER)) for n in _listed(n_support)]
    check_parameter("n_draws", n_draws, integer(1), OWNER)
    data = linear_tasks(
        tasks, fit_intercept=fit_intercept, target_type=target_type, owner=OWNER, min_tasks=2
    ).standardised()
    check_parameter("n_tasks", n_tasks, integer(1, none=True), OWNER)
    source = len(data.y) if n_tasks is None else int(n_tasks)
    fits, _, _ = fit_outputs(data, OWNER)
    priors = [
        LinearPrior(
            fit.mean,
            kept_covariance(fit, data.second_moment),
            fit.noise,
            fit.mean_covariance * (len(data.y) / source),
        )
        for fit in fits
    ]
    rng = check_random_state(random_state)
    kinds = [_kind(design, data, n) for n in sizes]
    draw = _drawer(data, fit_intercept, n_draws, rng)
    found = [_risks(priors, draw(kind, n), source) for kind, n in zip(kinds, sizes, strict=True)]
    pool, local, meta, enough, error = np.array(found).T
    better = np.minimum(pool, local)
    return PredictedGain(
        n_support=np.array(sizes),
        pool=pool,
        local=local,
        meta=meta,
        noise=float(sum(fit.noise for fit in fits)),
        winner=np.array(ARMS)[np.argmin([pool, local, meta], axis=0)],
        gain=1 - np.divide(meta, better, out=np.ones_like(meta), where=better > 1e-9 * pool),
        n_tasks_enough=enough,
        standard_error=error,
        design=np.array(kinds),
        n_tasks=source,
    )


def _listed(n_support: Any) -> list[Any]:
    values = np.asarray(n_support)
    if values.ndim > 1 or values.size == 0:
        raise ValueError(
            f"The 'n_support' parameter of {OWNER} must be an int or a list of ints. "
            f"Got an array of shape {values.shape} instead."
        )
    return list(np.atleast_1d(values))


def _kind(design: str, data: LinearTasks, n: int) -> str:
    return "gaussian" if design == "rows" and data.n_rows.max() <= n else design


def _drawer(
    data: LinearTasks, intercept: bool, n_draws: int, rng: np.random.RandomState
) -> Callable[[str, int], Designs]:
    M = data.second_moment
    d = len(M) - intercept
    mean = M[:d, -1] if intercept else np.zeros(d)
    covariance = M[:d, :d] - np.outer(mean, mean)

    def draw(kind: str, n: int) -> Designs:
        if kind == "orthogonal":
            return Designs(n * M[None], M[None])
        if kind == "rows":
            return row_designs([X for X in data.X if len(X) > n], n, n_draws=n_draws, rng=rng)
        return gaussian_designs(mean, covariance, n, intercept=intercept, n_draws=n_draws, rng=rng)

    return draw


def _risks(priors: list[LinearPrior], designs: Designs, n_tasks: int) -> list[float]:
    """Risks of the arms summed over outputs, tasks that are enough, standard error of meta."""
    pool, pool_cost = np.sum([prior.pool(designs) for prior in priors], axis=0)
    local = np.sum([prior.local(designs) for prior in priors], axis=0)
    meta, cost = np.sum([prior.meta(designs) for prior in priors], axis=0)
    limit = min(pool.mean(), local.mean()) - meta.mean()
    # the cost of the mean falls as 1 / T: cost * n_tasks / T = NEAR * limit
    enough = np.inf
    if limit > 1e-9 * pool.mean():
        enough = max(1.0, float(np.ceil(cost.mean() * n_tasks / (NEAR * limit))))
    risk = meta + cost
    error = float(np.std(risk, ddof=1) / np.sqrt(len(risk))) if len(risk) > 1 else 0.0
    return [
        float((pool + pool_cost).mean()),
        float(local.mean()),
        float(risk.mean()),
        enough,
        error,
    ]
