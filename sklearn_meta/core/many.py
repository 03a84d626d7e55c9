"""Adapting and predicting many tasks in one stacked pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_meta.core.converged import check_converged
from sklearn_meta.core.examples import Examples, stack
from sklearn_meta.core.scaling import Scaling, scaling_of
from sklearn_meta.core.state import to_torch
from sklearn_meta.core.support import check_feature_names
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["outputs_of_tasks"]

ELEMENTS_AT_ONCE = 200_000  # numbers of X in one stack: activations then stay in tens of MB


def outputs_of_tasks(est: Any, tasks: Sequence[Task]) -> Iterator[tuple[int, Task, NDArray[Any]]]:
    """Adapt to the support of each task and predict its query.

    Parameters
    ----------
    est : BaseMetaLearner
        Whose prior and parameters to use; it stays as it is.
    tasks : sequence of Task
        Already checked; with a fixed support.

    Yields
    ------
    i : int
        Position of the task.
    task : Task
        The task.
    output : ndarray of shape (n_query, n_outputs)
        Logits in the order of the sorted labels of the support, or means in the units of y.
    """
    for i, task in enumerate(tasks):
        if task.support is None:
            raise TaskError(
                f"{label(task, i)} has no fixed support to adapt to. Give it one, "
                "Task(X, y, support=...), or draw one with sklearn_meta.tasks.split_task."
            )
    state = est._meta_state
    if state is not None:
        _check_shapes(est, tasks[0])
    labels = est._target_type == "class"
    n_outputs = max(_encoded(est, task, i).shape[1] for i, task in enumerate(tasks))
    dtype = np.float32 if all(t.X.dtype == np.float32 for t in tasks) else np.float64
    torch_dtype = torch.from_numpy(np.empty(0, dtype)).dtype
    device = est._device()
    with torch.inference_mode(False):  # the caller may be in it; the inner loop cannot
        algorithm, f, theta = est._prior(tasks[0].X.shape[1:], n_outputs)
        start = to_torch(theta, device, torch_dtype)
    for chunk in _chunks(tasks, same_shape=f.transductive):
        pairs = []
        with torch.inference_mode(False):
            for i in chunk:
                y, scaling = est._encode(tasks[i].y), state.scaling if state else None
                pairs.append(_examples(tasks[i], y, scaling, dtype, labels))
            support = Examples(*(t.to(device) for t in stack([pair[0] for pair in pairs])))
            query = stack([pair[1] for pair in pairs]).X.to(device)
            with torch.enable_grad():
                phi = algorithm.adapt(f, start, support)
            names = [label(tasks[i], i) for i in chunk]
            check_converged(est, algorithm, f, start, phi, support, names, 5)
            with torch.no_grad():
                out = algorithm.predict(f, start, phi, query).cpu().double().numpy()
        for i, values, (s, q, scaling) in zip(chunk, out, pairs, strict=True):
            yield i, tasks[i], scaling.original(values[: len(q.X), : s.y.shape[1]])


def _check_shapes(est: Any, task: Task) -> None:
    state = est._meta_state
    for what, got, expected in (
        ("X", task.X.shape[1:], state.row_shape),
        ("y", task.y[:1].size, state.n_targets),
    ):
        if got != expected:
            raise TaskError(
                f"{label(task, 0)}: {what} has rows of shape {got}, but {type(est).__name__} "
                f"was meta-fitted with rows of shape {expected} (X of shape "
                f"{task.X.shape}, y of {task.y.shape})."
            )
    if task.feature_names_in is not None and state.feature_names is not None:
        try:
            check_feature_names(task.feature_names_in, state.feature_names)
        except ValueError as error:
            raise TaskError(f"{label(task, 0)}: {error}") from None


def _encoded(est: Any, task: Task, i: int) -> NDArray[np.float64]:
    try:
        encoded: NDArray[np.float64] = est._encode(task.y)
    except ValueError as error:  # a label that the prior does not know
        raise TaskError(f"{label(task, i)}: {error}") from None
    return encoded


def _chunks(tasks: Sequence[Task], *, same_shape: bool) -> Iterator[list[int]]:
    """Positions of tasks of like size, as many as memory allows."""
    sizes = [(len(t.support), len(t)) for t in tasks if t.support is not None]
    shapes = [(*size, len(np.unique(t.y))) for size, t in zip(sizes, tasks, strict=True)]
    chunk: list[int] = []
    for i in sorted(range(len(tasks)), key=lambda i: shapes[i]):
        full = (len(chunk) + 1) * tasks[i].X.size > ELEMENTS_AT_ONCE
        if chunk and (full or (same_shape and shapes[i] != shapes[chunk[0]])):
            yield chunk
            chunk = []
        chunk.append(i)
    yield chunk


def _examples(
    task: Task, y: NDArray[Any], scaling: Scaling | None, dtype: Any, labels: bool
) -> tuple[Examples, Examples, Scaling]:
    X_support, X_query = task.X_support.astype(dtype), task.X_query.astype(dtype)
    y_support = y[task.support]
    if scaling is None:
        scaling = scaling_of(X_support, None if labels else y_support)
    support = Examples(
        torch.tensor(scaling.inputs(X_support)),
        torch.tensor(scaling.targets(y_support).astype(dtype)),
        torch.ones(len(X_support), dtype=torch.from_numpy(X_support[:0]).dtype),
    )
    X = torch.tensor(scaling.inputs(X_query))
    return support, Examples(X, X.new_zeros(len(X), y.shape[1]), X.new_ones(len(X))), scaling
