"""Prediction intervals and label sets for new tasks, calibrated on tasks that were held out.

Scores s_ki of the rows i = 1, ..., N_k of calibration tasks k = 1, ..., K have the threshold

    q = Quantile(1 - alpha; sum_k sum_i 1 / ((K + 1) N_k) delta(s_ki) + 1 / (K + 1) delta(inf)),

so that a row of a new task has a score of at most q with probability 1 - alpha or more.

Lee, Barber and Willett, "Distribution-Free Inference with Hierarchical Data", 2023.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags, check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted

from sklearn_meta._archive import loading, saving
from sklearn_meta._optional import need
from sklearn_meta._warnings import warn
from sklearn_meta.base.numpy_learner import NumpyMetaLearner
from sklearn_meta.base.predict_tasks import fixed_support
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.model_selection.row_predictions import predict_with_proba
from sklearn_meta.model_selection.task_estimator import is_meta_fitted, learner_of, open_raw_tasks
from sklearn_meta.outer.failures import Failures, collect_failures
from sklearn_meta.outer.labels import WHY_ROWS
from sklearn_meta.parameters import check_parameter, fingerprint, option, real
from sklearn_meta.tasks import Task, TaskDistribution
from sklearn_meta.tasks.split import order_rows
from sklearn_meta.tasks.task import Names, named_task, take_rows
from sklearn_meta.tasks.validate import label, validation_table

__all__ = [
    "TaskConformalClassifier",
    "TaskConformalEstimator",
    "TaskConformalRegressor",
    "TaskCoverage",
    "conformal_threshold",
]

Array = NDArray[np.float64]
Self = TypeVar("Self", bound="TaskConformalEstimator")
Outputs = tuple[Array, Array]  # of a query: means and scales, or probabilities and labels

ROUNDING = 1e-9  # of sums of weights


def conformal_threshold(scores: Sequence[ArrayLike], alpha: float) -> float:
    """Compute the hierarchical conformal threshold of scores of calibration tasks.

    Parameters
    ----------
    scores : sequence of array-like of shape (n_rows_of_task,)
        Nonconformity scores of the rows of each calibration task. All tasks have equal weight.
    alpha : float
        Probability that the score of a row of a new task may exceed the threshold.

    Returns
    -------
    threshold : float
        The smallest score that as much weight does not exceed as 1 - `alpha` asks for. Infinity
        with fewer than 1 / `alpha` - 1 tasks.

    References
    ----------
    Lee, Barber and Willett, "Distribution-Free Inference with Hierarchical Data", 2023.

    Examples
    --------
    >>> from sklearn_meta.conformal import conformal_threshold
    >>> conformal_threshold([[1.0, 4.0], [2.0, 2.0], [3.0]], alpha=0.5)
    3.0
    """
    arrays = [np.asarray(s, dtype=np.float64) for s in scores]
    if not arrays:
        return np.inf
    values = np.concatenate(arrays)
    weights = np.concatenate([np.full(len(s), 1 / len(s)) for s in arrays])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) >= (1 - alpha) * (len(arrays) + 1) - ROUNDING
    return float(values[order][reached.argmax()]) if reached.any() else np.inf


def tasks_needed(alpha: float) -> int:
    """Return the fewest calibration tasks with which a threshold can be finite."""
    return int(np.ceil(1 / alpha - 1 - ROUNDING))


@dataclass(frozen=True, eq=False)
class TaskCoverage:
    """Result of `coverage_tasks`, with one entry for each task.

    Attributes
    ----------
    task : list of str
        Names of the tasks in errors, such as "Task 3 ('ann')".
    n_support, n_query : ndarray of int of shape (n_tasks,)
        Rows of support and query.
    coverage : ndarray of shape (n_tasks,) or (n_tasks, n_outputs)
        Share of the query rows whose target is in its interval, or whose label is in its set.
    size : ndarray of shape (n_tasks,) or (n_tasks, n_outputs)
        Mean width of the intervals in the units of the target, or mean number of labels of a set.
    alpha : float
        The coverage of an average task is at least 1 - `alpha`.
    """

    task: list[str]
    n_support: NDArray[np.intp]
    n_query: NDArray[np.intp]
    coverage: Array
    size: Array
    alpha: float

    def __str__(self) -> str:
        coverage = self.coverage.mean(axis=0)
        return (
            f"coverage {np.round(coverage, 3)} over {len(self.task)} tasks (nominal "
            f"{1 - self.alpha:g}), size {np.round(self.size.mean(axis=0), 3)}"
        )

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each task.

        Returns
        -------
        pandas.DataFrame
            Columns "n_support", "n_query", "coverage" and "size", the last two with the number of
            the output appended if there are several.
        """
        pd = need("pandas", "pandas", "TaskCoverage.to_frame()")
        columns: dict[str, Any] = {"n_support": self.n_support, "n_query": self.n_query}
        for name, values in (("coverage", self.coverage), ("size", self.size)):
            if values.ndim == 1:
                columns[name] = values
            else:
                columns |= {f"{name}_{k}": column for k, column in enumerate(values.T)}
        return pd.DataFrame(columns, index=self.task)


class CalibrationTask(NamedTuple):
    """Rows of a calibration task, as plain data."""

    X: Any
    y: NDArray[Any]
    feature_names: Names
    support: NDArray[np.intp] | None
    name: str | None

    def task(self) -> Task:
        """Return the task itself."""
        return named_task(self.X, self.y, self.feature_names, self.support, self.name)

    def to_plain(self) -> CalibrationTask:
        """Return the same with plain data in place of a frame or sparse rows, for a file."""
        X = self.X
        if issparse(X):
            X = {"csr": (X.data, X.indices, X.indptr), "shape": X.shape}
        elif hasattr(X, "iloc"):
            columns = ((name, X[name]) for name in X.columns)
            X = {
                "frame": [
                    (name, str(c.dtype), c.astype(object).where(c.notna(), None).tolist())
                    for name, c in columns
                ]
            }
        return self._replace(X=X)

    def from_plain(self) -> CalibrationTask:
        """Return what `to_plain` was called on."""
        if not isinstance(self.X, dict):
            return self
        if "csr" in self.X:
            return self._replace(X=csr_array(self.X["csr"], shape=self.X["shape"]))
        pandas = need("pandas", "pandas", "A conformal estimator that was calibrated on frames")
        columns = {name: pandas.Series(v, dtype=dtype) for name, dtype, v in self.X["frame"]}
        return self._replace(X=pandas.DataFrame(columns))


class ConformalPrior(NamedTuple):
    """What `meta_fit` has learned."""

    estimator: BaseEstimator
    calibration: list[CalibrationTask]
    seed: int
    params: dict[str, str]  # of the estimator in meta_fit, by which changes are noticed
    scores: dict[str, list[Array]]  # (n_query, n_outputs) of calibration tasks, a cache

    @property
    def theta(self) -> dict[str, Any]:
        """Parameters of the meta-learner, if it has any."""
        return dict(getattr(self.estimator, "theta_", {}))

    def freeze(self) -> None:
        """Make the arrays of the calibration tasks read-only, because clones share them."""
        for rows in self.calibration:
            for value in rows:
                if isinstance(value, np.ndarray):
                    value.flags.writeable = False


class TaskConformalEstimator(NumpyMetaLearner, ABC):
    """Base class of the conformal regressor and the conformal classifier.

    Parameters
    ----------
    estimator : meta-learner
        Estimator with `meta_fit`, `fit` and `predict`; a clone of it is meta-fitted.
    alpha : float, default=0.1
        Probability of a miss: the coverage is at least 1 - `alpha`.
    calibration_size : float or int, default=0.25
        Share or number of the tasks of `meta_fit` to hold out for calibration.
    prefit : bool, default=False
        Whether to keep the learned prior of `estimator` and calibrate on all tasks of `meta_fit`.
    random_state : int, RandomState instance or None, default=None
        Random state of the tasks to hold out and of their supports.
    """

    target_type: ClassVar[str]  # "class" or "real"
    without_threshold: ClassVar[str]  # what is returned if too few tasks calibrate
    meta_state: ConformalPrior | None = None

    def __init__(
        self,
        estimator: BaseEstimator,
        alpha: float = 0.1,
        *,
        calibration_size: float | int = 0.25,
        prefit: bool = False,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.alpha = alpha
        self.calibration_size = calibration_size
        self.prefit = prefit
        self.random_state = random_state

    def meta_fit(
        self: Self,
        tasks: Any,
        y: Any = None,
        groups: Any = None,
        *,
        validation_tasks: Any = None,
        calibration_tasks: Any = None,
    ) -> Self:
        """Meta-fit the estimator on some tasks, and hold out the others for calibration.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            Tasks in any form that `estimator` accepts.
        y, groups : array-like of shape (n_rows,), str or None, default=None
            Targets and tasks of the rows of a table, or the names of these columns.
        validation_tasks : sequence of tasks or table, default=None
            Passed to the `meta_fit` of `estimator`.
        calibration_tasks : sequence of tasks or table, default=None
            Tasks to calibrate on, so that none of `tasks` is held out. They must not influence the
            training, not even as validation tasks.

        Returns
        -------
        self : object
            The estimator with a learned prior, and without an earlier adaptation.

        Raises
        ------
        TaskError
            If a task is invalid, or there are too few to hold any out.
        NotMetaFittedError
            If `prefit` and `estimator` is not meta-fitted.
        """
        self._check_params()
        rng, estimator = check_random_state(self.random_state), clone(self.estimator)
        tasks, held_out = self._hold_out(tasks, y, groups, calibration_tasks, rng)
        if not self.prefit:
            if hasattr(estimator, "reset_meta"):
                estimator.reset_meta()  # an earlier prior may have seen the calibration tasks
            table = validation_table(validation_tasks, y, groups)
            if table is not None:
                validation_tasks = open_raw_tasks(estimator, *table).tasks
            options = {} if validation_tasks is None else {"validation_tasks": validation_tasks}
            estimator.meta_fit(tasks, **options)
        calibration = [
            CalibrationTask(t.X, t.y, t.feature_names_in, t.support, t.name) for t in held_out
        ]
        seed = int(rng.randint(np.iinfo(np.int32).max))
        self.reset_meta()
        params = _fingerprints(self.estimator)
        self.meta_state = ConformalPrior(estimator, calibration, seed, params, {})
        self.meta_state.freeze()
        return self

    def fit(self: Self, X: Any, y: Any) -> Self:
        """Adapt the estimator to a new task.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Rows of the support.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
            Labels or targets of the support.

        Returns
        -------
        self : object
            The estimator with `estimator_`. Calibration is left to the first call that needs it.
        """
        self._check_params()
        estimator, changes = self._unadapted()
        estimator.fit(X, y)
        self.estimator_, self._adapted = estimator, (self._size(estimator, y), changes, self.alpha)
        for name in ("classes_", "n_features_in_", "feature_names_in_"):
            if hasattr(estimator, name):
                setattr(self, name, getattr(estimator, name))
            elif hasattr(self, name):  # of an earlier fit
                delattr(self, name)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict as `estimator_` does.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            Labels or targets.
        """
        check_is_fitted(self)
        predicted: NDArray[Any] = self.estimator_.predict(X)
        return predicted

    def predict_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> list[NDArray[Any]]:
        """Predict the query of each task as the estimator does.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support.
        error_score : "raise" or float, default=np.nan
            As in the `predict_tasks` of the estimator.

        Returns
        -------
        y : list of ndarray of shape (n_query,) or (n_query, n_outputs)
            Labels or targets, in the order of the tasks.
        """
        estimator, _ = self._unadapted()
        predicted: list[NDArray[Any]] = estimator.predict_tasks(tasks, error_score=error_score)
        return predicted

    def score_tasks(self, tasks: Any, *, scoring: Any = None, error_score: Any = np.nan) -> Array:
        """Score the query of each task as the estimator does.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support.
        scoring : str, callable or None, default=None
            None: accuracy, or R^2 of a regressor. A name of one of scikit-learn's scorers, or a
            callable ``(estimator, X, y) -> float``, which gets an adapted copy of `estimator`.
        error_score : "raise" or float, default=np.nan
            As in the `score_tasks` of the estimator.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Score of each task.
        """
        estimator, _ = self._unadapted()
        options = {} if scoring is None else {"scoring": scoring}
        scores: Array = estimator.score_tasks(tasks, error_score=error_score, **options)
        return scores

    def coverage_tasks(self, tasks: Any, y: Any = None, groups: Any = None) -> TaskCoverage:
        """Measure on each of some new tasks how often the truth is covered.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support that were not passed to `meta_fit`.
        y, groups : None
            Tables have no fixed support.

        Returns
        -------
        coverage : TaskCoverage
            Coverage and mean size on the query of each task.
        """
        self._check_params()
        self.check_meta_fitted()
        estimator, changes = self._unadapted()
        checked = open_raw_tasks(estimator, tasks, y, groups).tasks
        for i, task in enumerate(checked):
            fixed_support(task, i)
        sizes = [self._size(estimator, task.y_support) for task in checked]
        if () in sizes:  # no rows of any class, where labels are local
            i = sizes.index(())
            raise TaskError(f"{label(checked[i], i)}: its support {WHY_ROWS}")
        thresholds = {
            size: self._threshold(estimator, (size, changes, self.alpha))
            for size in dict.fromkeys(sizes)
        }
        coverage, means = list[Array](), list[Array]()
        outputs = self._predict_outputs(estimator, checked)
        for task, output, size in zip(checked, outputs, sizes, strict=True):
            is_covered = self._scores(output, task.y_query) <= thresholds[size]
            coverage.append(is_covered.mean(axis=0).reshape(task.y.shape[1:]))
            means.append(self._mean_size(output, thresholds[size]).reshape(task.y.shape[1:]))
        n_support = np.array([len(task.y_support) for task in checked])
        n_query = np.array([len(task) for task in checked]) - n_support
        names = [label(task, i) for i, task in enumerate(checked)]
        return TaskCoverage(
            names, n_support, n_query, np.array(coverage), np.array(means), self.alpha
        )

    # ---- hooks -------------------------------------------------------------------------------

    @abstractmethod
    def _predict_outputs(self, estimator: BaseEstimator, tasks: Sequence[Task]) -> list[Outputs]:
        """Adapt to the support of each task, and predict its query."""

    @abstractmethod
    def _scores(self, output: Outputs, y: NDArray[Any]) -> Array:
        """Return nonconformity scores (n_query, n_outputs); infinite where there is none."""

    @abstractmethod
    def _mean_size(self, output: Outputs, threshold: Array) -> Array:
        """Return the mean size of intervals or sets, of each output."""

    @abstractmethod
    def _size(self, estimator: BaseEstimator, y: Any) -> Hashable:
        """Return the size of a support that calibration tasks must share."""

    @abstractmethod
    def _draw_rows(
        self, y: NDArray[Any], size: Any, rng: np.random.RandomState
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
        """Draw support and query of this size from the rows of a task; None if it is too small."""

    # ---- calibration -------------------------------------------------------------------------

    def _threshold(self, estimator: BaseEstimator, adapted: tuple[Any, str, float]) -> Array:
        """Return the threshold of each output; warn if it is infinite."""
        size, changes, alpha = adapted
        scores = self._calibration_scores(estimator, size, changes)
        if not scores:
            thresholds = np.full(1, np.inf)
        else:
            columns = range(scores[0].shape[1])
            thresholds = np.array(
                [conformal_threshold([s[:, k] for s in scores], alpha) for k in columns]
            )
        if np.isinf(thresholds).any():
            lost = sum(bool(np.isinf(s).any()) for s in scores)
            failed = f", of which {lost} have rows without a prediction" if lost else ""
            warn(
                f"{type(self).__name__} returns {self.without_threshold}: alpha={alpha:g} needs "
                f"{tasks_needed(alpha)} calibration tasks or more from which a support of size "
                f"{_described(size)} can be drawn, and there are {len(scores)}{failed}.",
                UserWarning,
            )
        return thresholds

    def _calibration_scores(self, estimator: BaseEstimator, size: Any, changes: str) -> list[Array]:
        """Return the scores of all calibration tasks that are large enough."""
        prior = self.meta_state
        if prior is None:
            return []
        key = f"{size} {self._score_name()} {changes}"
        if key not in prior.scores:
            tasks = self._with_supports(prior, size)
            outputs = self._predict_outputs(clone(estimator), tasks) if tasks else []
            prior.scores[key] = [
                self._scores(output, task.y_query)
                for output, task in zip(outputs, tasks, strict=True)
            ]
        return prior.scores[key]

    def _with_supports(self, prior: ConformalPrior, size: Any) -> list[Task]:
        """Return the calibration tasks with a support of a size, without those too small for it.

        The support of a task is drawn from its rows, unless it has a fixed one of this size.
        """
        tasks = []
        for i, task in enumerate(part.task() for part in prior.calibration):
            if task.support is not None and self._size(prior.estimator, task.y_support) == size:
                tasks.append(task)
                continue
            rng = np.random.RandomState([prior.seed, i])
            drawn = self._draw_rows(task.y, size, rng)
            if drawn is not None:
                support, query = drawn
                order = np.concatenate([support, query])
                tasks.append(take_rows(task, order, np.arange(len(support))))
        return tasks

    def _score_name(self) -> str:
        return ""

    # ---- the estimator -------------------------------------------------------------------------

    def _unadapted(self) -> tuple[BaseEstimator, str]:
        """Return the meta-fitted estimator with its current parameters, and what was changed."""
        prior = self.meta_state
        if prior is None:
            return clone(self.estimator), ""
        estimator, current = clone(prior.estimator), _fingerprints(self.estimator)
        changed = [k for k in {**prior.params, **current} if prior.params.get(k) != current.get(k)]
        if not changed:
            return estimator, ""
        params = self.estimator.get_params()
        replaced = [k for k in changed if k not in params or k not in prior.params]
        replaced += [k for k in changed if k in params and hasattr(params[k], "get_params")]
        if type(self.estimator) is not type(prior.estimator) or replaced:
            raise ValueError(
                f"The estimator of {type(self).__name__} was replaced since meta_fit. Call "
                "meta_fit again."
            )
        estimator.set_params(**{name: params[name] for name in changed})
        return estimator, repr([(name, current[name]) for name in sorted(changed)])

    def _hold_out(
        self, tasks: Any, y: Any, groups: Any, calibration_tasks: Any, rng: np.random.RandomState
    ) -> tuple[Any, Sequence[Task]]:
        """Return the tasks to train on, and those to calibrate on."""
        owner, estimator = type(self).__name__, self.estimator
        if isinstance(tasks, TaskDistribution) and calibration_tasks is None:
            raise TaskError(
                f"{owner} cannot hold out tasks of a distribution. Give calibration_tasks."
            )
        if calibration_tasks is not None:
            table = validation_table(calibration_tasks, y, groups)
            held_out = open_raw_tasks(estimator, *(table or (calibration_tasks, None, None))).tasks
            if y is not None:
                tasks = open_raw_tasks(estimator, tasks, y, groups).tasks
            return tasks, held_out
        checked = open_raw_tasks(estimator, tasks, y, groups).tasks
        if self.prefit:
            return [], checked
        try:
            train, test = train_test_split(
                np.arange(len(checked)), test_size=self.calibration_size, random_state=rng
            )
        except ValueError as error:
            raise TaskError(f"{owner} cannot hold out calibration tasks: {error}") from None
        return [checked[i] for i in np.sort(train)], [checked[i] for i in np.sort(test)]

    def _check_params(self) -> None:
        owner = type(self).__name__
        check_parameter("alpha", self.alpha, real(0, 1, open_left=True), owner)
        if not hasattr(self.estimator, "meta_fit"):
            raise TypeError(f"{owner} needs an estimator with meta_fit; got {self.estimator!r}.")
        if is_classifier(self.estimator) != is_classifier(self):
            kind = "classifier" if is_classifier(self) else "regressor"
            raise TypeError(f"{owner} needs a {kind}; got {self.estimator!r}.")
        if self.prefit and self.meta_state is None and not is_meta_fitted(self.estimator):
            raise NotMetaFittedError(
                f"{owner}(prefit=True) keeps the prior of its {type(self.estimator).__name__}, "
                "which is not meta-fitted yet. Call meta_fit(tasks) on it first."
            )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Tags:
        tags, inside = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.input_tags = inside.input_tags
        tags.target_tags.multi_output = inside.target_tags.multi_output
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state, session = dict(super().__getstate__()), saving()
        if session is None:
            return state
        if self.meta_state is not None:  # whoever loads it computes the scores again
            calibration = [part.to_plain() for part in self.meta_state.calibration]
            state["meta_state"] = self.meta_state._replace(calibration=calibration, scores={})
        return session.without_process(type(self), state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        prior = self.meta_state
        if loading() is not None:
            self._check_params()
            if prior is not None:
                calibration = [part.from_plain() for part in prior.calibration]
                self.meta_state = prior = prior._replace(calibration=calibration)
        if prior is not None:
            prior.freeze()


class TaskConformalRegressor(RegressorMixin, TaskConformalEstimator):
    """Regressor whose prediction intervals cover a new task with a known probability.

    `meta_fit` holds out some tasks, and meta-fits the estimator on the others. `predict_interval`
    draws a support from each calibration task, as large as that of the new task, adapts to it and
    scores its other rows by |y - mean|, or |y - mean| / std if the estimator predicts a standard
    deviation. The interval around a prediction is as wide as the quantile of these scores in which
    each calibration task counts the same (hierarchical conformal prediction).

    If tasks are exchangeable, the target of a random row of a random new task is in its interval
    with probability 1 - `alpha` or more, whatever the distribution of the tasks and however bad the
    estimator. This holds on average over tasks: a single task may have less, as `coverage_tasks`
    reports. Intervals are infinite if fewer than 1 / `alpha` - 1 calibration tasks are large
    enough.

    Parameters
    ----------
    estimator : meta-learner
        A regressor with `meta_fit`, `fit` and `predict`, also a
        :class:`~sklearn_meta.pipeline.MetaPipeline`; a clone of it is meta-fitted.
    alpha : float, default=0.1
        Probability of a miss: the coverage is at least 1 - `alpha`.
    calibration_size : float or int, default=0.25
        Share or number of the tasks of `meta_fit` to hold out for calibration.
    prefit : bool, default=False
        Whether to keep the learned prior of `estimator` and calibrate on all tasks of `meta_fit`.
        They must not be those that the estimator was meta-fitted on.
    random_state : int, RandomState instance or None, default=None
        Random state of the tasks to hold out and of their supports.

    Attributes
    ----------
    estimator_ : meta-learner
        The estimator, adapted to the last support.

    Raises
    ------
    TypeError
        If `estimator` has no `meta_fit`, or is not a regressor.
    TaskError
        From `meta_fit`, if a task is invalid, or there are too few.
    ValueError
        If a parameter or a support is invalid, or a structural parameter of the estimator was
        changed since `meta_fit`.

    See Also
    --------
    TaskConformalClassifier : Label sets for classification.

    Notes
    -----
    A calibration task with a fixed support of the right size keeps it, and all others get a random
    one. A task on which adapting fails has infinite scores. With several outputs, each has its own
    interval by the same rule: each covers with probability 1 - `alpha`, not all of them together.
    The estimator, and a file that it is saved to, holds the rows of the calibration tasks.

    References
    ----------
    Lee, Barber and Willett, "Distribution-Free Inference with Hierarchical Data", 2023.
    Dunn, Wasserman and Ramdas, "Distribution-Free Prediction Sets for Two-Layer Hierarchical
    Models", Journal of the American Statistical Association 118, 2023.

    Examples
    --------
    >>> from sklearn_meta import HierarchicalRegressor, TaskConformalRegressor
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(60, mean=[1, 2, 3], n_support=5, random_state=0).tasks
    >>> reg = TaskConformalRegressor(HierarchicalRegressor(), alpha=0.1, random_state=0)
    >>> reg = reg.meta_fit(tasks[:59]).fit(tasks[59].X_support, tasks[59].y_support)
    >>> y, intervals = reg.predict_interval(tasks[59].X_query)
    >>> intervals.shape
    (15, 2, 1)
    """

    target_type = "real"
    without_threshold = "infinite intervals"

    def predict_interval(self, X: Any) -> tuple[Array, Array]:
        """Predict targets and intervals.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            Predictions, as from `predict`.
        intervals : ndarray of shape (n_rows, 2, 1) or (n_rows, n_outputs, 2, 1)
            Lower and upper ends, as in MAPIE; the last axis is the only `alpha`.

        Warns
        -----
        UserWarning
            If there are too few calibration tasks, so that intervals are infinite.
        """
        check_is_fitted(self)
        std: Array | float = 1.0
        if _predicts_std(self.estimator_):
            y, std = self.estimator_.predict(X, return_std=True)
        else:
            y = self.estimator_.predict(X)
        threshold = self._threshold(self.estimator_, self._adapted)
        half = np.broadcast_to((threshold if y.ndim > 1 else threshold[0]) * std, y.shape)
        return y, np.stack([y - half, y + half], axis=-1)[..., None]

    def _predict_outputs(self, estimator: BaseEstimator, tasks: Sequence[Task]) -> list[Outputs]:
        if not _predicts_std(estimator):
            with collect_failures():  # rows without a prediction have infinite scores
                means = [prediction.y for prediction in predict_with_proba(estimator, tasks)]
            return [(m, np.ones_like(m)) for m in (_columns(y) for y in means)]
        outputs, failures = list[Outputs](), Failures()
        for i, task in enumerate(tasks):
            adapted = clone(estimator)
            if failures.fit(adapted, task.X_support, task.y_support, i, label(task, i), np.nan):
                mean, std = adapted.predict(task.X_query, return_std=True)
                outputs.append((_columns(mean), _columns(std)))
            else:
                missing = np.full_like(_columns(task.y_query), np.nan, dtype=np.float64)
                outputs.append((missing, missing))
        return outputs

    def _scores(self, output: Outputs, y: NDArray[Any]) -> Array:
        mean, std = output
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            scores = np.abs(_columns(y) - mean) / std
        return np.where(np.isnan(scores), np.inf, scores)

    def _mean_size(self, output: Outputs, threshold: Array) -> Array:
        return np.asarray((2 * threshold * output[1]).mean(axis=0))

    def _size(self, estimator: BaseEstimator, y: Any) -> int:
        return len(np.asarray(y))

    def _draw_rows(
        self, y: NDArray[Any], size: int, rng: np.random.RandomState
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
        return _draw_any_rows(y, size, rng)


def lac_scores(P: Array) -> Array:
    """Return 1 - p of each label (least ambiguous classifier)."""
    return 1 - P


def aps_scores(P: Array) -> Array:
    """Return the probability of all labels that are at least as likely (adaptive sets)."""
    return np.asarray((P[:, None, :] * (P[:, None, :] >= P[:, :, None])).sum(axis=2))


SCORES: dict[str, Callable[[Array], Array]] = {"lac": lac_scores, "aps": aps_scores}


class TaskConformalClassifier(ClassifierMixin, TaskConformalEstimator):
    """Classifier whose label sets contain the label in a new task with a known probability.

    `meta_fit` holds out some tasks, and meta-fits the estimator on the others. `predict_set` draws
    a support from each calibration task, of the same size as that of the new task, adapts to it and
    scores its other rows by 1 - p(y). The set of a row has all labels whose score is not above the
    quantile of these scores in which each calibration task counts the same (hierarchical conformal
    prediction).

    If tasks are exchangeable, the label of a random row of a random new task is in its set with
    probability 1 - `alpha` or more, whatever the distribution of the tasks and however bad the
    probabilities. This holds on average over tasks: a single task may have less, as
    `coverage_tasks` reports. A set has all labels if fewer than 1 / `alpha` - 1 calibration tasks
    are large enough; it may be empty, where no label is likely enough.

    Parameters
    ----------
    estimator : meta-learner
        A classifier with `meta_fit`, `fit` and `predict_proba`, also a
        :class:`~sklearn_meta.pipeline.MetaPipeline`; a clone of it is meta-fitted.
    alpha : float, default=0.1
        Probability of a miss: the coverage is at least 1 - `alpha`.
    conformity_score : {"lac", "aps"}, default="lac"
        Score of a label: "lac" is 1 - p(y), with the smallest sets on average; "aps" is the sum of
        the probabilities of all labels that are at least as likely, with larger sets where the
        estimator is in doubt, and never an empty one.
    calibration_size : float or int, default=0.25
        Share or number of the tasks of `meta_fit` to hold out for calibration.
    prefit : bool, default=False
        Whether to keep the learned prior of `estimator` and calibrate on all tasks of `meta_fit`.
        They must not be those that the estimator was meta-fitted on.
    random_state : int, RandomState instance or None, default=None
        Random state of the tasks to hold out and of their supports.

    Attributes
    ----------
    estimator_ : meta-learner
        The estimator, adapted to the last support.
    classes_ : ndarray of shape (n_classes,)
        Labels of the columns of a set.

    Raises
    ------
    TypeError
        If `estimator` has no `meta_fit`, or is not a classifier.
    TaskError
        From `meta_fit`, if a task is invalid, or there are too few.
    ValueError
        If a parameter or a support is invalid, or a structural parameter of the estimator was
        changed since `meta_fit`.

    See Also
    --------
    TaskConformalRegressor : Intervals for regression.

    Notes
    -----
    Where tasks share their labels, a support of as many rows is drawn at random. Where labels are
    local to a task, a support has as many classes as that of the new task, with as many rows of
    each, and the other classes of a calibration task are left out. A calibration task with a fixed
    support of the right size keeps it. A label that the estimator does not know of counts as a
    miss. The estimator, and a file that it is saved to, holds the rows of the calibration tasks.

    References
    ----------
    Lee, Barber and Willett, "Distribution-Free Inference with Hierarchical Data", 2023.
    Dunn, Wasserman and Ramdas, "Distribution-Free Prediction Sets for Two-Layer Hierarchical
    Models", Journal of the American Statistical Association 118, 2023.
    Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels",
    2019. Romano, Sesia and Candes, "Classification with Valid and Adaptive Coverage", 2020.

    Examples
    --------
    >>> from sklearn_meta import ProtoNetClassifier, TaskConformalClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(41, n_shot=2, random_state=0)
    >>> clf = ProtoNetClassifier(hidden_layer_sizes=8, max_meta_iter=10, random_state=0)
    >>> clf = TaskConformalClassifier(clf, alpha=0.1, random_state=0).meta_fit(tasks[:40])
    >>> clf = clf.fit(tasks[40].X_support, tasks[40].y_support)
    >>> y, sets = clf.predict_set(tasks[40].X_query)
    >>> sets.shape
    (54, 3, 1)
    """

    target_type = "class"
    without_threshold = "sets of all labels"

    def __init__(
        self,
        estimator: BaseEstimator,
        alpha: float = 0.1,
        *,
        conformity_score: str = "lac",
        calibration_size: float | int = 0.25,
        prefit: bool = False,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            estimator,
            alpha,
            calibration_size=calibration_size,
            prefit=prefit,
            random_state=random_state,
        )
        self.conformity_score = conformity_score

    def predict_proba(self, X: Any) -> Array:
        """Predict class probabilities as `estimator_` does.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        P : ndarray of shape (n_rows, n_classes)
            Probabilities, in the order of `classes_`.
        """
        check_is_fitted(self)
        P: Array = self.estimator_.predict_proba(X)
        return P

    def predict_set(self, X: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Predict labels and label sets.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,)
            The most likely labels, as from `predict`.
        sets : ndarray of bool of shape (n_rows, n_classes, 1)
            Whether a label of `classes_` is in the set, as in MAPIE; the last axis is the only
            `alpha`.

        Warns
        -----
        UserWarning
            If there are too few calibration tasks, so that sets have all labels.
        """
        P = self.predict_proba(X)
        threshold = self._threshold(self.estimator_, self._adapted)
        return self.predict(X), (SCORES[self.conformity_score](P) <= threshold)[..., None]

    def _check_params(self) -> None:
        super()._check_params()
        owner, scores = type(self).__name__, option(*SCORES)
        check_parameter("conformity_score", self.conformity_score, scores, owner)

    def _score_name(self) -> str:
        return self.conformity_score

    def _predict_outputs(self, estimator: BaseEstimator, tasks: Sequence[Task]) -> list[Outputs]:
        # the learner needs no query labels, and may refuse those that the support lacks
        hidden = [_hide_query(task) for task in tasks]
        with collect_failures():  # rows without a prediction have infinite scores
            predictions = predict_with_proba(estimator, hidden)
        return [(np.asarray(P), np.asarray(classes)) for _, P, classes in predictions]

    def _scores(self, output: Outputs, y: NDArray[Any]) -> Array:
        P, labels = output
        scores = np.full((len(y), 1), np.inf)
        if P.shape[1] == len(labels):
            column = np.searchsorted(labels, y).clip(max=len(labels) - 1)
            has_label, of_label = labels[column] == y, SCORES[self.conformity_score](P)
            scores[has_label, 0] = of_label[has_label, column[has_label]]
        return np.where(np.isnan(scores), np.inf, scores)

    def _mean_size(self, output: Outputs, threshold: Array) -> Array:
        return np.asarray((SCORES[self.conformity_score](output[0]) <= threshold).sum(1).mean())

    def _size(self, estimator: BaseEstimator, y: Any) -> int | tuple[int, ...]:
        if _has_shared_labels(estimator):
            return len(np.asarray(y))
        counts = np.unique(np.asarray(y), return_counts=True)[1]
        return tuple(sorted(counts.tolist(), reverse=True))

    def _draw_rows(
        self, y: NDArray[Any], size: Any, rng: np.random.RandomState
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
        if isinstance(size, int):
            return _draw_any_rows(y, size, rng)
        groups = order_rows(np.arange(len(y)), y, "stratified", rng)
        groups = [groups[i] for i in rng.permutation(len(groups))]
        support, query = list[NDArray[np.intp]](), list[NDArray[np.intp]]()
        for n in size:  # the largest first
            large = [i for i, rows in enumerate(groups) if len(rows) > n]
            if not large:
                return None
            rows = groups.pop(large[0])
            support.append(rows[:n])
            query.append(rows[n:])
        return np.concatenate(support), np.concatenate(query)


def _draw_any_rows(
    y: NDArray[Any], n: int, rng: np.random.RandomState
) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Draw n rows as support and leave the others as query."""
    rows = rng.permutation(len(y))
    return (rows[:n], rows[n:]) if len(rows) > n else None


def _hide_query(task: Task) -> Task:
    """Replace the labels of the query by one of the support."""
    if len(task.y_support) == 0:
        return task
    y = np.repeat(task.y_support[:1], len(task))
    y[task.support] = task.y_support
    return named_task(task.X, y, task.feature_names_in, task.support, task.name)


def _has_shared_labels(estimator: BaseEstimator) -> bool:
    """Whether a label means the same in all tasks, so that the prior knows it."""
    state = getattr(learner_of(estimator), "meta_state", None)
    members = getattr(state, "members", None)  # of a guarded learner
    if members is not None:
        return _has_shared_labels(members.meta)
    return bool(getattr(state, "shared_labels", False))


def _columns(y: NDArray[Any]) -> Array:
    """Return targets as a matrix with a column for each output."""
    return np.asarray(y, dtype=np.float64).reshape(len(y), -1)


def _predicts_std(estimator: BaseEstimator) -> bool:
    """Whether `predict` returns a standard deviation; of a parameter alone one cannot tell."""
    learner = learner_of(estimator)
    has_parameter = "return_std" in signature(learner.predict).parameters
    return has_parameter and bool(getattr(learner, "predicts_std", True))


def _fingerprints(estimator: BaseEstimator) -> dict[str, str]:
    """Return a text for each parameter that changes if the parameter itself is changed."""
    return {
        name: _fingerprint(value)
        for name, value in estimator.get_params().items()
        if name.rpartition("__")[2] != "random_state"  # it has no part in `fit` after meta_fit
    }


def _fingerprint(value: Any) -> str:
    if hasattr(value, "get_params") and not isinstance(value, type):
        return type(value).__qualname__  # its parameters have their own entries
    if isinstance(value, (list, tuple)):
        return repr([_fingerprint(item) for item in value])
    return repr(fingerprint(value))


def _described(size: Any) -> str:
    """Describe the size of a support."""
    if isinstance(size, int):
        return f"{size} rows"
    return f"{len(size)} classes of {', '.join(map(str, size))} rows"
