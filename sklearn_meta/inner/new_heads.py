"""Output layers that start anew for each task, whatever was trained on other labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.functional import Params, prototypes
from sklearn_meta.inner.algorithm import Network
from sklearn_meta.inner.examples import Examples
from sklearn_meta.inner.heads import BIAS, PRESENT, WEIGHT, Head

__all__ = ["CosineHead", "ZeroHead"]

NORM = "head.norm"
EPS = 1e-12
MANY = 200  # classes, from which on the official scale is the larger one


@dataclass(frozen=True)
class ZeroHead(Head):
    """Linear output layer that starts from w_k = 0 and b_k = 0."""

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Learn nothing."""
        return {}

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Zeros."""
        *B, _, n_way = support.y.shape
        zeros = support.y.new_zeros
        return {WEIGHT: zeros(*B, n_way, f.n_features_out), BIAS: zeros(*B, n_way)}


@dataclass(frozen=True)
class CosineHead(Head):
    """Logits s g_k cos(z, w_k), with a direction and a length of each class.

    "head.weight" (*B, k, d) are the directions w, "head.norm" (*B, k) the lengths g; there is no
    bias. Chen et al., "A Closer Look at Few-shot Classification", ICLR 2019 (Baseline++); the
    lengths are those of the official code.

    Parameters
    ----------
    scale : float or None
        The scale s; None: 2 for up to 200 classes, else 10 (official code).
    """

    scale: float | None

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Draw as ``nn.Linear`` under weight normalisation: g_k = |w_k|."""
        weight = torch.empty(n_outputs, d).uniform_(-(d**-0.5), d**-0.5, generator=generator)
        return {WEIGHT: weight, NORM: weight.norm(dim=-1)}

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Set w_k to the mean of z / |z| over the rows of class k, and g_k = 1."""
        c = prototypes(_unit(f(theta, support.X)), support.y, support.weight)
        return {WEIGHT: c, NORM: torch.ones_like(c[..., 0])}

    def rate_like(self, n_outputs: int, d: int) -> Params:
        """Show one for all classes: a direction's, and a length's."""
        return {WEIGHT: torch.zeros(1, d), NORM: torch.zeros(1)}

    def outputs(self, Z: Tensor, phi: Params) -> Tensor:
        """Map features to logits, s g_k cos(z, w_k).

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
        lengths = phi[NORM]
        there = phi[PRESENT] if PRESENT in phi else torch.ones_like(lengths, dtype=torch.bool)
        many = there.sum(-1, keepdim=True) > MANY
        scale = torch.where(many, 10.0, 2.0) if self.scale is None else self.scale
        cosines = _unit(Z) @ _unit(phi[WEIGHT]).mT
        logits = (scale * lengths).unsqueeze(-2) * cosines
        return logits.masked_fill(~there.unsqueeze(-2), -torch.inf)


def _unit(Z: Tensor) -> Tensor:
    """Give z / |z|, smooth at zero, where the start of an absent class is."""
    return Z * (Z.square().sum(-1, keepdim=True) + EPS).rsqrt()
