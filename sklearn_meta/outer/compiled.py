"""The meta-gradient of a stack of tasks, plain or compiled (`compile=True`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_meta._compat import compile_traced
from sklearn_meta._warnings import warn
from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import Algorithm, Examples, pad
from sklearn_meta.nn.backbone import RowNetwork, WithConstants, cast_like

__all__ = ["MAX_GRAPHS", "MAX_WASTE", "CompiledGradient", "Gradient", "gradient"]

Gradient = dict[str, Tensor | None]  # None: the losses do not depend on the parameter
Sizes = tuple[int, int, int]  # rows of support, rows of query, columns of y

MAX_GRAPHS = 8  # of a run: each takes half a minute to compile
MAX_WASTE = 2.0  # rows of a padded episode, as a multiple of its real rows


def gradient(
    objective: Callable[[Params, Examples, Examples], Tensor],
    theta: Params,
    support: Examples,
    query: Examples,
) -> tuple[Tensor, Gradient]:
    """Return the losses (B,) of a stack of tasks, detached, and the gradient of their sum."""
    losses = objective(theta, support, query)
    grads = torch.autograd.grad(losses.sum(), list(theta.values()), allow_unused=True)
    return losses.detach(), dict(zip(theta, grads, strict=True))


@dataclass(frozen=True)
class Graph:
    """The compiled meta-gradient of episodes of one size."""

    key: tuple[Any, ...]  # must be equal: algorithm, number of tasks, shape of a row, dtype
    sizes: Sizes  # that smaller episodes are padded to
    run: Callable[..., Any]  # (theta, constants, episode), flat -> losses, gradients but for None
    dependencies: tuple[str, ...]  # the parameters of these gradients
    constants: tuple[Tensor, ...]  # of the network

    def waste(self, sizes: Sizes) -> float:
        """Return the rows that it computes for each row of an episode of these sizes."""
        return (self.sizes[0] + self.sizes[1]) / (sizes[0] + sizes[1])

    def __call__(
        self, theta: Params, support: Examples, query: Examples
    ) -> tuple[Tensor, Gradient]:
        """Pad episodes to its sizes and compute losses and gradient."""
        n_support, n_query, width = self.sizes
        episode = *pad(support, n_support, width), *pad(query, n_query, width)
        with torch.no_grad():  # the strides are part of what was compiled
            tensors = (*theta.values(), *self.constants, *(t.contiguous() for t in episode))
            losses, *values = self.run(*tensors)
        grads = dict(zip(self.dependencies, values, strict=True))
        return losses, {k: grads.get(k) for k in theta}


class CompiledGradient:
    """Losses and meta-gradient, compiled for the sizes of episodes that occur.

    Episodes go to the smallest graph that holds them, padded. If there is none, or it would compute
    more than `MAX_WASTE` times their rows, one is compiled for them, up to `MAX_GRAPHS`; other
    episodes run uncompiled. So do the first iteration and an algorithm that changes in every
    iteration, as MAML++ does while it anneals.
    """

    def __init__(self, *, padding: bool) -> None:
        self.padding = padding  # whether episodes may be padded to the sizes of another graph
        self.graphs: list[Graph] = []
        self.is_broken = False  # there is no compiler, or it fails
        self._previous: Algorithm | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"graphs": []}  # code of this process

    def __call__(
        self, algorithm: Algorithm, f: RowNetwork, theta: Params, support: Examples, query: Examples
    ) -> tuple[Tensor, Gradient]:
        """Return losses (B,) and the gradient of their sum; `f` is always the same."""
        key = (algorithm, len(support.X), support.X.shape[2:], support.X.dtype)
        sizes = (support.X.shape[1], query.X.shape[1], query.y.shape[-1])
        graph = self._best_graph(key, sizes)
        is_settled, self._previous = algorithm == self._previous, algorithm
        may_compile = len(self.graphs) < MAX_GRAPHS and not self.is_broken and is_settled
        if may_compile and (graph is None or graph.waste(sizes) > MAX_WASTE):
            graph = self._compile(key, sizes, algorithm, f, theta, support, query) or graph
        if graph is None:
            return gradient(partial(algorithm.objective, f), theta, support, query)
        return graph(theta, support, query)

    def _best_graph(self, key: tuple[Any, ...], sizes: Sizes) -> Graph | None:
        same = [graph for graph in self.graphs if graph.key == key]
        if self.padding:
            fitting = [graph for graph in same if np.greater_equal(graph.sizes, sizes).all()]
        else:
            fitting = [graph for graph in same if graph.sizes == sizes]
        return min(fitting, key=lambda graph: graph.waste(sizes), default=None)

    def _compile(
        self,
        key: tuple[Any, ...],
        sizes: Sizes,
        algorithm: Algorithm,
        f: RowNetwork,
        theta: Params,
        support: Examples,
        query: Examples,
    ) -> Graph | None:
        """Compile a graph; where that fails, warn once and compile none from then on."""
        names, constants = list(theta), cast_like(f.constants, support.X)
        dependencies: list[str] = []

        def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
            leaves = {k: t.detach().requires_grad_() for k, t in zip(names, tensors, strict=False)}
            episode = Examples(*tensors[-6:-3]), Examples(*tensors[-3:])
            network = WithConstants(f, dict(zip(constants, tensors[len(names) : -6], strict=True)))
            losses, grads = gradient(partial(algorithm.objective, network), leaves, *episode)
            defined = {k: g for k, g in grads.items() if g is not None}
            dependencies[:] = defined
            return losses, *defined.values()

        args = [*(p.detach() for p in theta.values()), *constants.values(), *support, *query]
        try:
            run = compile_traced(flat, [t.contiguous() for t in args])
        except Exception as error:  # a compiler may raise anything
            self.is_broken = True
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warn(
                f"compile=True: {type(algorithm).__name__} could not be compiled and goes on "
                f"without: {reason}",
                RuntimeWarning,
            )
            return None
        of_network = tuple(t.contiguous() for t in constants.values())
        self.graphs.append(Graph(key, sizes, run, tuple(dependencies), of_network))
        return self.graphs[-1]
