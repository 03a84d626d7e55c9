"""Activation checkpointing that supports gradients of gradients."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sklearn_meta.functional.generators import (
    Generators,
    GeneratorsState,
    current_generators,
    seeded,
)
from sklearn_meta.functional.params import Params

__all__ = ["checkpointed", "in_chunks"]

T = TypeVar("T")


def checkpointed(function: Callable[[Params], T], params: Params) -> T:
    """Call a function, and free what its graph has saved until the backward pass needs it.

    The graph itself stays, so that gradients also reach tensors that the function uses without
    having them as arguments; the parameters stay as well. The backward pass calls the function a
    second time when it first needs a saved tensor.

    Parameters
    ----------
    function : callable
        Maps parameters to tensors, in any structure. It may take gradients with
        ``create_graph=True``, and must do the same when it is called again (what it draws within
        :func:`~sklearn_meta.functional.generators.drawing`, it draws again).
    params : dict of Tensor
        The argument of the function.

    Returns
    -------
    object
        The result of the function.

    Notes
    -----
    :func:`torch.utils.checkpoint.checkpoint` is for functions that take no gradients: a gradient
    with ``create_graph=True`` makes it repeat the function at once and keep the result.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import checkpointed, gradient
    >>> def slope(p):
    ...     return gradient(lambda q: q["x"].pow(3), p, create_graph=True)["x"]
    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> y = checkpointed(slope, {"x": x})
    >>> y.item(), torch.autograd.grad(y, x)[0].item()
    (12.0, 12.0)
    """
    generators = current_generators()
    call, before, n_draws = _Call(function, params), generators.state(), generators.n_draws
    try:
        with torch.autograd.graph.saved_tensors_hooks(call.save, _Saved.get):
            return function(params)
    finally:
        if generators.n_draws > n_draws:
            call.generators = before
        for saved in call.alive():
            if saved is not None:
                saved.tensor = None


class _Saved:
    """A tensor that a node of the graph has saved; None while it is freed.

    The node owns it, and it owns the call, so that nothing outlives the graph.
    """

    __slots__ = ("__weakref__", "call", "tensor")

    def __init__(self, tensor: Tensor, call: _Call) -> None:
        self.tensor: Tensor | None = tensor
        self.call = call

    def get(self) -> Tensor:
        """Return the tensor, and repeat the call if it was freed."""
        if self.tensor is None:
            self.call.repeat()
        assert self.tensor is not None
        return self.tensor


class _Call:
    """A call of a function that can be repeated."""

    def __init__(self, function: Callable[[Params], Any], params: Params) -> None:
        self.function = function
        # without their graph, or each call would keep the previous one alive
        self.params = {k: (p.detach(), p.requires_grad) for k, p in params.items()}
        self.saved: list[weakref.ref[_Saved]] = []
        self.generators: GeneratorsState | None = None

    def save(self, tensor: Tensor) -> _Saved:
        """Save the tensor of a node, detached because its graph would keep it alive."""
        saved = _Saved(tensor.detach(), self)
        self.saved.append(weakref.ref(saved))
        return saved

    def alive(self) -> Iterator[_Saved | None]:
        """Iterate over what was saved, in order; None where the node is gone."""
        return (reference() for reference in self.saved)

    def repeat(self) -> None:
        """Call again, and store what is saved this time where it was saved the first time."""
        slots = self.alive()

        def fill(tensor: Tensor) -> Tensor:
            tensor = tensor.detach()
            slot = next(slots, None)
            if slot is not None:
                slot.tensor = tensor
            return tensor

        params = {k: p.detach().requires_grad_(grad) for k, (p, grad) in self.params.items()}
        again: Any = torch.autograd.graph.saved_tensors_hooks(fill, lambda tensor: tensor)
        with self._same_draws(), torch.enable_grad(), again:
            self.function(params)

    def _same_draws(self) -> AbstractContextManager[Any]:
        if self.generators is None:  # nothing was drawn
            return nullcontext()
        return seeded(Generators(self.generators.seed).restore(self.generators))


def in_chunks(
    function: Callable[..., tuple[Tensor, ...]], chunk_size: int | None, *rows: Tensor
) -> tuple[Tensor, ...]:
    """Apply a function of rows to a part of them at a time, so that memory is bounded.

    Where a graph is built, a chunk keeps only its inputs and is computed again in the backward
    pass. If all rows fit into one chunk, the function is called directly and keeps everything.

    Parameters
    ----------
    function : callable
        Maps tensors (N, ...) to a tuple of tensors (N, ...), each row by itself.
    chunk_size : int or None
        Number of rows at a time; None: all.
    *rows : Tensor of shape (N, ...)
        Arguments of the function.

    Returns
    -------
    tuple of Tensor of shape (N, ...)
        The result of the function for all rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import in_chunks
    >>> in_chunks(lambda x: (2 * x,), 2, torch.arange(5))
    (tensor([0, 2, 4, 6, 8]),)
    """
    if chunk_size is None or len(rows[0]) <= chunk_size:
        return function(*rows)
    parts = [
        checkpoint(function, *chunk, use_reentrant=False, preserve_rng_state=False)
        for chunk in zip(*(t.split(chunk_size) for t in rows), strict=True)
    ]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))
