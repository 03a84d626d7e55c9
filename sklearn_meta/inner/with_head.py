"""Algorithms whose model is a backbone and an output layer."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.functional import Params
from sklearn_meta.inner.adapts import Adapts
from sklearn_meta.inner.algorithm import Algorithm, Network
from sklearn_meta.inner.examples import Examples
from sklearn_meta.inner.heads import Head

__all__ = ["InnerLoop", "WithHead"]


@dataclass(frozen=True)
class WithHead(Algorithm, ABC):
    """A backbone f and an output layer; phi holds what a task has of its own.

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


@dataclass(frozen=True)
class InnerLoop(WithHead, ABC):
    """An inner loop that walks down the loss on the support.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer starts.
    adapts : Adapts
        Which parameters adapt.
    """

    adapts: Adapts

    def inner(
        self, f: Network, theta: Params, support: Examples
    ) -> tuple[Params, Params, Callable[[Params], Tensor]]:
        """Give what the inner loop minimises, and from where.

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
        start, staying : dict of Tensor of shape (*B, ...)
            What adapts, before the first step, and what else the task has of its own.
        loss : callable
            From what adapts to L(phi, D_support), one value a task.
        """
        start, staying, features = self.adapts.start(f, theta, self.head, support)
        staying = staying | self.head.given(support)

        def loss(phi: Params) -> Tensor:
            full = theta | staying | phi
            outputs = self.head.outputs(features(full), full)
            return self.criterion(outputs, support.y, support.weight)

        return start, staying, loss
