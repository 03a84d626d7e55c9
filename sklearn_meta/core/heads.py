"""Where the output layer of a task starts: four ways, one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.core.algorithm import Network
from sklearn_meta.core.examples import Examples
from sklearn_meta.functional import Params, classes_present, prototypes

__all__ = ["FixedHead", "Head", "LinearHead", "PrototypeHead", "SharedHead", "copies"]


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
            "head.weight" (*B, k, d) and "head.bias" (*B, k), the bias minus infinity for classes
            that the task does not have.
        """


def _uniform(n_outputs: int, d: int, generator: torch.Generator) -> Params:
    """Start as ``nn.Linear``: U(-1/sqrt(d), 1/sqrt(d))."""
    bound = d**-0.5
    weight = torch.empty(n_outputs, d).uniform_(-bound, bound, generator=generator)
    return {"head.weight": weight, "head.bias": torch.zeros(n_outputs)}


def _masked(bias: Tensor, support: Examples) -> Tensor:
    return bias.masked_fill(~classes_present(support.y, support.weight), -torch.inf)


@dataclass(frozen=True)
class LinearHead(Head):
    """A meta-learned output layer for regression."""

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Draw weight and bias."""
        return _uniform(n_outputs, d, generator)

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Copy."""
        return copies({k: theta[k] for k in ("head.weight", "head.bias")}, support)


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
        n_way, learned = support.y.shape[-1], len(theta["head.bias"])
        if n_way > learned:
            raise ValueError(
                f"The task has {n_way} classes, but head='fixed' was meta-trained for at most "
                f"{learned}. Use head='shared' or head='prototype' for any number of classes."
            )
        start = copies({k: theta[k][:n_way] for k in ("head.weight", "head.bias")}, support)
        return start | {"head.bias": _masked(start["head.bias"], support)}


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
        """w_k = w and b_k = b for every class k of the task."""
        *B, _, n_way = support.y.shape
        weight, bias = theta["head.weight"], theta["head.bias"]
        return {
            "head.weight": weight.expand(*B, n_way, -1),
            "head.bias": _masked(bias.expand(*B, n_way), support),
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
        return {"head.weight": 2 * c, "head.bias": _masked(-c.square().sum(-1), support)}
