"""Pipelines that meta-train: transformers fitted on each task, or once on all tasks together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_meta.core.compat import fit_task, sub_task
from sklearn_meta.exceptions import TaskError
from sklearn_meta.pipeline.raw_tasks import (
    RawTask,
    as_array,
    check_columns,
    columns_of,
    raw_tasks,
    stack_rows,
    transformed_alone,
)
from sklearn_meta.pipeline.saved import SavedPipeline
from sklearn_meta.pipeline.shown import ShownPipeline
from sklearn_meta.pipeline.told import check_told, told
from sklearn_meta.tasks import Task

__all__ = ["MetaPipeline"]

SCOPES = ("task", "pooled")


class MetaPipeline(ShownPipeline, SavedPipeline, Pipeline):
    """A pipeline with `meta_fit`, whose last step is a meta-learner.

    The transformers see of a new task what they saw in meta-training: with ``"task"`` they are
    fitted on the support of each task, as `fit` does (tasks with units of their own); with
    ``"pooled"`` once, on the rows of all tasks of meta-training, and `fit` leaves them as they are
    (principal components, imputers, encoders that should know all categories).

    Parameters
    ----------
    steps : list of (str, estimator)
        Transformers, and a meta-learner as the last.
    transform_scope : {"task", "pooled"}, default="task"
        On what the transformers are fitted. Not to be changed after `meta_fit`.
    transform_input : list of str or None, default=None
        As in :class:`sklearn.pipeline.Pipeline`.
    memory : str, joblib.Memory or None, default=None
        As in :class:`sklearn.pipeline.Pipeline`.
    verbose : bool, default=False
        As in :class:`sklearn.pipeline.Pipeline`.

    Attributes
    ----------
    theta_ : mapping of str to ndarray
        What the meta-learner has learned.

    Raises
    ------
    TypeError
        From `meta_fit`, if the last step has none.
    TaskError
        If a task cannot be used; X of the transformed tasks has columns that differ in number, say.
    ValueError
        From `fit`, if a transformer that was fitted on all tasks was changed since.

    See Also
    --------
    make_meta_pipeline : Makes a `MetaPipeline` without naming its steps.
    sklearn.pipeline.Pipeline : Chains estimators that learn from one table.

    Notes
    -----
    Transformers that look at labels encode the rows that they are fitted on as their
    `fit_transform` does, :class:`~sklearn.preprocessing.TargetEncoder` by folds of these rows.
    In meta-training a task without a fixed support has its transformers fitted on all its rows,
    whatever support an episode draws from it. As a plain :class:`~sklearn.pipeline.Pipeline` keeps
    working for the inner loop alone, so does this: without `meta_fit` it is one.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.pipeline import make_meta_pipeline
    >>> tasks = make_blob_tasks(12, n_shot=2, random_state=0)
    >>> clf = ProtoNetClassifier(hidden_layer_sizes=8, max_meta_iter=10, random_state=0)
    >>> pipe = make_meta_pipeline(StandardScaler(), clf).meta_fit(tasks[:11])
    >>> pipe.fit(tasks[11].X_support, tasks[11].y_support).predict(tasks[11].X_query).shape
    (54,)
    """

    _pooled: tuple[tuple[str, Any], ...] | None = None  # the fitted transformers, by name
    _told: Mapping[str, Mapping[str, str]] = MappingProxyType({})  # their parameters then
    _scope: str | None = None  # that of meta_fit
    _columns: tuple[str, ...] | None = None  # those of meta_fit, where they had names

    def __init__(
        self,
        steps: list[tuple[str, Any]],
        *,
        transform_scope: str = "task",
        transform_input: list[str] | None = None,
        memory: Any = None,
        verbose: bool = False,
    ) -> None:
        self.transform_scope = transform_scope
        self.steps: list[tuple[str, Any]]
        super().__init__(steps, transform_input=transform_input, memory=memory, verbose=verbose)

    def meta_fit(
        self, tasks: Any, y: Any = None, groups: Any = None, *, validation_tasks: Any = None
    ) -> MetaPipeline:
        """Fit the transformers, and meta-train the last step on what they make of the tasks.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            As :func:`~sklearn_meta.tasks.as_tasks` takes them, but X may be whatever the
            transformers take.
        y : array-like of shape (n_rows,) or str, default=None
            Targets of a table, or the name of its target column.
        groups : array-like of shape (n_rows,) or str, default=None
            The task of each row of a table, or the name of that column.
        validation_tasks : sequence of tasks, default=None
            For the meta-learner; the transformers are not fitted on them, unless each on its own.

        Returns
        -------
        self : object
            Meta-fitted, and not yet adapted.
        """
        learner = self._learner()
        if self.transform_scope not in SCOPES:
            raise ValueError(
                f"The 'transform_scope' parameter of MetaPipeline must be one of {SCOPES}. "
                f"Got {self.transform_scope!r} instead."
            )
        raw = raw_tasks(tasks, y, groups)
        pooled = None
        if self.transform_scope == "pooled":
            transformers, labels = self._new(), [t.y for t in raw]
            Z = transformers.fit_transform(stack_rows([t.X for t in raw]), np.concatenate(labels))
            pooled = tuple(transformers.steps)
            parts = np.split(as_array(Z), np.cumsum([len(part) for part in labels])[:-1])
            ready = [_task(t, part, i) for i, (t, part) in enumerate(zip(raw, parts, strict=True))]
        else:
            ready = self._transformed(raw, None)
        columns = columns_of(raw[0].X)
        if validation_tasks is not None:
            held_out = raw_tasks(validation_tasks)
            check_columns(held_out[0].X, columns, "In validation_tasks: X", "the tasks")
            validation_tasks = self._transformed(held_out, pooled)
        with fit_task(self, "meta_fit", 1, tasks, y) as context, sub_task(context, self, learner):
            learner.meta_fit(ready, validation_tasks=validation_tasks)
        self._pooled, self._scope, self._columns = pooled, self.transform_scope, columns
        self._told = {name: told(t) for name, t in pooled or ()}
        self.steps = [*(pooled or self.steps[:-1]), self.steps[-1]]
        return self

    def fit(self, X: Any, y: Any = None, **params: Any) -> MetaPipeline:
        """Adapt to a new task.

        Parameters
        ----------
        X : array-like or DataFrame of n_rows rows
            The support, as the first transformer takes it.
        y : array-like of shape (n_rows,), default=None
            Labels or targets.
        **params : dict
            As in :class:`sklearn.pipeline.Pipeline`.

        Returns
        -------
        self : object
            Ready to predict.
        """
        self._check_unchanged()
        if self._pooled is None:  # else they were fitted to these columns, and check themselves
            check_columns(X, self._columns, "X", "the tasks of meta_fit")
            return super().fit(X, y, **params)
        last = self.steps[-1]
        try:  # frozen, the transformers stay as all tasks have fitted them
            kept = {name: FrozenEstimator(t) for name, t in self._pooled if hasattr(t, "fit")}
            self.steps = [*((name, kept.get(name, t)) for name, t in self._pooled), last]
            return super().fit(X, y, **params)
        finally:
            self.steps = [*self._pooled, self.steps[-1]]

    def predict_tasks(self, tasks: Any, y: Any = None, groups: Any = None) -> list[NDArray[Any]]:
        """Adapt to the support of each task and predict its query, in one stacked pass.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support.
        y, groups : None
            Tables have no fixed support.

        Returns
        -------
        y : list of ndarray of shape (n_query,) or (n_query, n_outputs)
            In the order of the tasks.
        """
        self._check_unchanged()
        predictions: list[NDArray[Any]] = self._learner().predict_tasks(
            self._ready(tasks, y, groups)
        )
        return predictions

    def score_tasks(self, tasks: Any, y: Any = None, groups: Any = None) -> NDArray[np.float64]:
        """Accuracy (R^2 of a regressor) on the query of each task, after adapting to its support.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support.
        y, groups : None
            Tables have no fixed support.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Of each task.
        """
        self._check_unchanged()
        scores: NDArray[np.float64] = self._learner().score_tasks(self._ready(tasks, y, groups))
        return scores

    def reset_meta(self) -> MetaPipeline:
        """Forget the learned prior, and the transformers fitted on all tasks.

        Returns
        -------
        self : object
            As if newly made.
        """
        self._learner().reset_meta()
        self.steps = [*((name, _new(t)) for name, t in self.steps[:-1]), self.steps[-1]]
        self._pooled, self._told, self._scope, self._columns = None, {}, None, None
        return self

    @property
    def theta_(self) -> Mapping[str, NDArray[Any]]:
        """What the meta-learner has learned; raises without a `meta_fit`."""
        theta: Mapping[str, NDArray[Any]] = self._learner().theta_
        return theta

    def __sklearn_clone__(self) -> MetaPipeline:
        twin = super().__sklearn_clone__()
        twin._pooled, twin._told = self._pooled, self._told
        twin._scope, twin._columns = self._scope, self._columns
        return twin

    # ---- the steps -----------------------------------------------------------------------------

    def _learner(self) -> Any:
        name, last = self.steps[-1]
        if not hasattr(last, "meta_fit"):
            raise TypeError(
                f"The last step of a MetaPipeline must have meta_fit; step {name!r} is {last!r}."
            )
        return last

    def _new(self) -> Pipeline:
        """Make transformers that nothing has fitted."""
        steps = [(name, _new(t)) for name, t in self.steps[:-1]]
        return Pipeline(steps or [("as they are", "passthrough")])

    def _ready(self, tasks: Any, y: Any, groups: Any) -> list[Task]:
        raw = raw_tasks(tasks, y, groups)
        if self._pooled is None:
            check_columns(raw[0].X, self._columns, "Task 0: X", "the tasks of meta_fit")
        return self._transformed(raw, self._pooled)

    def _transformed(self, raw: Sequence[RawTask], pooled: Any) -> list[Task]:
        """Apply the transformers that were fitted on all tasks, or new ones to each."""
        if pooled is not None:
            ready = Pipeline(list(pooled) or [("as they are", "passthrough")])
            return [_task(t, ready.transform(t.X), i) for i, t in enumerate(raw)]
        return [_task(t, transformed_alone(self._new(), t), i) for i, t in enumerate(raw)]

    def _check_unchanged(self) -> None:
        if self._scope is not None and self._scope != self.transform_scope:
            raise ValueError(
                f"The 'transform_scope' parameter was changed from {self._scope!r} to "
                f"{self.transform_scope!r} since meta_fit. Call meta_fit again."
            )
        if self._pooled is not None:
            check_told(self._pooled, self.steps[:-1], self._told)


def _new(transformer: Any) -> Any:
    return clone(transformer) if hasattr(transformer, "fit") else transformer  # "passthrough", None


def _task(raw: RawTask, Z: Any, i: int) -> Task:
    try:
        return Task(as_array(Z), raw.y, support=raw.support, name=raw.name)
    except TaskError as error:
        raise TaskError(f"Task {i}, transformed: {error}") from None
