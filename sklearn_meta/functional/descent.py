"""THE inner loop: gradient descent on the loss of each task of a stack."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["descend"]

Params = dict[str, Tensor]


def descend(
    loss: Callable[[Params], Tensor],
    params: Params,
    lr: float | Tensor,
    steps: int,
    *,
    create_graph: bool = False,
) -> Params:
    """Gradient descent, phi_(k+1) = phi_k - lr * grad L(phi_k).

    The tasks of a stack are independent, so the gradient of the sum of their losses with respect
    to the stacked parameters is each task's own gradient.

    Parameters
    ----------
    loss : callable
        From parameters to one loss a task, of shape (*B,).
    params : dict of Tensor of shape (*B, ...)
        Where to start, a copy for each task.
    lr : float or Tensor
        The step.
    steps : int
        How many.
    create_graph : bool, default=False
        Whether the result can be differentiated through the gradients taken here (second
        order), or treats them as constants (first order).

    Returns
    -------
    params : dict of Tensor of shape (*B, ...)
        New tensors; the ones given stay as they are.

    Notes
    -----
    Needs gradients enabled: call it under ``torch.enable_grad()`` where they may be off.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import descend
    >>> descend(lambda p: p["w"].square(), {"w": torch.tensor(1.0)}, lr=0.25, steps=2)["w"].item()
    0.25
    """
    params = {k: p if p.requires_grad else p.detach().requires_grad_() for k, p in params.items()}
    for _ in range(steps):
        grads = torch.autograd.grad(
            loss(params).sum(),
            list(params.values()),
            create_graph=create_graph,
            materialize_grads=True,  # a network may own parameters it does not use
        )
        moves = zip(params.items(), grads, strict=True)
        if isinstance(lr, Tensor):
            params = {k: p - lr * g for (k, p), g in moves}
        else:  # in one kernel
            params = {k: torch.sub(p, g, alpha=lr) for (k, p), g in moves}
    return params
