"""Ensembles of a meta-learner with two simple estimators, weighted by the support of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_meta._archive import loading, saving
from sklearn_meta._warnings import muted
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.base.numpy_learner import NumpyMetaLearner, flat_rows
from sklearn_meta.base.predict_tasks import fixed_support
from sklearn_meta.base.validation import validate_query, validate_support
from sklearn_meta.exceptions import OneTaskWarning, TaskError
from sklearn_meta.model_selection.row_predictions import predict_with_proba
from sklearn_meta.model_selection.task_estimator import (
    ensure_support,
    learner_of,
    support_range,
)
from sklearn_meta.outer.failures import (
    FACTOR,
    NUMERICAL,
    SUPPORT,
    Failures,
    Reason,
    collect_failures,
    no_prediction,
)
from sklearn_meta.outer.labels import LabelCounts, LabelSpace
from sklearn_meta.parameters import as_range, check_parameter, integer
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.tables import feature_names
from sklearn_meta.tasks.task import named_task, take_rows
from sklearn_meta.tasks.validate import (
    UsableTasks,
    check_feature_names,
    check_task_names,
    label,
    validation_table,
)

__all__ = ["GuardedMetaClassifier", "GuardedMetaEstimator", "GuardedMetaRegressor"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Classes = NDArray[Any] | None  # of a support, sorted; None for regression
Support = Task | None  # None: without rows
Why = dict[str, str]  # by member, the reason why it cannot predict a task

MEMBERS = ("meta", "per-task", "pooled")
ONLY_PER_TASK = np.array([0.0, 1.0, 0.0])
MIN_PROBABILITY = 1e-6  # so that one confident mistake does not decide everything
MAX_OFFSET = 12.0  # e^-12 of the weight is none
OFFSET_PENALTY = 1e-3  # of squared offsets, in units of the relative loss of a task
MIN_TRIALS, TRIAL_FOLDS = 10, 5  # trials to decide whether trust pays, and their folds


class GuardedMetaEstimator(NumpyMetaLearner, ABC):
    """Base class of the guarded classifier and the guarded regressor.

    Parameters
    ----------
    estimator : meta-learner
        Estimator to guard; a clone of it is meta-fitted.
    per_task, pooled : estimator or None, default=None
        Estimators fitted to each support alone, and to the rows of all tasks together.
    n_support : int or None, default=None
        Support rows to draw from tasks of meta-training without a fixed support.
    cv, n_folds : int, default=10 and 3
        Folds of a support, and of the tasks of meta-training.
    random_state : int, RandomState instance or None, default=None
        Random state of folds and supports.
    unusable : {"raise", "skip"}, default="raise"
        What `meta_fit` does about a task that it cannot use: one with NaN, with other features than
        most tasks, or with too few rows for a support. A warning names the skipped tasks. What
        `estimator` cannot use is skipped if its own `unusable` is "skip".
    """

    target_type: ClassVar[str]  # "class" or "real"
    meta_state: GuardPrior | None = None

    def __init__(
        self,
        estimator: BaseEstimator,
        *,
        per_task: BaseEstimator | None = None,
        pooled: BaseEstimator | None = None,
        n_support: int | None = None,
        cv: int = 10,
        n_folds: int = 3,
        random_state: Any = None,
        unusable: str = "raise",
    ) -> None:
        self.estimator = estimator
        self.per_task = per_task
        self.pooled = pooled
        self.n_support = n_support
        self.cv = cv
        self.n_folds = n_folds
        self.random_state = random_state
        self.unusable = unusable

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
        opened = self._open_tasks(tasks, y, groups)
        table = validation_table(validation_tasks, y, groups)
        if table is not None:
            validation_tasks = as_tasks(*table, target_type=self.target_type)
        owner, rng = type(self).__name__, check_random_state(self.random_state)
        skip = self.unusable == "skip"
        support = "random" if self._share_labels(opened.tasks) else "stratified"
        opened.map(lambda task, i: (task, self._with_support(task, i, support, rng)), skip=skip)
        n_tasks = len(opened.tasks)
        if n_tasks < 2:
            raise TaskError(f"{owner} needs two tasks or more to learn weights from.")
        checked, episodes = zip(*opened.tasks, strict=True)
        seed, classify = rng.randint(np.iinfo(np.int32).max), is_classifier(self)
        folds = KFold(min(self.n_folds, n_tasks), shuffle=True, random_state=seed)
        trials = dict[int, Trial]()
        for train, test in folds.split(episodes):
            members = self._fit_members([checked[i] for i in train], validation_tasks)
            with collect_failures():  # warned of below, by the names of the user
                of_fold = members.try_tasks([episodes[i] for i in test], classify, self.cv)
            trials |= zip(test.tolist(), of_fold, strict=True)
        usable = [
            trial
            for trial in _without_outliers([*trials.values()], classify)
            if np.isfinite(trial.outputs).all(axis=(1, 2)).any()
        ]
        if not usable:
            raise FloatingPointError(
                f"{owner} has no member that predicts. Task 0: {trials[0].reasons}"
            )
        members = self._fit_members(checked, validation_tasks)
        self.reset_meta()
        self.meta_state = GuardPrior(members, _calibrate(usable, classify))
        self.meta_state.freeze()
        self.meta_feature_names = checked[0].feature_names_in
        self._list_skipped(opened)
        names = [label(task, i) for task, i in zip(checked, opened.positions, strict=True)]
        _warn_left_out([trials[i].reasons for i in range(n_tasks)], names)
        return self

    def fit(self, X: Any, y: Any) -> GuardedMetaEstimator:
        """Weigh the members by the support of a new task, and fit them to it.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Rows of the support.
        y : array-like of shape (n_rows,)
            Labels or targets of the support. There may be no rows, if `estimator` has a prediction
            without any; it is then blended with the pooled one.

        Returns
        -------
        self : object
            The estimator with `weights_`. Without `meta_fit`, it is the per-task member alone.

        Notes
        -----
        A member is left out with a warning if it diverges on the support, if its predictions are
        not finite, or if its loss on the support is implausibly large. If none is left, the
        per-task member is the mean of the support, or its class frequencies.
        """
        self._check_params()
        names = feature_names(X)
        check_feature_names(names, self.meta_feature_names)
        prior = self.meta_state
        least = 1 if prior is None else 0  # without rows, members with a prior predict
        X, y = validate_support(self, X, y, allow_nd=True, kind=self.target_type, least=least)
        classes = self._classes(y)
        members = Members(None, self._make_per_task(), None) if prior is None else prior.members
        fitted, reasons = members.fit(X, y, classes)
        weights = np.array([member is not None for member in fitted], dtype=np.float64)
        if prior is not None and weights.any():
            support = named_task(X, y, names) if len(y) else None
            if support is not None:
                outputs = fitted.predict(X, _n_outputs(y), classes, members.names_of(classes))
            else:
                outputs = fitted.predict_nothing(classes, members.names_of(classes))
            weights = prior.weigh([support], [outputs], [reasons], self.cv)[0]
        if not weights.any() and len(y) == 0:
            raise ValueError(
                f"X of shape {X.shape} has no rows, and no member of {type(self).__name__} "
                f"predicts without any. {' '.join(reasons.values())}"
            )
        if not weights.any():
            fitted, weights = Members(None, _fit_dummy(X, y, classes), None), ONLY_PER_TASK
        self._adapted = fitted, y.shape[1:]
        self.weights_ = dict(zip(MEMBERS, weights.tolist(), strict=True))
        if classes is not None:
            self.classes_ = classes
        _warn_left_out([reasons], [SUPPORT])
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
        return _decide(P, getattr(self, "classes_", None), self._adapted[1])

    def weights_tasks(self, tasks: Any) -> Array:
        """Return the weights of the members for each task, by its support.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support.

        Returns
        -------
        ndarray of shape (n_tasks, 3)
            Weights of the meta-learner, the per-task and the pooled estimator; they sum to 1.
        """
        self.check_meta_fitted()
        checked = as_tasks(tasks, target_type=self.target_type)
        check_task_names(checked[0], 0, self.meta_feature_names)
        for i, task in enumerate(checked):
            fixed_support(task, i)
        return self._weigh_tasks(checked, range(len(checked)))[0]

    @property
    def calibration_(self) -> Calibration:
        """How the members are weighed, as learned on the tasks of meta-training."""
        calibration: Calibration = self.check_meta_fitted().calibration
        return calibration

    def __getstate__(self) -> dict[str, Any]:
        state, session = dict(super().__getstate__()), saving()
        return state if session is None else session.without_process(type(self), state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.meta_state is not None:
            self.meta_state.freeze()
        if loading() is not None:
            self._check_loaded()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")

    @abstractmethod
    def _make_per_task(self) -> BaseEstimator:
        """Return an unfitted per-task estimator."""

    def _check_params(self) -> None:
        owner = type(self).__name__
        for name in ("cv", "n_folds"):
            check_parameter(name, getattr(self, name), integer(2), owner)
        if not hasattr(self.estimator, "meta_fit"):
            raise TypeError(f"{owner} guards a meta-learner with meta_fit; got {self.estimator!r}.")
        if is_classifier(self.estimator) != is_classifier(self):
            kind = "classifier" if is_classifier(self) else "regressor"
            raise TypeError(f"{owner} guards a {kind}; got {self.estimator!r}.")

    def _check_loaded(self) -> None:
        """Refuse parts from a file that do not go together."""
        self._check_params()
        if self.meta_state is not None:
            learned = self.meta_state.calibration
            vectors = (learned.offset, learned.offset_blind, learned.loss)
            fits = all(v.shape == (len(MEMBERS),) for v in vectors)
            if not fits or learned.classify is not is_classifier(self):
                raise ValueError("its weights are those of another guard")
        if hasattr(self, "weights_") and abs(sum(self.weights_.values()) - 1) > 1e-6:
            raise ValueError("its weights do not sum to 1")

    def _share_labels(self, tasks: Sequence[Task]) -> bool:
        """Whether the meta-learner will take a label to mean the same in all tasks."""
        labels = getattr(learner_of(self.estimator), "labels", "task")
        if labels != "auto" or not is_classifier(self):
            return bool(labels == "shared")
        return LabelCounts.of(tasks).are_shared()

    def _with_support(self, task: Task, i: int, support: str, rng: np.random.RandomState) -> Task:
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
        is_class, n_rows = is_classifier(self), len(task)
        if is_class and support == "stratified":
            n_rows = int(np.unique(task.y, return_counts=True)[1].min())
        size = max(low, min(int(rng.randint(low, high + 1)), n_rows - 1))
        # a range takes the rows that a small task has
        is_exact = low == high and support == "stratified"
        return ensure_support(task, i, size, is_class, support, rng, is_exact=is_exact)

    def _fit_members(self, tasks: Sequence[Task], validation_tasks: Any) -> Members:
        meta, per_task = clone(self.estimator), self._make_per_task()
        if hasattr(meta, "reset_meta"):
            meta.reset_meta()
        with muted(OneTaskWarning):  # the fold has one, not the call of the user
            meta.meta_fit(list(tasks), validation_tasks=validation_tasks)
        pooled = self._make_per_task() if self.pooled is None else clone(self.pooled)
        return Members(meta, per_task, _fit_pooled(pooled, tasks, is_classifier(self)))

    def _classes(self, y: NDArray[Any]) -> Classes:
        if self.target_type == "real":
            return None
        return np.unique(y) if self.meta_state is None else self.meta_state.members.classes_of(y)

    def _blend(self, X: Any) -> Array:
        """Blend the predictions of the fitted members for rows."""
        check_is_fitted(self)
        X = validate_query(self, X, allow_nd=True)
        weights, (fitted, y_shape) = np.array([*self.weights_.values()]), self._adapted
        weighted = (m if w > 0 else None for m, w in zip(fitted, weights, strict=True))
        n_outputs, classes = int(np.prod(y_shape)), getattr(self, "classes_", None)
        names = classes if self.meta_state is None else self.meta_state.members.names_of(classes)
        outputs = Members(*weighted).predict(X, n_outputs, classes, names)
        blended = _weighted_mean(weights, outputs)
        lost = np.flatnonzero(~np.isfinite(blended).all(axis=1))
        if len(lost):
            raise FloatingPointError(
                f"No member of this {type(self).__name__} has finite predictions for row {lost[0]} "
                f"of X of shape {X.shape} ({len(lost)} such rows)."
            )
        _warn_left_out([_not_finite(weights, outputs)], ["X"])
        return blended

    def _predict_tasks(
        self, usable: UsableTasks, error_score: Any
    ) -> tuple[dict[int, NDArray[Any]], Failures]:
        weights, outputs = self._weigh_tasks(usable.tasks, usable.positions)
        predicted, failures = dict[int, NDArray[Any]](), Failures()
        named = zip(usable.tasks, usable.positions, weights, outputs, strict=True)
        for task, i, w, P in named:
            blended = _weighted_mean(w, P)
            if w.any() and np.isfinite(blended).all():
                predicted[i] = _decide(blended, self._classes(task.y_support), task.y.shape[1:])
                continue
            why = "no member has finite predictions for all rows of the query."
            failures.add(Failures({i: Reason(label(task, i), why)}), error_score)
            predicted[i] = no_prediction(len(blended), task.y, self.target_type)
        return predicted, failures

    def _weigh_tasks(
        self, tasks: Sequence[Task], positions: Sequence[int]
    ) -> tuple[Array, list[Array]]:
        """Return the weights of the members for each task, and their outputs for the query."""
        prior: GuardPrior = self.check_meta_fitted()
        names = [label(task, i) for task, i in zip(tasks, positions, strict=True)]
        with collect_failures() as collected:
            outputs, reasons = prior.members.predict_tasks(tasks, is_classifier(self))
        collected.renamed(dict(enumerate(names))).report(len(names), None)
        weights = prior.weigh([_support_of(task) for task in tasks], outputs, reasons, self.cv)
        for t, task in enumerate(tasks):
            if not weights[t].any() and len(task.y_support):
                classes = self._classes(task.y_support)
                dummy = Members(None, _fit_dummy(task.X_support, task.y_support, classes), None)
                outputs[t] = dummy.predict(task.X_query, _n_outputs(task.y), classes, classes)
                weights[t] = ONLY_PER_TASK
            reasons[t] |= _not_finite(weights[t], outputs[t])
        _warn_left_out(reasons, names)
        return weights, outputs


class GuardedMetaClassifier(ClassifierMixin, GuardedMetaEstimator):
    """Classifier that blends a meta-learner with a per-task and a pooled one, by the support.

    `fit` estimates the loss of the three members by cross-validation on the support, and predicts
    the mean of their probabilities with weights
    ``softmax(offset + trust * n_support / n_typical * (least - loss))``. Offsets and trust are
    learned in `meta_fit`, on tasks that the members were not trained on: if five rows cannot
    discriminate between the members, the trust is 0, and the weights are those that are best over
    tasks. This protects the mean loss over tasks: a single task may be worse off than with a
    simple estimator, mostly by little.

    A member gets no weight for a task if it diverges, if its predictions are not finite, or if its
    loss is implausibly large. A warning names the member and the task. If no member is left, the
    class frequencies of the support are predicted.

    Parameters
    ----------
    estimator : meta-learner
        A classifier with `meta_fit`; a clone of it is meta-fitted.
    per_task : estimator or None, default=None
        Estimator fitted to each support alone. None: logistic regression.
    pooled : estimator or None, default=None
        Estimator fitted to the rows of all tasks together, if tasks share their labels. None: as
        `per_task`.
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
    unusable : {"raise", "skip"}, default="raise"
        What `meta_fit` does about a task that it cannot use: one with NaN, with other features than
        most tasks, or with too few rows for a support. A warning names the skipped tasks. What
        `estimator` cannot use is skipped if its own `unusable` is "skip".

    Attributes
    ----------
    weights_ : dict of str to float
        Weights of "meta", "per-task" and "pooled" for the fitted task.
    skipped_tasks_ : list of tuple
        (position, name, reason) of each task that `meta_fit` skipped.
    classes_ : ndarray of shape (n_classes,)
        Labels of the fitted task.

    Raises
    ------
    TypeError
        If `estimator` has no `meta_fit`, or is not a classifier.
    TaskError
        From `meta_fit`, if a task is invalid, or there is only one.
    ValueError
        If a parameter or a support is invalid.

    See Also
    --------
    GuardedMetaRegressor : The same for regression.
    sklearn_meta.analysis.transfer_gain : Measures where a meta-learner helps and where it hurts.

    References
    ----------
    Breiman, "Stacked Regressions", Machine Learning 24, 1996.

    Examples
    --------
    >>> from sklearn_meta import GuardedMetaClassifier, ProtoNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(12, n_way=3, n_shot=3, random_state=0)
    >>> inner = ProtoNetClassifier(max_meta_iter=5, random_state=0)
    >>> clf = GuardedMetaClassifier(inner, random_state=0).meta_fit(tasks[:8])
    >>> clf.score_tasks(tasks[8:]).shape
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

    def _make_per_task(self) -> BaseEstimator:
        return LogisticRegression() if self.per_task is None else clone(self.per_task)


class GuardedMetaRegressor(RegressorMixin, GuardedMetaEstimator):
    """Regressor that blends a meta-learner with a per-task and a pooled one, by the support.

    `fit` estimates the loss of the three members by cross-validation on the support, and predicts
    their mean with weights ``softmax(offset + trust * n_support / n_typical * log(least / loss) /
    2)``. Offsets and trust are learned in `meta_fit`, on tasks that the members were not trained
    on: if five rows cannot discriminate between the members, the trust is 0, and the weights are
    those that are best over tasks. This protects the mean loss over tasks: a single task may be
    worse off than with a simple estimator, mostly by little.

    A member gets no weight for a task if it diverges, if its predictions are not finite, or if its
    loss is implausibly large. A warning names the member and the task. If no member is left, the
    mean of the support is predicted.

    Parameters
    ----------
    estimator : meta-learner
        A regressor with `meta_fit`; a clone of it is meta-fitted.
    per_task : estimator or None, default=None
        Estimator fitted to each support alone. None: ridge regression.
    pooled : estimator or None, default=None
        Estimator fitted to the rows of all tasks together. None: as `per_task`.
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
    unusable : {"raise", "skip"}, default="raise"
        What `meta_fit` does about a task that it cannot use: one with NaN, with other features than
        most tasks, or with too few rows for a support. A warning names the skipped tasks. What
        `estimator` cannot use is skipped if its own `unusable` is "skip".

    Attributes
    ----------
    weights_ : dict of str to float
        Weights of "meta", "per-task" and "pooled" for the fitted task.
    skipped_tasks_ : list of tuple
        (position, name, reason) of each task that `meta_fit` skipped.

    Raises
    ------
    TypeError
        If `estimator` has no `meta_fit`, or is not a regressor.
    TaskError
        From `meta_fit`, if a task is invalid, or there is only one.
    ValueError
        If a parameter or a support is invalid.

    See Also
    --------
    GuardedMetaClassifier : The same for classification.
    sklearn_meta.analysis.transfer_gain : Measures where a meta-learner helps and where it hurts.

    References
    ----------
    Breiman, "Stacked Regressions", Machine Learning 24, 1996.

    Examples
    --------
    >>> from sklearn_meta import GuardedMetaRegressor, HierarchicalRegressor
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(60, mean=[2, 2, 2], n_support=5, random_state=0).tasks
    >>> reg = GuardedMetaRegressor(HierarchicalRegressor(), random_state=0).meta_fit(tasks[:50])
    >>> reg = reg.fit(tasks[50].X_support, tasks[50].y_support)
    >>> max(reg.weights_, key=reg.weights_.get)
    'meta'
    """

    target_type = "real"

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _make_per_task(self) -> BaseEstimator:
        return Ridge() if self.per_task is None else clone(self.per_task)


# ---- members: outputs are means, or probabilities of the classes of a support --------------------


class Trial(NamedTuple):
    """A task of meta-training, treated as a new one by members that were not trained on it."""

    task: Task
    losses: Array  # (3,) in cross-validation on its support, nan if no row can be left out
    outputs: Array  # (3, n_query, n_outputs) for its query
    reasons: Why
    classes: Classes  # of the outputs


class Members(NamedTuple):
    """A meta-fitted learner, an estimator for each support, and one fitted to all rows; or None."""

    meta: BaseEstimator | None
    per_task: BaseEstimator | None
    pooled: BaseEstimator | None

    @property
    def label_space(self) -> LabelSpace:
        """The labels that a task may have, as the meta-learner has learned them."""
        state: Any = None if self.meta is None else learner_of(self.meta).meta_state
        is_shared = bool(getattr(state, "shared_labels", False))
        return LabelSpace(state.classes if is_shared else None, is_shared=is_shared)

    def classes_of(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the labels that are predicted after a support with these labels."""
        return self.label_space.of_outputs(np.unique(y))

    def names_of(self, classes: Classes) -> Classes:
        """Return what the pooled member calls these labels."""
        return None if classes is None else self.label_space.names_of(classes)

    def fit(self, X: Any, y: NDArray[Any], classes: Classes) -> tuple[Members, Why]:
        """Fit to one support; None replaces a member that failed, for the reason returned."""
        failures, reasons = Failures(), Why()
        meta = None if self.meta is None else clone(self.meta)
        if meta is not None:
            failures.fit(meta, X, y, 0, "meta", np.nan)
        for reason in (*failures.failed.values(), *failures.doubtful.values()):
            meta, reasons["meta"] = None, reason.why
        warned = Failures(off_scale=failures.off_scale, new_labels=failures.new_labels)
        warned.renamed({0: SUPPORT}).report(1, None)
        return Members(meta, self._fit_per_task(X, y, classes, reasons), self.pooled), reasons

    def predict(self, X: Any, n_outputs: int, classes: Classes, pooled_classes: Classes) -> Array:
        """Predict rows by members fitted to one support: (3, n_rows, n_outputs), nan for None.

        The pooled member has other names for classes that are encoded.
        """
        shape = X.shape[0], n_outputs if classes is None else len(classes)
        P = np.full((len(MEMBERS), *shape), np.nan)
        for k, est in enumerate(self):
            if est is not None:
                rows = X if est is self.meta else flat_rows(X, None)
                if k == 2:
                    P[k] = _outputs(est, rows, pooled_classes, lacking=np.nan)
                else:
                    P[k] = _outputs(est, rows, classes, lacking=0.0)
        return P

    def predict_nothing(self, classes: Classes, pooled_classes: Classes) -> Array:
        """Return zeros (3, 1, 1) in place of predictions for a support without rows.

        They are nan for members that could not predict.
        """
        P = np.array([np.nan if est is None else 0.0 for est in self])
        if pooled_classes is not None and self.pooled is not None:
            knows_all = np.isin(pooled_classes, self.pooled.classes_).all()
            P[2] = 0.0 if knows_all else np.nan
        return P[:, None, None]

    def predict_tasks(self, tasks: Sequence[Task], classify: bool) -> tuple[list[Array], list[Why]]:
        """Predict queries (3, n_query, n_outputs), nan for members that failed, with reasons."""
        reasons: list[Why] = [{} for _ in tasks]
        outputs = list[Array]()
        for task, meta, why in zip(tasks, self._predict_meta(tasks, reasons), reasons, strict=True):
            y = task.y_support
            classes = self.classes_of(y) if classify else None
            per_task = self._fit_per_task(task.X_support, y, classes, why)
            names, members = self.names_of(classes), Members(None, per_task, self.pooled)
            P = members.predict(task.X_query, _n_outputs(task.y), classes, names)
            if "meta" not in why:
                P[0] = meta
            outputs.append(P)
        return outputs, reasons

    def leave_out_losses(self, supports: Sequence[Support], classify: bool, cv: int) -> Array:
        """Cross-validate on the supports, without the only row of a class: losses (n_tasks, 3).

        nan if no row can be left out or the member lacks a class; infinite if the member failed.
        """
        losses = np.full((len(supports), len(MEMBERS)), np.nan)
        parts, origins = list[Task](), list[int]()
        for t, support in enumerate(supports):
            if support is None:
                continue
            for rows in _support_folds(support.y, classify, cv):
                rest = np.setdiff1d(np.arange(len(support)), rows)
                order = np.concatenate([rest, rows])
                parts.append(take_rows(support, order, np.arange(len(rest))))
                origins.append(t)
        if not parts:
            return losses
        sums, counts = np.zeros_like(losses), np.zeros(len(supports))
        failed = np.zeros(losses.shape, dtype=bool)
        with collect_failures():  # the support is warned of as a whole
            outputs, reasons = self.predict_tasks(parts, classify)
        for t, part, P, why in zip(origins, parts, outputs, reasons, strict=True):
            y = part.y_query
            classes = self.classes_of(part.y_support) if classify else None
            sums[t] += _row_losses(P, y, classes).sum(1)
            counts[t] += len(y)
            failed[t] |= [name in why for name in MEMBERS]
        some = counts > 0
        losses[some] = sums[some] / counts[some, None]
        losses[failed] = np.inf
        return losses

    def try_tasks(self, tasks: Sequence[Task], classify: bool, cv: int) -> list[Trial]:
        """Treat tasks that the members were not trained on as new ones."""
        losses = self.leave_out_losses([_support_of(task) for task in tasks], classify, cv)
        classes = [self.classes_of(task.y_support) if classify else None for task in tasks]
        return [*map(Trial, tasks, losses, *self.predict_tasks(tasks, classify), classes)]

    def _fit_per_task(
        self, X: Any, y: NDArray[Any], classes: Classes, reasons: Why
    ) -> BaseEstimator | None:
        if len(y) == 0:
            return None
        if classes is not None and len(np.unique(y)) == 1:
            return _fit_dummy(X, y, classes)
        try:
            return clone(self.per_task).fit(flat_rows(X, None), y)
        except NUMERICAL as error:
            reasons["per-task"] = str(error)
            return None

    def _predict_meta(self, tasks: Sequence[Task], reasons: Sequence[Why]) -> list[Array]:
        """Predict queries (n_query, n_outputs) by the meta-learner; note where it fails."""
        with collect_failures() as collected:
            predictions = predict_with_proba(self.meta, tasks)
        warned = Failures(off_scale=collected.off_scale, new_labels=collected.new_labels)
        warned.report(len(tasks), None)
        for i, reason in (*collected.doubtful.items(), *collected.failed.items()):
            reasons[i]["meta"] = reason.why
        is_softmax = isinstance(self.meta, BaseMetaLearner)  # never exactly 0, and not clipped
        return [
            y.reshape(len(y), -1) if P is None else P if is_softmax else _clip(P)
            for y, P, _ in predictions
        ]


def _fit_pooled(
    pooled: BaseEstimator, tasks: Sequence[Task], classify: bool
) -> BaseEstimator | None:
    """Fit an estimator to the rows of all tasks; None if a label belongs to one task alone."""
    if classify:
        labels = np.concatenate([np.unique(t.y) for t in tasks])
        n_tasks = np.unique(labels, return_counts=True)[1]
        if len(n_tasks) < 2 or n_tasks.min() < 2:
            return None
    X = np.concatenate([flat_rows(t.X, None) for t in tasks])
    return pooled.fit(X, np.concatenate([t.y for t in tasks]))


def _weighted_mean(weights: Array, P: Array) -> Array:
    """Return the weighted mean of outputs (3, n_rows, n_outputs), leaving out those not finite.

    In each row, the weights of the finite members are rescaled to sum to 1; rows without are nan.
    """
    valid = np.isfinite(P).all(axis=2) & (weights > 0)[:, None]
    W = np.where(valid, weights[:, None], 0.0)
    W /= np.where(valid.any(axis=0), W.sum(axis=0), np.nan)
    return np.einsum("an,anp->np", W, np.where(valid[..., None], P, 0.0))


def _n_outputs(y: NDArray[Any]) -> int:
    """Return the number of targets of a row."""
    return int(np.prod(y.shape[1:]))


def _support_of(task: Task) -> Support:
    """Return the support alone, as a task without a query; None if it has no rows."""
    if len(task.y_support) == 0:
        return None
    return named_task(task.X_support, task.y_support, task.feature_names_in)


def _support_folds(y: NDArray[Any], classify: bool, cv: int) -> list[NDArray[np.intp]]:
    """Return the rows of each fold of a support, with classes spread evenly."""
    rows = np.arange(len(y) if len(y) > 1 else 0)
    if classify:
        _, code, counts = np.unique(y, return_inverse=True, return_counts=True)
        rows = np.argsort(code, kind="stable")
        rows = rows[counts[code[rows]] > 1]
    n_folds = min(cv, len(rows))
    return [rows[k::n_folds] for k in range(n_folds)]


def _fit_dummy(X: Any, y: NDArray[Any], classes: Classes) -> BaseEstimator:
    """Fit the mean of a support, or its class frequencies."""
    dummy = DummyRegressor() if classes is None else DummyClassifier(strategy="prior")
    return dummy.fit(flat_rows(X, None), y)


def _outputs(est: BaseEstimator, X: Any, classes: Classes, lacking: float) -> Array:
    """Return means, or the probabilities of these classes.

    Where the estimator does not know one of them, it has the probability `lacking`; nan makes all
    of them nan.
    """
    if classes is None:
        means = np.asarray(est.predict(X), dtype=np.float64)
        return means.reshape(len(means), -1)
    column, labels = {k: i for i, k in enumerate(est.classes_.tolist())}, classes.tolist()
    unknown = [k not in column for k in labels]
    if any(unknown) and np.isnan(lacking):
        return np.full((X.shape[0], len(labels)), np.nan)
    P = est.predict_proba(X)[:, [column.get(k, 0) for k in labels]]
    P[:, unknown] = lacking
    return _clip(P)


def _clip(P: Array) -> Array:
    """Raise probabilities to MIN_PROBABILITY, and rescale them to sum to 1."""
    P = np.maximum(P, MIN_PROBABILITY)
    normalised: Array = P / P.sum(axis=1, keepdims=True)
    return normalised


def _decide(P: Array, classes: Classes, y_shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the most likely classes, or means in the shape of the targets."""
    return P.reshape(len(P), *y_shape) if classes is None else classes[P.argmax(axis=1)]


def _row_losses(P: Array, y: NDArray[Any], classes: Classes) -> Array:
    """Return the loss of each row of outputs (3, n_rows, n_outputs): squared, or in nats."""
    if classes is None:
        with np.errstate(over="ignore"):  # a huge prediction has an infinite loss
            return ((P - y.reshape(len(y), -1)) ** 2).mean(axis=-1)
    P = P[..., np.arange(len(y)), np.searchsorted(classes, y)]
    return -np.log(np.maximum(P, MIN_PROBABILITY))


# ---- members that are left out -------------------------------------------------------------------


def _not_finite(weights: Array, P: Array) -> Why:
    """Return the members that have a weight, and are not finite for some rows."""
    lost = (~np.isfinite(P).all(axis=2) & (weights > 0)[:, None]).sum(axis=1)
    return {
        name: f"its predictions are not finite for {n} of {P.shape[1]} rows, which the others "
        "predict."
        for name, n in zip(MEMBERS, lost.tolist(), strict=True)
        if n
    }


def _without_outliers(trials: Sequence[Trial], classify: bool) -> list[Trial]:
    """Remove members from the trials in which they are outliers, and add the reasons."""
    losses = np.stack([t.losses for t in trials])
    finite = [column[np.isfinite(column)] for column in losses.T]
    typical = np.array([np.median(column) if len(column) else np.inf for column in finite])
    far = _find_outliers(losses, typical, [t.task.y_support for t in trials], classify)
    _add_reasons(far, losses, typical, [t.reasons for t in trials])
    return [
        t._replace(outputs=np.where(lost[:, None, None], np.nan, t.outputs))
        for t, lost in zip(trials, far, strict=True)
    ]


def _find_outliers(
    losses: Array, typical: Array, ys: Sequence[NDArray[Any]], classify: bool
) -> Bools:
    """Find members (n_tasks, 3) that fail on rows left out, or have a huge squared error."""
    failed = np.isposinf(losses)
    if classify:
        return failed
    variances = np.array([np.var(y, axis=0).mean() if len(y) else 0.0 for y in ys])
    return failed | (losses > FACTOR * (typical + variances[:, None]))


def _add_reasons(far: Bools, losses: Array, typical: Array, reasons: Sequence[Why]) -> None:
    for t, k in np.argwhere(far):
        text = "it fails where rows of the support are left out."
        if np.isfinite(losses[t, k]):
            text = (
                f"its loss on rows left out of the support is {losses[t, k]:.3g}, against "
                f"{typical[k]:.3g} in meta-training."
            )
        reasons[t].setdefault(MEMBERS[k], text)


def _warn_left_out(reasons: Sequence[Why], names: Sequence[str]) -> None:
    """Warn once of the members that are left out of tasks."""
    left_out = {
        i: Reason(names[i], " ".join(f"{member!r} gets no weight: {text}" for member, text in some))
        for i, some in enumerate(sorted(why.items()) for why in reasons)
        if some
    }
    Failures(doubtful=left_out).report(len(names), None)


# ---- weights: learned on tasks of meta-training that the members were not trained on -------------


class GuardPrior(NamedTuple):
    """What `meta_fit` has learned."""

    members: Members
    calibration: Calibration

    @property
    def theta(self) -> dict[str, Any]:
        """Parameters of the meta-learner, if it has any, and of the weights."""
        return {**getattr(self.members.meta, "theta_", {}), **self.calibration._asdict()}

    def freeze(self) -> None:
        """Make the arrays read-only, because clones share them."""
        pooled = self.members.pooled
        for value in (*self.calibration, *({} if pooled is None else vars(pooled)).values()):
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def weigh(
        self, supports: Sequence[Support], outputs: Sequence[Array], reasons: Sequence[Why], cv: int
    ) -> Array:
        """Return weights (n_tasks, 3) that sum to 1, or are 0 if no member is left.

        Members that are far off in cross-validation on the support are added to `reasons`.
        """
        calibration = self.calibration
        # without any class, as for a support without rows of local labels, nothing is usable
        usable = np.stack(
            [np.any(np.isfinite(P).all(axis=2), axis=1) & (P.size > 0) for P in outputs]
        )
        losses = self.members.leave_out_losses(supports, calibration.classify, cv)
        ys = [np.empty(0) if support is None else support.y for support in supports]
        far = _find_outliers(losses, calibration.loss, ys, calibration.classify) & usable
        _add_reasons(far, losses, calibration.loss, reasons)
        usable &= ~far
        some = usable.any(axis=1)
        n_support = np.array([len(y) for y in ys], dtype=np.float64)
        weights = np.zeros((len(ys), len(MEMBERS)))
        weights[some] = calibration.weights(losses[some], n_support[some], usable[some])
        return weights


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
        """Return weights (n_tasks, 3) for losses (n_tasks, 3) on supports of n_support rows."""
        evidence = _log_evidence(losses, n_support, self.n_typical, self.classify, usable)
        complete = _is_complete(losses, usable)[:, None]
        logits = np.where(complete, self.offset + self.trust * evidence, self.offset_blind)
        return _usable_softmax(logits, usable)


def _calibrate(trials: Sequence[Trial], classify: bool) -> Calibration:
    """Fit offsets and trust to the loss of the blend on the queries of trials.

    The support is trusted only if that improves trials outside the fit by more than chance: three
    parameters fitted to the tails of few losses can promise much.
    """
    losses = np.stack([t.losses for t in trials])
    n_support = np.array([len(t.task.y_support) for t in trials], dtype=np.float64)
    usable = np.stack([np.isfinite(t.outputs).all(axis=(1, 2)) for t in trials])
    n_typical = max(float(n_support.mean()), 1.0)
    evidence = _log_evidence(losses, n_support, n_typical, classify, usable)
    evidence[~_is_complete(losses, usable)] = 0
    blend_losses = _squared_losses(trials) if not classify else _log_losses(trials)
    single = np.stack([blend_losses(np.tile(w, (len(trials), 1))) for w in np.eye(3)], axis=1)
    n_usable = usable.sum(axis=0)
    total = np.where(usable, single, 0.0).sum(axis=0)
    loss = np.where(n_usable, total / np.maximum(n_usable, 1), np.inf)
    unit = max(float(loss.min()), np.finfo(float).tiny)
    fit = _WeightFit(blend_losses, evidence, usable, unit, n_typical)
    every = np.arange(len(trials))
    blind = fit.best(every, with_trust=False)
    best = fit.best(every, with_trust=True) if fit.trust_pays() else blind
    loss_blend = float(fit.losses_at(best).mean())
    offset, offset_blind = np.append(best[:2], 0.0), np.append(blind[:2], 0.0)
    return Calibration(offset, float(best[2]), offset_blind, n_typical, classify, loss, loss_blend)


class _WeightFit(NamedTuple):
    """Minimise the mean loss of the blend over (offset, offset, trust)."""

    blend_losses: Callable[[Array], Array]  # of weights (n_trials, 3)
    evidence: Array
    usable: Bools
    unit: float
    n_typical: float

    def losses_at(self, params: Array) -> Array:
        logits = np.append(params[:2], 0.0) + params[2] * self.evidence
        return self.blend_losses(_usable_softmax(logits, self.usable))

    def best(self, rows: NDArray[np.intp], *, with_trust: bool) -> Array:
        """Minimise from the corners, where one member has all the weight, and from the middle."""

        def objective(params: Array) -> float:
            penalty = OFFSET_PENALTY * float((params[:2] ** 2).sum()) / len(rows)
            return float(self.losses_at(params)[rows].mean()) / self.unit + penalty

        # a trust of n_typical is that of the likelihood, as if the rows were independent
        most = self.n_typical * with_trust
        bounds = [(-MAX_OFFSET, MAX_OFFSET)] * 2 + [(0.0, most)]
        results = [
            minimize(objective, [*start, most / 4], bounds=bounds, method="L-BFGS-B")
            for start in ([5.0, 0.0], [0.0, 5.0], [-5.0, -5.0], [0.0, 0.0])
        ]
        return np.asarray(min(results, key=lambda result: float(result.fun)).x)

    def trust_pays(self) -> bool:
        """Whether trust in the support improves trials that it was not fitted to."""
        n = len(self.evidence)
        if n < MIN_TRIALS or not self.evidence.any():
            return False
        gains = np.empty(n)
        for k in range(TRIAL_FOLDS):
            test = np.arange(n) % TRIAL_FOLDS == k
            blind, trusting = (
                self.losses_at(self.best(np.flatnonzero(~test), with_trust=with_trust))
                for with_trust in (False, True)
            )
            gains[test] = (blind - trusting)[test]
        return bool(gains.mean() > gains.std(ddof=1) / np.sqrt(n))


def _squared_losses(trials: Sequence[Trial]) -> Callable[[Array], Array]:
    """Return the mean squared error of a blend in each trial, as a function of weights (n, 3).

    It is a quadratic form in the weights, because they sum to 1.
    """
    errors = [
        (_zero_if_lost(t.outputs) - y.reshape(len(y), -1)).reshape(len(MEMBERS), -1)
        for t in trials
        for y in [t.task.y_query.astype(np.float64)]
    ]
    gram = np.stack([e @ e.T / e.shape[1] for e in errors])
    return lambda W: np.einsum("ta,tab,tb->t", W, gram, W)


def _log_losses(trials: Sequence[Trial]) -> Callable[[Array], Array]:
    """Return the mean log-loss of a blend in each trial, as a function of weights (n, 3)."""
    sizes = np.array([len(t.task.y_query) for t in trials])
    true = np.ones((len(trials), len(MEMBERS), sizes.max()))  # probabilities; padding has no loss
    for i, t in enumerate(trials):
        is_true = t.task.y_query[:, None] == t.classes
        true[i, :, : sizes[i]] = (_zero_if_lost(t.outputs) * is_true).sum(axis=-1)

    def losses(W: Array) -> Array:
        P = np.maximum(np.einsum("ta,tan->tn", W, true), MIN_PROBABILITY)
        total: Array = -np.log(P).sum(axis=1)
        return total / sizes

    return losses


def _zero_if_lost(P: Array) -> Array:
    return np.where(np.isfinite(P), P, 0.0)


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
