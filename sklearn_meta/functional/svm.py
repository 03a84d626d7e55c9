"""The multi-class support vector machine of Crammer and Singer, for stacks of tasks.

    min_W |W|^2 / 2 + C sum_i w_i max_k ( 1 - y_ik + z_i' (w_k - w_(y_i)) )

Its dual is a quadratic program, with K = Z Z' and columns alpha_k for the classes,

    min_alpha sum_k alpha_k' K alpha_k / 2 - sum_ik y_ik alpha_ik
    subject to  alpha_ik <= C w_i y_ik,   sum_k alpha_ik = 0,      W = Z' alpha.

Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines",
JMLR 2001.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sklearn_meta._devices import exact_dtype

__all__ = ["crammer_singer"]

STEPS = 15  # as in the official code; the gap is then below rounding errors, on ordinary tasks
SHARE_OF_STEP = 0.995  # of the step to the boundary
RIDGE = 1e-8  # added to K, as a share of its diagonal, because rows may be linearly dependent

Solve = Callable[[Tensor, Tensor | float], tuple[Tensor, Tensor]]


def crammer_singer(
    Z: Tensor, y: Tensor, weight: Tensor, C: float, offset: Tensor | None = None
) -> Tensor:
    """Compute W = argmin_W |W|^2 / 2 + C sum_i w_i max_k (1 - y_ik + s_ik - s_i(y_i)).

    The scores are s = Z W + offset. A primal-dual interior point method solves the dual, and the
    gradient is that of the solution, by implicit differentiation of its optimality conditions.

    Parameters
    ----------
    Z : Tensor of shape (*B, n, d)
        Features. There is no intercept.
    y : Tensor of shape (*B, n, n_way)
        One-hot labels.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.
    C : float
        Weight of the errors, positive.
    offset : Tensor of shape (*B, n, n_way), default=None
        Scores to which the machine adds, of all classes. Without them, classes without rows are
        padding.

    Returns
    -------
    W : Tensor of shape (*B, d, n_way)
        In the dtype of `Z`, computed in float64. Zero for classes that are padding.

    Notes
    -----
    Fifteen steps leave only rounding errors where C |z|^2 is below about 1e5. Beyond, scale the
    features.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import crammer_singer
    >>> Z, y = torch.tensor([[1.0], [-1.0]]), torch.eye(2)
    >>> crammer_singer(Z, y, torch.ones(2), C=0.1)
    tensor([[ 0.2000, -0.2000]])
    """
    dtype, exact = Z.dtype, exact_dtype(Z)
    Z, labels, weight = Z.to(exact), y.mT.to(exact), weight.to(exact).unsqueeze(-2)
    if offset is None:
        target, is_class = labels, (labels * weight).sum(-1, keepdim=True) > 0
    else:
        target, is_class = labels - offset.mT.to(exact), torch.ones_like(labels, dtype=torch.bool)
    K = Z @ Z.mT
    with torch.no_grad():
        alpha, solve = _interior_point(K, target, C * weight * labels, is_class & (weight > 0))
    # zero, with the gradient of the optimality conditions K alpha - target + ... = 0
    residual = alpha @ K - target
    change, _ = solve(residual.detach() - residual, 0.0)
    return ((alpha + change) @ Z).mT.to(dtype)


def _interior_point(
    K: Tensor, target: Tensor, upper: Tensor, is_free: Tensor
) -> tuple[Tensor, Solve]:
    """Solve the dual for alpha (*B, n_way, n) <= upper, zero where not free.

    Mehrotra's predictor-corrector steps for alpha, its slack s, the multipliers lam of the bounds
    and nu of the sums: K alpha - target + lam + nu = 0, alpha + s = upper, s lam = 0. Returns the
    solution, and what solves the linear system of these conditions at the solution.
    """
    free = is_free.to(K)
    factorise = _system(K, free)
    n_free = free.sum((-2, -1), keepdim=True).clamp(min=1)
    n_way = free.sum(-2, keepdim=True)
    least = torch.finfo(K.dtype).eps ** 2  # far from subnormal numbers, which are slow
    share = upper.sum(-2, keepdim=True) / 2  # a feasible start
    alpha = torch.where(upper > 0, share, -share / (n_way - 1).clamp(min=1)) * free * (n_way > 1)
    s, lam = upper - alpha + (1 - free), free
    nu = torch.zeros_like(share)

    def longest(ds: Tensor, d_lam: Tensor) -> Tensor:
        """Return the step size that keeps s and lam positive, up to 1."""
        ratio = -torch.cat([s, lam], -2) / torch.cat([ds, d_lam], -2)
        ratio = torch.where(ratio > 0, ratio, torch.inf).amin((-2, -1), keepdim=True)
        return (SHARE_OF_STEP * ratio).clamp(max=1.0)

    for _ in range(STEPS):
        solve = factorise(lam / s)
        stationarity = alpha @ K - target + lam + nu
        sums = alpha.sum(-2, keepdim=True)
        products = s * lam  # all are to be zero
        gap = products.sum((-2, -1), keepdim=True) / n_free
        d_alpha, _ = solve(lam - stationarity, -sums)  # predictor
        ds, d_lam = -d_alpha, ((lam * d_alpha - products) / s) * free
        t = longest(ds, d_lam)
        after = ((s + t * ds) * (lam + t * d_lam)).sum((-2, -1), keepdim=True) / n_free
        products = products + ds * d_lam - (after / gap.clamp(min=least)) ** 3 * gap
        d_alpha, d_nu = solve(products / s - stationarity, -sums)  # corrector
        ds, d_lam = -d_alpha, ((lam * d_alpha - products) / s) * free
        t = longest(ds, d_lam)
        alpha, nu = alpha + t * d_alpha, nu + t * d_nu
        s, lam = (s + t * ds).clamp(min=least), (lam + t * d_lam).clamp(min=least) * free
    return alpha, factorise(lam / s)


def _system(K: Tensor, free: Tensor) -> Callable[[Tensor], Solve]:
    """Return what factorises (K + diag D_k) x_k + nu = r_k for each class k, sum_k x_k = e.

    Its result solves for x (*B, n_way, n), zero where not free, and nu (*B, 1, n):
    x_k = G_k (r_k - nu) with G_k = (K + diag D_k)^-1, and nu = (sum_k G_k)^-1 (sum_k G_k r_k - e).
    """
    both = free.unsqueeze(-1) * free.unsqueeze(-2)  # (*B, n_way, n, n)
    H_0 = K.unsqueeze(-3) * both
    ridge = RIDGE * torch.diagonal(H_0, dim1=-2, dim2=-1).amax((-2, -1), keepdim=True)
    constant = torch.where(free > 0, ridge, 1.0)
    no_class = torch.diag_embed((free.sum(-2) == 0).to(K))

    def factorise(D: Tensor) -> Solve:
        H = H_0 + torch.diag_embed(constant + D)
        G = torch.cholesky_inverse(torch.linalg.cholesky_ex(H)[0]) * both
        root = torch.linalg.cholesky_ex(G.sum(-3) + no_class)[0]

        def times(x: Tensor) -> Tensor:
            return (G @ x.unsqueeze(-1)).squeeze(-1)

        def solve(r: Tensor, e: Tensor | float) -> tuple[Tensor, Tensor]:
            right = times(r).sum(-2, keepdim=True) - e
            nu = torch.cholesky_solve(right.mT, root).mT
            return times(r - nu), nu

        return solve

    return factorise
