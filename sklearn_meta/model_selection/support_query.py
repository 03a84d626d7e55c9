"""Splits of the rows of one task into support and query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from sklearn_meta.tasks import Task, split_task

__all__ = ["SupportQuerySplit"]

Split = tuple[NDArray[np.intp], NDArray[np.intp]]  # positions of support and query


class SupportQuerySplit(BaseCrossValidator):
    """Splits of the rows of one task into a support to adapt to, and a query to be judged by.

    For the inner loop: ``GridSearchCV(clf, {"inner_lr": ...}, cv=SupportQuerySplit(n_shot=1))``.

    Parameters
    ----------
    n_splits : int, default=5
        How many, each drawn anew.
    n_shot : int or None, default=None
        Support rows of each class; every class keeps at least one row of query.
    n_support : int or None, default=None
        Support rows in all, for a regression. Exactly one of the two is needed.
    random_state : int, RandomState instance or None, default=None
        The source of chance.

    Examples
    --------
    >>> from sklearn_meta.model_selection import SupportQuerySplit
    >>> y = ["a", "b", "a", "b", "b"]
    >>> for support, query in SupportQuerySplit(2, n_shot=1, random_state=0).split(y, y):
    ...     print(support, query)
    [2 4] [0 1 3]
    [0 1] [2 3 4]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        n_shot: int | None = None,
        n_support: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_splits, self.n_shot, self.n_support = n_splits, n_shot, n_support
        self.random_state = random_state

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Give the positions of support and query.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            The rows of the task.
        y : array-like of shape (n_rows,), default=None
            Their labels; not needed with `n_support`.
        groups : object, default=None
            Not looked at.

        Yields
        ------
        support, query : ndarray of int
            Positions in `X`.

        Raises
        ------
        TaskError
            If a class, or the task, has too few rows.
        ValueError
            If classes are asked for, and there is no `y`.
        """
        if y is None and self.n_shot is not None:
            raise ValueError("SupportQuerySplit(n_shot=...) needs y, the class of each row.")
        rng = check_random_state(self.random_state)
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        task = Task(np.zeros((n_rows, 1)), np.zeros(n_rows) if y is None else y)
        for _ in range(self.n_splits):
            drawn = split_task(task, n_shot=self.n_shot, n_support=self.n_support, random_state=rng)
            assert drawn.support is not None
            yield np.array(drawn.support), np.delete(np.arange(n_rows), drawn.support)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Give the number of splits.

        Parameters
        ----------
        X, y, groups : object
            Not looked at.

        Returns
        -------
        int
            `n_splits`.
        """
        return self.n_splits
