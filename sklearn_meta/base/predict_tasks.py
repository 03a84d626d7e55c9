"""Adapt to many tasks and predict their queries, a stack of tasks of similar size at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_meta.exceptions import TaskError
from sklearn_meta.inner.algorithm import Algorithm, Examples
from sklearn_meta.nn.backbone import RowNetwork
from sklearn_meta.outer.class_weights import ClassWeights
from sklearn_meta.outer.episodes import ANY_LABELS, LabelledRows, pad_rows
from sklearn_meta.outer.failures import Failures, Reason, Reasons, divergences, no_prediction
from sklearn_meta.outer.labels import WHY_ROWS, LabelSpace, TaskLabels, encode_labels
from sklearn_meta.outer.memory import bytes_of_a_row
from sklearn_meta.outer.scaling import Scaling
from sklearn_meta.outer.state import MetaState, scaling_for, tensors_of, to_torch
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.lazy import TaskReader, is_lazy
from sklearn_meta.tasks.tables import dtype_of_rows
from sklearn_meta.tasks.task import without_zero_weights
from sklearn_meta.tasks.validate import (
    SkippedTask,
    as_list,
    label,
    raise_unusable,
    skipped_task,
)

__all__ = [
    "MAX_NUMBERS",
    "PredictedStack",
    "Prediction",
    "Prior",
    "TaskPredictor",
    "check_query",
    "fixed_support",
    "numbers_of_a_row",
    "r2_of_tasks",
    "read_stacks",
    "score_stacks",
    "tasks_at_once",
]

T = TypeVar("T")
Ints = NDArray[np.intp]
StackSize = Callable[[Ints, Ints, Ints], int]  # of the next stack, by the sizes of tasks

N_TASKS = 4096  # of a window, whose tasks are sorted by size; enough to fill stacks
N_WINDOW_NUMBERS = 2**22  # of X in a window of tasks that are read for it: 32 MB
# numbers in one stack: on a CPU few enough for its caches, on a GPU enough to fill it
MAX_NUMBERS = {"cpu": 2**21, "cuda": 2**26}
NOTHING = Task(np.zeros((1, 1)), np.zeros(1))  # in place of a task that could not be read
COPIES = 3  # of the parameters of a task: before a step, its gradient, after it


class Prediction(NamedTuple):
    """Labels with their probabilities, or targets, of the query of a task."""

    y: NDArray[Any]
    proba: NDArray[np.float64] | None  # (n_query, n_classes); None for targets
    classes: NDArray[Any] | None  # of the columns of `proba`


class Prior(NamedTuple):
    """Algorithm, backbone and theta: those of meta-training, or a cold start."""

    algorithm: Algorithm
    f: RowNetwork
    theta: Mapping[str, NDArray[Any]]


class MakePrior(Protocol):
    """Makes the algorithm, the network and theta."""

    def __call__(
        self, row_shape: tuple[int, ...], n_outputs: int, *, new_labels: bool = False
    ) -> Prior: ...


@dataclass(frozen=True)
class PredictedStack(ABC):
    """Predictions for a stack of tasks, padded to the longest query."""

    positions: list[int]  # of the tasks among all
    tasks: list[Task]
    # (n_tasks, n_most, n_outputs): logits, minus infinity for classes that the task does not have,
    # or means in the units of y; NaN where adapting failed
    output: NDArray[np.float64]
    truth: NDArray[Any]  # (n_tasks, n_most) columns of labels, or (n_tasks, n_most, n_outputs)
    n_query: Ints  # (n_tasks,)
    failures: Failures  # by positions among all tasks

    def query_weights(self) -> NDArray[np.float64] | None:
        """Return weights of the query rows (n_tasks, n_most), 0 for padding; None if all are 1."""
        weights = [task.sample_weight_query for task in self.tasks]
        if all(weight is None for weight in weights):
            return None
        padded = np.zeros(self.truth.shape[:2])
        for row, n, weight in zip(padded, self.n_query, weights, strict=True):
            row[:n] = 1.0 if weight is None else weight
        return padded

    @abstractmethod
    def predictions(self) -> list[NDArray[Any]]:
        """Return labels or targets, one array a task; missing ones where adapting failed."""

    @abstractmethod
    def probabilities(self) -> list[NDArray[np.float64] | None]:
        """Return probabilities of the sorted labels of each support; None for targets."""

    @abstractmethod
    def classes(self) -> list[NDArray[Any] | None]:
        """Return the labels of the columns of the probabilities; None for targets."""

    @abstractmethod
    def scores(self) -> NDArray[np.float64]:
        """Score each task."""


@dataclass(frozen=True)
class PredictedLabels(PredictedStack):
    """Logits of a stack of tasks."""

    labels: list[NDArray[Any]]  # of the columns, for each task

    def predictions(self) -> list[NDArray[Any]]:
        """Return the label of the largest logit."""
        columns = self.output.argmax(axis=-1)
        return [
            no_prediction(n, task.y, "class") if i in self.failures.failed else labels[best[:n]]
            for i, task, labels, best, n in zip(
                self.positions, self.tasks, self.labels, columns, self.n_query, strict=True
            )
        ]

    def probabilities(self) -> list[NDArray[np.float64] | None]:
        """Return the softmax of the logits; NaN where adapting failed."""
        with np.errstate(invalid="ignore"):  # of rows that are padding
            P = np.exp(self.output - self.output.max(axis=-1, keepdims=True))
            P /= P.sum(axis=-1, keepdims=True)
        sizes = zip(P, self.n_query, self.labels, strict=True)  # other columns are padding
        return [p[:n, : len(labels)] for p, n, labels in sizes]

    def classes(self) -> list[NDArray[Any] | None]:
        """Return the labels of the columns."""
        return [*self.labels]

    def scores(self) -> NDArray[np.float64]:
        """Return accuracies."""
        is_query = np.arange(self.truth.shape[1]) < self.n_query[:, None]
        is_right = (self.output.argmax(axis=-1) == self.truth) & is_query
        weights = self.query_weights()
        if weights is None:
            return is_right.sum(axis=1) / self.n_query
        with np.errstate(invalid="ignore"):  # NaN where no row of the query counts
            return (is_right * weights).sum(axis=1) / weights.sum(axis=1)


@dataclass(frozen=True)
class PredictedTargets(PredictedStack):
    """Means of a stack of regression tasks."""

    def predictions(self) -> list[NDArray[Any]]:
        """Return the means in the shape of each y; NaN where adapting failed."""
        return [
            means[:n].reshape(n, *task.y.shape[1:])
            for means, n, task in zip(self.output, self.n_query, self.tasks, strict=True)
        ]

    def probabilities(self) -> list[NDArray[np.float64] | None]:
        """Return None for each task."""
        return [None] * len(self.tasks)

    def classes(self) -> list[NDArray[Any] | None]:
        """Return None for each task."""
        return [None] * len(self.tasks)

    def scores(self) -> NDArray[np.float64]:
        """Return R^2 of each task, the mean over outputs."""
        self._check_scorable()
        scores, weights = np.empty(len(self.tasks)), self.query_weights()
        for n in np.unique(self.n_query):  # no padding: sums in the order of r2_score
            has_n = self.n_query == n
            weight = 1.0 if weights is None else weights[has_n, :n, None]
            scores[has_n] = r2_of_tasks(self.truth[has_n, :n], self.output[has_n, :n], weight)
        return scores

    def _check_scorable(self) -> None:
        for i, task in sorted(
            zip(self.positions, self.tasks, strict=True), key=lambda pair: pair[0]
        ):
            check_query(task, i, 2)


@dataclass(frozen=True)
class UnusableStack(PredictedStack):
    """Tasks that cannot be used, whose predictions are missing."""

    target_type: str

    @classmethod
    def of(cls, skipped: Sequence[SkippedTask], target_type: str) -> UnusableStack:
        """Return the stack of these tasks; one that could not be read has no query rows."""
        failed = {s.position: Reason(s.label, s.reason) for s in skipped}
        empty, n_query = np.zeros((len(failed), 0, 0)), np.array([s.n_query for s in skipped])
        tasks = [s.task or NOTHING for s in skipped]
        return cls([*failed], tasks, empty, empty, n_query, Failures(failed), target_type)

    def predictions(self) -> list[NDArray[Any]]:
        """Return missing labels or targets."""
        pairs = zip(self.n_query, self.tasks, strict=True)
        return [no_prediction(int(n), task.y, self.target_type) for n, task in pairs]

    def probabilities(self) -> list[NDArray[np.float64] | None]:
        """Return NaN for each label of the supports; None for targets."""
        return [
            None if labels is None else np.full((n, len(labels)), np.nan)
            for labels, n in zip(self.classes(), self.n_query, strict=True)
        ]

    def classes(self) -> list[NDArray[Any] | None]:
        """Return the labels of each support; None for targets."""
        if self.target_type == "real":
            return [None] * len(self.tasks)
        return [labels_if_any(t.y if t.support is None else t.y_support) for t in self.tasks]

    def scores(self) -> NDArray[np.float64]:
        """Return NaN for each task."""
        return np.full(len(self.tasks), np.nan)


def labels_if_any(y: NDArray[Any]) -> NDArray[Any]:
    """Return the sorted labels of a task that cannot be used; none if they cannot be sorted."""
    try:
        return np.unique(y)
    except TypeError:
        return y[:0]


def r2_of_tasks(
    truth: NDArray[Any],  # (n_tasks, n_rows, n_outputs)
    predicted: NDArray[Any],
    weight: float | NDArray[Any] = 1.0,  # (n_tasks, n_rows, 1)
) -> NDArray[np.float64]:
    """Return R^2 of tasks, the mean over outputs; of constant targets 1 if they are met, else 0."""
    with np.errstate(over="ignore"):  # an absurd prediction scores minus infinity
        residual = (weight * (truth - predicted) ** 2).sum(axis=1)
    mean = truth.mean(axis=1, keepdims=True)
    if not isinstance(weight, float):
        with np.errstate(invalid="ignore"):  # NaN where no row counts
            share = weight / weight.sum(axis=1, keepdims=True)
        mean = (share * truth).sum(axis=1, keepdims=True)
    total = (weight * (truth - mean) ** 2).sum(axis=1)
    varies = total != 0
    explained = 1 - residual / np.where(varies, total, 1.0)
    return np.where(varies, explained, np.where(residual != 0, 0.0, 1.0)).mean(axis=1)


def read_stacks(
    stacks: Iterable[PredictedStack],
    read: Callable[[PredictedStack], Iterable[T]],
    error_score: Any,
) -> list[T]:
    """Read one value for each task, in the order of the tasks; warn of tasks that failed."""
    values: dict[int, T] = {}
    failures = Failures()
    for stack in stacks:
        failures.add(stack.failures, error_score)
        values.update(zip(stack.positions, read(stack), strict=True))
    failures.report(len(values), error_score)
    return [values[i] for i in range(len(values))]


def score_stacks(
    stacks: Iterable[PredictedStack],
    score: Callable[[PredictedStack], Sequence[float] | NDArray[np.float64]],
    error_score: Any,
) -> NDArray[np.float64]:
    """Score each task, in the order of the tasks; warn of tasks that failed.

    Only arrays grow with the number of tasks, because there may be millions.
    """
    positions, scores = list[Ints](), list[NDArray[np.float64]]()
    failures = Failures()
    for stack in stacks:
        failures.add(stack.failures, error_score)
        positions.append(np.array(stack.positions, dtype=np.intp))
        scores.append(np.array(score(stack), dtype=np.float64))
    in_order = np.empty(sum(map(len, scores)))
    in_order[np.concatenate(positions)] = np.concatenate(scores)
    if failures.failed:  # else error_score may be "raise"
        in_order[[*failures.failed]] = error_score
    failures.report(len(in_order), error_score)
    return in_order


@dataclass(frozen=True)
class Window:
    """Consecutive tasks, validated."""

    tasks: Sequence[Task]
    numbers: Sequence[int]  # their positions among all
    supports: Sequence[Ints]
    n_support: Ints  # (n_tasks,)
    n_query: Ints
    labels: TaskLabels | None  # of the supports; None for targets
    label_space: LabelSpace  # which labels the tasks may have
    new_labels: bool  # each task has labels that are new to a prior of shared labels

    @property
    def n_way(self) -> Ints:
        """Labels of each task, (n_tasks,); zero for targets."""
        return np.zeros_like(self.n_support) if self.labels is None else self.labels.n_way


@dataclass(frozen=True)
class TaskPredictor:
    """Adapts the prior of an estimator to many tasks and predicts their queries."""

    make_prior: MakePrior
    state: MetaState | None
    target_type: str
    device: torch.device
    max_tasks: int | None  # of a stack; None: as many as fit
    label_space: LabelSpace
    encode_targets: Callable[[NDArray[Any]], Any]  # raises a ValueError for unknown labels
    # of tasks with these labels of columns, which may be new to a prior of shared labels
    class_weights: Callable[[Sequence[NDArray[Any]], bool], ClassWeights | None]
    owner: str
    remedy: Callable[[], str]  # what to change where adapting diverges
    skip: bool = False  # tasks that cannot be used have no prediction, else they are an error
    min_query: int = 1  # rows of the query that a task needs; checked with `skip`

    def predict(self, tasks: Any) -> Iterator[PredictedStack]:
        """Yield the predictions of all tasks, in any order; the caller's estimator is unchanged.

        A TaskError names the first task that cannot be used, or has no fixed support. With `skip`
        it is raised only if no task can be used.
        """
        priors = dict[bool, tuple[Prior, StackSize]]()  # by whether labels are new
        n_outputs = 0
        if self.state is None and self.target_type == "class":  # one cold start for all
            n_outputs = max(int(window.n_way.max()) for window in self._windows(tasks, []))
        skipped: list[SkippedTask] = []
        for window in self._windows(tasks, skipped):
            if window.new_labels not in priors:
                first, are_new = window.tasks[0], window.new_labels
                n_first = n_outputs or first.y[:1].size
                with torch.inference_mode(False):  # the caller may use it; the inner loop cannot
                    prior = self.make_prior(first.row_shape, n_first, new_labels=are_new)
                size = tasks_at_once(prior.f, prior.theta, self.device, self.max_tasks)
                priors[are_new] = prior, size
            prior, size = priors[window.new_labels]
            for chosen in self._stacks(window, prior, size):
                with torch.inference_mode(False):
                    stack = self._predict_stack(window, chosen, prior)
                yield stack
            if skipped:  # at once, because all of them may not fit into memory
                yield UnusableStack.of(skipped, self.target_type)
                skipped.clear()
        if skipped:
            yield UnusableStack.of(skipped, self.target_type)

    # ---- reading and validation --------------------------------------------------------------

    def _windows(self, tasks: Any, skipped: list[SkippedTask]) -> Iterator[Window]:
        """Yield the tasks that can be used; add the others to `skipped`, or raise for the first."""
        is_empty = True
        for numbers, part in self._read_in_parts(tasks, skipped):
            if not part:
                continue
            window = self._make_window(part, numbers)
            new = self._check_supports(window, skipped)
            lost = {task.position for task in skipped}
            places = [k for k, i in enumerate(numbers) if i not in lost]
            for are_new in (False, True):
                some = [k for k in places if (k in new) == are_new]
                if some:
                    is_empty = False
                    if len(some) < len(part) or are_new:
                        of_part = [part[k] for k in some], [numbers[k] for k in some]
                        yield self._make_window(*of_part, new_labels=are_new)
                    else:
                        yield window
        if is_empty:
            raise_unusable(sorted(skipped, key=lambda task: task.position))

    def _read_in_parts(
        self, tasks: Any, skipped: list[SkippedTask]
    ) -> Iterator[tuple[Sequence[int], list[Task]]]:
        """Yield validated tasks, many at a time, and their positions."""
        is_read = is_lazy(tasks)
        source = tasks if is_read else as_list(tasks)
        unusable = "skip" if self.skip else "raise"
        with TaskReader(source, self.target_type, unusable, self._prepare) as reader:
            n, step = len(reader), N_TASKS
            if is_read:  # the others are in memory
                numbers = len(reader.first) * int(np.prod(reader.first.row_shape))
                step = min(N_TASKS, max(1, N_WINDOW_NUMBERS // numbers))
            for begin in range(0, n, step):
                positions: Sequence[int] = range(n)[begin : begin + step]
                if self.skip:
                    part, others = reader.take_usable(positions)
                    lost = {task.position for task in others}
                    skipped += others
                    positions = [i for i in positions if i not in lost] if lost else positions
                else:
                    part = reader.take(positions, range(n)[begin + step :])
                    if begin == 0 and self.state is not None:
                        self.state.check_task(part[0], 0, self.owner)
                yield positions, part

    def _prepare(self, task: Task, i: int) -> Task:
        """Return a task without support rows of weight 0; with `skip`, check all of it here."""
        if self.skip:
            if self.state is not None:
                self.state.check_task(task, i, self.owner)
            check_query(task, i, self.min_query)
        if task.sample_weight is None:
            return task
        return without_zero_weights(task, label(task, i), keep_query=True)

    def _make_window(
        self, tasks: Sequence[Task], numbers: Sequence[int], *, new_labels: bool = False
    ) -> Window:
        supports = [fixed_support(task, i) for task, i in zip(tasks, numbers, strict=True)]
        n_support = np.array([len(support) for support in supports])
        n_query = np.array([len(task) for task in tasks]) - n_support
        labels = None
        if self.target_type == "class":
            labels = encode_labels([task.y for task in tasks], supports)
        space = ANY_LABELS if new_labels else self.label_space
        return Window(tasks, numbers, supports, n_support, n_query, labels, space, new_labels)

    def _check_supports(self, window: Window, skipped: list[SkippedTask]) -> set[int]:
        """Return the places of tasks with labels that are new to a prior of shared labels.

        Tasks are added to `skipped`, or raise an error, if the prior cannot take their labels, has
        fewer outputs than they have labels, or has no prediction without rows.
        """
        labels, space, new = window.labels, self.label_space, set[int]()
        has_prediction = self.target_type == "real" or space.is_shared
        has_prediction = has_prediction and self.state is not None  # without rows
        is_suspect = (window.n_support == 0) & (not has_prediction)
        if labels is not None:
            if space.max_n_way is not None:
                is_suspect |= labels.n_way > space.max_n_way
            names = set() if space.classes is None else set(space.classes.tolist())
            if space.classes is not None and not set(labels.values.tolist()) <= names:
                is_suspect[:] = True
        for k in np.flatnonzero(is_suspect).tolist():
            task, i = window.tasks[k], window.numbers[k]
            try:
                if window.n_support[k] == 0 and not has_prediction:
                    no_prior = "has no rows, and without meta_fit there is no prior."
                    raise ValueError(f"its support {no_prior if self.state is None else WHY_ROWS}")
                if labels is not None:
                    self.encode_targets(task.y_support)
                    new |= {k} if space.are_new(np.unique(task.y_support)) else set()
            except ValueError as error:
                named = TaskError(f"{label(task, i)}: {error}")
                if not self.skip:
                    raise named from None
                skipped.append(skipped_task(task, i, named))
        return new

    # ---- stacks ------------------------------------------------------------------------------

    def _stacks(self, window: Window, prior: Prior, size: StackSize) -> Iterator[Ints]:
        """Yield positions of tasks of similar size and one dtype, as many as memory allows."""
        dtypes = [task.dtype for task in window.tasks]
        is_single = {dtype: dtype_of_rows([dtype]) is np.float32 for dtype in set(dtypes)}
        single = np.array([is_single[dtype] for dtype in dtypes])
        shapes = np.column_stack([single, window.n_support, window.n_way, window.n_query])
        order = np.lexsort(shapes.T[::-1])
        # padding would change the statistics of a batch
        together = shapes[order] if prior.f.transductive else shapes[order, :1]
        is_next = (np.diff(together, axis=0) != 0).any(axis=1)
        n_columns = window.n_way
        if window.label_space.classes is not None:
            n_columns = np.full_like(n_columns, window.label_space.n_shared)
        for rest in np.split(order, np.flatnonzero(is_next) + 1):
            while len(rest):
                n = size(window.n_support[rest], window.n_query[rest], n_columns[rest])
                yield rest[:n]
                rest = rest[n:]

    def _predict_stack(self, window: Window, chosen: Ints, prior: Prior) -> PredictedStack:
        tasks = [window.tasks[i] for i in chosen]
        supports = [window.supports[i] for i in chosen]
        positions = [window.numbers[i] for i in chosen]
        names = [label(task, i) for task, i in zip(tasks, positions, strict=True)]
        dtype = dtype_of_rows([task.dtype for task in tasks])
        labels = window.labels
        if labels is not None:
            labels = labels.take(chosen, window.n_support + window.n_query)
        rows = LabelledRows.of(tasks, dtype, labels, window.label_space)
        support_rows, query_rows = support_and_query(tasks, supports)
        n_rows = window.n_support[chosen] + window.n_query[chosen]
        support, weight = rows.stack(*support_rows, np.cumsum(n_rows) - n_rows)
        query, query_mask = pad_rows(*query_rows)  # whose one-hot labels are not needed
        X, X_query = support.X.numpy(), rows.X.take(query).numpy()
        y = None if rows.y is None else support.y.numpy()
        scaling = scaling_for(self.state, X, y, weight)
        far = {} if self.state is None else self.state.scale_departures(X, y, weight)
        support = scaled_support(support, scaling, self.device)
        class_weights = self.class_weights(rows.labels or [], window.new_labels)
        if class_weights is not None:
            support = class_weights(support)
        output, failed, doubtful = self._adapt(prior, support, scaling.inputs(X_query), names)
        temperature = None if self.state is None else self.state.temperature
        if temperature is not None and not window.new_labels:
            output = temperature(output)
        if rows.is_absent is not None:
            n_columns = rows.is_absent.shape[1]
            output = np.where(rows.is_absent[:, None], -np.inf, output[..., :n_columns])
            is_finite = np.isfinite(output.max(axis=-1))
        else:
            is_finite = np.isfinite(output).all(axis=-1)
        is_lost = (~is_finite & query_mask).any(axis=1)
        for k in set(np.flatnonzero(is_lost).tolist()) - failed.keys():
            failed[k] = Reason(names[k], f"its predictions are not finite. {self.remedy()}")
            doubtful.pop(k, None)
        output[[*failed]] = np.nan  # before arithmetic that would warn of infinity
        off_scale = {k: Reason(names[k], why) for k, why in far.items()}
        new_labels = {}
        if window.new_labels:
            new = [self.label_space.describe_new(np.unique(task.y_support)) for task in tasks]
            new_labels = {k: Reason(names[k], why) for k, why in enumerate(new)}
        by_place = (failed, doubtful, off_scale, new_labels)  # in the stack
        failures = Failures(*({positions[k]: r for k, r in part.items()} for part in by_place))
        if rows.labels is not None and rows.columns is not None:
            truth = rows.columns[query]
            return PredictedLabels(
                positions, tasks, output, truth, query_rows[1], failures, rows.labels
            )
        assert rows.y is not None
        output, truth = scaling.original(output), rows.y.numpy()[query]
        truth[[*failed]] = np.nan
        return PredictedTargets(positions, tasks, output, truth, query_rows[1], failures)

    def _adapt(
        self, prior: Prior, support: Examples, X_query: NDArray[Any], names: Sequence[str]
    ) -> tuple[NDArray[np.float64], Reasons, Reasons]:
        """Run the inner loop of a stack and predict; return also failed and doubtful tasks."""
        algorithm, f, theta = prior
        query = torch.from_numpy(X_query).to(self.device)
        start = tensors_of(theta, self.device, support.X.dtype)
        with torch.enable_grad():
            phi = algorithm.adapt(f, start, support)
        with torch.no_grad():
            if f.transductive:
                of_support, output = None, algorithm.predict(f, start, phi, query)
            else:  # the weights of each task are read once for both
                both = algorithm.predict(f, start, phi, torch.cat([support.X, query], 1))
                of_support, output = both.split([support.X.shape[1], query.shape[1]], 1)
        failed, doubtful = divergences(
            algorithm, f, start, phi, support, names, self.remedy, of_support
        )
        return output.cpu().double().numpy(), failed, doubtful


def scaled_support(support: Examples, scaling: Scaling, device: torch.device) -> Examples:
    """Return a stack of supports on a device, in the units of the network."""
    X = support.X.numpy()
    y = scaling.targets(support.y.numpy()).astype(X.dtype, copy=False)
    return Examples(
        torch.from_numpy(scaling.inputs(X)).to(device),
        torch.from_numpy(y).to(device),
        support.weight.to(device),
    )


# ---- rows of a task --------------------------------------------------------------------------


def fixed_support(task: Task, i: int) -> Ints:
    """Return the positions of the support rows, or refuse a task without a support."""
    if task.support is None:
        raise TaskError(
            f"{label(task, i)} has no fixed support to adapt to. Give it one, "
            "Task(X, y, support=...), or draw one with sklearn_meta.tasks.split_task."
        )
    return task.support


def check_query(task: Task, i: int, least: int) -> None:
    """Raise a TaskError for a query that is too short for R^2."""
    if len(task) - len(fixed_support(task, i)) < least:
        raise TaskError(
            f"{label(task, i)}: R^2 needs at least two query rows, the task has "
            f"one (X of shape {(len(task), *task.row_shape)}, support of "
            f"{len(task) - 1} rows). predict_tasks gives its prediction."
        )


def support_and_query(
    tasks: Sequence[Task], supports: Sequence[Ints]
) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """Return (row numbers, sizes) of the supports and of the queries, one task after the other."""
    n_rows = np.array([len(task) for task in tasks])
    n_support = np.array([len(support) for support in supports])
    begin = np.cumsum(n_rows) - n_rows
    is_support = np.zeros(n_rows.sum(), dtype=bool)
    is_support[np.repeat(begin, n_support) + np.concatenate(supports)] = True
    query = np.flatnonzero(~is_support), n_rows - n_support
    return (np.flatnonzero(is_support), n_support), query


# ---- the size of stacks ----------------------------------------------------------------------


def tasks_at_once(
    f: RowNetwork,
    theta: Mapping[str, NDArray[Any]],
    device: torch.device,
    max_tasks: int | None,
) -> StackSize:
    """Return a function that says how many tasks go into the next stack, at least one.

    It takes the rows of support and of query, and the columns of y, of tasks in order. A task takes
    its own parameters, and what its rows save for the gradient.
    """
    n_params = COPIES * sum(p.size for p in theta.values())
    a_row = numbers_of_a_row(f, theta, device)
    max_numbers = MAX_NUMBERS.get(device.type, MAX_NUMBERS["cpu"])

    def size(n_support: Ints, n_query: Ints, n_columns: Ints) -> int:
        rows = np.maximum.accumulate(n_support) + np.maximum.accumulate(n_query)  # padded
        width = a_row + np.maximum.accumulate(n_columns)
        numbers = (n_params + rows * width) * np.arange(1, len(rows) + 1)
        n = max(1, int(np.searchsorted(numbers, max_numbers, side="right")))
        return n if max_tasks is None else min(n, int(max_tasks))

    return size


def numbers_of_a_row(f: RowNetwork, theta: Mapping[str, NDArray[Any]], device: torch.device) -> int:
    """Count the numbers of a row, and those that it saves for the gradient."""
    with torch.inference_mode(False):  # the caller may use it
        tensors = to_torch(theta, device, torch.float32)
        params = {k: p.requires_grad_(p.is_floating_point()) for k, p in tensors.items()}
        return sum(bytes_of_a_row(f, params)) // 4
