"""Pipelines that meta-train: transformers fitted on each task, or once on all tasks together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_meta._archive import loading, save_object, saving
from sklearn_meta._compat import check_steps
from sklearn_meta.exceptions import TaskError
from sklearn_meta.pipeline.output_columns import (
    OutputColumns,
    check_output_columns,
    output_columns,
)
from sklearn_meta.pipeline.raw_tasks import (
    RawTask,
    as_array,
    check_columns,
    columns_of,
    raw_tasks,
    stack_rows,
    transformed_alone,
)
from sklearn_meta.pipeline.told import check_told, told
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.columns import check_feature_names
from sklearn_meta.tasks.convert import validation_table
from sklearn_meta.tasks.frames import feature_names, rows_of
from sklearn_meta.tasks.validate import label
from sklearn_meta.tasks.values import as_targets

__all__ = ["MetaPipeline"]

SCOPES = ("task", "pooled")


class MetaPipeline(Pipeline):
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
        If a task cannot be used, or a transformer makes other columns of it than of the others.
    ValueError
        From `fit`, if a transformer that was fitted on all tasks was changed since, or one makes
        other columns of the support than of the tasks of `meta_fit`.

    See Also
    --------
    make_meta_pipeline : Makes a `MetaPipeline` without naming its steps.
    sklearn.pipeline.Pipeline : Chains estimators that learn from one table.

    Notes
    -----
    Transformers that look at labels encode the rows that they are fitted on as their
    `fit_transform` does, :class:`~sklearn.preprocessing.TargetEncoder` by folds of these rows.
    In meta-training a task without a fixed support has its transformers fitted on all its rows,
    whatever support an episode draws from it.

    With ``"task"`` the columns of all tasks must mean the same: they are compared by
    `get_feature_names_out` where a transformer has it, else by their number. Names do not tell
    everything: the codes of an ordinal encoder and the axes of PCA may differ from task to task.

    As a plain :class:`~sklearn.pipeline.Pipeline` keeps
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
    _told: Mapping[str, Mapping[str, str]] | None = None  # their parameters then
    _scope: str | None = None  # that of meta_fit
    _columns: tuple[str, ...] | None = None  # those of meta_fit, where they had names
    _output: OutputColumns | None = None  # that transformers of each task must make

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
        validation_tasks : sequence of tasks or table, default=None
            For the meta-learner; the transformers are not fitted on them, unless each on its own.

        Returns
        -------
        self : object
            Meta-fitted, and not yet adapted.
        """
        learner, raw, output = self._learner(), raw_tasks(tasks, y, groups), None
        columns = columns_of(raw)
        pooled, ready = self._pooled_on(raw) if self.transform_scope == "pooled" else (None, None)
        if ready is None:
            ready, output = self._transformed_alone(raw, columns, None, "of task 0")
        if validation_tasks is not None:
            table = validation_table(validation_tasks, y, groups)
            held_out = raw_tasks(*(table or (validation_tasks,)))
            check_columns(held_out[0].X, columns, "In validation_tasks: X", "the tasks")
            if pooled is not None:
                validation_tasks = _transformed(held_out, pooled)
            else:
                validation_tasks, _ = self._transformed_alone(
                    held_out, columns, output, "of the tasks", "In validation_tasks: "
                )
        learner.meta_fit(ready, validation_tasks=validation_tasks)
        self._remember(pooled, columns, output)
        return self

    def fit_transformers(self, tasks: Any, y: Any = None, groups: Any = None) -> MetaPipeline:
        """Fit the transformers as `meta_fit` does, and leave the last step without a prior.

        `fit` then trains the last step from scratch on each support, on rows that are transformed
        as those of a meta-trained pipeline: a baseline for it.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            As `meta_fit` takes them.
        y, groups : array-like of shape (n_rows,), str or None, default=None
            Targets and tasks of the rows of a table, or the names of these columns.

        Returns
        -------
        self : object
            Not meta-fitted, and not yet adapted.
        """
        learner, raw = self._learner(), raw_tasks(tasks, y, groups)
        pooled = self._pooled_on(raw)[0] if self.transform_scope == "pooled" else None
        learner.reset_meta()
        self._remember(pooled, columns_of(raw), None)
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
        if y is not None:  # before a transformer looks at it
            y = as_targets(y, "y", "class" if is_classifier(self._learner()) else "real")
        check_feature_names(feature_names(X), self._columns)
        if self._output is not None:
            with self._unchanged_on_error():
                try:
                    super().fit(X, y, **params)
                except TaskError:  # of the rows or the labels themselves
                    raise
                except ValueError as error:  # columns that the last step does not know, perhaps
                    self._check_output(X, error)
                    raise
                self._check_output(X, None)
            return self
        if self._pooled is None:
            return super().fit(X, y, **params)
        last = self.steps[-1]
        try:  # frozen, the transformers stay as all tasks have fitted them
            kept = {name: FrozenEstimator(t) for name, t in self._pooled if hasattr(t, "fit")}
            self.steps = [*((name, kept.get(name, t)) for name, t in self._pooled), last]
            return super().fit(X, y, **params)
        finally:
            self.steps = [*self._pooled, self.steps[-1]]

    def predict_tasks(
        self, tasks: Any, y: Any = None, groups: Any = None, *, error_score: Any = np.nan
    ) -> list[NDArray[Any]]:
        """Adapt to the support of each task and predict its query, in one stacked pass.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support.
        y, groups : None
            Tables have no fixed support.
        error_score : "raise" or float, default=np.nan
            As in the `predict_tasks` of the meta-learner.

        Returns
        -------
        y : list of ndarray of shape (n_query,) or (n_query, n_outputs)
            In the order of the tasks. Where adapting diverged, NaN for targets, and None for
            labels.
        """
        learner, ready = self._learner_and_tasks(tasks, y, groups)
        predictions: list[NDArray[Any]] = learner.predict_tasks(ready, error_score=error_score)
        return predictions

    def score_tasks(
        self, tasks: Any, y: Any = None, groups: Any = None, *, error_score: Any = np.nan
    ) -> NDArray[np.float64]:
        """Accuracy (R^2 of a regressor) on the query of each task, after adapting to its support.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support.
        y, groups : None
            Tables have no fixed support.
        error_score : "raise" or float, default=np.nan
            The score of a task on which adapting diverges; "raise" makes it an error.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Of each task.
        """
        learner, ready = self._learner_and_tasks(tasks, y, groups)
        scores: NDArray[np.float64] = learner.score_tasks(ready, error_score=error_score)
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
        self._pooled, self._told, self._scope = None, {}, None
        self._columns = self._output = None
        return self

    @property
    def theta_(self) -> Mapping[str, NDArray[Any]]:
        """What the meta-learner has learned; raises without a `meta_fit`."""
        last: Any = self.steps[-1][1] if self.steps else None
        theta: Mapping[str, NDArray[Any]] = last.theta_
        return theta

    def __getitem__(self, ind: Any) -> Any:
        """Return a step by its position or name, or a pipeline of a slice of the steps.

        The steps are shared, as in :class:`sklearn.pipeline.Pipeline`. A slice with the last step
        keeps the scope of the transformers and what was learned; one without it is a plain
        pipeline of transformers.
        """
        if not isinstance(ind, slice) or ind.step not in (1, None):
            return super().__getitem__(ind)
        first, stop, _ = ind.indices(len(self.steps))
        if stop < len(self.steps) or first >= stop:
            return Pipeline(self.steps[ind], memory=self.memory, verbose=self.verbose)
        part = super().__getitem__(ind)
        part.transform_scope, part._scope = self.transform_scope, self._scope
        if self._pooled is not None and self._told is not None:
            part._pooled = self._pooled[first:]
            part._told = {name: self._told[name] for name, _ in part._pooled}
        if first == 0:
            part._columns, part._output = self._columns, self._output
        return part

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the pipeline to a file, to be read by :func:`sklearn_meta.load`.

        The file holds the meta-learner as that of its own `save` does, and the transformers.
        `load` asks for trust in types of transformers that skops does not know.

        Parameters
        ----------
        path : str or os.PathLike
            The file; it is replaced if it exists.

        Raises
        ------
        SaveError
            If a step cannot be saved, or a transformer that was fitted on all tasks was changed.
        """
        save_object(self, path)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if self._output is not None:
            state["_output"] = tuple(self._output)
        session = saving()
        if session is None:
            return state
        self._check_unchanged()
        return session.without_process(type(self), state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._output is not None:
            self._output = OutputColumns(*self._output)
        if loading() is not None and self.memory is not None:
            raise ValueError("it sets 'memory' of a MetaPipeline")
        if loading() is not None or self._told is None:
            # hashes of the same parameters may differ in another process
            self._told = {name: told(t) for name, t in self._pooled or ()}

    def __sklearn_clone__(self) -> MetaPipeline:
        twin = super().__sklearn_clone__()
        twin._pooled, twin._told = self._pooled, self._told
        twin._scope, twin._columns, twin._output = self._scope, self._columns, self._output
        return twin

    # ---- the steps -----------------------------------------------------------------------------

    def _learner(self) -> Any:
        check_steps(self)
        if self.transform_scope not in SCOPES:
            raise ValueError(
                f"The 'transform_scope' parameter of MetaPipeline must be one of {SCOPES}. "
                f"Got {self.transform_scope!r} instead."
            )
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

    def _learner_and_tasks(
        self, tasks: Any, y: Any = None, groups: Any = None
    ) -> tuple[Any, list[Task]]:
        """Return the meta-learner, and tasks as it takes them."""
        self._check_unchanged()
        learner, raw = self._learner(), raw_tasks(tasks, y, groups)
        try:
            check_feature_names(feature_names(raw[0].X), self._columns)
        except ValueError as error:
            raise TaskError(f"{label(raw[0], 0)}: {error}") from None
        if self._pooled is not None:
            return learner, _transformed(raw, self._pooled)
        if self._output is None:  # tasks that have nothing in common
            transformed = (transformed_alone(self._new(), task) for task in raw)
            return learner, [_task(raw[i], Z, i) for i, Z in enumerate(transformed)]
        of = "of the tasks of meta_fit"
        return learner, self._transformed_alone(raw, self._columns, self._output, of)[0]

    def _pooled_on(self, raw: Sequence[RawTask]) -> tuple[tuple[tuple[str, Any], ...], list[Task]]:
        """Fit new transformers to the rows of all tasks, and apply them."""
        transformers, labels = self._new(), [t.y for t in raw]
        Z = transformers.fit_transform(stack_rows([t.X for t in raw]), np.concatenate(labels))
        parts = np.split(as_array(Z), np.cumsum([len(part) for part in labels])[:-1])
        ready = [_task(t, part, i) for i, (t, part) in enumerate(zip(raw, parts, strict=True))]
        return tuple(transformers.steps), ready

    def _transformed_alone(
        self,
        raw: Sequence[RawTask],
        columns: tuple[str, ...] | None,
        expected: OutputColumns | None,
        of: str,
        where: str = "",
    ) -> tuple[list[Task], OutputColumns | None]:
        """Apply new transformers to each task; all must make the same columns."""
        ready = []
        for i, task in enumerate(raw):
            transformers = self._new()
            Z = transformed_alone(transformers, task)
            found = output_columns(transformers.steps, task.X, Z, columns)
            expected = found if expected is None else expected
            try:
                check_output_columns(found, expected, of)
            except ValueError as error:
                raise TaskError(f"{where}{label(task, i)}: {error}") from None
            ready.append(_task(task, Z, i))
        return ready, expected

    def _check_output(self, X: Any, error: Exception | None) -> None:
        """Hold the columns made of a support against those of meta-training."""
        assert self._output is not None
        row = None
        if error is not None:  # a step that does not name its columns may make more of them
            try:
                row = self[:-1].transform(rows_of(X, np.arange(1)))
            except Exception:  # it is this step, then, that has raised the error
                row = None
        found = output_columns(self.steps[:-1], X, row, self._columns)
        try:
            check_output_columns(found, self._output, "of the tasks of meta_fit")
        except ValueError as reason:
            raise reason from error

    def _remember(
        self,
        pooled: tuple[tuple[str, Any], ...] | None,
        columns: tuple[str, ...] | None,
        output: OutputColumns | None,
    ) -> None:
        self._pooled, self._scope, self._columns = pooled, self.transform_scope, columns
        self._output, self._told = output, {name: told(t) for name, t in pooled or ()}
        self.steps = [*(pooled or self.steps[:-1]), self.steps[-1]]

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        parts = [self, *(part for _, part in self.steps if hasattr(part, "__dict__"))]
        before = [dict(vars(part)) for part in parts]
        try:
            yield
        except BaseException:
            for part, values in zip(parts, before, strict=True):
                vars(part).clear()
                vars(part).update(values)
            raise

    def _check_unchanged(self) -> None:
        if self._scope is not None and self._scope != self.transform_scope:
            raise ValueError(
                f"The 'transform_scope' parameter was changed from {self._scope!r} to "
                f"{self.transform_scope!r} since meta_fit. Call meta_fit again."
            )
        if self._pooled is not None:
            check_told(self._pooled, self.steps[:-1], self._told or {})


def _new(transformer: Any) -> Any:
    return clone(transformer) if hasattr(transformer, "fit") else transformer  # "passthrough", None


def _transformed(raw: Sequence[RawTask], pooled: Sequence[tuple[str, Any]]) -> list[Task]:
    """Apply the transformers that were fitted on all tasks."""
    ready = Pipeline([*pooled] or [("as they are", "passthrough")])
    return [_task(t, ready.transform(t.X), i) for i, t in enumerate(raw)]


def _task(raw: RawTask, Z: Any, i: int) -> Task:
    try:
        return Task(as_array(Z), raw.y, support=raw.support, name=raw.name)
    except TaskError as error:
        raise TaskError(f"Task {i}, transformed: {error}") from None
