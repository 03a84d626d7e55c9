"""R2-D2: the output layer of a task is a ridge regression, and training differentiates it.

    W = Z'(Z Z' + lambda I)^-1 Y,    Z = f_theta(X_support) with a column of ones    (eq. 4)
    p(y = k | x) = softmax_k( alpha w_k' z ),    z = [f_theta(x), 1]                 (eq. 6)

The outer loop learns f, lambda and alpha. In regressions, and if tasks share their labels, it also
learns an output layer W_0, the prior. Ridge regression then fits the residuals R of the prior:

    W = W_0 + Z'(Z Z' + lambda I)^-1 R
    R = Y - Z W_0 for targets,    alpha (Y - softmax(Z W_0)) for labels

Without rows, W = W_0. If labels are local to a task, W_0 = 0. R is then alpha Y less a constant,
which softmax ignores, so that these are equations 4 and 6.

Bertinetto, Henriques, Torr and Vedaldi, "Meta-learning with Differentiable Closed-form Solvers",
ICLR 2019.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.functional import Params, ridge
from sklearn_meta.functional.ridge import with_ones
from sklearn_meta.inner import Examples, Network, WithHead, ZeroHead
from sklearn_meta.inner.heads import BIAS, LOG_PENALTY, LOG_SCALE, WEIGHT
from sklearn_meta.parameters import describe

__all__ = ["R2D2", "R2D2Classifier", "R2D2Regression", "R2D2Regressor"]

SCALE = 20.0  # initial alpha: the predictions of ridge regression are small
SHARED_SCALE = 4.0  # initial alpha with a prior: the derivative of a logit where p = 1/2


@dataclass(frozen=True)
class RidgeLayer(WithHead, ABC):
    """An output layer W that ridge regression moves away from W_0."""

    first_penalty: ClassVar[float]  # initial lambda for each feature

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the network and W_0, and set the initial lambda."""
        penalty = torch.tensor(self.first_penalty * (f.n_features_out + 1))
        return super().init(f, n_outputs, generator) | {LOG_PENALTY: penalty.log()}

    def learning_rates(self, meta_lr: float) -> dict[str, float]:
        """Return a larger learning rate for lambda and alpha."""
        return {"head.log_*": 10 * meta_lr}

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute W = W_0 + Z'(Z Z' + lambda I)^-1 R (eq. 4 with R for Y)."""
        Z, W_0 = f(theta, support.X), self.head.start(f, theta, support)
        W_0 = W_0 | self.head.present(support)
        R = self._residual(theta, self.head.outputs(Z, W_0), support.y)
        V = ridge(with_ones(Z), R, support.weight, theta[LOG_PENALTY].exp()).mT
        return W_0 | {WEIGHT: W_0[WEIGHT] + V[..., :-1], BIAS: W_0[BIAS] + V[..., -1]}

    @abstractmethod
    def _residual(self, theta: Params, outputs: Tensor, y: Tensor) -> Tensor:
        """Compute the residuals R of the outputs Z W_0, (*B, n, k)."""


@dataclass(frozen=True)
class R2D2(RidgeLayer):
    """Bertinetto et al., "Differentiable Closed-form Solvers", ICLR 2019, eqs. 4 and 6.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        The output layer W_0.
    """

    first_penalty = 0.1

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the network and W_0, and set the initial lambda and alpha."""
        scale = SCALE if isinstance(self.head, ZeroHead) else SHARED_SCALE
        theta = super().init(f, n_outputs, generator)
        return theta | {LOG_SCALE: torch.tensor(scale).log()}

    def _residual(self, theta: Params, outputs: Tensor, y: Tensor) -> Tensor:
        """Compute alpha (Y - softmax(Z W_0))."""
        return theta[LOG_SCALE].exp() * (y - outputs.softmax(-1))


@dataclass(frozen=True)
class R2D2Regression(RidgeLayer):
    """R2-D2 for targets: without alpha, because ridge regression predicts in their units."""

    first_penalty = 0.01  # targets are less noisy than labels

    def _residual(self, theta: Params, outputs: Tensor, y: Tensor) -> Tensor:
        """Compute Y - Z W_0, and zeros for log-variances, which do not adapt."""
        k = y.shape[-1]
        return torch.nn.functional.pad(y - outputs[..., :k], (0, outputs.shape[-1] - k))


@describe
@dataclass(eq=False, repr=False)
class R2D2Classifier(MetaClassifier):
    """Classifier by ridge regression of one-hot labels on learned features.

    The logits of a row with features z are alpha z'W, with W = Z'(Z Z' + lambda I)^-1 Y for the
    features Z of the support and its one-hot labels Y. The outer loop differentiates this closed
    form to learn the network, the penalty lambda and the scale alpha. There are no inner steps to
    choose. `fit` solves one linear system with as many equations as there are rows or features,
    whichever is fewer. If tasks share their labels, the outer loop also learns an output layer,
    which predicts without rows and from which ridge regression starts.

    See Also
    --------
    R2D2Regressor : The same algorithm for regression.
    ProtoNetClassifier : Class means in place of ridge regression.
    ANILClassifier : Gradient steps in place of the closed form.

    References
    ----------
    Bertinetto, Henriques, Torr and Vedaldi, "Meta-learning with Differentiable Closed-form
    Solvers", ICLR 2019, eqs. 4 and 6.

    Examples
    --------
    >>> from sklearn_meta import R2D2Classifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = R2D2Classifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    def make_algorithm(self) -> R2D2:
        """Make the algorithm that the parameters describe."""
        return R2D2(self.make_loss(), ZeroHead())


@describe
@dataclass(eq=False, repr=False)
class R2D2Regressor(MetaRegressor):
    """Regressor by ridge regression on learned features, toward a learned output layer.

    Predictions are z'W with W = W_0 + Z'(Z Z' + lambda I)^-1 (Y - Z W_0), for the features Z and
    the targets Y of the support. The outer loop learns the network, lambda and W_0, which predicts
    without rows. W is the posterior mean of a Bayesian linear regression with the prior mean W_0.

    See Also
    --------
    R2D2Classifier : The same algorithm for classification.
    ALPaCARegressor : Predicts a variance, too, and learns how each feature varies among tasks.
    ANILRegressor : Gradient steps in place of the closed form.

    References
    ----------
    Bertinetto, Henriques, Torr and Vedaldi, "Meta-learning with Differentiable Closed-form
    Solvers", ICLR 2019, eq. 4.

    Examples
    --------
    >>> from sklearn_meta import R2D2Regressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = R2D2Regressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    def make_algorithm(self) -> R2D2Regression:
        """Make the algorithm that the parameters describe."""
        return R2D2Regression(self.make_loss(), self.make_head())
