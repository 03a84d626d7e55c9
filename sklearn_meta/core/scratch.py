"""The baseline without meta-learning: the same network, trained from scratch on the support."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.core.algorithm import Algorithm, Network
from sklearn_meta.core.examples import Examples
from sklearn_meta.core.heads import Head, copies
from sklearn_meta.functional import Params, linear

__all__ = ["FromScratch"]


@dataclass(frozen=True)
class FromScratch(Algorithm):
    """Full-batch Adam on backbone and output layer, from a random start.

    What an estimator does in `fit` when it was never meta-fitted: the arm to compare with.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer starts.
    steps : int, default=200
        Adam steps.
    lr : float, default=0.01
        Adam's step.
    """

    head: Head
    steps: int = 200
    lr: float = 0.01

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the start."""
        return f.init(generator) | self.head.init(n_outputs, f.n_features_out, generator)

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Train on the support."""
        start = copies(theta, support) | self.head.start(f, theta, support)
        phi = {k: p.detach().clone().requires_grad_() for k, p in start.items()}
        adam = torch.optim.Adam(phi.values(), lr=self.lr)
        for _ in range(self.steps):
            adam.zero_grad()
            prediction = self.predict(f, theta, phi, support.X)
            self.criterion(prediction, support.y, support.weight).sum().backward()
            adam.step()
        return phi

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Apply the trained network."""
        return linear(f(phi, X), phi["head.weight"], phi["head.bias"])
