"""Two learners for the report: one model for all tasks, and labels by random coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.utils import get_tags

from sklearn_meta.ensemble import fit_pooled, flat
from sklearn_meta.model_selection.comparison import HierarchicalRegressor
from sklearn_meta.model_selection.comparison.hierarchical import HierarchicalBase
from sklearn_meta.tasks import Task, as_tasks

__all__ = ["LabelCoefficients", "Pooled"]


class Pooled(HierarchicalBase):
    """One model for the rows of all tasks, which the support of a new task does not change.

    Parameters
    ----------
    estimator : classifier or regressor
        Of scikit-learn.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> Pooled:
        """Fit it.

        Parameters
        ----------
        tasks : sequence of tasks
            All of their rows are used.
        validation_tasks : None
            Not looked at.

        Returns
        -------
        self : object
            Ready to predict.
        """
        classify = get_tags(self.estimator).estimator_type == "classifier"
        known = as_tasks(tasks, target_type="class" if classify else "real")
        self._prior = fit_pooled(clone(self.estimator), known, classify)
        return self

    def fit(self, X: Any, y: Any) -> Pooled:
        """Look at nothing.

        Parameters
        ----------
        X, y : array-like
            The support.

        Returns
        -------
        self : object
            As it was.
        """
        self._known()
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict by the model for all.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            Labels or targets.
        """
        found: NDArray[Any] = self._known().predict(flat(X))
        return found

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags, tags.regressor_tags = inner.classifier_tags, inner.regressor_tags
        return tags


class LabelCoefficients(ClassifierMixin, HierarchicalBase):
    """Linear regressions of the indicators of labels, whose coefficients share a Gaussian prior.

    For tasks that all have the same labels, which mean the same.

    Parameters
    ----------
    max_iter, tol : int and float, default=300 and 1e-5
        As of :class:`~sklearn_meta.model_selection.comparison.HierarchicalRegressor`.
    """

    def __init__(self, *, max_iter: int = 300, tol: float = 1e-5) -> None:
        self.max_iter = max_iter
        self.tol = tol

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> LabelCoefficients:
        """Learn the prior.

        Parameters
        ----------
        tasks : sequence of tasks
            All of their rows are used.
        validation_tasks : None
            Not looked at; pipelines hand it on.

        Returns
        -------
        self : object
            Ready to be fitted to a new task.
        """
        known = as_tasks(tasks, target_type="class")
        labels = np.unique(np.concatenate([np.unique(t.y) for t in known]))
        scores = HierarchicalRegressor(max_iter=self.max_iter, tol=self.tol)
        scores.meta_fit([Task(t.X, _indicators(t.y, labels)) for t in known])
        self._prior = labels, scores
        return self

    def fit(self, X: Any, y: Any) -> LabelCoefficients:
        """Give the coefficients of a new task, as far as its rows tell.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            The support.
        y : array-like of shape (n_rows,)
            Its labels.

        Returns
        -------
        self : object
            Ready to predict.
        """
        labels, scores = self._known()
        self.classes_ = np.unique(y)
        self.scores_ = clone(scores).fit(X, _indicators(y, labels))
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Give the label of the highest score, of those in the support.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,)
            Labels.
        """
        here = np.isin(self._known()[0], self.classes_)
        own = self.scores_.predict(X)[:, here]
        found: NDArray[Any] = self.classes_[own.argmax(axis=1)]
        return found


def _indicators(y: Any, labels: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.asarray(y)[:, None] == labels, dtype=np.float64)
