"""Supports of linear tasks: Gaussian ones, and those drawn from tasks' own rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_meta.analysis.linear_tasks import Floats

__all__ = ["SINGULAR", "Designs", "gaussian_designs", "row_designs"]

SINGULAR = 1e-10  # relative eigenvalue of X'X below which a direction counts as not seen


@dataclass(frozen=True, eq=False)
class Designs:
    """Supports of one size, and the query rows that go with them.

    Parameters
    ----------
    G, M : ndarray of shape (n_draws, p, p)
        X'X of the support, and the second moment of a query row.
    local : float or None
        E tr(M G^-1), where it is known in closed form.
    """

    G: Floats
    M: Floats
    local: float | None = None


def gaussian_designs(
    mean: Floats,
    covariance: Floats,
    n: int,
    *,
    intercept: bool,
    n_draws: int,
    rng: np.random.RandomState,
) -> Designs:
    """Draw supports of Gaussian rows.

    Parameters
    ----------
    mean, covariance : ndarray of shape (d,) and (d, d)
        Of a row, without the constant.
    n : int
        Rows of a support.
    intercept : bool
        Whether a last column of ones goes with the rows.
    n_draws : int
        How many.
    rng : RandomState
        The source of chance.

    Returns
    -------
    Designs
        The risk of least squares is exact: d / (n - d - 1), where it is finite.
    """
    values, vectors = np.linalg.eigh(covariance)
    root, d = (vectors * np.sqrt(np.maximum(values, 0))).T, len(mean)

    def rows(m: int) -> Floats:
        X = mean + rng.standard_normal((m, d)) @ root
        return np.column_stack([X, np.ones(m)]) if intercept else X

    drawn = [rows(n) for _ in range(n_draws)]
    centre = np.append(mean, 1.0) if intercept else mean
    M = np.outer(centre, centre)
    M[:d, :d] += covariance
    local = (
        _least_squares(n, d) if not intercept else 1 / n + (1 + 1 / n) * _least_squares(n - 1, d)
    )
    exact = (intercept or not mean.any()) and values[0] > SINGULAR * values[-1]
    # with fewer rows than coefficients least norm is finite, and the draws tell
    few = n < d + intercept - 1
    return Designs(
        np.array([X.T @ X for X in drawn]),
        np.broadcast_to(M, (n_draws, *M.shape)),
        local if exact and not few else None,
    )


def _least_squares(n: int, d: int) -> float:
    return d / (n - d - 1) if n > d + 1 else np.inf


def row_designs(X: list[Floats], n: int, *, n_draws: int, rng: np.random.RandomState) -> Designs:
    """Draw supports from the tasks' own rows; what is left of the task is its query.

    Parameters
    ----------
    X : list of ndarray of shape (n_rows, p)
        Tasks of more than `n` rows.
    n : int
        Rows of a support.
    n_draws : int
        How many.
    rng : RandomState
        The source of chance.

    Returns
    -------
    Designs
        Each task as often as the others.
    """
    turns = np.concatenate([rng.permutation(len(X)) for _ in range(-(-n_draws // len(X)))])
    G, M = [], []
    for t in turns[:n_draws]:
        order = rng.permutation(len(X[t]))
        support, query = X[t][order[:n]], X[t][order[n:]]
        G.append(support.T @ support)
        M.append(query.T @ query / len(query))
    return Designs(np.array(G), np.array(M))
