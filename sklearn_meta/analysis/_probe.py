"""Ridge and logistic regressions of stacks of tasks, on inputs standardised over all tasks."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from sklearn_meta.analysis._stacks import (
    AT_ONCE,
    Predictor,
    RowChoice,
    TaskRows,
    consecutive_blocks,
)
from sklearn_meta.inner import Examples

__all__ = ["Probe", "logistic", "moments", "probabilities", "ridge"]

N_ITER, TOL = 2000, 1e-10
Floats = NDArray[np.float64]


class Probe:
    """A linear model of each task, whose constant is penalised like the other coefficients."""

    def __init__(self, rows: TaskRows, alpha: float) -> None:
        self.rows, self.alpha = rows, alpha
        self.x_mean, self.x_scale = moments(rows.inputs(i, r) for i, r in enumerate(rows.all_rows))
        real = rows.target_type == "real"
        self.y_mean, self.y_scale = moments(rows.y) if real else (np.zeros(1), np.ones(1))

    def chunks(self, choice: RowChoice) -> Iterator[NDArray[np.intp]]:
        """Yield positions of consecutive tasks, as many as memory allows."""
        d = len(self.x_mean) + 1
        yield from consecutive_blocks([d * (len(r) + min(d, len(r))) for r in choice], AT_ONCE)

    def rows_at_once(self, n_tasks: int) -> int:
        """Return how many rows to predict at once with the models of `n_tasks` tasks."""
        width = int(self.rows.n_columns.max())
        return max(1, AT_ONCE // (n_tasks * width + len(self.x_mean) + 1))

    def design(self, X: NDArray[Any]) -> Floats:
        """Flatten and standardise rows (*B, n, ...), and append a constant: (*B, n, d + 1)."""
        B = X.shape[: X.ndim - len(self.rows.tasks[0].row_shape)]
        flat = (X.reshape(*B, -1) - self.x_mean) / self.x_scale
        return np.concatenate([flat, np.ones((*B, 1))], axis=-1)

    def fit_heads(self, Z: Floats, part: Examples) -> tuple[Floats, Floats]:
        """Fit an output layer (B, d, k) to features (B, n, d); return it and its scaled targets."""
        y, weight = part.y.numpy(), part.weight.numpy()[..., None]
        if self.rows.target_type == "real":
            y = (y - self.y_mean) / self.y_scale * weight
            return ridge(Z, y, self.alpha), y
        return logistic(Z, y, self.alpha), y

    def predictor(self, choice: RowChoice, places: NDArray[np.intp]) -> Predictor:
        """Fit the chosen rows; return logits of each task's classes, or means of `y`."""
        part = self.rows.stack(choice, places, np.float64)
        Z = self.design(part.X.numpy()) * part.weight.numpy()[..., None]
        V, _ = self.fit_heads(Z, part)  # for labels, y_scale is 1 and y_mean 0
        return lambda X: self.design(X) @ V * self.y_scale + self.y_mean


def moments(parts: Iterable[NDArray[Any]]) -> tuple[Floats, Floats]:
    """Mean and standard deviation (1 for a constant) of each column, over all parts."""
    scaler = StandardScaler()
    for part in parts:
        scaler.partial_fit(part.reshape(len(part), -1).astype(np.float64))
    return scaler.mean_, scaler.scale_


def ridge(Z: Floats, y: Floats, alpha: float) -> Floats:
    """Minimise |y - Z W|^2 + alpha |W|^2 for Z (B, n, d) and y (B, n, k): (B, d, k)."""
    R, Q = _reduced(Z)
    Rt = np.swapaxes(R, -1, -2)
    W: Any = np.linalg.solve(Rt @ R + alpha * np.eye(R.shape[-1]), Rt @ y)
    return W if Q is None else Q @ W


def logistic(Z: Floats, y: Floats, alpha: float) -> Floats:
    """Minimise -log likelihood + alpha / 2 |W|^2 of a softmax regression: (B, d, k).

    Z is (B, n, d), y one-hot (B, n, k). Rows of zeros do not count. A column of y without a one is
    a class that the task lacks; its coefficients are 0. Newton steps with the upper bound
    Z^T Z / 2 of the Hessian (Boehning, 1992) are one solve for all tasks; Nesterov's momentum,
    restarted by each task whose step turns against it, makes them fast.
    """
    R, Q = _reduced(Z)
    Rt: Any = np.swapaxes(R, -1, -2)
    present = y.any(axis=-2, keepdims=True)
    bound = np.linalg.inv(Rt @ R / 2 + alpha * np.eye(R.shape[-1]))
    W: Any = np.zeros((len(R), R.shape[-1], y.shape[-1]))
    V, t = W, np.ones((len(R), 1, 1))
    tol = TOL * max(1.0, Z.shape[-2] / 1000)  # the rounding of sums of many rows
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


def probabilities(logits: Floats, present: Any) -> Floats:
    """Softmax over the classes that a task has; 0 for the others."""
    P: Floats = softmax(np.where(present, logits, -np.inf), axis=-1)
    return P


def _reduced(Z: Floats) -> tuple[Floats, Floats | None]:
    """Write Z = R Q^T with few columns of R if there are more features than rows."""
    if Z.shape[-1] <= Z.shape[-2]:
        return Z, None
    Q, R = np.linalg.qr(np.swapaxes(Z, -1, -2))
    return np.swapaxes(R, -1, -2), Q
