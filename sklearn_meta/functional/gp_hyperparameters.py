"""The kernel parameters of a Gaussian process, fitted to each task of a stack under a prior.

Newton's method finds the minimum of the energy, and one more step at the minimum, which is zero,
has the derivatives of the implicit function theorem.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from sklearn_meta.functional.gaussian_process import solve
from sklearn_meta.functional.kernels import squared_distances

__all__ = ["Derivatives", "HyperparameterFit", "log_median_distance", "no_derivatives"]

# from squared distances to k, dk / dlog l and d2k / dlog l^2, or to k alone
Derivatives = Callable[[Tensor], tuple[Tensor, ...]]

WIDTHS = (1.0, 0.25, 0.25)  # standard deviations of log a, log s2 and log l; the first is ours
MAX_STEPS, LONGEST_STEP, TOLERANCE = 100, 2.0, 1e-6
TENSORS = ("squares", "y", "weight", "output_weights", "modes")


def no_derivatives(K: Tensor) -> tuple[Tensor, ...]:
    """Return a kernel without a length scale."""
    return (K,)


@dataclass(frozen=True)
class HyperparameterFit:
    """The energy of the parameters u = (log a, log s2, log l) of each task, and its minimum.

        E(u) = -sum_k c_k log p(y_k | u) + sum_i (u_i - mode_i)^2 / (2 width_i^2)

    With S = a k + diag(s2 / w), S_i = dS / du_i, P = S^-1, A = P Y, C = sum_k c_k:

        dE / du_i = 1/2 tr((C P - A c A') S_i) + (u_i - mode_i) / width_i^2
        d2E / du_i du_j = 1/2 tr((C P - A c A') S_ij) - 1/2 C tr(P S_i P S_j)
                          + sum_k c_k A_k' S_i P S_j A_k + [i = j] / width_i^2

    A log-normal prior of exp(u_i) is the same as this normal one of u_i around its mode.
    """

    squares: Tensor  # (*B, n, n) squared distances; without a length scale, the kernel itself
    y: Tensor  # (*B, n, k), less the prior mean
    weight: Tensor  # (*B, n)
    output_weights: Tensor  # (*B, k), c
    modes: Tensor  # (*B, p)
    derivatives: Derivatives

    def solve(self) -> Tensor:
        """Return u*, of shape (*B, p), with the gradient of the implicit function theorem."""
        constant = replace(self, **{k: getattr(self, k).detach() for k in TENSORS})
        with torch.no_grad():
            u, curvature = constant.minimise()
        # a Newton step at the minimum is zero, and its derivative is that of u*
        _, gradient, _ = self.terms(u, hessian=False)
        return u - (curvature @ gradient.unsqueeze(-1)).squeeze(-1)

    def minimise(self) -> tuple[Tensor, Tensor]:
        """Return u* by Newton's method, and the inverse Hessian at it."""
        u = self.modes
        energy, gradient, hessian = self.terms(u)
        share = torch.ones_like(energy)  # of a Newton step
        for _ in range(MAX_STEPS):
            step = -(inverse(hessian) @ gradient.unsqueeze(-1)).squeeze(-1)
            longest = step.abs().amax(-1, keepdim=True)
            step = step * (LONGEST_STEP / longest.clamp(min=LONGEST_STEP)) * share.unsqueeze(-1)
            going = longest.squeeze(-1) > TOLERANCE
            if not going.any():
                break
            trial = u + torch.where(going.unsqueeze(-1), step, 0.0)
            terms = self.terms(trial)
            better = terms[0] <= energy + 1e-12 * (1 + energy.abs())
            share = torch.where(better, 1.0, share / 2)
            u = torch.where(better.unsqueeze(-1), trial, u)
            energy = torch.where(better, terms[0], energy)
            gradient = torch.where(better.unsqueeze(-1), terms[1], gradient)
            hessian = torch.where(better[..., None, None], terms[2], hessian)
        return u, inverse(hessian)

    def terms(self, u: Tensor, *, hessian: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Return energy (*B,), gradient (*B, p) and Hessian (*B, p, p), if it is wanted."""
        a, noise = u[..., 0].exp()[..., None, None], u[..., 1].exp().unsqueeze(-1)
        has_length = u.shape[-1] == 3
        squares = self.squares
        if has_length:
            squares = squares * (-2 * u[..., 2]).exp()[..., None, None]
        absent = self.weight == 0
        w = torch.where(absent, 1.0, self.weight)
        v = noise / w
        K = [a * k for k in self.derivatives(squares)]
        first = [K[0], torch.diag_embed(v), *K[1:2]]  # S_i
        Y = self.y.masked_fill(absent.unsqueeze(-1), 0.0)
        fit, log_det, P, A = solve(K[0], Y, v, absent)
        c, C = self.output_weights.unsqueeze(-2), self.output_weights.sum(-1)
        W = C[..., None, None] * P - (A * c) @ A.mT
        widths = u.new_tensor(WIDTHS[: u.shape[-1]])
        z = (u - self.modes) / widths
        # of w equal rows, see `log_marginal_likelihood`; constants are left out
        copies = C * (w - 1).sum(-1)
        fit = (fit * self.output_weights).sum(-1)
        energy = fit + C * log_det + copies * u[..., 1] + z.square().sum(-1)
        traces = [(W * S).sum((-2, -1)) for S in first]
        traces[1] = traces[1] + copies
        gradient = torch.stack(traces, -1) / 2 + z / widths
        if not hessian:
            return energy / 2, gradient, gradient
        B = [S @ A for S in first]
        PB = [P @ b for b in B]
        T = [P @ first[0], P * v.unsqueeze(-2), *(P @ S for S in first[2:])]  # P S_i
        # S_ij: of the scale with itself and the length scale, of the noise, of the length scale
        second = {(0, 0): K[0], (1, 1): first[1]}
        if has_length:
            second |= {(0, 2): K[1], (2, 2): K[2]}
        H = torch.diag_embed(widths.pow(-2).expand(u.shape)).clone()
        for i, j in combinations_with_replacement(range(u.shape[-1]), 2):
            value = ((B[i] * PB[j]).sum(-2) * self.output_weights).sum(-1)
            value = value - 0.5 * C * (T[i] * T[j].mT).sum((-2, -1))
            if (i, j) in second:
                value = value + 0.5 * (W * second[i, j]).sum((-2, -1))
            H[..., i, j] += value
            if i != j:
                H[..., j, i] += value
        return energy / 2, gradient, H


def inverse(hessian: Tensor) -> Tensor:
    """Invert Hessians; where they are not positive definite, with the size of their curvatures."""
    curvature, basis = torch.linalg.eigh(hessian)
    return (basis / curvature.abs().clamp(min=1e-6).unsqueeze(-2)) @ basis.mT


def log_median_distance(Z: Tensor, weight: Tensor) -> Tensor:
    """Compute log sqrt(median |z_i - z_j|^2 / 2) over pairs of different rows, (*B,).

    Without such a pair it is log sqrt(d), about the distance of rows whose features have size 1.
    """
    n = weight.shape[-1]
    upper = torch.triu(torch.ones(n, n, dtype=torch.bool, device=Z.device), 1)
    squares = squared_distances(Z, Z, 1.0)
    pairs = (weight.unsqueeze(-1) * weight.unsqueeze(-2)).masked_fill(~upper, 0.0)
    pairs = torch.where(squares > 1e-12 * squares.amax((-2, -1), keepdim=True), pairs, 0.0)
    squares, pairs = squares.flatten(-2), pairs.flatten(-2)
    order = squares.argsort(-1)
    sums = pairs.gather(-1, order).cumsum(-1)
    total = sums[..., -1:]
    middle = (sums < total / 2).sum(-1, keepdim=True).clamp(max=n * n - 1)
    median = squares.gather(-1, order).gather(-1, middle)
    has_pairs = total > 0
    logs = torch.where(has_pairs, median, 2.0 * Z.shape[-1]).log() / 2 - math.log(2) / 2
    return logs.squeeze(-1)
