"""Splitters: folds of whole tasks, and the rows of one task into support and query."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import (
    BaseCrossValidator,
    KFold,
    LeaveOneOut,
    train_test_split,
)
from sklearn.utils import check_random_state

from sklearn_meta.tasks import Task, as_tasks, split_task
from sklearn_meta.tasks.tables import from_columns
from sklearn_meta.tasks.values import as_groups

__all__ = ["LeaveOneTaskOut", "SupportQuerySplit", "TaskKFold", "train_test_split_tasks"]

Split = tuple[NDArray[np.intp], NDArray[np.intp]]


class TaskSplitter(BaseCrossValidator, ABC):
    """Base class of splitters that keep the rows of a task together."""

    __metadata_request__split: ClassVar[dict[str, bool]] = {"groups": True}

    task: str | list[str] | None

    @abstractmethod
    def _splitter(self, n_tasks: int) -> BaseCrossValidator:
        """Return a splitter of task numbers; raise ValueError if there are too few tasks."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Generate the positions of the training and the test part of each split.

        Parameters
        ----------
        X : sequence of tasks, or table of shape (n_rows, ...)
            Tasks, or the rows of all tasks.
        y : array-like, default=None
            Ignored.
        groups : array-like of shape (n_rows,), default=None
            The task of each row of a table.

        Yields
        ------
        train, test : ndarray of int
            Positions in `X`; no task is in both.

        Raises
        ------
        ValueError
            If the task of a row is unknown, or there are too few tasks.
        """
        codes = self._task_codes(X, groups)
        n_tasks = int(codes.max(initial=-1)) + 1
        for _, test_tasks in self._splitter(n_tasks).split(np.arange(n_tasks)):
            is_test = np.isin(codes, test_tasks)
            yield np.flatnonzero(~is_test), np.flatnonzero(is_test)

    def _task_codes(self, X: Any, groups: Any) -> NDArray[np.intp]:
        """Return the task of each entry of X, numbered in order of appearance."""
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
        codes = as_groups(groups).of_row
        if len(codes) != n_rows:
            raise ValueError(
                f"groups must have one entry a row of X; got shape {codes.shape} for {n_rows} rows."
            )
        return codes


class TaskKFold(TaskSplitter):
    """K folds of whole tasks.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at most the number of tasks.
    shuffle : bool, default=False
        Whether to shuffle the tasks before splitting them into folds.
    random_state : int, RandomState instance or None, default=None
        Random state of `shuffle`.
    task : str, list of str or None, default=None
        Column or columns of a DataFrame that identify the task of a row, in place of `groups`.

    Notes
    -----
    `X` is a list of tasks, or the rows of all tasks with `groups=`. Use the splitter as `cv` of
    :class:`~sklearn.model_selection.GridSearchCV` and similar tools.

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

    def _splitter(self, n_tasks: int) -> BaseCrossValidator:
        if n_tasks < self.n_splits:
            raise ValueError(
                f"TaskKFold(n_splits={self.n_splits}) needs as many tasks; there are {n_tasks}."
            )
        return KFold(self.n_splits, shuffle=self.shuffle, random_state=self.random_state)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups : object
            Ignored.

        Returns
        -------
        int
            `n_splits`.
        """
        return self.n_splits


class LeaveOneTaskOut(TaskSplitter):
    """Splits that test on one task each and train on all others.

    Parameters
    ----------
    task : str, list of str or None, default=None
        Column or columns of a DataFrame that identify the task of a row, in place of `groups`.

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

    def _splitter(self, n_tasks: int) -> BaseCrossValidator:
        if n_tasks < 2:
            raise ValueError(f"LeaveOneTaskOut needs at least two tasks; there are {n_tasks}.")
        return LeaveOneOut()

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of tasks.

        Parameters
        ----------
        X : sequence of tasks, or table of shape (n_rows, ...)
            Tasks, or the rows of all tasks.
        y : array-like, default=None
            Ignored.
        groups : array-like of shape (n_rows,), default=None
            The task of each row of a table.

        Returns
        -------
        int
            The number of splits.
        """
        return int(self._task_codes(X, groups).max(initial=-1)) + 1


class SupportQuerySplit(BaseCrossValidator):
    """Random splits of the rows of one task into a support to adapt to and a query to score.

    For the inner loop: ``GridSearchCV(clf, {"inner_lr": ...}, cv=SupportQuerySplit(n_shot=1))``.

    Parameters
    ----------
    n_splits : int, default=5
        Number of splits, drawn independently.
    n_shot : int or None, default=None
        Support rows of each class; every class keeps at least one query row.
    n_support : int or None, default=None
        Support rows in total, of any classes. Exactly one of the two is needed.
    support : {"stratified", "random", "first"} or None, default=None
        How the support is drawn: see :func:`~sklearn_meta.tasks.split_task`. With "first", all
        splits are the same; use ``n_splits=1``.
    random_state : int, RandomState instance or None, default=None
        Random state of the draws.

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
        support: str | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_splits, self.n_shot, self.n_support = n_splits, n_shot, n_support
        self.support, self.random_state = support, random_state

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Generate the positions of support and query of each split.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            The rows of the task.
        y : array-like of shape (n_rows,), default=None
            Their labels; not needed with `n_support`.
        groups : object, default=None
            Ignored.

        Yields
        ------
        support, query : ndarray of int
            Positions in `X`.

        Raises
        ------
        TaskError
            If a class, or the task, has too few rows.
        ValueError
            If `n_shot` is set and `y` is None.
        """
        if y is None and self.n_shot is not None:
            raise ValueError("SupportQuerySplit(n_shot=...) needs y, the class of each row.")
        rng = check_random_state(self.random_state)
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        task = Task(np.zeros((n_rows, 1)), np.zeros(n_rows) if y is None else y)
        how: dict[str, Any] = {"n_shot": self.n_shot, "n_support": self.n_support}
        for _ in range(self.n_splits):
            episode = split_task(task, **how, support=self.support, random_state=rng)
            assert episode.support is not None
            yield np.array(episode.support), np.delete(np.arange(n_rows), episode.support)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : object
            Ignored.

        Returns
        -------
        int
            `n_splits`.
        """
        return self.n_splits


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
        Whether to shuffle the tasks before splitting.
    random_state : int, RandomState instance or None, default=None
        Random state of `shuffle`.

    Returns
    -------
    train, test : list of Task
        The tasks of each part.

    Raises
    ------
    TaskError
        If a task is invalid.
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
