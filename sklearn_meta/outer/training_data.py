"""Scale and pack the tasks of meta-training, and collect their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_meta._devices import check_dtype
from sklearn_meta.outer.class_weights import ClassWeights, class_weights_of_prior
from sklearn_meta.outer.episodes import EpisodeSize, EpisodeSource, Packer
from sklearn_meta.outer.labels import LabelPlan, LabelSpace
from sklearn_meta.outer.scaling import Limits, Scaling
from sklearn_meta.outer.state import MetaState
from sklearn_meta.outer.training_tasks import TrainingTasks
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.tables import dense, dtype_of_rows
from sklearn_meta.tasks.validate import SkippedTask

__all__ = ["TrainingData", "scale_and_pack"]


@dataclass(frozen=True)
class TrainingData:
    """Tasks that are packed, and what they have in common."""

    first: Task  # all others have rows like it
    source: EpisodeSource
    packer: Packer
    n_outputs: int  # of a regression, else the most classes of a task, or those that tasks share
    scaling: Scaling
    by_task: bool  # each task is scaled by its own support
    limits: Limits | None
    class_weights: ClassWeights | None
    class_shares: NDArray[np.float64] | None  # under these weights, where tasks share their labels
    validation_packer: Packer  # of tasks that may have labels of their own
    skipped: list[SkippedTask]

    @property
    def labels(self) -> LabelSpace:
        """The labels of the tasks."""
        return self.packer.label_space

    def identity(self) -> dict[str, Any]:
        """Return what ranks that train together must have in common."""
        first, statistics = self.first, (*self.scaling, *(self.limits or ()))
        rows = joblib.hash((dense(first.X[:8]), first.y[:8], self.labels.classes))
        return {
            **self.source.identity("tasks"),
            "the first task": rows,
            "the mean or the scale of tasks": np.concatenate([np.ravel(v) for v in statistics]),
        }

    @property
    def n_way(self) -> int:
        """Classes of a task, as far as they are known before tasks are drawn; 1 for targets."""
        return self.n_outputs if self.packer.target_type == "class" else 1


def scale_and_pack(
    tasks: TrainingTasks,
    size: EpisodeSize,
    plan: LabelPlan,
    scaling_name: str | None,
    class_weight: str | Mapping[Any, float] | None,
    prior: MetaState | None,  # that a warm start continues
    device: torch.device,
) -> TrainingData:
    """Go through all tasks to choose their scaling and collect their labels, and pack their rows.

    A warm start keeps its scaling, unless another one is chosen now.
    """
    if prior is not None and scaling_name != prior.training["scaling"]:
        prior = None
    scales = scaling_name is not None and prior is None
    statistics, counts = tasks.statistics(size, plan, scales=scales)
    dtype = dtype_of_rows(statistics.dtypes)
    check_dtype(device, dtype)

    labels, shares = plan.with_counts(counts), None
    if labels.is_shared:
        shares = counts.shares(labels.shared_classes)
        size = size if tasks.draws_classes else size.of_tasks(labels.n_shared)
    weights = class_weights_of_prior(class_weight, labels, shares)
    if shares is not None and weights is not None:
        shares = weights.of_shares(shares)

    by_task = scaling_name == "task"
    scaling = statistics.scaling(scaling_name) if prior is None else prior.scaling
    limits = None
    if not by_task:
        limits = statistics.limits(scaling, None if prior is None else prior.limits)

    at_packing = None if scaling_name is None else scaling
    packer = Packer(size, tasks.target_type, at_packing, dtype, device, labels)
    source, n_way = tasks.episodes(packer)
    n_outputs = labels.n_shared or max(n_way, counts.n_way)
    if tasks.target_type == "real":
        n_outputs = tasks.first.y[:1].size
    labels.check_n_way(n_outputs)
    validation_packer = packer
    if not labels.is_shared:
        max_n_way = labels.max_n_way or n_outputs if plan.has_fixed_n_way else None
        validation_packer = replace(packer, label_space=LabelSpace(None, max_n_way))
    return TrainingData(
        first=tasks.first,
        source=source,
        packer=packer,
        n_outputs=n_outputs,
        scaling=scaling,
        by_task=by_task,
        limits=limits,
        class_weights=weights,
        class_shares=shares,
        validation_packer=validation_packer,
        skipped=tasks.skipped,
    )
