"""MetaOptNet: a linear classifier that solves a convex problem, on a learned embedding.

    W = argmin_W |W|^2 / 2 + C sum_i max_k ( 1 - y_ik + z_i' (w_k - w_(y_i)) )     (SVM, eq. 8)
    W = argmin_W sum_i |y_i - W' z_i|^2 + lambda |W|^2                             (ridge)
    p(y = k | x) = softmax_k( s w_k' f(x) ),    z_i = f(x_i)                       (eq. 12)

The outer loop learns the embedding f and the scale s. It differentiates W by the optimality
conditions of the convex problem (section 3.2). If tasks share their labels, W shrinks toward a
learned W_0 instead of zero.

Lee, Maji, Ravichandran and Soatto, "Meta-Learning with Differentiable Convex Optimization",
CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier
from sklearn_meta.functional import (
    Params,
    classes_present,
    crammer_singer,
    posterior_shares,
    ridge,
)
from sklearn_meta.functional.prototypes import class_counts
from sklearn_meta.inner import Algorithm, Examples, Network
from sklearn_meta.inner.algorithm import change_class
from sklearn_meta.inner.heads import (
    BIAS,
    LOG_SCALE,
    MEAN,
    PRESENT,
    WEIGHT,
    equal_shares,
    prior_counts,
)
from sklearn_meta.parameters import describe, option, param, real

__all__ = ["MetaOptNet", "MetaOptNetClassifier"]

SCALE = 10.0  # initial s: the scores of classes differ by about 1


@dataclass(frozen=True)
class MetaOptNet(Algorithm):
    """Lee et al., "Meta-Learning with Differentiable Convex Optimization", CVPR 2019.

    Parameters
    ----------
    criterion : callable
        The task loss.
    kind : {"svm", "ridge"}
        The convex problem.
    C : float
        Weight of the errors of the support vector machine.
    penalty : float
        Penalty lambda of the ridge regression.
    """

    kind: str
    C: float
    penalty: float

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the embedding, and set the initial s."""
        return f.init(generator) | {LOG_SCALE: torch.tensor(SCALE).log()}

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute W, and which classes the task has."""
        X, y, weight = support
        W = self._solve(f(theta, X), y, weight)
        return {WEIGHT: W, PRESENT: classes_present(y, weight)}

    def _solve(self, Z: Tensor, y: Tensor, weight: Tensor, offset: Tensor | None = None) -> Tensor:
        """Compute rows w_k (*B, n_way, d) whose scores add to the offset."""
        if self.kind == "svm":
            return crammer_singer(Z, y, weight, self.C, offset).mT
        return ridge(Z, y, weight, Z.new_tensor(self.penalty), offset).mT

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute log p(y = k | x) = s w_k' f(x) + const."""
        logits = theta[LOG_SCALE].exp() * (f(theta, X) @ phi[WEIGHT].mT)
        return logits.masked_fill(~phi[PRESENT].unsqueeze(-2), -torch.inf)

    def with_shared_labels(self) -> PriorMetaOptNet:
        """Return the algorithm whose weights shrink toward learned ones."""
        return change_class(self, PriorMetaOptNet)

    def with_new_labels(self) -> MetaOptNet:
        """Return the algorithm whose weights shrink toward zero."""
        return change_class(self, MetaOptNet)


@dataclass(frozen=True)
class PriorMetaOptNet(MetaOptNet):
    """MetaOptNet for labels that tasks share: |W - W_0|^2 replaces |W|^2.

        p(y = k | x) = softmax_k( s w_k' f(x) + log p_k ),  p_k = (a_k + n_k) / sum_j (a_j + n_j)

    W_0 and a are learned, and n_k is the number of support rows of class k. Without rows, W = W_0.
    """

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the embedding; W_0 starts at zero, and a at one row of each class."""
        return super().init(f, n_outputs, generator) | {
            MEAN: torch.zeros(n_outputs, f.n_features_out),
            **equal_shares(n_outputs),
        }

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute W and log p_k."""
        X, y, weight = support
        Z = f(theta, X)
        shares = posterior_shares(class_counts(y, weight), prior_counts(theta))
        W = theta[MEAN] + self._solve(Z, y, weight, Z @ theta[MEAN].mT)
        return {WEIGHT: W, BIAS: shares.log()}

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute log p(y = k | x) = s w_k' f(x) + log p_k + const."""
        logits = theta[LOG_SCALE].exp() * (f(theta, X) @ phi[WEIGHT].mT)
        return logits + phi[BIAS].unsqueeze(-2)


@describe
@dataclass(eq=False, repr=False)
class MetaOptNetClassifier(MetaClassifier):
    """Linear support vector machine, or ridge regression, on a learned embedding.

    `fit` embeds the support and solves a convex problem for the weights of a linear classifier. The
    outer loop learns the embedding by gradients through the solution, and a scale of the scores.
    Unlike class means, the solution takes correlations of the features into account. If tasks share
    their labels, the weights shrink toward learned weights, which predict without rows.

    See Also
    --------
    ProtoNetClassifier : Compares rows with the means of the classes.
    ANILClassifier : Adapts the output layer by gradient steps.

    References
    ----------
    Lee, Maji, Ravichandran and Soatto, "Meta-Learning with Differentiable Convex Optimization",
    CVPR 2019.

    Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector
    Machines", JMLR 2001.

    Examples
    --------
    >>> from sklearn_meta import MetaOptNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = MetaOptNetClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    head: str = param(
        "svm",
        option("svm", "ridge"),
        "structural",
        """The linear classifier: the support vector machine of Crammer and Singer, or a ridge
        regression of one-hot labels, which takes a tenth of the time.""",
    )
    C: float = param(
        0.1,
        real(0, open_left=True),
        "adaptation",
        """Weight of the errors of the support vector machine. The official code also adds 1 to the
        diagonal of the kernel matrix; this class does not.""",
    )
    penalty: float = param(
        5.0,
        real(0, open_left=True),
        "adaptation",
        """Penalty lambda of the ridge regression. The paper uses 50 for the 16,000 features of a
        ResNet.""",
    )

    def make_algorithm(self) -> MetaOptNet:
        """Make the algorithm that the parameters describe."""
        return self.build(MetaOptNet, kind=self.head)
