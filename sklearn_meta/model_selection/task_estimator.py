"""A meta-learner whose rows are tasks: what scikit-learn's searches and curves then hold out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.model_selection.given import (
    given_tasks,
    marks_of,
    refuse_cut_tasks,
    with_support,
)
from sklearn_meta.model_selection.interrupt import heeding_interrupts
from sklearn_meta.model_selection.row_predictions import RowPredictions, predicted_rows
from sklearn_meta.model_selection.scorer import mean_score, scorer_of
from sklearn_meta.outer.failures import Failures, check_error_score
from sklearn_meta.pipeline.raw_tasks import RawTask
from sklearn_meta.tasks import Task, TaskDistribution
from sklearn_meta.tasks.validate import label

__all__ = ["TaskEstimator"]


class TaskEstimator(BaseEstimator):
    """Meta-learner that lets scikit-learn's tools treat each task as one sample.

    `fit` meta-trains a copy, `score` adapts it to the support of each task given, judges it on the
    query, and averages over tasks. So scikit-learn's searches, cross-validation and curves hold out
    whole tasks: ``GridSearchCV(TaskEstimator(clf), {"estimator__meta_lr": ...}).fit(tasks)``.

    Parameters
    ----------
    estimator : meta-learner
        It stays as it is; what it has learned before plays no part, unless `prefit`.
    scoring : str, callable, list, dict or None, default=None
        How a task is judged. None: accuracy, or R^2 of a regressor, of all tasks in one pass. Else
        a name of scikit-learn's, a callable ``(estimator, X, y) -> float``, or several of them, by
        name or in a dict, for `score_tasks` alone.
    task : str, list of str or None, default=None
        The column or columns of a DataFrame that say which task a row is of, in place of
        `groups`.
    prefit : bool, default=False
        Whether to keep the prior that `estimator` brings: `fit` then trains nothing, and a search
        tunes the inner loop alone. The tasks of the search should not be those of meta-training.
    n_support : int or None, default=None
        Rows of support (of each class, for a classifier) to draw of tasks that have no fixed one;
        None: the fewest that `estimator` is meta-trained for.
    random_state : int, RandomState instance or None, default=0
        Of that draw: with an int a task gets the same support whenever it is judged.
    error_score : "raise" or float, default=np.nan
        The score of a task on which adapting diverges. NaN leaves the task out of the mean that
        `score` returns; with another number it counts as that. A warning names the task. "raise"
        makes it an error.

    Attributes
    ----------
    estimator_ : meta-learner
        The meta-fitted copy; ``estimator_.fit(X_support, y_support)`` adapts it.

    Raises
    ------
    TypeError
        From `fit`, if `estimator` is no meta-learner.
    NotMetaFittedError
        From `fit`, if `prefit` and there is no prior.
    ValueError
        If `groups` did not arrive.

    See Also
    --------
    TaskKFold : Splits a table into folds of whole tasks.
    compare : Compares meta-learners with baselines on the same tasks.

    Notes
    -----
    Rows in a table are spelt ``fit(X, y, groups=...)``. The searches of scikit-learn hand `groups`
    on where metadata routing is on, ``sklearn.set_config(enable_metadata_routing=True)``: `fit` and
    `score` ask for it of themselves. Without routing, name a column by `task`, or pass a list of
    tasks. Split by :class:`TaskKFold` and its like: plain K folds of a table cut tasks in two, and
    `score` refuses to judge rows of a task of which others were trained on. Successive halving by
    rows and learning curves take rows away from tasks: give them a list (then they count tasks), or
    ``resource="estimator__max_meta_iter"``.

    Candidates that differ in the inner loop alone do not share a meta-training of themselves: most
    algorithms train through it, so another `inner_lr` learns another prior. `prefit` shares one.

    A candidate of a search that fails on hard tasks is judged on the easy ones. Set `error_score`
    to the score of guessing, such as 0 for R^2, where that must not help it.

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
        estimator: Any,
        *,
        scoring: Any = None,
        task: str | list[str] | None = None,
        prefit: bool = False,
        n_support: int | None = None,
        random_state: Any = 0,
        error_score: Any = np.nan,
    ) -> None:
        self.estimator = estimator
        self.scoring = scoring
        self.task = task
        self.prefit = prefit
        self.n_support = n_support
        self.random_state = random_state
        self.error_score = error_score

    def fit(self, tasks: Any, y: Any = None, groups: Any = None) -> TaskEstimator:
        """Meta-train a copy of the estimator on these tasks, and on nothing else.

        Parameters
        ----------
        tasks : sequence of tasks, TaskDistribution, or table of shape (n_rows, ...)
            As `meta_fit` takes them.
        y, groups : array-like of shape (n_rows,) or None, default=None
            Targets and tasks of the rows of a table.

        Returns
        -------
        self : object
            With `estimator_`.
        """
        if not hasattr(self.estimator, "meta_fit"):
            raise TypeError(
                f"TaskEstimator needs an estimator with meta_fit; got {self.estimator!r}."
            )
        own, trained = clone(self.estimator), {}
        if not self.prefit:
            checked: Any = tasks
            if not isinstance(tasks, TaskDistribution):
                checked = self._as_tasks(tasks, y, groups)
            if y is not None:  # rows of a table, which a split may have torn from their task
                trained = marks_of(checked)
            own.reset_meta()  # carried state has seen tasks held out
            with heeding_interrupts():
                own.meta_fit(checked)
        elif not hasattr(own, "theta_"):
            raise NotMetaFittedError(
                f"TaskEstimator(prefit=True) keeps the prior of its {type(own).__name__}, which "
                "is not meta-fitted yet. Call meta_fit(tasks) on it first."
            )
        self.estimator_, self._trained = own, trained
        return self

    def predict_tasks(self, tasks: Any, y: Any = None, groups: Any = None) -> list[NDArray[Any]]:
        """Adapt to the support of each task and predict its query.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            Of tasks without a fixed support, one is drawn.
        y, groups : array-like of shape (n_rows,) or None, default=None
            Targets and tasks of the rows of a table.

        Returns
        -------
        y : list of ndarray of shape (n_query,) or (n_query, n_outputs)
            In the order of the tasks. Where adapting diverged, NaN for targets, and None for
            labels.
        """
        check_is_fitted(self)
        split = self._split(self._as_tasks(tasks, y, groups))
        return list(self.estimator_.predict_tasks(split, error_score=self.error_score))

    def predict_rows(self, X: Any, y: Any, groups: Any = None) -> RowPredictions:
        """Adapt to the labelled rows of each task of a table, and predict those without a label.

        Parameters
        ----------
        X : table of shape (n_rows, ...)
            Rows of all tasks, in any order; a frame of pandas or polars, or an array.
        y : array-like of shape (n_rows,) or str
            Labels or targets, missing (None, NaN) where a row is to be predicted; or the column.
        groups : array-like of shape (n_rows,) or str, default=None
            The task of each row, or the column; None: the column named by `task`.

        Returns
        -------
        RowPredictions
            One entry a row without a label, in the order of the table; probabilities have a column
            for each class of any task. Missing for the rows of a task on which adapting diverged.

        Raises
        ------
        TaskError
            If no row is without a label, or all rows of a task are.
        """
        check_is_fitted(self)
        groups = self.task if groups is None else groups
        if groups is None:
            raise ValueError("predict_rows needs groups=, the task of each row of X.")
        return predicted_rows(self.estimator_, X, y, groups, self.error_score)

    def score_tasks(
        self, tasks: Any, y: Any = None, groups: Any = None
    ) -> NDArray[np.float64] | dict[str, NDArray[np.float64]]:
        """Score the query of each task, after adapting to its support.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            Of tasks without a fixed support, one is drawn.
        y, groups : array-like of shape (n_rows,) or None, default=None
            Targets and tasks of the rows of a table.

        Returns
        -------
        scores : ndarray of shape (n_tasks,), or dict of them
            A dict where `scoring` names several metrics.
        """
        return self.score_by(self.scoring, tasks, y, groups)

    def score(self, tasks: Any, y: Any = None, groups: Any = None) -> float:
        """Mean score over the tasks that have one.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            Of tasks without a fixed support, one is drawn.
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
        """Score the query of each task as another `scoring` has it.

        Parameters
        ----------
        scoring : str, callable, list, dict or None
            In place of the parameter.
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            As in `score_tasks`.
        y, groups : array-like of shape (n_rows,) or None, default=None
            Targets and tasks of the rows of a table.

        Returns
        -------
        scores : ndarray of shape (n_tasks,), or dict of them
            A dict where `scoring` names several metrics.
        """
        check_is_fitted(self)
        given = self._as_tasks(tasks, y, groups)
        refuse_cut_tasks(self._trained if y is not None else {}, given)
        split = self._split(given)
        if scoring is None:
            return self.estimator_.score_tasks(split, error_score=self.error_score)
        if isinstance(scoring, str) or not np.iterable(scoring):
            return self._by_scorers(split, {"": scoring})[""]
        named = scoring if isinstance(scoring, Mapping) else {s: s for s in scoring}
        return self._by_scorers(split, named)

    # ---- tasks and scorers ---------------------------------------------------------------------

    def _by_scorers(
        self, tasks: Sequence[Task | RawTask], scoring: Mapping[str, Any]
    ) -> dict[str, NDArray[np.float64]]:
        check_error_score(self.error_score, "TaskEstimator")
        scorers = [scorer_of(s) for s in scoring.values()]
        adapted, failures = clone(self.estimator_), Failures()
        found = np.full((len(tasks), len(scorers)), np.nan)
        for i, t in enumerate(tasks):
            rows, name = (t.X_support, t.y_support), label(t, i)
            try:
                if not failures.fit(adapted, *rows, i, name, self.error_score):
                    found[i] = self.error_score
                    continue
                found[i] = [float(scorer(adapted, t.X_query, t.y_query)) for scorer in scorers]
            except FloatingPointError:  # of error_score="raise"
                raise
            except Exception as error:  # whatever a scorer of the user's raises
                raise TaskError(f"{name}: {list(scoring.values())}: {error}") from error
        failures.report(len(tasks), self.error_score)
        return dict(zip(scoring, found.T, strict=True))

    def _as_tasks(self, tasks: Any, y: Any, groups: Any) -> Sequence[Task | RawTask]:
        return given_tasks(self.estimator, self.task, tasks, y, groups)

    def _split(self, tasks: Sequence[Task | RawTask]) -> list[Task | RawTask]:
        return with_support(self.estimator, self.n_support, self.random_state, tasks)
