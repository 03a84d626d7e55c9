"""Meta-learners for classification."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from sklearn_meta.core.estimator import BaseMetaLearner
from sklearn_meta.core.heads import FixedHead
from sklearn_meta.core.many import outputs_of_tasks
from sklearn_meta.core.scratch import FromScratch
from sklearn_meta.core.support import check_weight
from sklearn_meta.functional import cross_entropy
from sklearn_meta.tasks import as_tasks
from sklearn_meta.tasks.ranges import as_range

__all__ = ["MetaClassifier"]


class MetaClassifier(ClassifierMixin, BaseMetaLearner):
    """A meta-learner whose tasks have class labels."""

    _target_type = "class"
    _training = (*BaseMetaLearner._training, "n_shot")

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MetaClassifier:
        """Inner loop: adapt the learned prior to a new task (or train from scratch without one).

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features) or (n_rows, ...)
            The support.
        y : array-like of shape (n_rows,)
            Labels, of any kind and any number of classes, whatever meta-training saw.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            Ready to predict.

        Raises
        ------
        ValueError
            If the support does not fit the meta state, or a parameter is out of range.
        """
        with self._unchanged_on_error():
            X, y = self._check_X_y(X, y)
            check_classification_targets(y)
            weight = check_weight(sample_weight, X)
            self.classes_, codes = np.unique(y, return_inverse=True)
            self._adapted = self._adapt(X, np.eye(len(self.classes_))[codes], weight)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features) or (n_rows, ...)
            Query rows.

        Returns
        -------
        P : ndarray of shape (n_rows, n_classes)
            In the order of `classes_`; rows sum to 1.
        """
        logits = self._forward(X)
        P = np.exp(logits - logits.max(axis=1, keepdims=True))
        return P / P.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> NDArray[Any]:
        """Most likely class of each row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features) or (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,)
            Labels from `classes_`.
        """
        logits = self._forward(X)
        return self.classes_[logits.argmax(axis=1)]

    def predict_tasks(self, tasks: Any) -> list[NDArray[Any]]:
        """Adapt to the support of each task and predict its query, in one stacked pass.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support.

        Returns
        -------
        y : list of ndarray of shape (n_query,)
            Predicted labels, in the order of the tasks.

        Raises
        ------
        TaskError
            If a task cannot be used, or has no fixed support.
        """
        found = {
            i: np.unique(task.y_support)[logits.argmax(axis=1)]
            for i, task, logits in outputs_of_tasks(self, tasks)
        }
        return [found[i] for i in range(len(found))]

    def score_tasks(self, tasks: Any) -> NDArray[np.float64]:
        """Accuracy on the query of each task, after adapting to its support.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support.

        Returns
        -------
        accuracy : ndarray of shape (n_tasks,)
            Of each task.
        """
        tasks = as_tasks(tasks, target_type="class")
        pairs = zip(self.predict_tasks(tasks), tasks, strict=True)
        return np.array([np.mean(y == task.y_query) for y, task in pairs])

    def _scratch(self) -> FromScratch:
        return FromScratch(cross_entropy, FixedHead())

    def _n_support(self) -> tuple[int, int]:
        return as_range(self.n_shot, "n_shot", type(self).__name__, least=1)
