"""Ridge and logistic regressions of a stack of tasks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

__all__ = ["logistic", "probabilities", "ridge"]

N_ITER, TOL = 2000, 1e-10


def _reduced(Z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Z = R Q with few columns of R, where there are more features than rows."""
    if Z.shape[-1] <= Z.shape[-2]:
        return Z, None
    Q, R = np.linalg.qr(np.swapaxes(Z, -1, -2))
    return np.swapaxes(R, -1, -2), Q


def ridge(Z: NDArray[np.float64], y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Ridge regression of a stack, min |y - Z w|^2 + alpha |w|^2.

    Parameters
    ----------
    Z : ndarray of shape (n_tasks, n, d)
        Designs; rows of zeros count nothing.
    y : ndarray of shape (n_tasks, n, k)
        Targets.
    alpha : float
        The penalty.

    Returns
    -------
    ndarray of shape (n_tasks, d, k)
        Coefficients.
    """
    R, Q = _reduced(Z)
    Rt = np.swapaxes(R, -1, -2)
    w: Any = np.linalg.solve(Rt @ R + alpha * np.eye(R.shape[-1]), Rt @ y)
    coef: NDArray[np.float64] = w if Q is None else Q @ w
    return coef


def logistic(Z: NDArray[np.float64], y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Multinomial logistic regression of a stack, min -log lik + alpha / 2 |W|^2.

    Parameters
    ----------
    Z : ndarray of shape (n_tasks, n, d)
        Designs; rows of zeros count nothing.
    y : ndarray of shape (n_tasks, n, k)
        One-hot labels; a column of zeros is a class that the task does not have.
    alpha : float
        The penalty.

    Returns
    -------
    ndarray of shape (n_tasks, d, k)
        Coefficients, zero for absent classes.

    Warns
    -----
    ConvergenceWarning
        If the gradient is still not zero in the end.

    Notes
    -----
    Newton steps with the Hessian's upper bound, Z^T Z / 2 (Boehning, 1992): each step is one
    solve for all tasks and the loss never rises. Nesterov's momentum, started anew by each task
    whose step turns against it, makes it fast.
    """
    R, Q = _reduced(Z)
    Rt, present = np.swapaxes(R, -1, -2), y.any(axis=-2, keepdims=True)
    bound = np.linalg.inv(Rt @ R / 2 + alpha * np.eye(R.shape[-1]))
    W: Any = np.zeros((len(R), R.shape[-1], y.shape[-1]))
    V, t = W, np.ones((len(R), 1, 1))
    tol = TOL * max(1.0, Z.shape[-2] / 1000)  # sums of many rows round
    for _ in range(N_ITER):
        G = Rt @ (y - probabilities(R @ V, present)) - alpha * V
        if np.abs(G).max(initial=0.0) <= tol:
            break
        step = bound @ G
        new = V + step
        against = ((new - W) * step).sum((-2, -1), keepdims=True) < 0
        after = np.where(against, 1.0, (1 + np.sqrt(1 + 4 * t**2)) / 2)
        V = np.where(against, new, new + (t - 1) / after * (new - W))
        W, t = new, after
    else:
        warnings.warn(
            f"The logistic probe did not converge in {N_ITER} steps (largest gradient "
            f"{np.abs(G).max():.1e}); raise alpha, now {alpha}.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return V if Q is None else Q @ V


def probabilities(logits: NDArray[np.float64], present: Any) -> NDArray[np.float64]:
    """Softmax over the classes that are there.

    Parameters
    ----------
    logits : ndarray of shape (..., k)
        Of all classes.
    present : ndarray of bool, broadcast to (..., k)
        Which there are.

    Returns
    -------
    ndarray of shape (..., k)
        Zero for absent classes.
    """
    shifted = np.where(present, logits, -np.inf)
    P = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    total: NDArray[np.float64] = P.sum(axis=-1, keepdims=True)
    return P / total
