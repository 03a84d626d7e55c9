"""Learners that adapt by gradient descent, put together of parts that go with one another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from sklearn_meta.functional import Params, descent, recomputed
from sklearn_meta.inner.algorithm import Network
from sklearn_meta.inner.examples import Examples
from sklearn_meta.inner.rates import Rate
from sklearn_meta.inner.with_head import InnerLoop

__all__ = ["GradientLearner", "LastStep", "MultiStep", "OuterLoss"]

Risk = Callable[[Params, Examples], Tensor]


@dataclass(frozen=True)
class OuterLoss(ABC):
    """How much the loss after each inner step counts in meta-training."""

    @abstractmethod
    def weights(self, steps: int, progress: float) -> list[float]:
        """Give v_0, ..., v_K.

        Parameters
        ----------
        steps : int
            Inner steps K.
        progress : float
            Share of meta-training that is done.

        Returns
        -------
        list of float
            Of length K + 1, with sum 1.
        """


@dataclass(frozen=True)
class LastStep(OuterLoss):
    """The loss after the last step alone."""

    def weights(self, steps: int, progress: float) -> list[float]:
        """0, ..., 0, 1."""
        return [0.0] * steps + [1.0]


@dataclass(frozen=True)
class MultiStep(OuterLoss):
    """All steps at first, the last alone in the end. Antoniou et al., ICLR 2019, section 4 (MSL).

    Parameters
    ----------
    until : float
        Share of meta-training after which the last step alone counts.

    Notes
    -----
    The weights are those of the official code.
    """

    until: float

    def weights(self, steps: int, progress: float) -> list[float]:
        """Return v_k = max(1/K - e/(K E), 0.03/K) for 0 < k < K; v_K is the rest."""
        if steps == 0 or progress >= self.until:
            return LastStep().weights(steps, progress)
        early = max(1 - progress / self.until, 0.03) / steps
        return [0.0] + [early] * (steps - 1) + [1 - (steps - 1) * early]


@dataclass(frozen=True)
class StepWeights(OuterLoss):
    """Given weights.

    Parameters
    ----------
    v : tuple of float
        v_0, ..., v_K.
    """

    v: tuple[float, ...]

    def weights(self, steps: int, progress: float) -> list[float]:
        """v_0, ..., v_K."""
        return list(self.v)


@dataclass(frozen=True)
class GradientLearner(InnerLoop):
    """Learned start, descended from: phi_0 = start(theta), phi_(k+1) = phi_k - alpha_k o grad L.

    MAML and its relatives (Finn et al., ICML 2017, eq. 1) are this with different parts.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer starts.
    adapts : Adapts
        Which parameters adapt.
    rate : Rate
        The step alpha_k.
    inner_steps : int
        Steps K.
    first_order_until : float, default=0
        Share of meta-training in which the inner gradients count as constants: 0 is MAML, 1 is
        FOMAML, between them lies MAML++'s derivative annealing.
    outer : OuterLoss, default=LastStep()
        Which steps' losses count in meta-training.
    progress : float, default=0
        Share of meta-training that is done.
    activation_checkpointing : bool, default=False
        Whether the outer loop keeps phi_k alone, and works out the rest again in its backward pass.
    """

    rate: Rate
    inner_steps: int
    first_order_until: float = 0.0
    outer: OuterLoss = LastStep()
    progress: float = 0.0
    activation_checkpointing: bool = False

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Theta: the initial weights, and what is learned of the step."""
        theta = super().init(f, n_outputs, generator)
        like = theta | self.head.rate_like(n_outputs, f.n_features_out)
        like = {k: p for k, p in like.items() if k.startswith(self.adapts.prefixes)}
        return theta | self.rate.init(like, self.inner_steps, generator)

    def path(self, f: Network, theta: Params, support: Examples) -> Iterator[Params]:
        """Iterate phi_(k+1) = phi_k - alpha_k o grad L(phi_k, D_support) from phi_0 = start(theta).

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support : Examples
            Support of a stack of tasks B.

        Yields
        ------
        phi : dict of Tensor of shape (*B, ...)
            Adapted parameters, before the first step and after each step.
        """
        start, staying, loss = self.inner(f, theta, support)
        learning = any(p.requires_grad for p in theta.values())  # else d phi/d theta is unused
        annealed = self.first_order_until < 1 and self.progress >= self.first_order_until
        second_order = learning and annealed
        rates = (self.rate.at(theta, k) for k in range(self.inner_steps))
        for phi in descent(
            loss,
            start,
            rates,
            create_graph=second_order,
            activation_checkpointing=self.activation_checkpointing,
        ):
            yield staying | phi

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Return phi_K, the parameters after the last step."""
        for phi in self.path(f, theta, support):
            arrived = phi
        return arrived

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute sum_k v_k L(phi_k, D_query)."""
        v = self.outer.weights(self.inner_steps, self.progress)
        path = zip(v, self.path(f, theta, support), strict=True)
        risk = partial(self.risk, f, theta)
        # no more rows at once than a step has
        if self.activation_checkpointing and query.weight.ndim == 2:
            at_once = max(support.weight.numel() // query.weight.shape[1], 1)
            risk = partial(_in_chunks, risk, at_once)
        losses = [v_k * risk(phi, query) for v_k, phi in path if v_k > 0]
        return torch.stack(losses).sum(0)

    def at(self, progress: float) -> GradientLearner:
        """Anneal the order and the outer loss; equal to before wherever nothing has changed."""
        first_order = self.first_order_until >= 1 or progress < self.first_order_until
        v = StepWeights(tuple(self.outer.weights(self.inner_steps, progress)))
        return replace(self, first_order_until=float(first_order), outer=v, progress=0.0)


def _in_chunks(risk: Risk, size: int, phi: Params, query: Examples) -> Tensor:
    """L(phi, D_query) for `size` tasks at a time, each worked out again in the backward pass."""
    parts: list[Tensor] = []
    for begin in range(0, len(query.weight), size):
        now = slice(begin, begin + size)
        rows = Examples(*(t[now] for t in query))
        parts += recomputed(partial(_risk, risk, rows, tuple(phi)), *(p[now] for p in phi.values()))
    return torch.cat(parts)


def _risk(risk: Risk, rows: Examples, names: tuple[str, ...], *phi: Tensor) -> tuple[Tensor]:
    return (risk(dict(zip(names, phi, strict=True)), rows),)
