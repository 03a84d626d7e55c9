"""Gradients of the losses of a stack of tasks, and steps along them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sklearn_meta.functional.params import Params

__all__ = ["Loss", "Optimizer", "StepSize", "adam", "gradient", "minimise", "subtract"]

Loss = Callable[[Params], Tensor]  # from parameters to one loss for each task, (*B,)
StepSize = float | Tensor | Mapping[str, Tensor]  # one for all parameters, or one for each
Optimizer = Callable[..., torch.optim.Optimizer]  # of a list of tensors and options


def gradient(loss: Loss, params: Params, *, create_graph: bool = False) -> Params:
    """Compute the gradient of the loss of each task with respect to its own parameters.

    Tasks are independent, so the gradient of the sum of their losses with respect to the stacked
    parameters holds the gradient of each task.

    Parameters
    ----------
    loss : callable
        Maps parameters to one loss for each task, of shape (*B,).
    params : dict of Tensor of shape (*B, ...)
        A copy of the parameters for each task.
    create_graph : bool, default=False
        Whether the gradient can be differentiated (second order) or is a constant (first order).

    Returns
    -------
    dict of Tensor of shape (*B, ...)
        One gradient for each parameter, zero where the loss does not use it.

    Notes
    -----
    Call it under ``torch.enable_grad()`` where gradients may be disabled.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import gradient
    >>> gradient(lambda p: p["w"].square(), {"w": torch.tensor([1.0, 3.0])})["w"]
    tensor([2., 6.])
    """
    at = {k: p if p.requires_grad else p.detach().requires_grad_() for k, p in params.items()}
    grads = torch.autograd.grad(
        loss(at).sum(), list(at.values()), create_graph=create_graph, materialize_grads=True
    )
    return dict(zip(at, grads, strict=True))


def subtract(params: Params, alpha: StepSize, grads: Params) -> Params:
    """Compute params - alpha o grads, one step of gradient descent.

    Parameters
    ----------
    params : dict of Tensor of shape (*B, ...)
        Parameters.
    alpha : float, Tensor, or dict of Tensor
        Step size for all parameters, or one for each, multiplied elementwise.
    grads : dict of Tensor of shape (*B, ...)
        Gradients of the parameters.

    Returns
    -------
    dict of Tensor of shape (*B, ...)
        New tensors, differentiable with respect to all arguments.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import subtract
    >>> subtract({"w": torch.tensor([1.0, 3.0])}, 0.25, {"w": torch.tensor([2.0, 6.0])})["w"]
    tensor([0.5000, 1.5000])
    """
    if isinstance(alpha, Mapping):
        return {k: p - alpha[k] * grads[k] for k, p in params.items()}
    if isinstance(alpha, Tensor):
        return {k: p - alpha * grads[k] for k, p in params.items()}
    return {k: torch.sub(p, grads[k], alpha=alpha) for k, p in params.items()}  # in one kernel


def minimise(
    loss: Loss,
    params: Params,
    optimizer: Optimizer,
    steps: int,
    **options: Any,
) -> Params:
    """Minimise the loss of each task by an optimiser of torch; the result has no graph.

    Parameters
    ----------
    loss : callable
        Maps parameters to one loss for each task, of shape (*B,).
    params : dict of Tensor of shape (*B, ...)
        Where to start, a copy for each task.
    optimizer : callable
        Makes an optimiser that treats each number by itself, so that tasks stay independent:
        :func:`adam`, or ``torch.optim.SGD``. Its state starts at zero.
    steps : int
        Number of steps.
    **options : dict
        Options of the optimiser, such as ``lr``; it must accept ``fused``.

    Returns
    -------
    params : dict of Tensor of shape (*B, ...)
        New tensors, without a graph.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import minimise
    >>> start = {"w": torch.tensor(1.0)}
    >>> minimise(lambda p: p["w"].square(), start, torch.optim.SGD, 2, lr=0.25)["w"].item()
    0.25
    """
    # fused kernels read memory in its own order: numbers and gradients need the same layout
    phi = {k: p.detach().clone(memory_format=torch.contiguous_format) for k, p in params.items()}
    phi = {k: p.requires_grad_() for k, p in phi.items()}
    # one kernel: small steps are mostly overhead
    stepper = optimizer(list(phi.values()), fused=True, **options)
    for _ in range(steps):
        for p, g in zip(phi.values(), gradient(loss, phi).values(), strict=True):
            p.grad = g.contiguous()
        stepper.step()
    return {k: p.detach() for k, p in phi.items()}


def adam(params: list[Tensor], **options: Any) -> torch.optim.Adam:
    """Make an Adam optimiser whose epsilon is larger than rounding errors.

    A step divides by sqrt(v) + eps. A gradient that is zero in theory, as that of a backbone under
    an output layer whose rows are all equal, is a rounding error in practice, in float32 of about
    torch's eps of 1e-8: it would become a step of full length in a random direction. With an eps of
    1e-3 in any precision, float32 and float64 take the same steps.

    Parameters
    ----------
    params : list of Tensor
        Tensors of one dtype.
    **options : dict
        Options of :class:`torch.optim.Adam`.

    Returns
    -------
    torch.optim.Adam
        With a state of zero.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import adam
    >>> adam([torch.zeros(1)], lr=0.1).defaults["eps"]
    0.001
    """
    return torch.optim.Adam(params, **({"eps": 1e-3} | options))
