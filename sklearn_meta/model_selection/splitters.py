"""Splits that keep a task whole."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator, KFold, train_test_split

from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.frames import from_columns
from sklearn_meta.tasks.values import as_groups

__all__ = ["LeaveOneTaskOut", "TaskKFold", "train_test_split_tasks"]

Split = tuple[NDArray[np.intp], NDArray[np.intp]]  # training and test positions


class _OverTasks(BaseCrossValidator, ABC):
    """What splits over tasks have in common: they find out which rows are a task's."""

    __metadata_request__split: ClassVar[dict[str, bool]] = {"groups": True}

    task: str | list[str] | None

    def _tasks(self, X: Any, groups: Any) -> NDArray[np.intp]:
        """Give the task of each entry of X, numbered in the order in which they appear."""
        name = type(self).__name__
        if groups is None and self.task is not None:
            groups = from_columns(X, None, self.task)[2]
        if groups is None:
            if hasattr(X, "shape"):
                raise ValueError(
                    f"{name} must know the task of each row of X, of shape {X.shape}: pass "
                    "groups=, name the column of a DataFrame by task=, or pass a list of tasks."
                )
            return np.arange(len(X))
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        of_task = as_groups(groups).of_row
        if len(of_task) != n_rows:
            raise ValueError(
                f"groups must have one entry a row of X; got shape {of_task.shape} for "
                f"{n_rows} rows."
            )
        return of_task


class TaskKFold(_OverTasks):
    """K folds of whole tasks.

    Parameters
    ----------
    n_splits : int, default=5
        Folds; at most as many as there are tasks.
    shuffle : bool, default=False
        Whether to draw the tasks of a fold, or to take them in the order in which they come.
    random_state : int, RandomState instance or None, default=None
        The source of chance of `shuffle`.
    task : str, list of str or None, default=None
        The column or columns of a DataFrame that say which task a row is of, in place of
        `groups`.

    Notes
    -----
    `X` is a list of tasks (each entry is one), or the rows of all with `groups=`. For
    :class:`~sklearn.model_selection.GridSearchCV` and its like.

    Examples
    --------
    >>> from sklearn_meta.model_selection import TaskKFold
    >>> rows = [[0.0], [1.0], [2.0], [3.0]]
    >>> for train, test in TaskKFold(2).split(rows, groups=["ann", "bob", "ann", "cy"]):
    ...     print(train, test)
    [3] [0 1 2]
    [0 1 2] [3]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        random_state: Any = None,
        task: str | list[str] | None = None,
    ) -> None:
        self.n_splits, self.shuffle = n_splits, shuffle
        self.random_state, self.task = random_state, task

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Give the positions of each fold.

        Parameters
        ----------
        X : sequence of tasks, or table of shape (n_rows, ...)
            What to split.
        y : array-like, default=None
            Not looked at.
        groups : array-like of shape (n_rows,), default=None
            The task of each row.

        Yields
        ------
        train, test : ndarray of int
            Positions in `X`; no task is in both.

        Raises
        ------
        ValueError
            If the task of a row is not known, or there are fewer tasks than folds.
        """
        of_task = self._tasks(X, groups)
        folds = KFold(self.n_splits, shuffle=self.shuffle, random_state=self.random_state)
        n_tasks = int(of_task.max(initial=-1)) + 1
        if n_tasks < self.n_splits:
            raise ValueError(
                f"TaskKFold(n_splits={self.n_splits}) needs as many tasks; there are {n_tasks}."
            )
        for _, held_out in folds.split(np.arange(n_tasks)):
            held = np.isin(of_task, held_out)
            yield np.flatnonzero(~held), np.flatnonzero(held)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Give the number of folds.

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


class LeaveOneTaskOut(_OverTasks):
    """One split a task, which is the test.

    Parameters
    ----------
    task : str, list of str or None, default=None
        The column or columns of a DataFrame that say which task a row is of, in place of
        `groups`.

    Examples
    --------
    >>> from sklearn_meta.model_selection import LeaveOneTaskOut
    >>> rows = [[0.0], [1.0], [2.0], [3.0]]
    >>> for train, test in LeaveOneTaskOut().split(rows, groups=["ann", "bob", "ann", "bob"]):
    ...     print(train, test)
    [1 3] [0 2]
    [0 2] [1 3]
    """

    def __init__(self, *, task: str | list[str] | None = None) -> None:
        self.task = task

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Give the positions of each split, the tasks in the order in which they appear.

        Parameters
        ----------
        X : sequence of tasks, or table of shape (n_rows, ...)
            What to split.
        y : array-like, default=None
            Not looked at.
        groups : array-like of shape (n_rows,), default=None
            The task of each row.

        Yields
        ------
        train, test : ndarray of int
            Positions in `X`.

        Raises
        ------
        ValueError
            If the task of a row is not known, or there is but one.
        """
        of_task = self._tasks(X, groups)
        n_tasks = int(of_task.max(initial=-1)) + 1
        if n_tasks < 2:
            raise ValueError(f"LeaveOneTaskOut needs at least two tasks; there are {n_tasks}.")
        for k in range(n_tasks):
            yield np.flatnonzero(of_task != k), np.flatnonzero(of_task == k)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Give the number of tasks.

        Parameters
        ----------
        X : sequence of tasks, or table of shape (n_rows, ...)
            What to split.
        y : array-like, default=None
            Not looked at.
        groups : array-like of shape (n_rows,), default=None
            The task of each row.

        Returns
        -------
        int
            One a task.
        """
        return int(self._tasks(X, groups).max(initial=-1)) + 1


def train_test_split_tasks(
    tasks: Any,
    y: Any = None,
    groups: Any = None,
    *,
    test_size: float | int | None = None,
    train_size: float | int | None = None,
    shuffle: bool = True,
    random_state: Any = None,
) -> tuple[list[Task], list[Task]]:
    """Split tasks into those to meta-train on and those to test on.

    Parameters
    ----------
    tasks : sequence of tasks, or table of shape (n_rows, ...)
        Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.
    y : array-like of shape (n_rows,) or str, default=None
        Targets of a table, or the name of its target column.
    groups : array-like of shape (n_rows,) or str, default=None
        The task of each row of a table, or the name of that column.
    test_size, train_size : float, int or None, default=None
        Share or number of tasks, as in :func:`sklearn.model_selection.train_test_split`.
    shuffle : bool, default=True
        Whether to draw, or to cut in the order given.
    random_state : int, RandomState instance or None, default=None
        The source of chance.

    Returns
    -------
    train, test : list of Task
        No task is in both.

    Raises
    ------
    TaskError
        If a task cannot be used.
    ValueError
        If there are too few tasks for these sizes.

    Examples
    --------
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.model_selection import train_test_split_tasks
    >>> train, test = train_test_split_tasks(make_blob_tasks(20, random_state=0), test_size=0.25)
    >>> len(train), len(test)
    (15, 5)
    """
    checked = list(as_tasks(tasks, y, groups))
    options = {"shuffle": shuffle, "random_state": random_state}
    train, test = train_test_split(checked, test_size=test_size, train_size=train_size, **options)
    return train, test
