"""The baseline without meta-learning: the same network, trained from scratch on the support."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.core.adapts import body
from sklearn_meta.core.algorithm import Network
from sklearn_meta.core.examples import Examples
from sklearn_meta.core.with_head import WithHead
from sklearn_meta.functional import Params, minimise

__all__ = ["FromScratch"]


@dataclass(frozen=True)
class FromScratch(WithHead):
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

    steps: int = 200
    lr: float = 0.01

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Train on the support."""
        start = body(theta, support) | self.head.start(f, theta, support)
        given = self.head.given(support)

        def loss(phi: Params) -> Tensor:
            return self.risk(f, theta, given | phi, support)

        return given | minimise(loss, start, torch.optim.Adam, self.steps, lr=self.lr)
