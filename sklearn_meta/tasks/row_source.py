"""Where the rows of drawn tasks come from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.tasks.marginal import square_root

__all__ = ["RowSource"]


class RowSource:
    """Rows of the tasks that there were, or of a Gaussian fitted to them all.

    Parameters
    ----------
    tables : sequence of ndarray of shape (n_rows, n_features)
        The rows of each task.
    weights : ndarray of shape (n_tasks,)
        How much each task counts.
    kind : {"empirical", "gaussian"}
        Which of the two.
    """

    def __init__(
        self, tables: Sequence[NDArray[np.float64]], weights: NDArray[np.float64], kind: str
    ) -> None:
        self.kind, self.share = kind, weights / weights.sum()
        self.sizes = np.array([len(X) for X in tables])
        self.tables = tables if kind == "empirical" else None
        if kind == "gaussian":
            rows, each = np.concatenate(tables), np.repeat(weights, self.sizes)
            self.mean = each @ rows / each.sum()
            off = rows - self.mean
            self.root = square_root((each * off.T) @ off / each.sum())

    def draw(self, n_rows: int | None, rng: np.random.RandomState) -> NDArray[np.float64]:
        """Draw the rows of one task.

        Parameters
        ----------
        n_rows : int or None
            How many; None: as many as a task has, drawn by its weight.
        rng : RandomState
            The source of chance.

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            In random order.
        """
        t = rng.choice(len(self.sizes), p=self.share)
        n = self.sizes[t] if n_rows is None else n_rows
        if self.tables is None:
            return self.mean + rng.standard_normal((n, len(self.mean))) @ self.root.T
        table = self.tables[t]
        return table[rng.choice(len(table), size=n, replace=n > len(table))]
