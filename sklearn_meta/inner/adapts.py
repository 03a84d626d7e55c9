"""Which parameters adapt to a task: all, the output layer, the backbone, or a context."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import BODY, Network
from sklearn_meta.inner.examples import Examples
from sklearn_meta.inner.heads import Head, copies

__all__ = ["Adapts", "Body", "Everything", "HeadAlone", "Start"]

Start = tuple[Params, Params, Callable[[Params], Tensor]]  # adapting, staying, features


@dataclass(frozen=True)
class Adapts(ABC):
    """What of a network adapts; `prefixes` are how the names of those parameters begin."""

    prefixes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def start(self, f: Network, theta: Params, head: Head, support: Examples) -> Start:
        """Give each task where it starts.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        head : Head
            The output layer.
        support : Examples
            Of a stack of tasks B.

        Returns
        -------
        adapting, staying : dict of Tensor of shape (*B, ...)
            The task's own parameters; theta serves for all others.
        features : callable
            From theta | phi to the features of the support.
        """


def body(theta: Params, support: Examples) -> Params:
    """Copy the backbone's parameters for each task.

    Parameters
    ----------
    theta : dict of Tensor
        Meta-parameters.
    support : Examples
        Of a stack of tasks B.

    Returns
    -------
    dict of Tensor of shape (*B, ...)
        The backbone's share.
    """
    return copies({k: p for k, p in theta.items() if k.startswith(BODY)}, support)


@dataclass(frozen=True)
class Everything(Adapts):
    """Backbone and output layer. Finn et al., "MAML", ICML 2017."""

    prefixes = (BODY, "head.")

    def start(self, f: Network, theta: Params, head: Head, support: Examples) -> Start:
        """Copy the backbone, start the head."""
        adapting = body(theta, support) | head.start(f, theta, support)
        return adapting, {}, lambda phi: f(phi, support.X)


@dataclass(frozen=True)
class HeadAlone(Adapts):
    """The output layer. Raghu et al., "Rapid Learning or Feature Reuse?", ICLR 2020 (ANIL)."""

    prefixes = ("head.",)

    def start(self, f: Network, theta: Params, head: Head, support: Examples) -> Start:
        """Start the head, and embed once: no step changes the features."""
        Z = f(theta, support.X)
        return head.start(_Embedded(f, Z), theta, support), {}, lambda phi: Z


@dataclass(frozen=True)
class _Embedded:
    """A network that has embedded its rows already."""

    f: Network
    Z: Tensor

    @property
    def n_features_out(self) -> int:
        return self.f.n_features_out

    def init(self, generator: torch.Generator) -> Params:
        return self.f.init(generator)

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        return self.Z


@dataclass(frozen=True)
class Body(Adapts):
    """The backbone. Oh et al., "BOIL", ICLR 2021."""

    prefixes = (BODY,)

    def start(self, f: Network, theta: Params, head: Head, support: Examples) -> Start:
        """Copy the backbone; the head stays where it starts."""
        adapting = body(theta, support)
        if not adapting:
            raise ValueError(
                "Nothing can adapt: the backbone has no parameters, and the output layer stays. "
                "Give hidden_layer_sizes at least one layer, or a backbone with weights."
            )
        return adapting, head.start(f, theta, support), lambda phi: f(phi, support.X)
