"""Output layers: where the layer of a task starts, and how it maps features to predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from sklearn_meta.functional import (
    Params,
    class_means,
    class_sums,
    classes_present,
    linear,
    posterior_prototypes,
    posterior_shares,
    prototypes,
)
from sklearn_meta.inner.algorithm import Algorithm, Examples
from sklearn_meta.nn import Network

__all__ = [
    "CosineHead",
    "FixedHead",
    "GaussianHead",
    "Head",
    "LabelHead",
    "LinearHead",
    "PosteriorHead",
    "PrototypeHead",
    "SharedHead",
    "WithHead",
    "ZeroHead",
    "check_n_way",
    "copies",
    "start_at_shares",
]

W = TypeVar("W", bound="WithHead")

WEIGHT, BIAS, PRESENT, NORM = "head.weight", "head.bias", "head.present", "head.norm"
MEAN, LOG_STRENGTH = "prior.mean", "prior.log_strength"
LOG_SHARES, LOG_COUNT = "prior.log_shares", "prior.log_count"
LOG_PRECISION = "prior.log_precision"
LOG_SCALE, LOG_PENALTY = "head.log_scale", "head.log_penalty"
COSINE_SCALE = 10.0  # where a learned scale starts; Gidaris and Komodakis, CVPR 2018
EPS = 1e-12
MOST_LOG_VARIANCE = 10.0  # standard deviations of standardised targets from 0.007 to 150
MANY = 200  # classes; above, the official scale of cosines is the larger one


def copies(theta: Params, support: Examples) -> Params:
    """Return one copy of theta for each task of a stack, as views.

    Parameters
    ----------
    theta : dict of Tensor of shape (...)
        Parameters shared by all tasks.
    support : Examples
        Support of a stack of tasks B.

    Returns
    -------
    dict of Tensor of shape (*B, ...)
        Equal for all tasks; gradients with respect to it are separate.
    """
    B = support.weight.shape[:-1]
    return {k: p.expand(*B, *p.shape) for k, p in theta.items()}


def check_n_way(n_way: int, learned: int) -> None:
    """Raise a ValueError if a task has more classes than a fixed head has rows."""
    if n_way > learned:
        raise ValueError(
            f"y has {n_way} classes, but head='fixed' was meta-trained for at most {learned}. "
            "Use head='prototype' for any number of classes."
        )


@dataclass(frozen=True)
class Head(ABC):
    """An affine output layer, "head.weight" (*B, k, d) and "head.bias" (*B, k)."""

    @abstractmethod
    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Draw the meta-learned parameters of the layer.

        Parameters
        ----------
        n_outputs : int
            Number of outputs, or of classes of a fixed head.
        d : int
            Number of features of a row.
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        dict of Tensor
            Empty if the layer has none.
        """

    @abstractmethod
    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute the layer that each task starts from.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support : Examples
            Support of a stack of tasks B.

        Returns
        -------
        dict of Tensor
            "head.weight" (*B, k, d) and "head.bias" (*B, k).
        """

    def pull_back(self, change: Params, theta: Params, support: Examples) -> Params:
        """Map a change of each task's layer to a change of theta, averaged over copies.

        Needed by learners that take no gradient through the inner loop, such as Reptile.

        Parameters
        ----------
        change : dict of Tensor
            "head.weight" (*B, k, d) and "head.bias" (*B, k).
        theta : dict of Tensor
            Meta-parameters.
        support : Examples
            Support of a stack of tasks B.

        Returns
        -------
        dict of Tensor
            One for each tensor of `init`, of shape (*B, ...).

        Raises
        ------
        NotImplementedError
            If the head does not implement it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement pull_back.")

    def present(self, support: Examples) -> Params:
        """Return which classes each task has.

        Parameters
        ----------
        support : Examples
            Support of a stack of tasks B.

        Returns
        -------
        dict of Tensor
            "head.present" (*B, k), bool; nothing for a regression.
        """
        return {PRESENT: classes_present(support.y, support.weight)}

    def with_shared_labels(self) -> Head:
        """Return the layer for tasks whose labels mean the same in all of them.

        Returns
        -------
        Head
            With a row for each label, which all tasks predict; by default a learned row.
        """
        return LabelHead()

    def with_new_labels(self) -> Head:
        """Return the layer for labels that are new to the prior of `with_shared_labels`.

        Returns
        -------
        Head
            By default, each new label starts from the mean of the rows of the learned labels.
        """
        return MeanHead()

    def rate_shapes(self, n_outputs: int, d: int) -> Params:
        """Return tensors with the shapes of learned step sizes.

        Parameters
        ----------
        n_outputs : int
            Number of outputs of a regression.
        d : int
            Number of features of a row.

        Returns
        -------
        dict of Tensor
            Zeros that broadcast to the layer. Classes share their step sizes by default, so that
            there may be any number of classes.
        """
        return {WEIGHT: torch.zeros(1, d), BIAS: torch.zeros(1)}

    def outputs(self, Z: Tensor, phi: Params) -> Tensor:
        """Map features to logits or means, W z + b.

        Parameters
        ----------
        Z : Tensor of shape (*B, n, d)
            Features.
        phi : dict of Tensor
            Parameters that include the layer of each task, or one for all tasks.

        Returns
        -------
        Tensor of shape (*B, n, k)
            Minus infinity for classes that the task does not have.
        """
        bias = phi[BIAS]
        if PRESENT in phi:
            bias = bias.masked_fill(~phi[PRESENT], -torch.inf)
        return linear(Z, phi[WEIGHT], bias)


def _uniform(n_outputs: int, d: int, generator: torch.Generator) -> Params:
    """Draw weights from U(-1/sqrt(d), 1/sqrt(d)), like ``nn.Linear``; the bias is zero."""
    bound = d**-0.5
    weight = torch.empty(n_outputs, d).uniform_(-bound, bound, generator=generator)
    return {WEIGHT: weight, BIAS: torch.zeros(n_outputs)}


@dataclass(frozen=True)
class LinearHead(Head):
    """A meta-learned output layer for regression."""

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Draw weight and bias."""
        return _uniform(n_outputs, d, generator)

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Copy the layer of theta."""
        return copies({k: theta[k] for k in (WEIGHT, BIAS)}, support)

    def pull_back(self, change: Params, theta: Params, support: Examples) -> Params:
        """Return the change of each task."""
        return {k: change[k] for k in (WEIGHT, BIAS)}

    def present(self, support: Examples) -> Params:
        """Return nothing, because a regression has no classes."""
        return {}

    def rate_shapes(self, n_outputs: int, d: int) -> Params:
        """Return one for each number of the layer."""
        return {WEIGHT: torch.zeros(n_outputs, d), BIAS: torch.zeros(n_outputs)}


@dataclass(frozen=True)
class GaussianHead(LinearHead):
    """A meta-learned output layer for the means and the log-variances of a regression."""

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Draw the weights of the means; the log-variances begin at zero."""
        means = super().init(n_outputs, d, generator)
        return {k: torch.cat([p, torch.zeros_like(p)]) for k, p in means.items()}

    def rate_shapes(self, n_outputs: int, d: int) -> Params:
        """Return one for each number of the layer."""
        return super().rate_shapes(2 * n_outputs, d)

    def outputs(self, Z: Tensor, phi: Params) -> Tensor:
        """Map features to means and log-variances (*B, n, 2 k), the latter bounded smoothly."""
        mean, v = super().outputs(Z, phi).chunk(2, -1)
        return torch.cat([mean, MOST_LOG_VARIANCE * torch.tanh(v / MOST_LOG_VARIANCE)], -1)


@dataclass(frozen=True)
class FixedHead(Head):
    """A meta-learned output layer with one row for each class position, as in the original MAML.

    Raises
    ------
    ValueError
        In `start`, if a task has more classes than the layer has rows.
    """

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Draw weight and bias."""
        return _uniform(n_outputs, d, generator)

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Copy as many rows as the tasks have class positions."""
        n_way = support.y.shape[-1]
        check_n_way(n_way, len(theta[BIAS]))
        return copies({k: theta[k][:n_way] for k in (WEIGHT, BIAS)}, support)

    def pull_back(self, change: Params, theta: Params, support: Examples) -> Params:
        """Return the change of each task, zero for rows that it does not have."""
        missing = len(theta[BIAS]) - change[BIAS].shape[-1]
        pad = torch.nn.functional.pad
        return {
            WEIGHT: pad(change[WEIGHT], (0, 0, 0, missing)),
            BIAS: pad(change[BIAS], (0, missing)),
        }


@dataclass(frozen=True)
class LabelHead(LinearHead):
    """A meta-learned output layer with one row for each label that tasks share."""

    def rate_shapes(self, n_outputs: int, d: int) -> Params:
        """Return one step size for each feature, which the labels share."""
        return Head.rate_shapes(self, n_outputs, d)


@dataclass(frozen=True)
class SharedHead(Head):
    """One learned vector that all classes start from, for any number of classes in any order.

    Ye and Chao, "How to Train Your MAML to Excel in Few-Shot Classification", ICLR 2022
    (UNICORN-MAML), section 5.
    """

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Draw the vector."""
        return _uniform(1, d, generator)

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Set w_k = w and b_k = b for every class k of the task."""
        *B, _, n_way = support.y.shape
        weight, bias = theta[WEIGHT], theta[BIAS]
        return {WEIGHT: weight.expand(*B, n_way, -1), BIAS: bias.expand(*B, n_way)}

    def pull_back(self, change: Params, theta: Params, support: Examples) -> Params:
        """Average over the classes that the task has."""
        share = classes_present(support.y, support.weight).to(change[BIAS])
        share = (share / share.sum(-1, keepdim=True)).unsqueeze(-2)  # (*B, 1, k)
        return {
            WEIGHT: share @ change[WEIGHT],
            BIAS: (share @ change[BIAS].unsqueeze(-1)).squeeze(-1),
        }


@dataclass(frozen=True)
class MeanHead(SharedHead):
    """A start for new labels: w is the mean of the rows of the labels that tasks share."""

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Set w_k and b_k to the means of the learned rows and biases for every class k."""
        means = {k: theta[k].mean(0, keepdim=True) for k in (WEIGHT, BIAS)}
        return super().start(f, theta | means, support)


@dataclass(frozen=True)
class PrototypeHead(Head):
    """The linear classifier equal to nearest prototypes: w_k = 2 c_k, b_k = -|c_k|^2.

    Triantafillou et al., "Meta-Dataset", ICLR 2020 (Proto-MAML), section 3.
    """

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Return nothing, because the layer comes from the support."""
        return {}

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute the class means c_k of the embedded support; gradients flow through them."""
        c = prototypes(f(theta, support.X), support.y, support.weight)
        return {WEIGHT: 2 * c, BIAS: -c.square().sum(-1)}

    def pull_back(self, change: Params, theta: Params, support: Examples) -> Params:
        """Return nothing, because nothing is meta-learned."""
        return {}

    def with_shared_labels(self) -> Head:
        """Return the layer of prototypes that shrink toward those of meta-training."""
        return PosteriorHead()

    def with_new_labels(self) -> Head:
        """Return the layer of prototypes of the support, with the learned precision."""
        return NewPrototypeHead()


def equal_shares(n_outputs: int) -> Params:
    """Return where the shares of shared labels start: equal, and counting as a row of each."""
    count = torch.tensor(float(n_outputs))
    return {LOG_SHARES: torch.zeros(n_outputs), LOG_COUNT: count.log()}


def prior_counts(theta: Params) -> Tensor:
    """Return how many rows of each shared label the prior counts as, (n_classes,)."""
    return theta[LOG_COUNT].exp() * theta[LOG_SHARES].softmax(-1)


@dataclass(frozen=True)
class PosteriorHead(Head):
    """The layer of prototypes and shares of the labels that tasks share, shrunken to learned ones.

    w_k = 2 t c_k, b_k = -t |c_k|^2 + log p_k, with a learned precision t and the posterior means
    c_k of the prototype and p_k of the share of class k
    (:func:`~sklearn_meta.functional.posterior_prototypes`,
    :func:`~sklearn_meta.functional.posterior_shares`).
    """

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Start with equal classes, a prior that counts as one row of each, and t = 1 / d."""
        return {
            MEAN: torch.zeros(n_outputs, d),
            LOG_STRENGTH: torch.zeros(()),
            **equal_shares(n_outputs),
            LOG_PRECISION: -torch.tensor(float(d)).log(),
        }

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute the posterior means; gradients flow through them."""
        sums = class_sums(f(theta, support.X), support.y, support.weight)
        c, log_shares = self.posterior(theta, *sums)
        t = theta[LOG_PRECISION].exp()
        return {WEIGHT: 2 * t * c, BIAS: log_shares - t * c.square().sum(-1)}

    def posterior(self, theta: Params, sums: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the posterior means of prototypes and shares.

        Parameters
        ----------
        theta : dict of Tensor
            Meta-parameters.
        sums : Tensor of shape (*B, n_classes, d)
            Sums of the features of the support rows of each class.
        counts : Tensor of shape (*B, n_classes)
            Weights of these rows.

        Returns
        -------
        prototypes : Tensor of shape (*B, n_classes, d)
            Posterior means c_k.
        log_shares : Tensor of shape (*B, n_classes)
            Logarithms of the posterior means p_k.
        """
        c = posterior_prototypes(sums, counts, theta[MEAN], theta[LOG_STRENGTH].exp())
        return c, posterior_shares(counts, prior_counts(theta)).log()

    def present(self, support: Examples) -> Params:
        """Return nothing: every task has all labels."""
        return {}


@dataclass(frozen=True)
class NewPrototypeHead(PosteriorHead):
    """The layer of prototypes of labels that are new to the prior of a :class:`PosteriorHead`.

    Its precision t, and the number of rows that its shares count as, are learned. A new label has
    the class mean of its rows as prototype, and the same prior share as every other.
    """

    def posterior(self, theta: Params, sums: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Compute class means and the posterior means of shares."""
        n_present = (counts > 0).sum(-1, keepdim=True)
        equal_counts = (theta[LOG_COUNT].exp() / n_present).expand(counts.shape)
        return class_means(sums, counts), posterior_shares(counts, equal_counts).log()

    def present(self, support: Examples) -> Params:
        """Return which classes each task has."""
        return Head.present(self, support)


@dataclass(frozen=True)
class ZeroHead(Head):
    """A linear output layer that starts from w_k = 0 and b_k = 0."""

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Return nothing, because the layer starts from zero."""
        return {}

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Return zeros."""
        *B, _, n_way = support.y.shape
        zeros = support.y.new_zeros
        return {WEIGHT: zeros(*B, n_way, f.n_features_out), BIAS: zeros(*B, n_way)}


@dataclass(frozen=True)
class CosineHead(Head):
    """Logits s g_k cos(z, w_k), with a direction and a length of each class.

    "head.weight" (*B, k, d) holds the directions w, "head.norm" (*B, k) the lengths g; there is no
    bias. Chen et al., "A Closer Look at Few-shot Classification", ICLR 2019 (Baseline++); the
    lengths are those of the official code.

    Parameters
    ----------
    scale : float or None
        The scale s. None is 2 for up to 200 classes, else 10, as in the official code.
    """

    scale: float | None

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Draw weights like ``nn.Linear`` under weight normalisation: g_k = |w_k|."""
        weight = _uniform(n_outputs, d, generator)[WEIGHT]
        return {WEIGHT: weight, NORM: weight.norm(dim=-1)}

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Set w_k to the mean of z / |z| over the rows of class k, and g_k = 1."""
        c = prototypes(_unit(f(theta, support.X)), support.y, support.weight)
        return {WEIGHT: c, NORM: torch.ones_like(c[..., 0])}

    def with_shared_labels(self) -> Head:
        """Return the layer that keeps a direction and a length for each label."""
        return CosineLabelHead(self.scale)

    def with_new_labels(self) -> Head:
        """Return this layer, which starts from the support alone."""
        return self

    def rate_shapes(self, n_outputs: int, d: int) -> Params:
        """Return one direction and one length for all classes."""
        return {WEIGHT: torch.zeros(1, d), NORM: torch.zeros(1)}

    def outputs(self, Z: Tensor, phi: Params) -> Tensor:
        """Map features to logits, s g_k cos(z, w_k)."""
        lengths = phi[NORM]
        present = phi[PRESENT] if PRESENT in phi else torch.ones_like(lengths, dtype=torch.bool)
        many = present.sum(-1, keepdim=True) > MANY
        scale = torch.where(many, 10.0, 2.0) if self.scale is None else self.scale
        cosines = _unit(Z) @ _unit(phi[WEIGHT]).mT
        logits = (scale * lengths).unsqueeze(-2) * cosines
        return logits.masked_fill(~present.unsqueeze(-2), -torch.inf)


@dataclass(frozen=True)
class CosineLabelHead(CosineHead):
    """Cosine logits with a learned direction and length for each label that tasks share."""

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Copy the layer of theta."""
        return copies({k: theta[k] for k in (WEIGHT, NORM)}, support)

    def present(self, support: Examples) -> Params:
        """Return nothing: every task has all labels."""
        return {}


def _unit(Z: Tensor) -> Tensor:
    """Compute z / |z|, smooth at zero, where absent classes start."""
    return Z * (Z.square().sum(-1, keepdim=True) + EPS).rsqrt()


@dataclass(frozen=True)
class WithHead(Algorithm, ABC):
    """An algorithm whose model is a backbone f and an output layer h, adapted or not.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        The output layer.
    """

    head: Head

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the network."""
        return f.init(generator) | self.head.init(n_outputs, f.n_features_out, generator)

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute h_phi(f_phi(X)), with theta for the parameters that are not adapted."""
        full = theta | phi
        return self.head.outputs(f(full, X), full)

    def with_shared_labels(self: W) -> W:
        """Return the algorithm with an output layer that has a row for each label."""
        return replace(self, head=self.head.with_shared_labels())

    def with_new_labels(self) -> Algorithm | None:
        """Return the algorithm with an output layer for the labels of the support."""
        return replace(self, head=self.head.with_new_labels())


def start_at_shares(theta: Params, shares: Tensor) -> Params:
    """Start an output layer with a row for each label at the shares of these labels.

    Parameters
    ----------
    theta : dict of Tensor
        Drawn meta-parameters.
    shares : Tensor of shape (n_classes,)
        Shares of the labels in meta-training.

    Returns
    -------
    dict of Tensor
        A bias or prior shares that include their logarithms.
    """
    log_shares = shares.log()
    return {
        k: p + log_shares.to(p) if k in (BIAS, LOG_SHARES) and p.shape == shares.shape else p
        for k, p in theta.items()
    }
