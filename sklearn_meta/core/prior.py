"""From tasks to a meta state: the steps of `meta_fit`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeGuard, TypeVar

import numpy as np
import sklearn
import torch
from skorch.history import History

from sklearn_meta._version import __version__
from sklearn_meta.core.backbone import RowNetwork
from sklearn_meta.core.episodes import (
    EpisodeSource,
    FromDistribution,
    FromPool,
    FromTasks,
    Rows,
    all_once,
)
from sklearn_meta.core.heads import BIAS, check_n_way
from sklearn_meta.core.label_space import label_space
from sklearn_meta.core.module import EpisodicModule, FixedBatches, MetaBatches
from sklearn_meta.core.outer import Outer, train
from sklearn_meta.core.packed import PackedTasks, pack_pool, pack_tasks
from sklearn_meta.core.scaling import Scaling, scaling_of_tasks
from sklearn_meta.core.state import MetaState, to_numpy, to_torch
from sklearn_meta.core.support import check_feature_names, check_fits, check_structure
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import EmpiricalTasks, FewShotTasks, Task, TaskDistribution, as_tasks
from sklearn_meta.tasks.validate import label

__all__ = ["learn_prior"]

D = TypeVar("D", bound=TaskDistribution)
N_LOOK = 64  # tasks drawn from a distribution to learn its shapes and scales


def learn_prior(
    est: Any, tasks: Any, y: Any, groups: Any, validation_tasks: Any
) -> tuple[MetaState, History]:
    """Meta-train, and leave the estimator as it is.

    Parameters
    ----------
    est : BaseMetaLearner
        Whose parameters say how.
    tasks, y, groups, validation_tasks
        As given to `meta_fit`.

    Returns
    -------
    state : MetaState
        The learned prior.
    history : skorch.history.History
        One row an epoch.
    """
    rng = np.random.RandomState(est._seed())
    known = _known_tasks(tasks, y, groups, est._target_type, rng)
    given = not isinstance(tasks, TaskDistribution) or _is(tasks, EmpiricalTasks)
    dtype = np.float32 if all(t.X.dtype == np.float32 for t in known) else np.float64
    device = est._device()
    carried = _carried(est, known[0])
    scaling = None
    if est.scaling == "pooled":  # carried weights go with the scale that they were learned on
        same = carried is not None and carried.training["scaling"] == "pooled"
        scaling = carried.scaling if carried and same else _scaling(known, est)
    rows = Rows(est._n_support(), est.n_query)
    labels = est._target_type == "class"
    classes = _classes(tasks, known, carried) if est._one_label_space else None

    def pack(some: Sequence[Task], classes: Any) -> PackedTasks:
        packed = pack_tasks(some, scaling, dtype, device, labels=labels, classes=classes)
        return _enough_rows(packed, rows, some)

    def pack_sample(some: Any) -> PackedTasks:
        checked = as_tasks(some, target_type=est._target_type)
        _alike(checked[0], known[0], "Task 0 of a sample", "the first tasks")
        try:
            return pack(checked, classes)
        except TaskError as error:
            raise TaskError(f"In a sample of {tasks!r}: {error}") from None

    source: EpisodeSource
    if _is(tasks, FewShotTasks):
        pool = pack_pool(tasks, scaling, dtype, device, classes=classes)
        source = FromPool(pool, tasks)
        n_outputs = tasks.n_way[1]
    else:
        packed = pack(known, classes)
        assert packed.count is not None
        n_outputs = int(packed.count.max()) if labels else known[0].y[:1].size
        source = FromTasks(packed, rows) if given else FromDistribution(tasks, pack_sample, rows)

    n_outputs = n_outputs if classes is None else len(classes)
    n_tasks = _meta_batch_size(est, len(known) if given else None)
    seeds = rng.randint(np.iinfo(np.int32).max, size=4)
    f = est._backbone(known[0].X.shape[1:], int(seeds[0]))
    theta = _start(est, carried, f, n_outputs, int(seeds[1]), device, dtype)
    n_way = len(theta[BIAS]) if est._one_head_a_position() else None
    if n_way is not None and _is(tasks, FewShotTasks):
        check_n_way(n_outputs, n_way)
    elif n_way is not None:
        _check_n_way(known, n_way)
    known_labels = partial(pack, classes=classes if est._knows_labels else None)
    valid = _validation(
        est, validation_tasks, known[0], known_labels, rows, int(seeds[2]), n_tasks, f, n_way
    )
    per_epoch = min(est.iters_per_epoch, est.max_meta_iter)
    batches = MetaBatches(
        source, n_tasks, per_epoch, est.max_meta_iter, int(seeds[3]), f.transductive
    )
    outer = Outer(
        optimizer=est._optimizer,
        meta_lr=est.meta_lr,
        meta_lr_schedule=est.meta_lr_schedule,
        max_grad_norm=est.max_grad_norm,
        n_epochs=-(-est.max_meta_iter // per_epoch),
        n_iter=est.max_meta_iter,
        early_stopping=est.early_stopping,
        patience=est.patience,
        callbacks=est.callbacks,
        net_params=est.net_params,
        verbose=est.verbose,
    )
    by_task = est.scaling == "task"
    scale_tasks = (by_task, by_task and not labels)
    module = EpisodicModule(est._algorithm(), f, theta, scale_tasks, batches.progress)
    theta, history = train(module, batches, valid, outer, device)
    state = MetaState(
        theta=to_numpy(theta),
        scaling=scaling or (None if by_task else _identity(known[0], labels)),
        row_shape=known[0].X.shape[1:],
        target_shape=known[0].y.shape[1:],
        feature_names=known[0].feature_names_in,
        classes=classes,
        structural=est._fingerprints(est._structural),
        training=est._fingerprints(est._without_effect()),
        versions={
            "sklearn_meta": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "sklearn": sklearn.__version__,
        },
    )
    return state, history


def _is(tasks: Any, kind: type[D]) -> TypeGuard[D]:
    """Whether it is of that kind, and does not draw its tasks in a way of its own."""
    return isinstance(tasks, kind) and type(tasks).sample is kind.sample


def _classes(tasks: Any, known: Sequence[Task], carried: MetaState | None) -> Any:
    """All labels there are, sorted; a warm start keeps to those that it knows."""
    if carried is not None:
        return carried.classes
    known_to_it = getattr(tasks, "classes_", None)  # a distribution may say what it draws
    return label_space(known) if known_to_it is None else np.unique(known_to_it)


def _alike(task: Task, like: Task, label: str, others: str) -> None:
    for what, got, expected in (
        ("X with rows of shape", task.X.shape[1:], like.X.shape[1:]),
        ("y with rows of shape", task.y.shape[1:], like.y.shape[1:]),
        ("the feature names", task.feature_names_in, like.feature_names_in),
    ):
        if got != expected:
            raise TaskError(
                f"{label} has {what} {got}, {others} have {expected} "
                f"(X of shape {task.X.shape}, y of shape {task.y.shape})."
            )


def _known_tasks(
    tasks: Any, y: Any, groups: Any, target_type: str, rng: np.random.RandomState
) -> tuple[Task, ...]:
    """All the tasks there are, or some to learn shapes and scales from; checked here, once."""
    if not isinstance(tasks, TaskDistribution):
        return as_tasks(tasks, y, groups, target_type=target_type)
    if y is not None or groups is not None:
        raise TaskError("y= and groups= go with a table of rows, not with a TaskDistribution.")
    if isinstance(tasks, FewShotTasks) and target_type == "real":
        raise TaskError("FewShotTasks draws classification tasks; a regressor needs real targets.")
    if _is(tasks, FewShotTasks):
        pool = Task(tasks.X, tasks.rows, name="the pool")  # any labels: only X is looked at
        pool.feature_names_in = tasks.feature_names_in
        return (pool,)  # FewShotTasks has checked it
    known = tasks.tasks if _is(tasks, EmpiricalTasks) else tasks.sample(N_LOOK, rng)
    return as_tasks(known, target_type=target_type)


def _scaling(tasks: Sequence[Task], est: Any) -> Scaling:
    y = [task.y.reshape(len(task), -1) for task in tasks]
    return scaling_of_tasks([task.X for task in tasks], y if est._target_type == "real" else None)


def _identity(task: Task, labels: bool) -> Scaling:
    width = task.X.shape[1] if task.X.ndim == 2 else 1
    outputs = 1 if labels else task.y[:1].size
    return Scaling(np.zeros(width), np.ones(width), np.zeros(outputs), np.ones(outputs))


def _enough_rows(packed: PackedTasks, rows: Rows, tasks: Sequence[Task]) -> PackedTasks:
    assert packed.first is not None
    assert packed.count is not None
    least = rows.n_support[0] + 1
    labels = packed.y is None
    scarce = np.flatnonzero((packed.fixed == 0) & (packed.size < least))
    alone = np.flatnonzero(packed.count < 2) if labels else np.empty(0, int)
    if len(scarce):
        i = int(np.searchsorted(packed.first, scarce[0], side="right")) - 1
        task, size = tasks[i], packed.size[scarce[0]]
        what = "it"
        if labels:
            what = f"class {np.unique(task.y).tolist()[scarce[0] - packed.first[i]]!r}"
        name = "n_shot" if labels else "n_support"
        raise TaskError(
            f"{label(task, i)}: {what} has {size} row(s), but {name}={rows.n_support[0]} needs "
            f"at least {least}: the support and one row of query (X of shape {task.X.shape})."
        )
    if len(alone):
        i = int(alone[0])
        raise TaskError(
            f"{label(tasks[i], i)}: y of shape {tasks[i].y.shape} holds a single class; "
            "there is nothing to learn to tell apart."
        )
    return packed


def _check_n_way(tasks: Sequence[Task], learned: int) -> None:
    for i, task in enumerate(tasks):
        try:
            check_n_way(len(np.unique(task.y)), learned)
        except ValueError as error:
            raise TaskError(f"{label(task, i)}: {error}") from None


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
    if (task.X.shape[1:], task.y[:1].size) != (state.row_shape, state.n_targets):
        raise TaskError(
            f"{label(task, 0)}: X of shape {task.X.shape} and y of shape {task.y.shape} do not go "
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
    pack: Any,
    rows: Rows,
    seed: int,
    n_tasks: int,
    f: RowNetwork,
    n_way: int | None,
) -> FixedBatches | None:
    if tasks is None:
        if est.early_stopping:
            raise ValueError(
                f"early_stopping=True needs validation tasks: {type(est).__name__}.meta_fit(tasks, "
                "validation_tasks=...)."
            )
        return None
    if _is(tasks, EmpiricalTasks):
        tasks = tasks.tasks
    elif isinstance(tasks, TaskDistribution):
        tasks = tasks.sample(10 * n_tasks, seed)
    try:
        tasks = as_tasks(tasks, target_type=est._target_type)
        if n_way is not None:
            _check_n_way(tasks, n_way)
        packed = pack(tasks)
    except TaskError as error:
        raise TaskError(f"In validation_tasks: {error}") from None
    _alike(tasks[0], like, "Task 0 of validation_tasks", "the tasks")
    return FixedBatches(list(all_once(packed, rows, n_tasks, seed)), f.transductive)
