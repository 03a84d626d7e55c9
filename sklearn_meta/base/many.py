"""Adapting and predicting many tasks, a stack of like sizes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_meta._devices import resolve_device
from sklearn_meta.base.scale_check import scale_departures
from sklearn_meta.base.stack_size import tasks_at_once
from sklearn_meta.base.stacked import all_inputs, padded, places_of
from sklearn_meta.base.windows import Window, windows
from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import Algorithm
from sklearn_meta.inner.backbone import RowNetwork
from sklearn_meta.inner.examples import Examples, one_hot
from sklearn_meta.outer.converged import not_converged, remedy
from sklearn_meta.outer.failures import Failures, Reason, Reasons
from sklearn_meta.outer.row_store import dtype_of_rows
from sklearn_meta.outer.state import scaling_for, tensors_of
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import label

__all__ = ["Answers", "answers"]


class Answers(NamedTuple):
    """What came out for a stack of tasks.

    Attributes
    ----------
    places : list of int
        Positions of the tasks among all.
    tasks : list of Task
        The tasks.
    output : ndarray of shape (n_tasks, n_most, n_outputs)
        Logits, minus infinity for classes that the task does not have; or means in the units
        of y. NaN where adapting failed.
    truth : ndarray of shape (n_tasks, n_most) or (n_tasks, n_most, n_outputs)
        Columns of the query's labels, or its targets (NaN where adapting failed).
    n_query : ndarray of int of shape (n_tasks,)
        Rows of each query; those behind them mean nothing.
    labels : list of ndarray or None
        The label of each column, for each task; None for targets.
    failures : Failures
        What went wrong, by positions among all tasks.
    """

    places: list[int]
    tasks: list[Task]
    output: NDArray[np.float64]
    truth: NDArray[Any]
    n_query: NDArray[np.intp]
    labels: list[NDArray[Any]] | None
    failures: Failures


class _Model(NamedTuple):
    algorithm: Algorithm
    f: RowNetwork
    theta: Any


def answers(est: Any, tasks: Any) -> Iterator[Answers]:
    """Adapt to the support of each task and predict its query.

    Parameters
    ----------
    est : BaseMetaLearner
        Whose prior and parameters to use; it stays as it is.
    tasks : sequence of tasks
        As given to `predict_tasks`.

    Yields
    ------
    Answers
        Of a stack of tasks; all tasks come, in any order.

    Raises
    ------
    TaskError
        If a task cannot be used, or has no fixed support.
    """
    device, model, n_outputs = resolve_device(est.device), None, 0
    if est.meta_state is None and est.target_type == "class":  # one cold start for all
        n_outputs = max(int(window.n_way.max()) for window in windows(est, tasks))
    for window in windows(est, tasks):
        if model is None:
            n_outputs = n_outputs or window.first.y[:1].size
            with torch.inference_mode(False):  # the caller may be in it; the inner loop cannot
                model = _Model(*est._prior(window.first.row_shape, n_outputs))
        for chunk in _chunks(est, window, model, device):
            yield _answer(est, window, chunk, model, device)


def _chunks(
    est: Any, window: Window, model: _Model, device: torch.device
) -> Iterator[NDArray[np.intp]]:
    """Positions in the window of tasks of like size and one dtype, as many as memory allows."""
    single = [dtype_of_rows([task.dtype]) is np.float32 for task in window.tasks]
    shapes = np.column_stack([single, window.n_support, window.n_way, window.n_query])
    order = np.lexsort(shapes.T[::-1])
    at_once = tasks_at_once(est, model.f, model.theta, device)
    columns, begin = window.n_way, 0
    if est.predicts_shared_labels and est.meta_state is not None:
        columns = np.full_like(columns, len(est.meta_state.classes))
    while begin < len(order):
        here = shapes[order[begin:]]
        alike = here[:, 0] == here[0, 0]
        if model.f.transductive:  # padding would change the statistics
            alike = (here == here[0]).all(axis=1)
        n_alike = len(here) if alike.all() else int(alike.argmin())
        width = columns[order[begin : begin + n_alike]]
        size = at_once(here[:n_alike, 1], here[:n_alike, 3], width)
        yield order[begin : begin + size]
        begin += size


def _answer(
    est: Any, window: Window, chunk: NDArray[np.intp], model: _Model, device: torch.device
) -> Answers:
    tasks = [window.tasks[i] for i in chunk]
    dtype = dtype_of_rows([task.dtype for task in tasks])
    support_at, query_at = places_of(tasks)
    X = all_inputs(tasks, dtype)
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        window.complain()
    y, labels, absent = _targets(est, window, chunk)
    X_support, y_support, mask = padded(X, support_at), padded(y, support_at), support_at.mask
    targets = None if labels is not None else y_support
    scaling = scaling_for(est.meta_state, X_support, targets, mask)
    names = _Names(window, chunk)
    far = scale_departures(est.meta_state, X_support, targets, mask)
    y_seen = y_support if labels is None else one_hot(y_support, absent.shape[-1])
    y_seen[~mask] = 0
    with torch.inference_mode(False):
        support = Examples(
            torch.from_numpy(scaling.inputs(X_support)).to(device),
            torch.from_numpy(scaling.targets(y_seen).astype(dtype, copy=False)).to(device),
            torch.from_numpy(mask.astype(dtype)).to(device),
        )
        query = torch.from_numpy(scaling.inputs(padded(X, query_at))).to(device)
        found, failed, doubtful = _adapted(est, model, support, query, names)
        output: NDArray[np.float64] = found.cpu().double().numpy()
    if labels is not None:
        output = np.where(absent[:, None], -np.inf, output[..., : absent.shape[-1]])
    usable = np.isfinite(output.max(axis=-1, keepdims=True) if labels is not None else output)
    lost = (~usable.all(axis=-1) & query_at.mask).any(axis=1)
    for k in set(np.flatnonzero(lost).tolist()) - failed.keys():
        failed[k] = Reason(names[k], f"its predictions are not finite. {remedy(est)}")
        doubtful.pop(k, None)
    output[[*failed]] = np.nan  # before arithmetic that would warn of infinity
    truth = padded(y, query_at)
    if labels is None:
        output = scaling.original(output)
        truth[[*failed]] = np.nan
    places = [window.begin + int(i) for i in chunk]
    off_scale = {k: Reason(names[k], words) for k, words in far.items()}
    failures = Failures(
        *({places[k]: why for k, why in part.items()} for part in (failed, doubtful, off_scale))
    )
    return Answers(places, tasks, output, truth, query_at.sizes, labels, failures)


def _adapted(
    est: Any, model: _Model, support: Examples, query: Tensor, names: Sequence[str]
) -> tuple[Tensor, Reasons, Reasons]:
    algorithm, f, theta = model
    start: Params = tensors_of(theta, support.X.device, support.X.dtype)
    with torch.enable_grad():
        phi = algorithm.adapt(f, start, support)
    with torch.no_grad():
        if f.transductive:
            seen, output = None, algorithm.predict(f, start, phi, query)
        else:  # the weights of each task go through memory once for both
            both = algorithm.predict(f, start, phi, torch.cat([support.X, query], 1))
            seen, output = both.split([support.X.shape[1], query.shape[1]], 1)
    return output, *not_converged(est, algorithm, f, start, phi, support, names, seen)


def _targets(
    est: Any, window: Window, chunk: NDArray[np.intp]
) -> tuple[NDArray[Any], list[NDArray[Any]] | None, NDArray[np.bool_]]:
    """Columns of all labels, the labels of the columns and which a task lacks; or targets."""
    coding = window.coding
    if coding is None:
        y = np.concatenate([window.tasks[i].y for i in chunk])
        return y.reshape(len(y), -1).astype(np.float64), None, np.zeros((1, 1), dtype=bool)
    y = np.concatenate([coding.place[coding.begin[i] : coding.begin[i + 1]] for i in chunk])
    own = [coding.own[coding.first[i] : coding.first[i] + coding.n_way[i]] for i in chunk]
    n_way = coding.n_way[chunk]
    if not (est.predicts_shared_labels and est.meta_state is not None):
        return y, own, np.arange(n_way.max()) >= n_way[:, None]
    known = est.meta_state.classes
    columns = [np.searchsorted(known, labels.astype(known.dtype)) for labels in own]
    absent = np.ones((len(chunk), len(known)), dtype=bool)
    absent[np.repeat(np.arange(len(chunk)), n_way), np.concatenate(columns)] = False
    begin = np.repeat(np.cumsum(n_way) - n_way, [len(window.tasks[i]) for i in chunk])
    return np.concatenate(columns)[begin + y], [known] * len(chunk), absent


class _Names(Sequence[str]):
    """What errors call the tasks of a chunk, made when there is one."""

    def __init__(self, window: Window, chunk: NDArray[np.intp]) -> None:
        self.window, self.chunk = window, chunk

    def __len__(self) -> int:
        return len(self.chunk)

    def __getitem__(self, k: Any) -> Any:
        i = self.chunk[k]
        return label(self.window.tasks[i], self.window.begin + int(i))
