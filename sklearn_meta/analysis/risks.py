"""Exact risks of the three ways to learn a linear task, for known moments of the tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_meta.analysis.designs import SINGULAR, Designs
from sklearn_meta.analysis.linear_tasks import Floats

__all__ = ["LinearPrior", "mean_covariance"]


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


def _trace(M: Floats, S: Floats) -> Floats:
    values: Floats = np.sum(M * S, axis=(-2, -1))
    return values
