"""Prototypical networks: the nearest class mean in a learned embedding.

    c_k = mean of f(x) over the support rows of class k                        (eq. 1)
    p(y = k | x) = softmax_k( -d(f(x), c_k) )                                  (eq. 2)

Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier
from sklearn_meta.functional import (
    Params,
    classes_present,
    cosine_distance,
    prototypes,
    squared_euclidean,
)
from sklearn_meta.inner import Algorithm, Examples, Network, PosteriorHead
from sklearn_meta.inner.heads import LOG_PRECISION, NewPrototypeHead
from sklearn_meta.parameters import Constraint, describe, option, param

__all__ = ["ProtoNet", "ProtoNetClassifier"]

Distance = Callable[[Tensor, Tensor], Tensor]
DISTANCES: dict[str, Distance] = {"sqeuclidean": squared_euclidean, "cosine": cosine_distance}


@dataclass(frozen=True)
class ProtoNet(Algorithm):
    """Snell, Swersky and Zemel, "Prototypical Networks", NeurIPS 2017, eqs. 1 and 2.

    Parameters
    ----------
    criterion : callable
        The task loss.
    distance : callable
        Maps embedded rows (*B, n, d) and prototypes (*B, n_way, d) to distances (*B, n, n_way).
    """

    distance: Distance

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the embedding."""
        return f.init(generator)

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute c_k, the mean of f(x_i) over the support rows of class k (eq. 1)."""
        return {
            "prototypes": prototypes(f(theta, support.X), support.y, support.weight),
            "present": classes_present(support.y, support.weight),
        }

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute log p(y = k | x) = -d(f(x), c_k) + const (eq. 2)."""
        logits = -self.distance(f(theta, X), phi["prototypes"])
        return logits.masked_fill(~phi["present"].unsqueeze(-2), -torch.inf)

    def with_shared_labels(self) -> PosteriorProtoNet:
        """Return the algorithm whose prototypes shrink toward learned ones."""
        return PosteriorProtoNet(self.criterion, self.distance)

    def with_new_labels(self) -> PosteriorProtoNet:
        """Return the algorithm with prototypes of the support and the learned precision."""
        return PosteriorProtoNet(self.criterion, self.distance, NewPrototypeHead())


@dataclass(frozen=True)
class PosteriorProtoNet(Algorithm):
    """Prototypes of labels that tasks share: they shrink toward learned ones, as do their shares.

        c_k = (s m_k + sum of f(x) over the rows of class k) / (s + n_k)
        p_k = (a_k + n_k) / sum_j (a_j + n_j)
        p(y = k | x) = softmax_k( -t d(f(x), c_k) + log p_k )

    with learned m, s, a and t: the posterior means under class means of N(m_k, I / s) and shares of
    a Dirichlet distribution. Without rows they are the prior, and with many rows those of Snell et
    al.

    Parameters
    ----------
    criterion : callable
        The task loss.
    distance : callable
        Maps embedded rows (*B, n, d) and prototypes (*B, n_way, d) to distances (*B, n, n_way).
    prior : PosteriorHead, default=PosteriorHead()
        How prototypes and shares follow from a support.
    """

    distance: Distance
    prior: PosteriorHead = PosteriorHead()

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the embedding, and start the prior."""
        prior = self.prior.init(n_outputs, f.n_features_out, generator)
        return f.init(generator) | prior

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute c_k and log p_k, minus infinity for a class that the task does not have."""
        c, log_shares = self.prior.posterior(f(theta, support.X), theta, support)
        for present in self.prior.present(support).values():
            log_shares = log_shares.masked_fill(~present, -torch.inf)
        return {"prototypes": c, "log_shares": log_shares}

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute log p(y = k | x) = -t d(f(x), c_k) + log p_k + const."""
        distances = self.distance(f(theta, X), phi["prototypes"])
        return phi["log_shares"].unsqueeze(-2) - theta[LOG_PRECISION].exp() * distances


@describe
@dataclass(eq=False, repr=False)
class ProtoNetClassifier(MetaClassifier):
    """Classifier by the nearest class mean in a learned embedding.

    The outer loop learns the embedding f. The inner loop averages the embedded support rows of each
    class, c_k, without a gradient step; p(y = k | x) is the softmax of -d(f(x), c_k).

    See Also
    --------
    ProtoMAMLClassifier : Continues from the prototypes with gradient steps.
    BaselinePlusPlusClassifier : Learns the embedding without episodes.

    References
    ----------
    Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, eqs. 1
    and 2.

    Examples
    --------
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = ProtoNetClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    distance: str | Distance = param(
        "sqeuclidean",
        Constraint(
            lambda value: callable(value) or option(*DISTANCES).allows(value),
            f"{' or '.join(map(repr, DISTANCES))}, or a callable",
            '{"sqeuclidean", "cosine"} or callable',
        ),
        "adaptation",
        """Maps embedded rows (*B, n, d) and prototypes (*B, n_way, d) to distances
        (*B, n, n_way).""",
    )

    def make_algorithm(self) -> ProtoNet:
        """Make the algorithm that the parameters describe."""
        distance = DISTANCES[self.distance] if isinstance(self.distance, str) else self.distance
        return ProtoNet(self.make_loss(), distance)
