"""Parameters of a stack of tasks: dicts of tensors that may have leading task axes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Params", "as_params", "as_vector", "linear", "with_gradient"]

Params = dict[str, Tensor]


def linear(X: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Map rows by X W^T + b, where each task may have its own W and b.

    Parameters
    ----------
    X : Tensor of shape (*B, n, d)
        Rows.
    weight : Tensor of shape (*B, m, d) or (m, d)
        One matrix for each task, or one for all.
    bias : Tensor of shape (*B, m) or (m,)
        One vector for each task, or one for all.

    Returns
    -------
    Tensor of shape (*B, n, m)
        The mapped rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import linear
    >>> X = torch.ones(2, 3, 4)  # two tasks, three rows, four features
    >>> linear(X, torch.ones(2, 5, 4), torch.zeros(2, 5)).shape
    torch.Size([2, 3, 5])
    """
    if weight.ndim == 2:
        return torch.nn.functional.linear(X, weight, bias)
    return torch.baddbmm(bias.unsqueeze(-2), X, weight.mT)


def as_vector(params: Params, n_axes: int) -> Tensor:
    """Concatenate all parameters of a task into one vector.

    Parameters
    ----------
    params : dict of Tensor of shape (*B, ...)
        One copy for each task.
    n_axes : int
        Number of axes of B.

    Returns
    -------
    Tensor of shape (*B, n_coordinates)
        In the order of the dict.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import as_vector
    >>> as_vector({"w": torch.zeros(5, 2, 3), "b": torch.zeros(5)}, 1).shape
    torch.Size([5, 7])
    """
    return torch.cat([p.reshape(*p.shape[:n_axes], -1) for p in params.values()], -1)


def as_params(vector: Tensor, like: Params) -> Params:
    """Split a vector of :func:`as_vector` into parameters again, as views.

    Parameters
    ----------
    vector : Tensor of shape (*B, n_coordinates)
        One vector for each task.
    like : dict of Tensor of shape (*B, ...)
        Parameters with the names and shapes of the result.

    Returns
    -------
    dict of Tensor of shape (*B, ...)
        The parts of the vector.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import as_params, as_vector
    >>> params = {"w": torch.ones(5, 2, 3), "b": torch.zeros(5)}
    >>> as_params(as_vector(params, 1), params)["w"].shape
    torch.Size([5, 2, 3])
    """
    sizes = [p[(0,) * (vector.ndim - 1)].numel() for p in like.values()]
    parts = zip(like.items(), vector.split(sizes, -1), strict=True)
    return {k: part.reshape(p.shape) for (k, p), part in parts}


def with_gradient(value: Tensor, params: Params, grads: Params) -> Tensor:
    """Return a value whose gradient was computed by other means than backpropagation.

    Parameters
    ----------
    value : Tensor of shape (*B,)
        One number for each task. Its own graph is ignored.
    params : dict of Tensor
        Of shape (*B, ...), or shared by all tasks.
    grads : dict of Tensor of shape (*B, ...)
        Gradients with respect to some of `params`, one for each task. They also flow back through
        the graph of `params`.

    Returns
    -------
    value : Tensor of shape (*B,)
        The same number, plus <params, grads> minus the value of that product as a constant.

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
