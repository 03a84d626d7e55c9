"""Prototypical networks: the nearest class mean in a learned embedding.

    c_k = mean of f(x) over the support rows of class k                        (eq. 1)
    p(y = k | x) = softmax_k( -d(f(x), c_k) )                                  (eq. 2)

These means only depend on sums over the support, so that rows can be added to it:

    phi = (S_k, n_k),    S_k = sum of f(x) over the support rows of class k,    n_k their number

Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017.

With distance="mahalanobis", phi also has the scatter of each class, and

    d(z, c_k) = (z - c_k)' Q_k^-1 (z - c_k)
    Q_k = lambda_k Cov_k + (1 - lambda_k) Cov + I,    lambda_k = n_k / (n_k + 1)

Cov_k is the covariance of the rows of class k, and Cov the covariance of all rows of the task.

Bateni, Goyal, Masrani, Wood and Sigal, "Improved Few-Shot Visual Classification", CVPR 2020 (Simple
CNAPS).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier
from sklearn_meta.functional import (
    Params,
    class_means,
    class_scatters,
    class_sums,
    cosine_distance,
    shrunk_covariances,
    squared_euclidean,
    squared_mahalanobis,
)
from sklearn_meta.inner import Algorithm, Examples, Network, PosteriorHead
from sklearn_meta.inner.algorithm import change_class
from sklearn_meta.inner.heads import COSINE_SCALE, LOG_PRECISION, LOG_SCALE, NewPrototypeHead
from sklearn_meta.parameters import Constraint, describe, option, param

__all__ = ["ProtoNet", "ProtoNetClassifier"]

Distance = Callable[..., Tensor]
DISTANCES: dict[str, Distance] = {
    "sqeuclidean": squared_euclidean,
    "cosine": cosine_distance,
    "mahalanobis": squared_mahalanobis,
}


@dataclass(frozen=True)
class ProtoNet(Algorithm):
    """Snell, Swersky and Zemel, "Prototypical Networks", NeurIPS 2017, eqs. 1 and 2.

    Parameters
    ----------
    criterion : callable
        The task loss.
    distance : callable
        Maps embedded rows (*B, n, d) and prototypes (*B, n_way, d) to distances (*B, n, n_way).
        :func:`~sklearn_meta.functional.squared_mahalanobis` also takes covariances of the classes.
    learned_scale : bool, default=False
        Whether to multiply the distances by a learned number.
    """

    distance: Distance
    learned_scale: bool = False

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the embedding."""
        scale = COSINE_SCALE if self.distance is cosine_distance else 1.0
        learned = {LOG_SCALE: torch.tensor(scale).log()} if self.learned_scale else {}
        return f.init(generator) | learned

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute S_k, the sum of f(x_i) over the support rows of class k, and their number n_k."""
        Z = f(theta, support.X)
        sums, counts = class_sums(Z, support.y, support.weight)
        phi = {"sums": sums, "counts": counts}
        if self.distance is squared_mahalanobis:
            phi["scatter"] = class_scatters(Z, support.y, support.weight)
        return phi

    def update(self, f: Network, theta: Params, phi: Params, rows: Examples) -> Params:
        """Add the sums of more rows.

        Scatters T_1 and T_2 around different means add up to T_1 + T_2 + n_1 n_2 / (n_1 + n_2) a a'
        with the difference a of the means.
        """
        more = self.adapt(f, theta, rows)
        if missing := more.keys() - phi.keys():
            raise ValueError(
                "partial_fit cannot add rows: the distance was changed, and needs the "
                f"{missing.pop()} of the earlier rows. Call fit with all rows."
            )
        if "scatter" in more:
            n_1, n_2 = phi["counts"], more["counts"]
            a = class_means(phi["sums"], n_1) - class_means(more["sums"], n_2)
            n = torch.where(n_1 + n_2 > 0, n_1 + n_2, 1.0)
            share = (n_1 * n_2 / n)[..., None, None]
            more["scatter"] = more["scatter"] + share * a.unsqueeze(-1) * a.unsqueeze(-2)
        return {name: total + phi[name] for name, total in more.items()}

    def parameters(self, theta: Params, phi: Params) -> Params:
        """Compute c_k = S_k / n_k (eq. 1), and which classes the task has."""
        c = class_means(phi["sums"], phi["counts"])
        return {"prototypes": c, "present": phi["counts"] > 0} | self._covariances(phi)

    def _covariances(self, phi: Params) -> Params:
        """Compute Q_k, if the distance needs them."""
        return {"covariances": shrunk_covariances(**phi)} if "scatter" in phi else {}

    def _distances(self, Z: Tensor, adapted: Params) -> Tensor:
        """Compute d(z, c_k) of embedded rows."""
        names = [name for name in ("prototypes", "covariances") if name in adapted]
        return self.distance(Z, *(adapted[name] for name in names))

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute log p(y = k | x) = -t d(f(x), c_k) + const (eq. 2 for t = 1)."""
        adapted = self.parameters(theta, phi)
        logits = -self._distances(f(theta, X), adapted)
        if self.learned_scale:
            logits = theta[LOG_SCALE].exp() * logits
        return logits.masked_fill(~adapted["present"].unsqueeze(-2), -torch.inf)

    def with_shared_labels(self) -> PosteriorProtoNet:
        """Return the algorithm whose prototypes shrink toward learned ones."""
        return change_class(self, PosteriorProtoNet)

    def with_new_labels(self) -> NewLabelsProtoNet:
        """Return the algorithm with prototypes of the support and the learned precision."""
        return change_class(self, NewLabelsProtoNet)


@dataclass(frozen=True)
class PosteriorProtoNet(ProtoNet):
    """Prototypical networks for labels that tasks share, whose prototypes have a learned prior.

        c_k = (s m_k + S_k) / (s + n_k)
        p_k = (a_k + n_k) / sum_j (a_j + n_j)
        p(y = k | x) = softmax_k( -t d(f(x), c_k) + log p_k )

    m, s, a and t are learned. c_k and p_k are posterior means, if class means have the prior
    N(m_k, I / s) and the shares of the classes have a Dirichlet distribution with parameters a.
    Without rows they are the prior means, and with many rows the means and shares of the support.
    """

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the embedding and the prior of the classes."""
        prior = PosteriorHead().init(n_outputs, f.n_features_out, generator)
        if self.distance is cosine_distance:  # no sum over features
            prior[LOG_PRECISION] = torch.tensor(COSINE_SCALE).log()
        return f.init(generator) | prior

    def parameters(self, theta: Params, phi: Params) -> Params:
        """Compute c_k and log p_k."""
        c, log_shares = PosteriorHead().posterior(theta, phi["sums"], phi["counts"])
        return {"prototypes": c, "log_shares": log_shares} | self._covariances(phi)

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute log p(y = k | x) = -t d(f(x), c_k) + log p_k + const."""
        adapted = self.parameters(theta, phi)
        distances = self._distances(f(theta, X), adapted)
        return adapted["log_shares"].unsqueeze(-2) - theta[LOG_PRECISION].exp() * distances


@dataclass(frozen=True)
class NewLabelsProtoNet(PosteriorProtoNet):
    """Prototypical networks for labels that are new to a prior of shared labels.

    Prototypes are class means of the support. t is learned. In p_k, all a_k are equal, and their
    sum is learned.
    """

    def parameters(self, theta: Params, phi: Params) -> Params:
        """Compute c_k and log p_k, minus infinity for a class that the task does not have."""
        c, log_shares = NewPrototypeHead().posterior(theta, phi["sums"], phi["counts"])
        log_shares = log_shares.masked_fill(phi["counts"] == 0, -torch.inf)
        return {"prototypes": c, "log_shares": log_shares} | self._covariances(phi)


@describe
@dataclass(eq=False, repr=False)
class ProtoNetClassifier(MetaClassifier):
    """Classifier by the nearest class mean in a learned embedding.

    The outer loop learns the embedding f. `fit` averages the embedded support rows of each class,
    without a gradient step. Class probabilities are the softmax of -d(f(x), c_k), where c_k is the
    average of class k, its prototype. `partial_fit` adds rows to the support. The estimator stores
    no rows, but the sum of the embedded rows of each class (and their scatter, if the distance
    needs it).

    See Also
    --------
    ProtoMAMLClassifier : Continues from the prototypes with gradient steps.
    BaselinePlusPlusClassifier : Learns the embedding without episodes.

    References
    ----------
    Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, eqs. 1
    and 2.

    Bateni, Goyal, Masrani, Wood and Sigal, "Improved Few-Shot Visual Classification", CVPR 2020
    (Simple CNAPS), section 4.1: ``distance="mahalanobis"``. As in their code, the distance has no
    factor of 1/2.

    Oreshkin, Rodriguez and Lacoste, "TADAM: Task Dependent Adaptive Metric for Improved Few-Shot
    Learning", NeurIPS 2018, section 3: ``learned_scale=True``.

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
            '{"sqeuclidean", "cosine", "mahalanobis"} or callable',
        ),
        "adaptation",
        """Maps embedded rows (*B, n, d) and prototypes (*B, n_way, d) to distances
        (*B, n, n_way). "mahalanobis" is the distance of Simple CNAPS, (z - c_k)' Q_k^-1 (z - c_k)
        with Q_k = lambda_k Cov_k + (1 - lambda_k) Cov + I and lambda_k = n_k / (n_k + 1): the
        covariance of class k shrinks toward the covariance of all rows of the task.""",
    )
    learned_scale: bool = param(
        False,
        option(True, False),
        "structural",
        """Multiply the distances by a learned number, as TADAM does. It starts from 10 for cosine
        distances, which are too small for confident probabilities, and from 1 for other distances.
        If tasks share their labels, it is always learned.""",
    )

    def make_algorithm(self) -> ProtoNet:
        """Make the algorithm that the parameters describe."""
        distance = DISTANCES[self.distance] if isinstance(self.distance, str) else self.distance
        return ProtoNet(self.make_loss(), distance, self.learned_scale)
