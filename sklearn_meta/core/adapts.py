"""Which parameters adapt to a task: all, the output layer, the backbone, or a context."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sklearn_meta.core.algorithm import BODY, Network
from sklearn_meta.core.examples import Examples
from sklearn_meta.core.heads import Head, copies
from sklearn_meta.functional import Params

__all__ = ["Adapts", "Body", "Everything", "HeadAlone"]


@dataclass(frozen=True)
class Adapts(ABC):
    """What of a network adapts; `prefixes` are how the names of those parameters begin."""

    prefixes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def start(
        self, f: Network, theta: Params, head: Head, support: Examples
    ) -> tuple[Params, Params]:
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
        """

    def features(self, f: Network, theta: Params, X: Tensor) -> Callable[[Params], Tensor]:
        """Give the features of rows as a function of the task's parameters.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        X : Tensor of shape (*B, n, ...)
            Rows.

        Returns
        -------
        callable
            From theta | phi to features.
        """
        return lambda phi: f(phi, X)


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

    def start(
        self, f: Network, theta: Params, head: Head, support: Examples
    ) -> tuple[Params, Params]:
        """Copy the backbone, start the head."""
        return body(theta, support) | head.start(f, theta, support), {}


@dataclass(frozen=True)
class HeadAlone(Adapts):
    """The output layer. Raghu et al., "Rapid Learning or Feature Reuse?", ICLR 2020 (ANIL)."""

    prefixes = ("head.",)

    def start(
        self, f: Network, theta: Params, head: Head, support: Examples
    ) -> tuple[Params, Params]:
        """Start the head."""
        return head.start(f, theta, support), {}

    def features(self, f: Network, theta: Params, X: Tensor) -> Callable[[Params], Tensor]:
        """Embed once: no step changes the features."""
        Z = f(theta, X)
        return lambda phi: Z


@dataclass(frozen=True)
class Body(Adapts):
    """The backbone. Oh et al., "BOIL", ICLR 2021."""

    prefixes = (BODY,)

    def start(
        self, f: Network, theta: Params, head: Head, support: Examples
    ) -> tuple[Params, Params]:
        """Copy the backbone; the head stays where it starts."""
        adapting = body(theta, support)
        if not adapting:
            raise ValueError(
                "Nothing can adapt: the backbone has no parameters, and the output layer stays. "
                "Give hidden_layer_sizes at least one layer, or a backbone with weights."
            )
        return adapting, head.start(f, theta, support)
