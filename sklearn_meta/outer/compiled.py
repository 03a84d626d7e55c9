"""`compile=True`: losses and meta-gradient as one compiled graph, and when there is one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_meta._compat import compile_traced
from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import Algorithm, Examples, pad
from sklearn_meta.nn.backbone import Network
from sklearn_meta.outer.meta_gradient import Gradient, gradient

__all__ = ["MAX_GRAPHS", "CompiledGradient"]

MAX_GRAPHS = 8  # a run: each takes half a minute to compile
MAX_WASTE = 2.0  # numbers that a padded episode may have, as a multiple of its own

Sizes = tuple[int, int, int]  # rows of support, rows of query, columns of y


@dataclass(frozen=True)
class Graph:
    """A compiled meta-gradient of episodes of one size.

    Attributes
    ----------
    kind : tuple
        What must be equal for it to serve: algorithm, number of tasks, shape of a row, dtype.
    sizes : (int, int, int)
        Rows of support and of query, and columns of y: what smaller episodes are padded to.
    run : callable
        From theta and an episode, flat, to the losses and the gradients that are not None.
    depends : tuple of str
        The parameters that those belong to.
    """

    kind: tuple[Any, ...]
    sizes: Sizes
    run: Callable[..., Any]
    depends: tuple[str, ...]

    def waste(self, sizes: Sizes) -> float:
        """Rows that it goes through for each row of an episode of these sizes."""
        return (self.sizes[0] + self.sizes[1]) / (sizes[0] + sizes[1])

    def __call__(
        self, theta: Params, support: Examples, query: Examples
    ) -> tuple[Tensor, Gradient]:
        """Run it on episodes, padded to its sizes."""
        n_support, n_query, width = self.sizes
        episode = *pad(support, n_support, width), *pad(query, n_query, width)
        with torch.no_grad():  # strides are part of what was compiled
            losses, *grads = self.run(*theta.values(), *(t.contiguous() for t in episode))
        known = dict(zip(self.depends, grads, strict=True))
        return losses, {k: known.get(k) for k in theta}


class CompiledGradient:
    """Losses and meta-gradient of a meta-batch, compiled for the sizes of episodes that come.

    Parameters
    ----------
    padding : bool
        Whether episodes may be padded to the sizes of another graph.

    Notes
    -----
    Episodes go to the smallest graph that holds them, padded. If there is none, or it would go
    through more than `MAX_WASTE` times their rows, one is compiled for them, until there are
    `MAX_GRAPHS`; what then fits none runs uncompiled. So does the first iteration, and an algorithm
    that is another one in every iteration, as MAML++ while it anneals.
    """

    def __init__(self, *, padding: bool) -> None:
        self.padding = padding
        self.graphs: list[Graph] = []
        self.broken = False  # there is no compiler, or it fails
        self._last: Algorithm | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"graphs": []}  # code of this process

    def __call__(
        self, algorithm: Algorithm, f: Network, theta: Params, support: Examples, query: Examples
    ) -> tuple[Tensor, Gradient]:
        """Losses (B,) and the gradient of their sum with respect to theta.

        Parameters
        ----------
        algorithm : Algorithm
            The meta-learner, at its progress.
        f : Network
            The backbone; always the same.
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
        kind = (algorithm, len(support.X), support.X.shape[2:], support.X.dtype)
        sizes = (support.X.shape[1], query.X.shape[1], query.y.shape[-1])
        graph = self._that_holds(kind, sizes)
        settled, self._last = algorithm == self._last, algorithm
        room = len(self.graphs) < MAX_GRAPHS and not self.broken
        if room and settled and (graph is None or graph.waste(sizes) > MAX_WASTE):
            graph = self._compile(kind, algorithm, f, theta, support, query) or graph
        if graph is None:
            return gradient(partial(algorithm.objective, f), theta, support, query)
        return graph(theta, support, query)

    def _that_holds(self, kind: tuple[Any, ...], sizes: Sizes) -> Graph | None:
        """Give the graph that wastes least on episodes of these sizes."""
        same = [graph for graph in self.graphs if graph.kind == kind]
        if self.padding:
            hold = [graph for graph in same if np.greater_equal(graph.sizes, sizes).all()]
        else:
            hold = [graph for graph in same if graph.sizes == sizes]
        return min(hold, key=lambda graph: graph.waste(sizes), default=None)

    def _compile(
        self,
        kind: tuple[Any, ...],
        algorithm: Algorithm,
        f: Network,
        theta: Params,
        support: Examples,
        query: Examples,
    ) -> Graph | None:
        """Add a graph; where that fails, warn once and add none from now on."""
        names = list(theta)
        depends: list[str] = []

        def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
            here = {k: t.detach().requires_grad_() for k, t in zip(names, tensors, strict=False)}
            episode = Examples(*tensors[-6:-3]), Examples(*tensors[-3:])
            losses, grads = gradient(partial(algorithm.objective, f), here, *episode)
            there = {k: g for k, g in grads.items() if g is not None}
            depends[:] = there
            return losses, *there.values()

        args = [*(p.detach() for p in theta.values()), *support, *query]
        try:
            run = compile_traced(flat, [t.contiguous() for t in args])
        except Exception as error:  # a compiler may raise anything
            self.broken = True
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"compile=True: {type(algorithm).__name__} could not be compiled and goes on "
                f"without: {why}",
                RuntimeWarning,
                stacklevel=2,
            )
            return None
        sizes = (support.X.shape[1], query.X.shape[1], query.y.shape[-1])
        self.graphs.append(Graph(kind, sizes, run, tuple(depends)))
        return self.graphs[-1]
