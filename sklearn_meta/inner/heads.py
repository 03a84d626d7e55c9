"""The output layer of a task: where it starts, and what it makes of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.functional import Params, classes_present, linear, prototypes
from sklearn_meta.inner.algorithm import Network
from sklearn_meta.inner.examples import Examples

__all__ = ["FixedHead", "Head", "LinearHead", "PrototypeHead", "SharedHead", "copies"]

WEIGHT, BIAS, PRESENT = "head.weight", "head.bias", "head.present"


def copies(theta: Params, support: Examples) -> Params:
    """One copy of theta for each task of a stack (views: nothing is moved).

    Parameters
    ----------
    theta : dict of Tensor of shape (...)
        Shared parameters.
    support : Examples
        Says how many tasks there are, B.

    Returns
    -------
    dict of Tensor of shape (*B, ...)
        Equal for all tasks, differentiable apart.
    """
    B = support.weight.shape[:-1]
    return {k: p.expand(*B, *p.shape) for k, p in theta.items()}


def check_n_way(n_way: int, learned: int) -> None:
    """Refuse more classes than a fixed head has rows.

    Parameters
    ----------
    n_way : int
        Classes of a task.
    learned : int
        Rows of the head.

    Raises
    ------
    ValueError
        Saying what to use instead.
    """
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
        """Draw its share of theta.

        Parameters
        ----------
        n_outputs : int
            Outputs, or classes of a fixed head.
        d : int
            Length of a row's features.
        generator : torch.Generator
            The source of chance.

        Returns
        -------
        dict of Tensor
            Empty if nothing of the head is meta-learned.
        """

    @abstractmethod
    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Give each task its first head.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support : Examples
            Of a stack of tasks B.

        Returns
        -------
        dict of Tensor
            "head.weight" (*B, k, d) and "head.bias" (*B, k).
        """

    def back(self, change: Params, theta: Params, support: Examples) -> Params:
        """Pull a change of each task's head back to its share of theta, averaged over copies.

        What learners need that take no gradient through the inner loop.

        Parameters
        ----------
        change : dict of Tensor
            "head.weight" (*B, k, d) and "head.bias" (*B, k).
        theta : dict of Tensor
            Meta-parameters.
        support : Examples
            Of a stack of tasks B.

        Returns
        -------
        dict of Tensor
            One for each tensor of `init`, of shape (*B, ...).

        Raises
        ------
        NotImplementedError
            If the head has no such way back.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no change back to theta.")

    def given(self, support: Examples) -> Params:
        """Say what of a task's head does not adapt.

        Parameters
        ----------
        support : Examples
            Of a stack of tasks B.

        Returns
        -------
        dict of Tensor
            "head.present" (*B, k), bool: the classes that the task has; nothing for a regression.
        """
        return {PRESENT: classes_present(support.y, support.weight)}

    def rate_like(self, n_outputs: int, d: int) -> Params:
        """Show the shapes of learned steps: one for all classes, so that there may be any number.

        Parameters
        ----------
        n_outputs : int
            Outputs of a regression.
        d : int
            Length of a row's features.

        Returns
        -------
        dict of Tensor
            Zeros that broadcast to the head.
        """
        return {WEIGHT: torch.zeros(1, d), BIAS: torch.zeros(1)}

    def outputs(self, Z: Tensor, phi: Params) -> Tensor:
        """Map features to logits or means, W z + b.

        Parameters
        ----------
        Z : Tensor of shape (*B, n, d)
            Features.
        phi : dict of Tensor
            With the head of each task, or of all.

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
    """Draw weights as ``nn.Linear`` does, from U(-1/sqrt(d), 1/sqrt(d)); the bias is zero."""
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
        """Copy."""
        return copies({k: theta[k] for k in (WEIGHT, BIAS)}, support)

    def back(self, change: Params, theta: Params, support: Examples) -> Params:
        """Give it as it is."""
        return {k: change[k] for k in (WEIGHT, BIAS)}

    def given(self, support: Examples) -> Params:
        """Give nothing: all outputs are there."""
        return {}

    def rate_like(self, n_outputs: int, d: int) -> Params:
        """Show one for each number of the head."""
        return {WEIGHT: torch.zeros(n_outputs, d), BIAS: torch.zeros(n_outputs)}


@dataclass(frozen=True)
class FixedHead(Head):
    """A meta-learned output layer with one row a class position, as in the original MAML.

    Raises
    ------
    ValueError
        In `start`, if a task has more classes than rows were learned.
    """

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Draw weight and bias."""
        return _uniform(n_outputs, d, generator)

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Copy the rows of as many class positions as the tasks have."""
        n_way = support.y.shape[-1]
        check_n_way(n_way, len(theta[BIAS]))
        return copies({k: theta[k][:n_way] for k in (WEIGHT, BIAS)}, support)

    def back(self, change: Params, theta: Params, support: Examples) -> Params:
        """Leave the rows alone that the tasks do not have."""
        missing = len(theta[BIAS]) - change[BIAS].shape[-1]
        pad = torch.nn.functional.pad
        return {
            WEIGHT: pad(change[WEIGHT], (0, 0, 0, missing)),
            BIAS: pad(change[BIAS], (0, missing)),
        }


@dataclass(frozen=True)
class SharedHead(Head):
    """One learned vector that every class starts from: any number of classes, in any order.

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

    def back(self, change: Params, theta: Params, support: Examples) -> Params:
        """Average over the classes that the task has."""
        share = classes_present(support.y, support.weight).to(change[BIAS])
        share = (share / share.sum(-1, keepdim=True)).unsqueeze(-2)  # (*B, 1, k)
        return {
            WEIGHT: share @ change[WEIGHT],
            BIAS: (share @ change[BIAS].unsqueeze(-1)).squeeze(-1),
        }


@dataclass(frozen=True)
class PrototypeHead(Head):
    """The linear classifier equal to nearest prototypes: w_k = 2 c_k, b_k = -|c_k|^2.

    Triantafillou et al., "Meta-Dataset", ICLR 2020 (Proto-MAML), section 3.
    """

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Learn nothing: the head comes from the support."""
        return {}

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Embed the support and average by class; gradients flow through."""
        c = prototypes(f(theta, support.X), support.y, support.weight)
        return {WEIGHT: 2 * c, BIAS: -c.square().sum(-1)}

    def back(self, change: Params, theta: Params, support: Examples) -> Params:
        """Give nothing."""
        return {}
