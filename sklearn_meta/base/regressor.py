"""Meta-learners for regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import Tags

from sklearn_meta.base.estimator import BaseMetaLearner
from sklearn_meta.base.inner_loop import loss_constraint
from sklearn_meta.base.validation import validate_weight
from sklearn_meta.inner.algorithm import Criterion
from sklearn_meta.inner.fine_tune import FineTune, from_scratch
from sklearn_meta.inner.heads import Head, LinearHead
from sklearn_meta.parameters import anything, as_range, describe, param

__all__ = ["MetaRegressor"]


@describe
@dataclass(eq=False, repr=False, kw_only=True)
class MetaRegressor(RegressorMixin, BaseMetaLearner):
    """Base class of meta-learners for regression."""

    loss: str | Criterion = param(
        "squared_error",
        loss_constraint("real"),
        "structural",
        """Loss of a task, which the outer loop minimises on the query and an inner loop by
        gradients on the support. A callable maps predictions and standardised targets, both
        (*B, n, n_outputs), and weights of the rows (*B, n) to losses (*B,).""",
    )
    n_support: int | tuple[int, int] = param(
        (5, 10),
        anything("int or (int, int)"),
        "training",
        """Number of support rows in an episode, for tasks without a fixed support. A pair is a
        range to draw from, so that one prior serves supports of different sizes; of a smaller
        task, all rows but one are the support. A single number is needed of every task.""",
    )

    target_type: ClassVar[Literal["real"]] = "real"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MetaRegressor:
        """Inner loop: adapt the learned prior to a new task (or train from scratch without one).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
            The support.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
            Real targets, as many outputs as in meta-training.
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
            targets = self.encode_targets(y)
            state = self._meta_state
            if state is not None and targets.shape[1] != state.n_targets:
                raise ValueError(
                    f"y has {targets.shape[1]} outputs (shape {y.shape}), but "
                    f"{type(self).__name__} was meta-fitted with {state.n_targets}."
                )
            self._adapted = self._adapt(X, targets, validate_weight(sample_weight, X))
            self._one_dimensional_ = y.ndim == 1
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predicted targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            In the units and the shape of the `y` that was fitted.
        """
        outputs = self._predict_outputs(X)  # which checks that there was a `fit`
        y = self._adapted.scaling.original(outputs)
        return y[:, 0] if self._one_dimensional_ else y

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def encode_targets(self, y: NDArray[Any]) -> NDArray[np.float64]:
        """Return targets as a matrix of floats, with a column for each output."""
        return (y[:, None] if y.ndim == 1 else y).astype(np.float64)

    def make_scratch_algorithm(self) -> FineTune:
        """Make the baseline for an estimator that was never meta-fitted."""
        return from_scratch(self.make_loss(), LinearHead())

    def make_head(self) -> Head:
        """Return the output layer.

        Returns
        -------
        Head
            A linear layer.
        """
        return LinearHead()

    def support_sizes(self) -> tuple[int, int]:
        """Return the range of support rows in an episode."""
        return as_range(self.n_support, "n_support", type(self).__name__, least=1)
