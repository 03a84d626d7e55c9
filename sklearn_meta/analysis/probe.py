"""A linear probe for each task: ridge or logistic regression, all tasks at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.analysis.linear_fits import logistic, ridge
from sklearn_meta.analysis.rows import Stack, TaskRows
from sklearn_meta.outer.scaling import Moments

__all__ = ["Probe", "moments"]


@dataclass(frozen=True)
class Probe:
    """A linear model of standardised inputs, with a constant that is penalised alike.

    Parameters
    ----------
    kind : {"class", "real"}
        Logistic or ridge regression.
    x_mean, x_scale : ndarray of shape (n_features,)
        Of the rows of all tasks.
    y_mean, y_scale : ndarray of shape (n_outputs,)
        Likewise of targets.
    alpha : float
        Weight of the squared norm of the coefficients, against the sum over rows.
    row_ndim : int, default=1
        Axes of a row of X, which are flattened.
    """

    kind: str
    x_mean: NDArray[np.float64]
    x_scale: NDArray[np.float64]
    y_mean: NDArray[np.float64]
    y_scale: NDArray[np.float64]
    alpha: float
    row_ndim: int = 1

    @classmethod
    def of(cls, rows: TaskRows, alpha: float) -> Probe:
        """Standardise by the rows of all tasks together.

        Parameters
        ----------
        rows : TaskRows
            The tasks.
        alpha : float
            The penalty.

        Returns
        -------
        Probe
            For these tasks.
        """
        x = moments(rows.inputs(i, every) for i, every in enumerate(rows.everything))
        y = moments(rows.values) if rows.kind == "real" else (np.zeros(1), np.ones(1))
        return cls(rows.kind, *x, *y, alpha, len(rows.tasks[0].row_shape))

    def design(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Standardise, and append a constant.

        Parameters
        ----------
        X : ndarray of shape (*B, n, ...)
            Rows.

        Returns
        -------
        ndarray of shape (*B, n, n_features + 1)
            The design.
        """
        B = X.shape[: X.ndim - self.row_ndim]
        flat = (X.reshape(*B, -1) - self.x_mean) / self.x_scale
        return np.concatenate([flat, np.ones((*B, 1))], axis=-1)

    def adapt(self, part: Stack) -> NDArray[np.float64]:
        """Fit each task.

        Parameters
        ----------
        part : Stack
            Rows to learn from.

        Returns
        -------
        ndarray of shape (n_tasks, n_features + 1, n_columns)
            Coefficients, the constant last.
        """
        Z = self.design(part.X) * part.mask[..., None]
        if self.kind == "real":
            return ridge(
                Z, (part.y - self.y_mean) / self.y_scale * part.mask[..., None], self.alpha
            )
        return logistic(Z, part.y, self.alpha)

    def outputs(self, phi: NDArray[np.float64], X: NDArray[Any]) -> NDArray[np.float64]:
        """Predict rows with the model of each task.

        Parameters
        ----------
        phi : ndarray of shape (n_tasks, n_features + 1, n_columns)
            From `adapt`.
        X : ndarray of shape (n, ...)
            Rows, the same for all.

        Returns
        -------
        ndarray of shape (n_tasks, n, n_columns)
            Logits, or means in the units of `y`.
        """
        out: NDArray[np.float64] = self.design(X) @ phi
        return out * self.y_scale + self.y_mean if self.kind == "real" else out


def moments(parts: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each column, of all parts together.

    Parameters
    ----------
    parts : iterable of ndarray of shape (n, ...)
        Rows, gone through once.

    Returns
    -------
    mean, scale : ndarray of shape (n_columns,)
        The scale is 1 for a constant column.
    """
    found = Moments(all_axes=False)
    for part in parts:
        found.add(part.reshape(len(part), -1).astype(np.float64))
    mean, scale = found.result()
    return mean, np.where(scale > 0, scale, 1.0)
