"""Meta-learners for classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.metaestimators import available_if

from sklearn_meta.base.estimator import BaseMetaLearner
from sklearn_meta.base.inner_loop import HEADS, loss_constraint
from sklearn_meta.base.module import ClassModule
from sklearn_meta.base.validation import labels_of, validate_weight
from sklearn_meta.inner.algorithm import Criterion, one_hot
from sklearn_meta.inner.fine_tune import FineTune, from_scratch
from sklearn_meta.inner.heads import FixedHead, Head
from sklearn_meta.outer.class_weights import ClassWeights
from sklearn_meta.outer.failures import SUPPORT, Failures, Reason
from sklearn_meta.parameters import (
    Constraint,
    anything,
    as_range,
    describe,
    option,
    param,
    real,
)

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
        pair is a range to draw from, so that one prior serves supports of different sizes; a class
        with fewer rows gives all but one. A single number is needed of every class. A
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
        any labels as they come. A support with a label that no task of meta-training had has labels
        of its own, with a warning. With "auto", labels are shared if each occurs in at least half
        of the tasks, unless every task has equally many rows of each label.""",
    )

    class_weight: str | Mapping[Any, float] | None = param(
        None,
        Constraint(
            lambda value: (
                all(map(real(0, open_left=True).allows, value.values()))
                if isinstance(value, Mapping)
                else option(None, "balanced").allows(value)
            ),
            "None, 'balanced', or a dict of a positive number for each label",
            '{"balanced"} or dict or None',
        ),
        "training",
        """Weights of the rows by their label, in the losses of both loops; they multiply
        `sample_weight`. "balanced" gives all labels the same weight in total: where labels are
        shared, by their shares in meta-training, and otherwise in each support and query. A dict
        has a weight for each label, and needs shared labels; those that it lacks have weight 1.
        Probabilities become those of tasks with so weighted classes, and no longer match the
        frequencies of the data. To find more rows of a rare class, or for costs that differ,
        prefer a threshold: :class:`sklearn.model_selection.TunedThresholdClassifierCV`.""",
    )

    validation_fraction: float | None = param(
        0.1,
        real(0, 0.5, open_left=True, none=True),
        "training",
        """Share of the tasks that `meta_fit` holds out where labels are shared. It keeps the theta
        of the epoch with the lowest loss on them, because a network can learn the rows of all tasks
        by heart if labels mean the same, and chooses a temperature of the class probabilities on
        them. No task is held out if `validation_tasks` are passed, meta-training is a single epoch,
        the share is less than two tasks, or tasks are read or drawn one by one. None never holds
        out any.""",
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
            ``head="fixed"`` or the class of the estimator says otherwise). Where tasks share their
            labels, a support with a label that meta-training has not seen has labels of its own.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows: a weight of 2 counts as two equal rows, and 0 as none.

        Returns
        -------
        self : object
            Ready to predict.

        Raises
        ------
        ValueError
            If the support does not fit the meta state, or a parameter is out of range.

        Warns
        -----
        ColdFitWarning
            If there is no learned prior.
        NewLabelsWarning
            If a label is new to a prior of shared labels.
        """
        with self._unchanged_on_error():
            X, y = self._validate_support(X, y)
            weight = validate_weight(sample_weight, X)
            self._adapt_labels(X, y, weight, np.unique(y))
        return self

    @available_if(lambda self: self._has_update())  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> MetaClassifier:
        """Add rows to the support, without those of earlier calls; only after `meta_fit`.

        Learners have this method if what they adapt depends on the support through sums over its
        rows. The result is that of `fit` on the rows of all calls together, and of the last `fit`,
        if there was one. A call that raises an error adds nothing.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
            More rows of the support, with the features of the first ones. They are computed in the
            precision of the first ones.
        y : array-like of shape (n_rows,)
            Labels. If labels are local to the task, there may be new ones.
        classes : array-like of shape (n_classes,), default=None
            Labels for which `classes_` should have an entry already. The probability of one without
            rows is 0, or what the prior and the other rows say if labels are shared.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows, as in `fit`.

        Returns
        -------
        self : object
            Ready to predict.

        Raises
        ------
        ValueError
            If rows or labels are invalid, or with ``scaling="task"``, a network with batch
            statistics, or ``class_weight="balanced"`` of labels that are local to a task: the
            features or the weight of a row then depend on the whole support.
        """
        with self._unchanged_on_error():
            X, y, earlier = self._validate_more(X, y)
            weight, space = validate_weight(sample_weight, X), self.label_space
            old, phi = y[:0], dict[str, NDArray[Any]]()
            if earlier is not None:
                old, phi = self.classes_, dict(earlier.phi)
                if space.are_new(labels_of(y, old, classes)):  # shared classes without rows go
                    stays = (phi["counts"] > 0) | ~np.isin(old, space.shared_classes)
                    old, phi = old[stays], {name: p[stays] for name, p in phi.items()}
            labels = labels_of(y, old, classes)
            outputs = space.of_outputs(labels)
            phi = _expand(phi, np.searchsorted(outputs, old), len(outputs))
            self._adapt_labels(X, y, weight, labels, phi)
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
        """Encode labels as one-hot rows, with a column for each output of the network.

        Parameters
        ----------
        y : ndarray of shape (n_rows,)
            Labels of a support.

        Returns
        -------
        ndarray of bool of shape (n_rows, n_columns)
            One-hot labels.

        Raises
        ------
        ValueError
            If the learned prior cannot take a label.
        """
        return self._one_hot(y, np.unique(y))

    def _one_hot(self, y: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
        """Encode labels of a task that has these labels."""
        space = self.label_space
        if space.are_new(labels) and self.make_algorithm().with_new_labels() is None:
            space.refuse_new(labels, type(self).__name__)
        outputs = space.of_outputs(labels)
        return one_hot(np.searchsorted(outputs, y), len(outputs))

    def _adapt_labels(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        labels: NDArray[Any],
        earlier: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Adapt to a validated support whose task has these labels, and set `classes_`."""
        space = self.label_space
        targets, are_new = self._one_hot(y, labels), space.are_new(labels)
        class_weights = self._class_weights([labels], are_new)
        self._adapted = self._adapt(
            X, targets, weight, class_weights, new_labels=are_new, earlier=earlier
        )
        self.classes_ = space.of_outputs(labels)
        if are_new:
            reason = Reason(SUPPORT, space.describe_new(labels))
            Failures(new_labels={0: reason}).report(1, None)

    def _class_weights(
        self, labels: Sequence[NDArray[Any]], new_labels: bool
    ) -> ClassWeights | None:
        """Return the weights of classes in tasks with these labels."""
        state = self._meta_state
        if state is not None and new_labels and state.class_weights is not None:
            return ClassWeights() if state.training["class_weight"] == "balanced" else None
        if state is not None:
            return state.class_weights
        if not isinstance(self.class_weight, Mapping):
            return None if self.class_weight is None else ClassWeights()
        of_column = np.ones((len(labels), max(map(len, labels))))
        for row, classes in zip(of_column, labels, strict=True):
            row[: len(classes)] = compute_class_weight(
                self.class_weight, classes=classes, y=classes
            )
        return ClassWeights(of_column[0] if len(labels) == 1 else of_column)

    def _prediction_module(self, dtype: torch.dtype) -> ClassModule:
        return ClassModule(self._adapted, dtype, len(self.classes_))

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


def _expand(
    phi: Mapping[str, NDArray[Any]], columns: NDArray[np.intp], n_columns: int
) -> dict[str, NDArray[Any]]:
    """Move the classes of phi to these columns; other columns are zero."""
    expanded = {name: np.zeros((n_columns, *p.shape[1:]), p.dtype) for name, p in phi.items()}
    for name, p in phi.items():
        expanded[name][columns] = p
    return expanded
