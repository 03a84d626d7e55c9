"""Tasks as padded stacks of rows, and a meta-fitted estimator as functions of such stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from sklearn_meta._devices import resolve_device, torch_dtype
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.base.predict_tasks import numbers_of_a_row, scaled_support, tasks_at_once
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.functional import Params
from sklearn_meta.inner import Examples, InnerLoop
from sklearn_meta.outer.episodes import ANY_LABELS, LabelledRows
from sklearn_meta.outer.failures import check_converged
from sklearn_meta.outer.labels import LabelSpace, columns_among, encode_labels
from sklearn_meta.outer.scaling import Scaling
from sklearn_meta.outer.state import scaling_for, tensors_of
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.tables import dense, dtype_of_rows
from sklearn_meta.tasks.validate import label, target_kind

__all__ = [
    "AT_ONCE",
    "Learner",
    "Predictor",
    "RowChoice",
    "TaskRows",
    "consecutive_blocks",
]

AT_ONCE = 2**21  # numbers in one chunk
Floats = NDArray[np.float64]
RowChoice = list[NDArray[np.intp]]  # positions of rows, one array a task
Predictor = Callable[[NDArray[Any]], Floats]  # rows (n, ...) -> (n_tasks, n, n_columns)


@dataclass(frozen=True)
class TaskRows:
    """Validated tasks; the labels of each task are columns 0, 1, ... in sorted order."""

    tasks: tuple[Task, ...]
    target_type: str  # "class" or "real"
    y: list[NDArray[Any]]  # of each task: columns of labels (n,), or targets (n, n_outputs)
    labels: list[NDArray[Any]] | None  # the sorted labels of each task; None for targets

    @classmethod
    def of(cls, tasks: Any, target_type: str | None = None) -> TaskRows:
        """Validate tasks and encode their labels."""
        tasks = as_tasks(tasks, target_type=target_type)
        if (target_type or target_kind(tasks)) == "real":
            y = [task.y.reshape(len(task), -1).astype(np.float64) for task in tasks]
            return cls(tasks, "real", y, None)
        encoded = [np.unique(task.y, return_inverse=True) for task in tasks]
        return cls(tasks, "class", [code for _, code in encoded], [names for names, _ in encoded])

    @property
    def n_columns(self) -> NDArray[np.intp]:
        """Number of classes, or of outputs, of each task."""
        if self.labels is None:
            return np.array([values.shape[1] for values in self.y])
        return np.array([len(names) for names in self.labels])

    @property
    def all_rows(self) -> RowChoice:
        """Positions of all rows of each task."""
        return [np.arange(len(task)) for task in self.tasks]

    def inputs(self, i: int, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return some rows of X of task i as a dense array."""
        return dense(self.tasks[i].X[rows])

    def stack(
        self,
        choice: RowChoice,
        places: NDArray[np.intp],
        dtype: Any,
        label_space: LabelSpace = ANY_LABELS,
    ) -> Examples:
        """Stack the chosen rows of the tasks at `places`, in the units of the data.

        `y` holds targets in float64, or one-hot labels: among those that tasks share, or those of
        each task. A weight of 0 marks padding.
        """
        tasks = [self.tasks[i] for i in places]
        labels = None
        if self.target_type == "class":
            labels = encode_labels([task.y for task in tasks])
        rows = LabelledRows.of(tasks, dtype, labels, label_space)
        first = np.cumsum([0, *map(len, tasks)])
        chosen = [choice[i] for i in places]
        numbers = [n + part for n, part in zip(first, chosen, strict=False)]
        examples, _ = rows.stack(np.concatenate(numbers), np.array([len(part) for part in chosen]))
        return examples

    def scaled(
        self, scale: bool = True, n_reference: int | None = None
    ) -> tuple[list[Floats], list[NDArray[Any]]]:
        """Return X (n, n_features) and y of each task, standardised by the first `n_reference`.

        Targets get a standard deviation of (n_features / n_outputs) ** 0.5, so that they weigh as
        much as all features together. Constant columns stay at 0.
        """
        X = [dense(task.X, np.float64).reshape(len(task), -1) for task in self.tasks]
        y = list(self.y)
        if not scale:
            return X, y
        X = _standardised(X, n_reference)
        if self.labels is not None:
            return X, y
        weight = (X[0].shape[1] / y[0].shape[1]) ** 0.5
        return X, [weight * values for values in _standardised(y, n_reference)]

    def split(self, rng: np.random.RandomState) -> tuple[RowChoice, RowChoice]:
        """Split each task into its support and query; at random, if it has no fixed support."""
        learn, test = [], []
        for i, task in enumerate(self.tasks):
            if task.support is None:
                first, second = self._halves(i, rng)
            else:
                first, second = task.support, np.delete(np.arange(len(task)), task.support)
            learn.append(first)
            test.append(second)
        return learn, test

    def halves(self, rng: np.random.RandomState) -> tuple[RowChoice, RowChoice]:
        """Split each task at random into two halves, whatever its support."""
        pairs = [self._halves(i, rng) for i in range(len(self.tasks))]
        return [first for first, _ in pairs], [second for _, second in pairs]

    def _halves(
        self, i: int, rng: np.random.RandomState
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Split one task, stratified by class; the first half gets the odd row (of each class)."""
        task, values = self.tasks[i], self.y[i]
        order, rank = rng.permutation(len(task)), np.arange(len(task))
        if self.labels is not None:  # the rank of each row among those of its class
            order = order[np.argsort(values[order], kind="stable")]
            counts = np.bincount(values)
            rank -= np.repeat(np.cumsum(counts) - counts, counts)
        even = rank % 2 == 0
        if even.all():
            what = "two rows" if self.labels is None else "two rows of a class"
            raise TaskError(
                f"{label(task, i)}: X of shape {(len(task), *task.row_shape)} and y of shape "
                f"{task.y.shape} cannot be split into two halves; at least {what} are needed."
            )
        return np.sort(order[even]), np.sort(order[~even])


class AdaptedStack(NamedTuple):
    """Adapted parameters of some tasks, with the scaling of their rows."""

    phi: Params
    scaling: Scaling
    places: NDArray[np.intp]


class Learner:
    """Adapt stacks of tasks with a meta-fitted estimator, and predict any rows with each task."""

    def __init__(self, tasks: Any, estimator: object, owner: str) -> None:
        self.est = _check_meta_fitted(estimator, owner)
        self.rows = TaskRows.of(tasks, self.est.target_type)
        self.est.check_state()
        state = self.est.meta_state
        assert state is not None
        self.state = state
        self.label_space = self.est.label_space
        self._check_tasks()
        self.device = resolve_device(self.est.device)
        self.algorithm, self.f, self.theta = self.est.make_prior(state.row_shape, state.n_targets)
        self.dtype = dtype_of_rows([task.dtype for task in self.rows.tasks])
        self.start = tensors_of(self.theta, self.device, torch_dtype(self.dtype))

    def _check_tasks(self) -> None:
        self.state.check_task(self.rows.tasks[0], 0, type(self.est).__name__)
        for i, labels in enumerate(self.rows.labels or ()):
            try:
                self.label_space.refuse_new(labels, type(self.est).__name__)
                self.label_space.check_n_way(len(labels))
            except ValueError as error:
                raise TaskError(f"{label(self.rows.tasks[i], i)}: {error}") from None

    def chunks(self, choice: RowChoice) -> Iterator[NDArray[np.intp]]:
        """Yield positions of tasks of similar size, as many as memory allows."""
        size = tasks_at_once(self.f, self.theta, self.device, self.est.task_chunk_size)
        sizes = np.array([len(rows) for rows in choice])
        n_columns = self.rows.n_columns
        order = np.lexsort((sizes, n_columns))
        while len(order):
            n = len(order)
            if self.f.transductive:  # padding would change the statistics of a batch
                same = sizes[order] == sizes[order[0]]
                n = n if same.all() else int(same.argmin())
            places = order[:n]
            n = size(sizes[places], np.zeros_like(places), n_columns[places])
            yield places[:n]
            order = order[n:]

    def rows_at_once(self, n_tasks: int) -> int:
        """Return how many rows to predict at once with the models of `n_tasks` tasks."""
        if self.f.transductive:  # each task is predicted by itself
            return 1
        a_row = numbers_of_a_row(self.f, self.theta, self.device)
        return max(1, AT_ONCE // (n_tasks * a_row))

    def examples(self, choice: RowChoice, places: NDArray[np.intp]) -> tuple[Examples, Scaling]:
        """Stack rows as the algorithm takes them: standardised, labels in the prior's columns."""
        part = self.rows.stack(choice, places, self.dtype, self.label_space)
        X, y, weight = (tensor.numpy() for tensor in part)
        scaling = scaling_for(self.state, X, y if self.rows.labels is None else None, weight)
        with torch.inference_mode(False):
            return scaled_support(part, scaling, self.device), scaling

    def adapt(self, choice: RowChoice, places: NDArray[np.intp]) -> AdaptedStack:
        """Run the inner loop of the tasks at `places` on the chosen rows."""
        support, scaling = self.examples(choice, places)
        with torch.inference_mode(False), torch.enable_grad():
            phi = self.algorithm.adapt(self.f, self.start, support)
        names = [label(self.rows.tasks[i], int(i)) for i in places]
        check_converged(self.algorithm, self.f, self.start, phi, support, names, self.est.remedy)
        return AdaptedStack(phi, scaling, places)

    def predictor(self, choice: RowChoice, places: NDArray[np.intp]) -> Predictor:
        """Adapt to the chosen rows; return logits of each task's classes, or means of `y`."""
        return partial(self._outputs, self.adapt(choice, places))

    def _outputs(self, adapted: AdaptedStack, X: NDArray[Any]) -> Floats:
        phi, scaling, places = adapted
        with torch.inference_mode(False), torch.no_grad():
            rows = torch.from_numpy(scaling.inputs(X[None].astype(self.dtype, copy=False)))
            rows = rows.to(self.device).expand(len(places), *rows.shape[1:])
            output: Floats = (
                self.algorithm.predict(self.f, self.start, phi, rows).cpu().double().numpy()
            )
        if self.rows.labels is None:
            return scaling.original(output)
        if self.label_space.classes is None:
            return output
        local = np.full((*output.shape[:2], int(self.rows.n_columns[places].max())), -np.inf)
        for b, i in enumerate(places):
            labels = self.rows.labels[i]
            columns = columns_among(labels, self.label_space.of_outputs(labels))
            local[b, :, : len(columns)] = output[b][:, columns]
        return local

    def features(self, choice: RowChoice, places: NDArray[np.intp]) -> Floats:
        """Return the features of the backbone before anything adapts: (B, n, n_features)."""
        examples, _ = self.examples(choice, places)
        with torch.inference_mode(False), torch.no_grad():
            Z: Floats = self.f(self.start, examples.X).cpu().double().numpy()
        return Z

    def gradients(self, choice: RowChoice, places: NDArray[np.intp]) -> NDArray[Any]:
        """Return the gradient of each task's loss at theta: (B, n_meta_parameters)."""
        examples, _ = self.examples(choice, places)
        theta = {k: p for k, p in self.start.items() if p.is_floating_point()}
        with torch.inference_mode(False), torch.enable_grad():
            of_each = torch.func.vmap(torch.func.grad(self._loss), in_dims=(None, 0, 0, 0))
            grads = of_each(theta, *examples)
        return np.concatenate([g.reshape(len(g), -1).cpu().numpy() for g in grads.values()], axis=1)

    def _loss(
        self, theta: Params, X: torch.Tensor, y: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        full, rows = self.start | theta, Examples(X, y, weight)
        if not isinstance(self.algorithm, InnerLoop):  # no inner loop: the meta-loss itself
            return self.algorithm.loss(self.f, full, rows, rows)
        start, _, loss = self.algorithm.inner_problem(self.f, full, rows)
        return loss(start)


def _check_meta_fitted(estimator: object, owner: str) -> BaseMetaLearner:
    if not isinstance(estimator, BaseMetaLearner):
        raise TypeError(
            f"The 'estimator' parameter of {owner} must be a meta-fitted learner such as "
            f"MAMLRegressor. Got {estimator!r} instead."
        )
    if estimator.meta_state is None:
        raise NotMetaFittedError(
            f"The 'estimator' parameter of {owner} is a {type(estimator).__name__} that is not "
            "meta-fitted yet. Call meta_fit(tasks) first."
        )
    return estimator


def consecutive_blocks(
    sizes: Sequence[int] | NDArray[np.intp], most: int
) -> Iterator[NDArray[np.intp]]:
    """Yield positions of consecutive tasks whose sizes add up to `most`, or one larger task."""
    ends, begin = np.cumsum(sizes), 0
    while begin < len(ends):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield np.arange(begin, end)
        begin = end


def _standardised(parts: list[Floats], n_reference: int | None) -> list[Floats]:
    values = np.concatenate(parts)
    starts = np.cumsum([0, *map(len, parts)])
    n_rows = starts[len(parts) if n_reference is None else n_reference]
    scaler = StandardScaler().fit(values[:n_rows])
    return np.split(scaler.transform(values), starts[1:-1])
