"""A meta-learner that is blended with two simple arms, by the support, to protect the mean loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin, clone
from sklearn.linear_model import LogisticRegression, Ridge

from sklearn_meta.analysis.guard import GuardedMetaEstimator

__all__ = ["GuardedMetaClassifier", "GuardedMetaEstimator", "GuardedMetaRegressor"]


class GuardedMetaClassifier(ClassifierMixin, GuardedMetaEstimator):
    """Classifier that blends a meta-learner with a local and a pooled one, by the support.

    `fit` estimates the loss of the three arms by leaving rows of the support out, and predicts the
    mean of their probabilities by weights
    ``softmax(offset + trust * n_support / n_typical * (least - loss))``. Offsets and trust are
    learned in `meta_fit`, on tasks that the arms were not trained on: where five rows cannot tell
    the arms apart, the trust is 0, and the weights are those that are best over tasks. This
    protects the mean loss over tasks: a single task may be worse off than by a simple arm, mostly
    by little.

    An arm gets no weight for a task on which it diverges, is not finite, or is absurd, and a
    warning names both. Where none is left, the class frequencies of the support are predicted.

    Parameters
    ----------
    estimator : meta-learner
        A classifier with `meta_fit`; it stays as it is, a clone is meta-fitted.
    local : estimator or None, default=None
        Fitted to each support alone. None: logistic regression.
    pooled : estimator or None, default=None
        Fitted to the rows of all tasks together, where tasks share their labels. None: as `local`.
    n_support : int or None, default=None
        Rows of each class to draw as support from tasks of meta-training without a fixed one.
        None: as many as `estimator` is meta-trained for.
    cv : int, default=10
        Folds of a support; one row at a time where it has no more rows.
    n_folds : int, default=3
        Folds of the tasks of meta-training, on which the weights are learned: so many extra
        meta-trainings.
    random_state : int, RandomState instance or None, default=None
        Of folds and supports.

    Attributes
    ----------
    weights_ : dict of str to float
        Of "meta", "local" and "pooled" for the task fitted.
    classes_ : ndarray of shape (n_classes,)
        Its labels.

    See Also
    --------
    GuardedMetaRegressor : The same for regression.
    transfer_gain : Measures where a meta-learner helps and where it hurts.

    Examples
    --------
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.analysis import GuardedMetaClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(24, n_way=3, n_shot=3, random_state=0)
    >>> inner = ProtoNetClassifier(max_meta_iter=20, random_state=0)
    >>> clf = GuardedMetaClassifier(inner, random_state=0).meta_fit(tasks[:20])
    >>> clf.score_tasks(tasks[20:]).shape
    (4,)
    """

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        P : ndarray of shape (n_rows, n_classes)
            In the order of `classes_`.
        """
        return self._outputs(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """Most likely class of each row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,)
            Labels from `classes_`.
        """
        P = self._outputs(X)
        return self._decided(self.classes_, P, self.classes_)

    def _kind(self) -> str:
        return "class"

    def _local(self) -> Any:
        return LogisticRegression() if self.local is None else clone(self.local)

    def _decided(self, classes: Any, P: NDArray[np.float64], y: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = classes[P.argmax(axis=1)]
        return found


class GuardedMetaRegressor(RegressorMixin, GuardedMetaEstimator):
    """Regressor that blends a meta-learner with a local and a pooled one, by the support.

    `fit` estimates the loss of the three arms by leaving rows of the support out, and predicts
    their mean by weights ``softmax(offset + trust * n_support / n_typical * log(least / loss) /
    2)``. Offsets and trust are learned in `meta_fit`, on tasks that the arms were not trained on:
    where five rows cannot tell the arms apart, the trust is 0, and the weights are those that are
    best over tasks. This protects the mean loss over tasks: a single task may be worse off than by
    a simple arm, mostly by little.

    An arm gets no weight for a task on which it diverges, is not finite, or is absurd, and a
    warning names both. Where none is left, the mean of the support is predicted.

    Parameters
    ----------
    estimator : meta-learner
        A regressor with `meta_fit`; it stays as it is, a clone is meta-fitted.
    local : estimator or None, default=None
        Fitted to each support alone. None: ridge regression.
    pooled : estimator or None, default=None
        Fitted to the rows of all tasks together. None: as `local`.
    n_support : int or None, default=None
        Rows to draw as support from tasks of meta-training without a fixed one. None: as many as
        `estimator` is meta-trained for.
    cv : int, default=10
        Folds of a support; one row at a time where it has no more rows.
    n_folds : int, default=3
        Folds of the tasks of meta-training, on which the weights are learned: so many extra
        meta-trainings.
    random_state : int, RandomState instance or None, default=None
        Of folds and supports.

    Attributes
    ----------
    weights_ : dict of str to float
        Of "meta", "local" and "pooled" for the task fitted.

    See Also
    --------
    GuardedMetaClassifier : The same for classification.
    transfer_gain : Measures where a meta-learner helps and where it hurts.

    Examples
    --------
    >>> from sklearn_meta.analysis import GuardedMetaRegressor
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> from sklearn_meta.model_selection import HierarchicalRegressor
    >>> tasks = make_linear_tasks(60, mean=[2, 2, 2], n_support=5, random_state=0).tasks
    >>> reg = GuardedMetaRegressor(HierarchicalRegressor(), random_state=0).meta_fit(tasks[:50])
    >>> reg = reg.fit(tasks[50].X_support, tasks[50].y_support)
    >>> max(reg.weights_, key=reg.weights_.get)
    'meta'
    """

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predicted targets.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            In the shape of the `y` that was fitted.
        """
        P = self._outputs(X)
        return P.reshape(len(P), *self._y_shape)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _kind(self) -> str:
        return "real"

    def _local(self) -> Any:
        return Ridge() if self.local is None else clone(self.local)

    def _decided(self, classes: Any, P: NDArray[np.float64], y: NDArray[Any]) -> NDArray[Any]:
        return P.reshape(len(P), *y.shape[1:])
