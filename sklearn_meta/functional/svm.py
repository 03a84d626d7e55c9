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

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import crammer_singer
    >>> Z, y = torch.tensor([[1.0], [-1.0]]), torch.eye(2)
    >>> crammer_singer(Z, y, torch.ones(2), C=0.1)
    tensor([[ 0.2000, -0.2000]])
    """
    dtype = Z.dtype
    exact = dtype if Z.device.type == "mps" else torch.float64  # which it lacks
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
    tiny = torch.finfo(K.dtype).tiny ** 0.5
    n_free = is_free.sum((-2, -1), keepdim=True).clamp(min=1)
    n_way = is_free.sum(-2, keepdim=True)
    share = torch.where(n_way > 1, upper.sum(-2, keepdim=True) / 2, 0.0)  # feasible
    alpha = torch.where(upper > 0, share, -share / (n_way - 1).clamp(min=1)) * is_free
    s = torch.where(is_free, upper - alpha, 1.0)
    lam, nu = is_free.to(K), torch.zeros_like(share)

    def longest(v: Tensor, dv: Tensor) -> Tensor:
        """Return the step size that keeps v positive, up to 1."""
        ratio = torch.where(is_free & (dv < 0), -v / dv, torch.inf)
        return (SHARE_OF_STEP * ratio.amin((-2, -1), keepdim=True)).clamp(max=1.0)

    for _ in range(STEPS):
        solve = _factorise(K, lam / s, is_free)
        stationarity = alpha @ K - target + lam + nu
        sums = alpha.sum(-2, keepdim=True)
        gap = (s * lam).sum((-2, -1), keepdim=True) / n_free

        def direction(complementarity: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            d_alpha, d_nu = solve(complementarity / s - stationarity, -sums)  # noqa: B023
            d_lam = (lam * d_alpha - complementarity) / s  # noqa: B023
            return d_alpha, -d_alpha, d_lam * is_free, d_nu

        _, ds, d_lam, _ = direction(s * lam)
        t = torch.minimum(longest(s, ds), longest(lam, d_lam))
        after = ((s + t * ds) * (lam + t * d_lam) * is_free).sum((-2, -1), keepdim=True) / n_free
        centre = (after / gap.clamp(min=tiny)) ** 3 * gap
        d_alpha, ds, d_lam, d_nu = direction(s * lam + ds * d_lam - centre)
        t = torch.minimum(longest(s, ds), longest(lam, d_lam))
        alpha, nu = alpha + t * d_alpha, nu + t * d_nu
        s, lam = (s + t * ds).clamp(min=tiny), (lam + t * d_lam).clamp(min=tiny) * is_free
    return alpha, _factorise(K, lam / s, is_free)


def _factorise(K: Tensor, D: Tensor, is_free: Tensor) -> Solve:
    """Return what solves (K + diag D_k) x_k + nu = r_k for each class, and sum_k x_k = e.

    x_k = G_k (r_k - nu) with G_k = (K + diag D_k)^-1, and nu = (sum_k G_k)^-1 (sum_k G_k r_k - e).
    """
    free = is_free.to(K)
    both = free.unsqueeze(-1) * free.unsqueeze(-2)  # (*B, n_way, n, n)
    size = torch.diagonal(K, dim1=-2, dim2=-1).unsqueeze(-2) * free
    ridge = RIDGE * size.amax((-2, -1), keepdim=True)
    diagonal = torch.where(is_free, D + ridge, 1.0)
    H = K.unsqueeze(-3) * both + torch.diag_embed(diagonal)
    G = torch.cholesky_inverse(torch.linalg.cholesky_ex(H)[0]) * both
    no_class = (~is_free.any(-2)).to(K)
    root = torch.linalg.cholesky_ex(G.sum(-3) + torch.diag_embed(no_class))[0]

    def times(x: Tensor) -> Tensor:
        return (G @ x.unsqueeze(-1)).squeeze(-1)

    def solve(r: Tensor, e: Tensor | float) -> tuple[Tensor, Tensor]:
        right = times(r).sum(-2, keepdim=True) - e
        nu = torch.cholesky_solve(right.mT, root).mT
        return times(r - nu), nu

    return solve
