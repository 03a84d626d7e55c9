"""Linear systems with the Hessians of a stack of tasks, without forming the Hessians."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sklearn_meta.functional.descent import Loss
from sklearn_meta.functional.params import Params, as_vector

__all__ = ["conjugate_gradients", "hessian_product"]

Product = Callable[[Tensor], Tensor]


def hessian_product(loss: Loss, params: Params) -> Product:
    """Return v -> H v, with H the Hessian of each task's loss with respect to its parameters.

    Tasks are independent, so the Hessian of the sum of their losses is block diagonal, and one
    more pass through the graph of the gradient multiplies every block by its own vector.

    Parameters
    ----------
    loss : callable
        Maps parameters to one loss for each task, of shape (*B,).
    params : dict of Tensor of shape (*B, ...)
        Where to compute the Hessians.

    Returns
    -------
    callable
        Maps vectors (*B, n) to vectors (*B, n), in the order of `params`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import hessian_product
    >>> H = hessian_product(lambda p: p["w"].pow(3).sum(-1), {"w": torch.tensor([1.0, 2.0])})
    >>> H(torch.ones(2))
    tensor([ 6., 12.])
    """
    params = {k: p.detach().requires_grad_() for k, p in params.items()}
    at = list(params.values())
    losses = loss(params)
    grads = torch.autograd.grad(losses.sum(), at, create_graph=True, materialize_grads=True)
    slope = as_vector(dict(zip(params, grads, strict=True)), losses.ndim)

    def product(v: Tensor) -> Tensor:
        Hv = torch.autograd.grad(slope, at, v, retain_graph=True, materialize_grads=True)
        return as_vector(dict(zip(params, Hv, strict=True)), losses.ndim)

    return product


def conjugate_gradients(product: Product, b: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Solve A x = b for each task of a stack, A symmetric and positive definite.

    Parameters
    ----------
    product : callable
        Maps v to A v, both of shape (*B, n).
    b : Tensor of shape (*B, n)
        Right-hand sides.
    steps : int
        Number of steps; n of them are exact up to rounding.

    Returns
    -------
    x : Tensor of shape (*B, n)
        The best solution in the Krylov space of `steps` dimensions.
    stopped : bool Tensor of shape (*B,)
        True for tasks that stopped early because A is not positive definite.

    Notes
    -----
    Nocedal and Wright, "Numerical Optimization", 2006, algorithms 5.2 and 7.1: a task stops at the
    first direction p with p^T A p <= 0: where it is solved (p = 0), and where A is not positive
    definite. It keeps its current x, which is b if no step was taken.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import conjugate_gradients
    >>> x, stopped = conjugate_gradients(lambda v: 2 * v, torch.tensor([4.0, 6.0]), steps=1)
    >>> x, stopped.item()
    (tensor([2., 3.]), False)
    """
    x, r, p = torch.zeros_like(b), b, b
    rr = _dot(r, r)
    stopped = torch.zeros_like(rr, dtype=torch.bool)
    for _ in range(steps):
        Ap = product(p)
        curvature = _dot(p, Ap)
        going = curvature > 0
        stopped = stopped | (~going & p.any(-1, keepdim=True))
        alpha = torch.where(going, rr / torch.where(going, curvature, 1.0), 0.0)
        x, r = x + alpha * p, r - alpha * Ap
        rr, before = _dot(r, r), rr
        beta = rr / torch.where(before > 0, before, 1.0)
        p = torch.where(going, r + beta * p, 0.0)
    return torch.where(x.any(-1, keepdim=True), x, b), stopped.squeeze(-1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each task, (*B, 1)."""
    return (a * b).sum(-1, keepdim=True)
