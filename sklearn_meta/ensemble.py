"""Ensembles of a meta-learner with two simple estimators, weighted by the support of a task."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_meta._archive import loading, save_object, saving
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.base.validation import validate_query, validate_support
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.model_selection.row_predictions import predict_with_proba
from sklearn_meta.model_selection.task_estimator import ensure_support, support_range
from sklearn_meta.outer.failures import (
    FACTOR,
    NUMERICAL,
    SUPPORT,
    Failures,
    Reason,
    check_error_score,
    collect_failures,
    no_prediction,
)
from sklearn_meta.parameters import as_range, check_parameter, integer
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.arrays import dense, stack_rows
from sklearn_meta.tasks.convert import validation_table
from sklearn_meta.tasks.frames import feature_names
from sklearn_meta.tasks.validate import check_feature_names, check_task_names, label

__all__ = ["GuardedMetaClassifier", "GuardedMetaEstimator", "GuardedMetaRegressor"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Why = dict[str, str]  # by member, the reason why it cannot predict a task

MEMBERS = ("meta", "local", "pooled")
ONLY_LOCAL = np.array([0.0, 1.0, 0.0])
MIN_PROBABILITY = 1e-6  # so that one confident mistake does not decide everything
MAX_OFFSET = 12.0  # e^-12 of the weight is none
OFFSET_PENALTY = 1e-3  # of squared offsets, in units of the relative loss of a task
MIN_TRIALS, TRIAL_FOLDS = 10, 5  # trials to decide whether trust pays, and their folds


class GuardedMetaEstimator(BaseEstimator, ABC):
    """Base class of the guarded classifier and the guarded regressor.

    Parameters
    ----------
    estimator : meta-learner
        Estimator to guard; a clone of it is meta-fitted.
    local, pooled : estimator or None, default=None
        Estimators fitted to each support alone, and to the rows of all tasks together.
    n_support : int or None, default=None
        Support rows to draw from tasks of meta-training without a fixed support.
    cv, n_folds : int, default=10 and 3
        Folds of a support, and of the tasks of meta-training.
    random_state : int, RandomState instance or None, default=None
        Random state of folds and supports.
    """

    target_type: ClassVar[str]  # "class" or "real"
    _meta_state: GuardPrior | None = None

    def __init__(
        self,
        estimator: Any,
        *,
        local: Any = None,
        pooled: Any = None,
        n_support: int | None = None,
        cv: int = 10,
        n_folds: int = 3,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.local = local
        self.pooled = pooled
        self.n_support = n_support
        self.cv = cv
        self.n_folds = n_folds
        self.random_state = random_state

    def meta_fit(
        self, tasks: Any, y: Any = None, groups: Any = None, *, validation_tasks: Any = None
    ) -> GuardedMetaEstimator:
        """Meta-fit the estimator, fit the pooled one, and learn how far to trust a support.

        Parameters
        ----------
        tasks : sequence of tasks, or table of shape (n_rows, ...)
            At least two tasks, in any form that `estimator` accepts.
        y, groups : array-like of shape (n_rows,), str or None, default=None
            Targets and tasks of the rows of a table, or the names of these columns.
        validation_tasks : sequence of tasks or table, default=None
            Passed to the `meta_fit` of `estimator`.

        Returns
        -------
        self : object
            The estimator with a learned prior, and without an earlier adaptation.

        Raises
        ------
        TaskError
            If a task is invalid, or there is only one.
        ValueError
            If a parameter is out of range.
        FloatingPointError
            If meta-training diverges, or all members fail on each task.
        """
        self._check_params()
        checked = as_tasks(tasks, y, groups, target_type=self.target_type)
        table = validation_table(validation_tasks, y, groups)
        if table is not None:
            validation_tasks = as_tasks(*table, target_type=self.target_type)
        name, n_tasks = type(self).__name__, len(checked)
        if n_tasks < 2:
            raise TaskError(f"{name} needs two tasks or more to learn weights from.")
        rng = check_random_state(self.random_state)
        split = [self._with_support(task, i, rng) for i, task in enumerate(checked)]
        episodes = [self._episode(task, i) for i, task in enumerate(split)]
        n_folds = min(int(check_parameter("n_folds", self.n_folds, integer(2), name)), n_tasks)
        folds = KFold(n_folds, shuffle=True, random_state=rng.randint(np.iinfo(np.int32).max))
        trials, reasons = list[Trial](), dict[int, Why]()
        for train, test in folds.split(np.zeros(n_tasks)):
            members = self._fit_members([checked[i] for i in train], validation_tasks)
            with collect_failures():  # warned of below, by the names of the user
                some, why = members.try_tasks(
                    [episodes[i] for i in test], [split[i].y_query for i in test], self.cv
                )
            trials += some
            reasons |= dict(zip(test.tolist(), why, strict=True))
        trials = _without_outliers(trials, [*reasons.values()], self.target_type)
        trials = [trial for trial in trials if np.isfinite(trial.outputs).all(axis=(1, 2)).any()]
        if not trials:
            raise FloatingPointError(f"{name} has no member that predicts. Task 0: {reasons[0]}")
        members = self._fit_members(checked, validation_tasks)
        self.reset_meta()
        calibration = calibrate(trials, is_classifier(self))
        self._meta_state = make_prior(members, calibration, checked[0].feature_names_in)
        names = [label(task, i) for i, task in enumerate(checked)]
        _warn_left_out([reasons[i] for i in range(n_tasks)], names)
        return self

    def fit(self, X: Any, y: Any) -> GuardedMetaEstimator:
        """Weigh the members by the support of a new task, and fit them to it.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Rows of the support.
        y : array-like of shape (n_rows,)
            Labels or targets of the support.

        Returns
        -------
        self : object
            The estimator with `weights_`. Without `meta_fit`, it is the local member alone.

        Notes
        -----
        A member that diverges on the support, whose predictions are not finite, or whose loss on
        the support is absurd, is left out with a warning. If none is left, the local member is the
        mean of the support, or its class frequencies.
        """
        self._check_params()
        prior = self._meta_state
        if prior is not None:
            check_feature_names(feature_names(X), prior.feature_names)
        X, y = validate_support(self, X, y, allow_nd=True, kind=self.target_type)
        classes = np.unique(y) if is_classifier(self) else None
        members = Members(None, self._make_local(), None) if prior is None else prior.members
        episode = Episode(X, y, X, classes)
        fitted, why = members.fit(episode)
        if all(member is None for member in fitted):
            weights = np.zeros(len(MEMBERS))
        elif prior is None:
            weights = ONLY_LOCAL
        else:
            weights = prior.weigh([episode], [fitted.predict(X, classes)], [why], self.cv)[0]
        if not weights.any():
            fitted, weights = fitted._replace(local=_fit_dummy(episode)), ONLY_LOCAL
        self._fitted, self._y_shape = fitted, y.shape[1:]
        self.weights_ = dict(zip(MEMBERS, weights.tolist(), strict=True))
        if classes is not None:
            self.classes_ = classes
        _warn_left_out([why], [SUPPORT])
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the labels or targets of query rows.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            The most likely labels from `classes_`, or targets in the shape of the `y` that was
            fitted.
        """
        P = self._blend(X)
        return _decide(P, getattr(self, "classes_", None), self._y_shape)

    def predict_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> list[NDArray[Any]]:
        """Fit the support of each task and predict its query, many tasks at a time.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support.
        error_score : "raise" or float, default=np.nan
            What to do about a task for which no member has finite predictions. With a number, its
            predictions are missing, and a warning names it; the other tasks are predicted.

        Returns
        -------
        y : list of ndarray of shape (n_query,)
            Predicted labels or targets, in the order of the tasks. Missing ones are NaN for
            targets, and None for labels.

        Raises
        ------
        TaskError
            If a task is invalid, or has no fixed support.
        """
        checked, predicted, failures = self._predict_tasks(tasks, error_score)
        failures.report(len(checked), error_score)
        return predicted

    def weights_tasks(self, tasks: Any) -> Array:
        """Return the weights of the members for each task, by its support.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support.

        Returns
        -------
        ndarray of shape (n_tasks, 3)
            Weights of the meta-learner, the local and the pooled estimator; they sum to 1.
        """
        return self._blend_tasks(tasks)[2]

    def score_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> Array:
        """Return the accuracy (R^2 of a regressor) on the query of each task.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support.
        error_score : "raise" or float, default=np.nan
            Score of a task for which no member has finite predictions; a warning names it.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Score of each task.
        """
        metric = accuracy_score if is_classifier(self) else r2_score
        checked, predicted, failures = self._predict_tasks(tasks, error_score)
        scores = [
            error_score if i in failures.failed else metric(task.y_query, y)
            for i, (task, y) in enumerate(zip(checked, predicted, strict=True))
        ]
        failures.report(len(checked), error_score)
        return np.array(scores, dtype=np.float64)

    @property
    def meta_state(self) -> GuardPrior | None:
        """The learned prior; None before `meta_fit`."""
        return self._meta_state

    @property
    def calibration_(self) -> Calibration:
        """How the members are weighed, as learned on the tasks of meta-training."""
        return self._check_meta_fitted().calibration

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, prior and last adaptation to a file, for :func:`sklearn_meta.load`.

        The file holds the meta-learner as that of its own `save` does, and the local and pooled
        estimators. `load` asks for trust in types of these that skops does not know.

        Parameters
        ----------
        path : str or os.PathLike
            The file; it is replaced if it exists.

        Raises
        ------
        SaveError
            If one of the estimators cannot be saved.
        """
        save_object(self, path)

    def __getstate__(self) -> dict[str, Any]:
        state, prior = dict(super().__getstate__()), self._meta_state
        if prior is not None:
            learned = {"members": tuple(prior.members), "calibration": prior.calibration._asdict()}
            state["_meta_state"] = learned | {"feature_names": prior.feature_names}
        if "_fitted" in state:
            state["_fitted"] = tuple(self._fitted)
        session = saving()
        return state if session is None else session.without_process(type(self), state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        learned: Any = self._meta_state
        if learned is not None:
            members = Members(*learned["members"])
            calibration = Calibration(**learned["calibration"])
            self._meta_state = make_prior(members, calibration, learned["feature_names"])
        if "_fitted" in state:
            self._fitted = Members(*state["_fitted"])
        if loading() is not None:
            self._check_loaded()

    def _check_loaded(self) -> None:
        """Refuse parts from a file that do not go together."""
        self._check_params()
        if self._meta_state is not None:
            learned = self._meta_state.calibration
            vectors = (learned.offset, learned.offset_blind, learned.loss)
            fits = all(v.shape == (len(MEMBERS),) for v in vectors)
            if not fits or learned.classify is not is_classifier(self):
                raise ValueError("its weights are those of another guard")
        if hasattr(self, "weights_") and abs(sum(self.weights_.values()) - 1) > 1e-6:
            raise ValueError("its weights do not sum to 1")

    def reset_meta(self) -> GuardedMetaEstimator:
        """Forget the learned prior, and the adaptation with it.

        Returns
        -------
        self : object
            The estimator, as if newly created with the same parameters.
        """
        self._meta_state = None
        for name in [n for n in vars(self) if n.endswith("_") or n in ("_fitted", "_y_shape")]:
            delattr(self, name)
        return self

    def __sklearn_clone__(self) -> GuardedMetaEstimator:
        twin: GuardedMetaEstimator = super().__sklearn_clone__()
        twin._meta_state = self._meta_state
        return twin

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")

    @abstractmethod
    def _make_local(self) -> BaseEstimator:
        """Return an unfitted local estimator."""

    def _check_params(self) -> None:
        owner = type(self).__name__
        int(check_parameter("cv", self.cv, integer(2), owner))
        if not hasattr(self.estimator, "meta_fit"):
            raise TypeError(f"{owner} guards a meta-learner with meta_fit; got {self.estimator!r}.")
        if is_classifier(self.estimator) != is_classifier(self):
            kind = "classifier" if is_classifier(self) else "regressor"
            raise TypeError(f"{owner} guards a {kind}; got {self.estimator!r}.")

    def _check_meta_fitted(self) -> GuardPrior:
        if self._meta_state is None:
            raise NotMetaFittedError(
                f"This {type(self).__name__} is not meta-fitted yet. Call meta_fit(tasks) first."
            )
        return self._meta_state

    def _with_support(self, task: Task, i: int, rng: np.random.RandomState) -> Task:
        """Draw a support for a task of meta-training without one, as large as its rows allow."""
        if task.support is not None:
            return task
        sizes, owner = support_range(self), type(self).__name__
        if sizes is None:
            raise ValueError(
                f"{label(task, i)} has no fixed support, and the estimator of {owner} does not say "
                "how large to draw it. Give n_support."
            )
        low, high = as_range(sizes, "n_support", owner, least=1)
        by_class = is_classifier(self)
        n_rows = np.unique(task.y, return_counts=True)[1].min() if by_class else len(task)
        size = max(low, min(int(rng.randint(low, high + 1)), int(n_rows) - 1))
        drawn = ensure_support(task, i, size, by_class, rng)
        assert isinstance(drawn, Task)
        return drawn

    def _episode(self, task: Task, i: int) -> Episode:
        if task.support is None:
            raise TaskError(f"{label(task, i)} has no fixed support (X of shape {task.X.shape}).")
        y = task.y_support
        classes = np.unique(y) if is_classifier(self) else None
        return Episode(task.X_support, y, task.X_query, classes)

    def _fit_members(self, tasks: Sequence[Task], validation_tasks: Any) -> Members:
        meta, local = clone(self.estimator), self._make_local()
        if hasattr(meta, "reset_meta"):
            meta.reset_meta()
        meta.meta_fit(list(tasks), validation_tasks=validation_tasks)
        pooled = self._make_local() if self.pooled is None else clone(self.pooled)
        return Members(meta, local, fit_pooled(pooled, tasks, is_classifier(self)))

    def _blend(self, X: Any) -> Array:
        """Blend the predictions of the fitted members for rows."""
        check_is_fitted(self)
        X = validate_query(self, X, allow_nd=True)
        weights = np.array([*self.weights_.values()])
        pairs = zip(self._fitted, weights, strict=True)
        members = Members(*(member if weight > 0 else None for member, weight in pairs))
        outputs = members.predict(X, getattr(self, "classes_", None))
        blended = blend(weights, outputs)
        lost = np.flatnonzero(~np.isfinite(blended).all(axis=1))
        if len(lost):
            raise FloatingPointError(
                f"No member of this {type(self).__name__} has finite predictions for row {lost[0]} "
                f"of X of shape {X.shape} ({len(lost)} such rows)."
            )
        _warn_left_out([_not_finite(weights, outputs)], ["X"])
        return blended

    def _predict_tasks(
        self, tasks: Any, error_score: Any
    ) -> tuple[Sequence[Task], list[NDArray[Any]], Failures]:
        check_error_score(error_score, type(self).__name__)
        checked, episodes, weights, outputs = self._blend_tasks(tasks)
        predicted, failures = list[NDArray[Any]](), Failures()
        for i, (task, episode) in enumerate(zip(checked, episodes, strict=True)):
            blended = blend(weights[i], outputs[i])
            if np.isfinite(blended).all():
                predicted.append(_decide(blended, episode.classes, task.y.shape[1:]))
                continue
            why = "no member has finite predictions for all rows of the query."
            failures.add(Failures({i: Reason(label(task, i), why)}), error_score)
            predicted.append(no_prediction(len(blended), task.y, self.target_type))
        return checked, predicted, failures

    def _blend_tasks(self, tasks: Any) -> tuple[Sequence[Task], list[Episode], Array, list[Array]]:
        prior = self._check_meta_fitted()
        checked = as_tasks(tasks, target_type=self.target_type)
        check_task_names(checked[0], 0, prior.feature_names)
        episodes = [self._episode(task, i) for i, task in enumerate(checked)]
        with collect_failures() as collected:
            outputs, why = prior.members.predict_tasks(episodes)
        names = [label(task, i) for i, task in enumerate(checked)]
        collected.renamed(dict(enumerate(names))).report(len(episodes), None)
        weights = prior.weigh(episodes, outputs, why, self.cv)
        for t, episode in enumerate(episodes):
            if not weights[t].any():
                dummy = Members(None, _fit_dummy(episode), None)
                outputs[t], weights[t] = dummy.predict(episode.X_query, episode.classes), ONLY_LOCAL
            why[t] |= _not_finite(weights[t], outputs[t])
        _warn_left_out(why, names)
        return checked, episodes, weights, outputs


class GuardedMetaClassifier(ClassifierMixin, GuardedMetaEstimator):
    """Classifier that blends a meta-learner with a local and a pooled estimator, by the support.

    `fit` estimates the loss of the three members by cross-validation on the support, and predicts
    the mean of their probabilities with weights
    ``softmax(offset + trust * n_support / n_typical * (least - loss))``. Offsets and trust are
    learned in `meta_fit`, on tasks that the members were not trained on: if five rows cannot
    discriminate between the members, the trust is 0, and the weights are those that are best over
    tasks. This protects the mean loss over tasks: a single task may be worse off than with a
    simple estimator, mostly by little.

    A member gets no weight for a task on which it diverges, is not finite, or is absurd, and a
    warning names both. If none is left, the class frequencies of the support are predicted.

    Parameters
    ----------
    estimator : meta-learner
        A classifier with `meta_fit`; a clone of it is meta-fitted.
    local : estimator or None, default=None
        Estimator fitted to each support alone. None: logistic regression.
    pooled : estimator or None, default=None
        Estimator fitted to the rows of all tasks together, if tasks share their labels. None: as
        `local`.
    n_support : int or None, default=None
        Support rows of each class to draw from tasks of meta-training without a fixed support.
        None: as many as `estimator` is meta-trained for.
    cv : int, default=10
        Folds of a support; leave-one-out if it has fewer rows.
    n_folds : int, default=3
        Folds of the tasks of meta-training, on which the weights are learned: the number of
        additional meta-trainings.
    random_state : int, RandomState instance or None, default=None
        Random state of folds and supports.

    Attributes
    ----------
    weights_ : dict of str to float
        Weights of "meta", "local" and "pooled" for the fitted task.
    classes_ : ndarray of shape (n_classes,)
        Labels of the fitted task.

    See Also
    --------
    GuardedMetaRegressor : The same for regression.
    transfer_gain : Measures where a meta-learner helps and where it hurts.

    Examples
    --------
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.ensemble import GuardedMetaClassifier
    >>> tasks = make_blob_tasks(24, n_way=3, n_shot=3, random_state=0)
    >>> inner = ProtoNetClassifier(max_meta_iter=20, random_state=0)
    >>> clf = GuardedMetaClassifier(inner, random_state=0).meta_fit(tasks[:20])
    >>> clf.score_tasks(tasks[20:]).shape
    (4,)
    """

    target_type = "class"

    def predict_proba(self, X: Any) -> Array:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        P : ndarray of shape (n_rows, n_classes)
            Probabilities, in the order of `classes_`.
        """
        return self._blend(X)

    def _make_local(self) -> BaseEstimator:
        return LogisticRegression() if self.local is None else clone(self.local)


class GuardedMetaRegressor(RegressorMixin, GuardedMetaEstimator):
    """Regressor that blends a meta-learner with a local and a pooled estimator, by the support.

    `fit` estimates the loss of the three members by cross-validation on the support, and predicts
    their mean with weights ``softmax(offset + trust * n_support / n_typical * log(least / loss) /
    2)``. Offsets and trust are learned in `meta_fit`, on tasks that the members were not trained
    on: if five rows cannot discriminate between the members, the trust is 0, and the weights are
    those that are best over tasks. This protects the mean loss over tasks: a single task may be
    worse off than with a simple estimator, mostly by little.

    A member gets no weight for a task on which it diverges, is not finite, or is absurd, and a
    warning names both. If none is left, the mean of the support is predicted.

    Parameters
    ----------
    estimator : meta-learner
        A regressor with `meta_fit`; a clone of it is meta-fitted.
    local : estimator or None, default=None
        Estimator fitted to each support alone. None: ridge regression.
    pooled : estimator or None, default=None
        Estimator fitted to the rows of all tasks together. None: as `local`.
    n_support : int or None, default=None
        Support rows to draw from tasks of meta-training without a fixed support. None: as many as
        `estimator` is meta-trained for.
    cv : int, default=10
        Folds of a support; leave-one-out if it has fewer rows.
    n_folds : int, default=3
        Folds of the tasks of meta-training, on which the weights are learned: the number of
        additional meta-trainings.
    random_state : int, RandomState instance or None, default=None
        Random state of folds and supports.

    Attributes
    ----------
    weights_ : dict of str to float
        Weights of "meta", "local" and "pooled" for the fitted task.

    See Also
    --------
    GuardedMetaClassifier : The same for classification.
    transfer_gain : Measures where a meta-learner helps and where it hurts.

    Examples
    --------
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> from sklearn_meta.ensemble import GuardedMetaRegressor
    >>> from sklearn_meta.model_selection import HierarchicalRegressor
    >>> tasks = make_linear_tasks(60, mean=[2, 2, 2], n_support=5, random_state=0).tasks
    >>> reg = GuardedMetaRegressor(HierarchicalRegressor(), random_state=0).meta_fit(tasks[:50])
    >>> reg = reg.fit(tasks[50].X_support, tasks[50].y_support)
    >>> max(reg.weights_, key=reg.weights_.get)
    'meta'
    """

    target_type = "real"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _make_local(self) -> BaseEstimator:
        return Ridge() if self.local is None else clone(self.local)


# ---- members: outputs are means, or probabilities of the classes of a task -----------------------


class Episode(NamedTuple):
    """A support to learn from and query rows to predict; `classes` of the support, or None."""

    X: NDArray[Any]
    y: NDArray[Any]
    X_query: NDArray[Any]
    classes: NDArray[Any] | None

    @property
    def output_shape(self) -> tuple[int, int]:
        """The shape of the outputs of one member."""
        width = self.y[:1].size if self.classes is None else len(self.classes)
        return self.X_query.shape[0], width

    @property
    def variance(self) -> float:
        """Squared error of predicting the mean of the support; 0 for classification."""
        if self.classes is not None:
            return 0.0
        return float(np.var(self.y.reshape(len(self.y), -1), axis=0).mean())

    def as_task(self) -> Task:
        """Return a task whose query has placeholders as targets."""
        n, m = len(self.y), self.X_query.shape[0]
        y = np.concatenate([self.y, np.repeat(self.y[:1], m, axis=0)])
        return Task(stack_rows([self.X, self.X_query]), y, support=np.arange(n))


class Members(NamedTuple):
    """A meta-fitted learner, an estimator for each support, and one fitted to all rows; or None."""

    meta: BaseEstimator | None
    local: BaseEstimator | None
    pooled: BaseEstimator | None

    def fit(self, episode: Episode) -> tuple[Members, Why]:
        """Fit to one support; None replaces a member that failed, for the reason returned."""
        failures, why = Failures(), Why()
        meta = None if self.meta is None else clone(self.meta)
        if meta is not None:
            failures.fit(meta, episode.X, episode.y, 0, "meta", np.nan)
        for reason in (*failures.failed.values(), *failures.doubtful.values()):
            meta, why["meta"] = None, reason.why
        Failures(off_scale=failures.off_scale).renamed({0: SUPPORT}).report(1, None)
        return Members(meta, self._fit_local(episode, why), self.pooled), why

    def predict(self, X: NDArray[Any], classes: NDArray[Any] | None) -> Array:
        """Predict rows by members fitted to one support: (3, n_rows, n_outputs), nan for None."""
        outputs = [
            None if est is None else _outputs(est, X if name == "meta" else flat(X), classes)
            for name, est in self._asdict().items()
        ]
        shape = next(P.shape for P in outputs if P is not None)
        return np.stack([np.full(shape, np.nan) if P is None else P for P in outputs])

    def predict_tasks(self, episodes: Sequence[Episode]) -> tuple[list[Array], list[Why]]:
        """Predict queries (3, n_query, n_outputs), nan for members that failed, with reasons."""
        why: list[Why] = [{} for _ in episodes]
        outputs = []
        for episode, meta, reasons in zip(
            episodes, self._predict_meta(episodes, why), why, strict=True
        ):
            plain = (self._fit_local(episode, reasons), self.pooled)
            X, nothing = flat(episode.X_query), np.full(episode.output_shape, np.nan)
            others = [nothing if e is None else _outputs(e, X, episode.classes) for e in plain]
            outputs.append(np.stack([meta, *others]))
        return outputs, why

    def leave_out_losses(self, episodes: Sequence[Episode], cv: int) -> Array:
        """Cross-validate on the supports, without the only row of a class: losses (n_tasks, 3).

        nan if no row can be left out or the member lacks a class; infinite if the member failed.
        """
        parts, origins = list[Episode](), list[tuple[int, NDArray[np.intp]]]()
        for t, (X, y, _, classes) in enumerate(episodes):
            for rows in _support_folds(y, classes, cv):
                rest = np.setdiff1d(np.arange(len(y)), rows)
                parts.append(Episode(X[rest], y[rest], X[rows], classes))
                origins.append((t, rows))
        losses = np.full((len(episodes), len(MEMBERS)), np.nan)
        if not parts:
            return losses
        sums, counts = np.zeros_like(losses), np.zeros(len(episodes))
        failed = np.zeros(losses.shape, dtype=bool)
        with collect_failures():  # the support is warned of as a whole
            outputs, why = self.predict_tasks(parts)
        for P, reasons, (t, rows) in zip(outputs, why, origins, strict=True):
            sums[t] += _row_losses(P, episodes[t].y[rows], episodes[t].classes).sum(axis=1)
            counts[t] += len(rows)
            failed[t] |= [name in reasons for name in MEMBERS]
        some = counts > 0
        losses[some] = sums[some] / counts[some, None]
        losses[failed] = np.inf
        return losses

    def try_tasks(
        self, episodes: Sequence[Episode], y_query: Sequence[NDArray[Any]], cv: int
    ) -> tuple[list[Trial], list[Why]]:
        """Treat tasks that the members were not trained on as new ones."""
        losses = self.leave_out_losses(episodes, cv)
        outputs, why = self.predict_tasks(episodes)
        trials = []
        for loss, e, P, y in zip(losses, episodes, outputs, y_query, strict=True):
            if e.classes is None:
                target = y.reshape(len(y), -1).astype(np.float64)
            else:
                target = np.asarray(y[:, None] == e.classes, dtype=np.float64)
            trials.append(Trial(loss, len(e.y), e.variance, P, target))
        return trials, why

    def _fit_local(self, episode: Episode, why: Why) -> BaseEstimator | None:
        if episode.classes is not None and len(episode.classes) == 1:
            return _fit_dummy(episode)
        try:
            return clone(self.local).fit(flat(episode.X), episode.y)
        except NUMERICAL as error:
            why["local"] = str(error)
            return None

    def _predict_meta(self, episodes: Sequence[Episode], why: Sequence[Why]) -> list[Array]:
        nothing = [np.full(episode.output_shape, np.nan) for episode in episodes]
        if self.meta is None:
            return nothing
        with collect_failures() as collected:
            predictions = predict_with_proba(self.meta, [e.as_task() for e in episodes])
        Failures(off_scale=collected.off_scale).report(len(episodes), None)
        for i, reason in (*collected.doubtful.items(), *collected.failed.items()):
            why[i]["meta"] = reason.why
        is_softmax = isinstance(self.meta, BaseMetaLearner)  # never exactly 0, and not clipped
        outputs = []
        for i, (y, P) in enumerate(predictions):
            if P is None:
                P = y.reshape(len(y), -1)
            elif not is_softmax:
                P = _clip(P)
            outputs.append(nothing[i] if "meta" in why[i] else P)
        return outputs


def fit_pooled(pooled: BaseEstimator, tasks: Sequence[Task], classify: bool) -> Any:
    """Fit an estimator to the rows of all tasks; None if a label belongs to one task alone."""
    if classify:
        labels = np.concatenate([np.unique(t.y) for t in tasks])
        n_tasks = np.unique(labels, return_counts=True)[1]
        if len(n_tasks) < 2 or n_tasks.min() < 2:
            return None
    X = np.concatenate([flat(t.X) for t in tasks])
    return pooled.fit(X, np.concatenate([t.y for t in tasks]))


def flat(X: Any) -> NDArray[Any]:
    """Return rows of any shape, sparse ones too, as dense vectors for plain estimators."""
    rows = dense(X)
    return rows.reshape(len(rows), -1)


def blend(weights: Array, P: Array) -> Array:
    """Return the weighted mean of outputs (3, n_rows, n_outputs), leaving out those not finite.

    In each row, the weights of the finite members are rescaled to sum to 1; rows without are nan.
    """
    valid = np.isfinite(P).all(axis=2) & (weights > 0)[:, None]
    W = np.where(valid, weights[:, None], 0.0)
    W /= np.where(valid.any(axis=0), W.sum(axis=0), np.nan)
    return np.einsum("an,anp->np", W, np.where(valid[..., None], P, 0.0))


def _not_finite(weights: Array, P: Array) -> Why:
    """Return the members that have a weight, and are not finite for some rows."""
    lost = (~np.isfinite(P).all(axis=2) & (weights > 0)[:, None]).sum(axis=1)
    return {
        name: f"its predictions are not finite for {n} of {P.shape[1]} rows, which the others "
        "predict."
        for name, n in zip(MEMBERS, lost.tolist(), strict=True)
        if n
    }


def _fit_dummy(episode: Episode) -> BaseEstimator:
    """Fit the mean of a support, or its class frequencies."""
    dummy = DummyRegressor() if episode.classes is None else DummyClassifier(strategy="prior")
    return dummy.fit(flat(episode.X), episode.y)


def _outputs(est: BaseEstimator, X: Any, classes: NDArray[Any] | None) -> Array:
    """Return means, or the probabilities of these classes, nan if one is unknown."""
    if classes is None:
        means = np.asarray(est.predict(X), dtype=np.float64)
        return means.reshape(len(means), -1)
    P, column = est.predict_proba(X), {k: i for i, k in enumerate(est.classes_.tolist())}
    labels = classes.tolist()
    if not set(labels) <= column.keys():
        return np.full((X.shape[0], len(labels)), np.nan)
    return _clip(P[:, [column[k] for k in labels]])


def _clip(P: Array) -> Array:
    """Raise probabilities to MIN_PROBABILITY, and rescale them to sum to 1."""
    P = np.maximum(P, MIN_PROBABILITY)
    normalised: Array = P / P.sum(axis=1, keepdims=True)
    return normalised


def _decide(P: Array, classes: NDArray[Any] | None, y_shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the most likely classes, or means in the shape of the targets."""
    return P.reshape(len(P), *y_shape) if classes is None else classes[P.argmax(axis=1)]


def _row_losses(P: Array, y: NDArray[Any], classes: NDArray[Any] | None) -> Array:
    """Return the loss of each row of outputs (..., n_rows, n_outputs): squared, or in nats."""
    if classes is None:
        with np.errstate(over="ignore"):  # an absurd prediction has an infinite loss
            return ((P - y.reshape(len(y), -1)) ** 2).mean(axis=-1)
    P = P[..., np.arange(len(y)), np.searchsorted(classes, y)]
    return -np.log(np.maximum(P, MIN_PROBABILITY))


def _support_folds(
    y: NDArray[Any], classes: NDArray[Any] | None, cv: int
) -> list[NDArray[np.intp]]:
    """Return the rows of each fold of a support, with classes spread evenly."""
    rows = np.arange(len(y) if len(y) > 1 else 0)
    if classes is not None:
        code = np.searchsorted(classes, y)
        repeated = np.bincount(code, minlength=len(classes)) > 1
        rows = np.argsort(code, kind="stable")
        rows = rows[repeated[code[rows]]]
    n_folds = min(cv, len(rows))
    return [rows[k::n_folds] for k in range(n_folds)]


def _warn_left_out(why: Sequence[Why], names: Sequence[str]) -> None:
    """Warn once of the members that are left out of tasks."""
    left_out = {
        i: Reason(names[i], " ".join(f"{member!r} gets no weight: {text}" for member, text in some))
        for i, some in enumerate(sorted(reasons.items()) for reasons in why)
        if some
    }
    Failures(doubtful=left_out).report(len(names), None)


# ---- weights: learned on tasks of meta-training that the members were not trained on -------------


class GuardPrior(NamedTuple):
    """What `meta_fit` has learned."""

    members: Members
    calibration: Calibration
    feature_names: tuple[str, ...] | None  # of the tasks of meta-training

    def __reduce__(self) -> Any:
        return make_prior, tuple(self)

    @property
    def theta(self) -> dict[str, Any]:
        """Parameters of the meta-learner, if it has any, and of the weights."""
        return {**getattr(self.members.meta, "theta_", {}), **self.calibration._asdict()}

    def weigh(
        self, episodes: Sequence[Episode], outputs: Sequence[Array], why: Sequence[Why], cv: int
    ) -> Array:
        """Return weights (n_tasks, 3) that sum to 1, or are 0 if no member is left.

        Members that are far off in cross-validation on the support are added to `why`.
        """
        usable = np.stack([np.any(np.isfinite(P).all(axis=2), axis=1) for P in outputs])
        losses = self.members.leave_out_losses(episodes, cv)
        variances = np.array([episode.variance for episode in episodes])
        calibration = self.calibration
        far = _find_outliers(losses, calibration.loss, variances, calibration.classify) & usable
        _add_reasons(far, losses, calibration.loss, why)
        usable &= ~far
        some = usable.any(axis=1)
        n_support = np.array([len(episode.y) for episode in episodes], dtype=np.float64)
        weights = np.zeros((len(episodes), len(MEMBERS)))
        weights[some] = calibration.weights(losses[some], n_support[some], usable[some])
        return weights


def make_prior(
    members: Members, calibration: Calibration, feature_names: tuple[str, ...] | None
) -> GuardPrior:
    """Return a prior whose arrays are read-only, because clones share it."""
    learned: Mapping[str, Any] = {} if members.pooled is None else vars(members.pooled)
    for value in (*calibration, *learned.values()):
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return GuardPrior(members, calibration, feature_names)


class Trial(NamedTuple):
    """A task of meta-training, treated as a new one by members that were not trained on it."""

    losses: Array  # (3,) in cross-validation on its support, nan if there are none
    n_support: int
    variance: float  # of the targets of the support, the mean over outputs
    outputs: Array  # (3, n_query, n_outputs) for its query
    target: Array  # (n_query, n_outputs), one-hot for classes


class Calibration(NamedTuple):
    """Weights are softmax(offset + trust * n_support / n_typical * evidence).

    Attributes
    ----------
    offset : ndarray of shape (3,)
        Log weights of the members without regard to the support.
    trust : float
        Trust in the evidence of a support of typical size; 0 ignores it.
    offset_blind : ndarray of shape (3,)
        Replaces `offset` if no row can be left out.
    n_typical : float
        Typical number of support rows.
    classify : bool
        Whether losses are in nats.
    loss : ndarray of shape (3,)
        Mean loss of each member on the queries of the trials in which it did not fail.
    loss_blend : float
        Mean loss of the blend.
    """

    offset: Array
    trust: float
    offset_blind: Array
    n_typical: float
    classify: bool
    loss: Array
    loss_blend: float

    def weights(self, losses: Array, n_support: Array, usable: Bools) -> Array:
        """Return weights (n_tasks, 3) for losses (n_tasks, 3) on supports of n_support rows.

        Parameters
        ----------
        losses : ndarray of shape (n_tasks, 3)
            Losses in cross-validation on the supports.
        n_support : ndarray of shape (n_tasks,)
            Number of support rows.
        usable : ndarray of bool of shape (n_tasks, 3)
            Which members can predict.

        Returns
        -------
        ndarray of shape (n_tasks, 3)
            Weights, which sum to 1.
        """
        evidence = _log_evidence(losses, n_support, self.n_typical, self.classify, usable)
        complete = _is_complete(losses, usable)[:, None]
        logits = np.where(complete, self.offset + self.trust * evidence, self.offset_blind)
        return _usable_softmax(logits, usable)


def calibrate(trials: Sequence[Trial], classify: bool) -> Calibration:
    """Fit offsets and trust to the loss of the blend on the queries of trials.

    The support is trusted only if that improves trials outside the fit by more than chance: three
    parameters fitted to the tails of few losses can promise much.
    """
    losses = np.stack([t.losses for t in trials])
    n_support = np.array([t.n_support for t in trials], dtype=np.float64)
    usable = np.stack([np.isfinite(t.outputs).all(axis=(1, 2)) for t in trials])
    n_typical = float(n_support.mean())
    evidence = _log_evidence(losses, n_support, n_typical, classify, usable)
    evidence[~_is_complete(losses, usable)] = 0
    query_losses = _blend_losses(trials, classify)
    single = np.stack([query_losses(np.tile(w, (len(trials), 1))) for w in np.eye(3)], axis=1)
    n_usable = usable.sum(axis=0)
    total = np.where(usable, single, 0.0).sum(axis=0)
    loss = np.where(n_usable, total / np.maximum(n_usable, 1), np.inf)
    unit = max(float(loss.min()), np.finfo(float).tiny)
    fit = _WeightFit(query_losses, evidence, usable, unit, n_typical)
    every = np.arange(len(trials))
    blind = fit.best(every, with_trust=False)
    best = fit.best(every, with_trust=True) if evidence.any() and fit.trust_pays() else blind
    loss_blend = float(fit.losses_at(best).mean())
    offset, offset_blind = np.append(best[:2], 0.0), np.append(blind[:2], 0.0)
    return Calibration(offset, float(best[2]), offset_blind, n_typical, classify, loss, loss_blend)


class _WeightFit(NamedTuple):
    """Minimise the mean loss of the blend over (offset, offset, trust)."""

    query_losses: Callable[[Array], Array]  # of weights (n_trials, 3)
    evidence: Array
    usable: Bools
    unit: float
    n_typical: float

    def losses_at(self, params: Array) -> Array:
        logits = np.append(params[:2], 0.0) + params[2] * self.evidence
        return self.query_losses(_usable_softmax(logits, self.usable))

    def best(self, rows: NDArray[np.intp], *, with_trust: bool) -> Array:
        """Minimise from the corners, where one member has all the weight, and from the middle."""

        def objective(free: Array) -> float:
            params = free if with_trust else np.append(free, 0.0)
            penalty = OFFSET_PENALTY * float((params[:2] ** 2).sum()) / len(rows)
            return float(self.losses_at(params)[rows].mean()) / self.unit + penalty

        # a trust of n_typical is that of the likelihood, as if the rows were independent
        trust_bounds = [(0.0, self.n_typical)] if with_trust else []
        bounds = [(-MAX_OFFSET, MAX_OFFSET)] * 2 + trust_bounds
        trust = [self.n_typical / 4] if with_trust else []
        results = [
            minimize(objective, [*start, *trust], bounds=bounds, method="L-BFGS-B")
            for start in ([5.0, 0.0], [0.0, 5.0], [-5.0, -5.0], [0.0, 0.0])
        ]
        x = min(results, key=lambda result: float(result.fun)).x
        return np.asarray(x if with_trust else np.append(x, 0.0))

    def trust_pays(self) -> bool:
        """Whether trust in the support improves trials that it was not fitted to."""
        n = len(self.evidence)
        if n < MIN_TRIALS:
            return False
        gains = np.empty(n)
        for k in range(TRIAL_FOLDS):
            test = np.arange(k, n, TRIAL_FOLDS)
            train = np.flatnonzero(np.arange(n) % TRIAL_FOLDS != k)
            blind, trusting = (
                self.losses_at(self.best(train, with_trust=w)) for w in (False, True)
            )
            gains[test] = (blind - trusting)[test]
        return bool(gains.mean() > gains.std(ddof=1) / np.sqrt(n))


def _blend_losses(trials: Sequence[Trial], classify: bool) -> Callable[[Array], Array]:
    """Return the loss of a blend on the query of each trial, as a function of weights (n, 3)."""
    outputs = [np.where(np.isfinite(t.outputs), t.outputs, 0.0) for t in trials]
    if not classify:  # a quadratic form in the weights, which sum to 1
        errors = [(P - t.target).reshape(len(P), -1) for P, t in zip(outputs, trials, strict=True)]
        gram = np.stack([e @ e.T / e.shape[1] for e in errors])
        return lambda W: np.einsum("ta,tab,tb->t", W, gram, W)
    sizes = np.array([len(t.target) for t in trials])
    true = np.ones((len(trials), 3, sizes.max()))  # probabilities; padding has no loss
    for i, (P, t) in enumerate(zip(outputs, trials, strict=True)):
        true[i, :, : sizes[i]] = (P * t.target).sum(axis=-1)

    def losses(W: Array) -> Array:
        P = np.maximum(np.einsum("ta,tan->tn", W, true), MIN_PROBABILITY)
        total: Array = -np.log(P).sum(axis=1)
        return total / sizes

    return losses


def _is_complete(losses: Array, usable: Bools) -> Bools:
    """Whether all usable members of each task have a loss."""
    return np.asarray(np.isfinite(np.where(usable, losses, 0.0)).all(axis=1))


def _log_evidence(
    losses: Array, n_support: Array, n_typical: float, classify: bool, usable: Bools
) -> Array:
    """Return the log-likelihood of each member below the best, in nats a row of typical size."""
    E = np.where(usable & np.isfinite(losses), losses, 0.0)
    if not classify:  # log of a mean squared error, so that the unit of y does not matter
        floor = 1e-6 * E.max(axis=1, keepdims=True) + np.finfo(float).tiny
        E = np.where(usable, 0.5 * np.log(E + floor), 0.0)
    best = np.where(usable, E, np.inf).min(axis=1, keepdims=True)
    return np.where(usable, best - E, 0.0) * (n_support / n_typical)[:, None]


def _usable_softmax(logits: Array, usable: Bools) -> Array:
    weights: Array = softmax(np.where(usable, logits, -np.inf), axis=1)
    return weights


def _find_outliers(losses: Array, typical: Array, variances: Array, classify: bool) -> Bools:
    """Find members (n_tasks, 3) that fail on rows left out, or whose squared error is absurd."""
    absurd = losses > FACTOR * (typical + variances[:, None])
    return np.isposinf(losses) | (absurd & (not classify))


def _without_outliers(trials: Sequence[Trial], why: Sequence[Why], target_type: str) -> list[Trial]:
    """Remove members from the trials in which they are outliers, and add the reasons."""
    losses = np.stack([t.losses for t in trials])
    finite = [column[np.isfinite(column)] for column in losses.T]
    typical = np.array([np.median(column) if len(column) else np.inf for column in finite])
    variances = np.array([t.variance for t in trials])
    far = _find_outliers(losses, typical, variances, target_type == "class")
    _add_reasons(far, losses, typical, why)
    return [
        t._replace(outputs=np.where(lost[:, None, None], np.nan, t.outputs))
        for t, lost in zip(trials, far, strict=True)
    ]


def _add_reasons(far: Bools, losses: Array, typical: Array, why: Sequence[Why]) -> None:
    for t, k in np.argwhere(far):
        text = "it fails where rows of the support are left out."
        if np.isfinite(losses[t, k]):
            text = (
                f"its loss on rows left out of the support is {losses[t, k]:.3g}, against "
                f"{typical[k]:.3g} in meta-training."
            )
        why[t].setdefault(MEMBERS[k], text)
