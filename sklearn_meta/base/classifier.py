"""Meta-learners for classification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin

from sklearn_meta.base.estimator import BaseMetaLearner
from sklearn_meta.base.inner_loop import HEADS, loss_constraint
from sklearn_meta.base.validation import validate_weight
from sklearn_meta.inner.algorithm import Criterion, one_hot
from sklearn_meta.inner.fine_tune import FineTune, from_scratch
from sklearn_meta.inner.heads import FixedHead, Head
from sklearn_meta.parameters import anything, as_range, describe, option, param, real

__all__ = ["MetaClassifier"]


@describe
@dataclass(eq=False, repr=False, kw_only=True)
class MetaClassifier(ClassifierMixin, BaseMetaLearner):
    """Base class of meta-learners for classification."""

    loss: str | Criterion = param(
        "cross_entropy",
        loss_constraint("class"),
        "structural",
        """Loss of a task, which the outer loop minimises on the query and an inner loop by
        gradients on the support. A callable maps logits (*B, n, n_way), labels in one-hot form
        (*B, n, n_way) and weights of the rows (*B, n) to losses (*B,).""",
    )
    n_shot: int | tuple[int, int] = param(
        (1, 5),
        anything("int or (int, int)"),
        "training",
        """Number of support rows of each class in an episode, for tasks without a fixed support. A
        pair is a range to draw from, so that one prior serves supports of different sizes. A
        :class:`~sklearn_meta.tasks.FewShotTasks` sets its own.""",
    )

    labels: str = param(
        "auto",
        option("auto", "shared", "task"),
        "structural",
        """Whether a label means the same in all tasks ("yes" of each patient), or is local to its
        task ("class 0"). With "shared", a task predicts all labels of meta-training, also those
        that its support lacks, which may have no rows at all; probabilities have the frequencies
        of the tasks; `n_shot` and `n_query` times the number of labels are rows of an episode, of
        any labels as they come. With "auto", labels are shared if each occurs in at least half of
        the tasks, unless every task has equally many rows of each label.""",
    )

    validation_fraction: float | None = param(
        0.1,
        real(0, 0.5, open_left=True, none=True),
        "training",
        """Share of the tasks that `meta_fit` holds out where labels are shared. It keeps the theta
        of the epoch with the lowest loss on them, because a network can learn the rows of all tasks
        by heart if labels mean the same. No task is held out if `validation_tasks` are passed,
        meta-training is a single epoch, the share is less than two tasks, or tasks are read or
        drawn one by one. None never holds out any.""",
    )

    target_type: ClassVar[Literal["class"]] = "class"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MetaClassifier:
        """Inner loop: adapt the learned prior to a new task (or train from scratch without one).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
            The support.
        y : array-like of shape (n_rows,)
            Labels, of any kind and any number of classes, whatever meta-training saw (unless
            ``head="fixed"`` or the class of the estimator says otherwise).
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
            X, y = self._validate_support(X, y)
            weight = validate_weight(sample_weight, X)
            self.classes_ = self.label_space.of_outputs(np.unique(y), type(self).__name__)
            self._adapted = self._adapt(X, self.encode_targets(y), weight)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        P : ndarray of shape (n_rows, n_classes)
            In the order of `classes_`; rows sum to 1.
        """
        logits = self._predict_outputs(X)
        P = np.exp(logits - logits.max(axis=1, keepdims=True))
        return P / P.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> NDArray[Any]:
        """Most likely class of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,)
            Labels from `classes_`.
        """
        logits = self._predict_outputs(X)
        return self.classes_[logits.argmax(axis=1)]

    def encode_targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Encode labels as one-hot rows, with a column for each output of the network."""
        labels = self.label_space.of_outputs(np.unique(y), type(self).__name__)
        return one_hot(np.searchsorted(labels, y), len(labels))

    def make_scratch_algorithm(self) -> FineTune:
        """Make the baseline for an estimator that was never meta-fitted."""
        return from_scratch(self.make_loss(), FixedHead())

    def make_head(self) -> Head:
        """Return the output layer that the parameter `head` names.

        Returns
        -------
        Head
            Where the output layer starts.
        """
        return HEADS[self.head]  # of estimators that declare it

    @property
    def label_regime(self) -> str:
        """Whether labels mean the same in all tasks: "shared", "task", or "auto"."""
        return self.labels

    @property
    def held_out_share(self) -> float:
        """Share of the tasks to hold out for validation where labels are shared."""
        return self.validation_fraction or 0.0

    def support_sizes(self) -> tuple[int, int]:
        """Return the range of support rows of each class in an episode."""
        return as_range(self.n_shot, "n_shot", type(self).__name__, least=1)
