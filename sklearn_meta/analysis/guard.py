"""What guarded learners have in common: three arms, and weights by the support."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.analysis.guard_arms import (
    ARMS,
    Arms,
    Rows,
    Why,
    blend,
    not_finite,
    said,
    simplest,
)
from sklearn_meta.analysis.guard_saved import SavedGuard
from sklearn_meta.analysis.guard_trials import (
    GuardPrior,
    check_guarded,
    cut_rows,
    guard_prior,
    pooled_fit,
    trials_of,
    with_support,
)
from sklearn_meta.analysis.guard_weights import Calibration, Trial, calibrate, without_far
from sklearn_meta.base.validation import validate_query, validate_support
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.model_selection.given import support_range
from sklearn_meta.outer.failures import (
    SUPPORT,
    Failures,
    Reason,
    check_error_score,
    collect_failures,
    no_prediction,
)
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.columns import check_feature_names, check_task_names
from sklearn_meta.tasks.convert import validation_table
from sklearn_meta.tasks.frames import feature_names
from sklearn_meta.tasks.ranges import check_int
from sklearn_meta.tasks.validate import label

__all__ = ["GuardedMetaEstimator"]


LOCAL_ALONE = np.array([0.0, 1.0, 0.0])


class GuardedMetaEstimator(SavedGuard, BaseEstimator, ABC):
    """What the guarded classifier and the guarded regressor have in common; see there.

    Parameters
    ----------
    estimator : meta-learner
        To guard; a clone of it is meta-fitted.
    local, pooled : estimator or None, default=None
        Fitted to each support alone, and to the rows of all tasks together.
    n_support : int or None, default=None
        Rows of support to draw from tasks of meta-training without a fixed one.
    cv, n_folds : int, default=10 and 3
        Folds of a support, and of the tasks of meta-training.
    random_state : int, RandomState instance or None, default=None
        Of folds and supports.
    """

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
            As `estimator` takes them, at least two.
        y, groups : array-like of shape (n_rows,), str or None, default=None
            Targets and tasks of the rows of a table, or the names of these columns.
        validation_tasks : sequence of tasks or table, default=None
            For the `meta_fit` of `estimator`.

        Returns
        -------
        self : object
            With a learned prior, and without an earlier adaptation.

        Raises
        ------
        TaskError
            If a task cannot be used, or there is one alone.
        ValueError
            If a parameter is out of range.
        FloatingPointError
            If meta-training diverges, or all members fail on each task.
        """
        self._check_params()
        known = as_tasks(tasks, y, groups, target_type=self._kind())
        table = validation_table(validation_tasks, y, groups)
        if table is not None:
            validation_tasks = as_tasks(*table, target_type=self._kind())
        if len(known) < 2:
            raise TaskError(f"{type(self).__name__} needs two tasks or more to learn weights from.")
        rng, trials = check_random_state(self.random_state), list[Trial]()
        classify, name, size = self._kind() == "class", type(self).__name__, support_range(self)
        cut = [with_support(task, i, size, classify, name, rng) for i, task in enumerate(known)]
        n_folds = min(check_int(self.n_folds, "n_folds", name, 2), len(known))
        folds = KFold(n_folds, shuffle=True, random_state=rng.randint(np.iinfo(np.int32).max))
        failed: dict[int, Why] = {}  # by position of the task, in the order of the trials
        for train, test in folds.split(np.zeros(len(known))):
            arms = self._trained([known[i] for i in train], validation_tasks)
            with collect_failures():  # these tasks are those of meta-training
                some, why = trials_of(arms, [cut[i] for i in test], classify, self.cv)
            trials += some
            failed |= dict(zip(test.tolist(), why, strict=True))
        trials = without_far(trials, [*failed.values()], classify)
        usable = [trial for trial in trials if np.isfinite(trial.outputs).all(axis=(1, 2)).any()]
        if not usable:
            raise FloatingPointError(f"{name} has no member that predicts. Task 0: {failed[0]}")
        arms = self._trained(known, validation_tasks)
        self.reset_meta()
        self._meta_state = guard_prior(arms, calibrate(usable, classify), known[0].feature_names_in)
        names = [label(task, i) for i, task in enumerate(known)]
        _warn_left_out([failed[i] for i in range(len(known))], names)
        return self

    def fit(self, X: Any, y: Any) -> GuardedMetaEstimator:
        """Weigh the arms by the support of a new task, and fit them to it.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            The support.
        y : array-like of shape (n_rows,)
            Its labels or targets.

        Returns
        -------
        self : object
            With `weights_`. Never meta-fitted, it is the local arm alone.

        Notes
        -----
        A member that diverges on the support, whose predictions are not finite, or whose loss on
        the support is absurd, is left out, and a warning says so. Where none is left, the local
        arm is the mean of the support, or its class frequencies.
        """
        self._check_params()
        X, y = self._checked(X, y)
        classes = np.unique(y) if self._kind() == "class" else None
        prior = self._meta_state
        arms = Arms(None, self._local(), None) if prior is None else prior.arms
        item = Rows(X, y, X, classes)
        fitted, why = arms.fitted(item)
        if all(arm is None for arm in fitted):
            weights = np.zeros(len(ARMS))
        else:
            weights = self._weights([item], [said(fitted, X, classes)], [why])[0]
        if not weights.any():
            fitted, weights = fitted._replace(local=simplest(item)), LOCAL_ALONE
        self._fitted, self._y_shape = fitted, y.shape[1:]
        self.weights_ = dict(zip(ARMS, weights.tolist(), strict=True))
        if classes is not None:
            self.classes_ = classes
        _warn_left_out([why], [SUPPORT])
        return self

    def predict_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> list[NDArray[Any]]:
        """Fit the support of each task and predict its query, many tasks at a time.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support.
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
            If a task cannot be used, or has no fixed support.
        """
        known, predicted, failures = self._predicted(tasks, error_score)
        failures.report(len(known), error_score)
        return predicted

    def weights_tasks(self, tasks: Any) -> NDArray[np.float64]:
        """Give the weights that tasks get by their supports.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support.

        Returns
        -------
        ndarray of shape (n_tasks, 3)
            Of the meta-learner, the local and the pooled estimator; they sum to 1.
        """
        return self._blended(tasks)[2]

    def score_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> NDArray[np.float64]:
        """Accuracy (R^2 of a regressor) on the query of each task.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support.
        error_score : "raise" or float, default=np.nan
            The score of a task for which no member has finite predictions; a warning names it.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Of each task.
        """
        metric = accuracy_score if self._kind() == "class" else r2_score
        known, predicted, failures = self._predicted(tasks, error_score)
        scores = [
            error_score if i in failures.failed else metric(task.y_query, y)
            for i, (task, y) in enumerate(zip(known, predicted, strict=True))
        ]
        failures.report(len(known), error_score)
        return np.array(scores, dtype=np.float64)

    @property
    def meta_state(self) -> GuardPrior | None:
        """The learned prior; None before `meta_fit`."""
        return self._meta_state

    def reset_meta(self) -> GuardedMetaEstimator:
        """Forget the learned prior, and the adaptation with it.

        Returns
        -------
        self : object
            As if newly made with the same parameters.
        """
        self._meta_state = None
        for name in [n for n in vars(self) if n.endswith("_") or n in ("_fitted", "_y_shape")]:
            delattr(self, name)
        return self

    @property
    def calibration_(self) -> Calibration:
        """What was learned of the arms on the tasks of meta-training; raises without `meta_fit`."""
        return self._known().calibration

    def __sklearn_clone__(self) -> Any:
        twin = super().__sklearn_clone__()
        twin._meta_state = self._meta_state
        return twin

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")

    @abstractmethod
    def _kind(self) -> str:
        """Say "class" or "real"."""

    @abstractmethod
    def _local(self) -> Any:
        """Make the estimator for one support."""

    @abstractmethod
    def _decided(self, classes: Any, P: NDArray[np.float64], y: NDArray[Any]) -> NDArray[Any]:
        """Turn a blend into predictions, in the shape and type of y."""

    def _check_params(self) -> None:
        check_int(self.cv, "cv", type(self).__name__, 2)
        check_guarded(self.estimator, type(self).__name__, self._kind() == "class")

    def _checked(self, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        if self._meta_state is not None:
            check_feature_names(feature_names(X), self._meta_state.feature_names)
        return validate_support(self, X, y, allow_nd=True, kind=self._kind())

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Blend what the fitted arms say of rows."""
        check_is_fitted(self)
        X = validate_query(self, X, allow_nd=True)
        weights = np.array([*self.weights_.values()])
        pairs = zip(self._fitted, weights, strict=True)
        members = Arms(*(arm if weight > 0 else None for arm, weight in pairs))
        P = said(members, X, getattr(self, "classes_", None))
        found = blend(weights, P)
        lost = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if len(lost):
            raise FloatingPointError(
                f"No member of this {type(self).__name__} has finite predictions for row {lost[0]} "
                f"of X of shape {X.shape} ({len(lost)} such rows)."
            )
        _warn_left_out([not_finite(weights, P)], ["X"])
        return found

    def _predicted(
        self, tasks: Any, error_score: Any
    ) -> tuple[Sequence[Task], list[NDArray[Any]], Failures]:
        check_error_score(error_score, type(self).__name__)
        known, items, W, outputs = self._blended(tasks)
        predicted, failures = list[NDArray[Any]](), Failures()
        for i, (task, item, w, P) in enumerate(zip(known, items, W, outputs, strict=True)):
            found = blend(w, P)
            if np.isfinite(found).all():
                predicted.append(self._decided(item.classes, found, task.y))
                continue
            why = "no member has finite predictions for all rows of the query."
            failures.add(Failures({i: Reason(label(task, i), why)}), error_score)
            predicted.append(no_prediction(len(found), task.y, self._kind()))
        return known, predicted, failures

    def _blended(self, tasks: Any) -> Any:
        known = as_tasks(tasks, target_type=self._kind())
        check_task_names(known[0], 0, self._known().feature_names)
        items = [cut_rows(t, i, self._kind() == "class") for i, t in enumerate(known)]
        with collect_failures() as inside:
            outputs, failed = self._known().arms.outputs(items)
        names = [label(task, i) for i, task in enumerate(known)]
        inside.renamed(dict(enumerate(names))).report(len(items), None)
        W = self._weights(items, outputs, failed)
        for t, item in enumerate(items):
            if not W[t].any():
                P = said(Arms(None, simplest(item), None), item.X_query, item.classes)
                outputs[t], W[t] = P, LOCAL_ALONE
            failed[t] |= not_finite(W[t], outputs[t])
        _warn_left_out(failed, names)
        return known, items, W, outputs

    def _weights(
        self,
        items: Sequence[Rows],
        outputs: Sequence[NDArray[np.float64]],
        failed: Sequence[Why],
    ) -> NDArray[np.float64]:
        if self._meta_state is None:
            return np.array([LOCAL_ALONE] * len(items))
        return self._meta_state.weights(items, outputs, failed, self.cv)

    def _known(self) -> GuardPrior:
        if self._meta_state is None:
            raise NotMetaFittedError(
                f"This {type(self).__name__} is not meta-fitted yet. Call meta_fit(tasks) first."
            )
        return self._meta_state

    def _trained(self, tasks: Sequence[Task], validation_tasks: Any) -> Arms:
        pooled = self._local() if self.pooled is None else clone(self.pooled)
        meta, classify = clone(self.estimator), self._kind() == "class"
        if hasattr(meta, "reset_meta"):
            meta.reset_meta()
        meta.meta_fit(list(tasks), validation_tasks=validation_tasks)
        return Arms(meta, self._local(), pooled_fit(pooled, tasks, classify))


def _warn_left_out(failed: Sequence[Why], names: Sequence[str]) -> None:
    """Warn once of the members that tasks have to do without."""
    left_out = {
        i: Reason(names[i], " ".join(f"{member!r} gets no weight: {why}" for member, why in own))
        for i, own in enumerate(sorted(why.items()) for why in failed)
        if own
    }
    Failures(doubtful=left_out).report(len(names), None)
