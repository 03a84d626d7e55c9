"""From tasks to a meta state: the steps of `meta_fit`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch.history import History

from sklearn_meta.core.backbone import RowNetwork
from sklearn_meta.core.checkpoint import open_checkpoint
from sklearn_meta.core.compat import Bridge
from sklearn_meta.core.episodes import Rows, all_once, all_read
from sklearn_meta.core.heads import BIAS, check_n_way
from sklearn_meta.core.module import EpisodicModule, FixedBatches, MetaBatches
from sklearn_meta.core.outer import Outer, train
from sklearn_meta.core.packed import PackedTasks
from sklearn_meta.core.packing import Packing
from sklearn_meta.core.params import check_dtype
from sklearn_meta.core.read_batches import ReadBatches
from sklearn_meta.core.scaling import Scaling
from sklearn_meta.core.sources import check_alike, is_list, is_pool, known_tasks, source_of
from sklearn_meta.core.state import VERSIONS, MetaState, to_numpy, to_torch
from sklearn_meta.core.support import check_feature_names, check_fits, check_structure
from sklearn_meta.core.survey import Survey, check_ways, first_of, survey
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import EmpiricalTasks, Task, TaskDistribution, as_tasks
from sklearn_meta.tasks.lazy import TaskReader, as_lazy, is_lazy
from sklearn_meta.tasks.validate import label

__all__ = ["learn_prior"]


def learn_prior(
    est: Any,
    tasks: Any,
    y: Any,
    groups: Any,
    validation_tasks: Any,
    told: Any,
    opened: ExitStack,
) -> tuple[MetaState, History]:
    """Meta-train, and leave the estimator as it is.

    Parameters
    ----------
    est : BaseMetaLearner
        Whose parameters say how.
    tasks, y, groups, validation_tasks
        As given to `meta_fit`.
    told : sklearn.callback.CallbackContext or None
        Who is to be told of each epoch.
    opened : ExitStack
        Takes what has to be closed in the end.

    Returns
    -------
    state : MetaState
        The learned prior.
    history : skorch.history.History
        One row an epoch.
    """
    seed = est._seed()
    checkpoint = open_checkpoint(est, seed, (tasks, y, groups, validation_tasks))
    rng = np.random.RandomState(checkpoint.seed if checkpoint else seed)
    known = known_tasks(tasks, y, groups, est._target_type, rng, opened)
    first = first_of(known)
    device = est._device()
    carried = _carried(est, first)
    rows, labels = Rows(est._n_support(), est.n_query), est._target_type == "class"
    found = _surveyed(est, tasks, known, carried, rows)
    dtype, scaling, classes = found.dtype, found.scaling, found.classes
    check_dtype(device, dtype)
    packing = Packing(rows, scaling, dtype, device, labels, classes)
    source, n_outputs = source_of(tasks, known, packing, est._target_type)
    n_outputs = max(n_outputs, found.n_way) if classes is None else len(classes)
    n_tasks = _meta_batch_size(est, len(known) if is_list(tasks) else None)
    seeds = rng.randint(np.iinfo(np.int32).max, size=5)
    f = est._backbone(first.row_shape, int(seeds[0]))
    theta = _start(est, carried, f, n_outputs, int(seeds[1]), device, dtype)
    at_most = len(theta[BIAS]) if est._one_head_a_position() else None
    if at_most is not None and is_pool(tasks):
        check_n_way(n_outputs, at_most)
    for_valid = replace(packing, classes=classes if est._knows_labels else None)
    valid = _validation(
        est, validation_tasks, first, for_valid, int(seeds[2]), n_tasks, f, at_most, opened
    )
    per_epoch = min(est.iters_per_epoch, est.max_meta_iter)
    batches = MetaBatches(
        source, n_tasks, per_epoch, est.max_meta_iter, int(seeds[3]), f.transductive
    )
    bridge = [] if told is None else [Bridge(est, told)]
    outer = Outer(
        optimizer=est._optimizer,
        meta_lr=est.meta_lr,
        meta_lr_schedule=est.meta_lr_schedule,
        max_grad_norm=est.max_grad_norm,
        n_epochs=est._n_epochs(),
        n_iter=est.max_meta_iter,
        early_stopping=est.early_stopping,
        patience=est.patience,
        callbacks=[*(est.callbacks or []), *bridge],
        net_params=est.net_params,
        verbose=est.verbose,
        name=type(est).__name__,
        seed=int(seeds[4]),
        checkpoint=checkpoint,
    )
    by_task = est.scaling == "task"
    scale_tasks = (by_task, by_task and not labels)
    module = EpisodicModule(est._algorithm(), f, theta, scale_tasks, batches.progress)
    theta, history = train(module, batches, valid, outer, device)
    state = MetaState(
        theta=to_numpy(theta),
        scaling=scaling or (None if by_task else _identity(first, labels)),
        row_shape=first.row_shape,
        target_shape=first.y.shape[1:],
        feature_names=first.feature_names_in,
        classes=classes,
        structural=est._fingerprints(est._structural),
        training=est._fingerprints(est._without_effect()),
        versions=dict(VERSIONS),
    )
    return state, history


def _surveyed(
    est: Any,
    tasks: Any,
    known: tuple[Task, ...] | TaskReader,
    carried: MetaState | None,
    rows: Rows,
) -> Survey:
    """Go through all tasks; a prior that is carried on keeps its scaling and its labels."""
    labels, by_position = est._target_type == "class", est._one_head_a_position()
    told = getattr(tasks, "classes_", None) if carried is None else carried.classes
    kept = None  # carried weights go with the scale that they were learned on
    if carried is not None and carried.training["scaling"] == "pooled":
        kept = carried.scaling
    pooled = est.scaling == "pooled"
    found = survey(
        known,
        rows,
        labels=labels,
        scaling=pooled and kept is None,
        classes=est._one_label_space and told is None,
        ways=labels and by_position,
        at_most=len(carried.theta[BIAS]) if carried is not None and by_position else None,
    )
    if pooled and kept is not None:
        found = replace(found, scaling=kept)
    if est._one_label_space and told is not None:
        found = replace(found, classes=np.unique(told))
    return found


def _identity(task: Task, labels: bool) -> Scaling:
    width = task.row_shape[0] if len(task.row_shape) == 1 else 1
    outputs = 1 if labels else task.y[:1].size
    return Scaling(np.zeros(width), np.ones(width), np.zeros(outputs), np.ones(outputs))


def _meta_batch_size(est: Any, there: int | None) -> int:
    if est.meta_batch_size is None:
        return 16 if there is None else min(16, there)
    if there is None:
        return int(est.meta_batch_size)
    if est.meta_batch_size > there:
        raise TaskError(
            f"meta_batch_size={est.meta_batch_size}, but there are only {there} tasks. "
            f"Use meta_batch_size=None, or at most {there}."
        )
    return int(est.meta_batch_size)


def _carried(est: Any, task: Task) -> MetaState | None:
    """Give the prior to go on from, if any, held against the tasks."""
    state: MetaState | None = est._meta_state
    if not est.warm_start or state is None:
        return None
    check_structure(est, state)
    if (task.row_shape, task.y[:1].size) != (state.row_shape, state.n_targets):
        raise TaskError(
            f"{label(task, 0)}: X of shape {(len(task), *task.row_shape)} and y of shape "
            f"{task.y.shape} do not go "
            f"with warm_start=True: the prior is for rows of shape {state.row_shape} and "
            f"{state.n_targets} output(s)."
        )
    if task.feature_names_in and state.feature_names:
        check_feature_names(task.feature_names_in, state.feature_names)
    return state


def _start(
    est: Any,
    carried: MetaState | None,
    f: RowNetwork,
    n_outputs: int,
    seed: int,
    device: torch.device,
    dtype: Any,
) -> dict[str, torch.Tensor]:
    torch_dtype = torch.from_numpy(np.empty(0, dtype)).dtype
    if carried is not None:
        check_fits(est, f, carried.theta)
        return to_torch(carried.theta, device, torch_dtype)
    theta = est._algorithm().init(f, n_outputs, torch.Generator().manual_seed(seed))
    if not theta:
        raise ValueError(
            f"{type(est).__name__} has no meta-parameters to learn: backbone={est.backbone!r} with "
            f"hidden_layer_sizes={est.hidden_layer_sizes!r} has no weights, nor has the head."
        )
    return {k: p.to(device, torch_dtype) for k, p in theta.items()}


def _validation(
    est: Any,
    tasks: Any,
    like: Task,
    packing: Packing,
    seed: int,
    n_tasks: int,
    f: RowNetwork,
    at_most: int | None,
    opened: ExitStack,
) -> FixedBatches | ReadBatches | None:
    if tasks is None:
        if est.early_stopping:
            raise ValueError(
                f"early_stopping=True needs validation tasks: {type(est).__name__}.meta_fit(tasks, "
                "validation_tasks=...)."
            )
        return None
    if isinstance(tasks, EmpiricalTasks) and is_list(tasks):
        tasks = tasks.tasks
    elif isinstance(tasks, TaskDistribution):
        tasks = tasks.sample(10 * n_tasks, seed)
    try:
        if is_lazy(tasks):
            reader = opened.enter_context(as_lazy(tasks).reader(est._target_type))
            check_alike(reader.first, like, "Task 0 of validation_tasks", "the tasks")

            def pack(some: list[Task], numbers: list[int]) -> PackedTasks:
                for task, i in zip(some, numbers, strict=True):
                    check_ways(task, i, at_most)
                return packing.pack_some(some, numbers)

            batches = partial(all_read, reader, pack, packing.rows, n_tasks, seed)
            return ReadBatches(batches, -(-len(reader) // n_tasks), f.transductive)
        tasks = as_tasks(tasks, target_type=est._target_type)
        for i, task in enumerate(tasks):
            check_ways(task, i, at_most)
        packed = packing.pack(tasks)
    except TaskError as error:
        raise TaskError(f"In validation_tasks: {error}") from None
    check_alike(tasks[0], like, "Task 0 of validation_tasks", "the tasks")
    return FixedBatches(list(all_once(packed, packing.rows, n_tasks, seed)), f.transductive)
