"""The one way to draw the support of a task."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import check_parameter, integer, option
from sklearn_meta.tasks.task import Task, named_task
from sklearn_meta.tasks.values import as_rows, as_targets

__all__ = ["SUPPORTS", "draw_support", "order_rows", "rows_to_take", "split_task"]

SUPPORTS = option("stratified", "random", "first")  # how a support is drawn


def split_task(
    task: Task,
    *,
    n_shot: int | None = None,
    n_support: int | None = None,
    support: str | None = None,
    random_state: Any = None,
) -> Task:
    """Draw the support of a task; the other rows become its query.

    Parameters
    ----------
    task : Task
        The task to split. It is not changed.
    n_shot : int, default=None
        Number of support rows of each class, for classification. At least one row of every class
        stays in the query.
    n_support : int, default=None
        Number of support rows in total, of any classes.
    support : {"stratified", "random", "first"} or None, default=None
        "stratified" draws `n_shot` rows of each class. "random" draws `n_support` rows of the task,
        "first" takes its first `n_support` rows, as they came in time. None: "stratified" with
        `n_shot`, "random" with `n_support`.
    random_state : int, RandomState instance or None, default=None
        Determines the rows that are drawn.

    Returns
    -------
    task : Task
        A task of the same rows, with a fixed support.

    Raises
    ------
    TaskError
        If a class, or the task, has too few rows.
    ValueError
        If not exactly one of `n_shot` and `n_support` is set, or `support` does not go with it.

    Examples
    --------
    >>> from sklearn_meta.tasks import Task, split_task
    >>> task = Task([[0.], [1.], [2.], [3.]], ["a", "b", "a", "b"])
    >>> split_task(task, n_shot=1, random_state=0)
    Task(X: (4, 1), y: (4,), support: 2 rows)
    >>> split_task(task, n_support=3, support="first").y_query
    array(['b'], dtype='<U1')
    """
    if not isinstance(task, Task):
        raise TypeError(f"split_task splits one Task; got {type(task).__name__}. Use Task(X, y).")
    as_rows(task.X, f"{task!r}: X", task.feature_names_in)
    as_targets(task.y, f"{task!r}: y")
    if (n_shot is None) == (n_support is None):
        raise ValueError("split_task needs exactly one of n_shot (a class) and n_support (in all).")
    by_class = n_shot is not None
    name, size = ("n_shot", n_shot) if by_class else ("n_support", n_support)
    n_rows: Any = check_parameter(name, size, integer(1), "split_task")
    if support is None:
        support = "stratified" if by_class else "random"
    check_parameter("support", support, SUPPORTS, "split_task")
    if by_class != (support == "stratified"):
        counts = "rows of each class" if by_class else "rows in all"
        raise ValueError(f"support={support!r} does not go with {name}, which counts {counts}.")
    return draw_support(task, n_rows, by_class, support, random_state)


def draw_support(
    task: Task,
    size: int,  # rows, of each class for a stratified support of labels
    is_class: bool,
    support: str = "stratified",
    random_state: Any = None,
    *,
    is_exact: bool = True,  # else a small task gives the rows that it has,
    n_query: int = 1,  # but these
) -> Task:
    """Draw the support of a task, without looking at X, which may hold gaps."""
    by_class = is_class and support == "stratified"
    y = as_targets(task.y, f"{task!r}: y", "class") if by_class else None
    groups = order_rows(np.arange(len(task)), y, support, check_random_state(random_state))
    counts = rows_to_take([len(rows) for rows in groups], size, n_query, is_exact=is_exact)
    if counts is None:
        fewest = min(len(rows) for rows in groups)
        raise TaskError(
            f"{task!r}: {'a class' if by_class else 'the task'} has {fewest} row(s), but {size} "
            f"of support and at least {n_query} of query are needed."
        )
    rows = np.concatenate([rows[:n] for rows, n in zip(groups, counts, strict=True)])
    parts = task.X, task.y, task.feature_names_in, rows, task.name
    return named_task(*parts, task.sample_weight)


def order_rows(
    rows: NDArray[np.intp],
    y: NDArray[Any] | None,  # labels of all rows of the task; None for targets
    support: str,
    rng: np.random.RandomState,
) -> list[NDArray[np.intp]]:
    """Order rows, those of each class separately if stratified; the first k are a support."""
    if support == "first":
        return [rows]
    if support == "random" or y is None:
        return [rng.permutation(rows)]
    return [rng.permutation(rows[y[rows] == k]) for k in np.unique(y[rows])]


def rows_to_take(
    n_rows: list[int], size: int, n_query: int = 1, *, is_exact: bool
) -> list[int] | None:
    """Return how many rows of each group are a support of this size; None if there are too few.

    An exact size leaves a row of each group to the query. Else groups give what they have, and
    `n_query` rows stay in all.
    """
    if is_exact:
        return [size] * len(n_rows) if min(n_rows) > size else None
    if len(n_rows) == 1:
        counts = [min(size, n_rows[0] - n_query)]
    else:
        counts = [min(size, max(n - 1, 1)) for n in n_rows]
    return counts if min(counts) > 0 and sum(n_rows) - sum(counts) >= n_query else None
