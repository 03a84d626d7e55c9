"""An estimator over tasks, whose samples scikit-learn's searches and curves hold out."""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.base.scoring import metric_of, score_one_by_one, scorer_of
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.model_selection.row_predictions import RowPredictions, predict_rows
from sklearn_meta.model_selection.scorer import mean_score
from sklearn_meta.outer.failures import check_error_score
from sklearn_meta.parameters import as_range, check_parameter, integer
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.tasks import Task, TaskDistribution
from sklearn_meta.tasks.split import SUPPORTS, draw_support
from sklearn_meta.tasks.tables import dense
from sklearn_meta.tasks.validate import (
    UNUSABLE,
    UsableTasks,
    label,
    usable_tasks,
    warn_of_skipped,
)

__all__ = [
    "TaskEstimator",
    "ensure_support",
    "is_meta_fitted",
    "learner_of",
    "open_raw_tasks",
    "reraise_interrupts",
    "skip_tasks",
    "support_range",
]


class TaskEstimator(BaseEstimator):
    """Meta-learner that lets scikit-learn's tools treat each task as one sample.

    `fit` meta-trains a copy of the estimator. `score` adapts it to the support of each task, scores
    it on the query, and averages over tasks. With this wrapper, scikit-learn's searches,
    cross-validation and learning curves hold out whole tasks:
    ``GridSearchCV(TaskEstimator(clf), {"estimator__meta_lr": ...}).fit(tasks)``.

    Parameters
    ----------
    estimator : meta-learner
        Estimator to meta-train. It is not modified, and its prior is ignored unless `prefit`.
    scoring : str, callable, list, dict or None, default=None
        How a task is scored. None: accuracy, or R^2 of a regressor. Otherwise a name of one of
        scikit-learn's scorers, a callable ``(estimator, X, y) -> float``, or several of them, as a
        list of names or a dict, for `score_tasks` only. With None or a name, a learner with a
        network adapts to many tasks at a time, and otherwise to one after the other.
    task : str, list of str or None, default=None
        Column or columns of a DataFrame that identify the task of a row, in place of `groups`.
    prefit : bool, default=False
        Whether to keep the learned prior of `estimator`. Then `fit` does not train, and a search
        tunes only the inner loop. The tasks of the search should not be those of meta-training.
    n_support : int or None, default=None
        Support rows (see `support`) to draw for tasks without a fixed support. None: the fewest
        that `estimator` is meta-trained for; a smaller task gives the rows that it has, but one, or
        but two for R^2.
    support : {"stratified", "random", "first"}, default="stratified"
        How these rows are drawn. "stratified": `n_support` rows of each class at random, or
        `n_support` rows for a regressor. "random": `n_support` rows at random, of any classes.
        "first": the first `n_support` rows of the task, as they came in time. For the last two,
        None as `n_support` is that number for each class of the task.
    random_state : int, RandomState instance or None, default=0
        Random state of these draws. With an int, a task gets the same support in each scoring.
    error_score : "raise" or float, default=np.nan
        Score of a task that cannot be used, or on which adapting diverges. NaN leaves the task out
        of the mean that `score` returns; any other number counts as its score. A warning names the
        task. "raise" raises the error.
    unusable : {"raise", "skip"}, default="raise"
        What `fit` does about a task that cannot be used: "skip" leaves it out with a warning, as
        `meta_fit` of `estimator` does with this parameter.

    Attributes
    ----------
    estimator_ : meta-learner
        The meta-fitted copy; ``estimator_.fit(X_support, y_support)`` adapts it.
    skipped_tasks_ : list of tuple
        (position, name, reason) of each task that `fit` skipped; only with ``unusable="skip"``.

    Raises
    ------
    TypeError
        From `fit`, if `estimator` is not a meta-learner.
    NotMetaFittedError
        From `fit`, if `prefit` and `estimator` is not meta-fitted.
    ValueError
        If `groups` was not passed on.

    See Also
    --------
    TaskKFold : Splits a table into folds of whole tasks.
    compare : Compares meta-learners with baselines on the same tasks.

    Notes
    -----
    Rows of a table are passed as ``fit(X, y, groups=...)``. scikit-learn's searches pass `groups`
    on if metadata routing is enabled, ``sklearn.set_config(enable_metadata_routing=True)``: `fit`
    and `score` request it by default. Without routing, name a column by `task`, or pass a list of
    tasks. Split with :class:`TaskKFold` or :class:`LeaveOneTaskOut`: plain K folds of a table cut
    tasks in two, and `score` refuses rows of a task of which others were trained on. Successive
    halving by rows and learning curves remove rows from tasks: pass a list (they then count
    tasks), or use ``resource="estimator__max_meta_iter"``.

    Candidates that differ only in the inner loop do not share a meta-training: most algorithms
    train through it, so another `inner_lr` learns another prior. `prefit` shares one.

    A candidate of a search that fails on hard tasks is scored only on the easy ones. To prevent
    that, set `error_score` to the score of a constant prediction, such as 0 for R^2.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.model_selection import TaskEstimator
    >>> tasks = make_blob_tasks(12, n_shot=2, random_state=0)
    >>> clf = ProtoNetClassifier(hidden_layer_sizes=8, max_meta_iter=10, random_state=0)
    >>> grid = {"estimator__meta_lr": [0.001, 0.01], "estimator__hidden_layer_sizes": [8, 16]}
    >>> search = GridSearchCV(TaskEstimator(clf), grid, cv=3).fit(tasks)
    >>> best = search.best_estimator_.estimator_
    >>> best.fit(tasks[0].X_support, tasks[0].y_support).predict(tasks[0].X_query).shape
    (54,)
    """

    # groups reach fit and score without any set-up by the user
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__score: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(
        self,
        estimator: BaseEstimator,
        *,
        scoring: Any = None,
        task: str | list[str] | None = None,
        prefit: bool = False,
        n_support: int | None = None,
        support: str = "stratified",
        random_state: Any = 0,
        error_score: Any = np.nan,
        unusable: str = "raise",
    ) -> None:
        self.estimator = estimator
        self.scoring = scoring
        self.task = task
        self.prefit = prefit
        self.n_support = n_support
        self.support = support
        self.random_state = random_state
        self.error_score = error_score
        self.unusable = unusable

    def fit(self, tasks: Any, y: Any = None, groups: Any = None) -> TaskEstimator:
        """Meta-train a copy of the estimator on these tasks, and on nothing else.

        Parameters
        ----------
        tasks : sequence of tasks, TaskDistribution, or table of shape (n_rows, ...)
            Tasks in any form that `meta_fit` accepts.
        y, groups : array-like of shape (n_rows,) or None, default=None
            Targets and tasks of the rows of a table.

        Returns
        -------
        self : object
            The fitted estimator, with `estimator_`.
        """
        if not hasattr(self.estimator, "meta_fit"):
            raise TypeError(
                f"TaskEstimator needs an estimator with meta_fit; got {self.estimator!r}."
            )
        check_parameter("unusable", self.unusable, UNUSABLE, "TaskEstimator")
        estimator, hashes = clone(self.estimator), {}
        if not self.prefit:
            skip = "skip" in (self.unusable, getattr(learner_of(estimator), "unusable", "raise"))
            names = skip_tasks(estimator) if skip else []
            checked: Any = tasks
            if not isinstance(tasks, TaskDistribution):
                usable = self._as_tasks(tasks, y, groups, "skip" if skip else "raise")
                if y is not None:  # rows of a table, which a split may have cut
                    hashes = hashes_of(usable.tasks)
                checked = usable.in_order(usable.tasks)
                if skip and not names:  # of another package
                    checked = usable.tasks
                    warn_of_skipped(usable.skipped, len(checked) + len(usable.skipped))
                    self.skipped_tasks_ = [task.entry for task in usable.skipped]
            estimator.reset_meta()  # an earlier prior has seen the held-out tasks
            with reraise_interrupts():
                estimator.meta_fit(checked)
            if names:
                self.skipped_tasks_ = estimator.skipped_tasks_
        elif not is_meta_fitted(estimator):
            raise NotMetaFittedError(
                f"TaskEstimator(prefit=True) keeps the prior of its {type(estimator).__name__}, "
                "which is not meta-fitted yet. Call meta_fit(tasks) on it first."
            )
        self.estimator_, self._trained_hashes = estimator, hashes
        return self

    def predict_tasks(self, tasks: Any, y: Any = None, groups: Any = None) -> list[NDArray[Any]]:
        """Adapt to the support of each task and predict its query.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            For tasks without a fixed support, one is drawn.
        y, groups : array-like of shape (n_rows,) or None, default=None
            Targets and tasks of the rows of a table.

        Returns
        -------
        y : list of ndarray of shape (n_query,) or (n_query, n_outputs)
            Predictions in the order of the tasks; NaN for targets and None for labels where
            adapting diverged.
        """
        check_is_fitted(self)
        split = self._split(self._new_tasks(tasks, y, groups), self.scoring)
        items = split.in_order(split.tasks)
        return list(self.estimator_.predict_tasks(items, error_score=self.error_score))

    def predict_rows(self, X: Any, y: Any, groups: Any = None) -> RowPredictions:
        """Adapt to the labelled rows of each task of a table, and predict its unlabelled rows.

        Parameters
        ----------
        X : table of shape (n_rows, ...)
            Rows of all tasks, in any order; a DataFrame of pandas or polars, or an array.
        y : array-like of shape (n_rows,) or str
            Labels or targets, missing (None, NaN) for the rows to predict; or the column name.
        groups : array-like of shape (n_rows,) or str, default=None
            The task of each row, or the column name; None: the column named by `task`.

        Returns
        -------
        RowPredictions
            One entry for each unlabelled row, in the order of the table; probabilities have a
            column for each class of any task. Missing for tasks on which adapting diverged. A task
            without labelled rows is predicted by the prior, and missing if there is none.

        Raises
        ------
        TaskError
            If all rows have a label, or no task can be predicted.
        """
        check_is_fitted(self)
        groups = self.task if groups is None else groups
        if groups is None:
            raise ValueError("predict_rows needs groups=, the task of each row of X.")
        return predict_rows(self.estimator_, X, y, groups, self.error_score)

    def score_tasks(
        self, tasks: Any, y: Any = None, groups: Any = None, *, scoring: Any = None
    ) -> NDArray[np.float64] | dict[str, NDArray[np.float64]]:
        """Score the query of each task, after adapting to its support.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            For tasks without a fixed support, one is drawn.
        y, groups : array-like of shape (n_rows,) or None, default=None
            Targets and tasks of the rows of a table.
        scoring : str, callable, list, dict or None, default=None
            How to score a task. None: as the parameter of the same name says.

        Returns
        -------
        scores : ndarray of shape (n_tasks,), or dict of them
            A dict if `scoring` names several metrics.
        """
        return self.score_by(self.scoring if scoring is None else scoring, tasks, y, groups)

    def score(self, tasks: Any, y: Any = None, groups: Any = None) -> float:
        """Return the mean score over the tasks that have one.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            For tasks without a fixed support, one is drawn.
        y, groups : array-like of shape (n_rows,) or None, default=None
            Targets and tasks of the rows of a table.

        Returns
        -------
        float
            The higher the better; NaN if no task has a score.

        Raises
        ------
        ValueError
            If `scoring` names several metrics.
        """
        scores = self.score_tasks(tasks, y, groups)
        if isinstance(scores, dict):
            raise ValueError(
                f"score is one number, but scoring names {list(scores)}. Use score_tasks, or "
                "scoring={name: task_scorer(name), ...} of the search or of cross_validate."
            )
        return mean_score(scores)

    def score_by(self, scoring: Any, tasks: Any, y: Any = None, groups: Any = None) -> Any:
        """Score the query of each task by another `scoring`.

        Parameters
        ----------
        scoring : str, callable, list, dict or None
            Replaces the parameter of the same name.
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            As in `score_tasks`.
        y, groups : array-like of shape (n_rows,) or None, default=None
            Targets and tasks of the rows of a table.

        Returns
        -------
        scores : ndarray of shape (n_tasks,), or dict of them
            A dict if `scoring` names several metrics.
        """
        check_is_fitted(self)
        checked = self._new_tasks(tasks, y, groups)
        if y is not None:
            self._check_not_cut(checked.tasks)
        split = self._split(checked, scoring)
        items = split.in_order(split.tasks)
        if scoring is None:
            return self.estimator_.score_tasks(items, error_score=self.error_score)
        if isinstance(scoring, str) and isinstance(learner_of(self.estimator_), BaseMetaLearner):
            how = {"scoring": scoring, "error_score": self.error_score}
            return self.estimator_.score_tasks(items, **how)  # many tasks at a time
        if isinstance(scoring, str) or not np.iterable(scoring):
            return self._by_scorers(split, {"": scoring})[""]
        scorers = scoring if isinstance(scoring, Mapping) else {s: s for s in scoring}
        return self._by_scorers(split, scorers)

    def _by_scorers(
        self, tasks: UsableTasks, scoring: Mapping[str, Any]
    ) -> dict[str, NDArray[np.float64]]:
        for each in scoring.values():
            scorer_of(each)  # refuses None, which is no name of a metric in a list or a dict
        metrics = [metric_of(each, is_classifier(self.estimator)) for each in scoring.values()]
        scores = score_one_by_one(self.estimator_, tasks, metrics, self.error_score)
        return dict(zip(scoring, scores.T, strict=True))

    def _as_tasks(self, tasks: Any, y: Any, groups: Any, unusable: str) -> UsableTasks:
        groups = self.task if groups is None else groups
        if y is not None and groups is None:
            raise ValueError(
                "TaskEstimator got X and y but no groups, which say of which task a row is. "
                "scikit-learn's searches give groups to the splitter alone, unless metadata "
                "routing is on: sklearn.set_config(enable_metadata_routing=True). Or pass a list, "
                "as_tasks(X, y, groups), or a DataFrame and TaskEstimator(..., task='column')."
            )
        return open_raw_tasks(
            self.estimator, tasks, y, None if y is None else groups, unusable=unusable
        )

    def _new_tasks(self, tasks: Any, y: Any, groups: Any) -> UsableTasks:
        """Return the tasks to predict; one that cannot be used costs only itself."""
        check_error_score(self.error_score, "TaskEstimator")
        return self._as_tasks(tasks, y, groups, "raise" if self.error_score == "raise" else "skip")

    def _split(self, tasks: UsableTasks, scoring: Any) -> UsableTasks:
        """Draw a support for each task without a fixed one, all with the same seed."""
        check_parameter("support", self.support, SUPPORTS, "TaskEstimator")
        if self.n_support is not None:
            int(check_parameter("n_support", self.n_support, integer(1), "TaskEstimator"))
        pairs = zip(tasks.tasks, tasks.positions, strict=True)
        without = [label(task, i) for task, i in pairs if task.support is None]
        if not without:
            return tasks
        size = self.n_support
        if size is None:
            sizes = support_range(self.estimator)
            if sizes is None:
                raise TaskError(
                    f"{without[0]} has no fixed support, and "
                    f"{type(learner_of(self.estimator)).__name__} does not say how many rows to "
                    "draw. Give TaskEstimator n_support=, or the tasks a support."
                )
            size = sizes[0]
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        how = size, is_classifier(self.estimator), self.support, seed
        names = [*scoring.values()] if isinstance(scoring, Mapping) else scoring
        names = names if isinstance(names, (list, tuple)) else ["r2" if names is None else names]
        n_query = 2 if "r2" in names and not is_classifier(self.estimator) else 1
        is_exact = self.n_support is not None
        tasks.map(
            lambda t, i: ensure_support(t, i, *how, is_exact=is_exact, n_query=n_query),
            skip=self.error_score != "raise",
        )
        return tasks

    def _check_not_cut(self, tasks: Sequence[Task]) -> None:
        """Refuse rows of a task if other rows of the same task were trained on."""
        trained = self._trained_hashes
        for name, digest in hashes_of([t for t in tasks if t.name in trained]).items():
            if digest != trained[name]:
                raise TaskError(
                    f"Task {name!r} is cut in two: it was meta-trained on, and other rows of it "
                    "are to be scored, which would look better than new tasks do. Hold out whole "
                    "tasks: cv=TaskKFold(...), LeaveOneTaskOut(), or a list of tasks. (If it is "
                    "another task, give it another name.)"
                )


def open_raw_tasks(
    estimator: BaseEstimator, tasks: Any, y: Any, groups: Any, *, unusable: str = "raise"
) -> UsableTasks:
    """Convert tasks; with a pipeline, whose transformers validate X, without looking at X."""
    if isinstance(estimator, MetaPipeline):
        return usable_tasks(tasks, y, groups, unusable=unusable, raw=True)
    target_type = "class" if is_classifier(estimator) else "real"
    return usable_tasks(tasks, y, groups, target_type=target_type, unusable=unusable)


def skip_tasks(estimator: BaseEstimator) -> list[str]:
    """Let an estimator, and those inside it, skip tasks; return the parameters that say so."""
    names = [name for name in estimator.get_params() if name.split("__")[-1] == "unusable"]
    estimator.set_params(**dict.fromkeys(names, "skip"))
    return names


def learner_of(estimator: BaseEstimator) -> Any:
    """Return the last step of (nested) meta-pipelines, or the estimator itself."""
    while isinstance(estimator, MetaPipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def is_meta_fitted(estimator: BaseEstimator) -> bool:
    """Return whether a meta-learner, or the one in a pipeline, has a learned prior."""
    learner = learner_of(estimator)
    return getattr(learner, "meta_state", None) is not None or hasattr(learner, "theta_")


def support_range(estimator: BaseEstimator) -> tuple[int, int] | None:
    """Return the range of support rows (of each class) that a meta-learner is trained for.

    A pipeline or wrapper without such a parameter has the range of the meta-learner inside it;
    None if no parameter defines it.
    """
    names = ("n_shot", "n_support") if is_classifier(estimator) else ("n_support",)
    learner = learner_of(estimator)
    while learner is not None:
        for name in names:
            if (size := getattr(learner, name, None)) is not None:
                low, high = as_range(size, name, type(learner).__name__, least=0)
                return max(low, 1), max(high, 1)
        learner = learner_of(getattr(learner, "estimator", None))
    return None


def ensure_support(
    task: Task,
    i: int,
    size: int,  # rows, of each class of a classification task unless it is exact and not stratified
    is_class: bool,
    support: str,
    random_state: Any,
    *,
    is_exact: bool,
    n_query: int = 1,  # rows that a small task keeps for its query
) -> Task:
    """Return task i with a support drawn as `TaskEstimator` says, or as it is if it has one."""
    if task.support is not None:
        return task
    if is_class and support != "stratified" and not is_exact:
        size *= len(np.unique(task.y))
    try:
        return draw_support(
            task, size, is_class, support, random_state, is_exact=is_exact, n_query=n_query
        )
    except TaskError as error:
        raise TaskError(f"{label(task, i)}: no support can be drawn. {error}") from None


def hashes_of(tasks: Sequence[Task]) -> dict[str, str]:
    """Return a hash of the rows of each named task."""
    hashes = {}
    for task in tasks:
        if task.name is not None:
            digest = hashlib.blake2b()
            for a in (dense(task.X), task.y):  # objects by value: equal strings may be two objects
                digest.update(repr(a.tolist()).encode() if a.dtype.kind == "O" else a.tobytes())
            hashes[task.name] = digest.hexdigest()
    return hashes


@contextmanager
def reraise_interrupts() -> Iterator[None]:
    """Re-raise a Ctrl-C that `meta_fit` has handled, as a half-trained candidate has no score.

    A KeyboardInterrupt that a callback raises to stop the training is not affected.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # other threads receive no signals
        return
    handler, signals = before, list[int]()

    def record(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        handler(number, frame)

    signal.signal(signal.SIGINT, record)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if signals:
        raise KeyboardInterrupt("Interrupted while a candidate was meta-trained.")
