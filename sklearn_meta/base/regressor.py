"""Meta-learners for regression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.base import RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.metaestimators import available_if

from sklearn_meta.base.estimator import BaseMetaLearner
from sklearn_meta.base.inner_loop import loss_constraint
from sklearn_meta.base.module import TargetModule
from sklearn_meta.base.validation import validate_weight
from sklearn_meta.inner.algorithm import Criterion
from sklearn_meta.inner.fine_tune import FineTune, from_scratch
from sklearn_meta.inner.heads import GaussianHead, Head, LinearHead
from sklearn_meta.parameters import (
    anything,
    as_range,
    check_parameter,
    describe,
    integer,
    option,
    param,
)

__all__ = ["MetaRegressor", "gaussian_loss", "gaussian_quantiles"]


def gaussian_loss() -> Any:
    """Declare the loss of a regressor that always has a predictive distribution."""
    return param(
        "gaussian",
        option("gaussian"),
        "structural",
        """The negative log-likelihood of each row of the query, by which validation tasks are
        judged: no other loss has a variance.""",
        kw_only=True,
    )


def gaussian_quantiles(
    mean: NDArray[np.float64], std: NDArray[np.float64], quantiles: ArrayLike
) -> NDArray[np.float64]:
    """Return quantiles of normal distributions along a new last axis, none for a single number."""
    levels = np.asarray(quantiles)
    is_numeric = np.issubdtype(levels.dtype, np.floating) or levels.size == 0
    if levels.ndim > 1 or not is_numeric or not ((levels > 0) & (levels < 1)).all():
        raise ValueError(
            "The 'quantiles' parameter of predict_quantiles must be a float between 0 and 1, or a "
            f"sequence of them. Got {quantiles!r} instead."
        )
    z = norm.ppf(levels)
    of_row = [part.reshape(*part.shape, *[1] * z.ndim) for part in (mean, std)]
    return np.asarray(of_row[0] + of_row[1] * z)


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
        (*B, n, n_outputs), and weights of the rows (*B, n) to losses (*B,). With "gaussian", the
        negative log-likelihood, the network predicts a variance for each row, too, and `predict`
        has `return_std`.""",
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
        """
        with self._unchanged_on_error():
            X, y = self._validate_support(X, y)
            self._adapt_targets(X, y, validate_weight(sample_weight, X))
        return self

    @available_if(lambda self: self._has_update())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MetaRegressor:
        """Add rows to the support, without those of earlier calls; only after `meta_fit`.

        Learners have this method if what they adapt depends on the support through sums over its
        rows. The result is that of `fit` on the rows of all calls together, and of the last `fit`,
        if there was one. A call that raises an error adds nothing.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
            More rows of the support, with the features of the first ones; there may be none. They
            are computed in the precision of the first ones.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
            Their targets. Predictions have as many axes as in the first call.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows, as in `fit`.

        Returns
        -------
        self : object
            Ready to predict.

        Raises
        ------
        ValueError
            If rows or targets are invalid, or with ``scaling="task"`` or a network with batch
            statistics: the features of a row then depend on the whole support.
        """
        with self._unchanged_on_error():
            X, y, earlier = self._validate_more(X, y)
            phi = {} if earlier is None else earlier.phi
            self._adapt_targets(X, y, validate_weight(sample_weight, X), phi)
        return self

    def _adapt_targets(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        earlier: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Adapt to a validated support, and store the number of axes of the first targets."""
        state = self._meta_state
        if len(y) == 0 and y.ndim == 1 and state is not None and state.n_targets > 1:
            y = np.empty((0, state.n_targets))  # an empty list has no outputs
        targets = self.encode_targets(y)
        if state is not None and targets.shape[1] != state.n_targets:
            raise ValueError(
                f"y has {targets.shape[1]} outputs (shape {y.shape}), but "
                f"{type(self).__name__} was meta-fitted with {state.n_targets}."
            )
        self._adapted = self._adapt(X, targets, weight, earlier=earlier)
        if not earlier:
            self._one_dimensional_ = y.ndim == 1

    @property
    def predicts_std(self) -> bool:
        """Whether `predict` has a standard deviation to return, as with ``loss="gaussian"``."""
        return isinstance(self.loss, str) and self.loss == "gaussian"

    def predict(
        self, X: Any, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predicted targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.
        return_std : bool, default=False
            Whether to return standard deviations, too; needs ``loss="gaussian"``.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            In the units and the shape of the `y` that was fitted.
        std : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            Standard deviation of the target of each row, in the units of `y`; only with
            `return_std`.

        Raises
        ------
        ValueError
            If `return_std`, and the estimator was fitted with another loss than "gaussian".
        """
        outputs = self._predict_outputs(X)  # which checks that there was a `fit`
        scaling = self._adapted.scaling
        y = scaling.original(outputs)
        y = y[:, 0] if self._one_dimensional_ else y
        if not return_std:
            return y
        if outputs.shape[1] == scaling.y_mean.size:
            raise ValueError(
                f"return_std needs a {type(self).__name__} with loss='gaussian', which learns a "
                f"variance; this one was fitted with loss={self._adapted.params['loss']!r}."
            )
        return y, scaling.deviations(outputs).reshape(y.shape)

    @available_if(lambda self: self.predicts_std)  # type: ignore[untyped-decorator]
    def predict_quantiles(self, X: Any, quantiles: ArrayLike) -> NDArray[np.float64]:
        """Predict quantiles of the target of each row, where there is a predictive distribution.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.
        quantiles : float or array-like of shape (n_quantiles,)
            Levels between 0 and 1.

        Returns
        -------
        y : ndarray of shape (n_rows, n_quantiles) or (n_rows, n_outputs, n_quantiles)
            In the units of the `y` that was fitted; without the last axis for a single number.
        """
        mean, std = self.predict(X, return_std=True)
        return gaussian_quantiles(mean, std, quantiles)

    @available_if(lambda self: self.predicts_std)  # type: ignore[untyped-decorator]
    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = 0) -> NDArray[np.float64]:
        """Draw targets of rows, noise included, where there is a predictive distribution.

        Rows of a draw are independent, unless the learner has a joint distribution of them, as
        Gaussian processes have.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
            Query rows.
        n_samples : int, default=1
            Number of draws.
        random_state : int, RandomState instance or None, default=0
            Determines the draws.

        Returns
        -------
        y : ndarray of shape (n_rows, n_samples) or (n_rows, n_outputs, n_samples)
            In the units of the `y` that was fitted, as `sample_y` of scikit-learn's Gaussian
            processes returns them.
        """
        mean, std = self.predict(X, return_std=True)
        check_parameter("n_samples", n_samples, integer(1), "sample_y")
        rng = check_random_state(random_state)
        noise = rng.standard_normal((n_samples, *mean.reshape(len(mean), -1).T.shape))
        covariance = self._adapted.covariance(*self._validate_query(X))
        if covariance is None:
            draws = noise * std.reshape(len(std), -1).T
        else:
            values, vectors = np.linalg.eigh(covariance)  # rounding may make it indefinite
            root = vectors * np.sqrt(np.maximum(values, 0))[..., None, :]
            draws = (root @ noise[..., None])[..., 0]
        return np.asarray(mean[..., None] + draws.T.reshape(*mean.shape, n_samples))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def encode_targets(self, y: NDArray[Any]) -> NDArray[np.float64]:
        """Return targets as a matrix of floats, with a column for each output."""
        return (y[:, None] if y.ndim == 1 else y).astype(np.float64)

    def _prediction_module(self, dtype: torch.dtype) -> TargetModule:
        has_std = self._adapted.params["loss"] == "gaussian"  # that of the fit
        return TargetModule(
            self._adapted, dtype, is_vector=not self._one_dimensional_, has_std=has_std
        )

    def make_scratch_algorithm(self) -> FineTune:
        """Make the baseline for an estimator that was never meta-fitted."""
        return from_scratch(self.make_loss(), self.make_head())

    def make_head(self) -> Head:
        """Return the output layer.

        Returns
        -------
        Head
            A linear layer, for means and log-variances with ``loss="gaussian"``.
        """
        return GaussianHead() if self.predicts_std else LinearHead()

    def support_sizes(self) -> tuple[int, int]:
        """Return the range of support rows in an episode."""
        return as_range(self.n_support, "n_support", type(self).__name__, least=1)
