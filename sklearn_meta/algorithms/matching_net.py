"""Matching networks: average the labels of the support, weighted by attention.

    p(y | x) = sum_i a(x, x_i) y_i,    a(x, x_i) = softmax_i( s cos(f(x), g(x_i)) )     (eq. 1)

f and g are embeddings, and the same network unless full context embeddings are used. The paper has
s = 1. With full context embeddings, z is the output of the network for a row, g depends on the
whole support, and f on the support and the row:

    g(x_i) = z_i + h_i + h'_i                                                           (app. A.2)
    f(x) = h_K,    h_(k+1) = LSTM([z, r_k], h_k, c_k) + z,    h_0 = z                   (app. A.1)
    r_k = sum_i softmax_i( h_k' g(x_i) ) g(x_i)

h_i and h'_i are outputs of two LSTMs, one over z_1, ..., z_n and one over z_n, ..., z_1.

Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra, "Matching Networks for One Shot Learning",
NeurIPS 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier
from sklearn_meta.functional import (
    Params,
    classes_present,
    cosine_distance,
    lstm_cell,
    prototypes,
)
from sklearn_meta.inner import Algorithm, Examples, Network
from sklearn_meta.inner.algorithm import change_class
from sklearn_meta.inner.heads import COSINE_SCALE, LOG_SCALE, MEAN, equal_shares, prior_counts
from sklearn_meta.parameters import describe, integer, option, param

__all__ = ["MatchingNet", "MatchingNetClassifier"]


@dataclass(frozen=True)
class MatchingNet(Algorithm):
    """Vinyals et al., "Matching Networks for One Shot Learning", NeurIPS 2016, eq. 1.

    Parameters
    ----------
    criterion : callable
        The task loss.
    full_context : bool
        Whether the embeddings of all rows depend on the support.
    unrolling_steps : int
        Steps K of the LSTM that embeds a query row.
    learned_scale : bool
        Whether s is learned; otherwise it is 1.
    """

    full_context: bool
    unrolling_steps: int
    learned_scale: bool

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the embedding and of the LSTMs."""
        theta, d = f.init(generator), f.n_features_out
        if self.learned_scale:
            theta[LOG_SCALE] = torch.tensor(COSINE_SCALE).log()
        if self.full_context:
            for name, n_inputs in (("forward", d), ("backward", d), ("read", 2 * d)):
                for part, shape in (("weight", (4 * d, n_inputs + d)), ("bias", (4 * d,))):
                    bound = d**-0.5  # as torch.nn.LSTM
                    drawn = torch.empty(shape).uniform_(-bound, bound, generator=generator)
                    theta[f"context.{name}.{part}"] = drawn
        return theta

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Embed the support, g(x_i)."""
        X, y, weight = support
        Z = f(theta, X)
        if self.full_context:
            reverse = lstm_outputs(theta, "backward", Z.flip(-2), weight.flip(-1)).flip(-2)
            Z = Z + lstm_outputs(theta, "forward", Z, weight) + reverse
        return {"rows": Z, "labels": y, "weight": weight}

    def _memory(self, theta: Params, phi: Params) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows that attention reads (*B, n, d), their labels and their weights."""
        return phi["rows"], phi["labels"], phi["weight"]

    def parameters(self, theta: Params, phi: Params) -> Params:
        """Compute the mean of the embedded rows of each class, and which classes the task has."""
        rows, labels, weight = self._memory(theta, phi)
        present = classes_present(labels, weight)
        return {"prototypes": prototypes(rows, labels, weight), "present": present}

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute log p(y = k | x) = log sum_i a(x, x_i) y_ik + const (eq. 1)."""
        rows, labels, weight = self._memory(theta, phi)
        Z = f(theta, X)
        if self.full_context:
            Z = self._read(theta, Z, rows, weight)
        scores = 1 - cosine_distance(Z, rows)
        if self.learned_scale:
            scores = theta[LOG_SCALE].exp() * scores
        return log_mass(scores, labels, weight)

    def _read(self, theta: Params, Z: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
        """Compute f(x) of rows Z (*B, m, d) by an LSTM that reads the support in each step."""
        W, b = theta["context.read.weight"], theta["context.read.bias"]
        least = torch.finfo(weight.dtype).min  # finite: softmax of a task that is padding
        log_weight = weight.log().clamp(min=least).unsqueeze(-2)
        h, c = Z, torch.zeros_like(Z)
        for _ in range(self.unrolling_steps):
            r = (h @ rows.mT + log_weight).softmax(-1) @ rows
            h, c = lstm_cell(torch.cat([Z, r], -1), h, c, W, b)
            h = h + Z
        return h

    def with_shared_labels(self) -> PriorMatchingNet:
        """Return the algorithm with a learned row for each label."""
        return change_class(self, PriorMatchingNet)

    def with_new_labels(self) -> MatchingNet:
        """Return the algorithm that reads the support alone."""
        return change_class(self, MatchingNet)


@dataclass(frozen=True)
class PriorMatchingNet(MatchingNet):
    """Matching networks for labels that tasks share: attention also reads a row for each label.

        p(y = k | x) = (sum_i e_i y_ik + a_k e'_k) / (sum_i e_i + sum_j a_j e'_j)

    e_i = exp(s cos(f(x), g(x_i))) belongs to a row of the support, and e'_k to a learned row of
    label k, which counts as a_k rows. a_k is learned. Without support, the learned rows predict.
    """

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the networks and the rows of the labels; a_k starts at 1."""
        return super().init(f, n_outputs, generator) | {
            MEAN: torch.randn(n_outputs, f.n_features_out, generator=generator),
            **equal_shares(n_outputs),
        }

    def _memory(self, theta: Params, phi: Params) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows of the support and those of the labels."""
        rows, labels, weight = super()._memory(theta, phi)
        B, prior, count = weight.shape[:-1], theta[MEAN], prior_counts(theta)
        one_hot = torch.eye(len(prior), dtype=labels.dtype, device=labels.device)
        return (
            torch.cat([rows, prior.expand(*B, *prior.shape)], -2),
            torch.cat([labels, one_hot.expand(*B, *one_hot.shape)], -2),
            torch.cat([weight, count.expand(*B, *count.shape)], -1),
        )


def lstm_outputs(theta: Params, name: str, Z: Tensor, weight: Tensor) -> Tensor:
    """Return the outputs of an LSTM over a sequence (*B, n, d), which skips rows of weight 0."""
    W, b = theta[f"context.{name}.weight"], theta[f"context.{name}.bias"]
    h = c = torch.zeros_like(Z[..., 0, :])
    outputs = []
    for z, w in zip(Z.unbind(-2), weight.unsqueeze(-1).unbind(-2), strict=True):
        h_next, c_next = lstm_cell(z, h, c, W, b)
        h, c = torch.where(w > 0, h_next, h), torch.where(w > 0, c_next, c)
        outputs.append(h)
    return torch.stack(outputs, -2)


def log_mass(scores: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Compute log sum_i w_i y_ik exp(s_ji), (*B, m, n_way); minus infinity without rows."""
    is_row = weight.unsqueeze(-2) > 0
    least = torch.finfo(scores.dtype).min
    label = labels.argmax(-1).unsqueeze(-2).expand_as(scores)
    largest = scores.new_full((*scores.shape[:-1], labels.shape[-1]), least).scatter_reduce(
        -1, label, scores.detach().masked_fill(~is_row, least), "amax"
    )  # largest score of each class, so that no class underflows
    e = (scores - largest.gather(-1, label)).masked_fill(~is_row, -torch.inf).exp()
    mass = e @ (weight.unsqueeze(-1) * labels)
    present = mass > 0
    log_sum = largest + torch.where(present, mass, 1.0).log()
    return log_sum.masked_fill(~present, -torch.inf)


@describe
@dataclass(eq=False, repr=False)
class MatchingNetClassifier(MetaClassifier):
    """Classifier by attention over the rows of the support in a learned embedding.

    Probabilities are a weighted average of the one-hot labels of the support, as in a nearest
    neighbour classifier with soft neighbourhoods. The weights are the softmax of scaled cosines
    between embedded rows. The outer loop learns the embedding, and `fit` only embeds the support.
    If tasks share their labels, attention also reads one learned row for each label, which predicts
    without rows.

    With ``full_context=True``, the embedding of a support row depends on the other support rows
    through a bidirectional LSTM, and the embedding of a query row depends on the support through
    an LSTM that reads it. The order of the support rows then matters. A row of weight 2 occurs once
    in the sequence, and attention counts it twice.

    See Also
    --------
    ProtoNetClassifier : Compares rows with the means of the classes.
    RelationNetClassifier : Learns how to compare rows with classes.

    References
    ----------
    Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra, "Matching Networks for One Shot
    Learning", NeurIPS 2016, section 2 and appendix A.

    Examples
    --------
    >>> from sklearn_meta import MatchingNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = MatchingNetClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    full_context: bool = param(
        False,
        option(True, False),
        "structural",
        """Full context embeddings: let the embeddings of all rows depend on the support.""",
    )
    unrolling_steps: int = param(
        5,
        integer(0),
        "adaptation",
        """Steps of the LSTM that reads the support to embed a query row, with full context
        embeddings.""",
    )
    learned_scale: bool = param(
        True,
        option(True, False),
        "structural",
        """Multiply cosines by a learned number, which starts from 10. The paper has cosines alone.
        They are between -1 and 1, so that attention is nearly uniform.""",
    )

    def make_algorithm(self) -> MatchingNet:
        """Make the algorithm that the parameters describe."""
        return self.build(MatchingNet)
