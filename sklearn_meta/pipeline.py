"""Pipelines that meta-train: transformers fitted on each task, or once on all tasks together."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from sklearn_meta._archive import loading, save_object, saving
from sklearn_meta._compat import check_steps
from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import check_parameter, fingerprint, option
from sklearn_meta.tasks import Task, TaskDistribution
from sklearn_meta.tasks.tables import dense, feature_names, rows_of, stack_rows
from sklearn_meta.tasks.task import Names
from sklearn_meta.tasks.validate import (
    SkippedTask,
    UsableTasks,
    check_feature_names,
    check_same_rows,
    check_task_names,
    collect_tasks,
    label,
    usable_tasks,
    validation_table,
)
from sklearn_meta.tasks.values import as_targets

__all__ = ["MetaPipeline", "make_meta_pipeline"]

Steps = Sequence[tuple[str, Any]]
N_LISTED = 5  # columns that an error lists
# that only centre and scale, or learn no more than the number of columns
SCALERS = (MaxAbsScaler, MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler)
REMEDY = (
    "With transform_scope='task' transformers are fitted to the support of each task alone. Use "
    "transform_scope='pooled', which fits them once to the rows of all tasks, or fix their columns "
    "by parameters, such as the `categories` of an encoder."
)


@dataclass(frozen=True)
class TransformerState:
    """What `meta_fit` has learned of the transformers of a pipeline."""

    transform_scope: str
    scopes: Mapping[str, str] = field(default_factory=dict)  # "task" or "pooled", by step
    columns: Names = None  # of X, where they have names
    pooled: Mapping[str, Any] = field(default_factory=dict)  # fitted on all tasks, by step
    param_hashes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of `pooled`
    output_names: Mapping[str, Names] = field(default_factory=dict)  # made of each task, by step
    n_outputs: int | None = None  # the number of columns made of each task; None: any
    row_shape: tuple[int, ...] | None = None  # of transformed rows
    # transformers of scope "task" fitted on all tasks, by step, for supports without rows
    without_rows: Mapping[str, Any] = field(default_factory=dict)


def _last_has(method: str) -> Callable[[MetaPipeline], bool]:
    """Return a check of the last step, which raises the error of a method that it lacks."""

    def check(pipeline: MetaPipeline) -> bool:
        getattr(pipeline.steps[-1][1], method)
        return True

    return check


class MetaPipeline(Pipeline):
    """A pipeline with `meta_fit`, whose last step is a meta-learner.

    The transformers treat a new task in the same way as the tasks of meta-training. Those of scope
    "task" are fitted on the support of each task, for tasks with different units. Those of scope
    "pooled" are fitted once on the rows of all tasks of meta-training, and `fit` does not change
    them: a small support lacks some of the categories that an encoder needs, or of the rows from
    which an imputer or principal components are estimated.

    Parameters
    ----------
    steps : list of (str, estimator)
        Transformers, and a meta-learner as the last.
    transform_scope : {"auto", "task", "pooled"}, default="auto"
        Whether transformers are fitted on each task or on all tasks together. With "auto", those
        that only centre and scale (or learn nothing) are fitted on each task, and all others on all
        tasks together; a :class:`~sklearn.compose.ColumnTransformer`,
        :class:`~sklearn.pipeline.FeatureUnion` or inner pipeline is pooled if one of its parts is.
        Not to be changed after `meta_fit`.
    transform_input : list of str or None, default=None
        As in :class:`sklearn.pipeline.Pipeline`.
    memory : str, joblib.Memory or None, default=None
        As in :class:`sklearn.pipeline.Pipeline`.
    verbose : bool, default=False
        As in :class:`sklearn.pipeline.Pipeline`.

    Attributes
    ----------
    theta_ : mapping of str to ndarray
        The learned meta-parameters of the last step.
    transform_scopes : dict of str to str
        The scope of each transformer, "task" or "pooled".

    Raises
    ------
    TypeError
        From `meta_fit`, if the last step is not a meta-learner.
    TaskError
        If a task is invalid, or a transformer makes other columns of it than of the others.
    ValueError
        From `fit`, if a transformer that was fitted on all tasks has changed since, or makes other
        columns of the support than of the tasks of `meta_fit`.

    See Also
    --------
    make_meta_pipeline : Makes a `MetaPipeline` without naming its steps.
    sklearn.pipeline.Pipeline : Chains estimators that learn from one table.

    Notes
    -----
    Transformers that use labels encode the rows that they are fitted on as their `fit_transform`
    does, :class:`~sklearn.preprocessing.TargetEncoder` by folds of these rows. In meta-training,
    transformers of a task without a fixed support are fitted on all its rows, whatever support an
    episode draws from it.

    With scope "task" the columns of all tasks must mean the same. They are compared by
    `get_feature_names_out` where a transformer has it, else by their number. Names do not reveal
    everything: the codes of an ordinal encoder and the axes of PCA may differ from task to task.

    Without `meta_fit` this is a plain :class:`~sklearn.pipeline.Pipeline`.

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

    transformer_state: TransformerState | None = None  # what meta_fit has learned

    def __init__(
        self,
        steps: list[tuple[str, Any]],
        *,
        transform_scope: str = "auto",
        transform_input: list[str] | None = None,
        memory: Any = None,
        verbose: bool = False,
    ) -> None:
        self.transform_scope = transform_scope
        self.steps: list[tuple[str, Any]]
        super().__init__(steps, transform_input=transform_input, memory=memory, verbose=verbose)

    def meta_fit(
        self,
        tasks: Any,
        y: Any = None,
        groups: Any = None,
        *,
        sample_weight: Any = None,
        validation_tasks: Any = None,
    ) -> MetaPipeline:
        """Fit the transformers, and meta-train the last step on the transformed tasks.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts, but X may contain
            whatever the transformers accept. If `unusable` of the last step is "skip", tasks that
            cannot be collected or transformed are skipped, too.
        y : array-like of shape (n_rows,) or str, default=None
            Targets of a table, or the name of its target column.
        groups : array-like of shape (n_rows,) or str, default=None
            The task of each row of a table, or the name of that column.
        sample_weight : array-like of shape (n_rows,) or str, default=None
            The weight of each row of a table, or the name of that column. The last step uses it,
            the transformers do not.
        validation_tasks : sequence of tasks or table, default=None
            Validation tasks of the meta-learner. Transformers that are pooled are not fitted on
            them.

        Returns
        -------
        self : MetaPipeline
            The meta-fitted pipeline, not yet adapted.
        """
        learner = self._learner()
        skip = getattr(learner, "unusable", "raise") == "skip"
        usable = _open(tasks, y, groups, sample_weight, skip=skip)
        if skip and "pooled" not in self.transform_scopes.values():
            usable.keep(self._check_of_transformers(None, "of the first task"))
        raw = usable.tasks
        state, ready = self._fit_transformers(raw)
        if validation_tasks is not None:
            table = validation_table(validation_tasks, y, groups, sample_weight)
            try:
                held_out = _open(*(table or (validation_tasks,)), skip=skip)
                if skip:
                    held_out.keep(self._check_of_transformers(state, "of the tasks"))
                first = held_out.tasks[0]
                check_same_rows(first, _named(raw), label(first, 0), "the tasks")
                transformed = self._transform(held_out.tasks, state, "of the tasks")
                validation_tasks = held_out.in_order(transformed)
            except TaskError as error:
                raise TaskError(f"In validation_tasks: {error}") from None
        learner.meta_fit(usable.in_order(ready), validation_tasks=validation_tasks)
        self._set_state(state)
        return self

    def fit_transformers(self, tasks: Any, y: Any = None, groups: Any = None) -> MetaPipeline:
        """Fit the transformers as `meta_fit` does, and leave the last step without a prior.

        `fit` then trains the last step from scratch on each support, on rows that are transformed
        as those of a meta-trained pipeline: a baseline for it.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            Tasks in any form that `meta_fit` accepts.
        y, groups : array-like of shape (n_rows,), str or None, default=None
            Targets and tasks of the rows of a table, or the names of these columns.

        Returns
        -------
        self : MetaPipeline
            The pipeline, neither meta-fitted nor adapted.
        """
        learner, raw = self._learner(), _collect(tasks, y, groups)
        scopes = self.transform_scopes
        if "pooled" in scopes.values():
            state, _ = self._fit_transformers(raw)
        else:
            columns = _named(raw).feature_names_in
            state = TransformerState(self.transform_scope, scopes, columns)
        learner.reset_meta()
        self._set_state(state)
        return self

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> MetaPipeline:
        """Adapt to a new task.

        Parameters
        ----------
        X : array-like or DataFrame of n_rows rows
            Rows of the support, in a form that the first transformer accepts. There may be none,
            if the last step has a prediction without any: transformers are then those fitted on
            the rows of all tasks of `meta_fit`.
        y : array-like of shape (n_rows,), default=None
            Labels or targets.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows, for the last step. With metadata routing, for the steps that
            request them.
        **params : dict
            As in :class:`sklearn.pipeline.Pipeline`.

        Returns
        -------
        self : MetaPipeline
            The adapted pipeline.
        """
        self._check_unchanged()
        if sample_weight is not None:
            is_routed = get_config()["enable_metadata_routing"]
            name = "sample_weight" if is_routed else f"{self.steps[-1][0]}__sample_weight"
            params = {**params, name: sample_weight}
        if y is not None:  # before a transformer uses it
            y = as_targets(y, "y", "class" if is_classifier(self._learner()) else "real")
        state = self.transformer_state
        check_feature_names(feature_names(X), state.columns if state else None)
        if state is None:
            return super().fit(X, y, **params)
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        if n_rows == 0 and y is not None and len(y) == 0 and state.row_shape is not None:
            return self._fit_without_rows(X, y, state)
        try:  # frozen, transformers stay as they were fitted on all tasks
            self.steps = _with_pooled(self.steps, state, freeze=True)
            if state.n_outputs is None:
                return super().fit(X, y, **params)
            return self._fit_and_compare(X, y, state, params)
        finally:
            self.steps = _with_pooled(self.steps, state)

    @available_if(lambda self: hasattr(self.steps[-1][1], "transform"))  # type: ignore[untyped-decorator]
    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Adapt to a new task and embed its rows, as `fit` and `transform` do.

        Parameters
        ----------
        X : array-like or DataFrame of n_rows rows
            Rows of the support, in a form that the first transformer accepts.
        y : array-like of shape (n_rows,), default=None
            Labels or targets.
        **params : dict
            As for `fit`.

        Returns
        -------
        Z : ndarray of shape (n_rows, n_features_out)
            The features of the last step.
        """
        return self.fit(X, y, **params).transform(X)

    @available_if(_last_has("predict_quantiles"))  # type: ignore[untyped-decorator]
    def predict_quantiles(self, X: Any, quantiles: ArrayLike) -> NDArray[np.float64]:
        """Predict quantiles of the target of each row, if the last step can.

        Parameters
        ----------
        X : array-like or DataFrame of n_rows rows
            Query rows, in a form that the first transformer accepts.
        quantiles : float or array-like of shape (n_quantiles,)
            Levels between 0 and 1.

        Returns
        -------
        y : ndarray of shape (n_rows, n_quantiles) or (n_rows, n_outputs, n_quantiles)
            Without the last axis for a single number.
        """
        rows = _pipeline(self.steps[:-1]).transform(X)
        return np.asarray(self.steps[-1][1].predict_quantiles(rows, quantiles))

    @available_if(_last_has("sample_y"))  # type: ignore[untyped-decorator]
    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = 0) -> NDArray[np.float64]:
        """Draw targets of rows, if the last step has a predictive distribution.

        Parameters
        ----------
        X : array-like or DataFrame of n_rows rows
            Query rows, in a form that the first transformer accepts.
        n_samples : int, default=1
            Number of draws.
        random_state : int, RandomState instance or None, default=0
            Determines the draws.

        Returns
        -------
        y : ndarray of shape (n_rows, n_samples) or (n_rows, n_outputs, n_samples)
            Targets, noise included.
        """
        rows = _pipeline(self.steps[:-1]).transform(X)
        return np.asarray(self.steps[-1][1].sample_y(rows, n_samples, random_state))

    def predict_tasks(
        self, tasks: Any, y: Any = None, groups: Any = None, *, error_score: Any = np.nan
    ) -> list[NDArray[Any]]:
        """Adapt to the support of each task and predict its query, in one stacked pass.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support.
        y, groups : None
            Tables have no fixed support.
        error_score : "raise" or float, default=np.nan
            As in the `predict_tasks` of the meta-learner.

        Returns
        -------
        y : list of ndarray of shape (n_query,) or (n_query, n_outputs)
            Predictions of each task. Where adapting diverged, NaN for targets, and None for
            labels.
        """
        ready = self._transform_usable(tasks, y, groups, error_score)
        predictions: list[NDArray[Any]] = self._learner().predict_tasks(
            ready, error_score=error_score
        )
        return predictions

    def score_tasks(
        self,
        tasks: Any,
        y: Any = None,
        groups: Any = None,
        *,
        scoring: Any = None,
        error_score: Any = np.nan,
    ) -> NDArray[np.float64]:
        """Adapt to the support of each task and score its query.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support.
        y, groups : None
            Tables have no fixed support.
        scoring : str, callable or None, default=None
            None: accuracy, or R^2 of a regressor. A name of one of scikit-learn's scorers, such as
            "roc_auc", or a callable ``(estimator, X, y) -> float``, which gets an adapted copy of
            the last step and transformed rows.
        error_score : "raise" or float, default=np.nan
            The score of a task that cannot be transformed or used, on which adapting diverges, or
            whose query has no score; "raise" makes it an error.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            The score of each task.
        """
        ready = self._transform_usable(tasks, y, groups, error_score)
        options = {} if scoring is None else {"scoring": scoring}
        scores: NDArray[np.float64] = self._learner().score_tasks(
            ready, error_score=error_score, **options
        )
        return scores

    def transform_tasks(self, tasks: Any, y: Any = None, groups: Any = None) -> list[Task]:
        """Transform tasks for the meta-learner.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            Tasks in any form that `meta_fit` accepts. Transformers of scope "task" are fitted on
            the support of each task, or on all its rows if it has none.
        y, groups : array-like of shape (n_rows,), str or None, default=None
            Targets and tasks of the rows of a table, or the names of these columns.

        Returns
        -------
        tasks : list of Task
            Tasks whose X is an array.
        """
        self._check_unchanged()
        self._learner()
        state = self.transformer_state or TransformerState(self.transform_scope)
        raw = _collect(tasks, y, groups)
        check_task_names(_named(raw), raw.index(_named(raw)), state.columns)
        return self._transform(raw, state, "of the tasks of meta_fit")

    def reset_meta(self) -> MetaPipeline:
        """Discard the learned prior, and the transformers fitted on all tasks.

        Returns
        -------
        self : MetaPipeline
            The pipeline, neither meta-fitted nor adapted.
        """
        self._learner().reset_meta()
        self.steps = [*self._new_steps(), self.steps[-1]]
        self.transformer_state = None
        return self

    @property
    def skipped_tasks_(self) -> list[tuple[int, str | None, str]]:
        """Tasks that `meta_fit` skipped, if `unusable` of the last step is "skip"."""
        last: Any = self.steps[-1][1] if self.steps else None
        skipped: list[tuple[int, str | None, str]] = last.skipped_tasks_
        return skipped

    @property
    def transform_scopes(self) -> dict[str, str]:
        """The scope of each transformer by step: "task" or "pooled"."""
        if self.transform_scope != "auto":
            return {name: self.transform_scope for name, _ in self.steps[:-1]}
        return {name: _scope_of(transformer) for name, transformer in self.steps[:-1]}

    @property
    def theta_(self) -> Mapping[str, NDArray[Any]]:
        """The learned meta-parameters of the last step; raises without a `meta_fit`."""
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
        part.transform_scope, state = self.transform_scope, self.transformer_state
        if state is not None and first > 0:
            names = [name for name, _ in self.steps[first:-1]]
            state = TransformerState(
                state.transform_scope,
                {name: scope for name, scope in state.scopes.items() if name in names},
                pooled={name: t for name, t in state.pooled.items() if name in names},
                param_hashes=state.param_hashes,
                row_shape=state.row_shape,
                without_rows={k: t for k, t in state.without_rows.items() if k in names},
            )
        part.transformer_state = state
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
        session = saving()
        if session is None:
            return state
        self._check_unchanged()
        return session.without_process(type(self), state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if loading() is None:
            return
        if self.memory is not None:
            raise ValueError("it sets 'memory' of a MetaPipeline")
        learned = self.transformer_state
        if learned is not None:
            # hashes of the same parameters may differ in another process
            fitted = {**learned.pooled, **learned.without_rows}
            hashes = {name: param_hashes(t) for name, t in fitted.items()}
            self.transformer_state = replace(learned, param_hashes=hashes)

    def __sklearn_clone__(self) -> MetaPipeline:
        twin = super().__sklearn_clone__()
        twin.transformer_state = self.transformer_state
        return twin

    def _learner(self) -> Any:
        """Check the steps, and return the last."""
        check_steps(self)
        scopes = option("auto", "task", "pooled")
        check_parameter("transform_scope", self.transform_scope, scopes, "MetaPipeline")
        name, last = self.steps[-1]
        if not hasattr(last, "meta_fit"):
            raise TypeError(
                f"The last step of a MetaPipeline must have meta_fit; step {name!r} is {last!r}."
            )
        return last

    def _new_steps(self) -> list[tuple[str, Any]]:
        """Return unfitted copies of the transformers; a step may be "passthrough" or None."""
        return _copies(self.steps[:-1])

    def _fit_transformers(self, raw: Sequence[Task]) -> tuple[TransformerState, list[Task]]:
        """Fit new transformers; return what was learned of them, and the transformed tasks."""
        scopes, columns = self.transform_scopes, _named(raw).feature_names_in
        state, tasks = TransformerState(self.transform_scope, scopes, columns), list(raw)
        pooled, output_names, without_rows = dict[str, Any](), dict[str, Names](), dict[str, Any]()
        for scope, group in groupby(self._new_steps(), key=lambda step: scopes[step[0]]):
            transformers, X = _pipeline([*group]), tasks[0].X
            if scope == "pooled":
                tasks = _fit_pooled(transformers, tasks)
                pooled |= dict(transformers.steps)
                names = _output_names(transformers.steps, X, columns)
            else:
                first = _transform_alone(transformers, tasks[0], 0)
                without_rows |= _fit_on_all(transformers.steps, tasks)
                names, n = _output_names(transformers.steps, X, columns), _n_columns(first)
                same = TransformerState("task", {}, columns, output_names=names, n_outputs=n)
                rest = _transform_each(transformers.steps, tasks[1:], same, "of task 0", begin=1)
                tasks = [first, *rest]
            output_names |= names
            columns = next(reversed(names.values()), None)
        tasks = [_with_rows(task, dense(task.X), i) for i, task in enumerate(tasks)]
        if self.transform_scope != "pooled" and set(scopes.values()) != {"pooled"}:
            state = replace(state, output_names=output_names, n_outputs=_n_columns(tasks[0]))
        state = replace(
            state,
            pooled=pooled,
            param_hashes={name: param_hashes(t) for name, t in (pooled | without_rows).items()},
            row_shape=tasks[0].row_shape,
            without_rows=without_rows,
        )
        return state, tasks

    def _transform(
        self, raw: Sequence[Task], state: TransformerState, of: str, begin: int = 0
    ) -> list[Task]:
        """Transform tasks; refuse a task whose columns differ from those of the reference `of`."""
        if set(state.scopes.values()) == {"pooled"}:
            pooled = _pipeline([*state.pooled.items()])
            return [
                _with_rows(t, dense(pooled.transform(t.X)), i) for i, t in enumerate(raw, begin)
            ]
        steps = _with_pooled(self.steps, state, freeze=True)[:-1]
        tasks = _transform_each(steps, raw, state, of, begin)
        return [_with_rows(task, dense(task.X), i) for i, task in enumerate(tasks, begin)]

    def _fit_and_compare(
        self, X: Any, y: Any, state: TransformerState, params: dict[str, Any]
    ) -> MetaPipeline:
        """Fit, and refuse a support if transformers make other columns of it than in meta_fit."""
        with self._unchanged_on_error():
            try:
                super().fit(X, y, **params)
            except TaskError:  # of the rows or the labels themselves
                raise
            except ValueError:  # perhaps of columns that the last step does not know
                n_outputs = None
                with suppress(Exception):  # where a transformer has raised the error
                    row = self[:-1].transform(rows_of(X, np.arange(1)))
                    n_outputs = int(np.prod(np.shape(row)[1:]))
                _check_outputs(self.steps[:-1], X, n_outputs, state)
                raise
            _check_outputs(self.steps[:-1], X, None, state)
        return self

    def _fit_without_rows(self, X: Any, y: Any, state: TransformerState) -> MetaPipeline:
        """Adapt to a support without rows, with transformers that were fitted on all tasks."""
        transformers = _steps_without_rows(self.steps[:-1], state)
        if transformers and hasattr(transformers[0][1], "n_features_in_"):
            validate_data(transformers[0][1], X, reset=False, skip_check_array=True)
        name, learner = self.steps[-1]
        learner.fit(np.empty((0, *(state.row_shape or ()))), y)
        self.steps = [*transformers, (name, learner)]
        return self

    def _transform_usable(
        self, tasks: Any, y: Any, groups: Any, error_score: Any
    ) -> Sequence[Task | SkippedTask]:
        """Transform tasks as `transform_tasks` does, or those that can be transformed.

        The learner gets the others as skipped tasks, and reports them by their positions.
        """
        if error_score == "raise":
            return self.transform_tasks(tasks, y, groups)
        self._check_unchanged()
        self._learner()
        state = self.transformer_state or TransformerState(self.transform_scope)
        usable = _open(tasks, y, groups, skip=True)

        def transformed(task: Task, i: int) -> Task:
            check_task_names(task, i, state.columns)
            try:
                return self._transform([task], state, "of the tasks of meta_fit", begin=i)[0]
            except TaskError:
                raise
            except Exception as error:  # whatever a transformer raises
                raise TaskError(f"{label(task, i)}: {error}") from error

        usable.map(transformed)
        return usable.in_order(usable.tasks)

    def _check_of_transformers(
        self, state: TransformerState | None, of: str
    ) -> Callable[[Task, int], None]:
        """Return a check that raises a TaskError for a task that cannot be transformed.

        Without a state, the columns of a task must be those of the first that is checked.
        """
        learned = state

        def check(task: Task, i: int) -> None:
            nonlocal learned
            try:
                if learned is None:
                    learned, _ = self._fit_transformers([task])
                else:
                    self._transform([task], learned, of, begin=i)
            except TaskError:
                raise
            except Exception as error:  # whatever a transformer raises
                raise TaskError(f"{label(task, i)}: {error}") from error

        return check

    def _set_state(self, state: TransformerState) -> None:
        self.transformer_state = state
        self.steps = _with_pooled(self.steps, state)

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
        """Refuse a scope, or pooled transformers, that were changed since meta_fit."""
        state = self.transformer_state
        if state is None:
            return
        if state.transform_scope != self.transform_scope:
            raise ValueError(
                f"The 'transform_scope' parameter was changed from {state.transform_scope!r} to "
                f"{self.transform_scope!r} since meta_fit. Call meta_fit again."
            )
        if not state.pooled and self.transform_scope != "pooled":
            return
        fitted, current = [*state.scopes], [name for name, _ in self.steps[:-1]]
        if fitted != current:
            raise ValueError(
                f"The transformers fitted by meta_fit are {fitted}, some of them on all tasks, and "
                f"since changed to {current}. Call meta_fit again."
            )
        for name, transformer in self.steps[:-1]:
            if name not in state.pooled:
                continue
            old, new = state.param_hashes[name], param_hashes(transformer)
            if changed := [k for k in {**old, **new} if old.get(k) != new.get(k)]:
                raise ValueError(
                    f"The step {name!r} was fitted on all tasks by meta_fit, and its parameters "
                    f"{changed} changed since. Call meta_fit again."
                )


def make_meta_pipeline(
    *steps: Any, transform_scope: str = "auto", memory: Any = None, verbose: bool = False
) -> MetaPipeline:
    """Make a :class:`MetaPipeline` without naming its steps.

    Parameters
    ----------
    *steps : estimators
        Transformers, and a meta-learner as the last.
    transform_scope : {"auto", "task", "pooled"}, default="auto"
        Whether transformers are fitted on each task or on all tasks together. "auto" chooses for
        each of them.
    memory : str or joblib.Memory, default=None
        Cache of the fitted transformers, as in :func:`sklearn.pipeline.make_pipeline`.
    verbose : bool, default=False
        If True, print the time that each step takes.

    Returns
    -------
    MetaPipeline
        A pipeline whose steps have the names that scikit-learn gives them.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_meta import MAMLClassifier
    >>> from sklearn_meta.pipeline import make_meta_pipeline
    >>> [name for name, _ in make_meta_pipeline(PCA(2), MAMLClassifier()).steps]
    ['pca', 'mamlclassifier']
    """
    named = make_pipeline(*steps).steps
    return MetaPipeline(named, transform_scope=transform_scope, memory=memory, verbose=verbose)


def _scope_of(transformer: Any) -> str:
    """Choose a scope: "task" for what only centres and scales, or learns nothing; else "pooled"."""
    parts: list[Any] = [transformer]
    if isinstance(transformer, ColumnTransformer):
        parts = [transformer.remainder, *(part for _, part, *_ in transformer.transformers)]
    elif isinstance(transformer, FeatureUnion):
        parts = [part for _, part in transformer.transformer_list]
    elif isinstance(transformer, Pipeline):
        parts = [part for _, part in transformer.steps]
    elif transformer is None or isinstance(transformer, (str, *SCALERS)):
        return "task"
    else:
        return "pooled" if get_tags(transformer).requires_fit else "task"
    return "pooled" if "pooled" in map(_scope_of, parts) else "task"


def _copies(steps: Steps) -> list[tuple[str, Any]]:
    return [(name, clone(t) if hasattr(t, "fit") else t) for name, t in steps]


def _with_pooled(
    steps: Steps, state: TransformerState, *, freeze: bool = False
) -> list[tuple[str, Any]]:
    """Replace the steps that were fitted on all tasks by the fitted ones."""
    pooled = {
        name: FrozenEstimator(t) if freeze and hasattr(t, "fit") else t
        for name, t in state.pooled.items()
    }
    return [*((name, pooled.get(name, t)) for name, t in steps[:-1]), steps[-1]]


def _fit_on_all(steps: Steps, tasks: Sequence[Task]) -> dict[str, Any]:
    """Fit copies of the transformers of each task on all tasks; none where that is impossible."""
    transformers = _pipeline(_copies(steps))
    with warnings.catch_warnings(), suppress(Exception):  # whatever a transformer raises
        warnings.simplefilter("ignore")
        X, y = stack_rows([task.X for task in tasks]), np.concatenate([task.y for task in tasks])
        return dict(transformers.fit(X, y).steps)
    return {}


def _steps_without_rows(steps: Steps, state: TransformerState) -> list[tuple[str, Any]]:
    """Return the transformers for a support without rows, or raise a ValueError."""
    ready = []
    for name, step in steps:
        if name in state.pooled:
            ready.append((name, state.pooled[name]))
            continue
        if name not in state.without_rows:
            raise ValueError(
                f"X has no rows to fit the transformer {name!r} to, and it could not be fitted to "
                "those of all tasks of meta_fit. Use transform_scope='pooled', or give a row."
            )
        if param_hashes(step) != state.param_hashes[name]:
            raise ValueError(
                f"X has no rows to fit the transformer {name!r} to, and its parameters changed "
                "since meta_fit fitted it to those of all tasks. Call meta_fit again."
            )
        ready.append((name, copy.deepcopy(state.without_rows[name])))
    return ready


def _pipeline(steps: Steps) -> Pipeline:
    return Pipeline(list(steps) or [("identity", "passthrough")])


def _collect(tasks: Any, y: Any = None, groups: Any = None) -> list[Task]:
    _refuse_distribution(tasks)
    return collect_tasks(tasks, y, groups)


def _refuse_distribution(tasks: Any) -> None:
    if isinstance(tasks, TaskDistribution):
        raise TaskError(
            f"MetaPipeline transforms existing tasks, and cannot draw any; got {tasks!r}."
        )


def _open(
    tasks: Any, y: Any = None, groups: Any = None, sample_weight: Any = None, *, skip: bool
) -> UsableTasks:
    """Collect tasks; with `skip`, leave out those that no transformer could take."""
    _refuse_distribution(tasks)
    unusable = "skip" if skip else "raise"
    return usable_tasks(tasks, y, groups, sample_weight, unusable=unusable, raw=True)


def _named(tasks: Sequence[Task]) -> Task:
    """Return the first task whose columns have names, or else the first."""
    return next((task for task in tasks if task.feature_names_in is not None), tasks[0])


def _fit_pooled(transformers: Pipeline, tasks: Sequence[Task]) -> list[Task]:
    """Fit transformers on the rows of all tasks, and transform these."""
    X, y = stack_rows([task.X for task in tasks]), np.concatenate([task.y for task in tasks])
    Z = transformers.fit_transform(X, y)
    ready, begin = [], 0
    for i, task in enumerate(tasks):
        rows = slice(begin, begin + len(task))
        ready.append(_with_rows(task, Z.iloc[rows] if hasattr(Z, "iloc") else Z[rows], i))
        begin += len(task)
    return ready


def _transform_each(
    steps: Steps, tasks: Sequence[Task], state: TransformerState, of: str, begin: int = 0
) -> list[Task]:
    """Transform each task by copies of the steps; refuse other columns than those of `state`."""
    ready = []
    for i, task in enumerate(tasks, begin):
        if state.row_shape is not None and task.support is not None and len(task.support) == 0:
            try:
                fitted = _pipeline(_steps_without_rows(steps, state))
            except ValueError as error:
                raise TaskError(f"{label(task, i)}: {error}") from None
            ready.append(_with_rows(task, fitted.transform(task.X), i))
            continue
        transformers = _pipeline(_copies(steps))
        ready.append(_transform_alone(transformers, task, i))
        if state.n_outputs is None:  # tasks that need not have anything in common
            continue
        try:
            _check_outputs(transformers.steps, task.X, _n_columns(ready[-1]), state, of)
        except ValueError as error:
            raise TaskError(f"{label(task, i)}: {error}") from None
    return ready


def _transform_alone(transformers: Pipeline, task: Task, i: int) -> Task:
    """Fit transformers on the support of a task, as `fit` does, and apply them to its query."""
    if task.support is None or len(task.support) == 0:  # of meta-training, which draws one
        return _with_rows(task, transformers.fit_transform(task.X, task.y), i)
    Z = transformers.fit_transform(task.X_support, task.y_support)
    both = stack_rows([Z, transformers.transform(task.X_query)])
    query = np.delete(np.arange(len(task)), task.support)
    return _with_rows(task, rows_of(both, np.argsort(np.concatenate([task.support, query]))), i)


def _n_columns(task: Task) -> int:
    return int(np.prod(task.row_shape))


def _with_rows(task: Task, Z: NDArray[Any], i: int) -> Task:
    try:
        weight = task.sample_weight
        return Task(Z, task.y, support=task.support, name=task.name, sample_weight=weight)
    except TaskError as error:
        raise TaskError(f"Task {i}, transformed: {error}") from None


def param_hashes(transformer: Any) -> dict[str, str]:
    """Return hashes of the type and the parameters of a transformer, by parameter."""
    if transformer is None or isinstance(transformer, str):
        return {"step": str(transformer)}
    hashes = {"step": type(transformer).__qualname__}
    for name, value in transformer.get_params().items():
        if not hasattr(value, "get_params"):
            try:
                hashes[name] = joblib.hash(value)
            except Exception:  # whatever pickling raises, for a lambda for example
                hashes[name] = str(fingerprint(value))
    return hashes


def _output_names(steps: Steps, X: Any, columns: Names) -> dict[str, Names]:
    """Return the names of the columns that each fitted transformer makes of X, where it names them.

    Columns of an array are taken for `columns`, those of all tasks. Where these have no names, the
    names of a frame cannot be compared.
    """
    names: dict[str, Names] = {}
    if columns is None and feature_names(X) is not None:
        return names
    for step, transformer in steps:
        if transformer is None or transformer == "passthrough":
            continue
        try:
            columns = tuple(map(str, transformer.get_feature_names_out(columns)))
        except (AttributeError, TypeError, ValueError):  # a part has no names, or is not fitted
            columns = None
        names[step] = columns
    return names


def _check_outputs(
    steps: Steps,
    X: Any,
    n_outputs: int | None,
    state: TransformerState,
    of: str = "of the tasks of meta_fit",
) -> None:
    """Refuse columns with another meaning than those of other tasks, or another number of them."""
    names = _output_names(steps, X, state.columns)
    for step, columns in names.items():
        expected = state.output_names.get(step)
        if columns is not None and expected is not None and columns != expected:
            raise ValueError(
                f"The columns that the transformer {step!r} makes are not those {of}: "
                f"{_difference(columns, expected)}. {REMEDY}"
            )
    if None not in (n_outputs, state.n_outputs) and n_outputs != state.n_outputs:
        unnamed = ", ".join(repr(step) for step, columns in names.items() if columns is None)
        why = f"; {unnamed} cannot name them" if unnamed else ""
        raise ValueError(
            f"The transformers make {n_outputs} columns, but {state.n_outputs} {of}{why}. {REMEDY}"
        )


def _difference(columns: tuple[str, ...], expected: tuple[str, ...]) -> str:
    more = [name for name in columns if name not in set(expected)]
    less = [name for name in expected if name not in set(columns)]
    if not more and not less:
        return f"it makes {_list(columns)} in place of {_list(expected)}"
    parts = [f"{verb} {_list(some)}" for verb, some in (("adds", more), ("lacks", less)) if some]
    return f"it {' and '.join(parts)}"


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - N_LISTED} more" if len(names) > N_LISTED else ""
    return f"{list(names[:N_LISTED])}{more}"
