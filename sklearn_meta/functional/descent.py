"""THE inner loop: gradient descent on the loss of each task of a stack."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from sklearn_meta.functional.recompute import recomputed

__all__ = ["adam", "descend", "descent", "minimise"]

Params = dict[str, Tensor]
Loss = Callable[[Params], Tensor]
Rate = float | Tensor | Mapping[str, Tensor]  # one for all, or one a parameter
Optimizer = Callable[..., torch.optim.Optimizer]  # of numbers and options


def descent(
    loss: Loss,
    params: Params,
    rates: Iterable[Rate],
    *,
    create_graph: bool = False,
    activation_checkpointing: bool = False,
) -> Iterator[Params]:
    """Walk down, phi_(k+1) = phi_k - alpha_k o grad L(phi_k).

    The tasks of a stack are independent, so the gradient of the sum of their losses with respect
    to the stacked parameters is each task's own gradient.

    Parameters
    ----------
    loss : callable
        From parameters to one loss a task, of shape (*B,).
    params : dict of Tensor of shape (*B, ...)
        Where to start, a copy for each task.
    rates : iterable of float, Tensor, or dict of Tensor
        The step alpha_k of each step, one for all parameters or one for each, multiplied
        elementwise.
    create_graph : bool, default=False
        Whether the result can be differentiated through the gradients taken here (second
        order), or treats them as constants (first order).
    activation_checkpointing : bool, default=False
        Whether a second-order graph keeps phi_k alone, and takes each step again in the backward
        pass: memory for steps and parameters rather than for what the network has in between.

    Yields
    ------
    params : dict of Tensor of shape (*B, ...)
        phi_0, phi_1, ...: new tensors; the ones given stay as they are.

    Notes
    -----
    Needs gradients enabled: call it under ``torch.enable_grad()`` where they may be off.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import descent
    >>> walk = descent(lambda p: p["w"].square(), {"w": torch.tensor(1.0)}, [0.25, 0.5])
    >>> [phi["w"].item() for phi in walk]
    [1.0, 0.5, 0.0]
    """
    learning = any(p.requires_grad for p in params.values())
    params = {k: p if p.requires_grad else p.detach().requires_grad_() for k, p in params.items()}
    yield params
    for lr in rates:
        if create_graph and activation_checkpointing:
            step = partial(_step, loss, lr, tuple(params))
            params = dict(zip(params, recomputed(step, *params.values()), strict=True))
        else:
            params = _moved(loss, params, lr, create_graph, learning)
        yield params


def _moved(
    loss: Loss, params: Params, lr: Rate, create_graph: bool, learning: bool = True
) -> Params:
    """Take one step, phi - alpha o grad L(phi)."""
    grads = torch.autograd.grad(
        loss(params).sum(),
        list(params.values()),
        create_graph=create_graph,
        materialize_grads=True,  # a network may own parameters it does not use
    )
    moves = zip(params.items(), grads, strict=True)
    if not (learning or create_graph or isinstance(lr, Mapping | Tensor)) and _writable(grads):
        with torch.no_grad():  # phi takes the gradient's memory: new pages cost more than the sum
            phi = {k: torch.sub(p, g, alpha=lr, out=g) for (k, p), g in moves}
        return {k: p.requires_grad_() for k, p in phi.items()}
    if isinstance(lr, Mapping):
        return {k: p - lr[k] * g for (k, p), g in moves}
    if isinstance(lr, Tensor):
        return {k: p - lr * g for (k, p), g in moves}
    return {k: torch.sub(p, g, alpha=lr) for (k, p), g in moves}  # in one kernel


def _writable(grads: Sequence[Tensor]) -> bool:
    """Whether no number of them is another one as well; those of a trace have no memory."""
    return all(type(g) is Tensor and 0 not in g.stride() for g in grads) and len(
        {g.data_ptr() for g in grads}
    ) == len(grads)


def _step(loss: Loss, lr: Rate, names: tuple[str, ...], *values: Tensor) -> tuple[Tensor, ...]:
    """Take one of second order, from tensors to tensors."""
    params = dict(zip(names, values, strict=True))
    return tuple(_moved(loss, params, lr, create_graph=True).values())


def descend(
    loss: Loss, params: Params, lr: Rate, steps: int, *, create_graph: bool = False
) -> Params:
    """Where :func:`descent` arrives after some steps of the same rate.

    Parameters
    ----------
    loss : callable
        From parameters to one loss a task, of shape (*B,).
    params : dict of Tensor of shape (*B, ...)
        Where to start, a copy for each task.
    lr : float, Tensor, or dict of Tensor
        The step.
    steps : int
        How many.
    create_graph : bool, default=False
        Second order, as in :func:`descent`.

    Returns
    -------
    params : dict of Tensor of shape (*B, ...)
        New tensors; the ones given stay as they are.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import descend
    >>> descend(lambda p: p["w"].square(), {"w": torch.tensor(1.0)}, lr=0.25, steps=2)["w"].item()
    0.25
    """
    for arrived in descent(loss, params, repeat(lr, steps), create_graph=create_graph):
        phi = arrived
    return phi


def minimise(
    loss: Loss,
    params: Params,
    optimizer: Optimizer,
    steps: int,
    **options: Any,
) -> Params:
    """Walk down by one of torch's optimisers, its state new for each task; not differentiable.

    Parameters
    ----------
    loss : callable
        From parameters to one loss a task, of shape (*B,).
    params : dict of Tensor of shape (*B, ...)
        Where to start, a copy for each task.
    optimizer : callable
        Makes one that treats each number by itself, so that tasks stay apart: :func:`adam`, or
        ``torch.optim.SGD``.
    steps : int
        How many.
    **options : dict
        Of the optimiser, such as ``lr``; it must know ``fused``.

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
    # fused kernels go through memory in its own order: numbers and gradients must lie alike
    phi = {k: p.detach().clone(memory_format=torch.contiguous_format) for k, p in params.items()}
    phi = {k: p.requires_grad_() for k, p in phi.items()}
    # one kernel: small steps are mostly overhead
    moves = optimizer(list(phi.values()), fused=True, **options)
    for _ in range(steps):
        grads = torch.autograd.grad(loss(phi).sum(), list(phi.values()), materialize_grads=True)
        for p, g in zip(phi.values(), grads, strict=True):
            p.grad = g.contiguous()
        moves.step()
    return {k: p.detach() for k, p in phi.items()}


def adam(params: list[Tensor], **options: Any) -> torch.optim.Adam:
    """Make an Adam that does not walk on rounding errors.

    A step divides by sqrt(v) + eps. A gradient that is zero in theory, as that of a backbone under
    an output layer whose rows are all equal, is a rounding error in practice, in float32 of about
    torch's eps of 1e-8: it would become a step of full length in a direction of chance. Here eps is
    1e-3 in any precision, so that float32 and float64 walk the same way.

    Parameters
    ----------
    params : list of Tensor
        All of one type.
    **options : dict
        Of :class:`torch.optim.Adam`.

    Returns
    -------
    torch.optim.Adam
        Its state is zero.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import adam
    >>> adam([torch.zeros(1)], lr=0.1).defaults["eps"]
    0.001
    """
    return torch.optim.Adam(params, **({"eps": 1e-3} | options))
