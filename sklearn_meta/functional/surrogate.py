"""A loss whose gradient is one that was worked out by other means than backpropagation."""

from __future__ import annotations

from torch import Tensor

from sklearn_meta.functional.descent import Params

__all__ = ["with_gradient"]


def with_gradient(value: Tensor, params: Params, grads: Params) -> Tensor:
    """Give a value the gradient `grads` with respect to `params`, and through what made them.

    Parameters
    ----------
    value : Tensor of shape (*B,)
        One number a task; what it depends on does not matter.
    params : dict of Tensor
        Of shape (*B, ...), or shared by all tasks.
    grads : dict of Tensor of shape (*B, ...)
        Of some of `params`, one for each task.

    Returns
    -------
    value : Tensor of shape (*B,)
        The same number, plus <params, grads> minus its value as a constant.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import with_gradient
    >>> w = torch.tensor(3.0, requires_grad=True)
    >>> value = with_gradient(torch.tensor(7.0), {"w": w}, {"w": torch.tensor(5.0)})
    >>> value.item(), torch.autograd.grad(value, w)[0].item()
    (7.0, 5.0)
    """
    value = value.detach()
    for k, g in grads.items():
        inner = (params[k] * g.detach()).reshape(*value.shape, -1).sum(-1)
        value = value + (inner - inner.detach())
    return value
