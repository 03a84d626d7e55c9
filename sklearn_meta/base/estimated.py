"""`estimate_memory`: what a `meta_fit` would need, before it is begun."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from sklearn.base import clone

from sklearn_meta.outer.memory import free_bytes
from sklearn_meta.outer.memory_estimate import MemoryEstimate
from sklearn_meta.outer.run import prepared

__all__ = ["Estimated"]


class Estimated:
    """What a meta-learner tells of its own needs."""

    def estimate_memory(
        self, tasks: Any, y: Any = None, groups: Any = None, *, validation_tasks: Any = None
    ) -> MemoryEstimate:
        """Estimate the memory that `meta_fit` would need, by a trial on one and two of the tasks.

        Parameters
        ----------
        tasks : sequence of tasks, TaskDistribution, or table of shape (n_rows, ...)
            Tasks to meta-train on, as for `meta_fit`.
        y : array-like of shape (n_rows,) or str, default=None
            Targets of a table, or the name of its target column.
        groups : array-like of shape (n_rows,) or str, default=None
            The task of each row of a table, or the name of that column.
        validation_tasks : sequence of tasks or TaskDistribution, default=None
            Validation tasks, as for `meta_fit`.

        Returns
        -------
        estimate : MemoryEstimate
            Bytes in all, of rows, of theta and its optimiser and of a chunk of a meta-batch, and
            how many tasks the chunk has; it prints as a sentence. Python, torch and the tasks that
            you hold are not in it.

        Raises
        ------
        TaskError
            If a task cannot be used.
        ValueError
            If a parameter is out of range.

        Notes
        -----
        The peak of one and of two tasks is measured, with two and three inner steps where there
        are more, and extended by straight lines. Nothing is learned: this estimator stays as it is.

        Examples
        --------
        >>> from sklearn_meta import MAMLRegressor
        >>> from sklearn_meta.datasets import make_sinusoid_tasks
        >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
        >>> estimate = MAMLRegressor(hidden_layer_sizes=16).estimate_memory(tasks)
        >>> estimate.total == estimate.rows + estimate.training + estimate.chunk
        True
        """
        twin: Any = clone(self)
        twin._check_params()
        with torch.inference_mode(False), torch.enable_grad(), ExitStack() as opened:
            run = prepared(twin, tasks, y, groups, validation_tasks, None, opened, 0, None)
            return run.plan().estimate(free_bytes(run.device))
