"""The temperature of class probabilities, chosen on held-out tasks where labels are shared.

    p(y | x) = softmax( log p + (z - log p) / T ),    T = argmin_(T >= 1) E_T L(D_query)

z are the logits, and p the shares of the labels in meta-training. Guo, Pleiss, Sun and Weinberger,
"On Calibration of Modern Neural Networks", ICML 2017, eq. 9, have log p = 0: probabilities that are
too extreme then move towards equal ones, here towards the shares.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from sklearn_meta.functional import cross_entropy

__all__ = ["Temperature", "best_temperature"]

LARGEST = 10.0


@dataclass(frozen=True)
class Temperature:
    """Moves logits towards those of the shares of the labels."""

    T: float
    log_shares: NDArray[np.float64]  # log p, (n_classes,)

    def __call__(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute log p + (z - log p) / T for logits (..., n_classes)."""
        return self.log_shares + (logits - self.log_shares) / self.T


def best_temperature(
    queries: Iterable[tuple[Tensor, Tensor, Tensor]], shares: NDArray[np.float64]
) -> Temperature | None:
    """Return the best for stacks of logits, labels and weights; None where that is T = 1."""
    log_shares = np.log(shares)
    parts = [(z.cpu().double().numpy(), y.cpu().double(), w.cpu().double()) for z, y, w in queries]

    def loss(log_T: float) -> float:
        soften = Temperature(float(np.exp(log_T)), log_shares)
        losses = [cross_entropy(torch.from_numpy(soften(z)), y, w) for z, y, w in parts]
        return float(torch.cat(losses).mean())

    bounds = 0.0, float(np.log(LARGEST))
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return Temperature(float(np.exp(best.x)), log_shares) if best.fun < loss(0.0) else None
