"""Time for memory: a graph that keeps no numbers, and works them out again when they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from sklearn_meta.functional.generators import (
    Generators,
    GeneratorsState,
    current_generators,
    seeded,
)

__all__ = ["recomputed"]

Function = Callable[..., tuple[Tensor, ...]]


def recomputed(function: Function, *args: Tensor) -> tuple[Tensor, ...]:
    """Call a function, and let its graph forget what it has saved until the backward pass.

    The graph itself stays, so that gradients also reach the tensors which the function has from
    elsewhere; its arguments stay as well. The backward pass calls the function a second time, when
    it first needs a number of it.

    Parameters
    ----------
    function : callable
        From tensors to a tuple of tensors. It may take gradients with ``create_graph=True``, and
        must do the same when it is called again (what it draws within
        :func:`~sklearn_meta.functional.generators.drawing`, it draws again).
    *args : Tensor
        Its arguments.

    Returns
    -------
    tuple of Tensor
        What it gives.

    Notes
    -----
    :func:`torch.utils.checkpoint.checkpoint` is for functions that take no gradients: a gradient
    with ``create_graph=True`` makes it repeat the function at once, and keep what it has repeated.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import recomputed
    >>> def slope(x):
    ...     return torch.autograd.grad(x.pow(3), x, create_graph=True)
    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> (y,) = recomputed(slope, x)
    >>> y.item(), torch.autograd.grad(y, x)[0].item()
    (12.0, 12.0)
    """
    generators = current_generators()
    call, before, n_draws = _Call(function, args), generators.state(), generators.n_draws
    try:
        with torch.autograd.graph.saved_tensors_hooks(call.save, _Saved.get):
            return function(*args)
    finally:
        if generators.n_draws > n_draws:
            call.generators = before
        for saved in call.still_there():
            if saved is not None:
                saved.tensor = None


class _Saved:
    """A tensor that a node of the graph has saved; None while it is forgotten.

    The node owns it, and it owns the call: nothing here outlives the graph.
    """

    __slots__ = ("__weakref__", "call", "tensor")

    def __init__(self, tensor: Tensor, call: _Call) -> None:
        self.tensor: Tensor | None = tensor
        self.call = call

    def get(self) -> Tensor:
        """Give the tensor, if need be by repeating the call."""
        if self.tensor is None:
            self.call.repeat()
        assert self.tensor is not None
        return self.tensor


class _Call:
    """A call of a function, ready to be repeated."""

    def __init__(self, function: Function, args: tuple[Tensor, ...]) -> None:
        self.function = function
        self.args = [(a.detach(), a.requires_grad) for a in args]  # or each call would keep the
        self.saved: list[weakref.ref[_Saved]] = []  # one before it alive
        self.generators: GeneratorsState | None = None

    def save(self, tensor: Tensor) -> _Saved:
        """Take a tensor from a node; with its graph it would keep itself alive."""
        saved = _Saved(tensor.detach(), self)
        self.saved.append(weakref.ref(saved))
        return saved

    def still_there(self) -> Iterator[_Saved | None]:
        """Go through what was saved, in order; None where the node is gone."""
        return (reference() for reference in self.saved)

    def repeat(self) -> None:
        """Call again, and put what is saved this time where it was saved the first time."""
        places = self.still_there()

        def fill(tensor: Tensor) -> Tensor:
            tensor = tensor.detach()
            place = next(places, None)
            if place is not None:
                place.tensor = tensor
            return tensor

        args = [a.detach().requires_grad_(asked) for a, asked in self.args]
        again: Any = torch.autograd.graph.saved_tensors_hooks(fill, lambda tensor: tensor)
        with self._same_draws(), torch.enable_grad(), again:
            self.function(*args)

    def _same_draws(self) -> AbstractContextManager[Any]:
        if self.generators is None:  # nothing was drawn
            return nullcontext()
        return seeded(Generators(self.generators.seed).restore(self.generators))
