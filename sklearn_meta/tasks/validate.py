"""The one door: every form of a collection of tasks becomes a tuple of Task, or one error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from sklearn_meta._optional import need
from sklearn_meta._warnings import warn
from sklearn_meta.exceptions import OneTaskWarning, SkippedTaskWarning, TaskError
from sklearn_meta.parameters import check_parameter, option
from sklearn_meta.tasks.tables import (
    check_container,
    feature_names,
    frame_or_rows,
    from_columns,
    frozen,
    frozen_rows,
    is_frame,
    split_array,
    split_rows,
    stack_rows,
)
from sklearn_meta.tasks.task import (
    Names,
    Task,
    assemble_task,
    named_task,
    replace_data,
)
from sklearn_meta.tasks.values import (
    as_groups,
    as_rows,
    as_target_type,
    as_targets,
    as_weights,
    kind_of_targets,
)

__all__ = [
    "UNUSABLE",
    "SkippedTask",
    "Table",
    "UsableTasks",
    "as_list",
    "as_task",
    "as_tasks",
    "check_consistent_rows",
    "check_feature_names",
    "check_same_rows",
    "check_task",
    "check_task_names",
    "collect_tasks",
    "label",
    "name_of_task",
    "names_of",
    "raise_unusable",
    "renamed",
    "skipped_task",
    "target_kind",
    "usable_tasks",
    "validation_table",
    "warn_of_one_task",
    "warn_of_skipped",
]

UNUSABLE = option("raise", "skip")  # what to do about a task that cannot be used
N_LISTED = 5  # skipped tasks that a warning names
MOST_CLASSES = 10  # that whole numbers of floating-point type may stand for


# ---- collections of any form ------------------------------------------------------------------


class Table(NamedTuple):
    """Tasks as a user passes them: the rows of a table with `y` and `groups`, else `X` alone."""

    X: Any
    y: Any = None
    groups: Any = None
    sample_weight: Any = None

    @property
    def has_rows(self) -> bool:
        """Whether it is a table of rows; weights go with no other form."""
        if self.y is not None or self.groups is not None:
            return True
        if self.sample_weight is not None:
            raise TaskError(
                "sample_weight goes with a table of rows, (X, y, groups). Tasks that are objects "
                "have their own weights: Task(X, y, sample_weight=...)."
            )
        return False


def as_tasks(
    X: Any,
    y: Any = None,
    groups: Any = None,
    *,
    sample_weight: Any = None,
    target_type: str | None = None,
) -> tuple[Task, ...]:
    """Convert a collection of tasks of any form, and refuse tasks that cannot be used.

    Parameters
    ----------
    X : sequence of tasks, array-like of shape (n_rows, ...), sparse matrix, or DataFrame of \
            pandas or polars
        Without `y`: a sequence whose items are a :class:`Task`, `(X, y)` or
        `(X_support, y_support, X_query, y_query)`. With `y` and `groups`: the rows of all tasks in
        one table.

    y : array-like of shape (n_rows,) or (n_rows, n_outputs), or column name(s), default=None
        The targets of the table, or the name of the target column of a DataFrame: a string, an
        integer or a tuple. A list of names is a regression with several outputs.

    groups : array-like of shape (n_rows,) or column name(s), default=None
        The task of each row, or the name of that column of a DataFrame. Several columns (a list of
        names, a frame, a MultiIndex) make a task of each combination.

    sample_weight : array-like of shape (n_rows,) or column name, default=None
        The weight of each row of the table, or the name of that column of a DataFrame. Tasks that
        are objects have their own: ``Task(X, y, sample_weight=...)``.

    target_type : {"class", "real"}, default=None
        Whether `y` must hold labels or numbers. With None, floating-point numbers are numbers,
        unless they are at most 10 different whole ones (in all tasks); all else are labels, and
        all tasks must hold the same.

    Returns
    -------
    tasks : tuple of Task
        In the order of the sequence. For a table, in the order in which the groups first appear,
        each named after its group.

    Raises
    ------
    TaskError
        If there are no tasks, or one of them cannot be used: no rows, NaN or infinity, features
        that are not numbers, another number of features than the first, `y` of another length, a
        query label that the support lacks, labels and numbers in one collection.

    Examples
    --------
    >>> from sklearn_meta.tasks import as_tasks
    >>> as_tasks([([[0.], [1.]], ["a", "b"]), ([[2.], [3.], [4.]], ["c", "c", "d"])])
    (Task(X: (2, 1), y: (2,)), Task(X: (3, 1), y: (3,)))
    >>> as_tasks([[0.], [1.], [2.]], y=[0.1, 0.2, 0.3], groups=["ann", "bob", "ann"])
    (Task('ann', X: (2, 1), y: (2,)), Task('bob', X: (1, 1), y: (1,)))
    """
    check_parameter("target_type", target_type, option(None, "class", "real"), "as_tasks")
    how: dict[str, Any] = {"target_type": target_type, "unusable": "raise"}
    return tuple(usable_tasks(X, y, groups, sample_weight, **how).tasks)


def collect_tasks(
    tasks: Any, y: Any = None, groups: Any = None, sample_weight: Any = None
) -> list[Task]:
    """Convert tasks as :func:`as_tasks` does, but leave to transformers what X may hold.

    Frames stay frames, and columns of arrays whose names are known become frames again.
    """
    return usable_tasks(tasks, y, groups, sample_weight, unusable="raise", raw=True).tasks


def validation_table(
    tasks: Any, y: Any, groups: Any, sample_weight: Any = None
) -> tuple[Any, ...] | None:
    """Return validation tasks that are a table as the fields of a `Table`, None if they are none.

    A table is a tuple (X, y, groups), or a frame with the columns that `y`, `groups` and
    `sample_weight` name in the table of meta-training.
    """
    check_container(tasks, "validation_tasks")
    if isinstance(tasks, tuple) and len(tasks) == 3:
        X = tasks[0]
        if is_frame(X) or issparse(X) or isinstance(X, np.ndarray):
            return tasks
    if not is_frame(tasks):
        return None
    names = y, groups, sample_weight
    if any(hasattr(name, "shape") for name in names) or y is None or groups is None:
        raise TaskError(
            "validation_tasks is a frame, but y and groups (or sample_weight) of meta_fit are not "
            "names of columns. Use validation_tasks=(X, y, groups), or tasks with weights."
        )
    return tasks, *(names[:2] if sample_weight is None else names)


def as_task(item: Any, i: int, *, check: bool = True) -> Task:
    """Convert the i-th item of a sequence of tasks: a Task, (X, y), or both of support and query.

    Without `check`, the rows of a support and a query are stacked as they are.
    """
    if isinstance(item, Task):
        return item
    if isinstance(item, SkippedTask):
        raise TaskError(f"Task {i}: {item.reason}")
    if not isinstance(item, (tuple, list)) or len(item) not in (2, 4):
        got = f"an array of shape {item.shape}" if hasattr(item, "shape") else repr(type(item))
        raise TaskError(
            f"Task {i} must be a Task, (X, y) or (X_support, y_support, X_query, y_query); "
            f"got {got}. A single task goes into a list: [(X, y)]."
        )
    try:
        return Task(*item) if len(item) == 2 else _with_fixed_query(*item, check=check)
    except TaskError as error:
        raise renamed(error, f"Task {i}") from None


def renamed(error: TaskError, name: str) -> TaskError:
    """Return an error that calls a task by its name, rather than "A task"."""
    return type(error)(str(error).replace("A task", name, 1))


def as_list(tasks: Any) -> list[Any]:
    """Return the items of a sequence of tasks, or refuse what is none."""
    if isinstance(tasks, Task):
        raise TaskError(f"tasks must be a sequence of tasks; got the single {tasks!r}. Use [task].")
    if isinstance(tasks, np.ndarray) and tasks.dtype != object:
        raise TaskError(
            f"tasks must be a sequence of tasks; got an array of shape {tasks.shape}. "
            "Pass the rows of all tasks together with y= and groups=."
        )
    if isinstance(tasks, str) or not hasattr(tasks, "__len__") or hasattr(tasks, "columns"):
        raise TaskError(
            "tasks must be a sequence of Task, (X, y) or (X_support, y_support, X_query, y_query), "
            f"or a table with y= and groups=; got {type(tasks).__name__}."
        )
    if len(tasks) == 0:
        raise TaskError("tasks is empty; at least one task is needed.")
    if hasattr(tasks, "__iter__"):
        return list(tasks)
    return [tasks[i] for i in range(len(tasks))]  # an item beyond the end may raise no IndexError


def _with_fixed_query(
    X_support: Any, y_support: Any, X_query: Any, y_query: Any, *, check: bool
) -> Task:
    names = "A task: its support", "A task: its query"
    if np.shape(y_support)[:1] == (0,):  # to be predicted from the prior
        query = _part(X_query, y_query, names[1])
        return named_task(query.X, query.y, query.feature_names_in, np.zeros(0, np.intp))
    support, query = _part(X_support, y_support, names[0]), _part(X_query, y_query, names[1])
    check_same_rows(query, support, names[1], "its support")
    parts = list(zip((support, query), names, strict=True))
    X = [as_rows(t.X, f"{name}: X", t.feature_names_in) if check else t.X for t, name in parts]
    if issparse(X[0]) != issparse(X[1]):
        raise TaskError("A task: X_support and X_query must both be sparse, or both dense.")
    y = [as_targets(t.y, f"{name}: y") for t, name in parts]
    if (y[0].dtype.kind == "U") != (y[1].dtype.kind == "U"):  # numpy would make strings of numbers
        raise TaskError(
            f"A task: y_support holds {y[0].dtype} and y_query {y[1].dtype}; both must hold the "
            "same kind of value."
        )
    return assemble_task(
        frame_or_rows(stack_rows(X), "X"),
        None,
        frozen(np.concatenate(y), "y"),
        support.feature_names_in or query.feature_names_in,
        frozen(np.arange(len(support)), "support"),
    )


def _part(X: Any, y: Any, name: str) -> Task:
    try:
        return Task(X, y)
    except TaskError as error:
        raise renamed(error, name) from None


def _with_names(task: Task) -> Task:
    """Turn an array whose columns have names into a frame that has them."""
    if task.feature_names_in is None or is_frame(task.X):
        return task
    pandas = need("pandas", "pandas", "A Task with column names in a MetaPipeline")
    frame = pandas.DataFrame(np.array(task.X), columns=list(task.feature_names_in))
    parts = frame.infer_objects(), task.y, task.feature_names_in, task.support, task.name
    return named_task(*parts, task.sample_weight)


def _from_table(table: Table, *, check: bool = True) -> list[Task]:
    X, y, groups, weight = table
    if y is None or groups is None:
        lacking = "y" if y is None else "groups"
        raise TaskError(f"A table of rows needs both y= and groups=; {lacking} is missing.")
    X, y, groups, weight = from_columns(X, y, groups, weight)
    columns, y = feature_names(X), frozen(y, "y")
    X = frozen_rows(X, "X") if check else frame_or_rows(X, "X")
    groups = as_groups(groups)
    shapes = tuple(X.shape), y.shape, groups.of_row.shape
    if any(shape[:1] != shapes[-1] for shape in shapes):
        raise TaskError(
            "X, y and groups must have one entry a row; got X of shape "
            f"{shapes[0]}, y of shape {shapes[1]} and groups of shape {shapes[2]}."
        )
    if len(y) == 0:
        raise TaskError("tasks is empty: the table has no rows.")
    rows = groups.rows()
    weights: Iterable[Any] = repeat(None, len(rows))
    if weight is not None:
        weights = split_array(as_weights(weight, shapes[0], "sample_weight"), rows)
    names = map(str, groups.labels)
    parts = zip(split_rows(X, rows), split_array(y, rows), names, weights, strict=True)
    return [assemble_task(*place, y, columns, None, name, w) for place, y, name, w in parts]


# ---- checks of one task, and of several against one another ----------------------------------


def check_task(task: Task, i: int, first: Task | None, target_type: str | None) -> Task:
    """Return a task with plain types, or refuse one that is unusable, or unlike the first.

    `first` is a checked task, or None for the first one itself. With `target_type=None`, the first
    task decides between labels and numbers.
    """
    task = _with_plain_types(task, i, target_type)
    if target_type is None:
        of_first = None if first is None else kind_of_targets(first.y)
        task = _with_kind(task, i, of_first or kind_of_targets(task.y) or "class")
    if first is not None:
        check_same_rows(task, first, label(task, i))
    return task


def check_consistent_rows(tasks: Sequence[Task]) -> None:
    """Refuse the first task with rows of another shape or other columns than the tasks before."""
    named = next((i for i, t in enumerate(tasks) if t.feature_names_in is not None), 0)
    for i, task in enumerate(tasks):
        check_same_rows(task, tasks[0], label(task, i))
        check_same_rows(task, tasks[named], label(task, i), f"task {named}")


def check_same_rows(task: Task, reference: Task, input_name: str, of: str = "task 0") -> None:
    """Refuse rows of another shape or with other columns: the one rule for rows of several tasks.

    An array has no column names, and is taken for the columns of a frame in their order. Errors
    call the task `input_name` and the reference `of`.
    """
    if task.row_shape != reference.row_shape:
        raise TaskError(
            f"{input_name}: X has rows of shape {task.row_shape}, those of {of} have shape "
            f"{reference.row_shape} (X of shape {(len(task), *task.row_shape)} against "
            f"{(len(reference), *reference.row_shape)})."
        )
    if task.y.shape[1:] != reference.y.shape[1:]:
        raise TaskError(
            f"{input_name}: y has shape {task.y.shape}, but that of {of} has {reference.y.shape}."
        )
    names, expected = task.feature_names_in, reference.feature_names_in
    if names is not None and expected is not None and names != expected:
        raise TaskError(
            f"{input_name}: its feature names are {names}, but those of {of} are {expected}."
        )


def check_feature_names(names: Names, expected: Names, method: str = "meta_fit") -> None:
    """Refuse other columns than those passed to a method, or the same in another order.

    An array has no names, and is taken for the columns of a frame in their order.
    """
    if names is not None and expected is not None and names != expected:
        fitted = "meta-fitted" if method == "meta_fit" else "fitted"
        raise ValueError(
            f"The feature names should match those that were passed to {method}. "
            f"Got {list(names)}, {fitted} with {list(expected)}."
        )


def check_task_names(task: Task, i: int, expected: Names, method: str = "meta_fit") -> None:
    """Check the columns of a task, and name the task in the error."""
    try:
        check_feature_names(task.feature_names_in, expected, method)
    except ValueError as error:
        raise TaskError(f"{label(task, i)}: {error}") from None


def target_kind(tasks: Sequence[Task]) -> str:
    """Return whether tasks hold labels ("class") or numbers ("real"), where nobody says which.

    Floating-point numbers are numbers if one has a fractional part, if there are several outputs,
    or if all tasks together have more than 10 different ones (counts, say). All else are labels, as
    for scikit-learn: strings, booleans, integers, and few whole numbers. The first task that is
    clear without the others decides.
    """
    for task in tasks:
        clear = kind_of_targets(task.y) or ("real" if task.y.ndim > 1 else None)
        if clear is not None:
            return clear
    values = np.unique(np.concatenate([np.unique(task.y) for task in tasks]))
    return "real" if len(values) > MOST_CLASSES else "class"


def names_of(estimator: object) -> Names:
    """Return the names of the columns that an estimator was fitted to."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else tuple(names)


def label(task: Task, i: int) -> str:
    """Return what errors call the i-th task, such as ``Task 3 ('ann')``."""
    return name_of_task(task.name, i)


def name_of_task(name: str | None, i: int) -> str:
    """Return what errors call the i-th task, by its name if it has one."""
    return f"Task {i}" + ("" if name is None else f" ({name!r})")


def _with_plain_types(task: Task, i: int, target_type: str | None) -> Task:
    """Return a task of finite numbers and of plain targets, of this type if there is one."""
    X, weight, name = task.X, task.sample_weight, label(task, i)  # X may be read from a file
    rows = as_rows(X, f"{name}: X", task.feature_names_in)
    y = as_targets(task.y, f"{name}: y", target_type)
    if weight is not None and not weight.any():  # of a table with weights in other tasks
        raise TaskError(f"{name}: sample_weight of shape {weight.shape} is 0 for every row.")
    same_rows = type(rows) is type(X) and rows.dtype == X.dtype  # X may be a frame
    return _with_data(task, None if same_rows else rows, y)


def _with_plain_targets(task: Task, i: int) -> Task:
    return _with_data(task, None, as_targets(task.y, f"{label(task, i)}: y"))


def _with_kind(task: Task, i: int, kind: str) -> Task:
    """Return a task whose plain targets are of the kind that the tasks suggest."""
    y = as_target_type(task.y, f"{label(task, i)}: y", kind, explicit=False)
    return _with_data(task, None, y)


def _with_data(task: Task, X: Any, y: NDArray[Any]) -> Task:
    same_y = y.dtype == task.y.dtype and y.shape == task.y.shape
    return task if X is None and same_y else replace_data(task, X, y)


# ---- tasks that cannot be used ---------------------------------------------------------------


class SkippedTask(NamedTuple):
    """A task that was left out: its position among all tasks, its name, and the reason."""

    position: int
    name: str | None
    reason: str
    task: Task | None = None  # where there is one

    @property
    def entry(self) -> tuple[int, str | None, str]:
        """What `skipped_tasks_` lists."""
        return self.position, self.name, self.reason

    @property
    def label(self) -> str:
        """What errors call the task."""
        return name_of_task(self.name, self.position)

    @property
    def n_query(self) -> int:
        """Number of query rows; 0 where there is no task, or no fixed support."""
        if self.task is None or self.task.support is None:
            return 0
        return len(self.task) - len(self.task.support)


@dataclass
class UsableTasks:
    """The tasks of a collection that can be used, their positions in it, and the others."""

    tasks: list[Any]
    positions: list[int]
    skipped: list[SkippedTask] = field(default_factory=list)

    def map(self, step: Callable[[Any, int], Any], *, skip: bool = True) -> None:
        """Replace each task by ``step(task, position)``; skip those for which it fails."""
        pairs = list(zip(self.tasks, self.positions, strict=True))
        self.tasks, self.positions = [], []
        for task, i in pairs:
            try:
                self.tasks.append(step(task, i))
                self.positions.append(i)
            except TaskError as error:
                if not skip:
                    raise
                self.skipped.append(skipped_task(task, i, error))
        self.skipped.sort(key=lambda task: task.position)
        if not self.tasks:
            raise_unusable(self.skipped)

    def keep(self, check: Callable[[Task, int], object], *, skip: bool = True) -> None:
        """Skip the tasks for which ``check(task, position)`` fails."""

        def checked(task: Task, i: int) -> Task:
            check(task, i)
            return task

        self.map(checked, skip=skip)

    def in_order(self, tasks: Sequence[Task]) -> list[Task | SkippedTask]:
        """Return tasks in place of the usable ones, and the skipped ones at their positions.

        A caller that skips, too, then names all of them by the same positions.
        """
        items = dict[int, Task | SkippedTask](zip(self.positions, tasks, strict=True))
        items |= {task.position: task for task in self.skipped}
        return [items[i] for i in sorted(items)]


def usable_tasks(
    X: Any,
    y: Any = None,
    groups: Any = None,
    sample_weight: Any = None,
    *,
    target_type: str | None = None,
    unusable: str = "skip",
    raw: bool = False,  # leave to transformers what X may hold, as `collect_tasks` does
) -> UsableTasks:
    """Convert tasks as :func:`as_tasks` does, but skip those that cannot be used.

    Rows must be like those of most tasks. An error is raised if it concerns all tasks, if no task
    can be used, and, with ``unusable="raise"``, for the first that cannot.
    """
    table, skip = Table(X, y, groups, sample_weight), unusable == "skip"
    items = _from_table(table, check=not raw) if table.has_rows else as_list(X)
    usable = UsableTasks(items, list(range(len(items))))
    if not table.has_rows:
        usable.map(lambda item, i: as_task(item, i, check=not raw), skip=skip)
    if raw:
        usable.map(lambda task, i: _with_plain_targets(_with_names(task), i), skip=skip)
    else:
        usable.map(lambda task, i: _with_plain_types(task, i, target_type), skip=skip)
        if target_type is None:
            kind = target_kind(usable.tasks)
            usable.map(lambda task, i: _with_kind(task, i, kind), skip=skip)
    if skip:
        _keep_like_most(usable)
    else:
        check_consistent_rows(usable.tasks)
    return usable


def _keep_like_most(usable: UsableTasks) -> None:
    """Skip tasks with rows of another shape or other columns than most tasks."""
    form = most_common((t.row_shape, t.y.shape[1:]) for t in usable.tasks)
    names = most_common(t.feature_names_in for t in usable.tasks if t.feature_names_in is not None)

    def check(task: Task, i: int) -> None:
        for of, reference in references:
            check_same_rows(task, reference, label(task, i), f"task {of}")

    pairs = list(zip(usable.positions, usable.tasks, strict=True))
    like_most = [(i, t) for i, t in pairs if (t.row_shape, t.y.shape[1:]) == form]
    references = [
        *like_most[:1],
        *[(i, t) for i, t in like_most if t.feature_names_in == names][:1],
    ]
    usable.keep(check)


def skipped_task(task: Any, i: int, error: TaskError) -> SkippedTask:
    """Return the entry for a task that was left out because of an error."""
    name = task.name if isinstance(task, (Task, SkippedTask)) else None
    reason = str(error).removeprefix(name_of_task(name, i)).removeprefix(f"Task {i}")
    raw = task.task if isinstance(task, SkippedTask) else task
    reason = reason.removeprefix(":").strip()
    return SkippedTask(i, name, reason, raw if isinstance(raw, Task) else None)


def raise_unusable(skipped: Sequence[SkippedTask]) -> NoReturn:
    """Raise a TaskError because none of the tasks can be used."""
    if len({task.reason for task in skipped}) == 1:  # which may be no fault of the tasks
        others = f" The same holds for all {len(skipped)} tasks." if len(skipped) > 1 else ""
        first = skipped[0]
        raise TaskError(f"{first.label}: {first.reason}{others}")
    raise TaskError(f"None of the {len(skipped)} tasks can be used. {list_skipped(skipped)}")


def warn_of_skipped(skipped: Sequence[SkippedTask], n_tasks: int, where: str = "") -> None:
    """Warn once of all tasks that were left out."""
    if skipped:
        warn(
            f"{where}{len(skipped)} of {n_tasks} tasks cannot be used and are skipped. "
            f"{list_skipped(skipped)}",
            SkippedTaskWarning,
        )


def warn_of_one_task(n_tasks: int | None, owner: str) -> None:
    """Warn if `meta_fit` has a single task; None is a distribution."""
    if n_tasks == 1:
        warn(
            f"{owner}.meta_fit has only one task, and cannot learn from it what tasks have in "
            "common. Pass many tasks, each with the rows of one patient, customer or the like.",
            OneTaskWarning,
        )


def list_skipped(skipped: Sequence[SkippedTask]) -> str:
    """Name the first skipped tasks, those with the same reason together, and count the others."""
    labels = dict[str, list[str]]()
    for task in skipped[:N_LISTED]:
        labels.setdefault(task.reason, []).append(task.label)
    n_more = len(skipped) - N_LISTED
    sentences = [f"{', '.join(same)}: {reason}" for reason, same in labels.items()]
    return " ".join([*sentences, *([f"And {n_more} more."] if n_more > 0 else [])])


def most_common(values: Iterable[Any]) -> Any:
    """Return the most frequent value, the first of several; None of no values."""
    counts = Counter(values).most_common(1)
    return counts[0][0] if counts else None
