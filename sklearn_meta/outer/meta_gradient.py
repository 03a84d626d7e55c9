"""Losses of a meta-batch whose gradient is known already, and how to get both chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import Examples

__all__ = ["Gradient", "chunks", "gradient", "meta_gradient", "with_meta_gradient"]

Objective = Callable[[Params, Examples, Examples], Tensor]
Gradient = dict[str, Tensor | None]  # None: the losses do not depend on it
Part = Callable[[Params, Examples, Examples], tuple[Tensor, Gradient]]


class _Known(torch.autograd.Function):
    """The losses of a meta-batch; the gradient of their sum was worked out before."""

    @staticmethod
    def forward(ctx: Any, losses: Tensor, grads: list[Tensor | None], *theta: Tensor) -> Tensor:
        """Give the losses as they are."""
        ctx.grads = grads
        return losses.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Scale the gradient: what is asked for is that of the mean over tasks, or a multiple."""
        share = upstream[0].mean()
        return None, None, *(None if g is None else g * share for g in ctx.grads)


def with_meta_gradient(theta: Params, losses: Tensor, grads: Gradient) -> Tensor:
    """Give the losses of a meta-batch the gradient `grads` of their sum with respect to theta.

    Parameters
    ----------
    theta : dict of Tensor
        Meta-parameters, leaves.
    losses : Tensor of shape (B,)
        One value a task; what it depends on does not matter.
    grads : dict of Tensor or None
        d(sum of losses) / d theta; None where they do not depend on it.

    Returns
    -------
    losses : Tensor of shape (B,)
        The same, for a criterion that counts all tasks alike: what comes back to the losses must
        be one number for all of them, as the outer loop's mean gives (its average is taken).

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.outer.meta_gradient import with_meta_gradient
    >>> w = torch.tensor(3.0, requires_grad=True)
    >>> losses = with_meta_gradient({"w": w}, torch.tensor([1.0, 3.0]), {"w": torch.tensor(8.0)})
    >>> losses.mean().item(), torch.autograd.grad(losses.mean(), w)[0].item()
    (2.0, 4.0)
    """
    return _Known.apply(losses.detach(), [grads[k] for k in theta], *theta.values())


def chunks(support: Examples, query: Examples, size: int) -> Iterator[tuple[Examples, Examples]]:
    """Cut a stack of tasks into stacks of `size` of them; the last may be smaller.

    Parameters
    ----------
    support, query : Examples
        Of a stack of tasks (B,).
    size : int
        Tasks a chunk.

    Yields
    ------
    support, query : Examples
        Of a stack of at most `size` tasks, views.
    """
    for begin in range(0, len(support.weight), size):
        now = slice(begin, begin + size)
        yield Examples(*(t[now] for t in support)), Examples(*(t[now] for t in query))


def gradient(
    objective: Objective, theta: Params, support: Examples, query: Examples
) -> tuple[Tensor, Gradient]:
    """Losses of a stack of tasks and the gradient of their sum.

    Parameters
    ----------
    objective : callable
        From theta, support and query of a stack of tasks to one loss a task.
    theta : dict of Tensor
        Meta-parameters, leaves.
    support, query : Examples
        Of a stack of tasks (B,).

    Returns
    -------
    losses : Tensor of shape (B,)
        Without a graph.
    grads : dict of Tensor or None
        d(sum of losses) / d theta; None where they do not depend on it.
    """
    losses = objective(theta, support, query)
    grads = torch.autograd.grad(losses.sum(), list(theta.values()), allow_unused=True)
    return losses.detach(), dict(zip(theta, grads, strict=True))


def meta_gradient(
    part: Part, theta: Params, support: Examples, query: Examples, size: int
) -> tuple[Tensor, Gradient]:
    """Losses of a meta-batch and the gradient of their sum, with the graph of one chunk at a time.

    Parameters
    ----------
    part : callable
        From theta, support and query of a chunk to its losses and the gradient of their sum.
    theta : dict of Tensor
        Meta-parameters, leaves.
    support, query : Examples
        Of a stack of tasks (B,).
    size : int
        Tasks a chunk.

    Returns
    -------
    losses : Tensor of shape (B,)
        Without a graph.
    grads : dict of Tensor or None
        d(sum of losses) / d theta; None where they do not depend on it.
    """
    losses: list[Tensor] = []
    total: Gradient = dict.fromkeys(theta)
    for some_support, some_query in chunks(support, query, size):
        its_losses, grads = part(theta, some_support, some_query)
        losses.append(its_losses)
        for k, before in total.items():
            g = grads[k]
            total[k] = g if before is None else before if g is None else before + g
    return torch.cat(losses), total
