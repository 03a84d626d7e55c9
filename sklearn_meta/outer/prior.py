"""From tasks to a meta state: the steps of `meta_fit`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from skorch.history import History

from sklearn_meta.inner.backbone import missing_derivative
from sklearn_meta.outer.checkpoint import open_checkpoint
from sklearn_meta.outer.memory_estimate import out_of_memory
from sklearn_meta.outer.outer import train
from sklearn_meta.outer.precision import fewer_bits
from sklearn_meta.outer.run import prepared
from sklearn_meta.outer.state import MetaState

__all__ = ["learn_prior"]


def learn_prior(
    est: Any,
    tasks: Any,
    y: Any,
    groups: Any,
    validation_tasks: Any,
    opened: ExitStack,
) -> tuple[MetaState, History]:
    """Meta-train, and leave the estimator as it is.

    Parameters
    ----------
    est : BaseMetaLearner
        Whose parameters say how.
    tasks, y, groups, validation_tasks
        As given to `meta_fit`.
    opened : ExitStack
        Takes what has to be closed in the end.

    Returns
    -------
    state : MetaState
        The learned prior.
    history : skorch.history.History
        One row an epoch.

    Raises
    ------
    MemoryError
        If not a single task fits into what is free, or memory runs out later.
    ValueError
        If the backbone lacks a derivative that the algorithm needs.
    """
    seed, data = est.draw_seed(), (tasks, y, groups, validation_tasks)
    checkpoint = open_checkpoint(est, seed, data)
    run = prepared(est, *data, opened, seed, checkpoint)
    run.module.chunk = est.task_chunk_size or run.plan().chunk()
    try:
        with fewer_bits(est.precision):
            theta, history = train(run.module, run.batches, run.valid, run.outer, run.device)
    except (RuntimeError, MemoryError) as error:
        too_much = out_of_memory(est, error)
        if too_much is not None:
            raise too_much from error
        complaint = missing_derivative(run.module.f, run.module.theta(), error)
        if complaint is None:
            raise
        raise ValueError(complaint) from error
    return run.state(theta), history
