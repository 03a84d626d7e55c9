"""Relation networks: a learned score of how well a row and a class match.

    r_k(x) = g( [c_k, f(x)] ),    c_k = mean or sum of f(x_i) over the support rows of class k
    loss = sum_k ( sigmoid(r_k(x)) - 1[y = k] )^2    (eqs. 1 and 2), with loss="squared_error"
    p(y = k | x) = softmax_k( r_k(x) )               with the other losses

f embeds rows. The relation module g is a network with one output.

Sung, Yang, Zhang, Xiang, Torr and Hospedales, "Learning to Compare: Relation Network for Few-Shot
Learning", CVPR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier
from sklearn_meta.functional import (
    LOSSES,
    Params,
    class_means,
    class_sums,
    linear,
    relation_error,
)
from sklearn_meta.inner import Algorithm, Examples, Network, PosteriorHead
from sklearn_meta.inner.algorithm import Criterion, change_class
from sklearn_meta.inner.heads import LOG_PRECISION, LOG_STRENGTH, NewPrototypeHead
from sklearn_meta.parameters import Constraint, describe, integer, option, param

__all__ = ["RelationNet", "RelationNetClassifier"]

NAMES = option("squared_error", *LOSSES["class"])


@dataclass(frozen=True)
class RelationNet(Algorithm):
    """Sung et al., "Learning to Compare: Relation Network for Few-Shot Learning", CVPR 2018.

    Parameters
    ----------
    criterion : callable
        The task loss.
    relation_size : int
        Width of the hidden layer of the relation module.
    aggregation : {"mean", "sum"}
        How the rows of a class become its embedding.
    sigmoid : bool
        Whether the sigmoid of a score is the probability that row and class match. Class
        probabilities are then proportional to it; otherwise, scores are logits.
    """

    relation_size: int
    aggregation: str
    sigmoid: bool

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the embedding and of the relation module.

        The initial relation module is minus a distance, g([c, z]) = -sum_j |u_j' (z - c)| with
        random u_j.
        """
        d, width = f.n_features_out, self.relation_size
        U = torch.empty(width, d).uniform_(-(d**-0.5), d**-0.5, generator=generator)
        U[1::2] = -U[: 2 * (width // 2) : 2]
        return f.init(generator) | {
            "relation.0.weight": torch.cat([-U, U], -1),
            "relation.0.bias": torch.zeros(width),
            "relation.1.weight": torch.full((1, width), -1.0),
            "relation.1.bias": torch.zeros(1),
        }

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute the sum of f(x_i) over the support rows of each class, and their number."""
        sums, counts = class_sums(f(theta, support.X), support.y, support.weight)
        return {"sums": sums, "counts": counts}

    def update(self, f: Network, theta: Params, phi: Params, rows: Examples) -> Params:
        """Add the sums of more rows."""
        return {name: phi[name] + more for name, more in self.adapt(f, theta, rows).items()}

    def parameters(self, theta: Params, phi: Params) -> Params:
        """Compute c_k, and which classes the task has."""
        sums, counts = phi["sums"], phi["counts"]
        c = sums if self.aggregation == "sum" else class_means(sums, counts)
        return {"prototypes": c, "present": counts > 0}

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute logits: scores of rows and classes, or log-sigmoids of these scores."""
        adapted = self.parameters(theta, phi)
        scores = self._relation(theta, adapted["prototypes"], f(theta, X))
        if "log_shares" in adapted:
            scores = scores + adapted["log_shares"].unsqueeze(-2)
        if self.sigmoid:
            scores = torch.nn.functional.logsigmoid(scores)
        if "present" in adapted:
            scores = scores.masked_fill(~adapted["present"].unsqueeze(-2), -torch.inf)
        return scores

    def _relation(self, theta: Params, c: Tensor, Z: Tensor) -> Tensor:
        """Compute g([c_k, z_i]), of shape (*B, m, n_way)."""
        of_class, of_row = theta["relation.0.weight"].chunk(2, -1)
        classes = (c @ of_class.mT).unsqueeze(-3)
        rows = linear(Z, of_row, theta["relation.0.bias"]).unsqueeze(-2)
        scores = linear(
            (classes + rows).relu(), theta["relation.1.weight"], theta["relation.1.bias"]
        )
        return scores.squeeze(-1)

    def with_shared_labels(self) -> PosteriorRelationNet:
        """Return the algorithm whose classes shrink toward learned ones."""
        return change_class(self, PosteriorRelationNet)

    def with_new_labels(self) -> NewLabelsRelationNet:
        """Return the algorithm with classes of the support alone."""
        return change_class(self, NewLabelsRelationNet)


@dataclass(frozen=True)
class PosteriorRelationNet(RelationNet):
    """Relation networks for labels that tasks share: r_k(x) = g([c_k, f(x)]) + log p_k.

    c_k = (s m_k + S_k) / (s + n_k), or s m_k + S_k if it is a sum, and
    p_k = (a_k + n_k) / sum_j (a_j + n_j), for the sum S_k of the rows of class k and their number
    n_k. m, s and a are learned.
    """

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the networks and the prior of the classes."""
        prior = PosteriorHead().init(n_outputs, f.n_features_out, generator)
        del prior[LOG_PRECISION]  # there are no distances
        return super().init(f, n_outputs, generator) | prior

    def parameters(self, theta: Params, phi: Params) -> Params:
        """Compute c_k and log p_k."""
        c, log_shares = PosteriorHead().posterior(theta, phi["sums"], phi["counts"])
        if self.aggregation == "sum":
            c = c * (theta[LOG_STRENGTH].exp() + phi["counts"]).unsqueeze(-1)
        return {"prototypes": c, "log_shares": log_shares}


@dataclass(frozen=True)
class NewLabelsRelationNet(RelationNet):
    """Relation networks for labels that are new to a prior of shared labels.

    c_k is computed from the support alone. In p_k, all a_k are equal, and their sum is learned.
    """

    def parameters(self, theta: Params, phi: Params) -> Params:
        """Compute c_k and log p_k, and which classes the task has."""
        _, log_shares = NewPrototypeHead().posterior(theta, phi["sums"], phi["counts"])
        return super().parameters(theta, phi) | {"log_shares": log_shares}


@describe
@dataclass(eq=False, repr=False)
class RelationNetClassifier(MetaClassifier):
    """Classifier by a learned comparison of rows and classes.

    The outer loop learns an embedding and a relation module, a network that takes the embeddings of
    a row and of a class and returns a score. `fit` averages the embedded support rows of each
    class, and `partial_fit` adds rows to these averages. If tasks share their labels, the
    embeddings of classes shrink toward learned ones, as in :class:`ProtoNetClassifier`.

    See Also
    --------
    ProtoNetClassifier : Compares by a distance that is not learned.
    MatchingNetClassifier : Compares with each row of the support.

    Notes
    -----
    The relation module is fully connected, and its inputs are vectors. The relation module of the
    paper is convolutional, and its inputs are feature maps.

    References
    ----------
    Sung, Yang, Zhang, Xiang, Torr and Hospedales, "Learning to Compare: Relation Network for
    Few-Shot Learning", CVPR 2018, section 3.

    Examples
    --------
    >>> from sklearn_meta import RelationNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = RelationNetClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    loss: str | Criterion = param(
        "cross_entropy",
        Constraint(
            lambda value: callable(value) or NAMES.allows(value),
            f"{NAMES.text}, or a callable",
            f"{NAMES.kind} or callable",
        ),
        "structural",
        """Loss of a task, which the outer loop minimises on the query. With "squared_error", the
        loss of the paper, the sigmoid of a score is the probability that row and class match, and
        class probabilities are proportional to it. With other losses, scores are logits. A callable
        maps logits (*B, n, n_way), one-hot labels (*B, n, n_way) and weights of the rows (*B, n) to
        losses (*B,).""",
        kw_only=True,
    )
    relation_size: int = param(
        256,
        integer(1),
        "structural",
        """Width of the hidden layer of the relation module. Its initial score is minus a distance
        along this many random directions.""",
    )
    aggregation: str = param(
        "mean",
        option("mean", "sum"),
        "structural",
        """How the embedding of a class is computed from its rows. The paper uses the sum, which
        depends on the number of rows.""",
    )

    def make_loss(self) -> Criterion:
        """Return the loss that the parameter `loss` names."""
        return relation_error if self.loss == "squared_error" else super().make_loss()

    def make_algorithm(self) -> RelationNet:
        """Make the algorithm that the parameters describe."""
        return self.build(RelationNet, sigmoid=self.loss == "squared_error")
