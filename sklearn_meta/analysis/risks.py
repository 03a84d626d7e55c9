"""Exact risks of the three ways to learn a linear task, for known moments of the tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_meta.analysis.linear_tasks import Floats

__all__ = ["Designs", "LinearPrior", "gaussian_designs", "mean_covariance", "row_designs"]

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


@dataclass(frozen=True, eq=False)
class LinearPrior:
    """What is known of the tasks: w ~ (mean, covariance), noise, and how well the mean is known.

    Parameters
    ----------
    mean, covariance : ndarray of shape (p,) and (p, p)
        Of the coefficients over tasks.
    noise : float
        Variance of the noise.
    mean_covariance : ndarray of shape (p, p)
        Of the error of the mean, as estimated from the source tasks.
    """

    mean: Floats
    covariance: Floats
    noise: float
    mean_covariance: Floats

    def pool(self, designs: Designs) -> tuple[Floats, Floats]:
        """Excess risk of the mean for every task: tr(M Sigma), and what its error adds.

        Parameters
        ----------
        designs : Designs
            The supports, of which only M matters.

        Returns
        -------
        known, cost : ndarray of shape (n_draws,)
            tr(M Sigma) and tr(M C).
        """
        return _trace(designs.M, self.covariance), _trace(designs.M, self.mean_covariance)

    def local(self, designs: Designs) -> Floats:
        """Excess risk of least squares on the support alone (of least norm, if it is too small).

        Parameters
        ----------
        designs : Designs
            The supports.

        Returns
        -------
        ndarray of shape (n_draws,)
            s2 tr(M G^+) + tr(M N E[w w'] N), N the projection on what the support has not seen.
        """
        if designs.local is not None:
            return np.full(len(designs.M), self.noise * designs.local)
        values, vectors = np.linalg.eigh(designs.G)
        seen = values > SINGULAR * values[:, -1:]
        inverse = np.where(seen, 1 / np.where(seen, values, 1.0), 0.0)
        blind = (vectors * ~seen[:, None]) @ vectors.swapaxes(1, 2)
        pseudo = (vectors * inverse[:, None]) @ vectors.swapaxes(1, 2)
        second = self.covariance + np.outer(self.mean, self.mean)
        return self.noise * _trace(designs.M, pseudo) + _trace(designs.M, blind @ second @ blind)

    def meta(self, designs: Designs) -> tuple[Floats, Floats]:
        """Excess risk of ridge toward the mean, the Bayes rule, and what the mean's error adds.

        Parameters
        ----------
        designs : Designs
            The supports.

        Returns
        -------
        known, cost : ndarray of shape (n_draws,)
            tr(M P) with P = (Sigma^-1 + G / s2)^-1, and tr(M A C A') with A = P Sigma^-1.
        """
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0))
        # without noise the limit: a direction that the support has seen is known
        noise = max(self.noise, 1e-12 * float(_trace(designs.M, self.covariance).mean()), 1e-300)
        inner = np.eye(len(values)) + root.T @ designs.G @ root / noise
        P = root @ np.linalg.solve(inner, np.broadcast_to(root.T, inner.shape))
        A = np.eye(len(values)) - P @ designs.G / noise
        return _trace(designs.M, P), _trace(designs.M, A @ self.mean_covariance @ A.swapaxes(1, 2))


def mean_covariance(G: Floats, covariance: Floats, noise: float) -> Floats:
    """Covariance of the best estimate of the mean from tasks: (sum_t X' V^-1 X)^-1.

    Parameters
    ----------
    G, covariance : ndarray of shape (n_tasks, p, p) and (p, p)
        X'X of the tasks, and the covariance of coefficients over tasks.
    noise : float
        Variance of the noise, above 0.

    Returns
    -------
    ndarray of shape (p, p)
        For full-rank tasks, (1 / T^2) sum_t (Sigma + s2 G_t^-1) if these are alike.
    """
    K = np.linalg.inv(noise * np.eye(G.shape[-1]) + G @ covariance)
    found: Floats = np.linalg.pinv(np.sum(K @ G, axis=0), hermitian=True)
    return found


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


def _trace(M: Floats, S: Floats) -> Floats:
    values: Floats = np.sum(M * S, axis=(-2, -1))
    return values
