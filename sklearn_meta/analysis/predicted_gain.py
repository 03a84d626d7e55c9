"""Risks of pooled, per-task and meta-learning, exact for linear tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from sklearn_meta.analysis.variance_components import (
    Floats,
    LinearTasks,
    fit_outputs,
    linear_tasks,
)
from sklearn_meta.parameters import check_parameter, integer, option

__all__ = [
    "Designs",
    "LinearPrior",
    "PredictedGain",
    "gaussian_designs",
    "predicted_gain",
    "row_designs",
]

OWNER = "predicted_gain"
STRATEGIES = ("pooled", "per-task", "meta")
NEAR = 0.1  # `n_tasks_enough` is where this share of the gain is still missing
SINGULAR = 1e-10  # eigenvalues of X'X that are smaller, relative to the largest, count as 0


@dataclass(frozen=True, eq=False)
class PredictedGain:
    """Predicted risks of pooled, per-task and meta-learning; `print` shows a table.

    Parameters
    ----------
    n_support : ndarray of int of shape (n_sizes,)
        Numbers of support rows.
    pooled, per_task, meta : ndarray of shape (n_sizes,)
        Mean squared error beyond the noise: of one linear model for all tasks, of least squares
        on the support, and of ridge toward the mean of the tasks with the best penalty.
    noise : float
        Variance of the noise, which every strategy has on top.
    winner : ndarray of str of shape (n_sizes,)
        The strategy of least risk, "pooled", "per-task" or "meta"; among equals the simpler.
    gain : ndarray of shape (n_sizes,)
        1 - meta / min(pooled, per_task); below zero where meta-learning loses. At most 0.5, reached
        at tau^2 = s2 / n, if all coefficients vary equally and the design is orthogonal.
    n_tasks_enough : ndarray of shape (n_sizes,)
        Number of source tasks that yield 90 % of the largest possible gain over the better of
        pooled and per-task learning; inf where no gain is possible.
    standard_error : ndarray of shape (n_sizes,)
        Standard error of `meta`, from the draws of supports.
    design : ndarray of str of shape (n_sizes,)
        Source of the supports: "rows", "gaussian" or "orthogonal".
    n_tasks : int
        Number of source tasks.
    """

    n_support: NDArray[np.int64]
    pooled: Floats
    per_task: Floats
    meta: Floats
    noise: float
    winner: NDArray[np.str_]
    gain: Floats
    n_tasks_enough: Floats
    standard_error: Floats
    design: NDArray[np.str_]
    n_tasks: int

    def __str__(self) -> str:
        columns = (self.n_support, self.pooled, self.per_task, self.meta, self.gain, self.winner)
        lines = [
            f"{n:6d} {p:10.4g} {t:10.4g} {m:10.4g}  {100 * g:4.0f} %  {winner}"
            for n, p, t, m, g, winner in zip(*columns, strict=True)
        ]
        best = int(np.argmax(self.gain))
        if self.gain[best] <= 0:
            verdict = "Meta-learning is not predicted to gain over the better simple strategy."
        else:
            enough = self.n_tasks_enough[best]
            number = "no number of" if np.isinf(enough) else f"{enough:.0f}"
            verdict = (
                f"Meta-learning gains most, {100 * self.gain[best]:.0f} % of the error of the "
                f"better simple strategy, with {self.n_support[best]} rows; {number} tasks are "
                f"enough for that (there are {self.n_tasks})."
            )
        title = f"Squared error beyond the noise ({self.noise:.4g}), for linear models:"
        head = f"{'rows':>6} {'pooled':>10} {'per-task':>10} {'meta':>10}  {'gain':>6}  best"
        return "\n".join([title, head, *lines, verdict])


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
    r"""Predict the risks of pooled, per-task and meta-learning for linear tasks.

    With the moments of :func:`variance_components`, and M the second moment of a query row:

    - pooled: :math:`\operatorname{tr} M (\Sigma + C)`, C the covariance of the estimated mean;
    - per-task: :math:`\sigma^2 E \operatorname{tr} M (X^\top X)^{-1}`, which is
      :math:`\sigma^2 d / (n - d - 1)` for Gaussian rows;
    - meta: :math:`E \operatorname{tr} M (P + A C A^\top)` with
      :math:`P = (\Sigma^{-1} + X^\top X / \sigma^2)^{-1}` and :math:`A = P \Sigma^{-1}`: ridge
      toward the estimated mean, which is the Bayes rule where that is the mean.

    These risks are exact for these moments, for any distribution of w and of the noise. Means over
    supports X are over `n_draws` of them. Features are in units of their root mean square, which
    matters only to least squares on fewer rows than coefficients. The prediction does not take into
    account how far from linear the tasks are, and the moments of few tasks are rough: see the
    intervals of `variance_components`.

    Parameters
    ----------
    tasks : sequence of tasks
        At least 2 tasks, in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts. Labels
        become indicators, one output for each class, whose risks are added up; they must mean the
        same in all tasks.
    n_support : int or array-like of int
        Numbers of support rows to predict for.
    n_tasks : int, default=None
        Number of source tasks to predict for, of the same sizes as `tasks`. None: that of `tasks`.
    design : {"rows", "gaussian", "orthogonal"}, default="rows"
        Supports are rows of the tasks that have more rows than that ("gaussian" if there are no
        such tasks), Gaussian rows of the same mean and covariance, or such that
        :math:`X^\top X = n M`.
    fit_intercept, target_type : bool and {"class", "real"}, default=True and None
        As in `variance_components`.
    n_draws : int, default=400
        Number of supports drawn for each size.
    random_state : int, RandomState instance or None, default=None
        Seed of these draws.

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
    >>> prediction = predicted_gain(tasks, [4, 200], fit_intercept=False, random_state=0)
    >>> prediction.winner.tolist(), bool(prediction.gain[0] > prediction.gain[1])
    (['meta', 'meta'], True)
    """
    check_parameter("design", design, option("rows", "gaussian", "orthogonal"), OWNER)
    sizes = np.asarray(n_support)
    if sizes.ndim > 1 or sizes.size == 0:
        raise ValueError(
            f"The 'n_support' parameter of {OWNER} must be an int or a list of ints. "
            f"Got an array of shape {sizes.shape} instead."
        )
    for n in np.atleast_1d(sizes):
        check_parameter("n_support", n, integer(1), OWNER)
    check_parameter("n_draws", n_draws, integer(1), OWNER)
    check_parameter("n_tasks", n_tasks, integer(1, none=True), OWNER)
    data = linear_tasks(tasks, fit_intercept, target_type, OWNER).standardised()
    n_source = n_tasks or len(data.y)
    fits = fit_outputs(data, OWNER)
    priors = [
        LinearPrior(
            fit.mean,
            fit.nearest_covariance(data.second_moment),
            fit.noise,
            fit.mean_covariance * (len(data.y) / n_source),
        )
        for fit in fits
    ]
    draws: Any = {"n_draws": n_draws, "rng": check_random_state(random_state)}
    longest = data.n_rows.max()
    kinds = ["gaussian" if design == "rows" and longest <= n else design for n in sizes.flat]
    risks = [
        _risks(priors, _draw_designs(kind, int(n), data, fit_intercept, **draws), n_source)
        for kind, n in zip(kinds, sizes.flat, strict=True)
    ]
    pooled, per_task, meta, enough, error = np.array(risks).T
    better = np.minimum(pooled, per_task)
    return PredictedGain(
        n_support=np.atleast_1d(sizes),
        pooled=pooled,
        per_task=per_task,
        meta=meta,
        noise=float(sum(fit.noise for fit in fits)),
        winner=np.array(STRATEGIES)[np.argmin([pooled, per_task, meta], axis=0)],
        gain=1 - np.divide(meta, better, out=np.ones_like(meta), where=better > 1e-9 * pooled),
        n_tasks_enough=enough,
        standard_error=error,
        design=np.array(kinds),
        n_tasks=n_source,
    )


def _risks(priors: list[LinearPrior], designs: Designs, n_tasks: int) -> list[float]:
    """Risks of the strategies summed over outputs, tasks that are enough, standard error."""
    pooled, pooled_cost = np.sum([prior.pooled(designs) for prior in priors], axis=0)
    per_task = np.sum([prior.per_task(designs) for prior in priors], axis=0)
    meta, cost = np.sum([prior.meta(designs) for prior in priors], axis=0)
    limit = min(pooled.mean(), per_task.mean()) - meta.mean()
    # the cost of the estimated mean falls as 1 / T: cost * n_tasks / T = NEAR * limit
    enough = np.inf
    if limit > 1e-9 * pooled.mean():
        enough = max(1.0, float(np.ceil(cost.mean() * n_tasks / (NEAR * limit))))
    risk = meta + cost
    error = float(np.std(risk, ddof=1) / np.sqrt(len(risk))) if len(risk) > 1 else 0.0
    means = [float(r.mean()) for r in (pooled + pooled_cost, per_task, risk)]
    return [*means, enough, error]


class LinearPrior(NamedTuple):
    """Moments of the tasks' coefficients, the noise, and how well the mean is estimated.

    Each method returns one risk for each design, (n_draws,); `pooled` and `meta` also return what
    the error of the mean adds.
    """

    mean: Floats  # (p,)
    covariance: Floats  # (p, p)
    noise: float  # variance
    mean_covariance: Floats  # of the error of the mean

    def pooled(self, designs: Designs) -> tuple[Floats, Floats]:
        """Risk of the mean for every task: tr(M Sigma) and tr(M C)."""
        return _trace(designs.M, self.covariance), _trace(designs.M, self.mean_covariance)

    def per_task(self, designs: Designs) -> Floats:
        """Risk of least squares (of least norm, if the support is too small).

        It is s2 tr(M G^+) + tr(M N E[w w'] N), with N the projection on the null space of G.
        """
        if designs.per_task is not None:
            return np.full(len(designs.M), self.noise * designs.per_task)
        values, vectors = np.linalg.eigh(designs.G)
        regular = values > SINGULAR * values[:, -1:]
        inverse = np.where(regular, 1 / np.where(regular, values, 1.0), 0.0)
        N = (vectors * ~regular[:, None]) @ vectors.swapaxes(1, 2)
        pseudo = (vectors * inverse[:, None]) @ vectors.swapaxes(1, 2)
        second = self.covariance + np.outer(self.mean, self.mean)
        return self.noise * _trace(designs.M, pseudo) + _trace(designs.M, N @ second @ N)

    def meta(self, designs: Designs) -> tuple[Floats, Floats]:
        """Risk of ridge toward the mean: tr(M P), P = (Sigma^-1 + G / s2)^-1, and tr(M A C A')."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0))
        # without noise, the limit: the support determines the directions that it spans
        noise = max(self.noise, 1e-12 * float(_trace(designs.M, self.covariance).mean()), 1e-300)
        inner = np.eye(len(values)) + root.T @ designs.G @ root / noise
        P = root @ np.linalg.solve(inner, np.broadcast_to(root.T, inner.shape))
        A = np.eye(len(values)) - P @ designs.G / noise
        return _trace(designs.M, P), _trace(designs.M, A @ self.mean_covariance @ A.swapaxes(1, 2))


def _trace(M: Floats, S: Floats) -> Floats:
    return np.asarray(np.sum(M * S, axis=(-2, -1)))


# ---- supports ----------------------------------------------------------------------------------


class Designs(NamedTuple):
    """Supports of one size, and the query rows that go with them."""

    G: Floats  # X'X of the support, (n_draws, p, p)
    M: Floats  # second moment of a query row, (n_draws, p, p)
    per_task: float | None = None  # E tr(M G^-1), where it has a closed form


def _draw_designs(
    kind: str,
    n: int,
    data: LinearTasks,
    intercept: bool,
    *,
    n_draws: int,
    rng: np.random.RandomState,
) -> Designs:
    M = data.second_moment
    if kind == "orthogonal":
        return Designs(n * M[None], M[None])
    if kind == "rows":
        return row_designs([X for X in data.X if len(X) > n], n, n_draws=n_draws, rng=rng)
    d = len(M) - intercept
    mean = M[:d, -1] if intercept else np.zeros(d)
    covariance = M[:d, :d] - np.outer(mean, mean)
    return gaussian_designs(mean, covariance, n, intercept=intercept, n_draws=n_draws, rng=rng)


def gaussian_designs(
    mean: Floats,
    covariance: Floats,
    n: int,
    *,
    intercept: bool,
    n_draws: int,
    rng: np.random.RandomState,
) -> Designs:
    """Draw supports of n Gaussian rows; the risk of least squares is exact where it is finite."""
    values, vectors = np.linalg.eigh(covariance)
    root, d = (vectors * np.sqrt(np.maximum(values, 0))).T, len(mean)

    def rows(m: int) -> Floats:
        X = mean + rng.standard_normal((m, d)) @ root
        return np.column_stack([X, np.ones(m)]) if intercept else X

    supports = [rows(n) for _ in range(n_draws)]
    centre = np.append(mean, 1.0) if intercept else mean
    M = np.outer(centre, centre)
    M[:d, :d] += covariance
    per_task = (
        _least_squares(n, d) if not intercept else 1 / n + (1 + 1 / n) * _least_squares(n - 1, d)
    )
    exact = (intercept or not mean.any()) and values[0] > SINGULAR * values[-1]
    # with fewer rows than coefficients, the solution of least norm has a finite risk: use the draws
    few = n < d + intercept - 1
    return Designs(
        np.array([X.T @ X for X in supports]),
        np.broadcast_to(M, (n_draws, *M.shape)),
        per_task if exact and not few else None,
    )


def _least_squares(n: int, d: int) -> float:
    return d / (n - d - 1) if n > d + 1 else np.inf


def row_designs(X: list[Floats], n: int, *, n_draws: int, rng: np.random.RandomState) -> Designs:
    """Draw supports of n rows from the tasks in turn; the other rows of the task are the query."""
    turns = np.concatenate([rng.permutation(len(X)) for _ in range(-(-n_draws // len(X)))])
    G, M = [], []
    for t in turns[:n_draws]:
        order = rng.permutation(len(X[t]))
        support, query = X[t][order[:n]], X[t][order[n:]]
        G.append(support.T @ support)
        M.append(query.T @ query / len(query))
    return Designs(np.array(G), np.array(M))
