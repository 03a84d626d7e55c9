"""Labels of tasks: which a task may have, and labels as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.inner.heads import check_n_way
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.task import weights_of
from sklearn_meta.tasks.validate import label

__all__ = [
    "WHY_ROWS",
    "LabelCounts",
    "LabelPlan",
    "LabelSpace",
    "TaskLabels",
    "check_same_kind",
    "columns_among",
    "encode_labels",
]

Ints = NDArray[np.intp]

WHY_ROWS = (  # the end of an error, after the name of a support
    "has no rows; a minimum of 1 is required, because labels mean something only within their "
    "task, and no class has a prior. With labels='shared', meta_fit learns one."
)


@dataclass(frozen=True)
class LabelSpace:
    """The labels that a task may have: any, or those of the classes that all tasks share."""

    classes: NDArray[Any] | None = None  # sorted; None: each task has labels of its own
    max_n_way: int | None = None  # rows of an output layer of fixed size; None: any number
    # whether every task predicts all classes, and episodes take rows as they come
    is_shared: bool = False

    @property
    def n_shared(self) -> int:
        """Number of classes that all tasks share; 0 where each task has labels of its own."""
        return 0 if self.classes is None else len(self.classes)

    @property
    def shared_classes(self) -> NDArray[Any]:
        """The classes that all tasks share; there must be some."""
        assert self.classes is not None
        return self.classes

    def check_n_way(self, n_way: int) -> None:
        """Raise a ValueError if the output layer has fewer rows than a task has classes."""
        if self.max_n_way is not None:
            check_n_way(n_way, self.max_n_way)

    def check_task(self, task: Task, i: int) -> None:
        """Raise a TaskError for unknown labels, or more classes than the output layer has rows."""
        if self.classes is not None:
            self.positions(np.unique(task.y), label(task, i))
        if self.max_n_way is None:
            return
        try:
            check_n_way(len(np.unique(task.y)), self.max_n_way)
        except ValueError as error:
            raise TaskError(f"{label(task, i)}: {error}") from None

    def of_outputs(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Return the label of each output for the sorted labels of a support.

        Tasks that share their classes have an output for each of them. The numbers 0, 1, ... stand
        for the classes in their order, as scikit-learn encodes labels. A task with any other label
        has labels of its own.
        """
        self.check_n_way(len(labels))
        if self.classes is None or self.are_new(labels):
            return labels
        if self._unknown(labels):
            return np.arange(len(self.classes)).astype(labels.dtype)
        return self.classes

    def are_new(self, labels: NDArray[Any]) -> bool:
        """Return whether one of the sorted labels of a support is none of the shared classes."""
        if self.classes is None or not self._unknown(labels):
            return False
        is_code = labels.dtype.kind in "iu" and labels[0] >= 0 and labels[-1] < len(self.classes)
        return not is_code

    def names_of(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the shared classes that the labels of outputs stand for, or these labels."""
        return outputs if self.classes is None or self.are_new(outputs) else self.classes

    def describe_new(self, labels: NDArray[Any]) -> str:
        """Describe what is wrong with new labels, after the name of a support."""
        return f"has labels that no task of meta_fit had ({self._unknown(labels)})"

    def refuse_new(self, labels: NDArray[Any], owner: str) -> None:
        """Raise a ValueError for new labels, on behalf of a learner that cannot take them."""
        if self.are_new(labels):
            raise ValueError(
                f"y {self.describe_new(labels)}, where labels mean the same in all tasks: {owner} "
                f"predicts {self.shared_classes.tolist()[:5]}, and no others. Learners that adapt "
                "to labels, such as ProtoNetClassifier, take any."
            )

    def positions(self, labels: NDArray[Any], name: str) -> Ints:
        """Return the positions of labels of meta-training among the shared classes."""
        assert self.classes is not None
        if unknown := self._unknown(labels):
            raise TaskError(
                f"{name}: y has labels that are not among the {len(self.classes)} classes of "
                f"meta-training ({unknown}), but this learner takes the same label in two tasks "
                "for the same class. All must be there from the start: in the tasks of the first "
                "meta_fit, or in the `classes_` of a distribution (else in the first 64 it draws)."
            )
        return np.searchsorted(self.classes, labels)

    def _unknown(self, labels: NDArray[Any]) -> list[Any]:
        """Return the first labels that are not among the shared classes."""
        assert self.classes is not None
        return sorted(set(labels.tolist()) - set(self.classes.tolist()), key=str)[:5]


def columns_among(y: NDArray[Any], labels: NDArray[Any]) -> Ints:
    """Return the position of each entry of y among labels, -1 where it is none of them."""
    values, number = np.unique(y, return_inverse=True)
    position = {k: i for i, k in enumerate(labels.tolist())}
    return np.array([position.get(k, -1) for k in values.tolist()], np.intp)[number]


# ---- labels of meta-training -------------------------------------------------------------------


@dataclass(frozen=True)
class LabelPlan:
    """What labels mean in meta-training, decided before all tasks are read."""

    space: LabelSpace
    needs_classes: bool  # those that tasks share are still to be collected from them
    has_fixed_n_way: bool  # the output layer has a row for each class of the largest task
    is_guess: bool  # of whether labels mean the same in all tasks, from the labels alone

    @property
    def needs_counts(self) -> bool:
        """Whether labels are to be counted: for the classes, or for their shares."""
        return self.needs_classes or self.space.is_shared

    def with_counts(self, counts: LabelCounts) -> LabelSpace:
        """Return the labels that a task may have, with the classes of tasks that were counted."""
        return replace(self.space, classes=counts.classes()) if self.needs_classes else self.space


class LabelCounts:
    """How often labels occur in tasks."""

    def __init__(self) -> None:
        self.n_tasks = 0
        self.n_way = 0  # the most classes of a task
        self.tasks_with: dict[Any, int] = {}
        self.total_share: dict[Any, float] = {}  # of the rows of a task, added up
        self.dtypes: set[np.dtype[Any]] = set()
        self.is_balanced = True  # every task has equally many rows of each of its labels

    @classmethod
    def of(cls, tasks: Iterable[Task]) -> LabelCounts:
        """Count the labels of tasks."""
        counts = cls()
        counts.add([*tasks])
        return counts

    def add(self, tasks: Sequence[Task]) -> None:
        """Count the labels of some more tasks, in shares by the weights of their rows."""
        ys, weight = [task.y for task in tasks], weights_of(tasks)
        n_rows = np.array([len(y) for y in ys])
        labels, number = number_labels(ys)
        key = np.repeat(np.arange(len(ys)), n_rows) * len(labels) + number  # task, then label
        keys, place, counts = np.unique(key, return_inverse=True, return_counts=True)
        task, label_number = np.divmod(keys, len(labels))
        first = counts[np.searchsorted(task, task)]  # of the first label of the same task
        self.n_tasks += len(ys)
        self.n_way = max(self.n_way, int(np.bincount(task).max()))
        self.dtypes |= {y.dtype for y in ys}
        self.is_balanced &= bool((counts == first).all())  # also of a single label
        n_with = np.bincount(label_number)
        mass = counts if weight is None else np.bincount(place, weight)
        share = np.bincount(label_number, weights=mass / np.bincount(task, mass)[task])
        for k, n, total in zip(labels.tolist(), n_with.tolist(), share.tolist(), strict=True):
            self.tasks_with[k] = self.tasks_with.get(k, 0) + n
            self.total_share[k] = self.total_share.get(k, 0.0) + total

    def describe_rarest(self) -> str:
        """Describe the label that occurs in the fewest tasks."""
        k = min(self.tasks_with, key=lambda k: self.tasks_with[k])
        return f"{k!r} occurs in {self.tasks_with[k]} of {self.n_tasks} tasks"

    def are_shared(self) -> bool:
        """Return whether labels seem to mean the same in all tasks.

        They do if each occurs in at least half of the tasks, unless all tasks are balanced, as
        those that somebody has drawn for few-shot learning are.
        """
        mixed = len({dtype.kind == "U" for dtype in self.dtypes}) > 1  # strings and numbers
        if mixed or self.is_balanced or len(self.tasks_with) < 2:
            return False
        return 2 * min(self.tasks_with.values()) >= self.n_tasks

    def classes(self) -> NDArray[Any]:
        """Return all labels, sorted."""
        return np.unique(np.array([*self.tasks_with], np.result_type(*self.dtypes)))

    def shares(self, classes: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean share of each class in a task, as if there were one more, equal, task."""
        total = np.array([self.total_share.get(k, 0.0) for k in classes.tolist()])
        return (total + 1 / len(classes)) / (self.n_tasks + 1)


def check_same_kind(task: Task, i: int, first: Task) -> None:
    """Raise a TaskError for labels of another kind than those of the first task."""
    if (task.y.dtype.kind == "U") != (first.y.dtype.kind == "U"):
        raise TaskError(
            f"{label(task, i)}: y holds {task.y.dtype}, but that of task 0 holds "
            f"{first.y.dtype}; this learner takes the same label in two tasks for the same "
            "class, so all labels must be of one kind."
        )


# ---- labels as numbers -------------------------------------------------------------------------


class TaskLabels(NamedTuple):
    """Labels of many tasks as numbers: positions among the sorted labels of their task."""

    code: Ints  # (n_rows,), one task after the other; -1: no support row has the label
    n_way: Ints  # (n_tasks,)
    values: NDArray[Any]  # (n_way.sum(),), the sorted labels of one task after the other

    def take(self, tasks: Ints, n_rows: Ints) -> TaskLabels:
        """Return the labels of some of the tasks; `n_rows` has the rows of each task."""
        code, values = self.code[spans(n_rows, tasks)], self.values[spans(self.n_way, tasks)]
        return TaskLabels(code, self.n_way[tasks], values)


def spans(sizes: Ints, chosen: Ints) -> Ints:
    """Return the positions of chosen spans, of spans of these sizes that follow one another."""
    begin, n = np.cumsum(sizes)[chosen] - sizes[chosen], sizes[chosen]
    return np.repeat(begin - np.cumsum(n) + n, n) + np.arange(n.sum())


def encode_labels(ys: Sequence[NDArray[Any]], supports: Sequence[Ints] | None = None) -> TaskLabels:
    """Encode the labels of tasks as `np.unique` of each task would, or of each support.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.outer.labels import encode_labels
    >>> ys = np.array(["b", "a", "b"]), np.array(["c", "c"])
    >>> labels = encode_labels(ys, (np.array([0, 1]), np.array([0])))
    >>> labels.code, labels.values
    (array([1, 0, 1, 0, 0]), array(['a', 'b', 'c'], dtype='<U1'))
    """
    n_rows = np.array([len(y) for y in ys])
    all_labels, number = number_labels(ys)
    key = np.repeat(np.arange(len(ys)), n_rows) * len(all_labels) + number  # task, then label
    if supports is None:
        keys, position = np.unique(key, return_inverse=True)
        has_label = np.ones(len(key), dtype=bool)
    else:
        begin = np.cumsum(n_rows) - n_rows
        rows = np.repeat(begin, [len(s) for s in supports]) + np.concatenate(supports)
        keys = np.unique(key[rows])
        position = np.searchsorted(keys, key)
        has_label = np.append(keys, -1)[position] == key
    task, label_number = np.divmod(keys, len(all_labels))
    n_way = np.bincount(task, minlength=len(ys))
    first = np.cumsum(n_way) - n_way
    code = np.where(has_label, position - np.repeat(first, n_rows), -1)
    return TaskLabels(code, n_way, all_labels[label_number])


def number_labels(ys: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], Ints]:
    """Return labels, and for each row its position in them, in the order of sorting in a task."""
    kinds = {y.dtype.kind for y in ys}
    if len(kinds) == 1 and kinds <= set("biufUS"):  # of one kind: numpy changes no value
        labels, number = np.unique(np.concatenate(ys), return_inverse=True)
        return labels, number
    parts, numbers, n = [], [], 0
    for y in ys:
        labels, number = np.unique(y, return_inverse=True)
        parts.append(labels.astype(object))
        numbers.append(number + n)
        n += len(labels)
    return np.concatenate(parts), np.concatenate(numbers)
