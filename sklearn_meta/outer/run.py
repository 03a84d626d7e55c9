"""From tasks to a meta-training that is about to begin."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from sklearn_meta._devices import check_dtype, resolve_device
from sklearn_meta.exceptions import TaskError
from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import draw_theta
from sklearn_meta.inner.heads import BIAS, check_n_way
from sklearn_meta.nn.backbone import RowNetwork
from sklearn_meta.outer.checkpoint import Checkpoint
from sklearn_meta.outer.compiled import CompiledGradient
from sklearn_meta.outer.episodes import Rows
from sklearn_meta.outer.memory_plan import Plan
from sklearn_meta.outer.module import EpisodicModule, FixedBatches, MetaBatches
from sklearn_meta.outer.outer import Outer
from sklearn_meta.outer.packing import Packing
from sklearn_meta.outer.precision import HalfNetwork
from sklearn_meta.outer.read_batches import ReadBatches
from sklearn_meta.outer.scaling import Limits, Scaling, limits_of, pooled_scaling, typical_scaling
from sklearn_meta.outer.sources import is_list, is_pool, known_tasks, source_of
from sklearn_meta.outer.state import VERSIONS, MetaState, to_numpy, to_torch
from sklearn_meta.outer.support import check_fits, check_structure
from sklearn_meta.outer.survey import Survey, first_of, survey
from sklearn_meta.outer.validation import validation_batches
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.lazy import TaskReader
from sklearn_meta.tasks.validate import check_task_names, label

__all__ = ["Run", "prepared"]

SCALINGS = {"pooled": pooled_scaling, "task": typical_scaling}


@dataclass(frozen=True)
class Run:
    """A meta-training that is about to begin.

    Attributes
    ----------
    est : BaseMetaLearner
        Whose parameters say how.
    module : EpisodicModule
        The objective, with the theta to start from.
    batches : MetaBatches
        For training.
    valid : FixedBatches, ReadBatches or None
        For validation.
    outer : Outer
        Settings of the outer loop.
    device : torch.device
        Where.
    n_way : int
        Classes of a task, as far as they are known; 1 for a regression.
    state : callable
        From the theta learned to the meta state.
    """

    est: Any
    module: EpisodicModule
    batches: MetaBatches
    valid: FixedBatches | ReadBatches | None
    outer: Outer
    device: torch.device
    n_way: int
    state: Callable[[Params], MetaState]

    def plan(self) -> Plan:
        """Look at how much memory it takes.

        Returns
        -------
        Plan
            Nothing is drawn or tried before it is asked.
        """
        net_params = self.outer.net_params or {}
        optimizer = partial(net_params.get("optimizer", self.outer.optimizer), lr=self.est.meta_lr)
        parts = self.module, self.batches, self.valid, optimizer
        return Plan(self.est, *parts, self.device, self.n_way)


def prepared(
    est: Any,
    tasks: Any,
    y: Any,
    groups: Any,
    validation_tasks: Any,
    opened: ExitStack,
    seed: int,
    checkpoint: Checkpoint | None,
) -> Run:
    """Do all that comes before the first iteration.

    Parameters
    ----------
    est : BaseMetaLearner
        Whose parameters say how.
    tasks, y, groups, validation_tasks
        As given to `meta_fit`.
    opened : ExitStack
        Takes what has to be closed in the end.
    seed : int
        Of a new run.
    checkpoint : Checkpoint or None
        Of a run that goes on.

    Returns
    -------
    Run
        Ready to begin.
    """
    rng = np.random.RandomState(checkpoint.seed if checkpoint else seed)
    known = known_tasks(tasks, y, groups, est.target_type, rng, opened)
    first = first_of(known)
    device = resolve_device(est.device)
    carried = _carried(est, first)
    rows, labels = Rows(est.support_sizes(), est.n_query), est.target_type == "class"
    found = _surveyed(est, tasks, known, carried, rows)
    scaling, limits = _scaling(est, found, carried, first)
    dtype, classes = found.dtype, found.classes
    check_dtype(device, dtype)
    at_packing = None if est.scaling is None else scaling
    packing = Packing(rows, at_packing, dtype, device, labels, classes)
    source, n_outputs = source_of(tasks, known, packing, est.target_type)
    n_outputs = max(n_outputs, found.n_way) if classes is None else len(classes)
    n_tasks = _meta_batch_size(est, len(known) if is_list(tasks) else None)
    seeds = rng.randint(np.iinfo(np.int32).max, size=5)
    f = est.make_backbone(first.row_shape, int(seeds[0]))
    theta = _start(est, carried, f, n_outputs, int(seeds[1]), device, dtype)
    at_most = len(theta[BIAS]) if est.has_fixed_n_way() else None
    if at_most is not None and is_pool(tasks):
        check_n_way(n_outputs, at_most)
    for_valid = replace(packing, classes=classes if est.predicts_shared_labels else None)
    held_out = (validation_tasks, y, groups)
    valid = validation_batches(
        est, *held_out, first, for_valid, int(seeds[2]), n_tasks, f, at_most, opened
    )
    per_epoch = min(est.iters_per_epoch, est.max_meta_iter)
    batches = MetaBatches(
        source, n_tasks, per_epoch, est.max_meta_iter, int(seeds[3]), f.transductive
    )
    outer = Outer(
        optimizer=est.default_optimizer,
        meta_lr=est.meta_lr,
        meta_lr_schedule=est.meta_lr_schedule,
        max_grad_norm=est.max_grad_norm,
        n_epochs=est.n_epochs,
        n_iter=est.max_meta_iter,
        early_stopping=est.early_stopping,
        patience=est.patience,
        callbacks=est.callbacks,
        net_params=est.net_params,
        verbose=est.verbose,
        name=type(est).__name__,
        seed=int(seeds[4]),
        checkpoint=checkpoint,
    )
    by_task = est.scaling == "task"
    scale_tasks = (by_task, by_task and not labels)
    compiled = CompiledGradient(padding=not f.transductive) if est.compile else None
    network = HalfNetwork(f) if est.precision == "bf16" else f
    module = EpisodicModule(
        est.make_algorithm(), network, theta, scale_tasks, batches.progress, compiled=compiled
    )

    def state(theta: Params) -> MetaState:
        return MetaState(
            theta=to_numpy(theta),
            scaling=scaling,
            row_shape=first.row_shape,
            target_shape=first.y.shape[1:],
            feature_names=first.feature_names_in,
            classes=classes,
            structural=est.fingerprints("structural"),
            training=est.fingerprints("training"),
            versions=dict(VERSIONS),
            by_task=by_task,
            limits=limits,
        )

    n_way = n_outputs if labels else 1
    return Run(est, module, batches, valid, outer, device, n_way, state)


def _surveyed(
    est: Any,
    tasks: Any,
    known: tuple[Task, ...] | TaskReader,
    carried: MetaState | None,
    rows: Rows,
) -> Survey:
    """Go through all tasks; a prior that is carried on keeps its labels."""
    labels, by_position = est.target_type == "class", est.has_fixed_n_way()
    told = getattr(tasks, "classes_", None) if carried is None else carried.classes
    in_memory = not isinstance(known, TaskReader)  # others are not read for a warning alone
    found = survey(
        known,
        rows,
        labels=labels,
        moments=in_memory or (est.scaling is not None and not _keeps_scaling(est, carried)),
        classes=est.shared_labels and told is None,
        ways=labels and by_position,
        at_most=len(carried.theta[BIAS]) if carried is not None and by_position else None,
    )
    if est.shared_labels and told is not None:
        found = replace(found, classes=np.unique(told))
    return found


def _keeps_scaling(est: Any, carried: MetaState | None) -> bool:
    """Carried weights go with the scale that they were learned on."""
    return carried is not None and est.scaling == carried.training["scaling"]


def _scaling(
    est: Any, found: Survey, carried: MetaState | None, first: Task
) -> tuple[Scaling, Limits | None]:
    """Choose how rows are scaled, and say how far they went in those units."""
    limits = None
    if carried is not None and _keeps_scaling(est, carried):
        scaling, limits = carried.scaling, carried.limits
    elif est.scaling is None:
        scaling = _identity(first, est.target_type == "class")
    else:
        assert found.moments is not None
        scaling = SCALINGS[est.scaling](*found.moments)
    if est.scaling == "task" or found.moments is None:
        return scaling, limits
    own = limits_of(scaling, *found.moments)
    return scaling, own if limits is None else limits.join(own)


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
    state: MetaState | None = est.meta_state
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
    check_task_names(task, 0, state.feature_names)
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
    theta = draw_theta(est.make_algorithm(), f, n_outputs, seed)
    if not theta:
        raise ValueError(
            f"{type(est).__name__} has no meta-parameters to learn: backbone={est.backbone!r} with "
            f"hidden_layer_sizes={est.hidden_layer_sizes!r} has no weights, nor has the head."
        )
    return {k: p.to(device, torch_dtype) for k, p in theta.items()}
