"""Penalised logistic regression by Newton's method."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_meta._devices import exact_dtype

__all__ = ["logistic_regression"]

N_STEPS = 16  # of Newton, which converges quadratically
STEP_SIZES = (1.0, 0.5, 0.25, 0.1, 0.01, 0.0)  # the one with the lowest objective is taken


def logistic_regression(
    Z: Tensor, y: Tensor, weight: Tensor, penalty: Tensor, offset: Tensor
) -> Tensor:
    """Compute V = argmin_V sum_i w_i CE(offset_i + V' z_i, y_i) + penalty / 2 |V|^2.

    CE is the cross-entropy of the softmax. The problem is strictly convex. It is solved in the span
    of the rows, and its gradient with respect to all arguments is that of the implicit function
    theorem: that of one more step of Newton.

    Parameters
    ----------
    Z : Tensor of shape (*B, n, d)
        Features. There is no intercept: append a column of ones for one, which is then penalised.
    y : Tensor of shape (*B, n, k)
        One-hot labels, or probabilities.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.
    penalty : Tensor of shape () or (*B,)
        Positive.
    offset : Tensor of shape (*B, n, k)
        Logits for V = 0; minus infinity for a class that the task does not have.

    Returns
    -------
    V : Tensor of shape (*B, d, k)
        In the dtype of `Z`, computed in float64. Zero without rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import logistic_regression
    >>> Z, y = torch.tensor([[1.0], [-1.0]]), torch.eye(2)
    >>> logistic_regression(Z, y, torch.ones(2), torch.tensor(1.0), torch.zeros(2, 2))
    tensor([[ 0.5213, -0.5213]])
    """
    exact = exact_dtype(Z)
    dtype, scale = Z.dtype, penalty.to(exact)[..., None, None]
    Z, y, offset, w = Z.to(exact), y.to(exact), offset.to(exact), weight.to(exact).unsqueeze(-1)
    with torch.no_grad():
        Q, R = torch.linalg.qr(Z.mT)
        rows, H = R.mT, _contrasts(y)  # V = Q u H', and the logits are offset + rows u H'
        u = Z.new_zeros(*Z.shape[:-2], rows.shape[-1], H.shape[-1])
        for _ in range(N_STEPS):
            p = (offset + rows @ u @ H.mT).softmax(-1)
            slope = rows.mT @ (w * (p - y)) @ H + scale * u
            step = _solve(_hessian(rows, p, H, w, scale), slope)
            tried = torch.stack([u - size * step for size in STEP_SIZES])
            log_p = (offset + rows @ tried @ H.mT).log_softmax(-1).masked_fill(w * y == 0, 0.0)
            value = (scale / 2 * tried.square()).sum((-2, -1)) - (w * y * log_p).sum((-2, -1))
            best = value.argmin(0)[None, ..., None, None].expand(1, *u.shape)
            u = tried.gather(0, best)[0]
        V = Q @ u @ H.mT
        hessian = _hessian(rows, (offset + rows @ u @ H.mT).softmax(-1), H, w, scale)
    slope = Z.mT @ (w * ((offset + Z @ V).softmax(-1) - y)) + scale * V  # zero, unlike its gradient
    inside = Q.mT @ slope @ H  # where the Hessian is not the penalty alone
    step = Q @ _solve(hessian, inside) @ H.mT + (slope - Q @ inside @ H.mT) / scale.detach()
    return (V - step).to(dtype)


def _contrasts(y: Tensor) -> Tensor:
    """Return an orthonormal basis (k, k - 1) of what sums to zero over the classes, as V does."""
    j = torch.arange(1, y.shape[-1], dtype=y.dtype, device=y.device)
    upper = torch.ones(len(j) + 1, len(j), dtype=y.dtype, device=y.device).triu()
    below = torch.diag_embed(j, offset=-1)[:, : len(j)]
    return (upper - below) / (j * (j + 1)).sqrt()


def _hessian(rows: Tensor, p: Tensor, H: Tensor, w: Tensor, scale: Tensor) -> Tensor:
    """Return the second derivative with respect to u, as a matrix."""
    of_logits = w.unsqueeze(-1) * (torch.diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2))
    inner = (H.mT @ of_logits @ H).unsqueeze(-2) * rows[..., None, :, None]  # (*B, n, k, r, k)
    hessian = (rows.mT @ inner.flatten(-3)).unflatten(-1, inner.shape[-3:])  # (*B, r, k, r, k)
    hessian = hessian.flatten(-4, -3).flatten(-2, -1)
    return hessian + scale * torch.eye(hessian.shape[-1], dtype=rows.dtype, device=rows.device)


def _solve(hessian: Tensor, slope: Tensor) -> Tensor:
    """Return the step of Newton for a slope (*B, r, k - 1)."""
    factor = torch.linalg.cholesky(hessian)
    return torch.cholesky_solve(slope.flatten(-2).unsqueeze(-1), factor).reshape(slope.shape)
