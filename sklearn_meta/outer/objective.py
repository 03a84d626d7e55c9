"""The meta-objective as torch and skorch see it: a module from an episode to one loss per task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_meta.functional import Params
from sklearn_meta.functional.generators import in_training
from sklearn_meta.inner.algorithm import Algorithm, Examples
from sklearn_meta.nn.backbone import RowNetwork
from sklearn_meta.outer.class_weights import ClassWeights
from sklearn_meta.outer.compiled import CompiledGradient, Gradient, gradient
from sklearn_meta.outer.ranks import ALONE, Ranks
from sklearn_meta.outer.scaling import standardise_tasks

__all__ = [
    "EpisodicModule",
    "HalfNetwork",
    "MeanOverTasks",
    "float32_products",
    "meta_gradient",
    "with_meta_gradient",
]

ChunkGradient = Callable[[Params, Examples, Examples], tuple[Tensor, Gradient]]


class EpisodicModule(nn.Module):
    """Theta as torch parameters, and the loss of each task of a meta-batch."""

    def __init__(
        self,
        algorithm: Algorithm,
        f: RowNetwork,
        theta: Params,  # at the beginning of the outer loop
        scale_tasks: tuple[bool, bool],  # standardise inputs, targets by the support of each task
        progress: Callable[[], float],  # share of meta-training that is finished
        chunk: int | None = None,  # tasks that are stacked at once; None: all
        compiled: CompiledGradient | None = None,
        class_weights: ClassWeights | None = None,
        of_tasks: Params | None = None,  # (n_tasks, ...), of each task of meta-training
        ranks: Ranks = ALONE,  # among which the tasks of a meta-batch are divided
    ) -> None:
        super().__init__()
        self.ranks = ranks
        self.algorithm, self.f, self.scale_tasks = algorithm, f, scale_tasks
        self.progress, self.chunk, self.compiled = progress, chunk, compiled
        self.class_weights = class_weights
        self.zero_loss = 0.0  # of predicting zeros, on the first meta-batch
        self._names = {k: k.replace(".", "/") for k in theta}  # torch allows no dots
        for k, p in theta.items():
            self.register_parameter(self._names[k], nn.Parameter(p.clone()))
        self._names_of_tasks = {k: k.replace(".", "/") for k in of_tasks or {}}
        for k, p in (of_tasks or {}).items():
            self.register_parameter(self._names_of_tasks[k], nn.Parameter(p.clone()))

    def of_tasks(self) -> Params:
        """Return the parameters of each task of meta-training by their names, (n_tasks, ...)."""
        return {k: getattr(self, name) for k, name in self._names_of_tasks.items()}

    def theta(self) -> Params:
        """Return the meta-parameters by their names."""
        return {k: getattr(self, name) for k, name in self._names.items()}

    def diagnostics(self, batch: tuple[Tensor, ...]) -> dict[str, float]:
        """Return the mean of the algorithm's diagnostics over the first chunk of tasks, if any."""
        support, query, _ = self._episode(batch)
        if len(query.y) == 0:
            return {}
        support, query = next(chunks(support, query, self.chunk or len(query.y)))
        algorithm = self.algorithm.at(self.progress())
        values = algorithm.diagnostics(self.f, self.theta(), support, query)
        return {name: float(value.mean()) for name, value in values.items()}

    def _episode(self, batch: tuple[Tensor, ...]) -> tuple[Examples, Examples, Tensor]:
        """Return standardised support and query of the tasks of this rank, and all tasks (B,)."""
        *tensors, tasks = (t[0] for t in batch)
        support, query = Examples(*tensors[:3]), Examples(*tensors[3:])
        if self.scale_tasks[0]:
            Xs, Xq = standardise_tasks(support.X, query.X, support.weight)
            support, query = support._replace(X=Xs), query._replace(X=Xq)
        if self.scale_tasks[1]:
            ys, yq = standardise_tasks(support.y, query.y, support.weight)
            support, query = support._replace(y=ys), query._replace(y=yq)
        if self.class_weights is not None:
            support, query = self.class_weights(support), self.class_weights(query)
        return support, query, tasks

    def forward(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Return the objective of each task (B,); in validation the meta-loss."""
        support, query, tasks = self._episode(batch)
        theta, size = self.theta(), self.chunk or max(len(query.y), 1)
        if self.training:
            if self.progress() == 0:
                self.zero_loss = float(self._of_all(self._losses_of_zeros(query), tasks).mean())
            algorithm = self.algorithm.at(self.progress())
            objective = partial(algorithm.objective, self.f)
            theta, of_tasks = self._with_tasks(theta, tasks)
            with in_training():
                if self.compiled is not None:
                    chunk_gradient = partial(self.compiled, algorithm, self.f)
                elif size < len(tasks) or self.ranks.size > 1:
                    chunk_gradient = partial(gradient, objective)
                else:
                    return objective(theta | of_tasks, support, query)
                own = {k: p[self.ranks.part(len(tasks))] for k, p in of_tasks.items()}
                losses, grads = meta_gradient(chunk_gradient, theta, support, query, size, own)
            losses, grads = sum_over_ranks(self.ranks, losses, grads, theta, of_tasks, len(tasks))
            return with_meta_gradient(theta | of_tasks, losses, grads)
        theta = {k: p.detach() for k, p in theta.items()}  # no graph through theta
        parts = [query.weight.new_zeros(0)]  # a rank may have no task
        with torch.enable_grad():  # the inner loop needs gradients in validation too
            for part in chunks(support, query, size):
                parts.append(self.algorithm.loss(self.f, theta, *part).detach())
        return self._of_all(torch.cat(parts), tasks)

    def _of_all(self, losses: Tensor, tasks: Tensor) -> Tensor:
        """Return the losses of all tasks, given those of this rank."""
        return self.ranks.sum(self.ranks.place(losses, len(tasks)))[0]

    def start_as_on_first_rank(self) -> None:
        """Take theta and the constants of the network of rank 0, where a module has its own."""
        if self.ranks.size > 1:
            start = self.state_dict(), self.f.constants
            theta, constants = self.ranks.from_first(
                tuple({k: p.cpu() for k, p in params.items()} for params in start)
            )
            self.load_state_dict(theta)
            self.f.set_constants(constants)

    def n_numbers(self, n_tasks: int) -> int:
        """Count the numbers that `sum_over_ranks` sends for a meta-batch."""
        tasks = torch.zeros(n_tasks, dtype=torch.long, device=next(self.parameters()).device)
        theta, of_tasks = self._with_tasks(self.theta(), tasks)
        params = *theta.values(), *of_tasks.values()
        return n_tasks + len(params) + sum(p.numel() for p in params)

    def _with_tasks(self, theta: Params, tasks: Tensor) -> tuple[Params, Params]:
        """Return theta, and the parameters of tasks (B, ...); those of a single task join it."""
        of_tasks = self.of_tasks()
        if all(len(p) == 1 for p in of_tasks.values()):
            return theta | {k: p[0] for k, p in of_tasks.items()}, {}
        return theta, {k: p.index_select(0, tasks) for k, p in of_tasks.items()}

    def tune(self, batches: Iterable[tuple[tuple[Tensor, ...], Tensor]]) -> None:
        """Let the algorithm choose a part of theta, and of what tasks have, by episodes."""
        params = self.theta() | self.of_tasks()
        stacks = (self._episode(batch) for batch, _ in batches)
        episodes = (part for s, q, _ in stacks for part in chunks(s, q, self.chunk or len(q.y)))
        tuned = self.algorithm.tune(self.f, {k: p.detach() for k, p in params.items()}, episodes)
        with torch.no_grad():
            for k, p in tuned.items():
                params[k].copy_(p)

    def predict(self, batch: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield outputs for queries, their targets and weights, some tasks at a time."""
        theta = {k: p.detach() for k, p in self.theta().items()}
        support, query, _ = self._episode(batch)
        for part, (X, y, weight) in chunks(support, query, self.chunk or max(len(query.y), 1)):
            with torch.enable_grad():
                phi = self.algorithm.adapt(self.f, theta, part)
            with torch.no_grad():
                yield self.algorithm.predict(self.f, theta, phi, X), y, weight

    def _losses_of_zeros(self, query: Examples) -> Tensor:
        """Return the losses of zeros; one task at a time, as y may have very many columns."""
        losses = query.weight.new_zeros(len(query.weight))
        for i, (y, weight) in enumerate(zip(query.y, query.weight, strict=True)):
            losses[i] = self.algorithm.criterion(torch.zeros_like(y), y, weight)
        return losses


class MeanOverTasks(nn.Module):
    """The meta-objective E_T L, as the criterion of skorch's net."""

    def forward(self, losses: Tensor, _: Tensor) -> Tensor:
        """Average the losses of the tasks."""
        return losses.mean()


# ---- the meta-gradient by chunks -------------------------------------------------------------


def chunks(support: Examples, query: Examples, size: int) -> Iterator[tuple[Examples, Examples]]:
    """Split a stack of tasks into stacks of `size` tasks; the last may be smaller."""
    for begin in range(0, len(support.weight), size):
        part = slice(begin, begin + size)
        yield Examples(*(t[part] for t in support)), Examples(*(t[part] for t in query))


def meta_gradient(
    chunk_gradient: ChunkGradient,
    theta: Params,
    support: Examples,
    query: Examples,
    size: int,
    of_tasks: Params,  # (B, ...)
) -> tuple[Tensor, Gradient]:
    """Return losses (B,) and the gradient of their sum, with the graph of one chunk at a time."""
    losses = [query.weight.new_zeros(0)]  # a rank may have no task
    total: Gradient = dict.fromkeys(theta)
    parts = {k: [p[:0].detach()] for k, p in of_tasks.items()}
    for begin, chunk in enumerate(chunks(support, query, size)):
        rows = slice(begin * size, (begin + 1) * size)
        of_chunk = {k: p[rows] for k, p in of_tasks.items()}
        chunk_losses, grads = chunk_gradient(theta | of_chunk, *chunk)
        losses.append(chunk_losses)
        for k, g in grads.items():
            if k in parts:
                parts[k].append(torch.zeros_like(of_chunk[k]) if g is None else g)
            elif g is not None:
                total[k] = g if (before := total[k]) is None else before + g
    return torch.cat(losses), total | {k: torch.cat(grads) for k, grads in parts.items()}


def sum_over_ranks(
    ranks: Ranks,
    losses: Tensor,  # of the tasks of this rank
    grads: Gradient,  # of their sum
    theta: Params,
    of_tasks: Params,  # (B, ...), of all tasks
    n_tasks: int,
) -> tuple[Tensor, Gradient]:
    """Return losses (B,) of the tasks of all ranks, and the gradient of their sum."""
    if ranks.size == 1:
        return losses, grads
    own = []
    for k, g in grads.items():
        if g is None:
            own.append(torch.zeros_like(theta[k]))
        else:
            own.append(ranks.place(g, n_tasks) if k in of_tasks else g)
    is_used = losses.new_tensor([g is not None for g in grads.values()])
    losses, is_used, *sums = ranks.sum(ranks.place(losses, n_tasks), is_used, *own)
    of_params = zip(grads, is_used.tolist(), sums, strict=True)
    return losses, {k: total if used else None for k, used, total in of_params}


class _WithGradient(torch.autograd.Function):
    """Losses of a meta-batch, with the gradient of their sum computed before."""

    @staticmethod
    def forward(ctx: Any, losses: Tensor, grads: list[Tensor | None], *theta: Tensor) -> Tensor:
        """Return the losses as they are."""
        ctx.grads = grads
        return losses.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Scale the gradient; `upstream` is the same for all tasks: `MeanOverTasks` is a mean."""
        share = upstream[0].mean()
        return None, None, *(None if g is None else g * share for g in ctx.grads)


def with_meta_gradient(theta: Params, losses: Tensor, grads: Gradient) -> Tensor:
    """Attach the gradient `grads` of their sum, with respect to theta, to losses (B,).

    Whatever is computed from the losses must weight all tasks equally, as a mean does.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.outer.objective import with_meta_gradient
    >>> w = torch.tensor(3.0, requires_grad=True)
    >>> losses = with_meta_gradient({"w": w}, torch.tensor([1.0, 3.0]), {"w": torch.tensor(8.0)})
    >>> losses.mean().item(), torch.autograd.grad(losses.mean(), w)[0].item()
    (2.0, 4.0)
    """
    return _WithGradient.apply(losses.detach(), [grads[k] for k in theta], *theta.values())


# ---- precision -------------------------------------------------------------------------------


@dataclass(frozen=True)
class HalfNetwork:
    """A network that multiplies in bfloat16; features have the dtype of its rows.

    Losses, output layer and the steps of the inner loop keep all bits.
    """

    f: RowNetwork

    @property
    def n_features_out(self) -> int:
        """Number of features of a row."""
        return self.f.n_features_out

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        return self.f.row_shape

    @property
    def transductive(self) -> bool:
        """Whether rows depend on each other through batch statistics."""
        return self.f.transductive

    @property
    def constants(self) -> Params:
        """Frozen parameters and buffers of the network, with all bits."""
        return self.f.constants

    def set_constants(self, constants: Params) -> None:
        """Replace them by those of a learned prior."""
        self.f.set_constants(constants)

    def init(self, generator: torch.Generator) -> Params:
        """Draw the parameters of the network, with all bits."""
        return self.f.init(generator)

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        """Embed rows."""
        # without the cache of autocast: weights change in the inner loop
        with torch.autocast(X.device.type, torch.bfloat16, cache_enabled=False):
            return self.f(params, X).to(X.dtype)


class _MatmulPrecision:
    """torch's precision of float32 products, which all threads of a process share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_users = 0
        self.before = ""

    @contextmanager
    def high(self) -> Iterator[None]:
        """Set it to "high" until the last user has left."""
        with self.lock:
            if self.n_users == 0:
                self.before = torch.get_float32_matmul_precision()
                torch.set_float32_matmul_precision("high")
            self.n_users += 1
        try:
            yield
        finally:
            with self.lock:
                self.n_users -= 1
                if self.n_users == 0:
                    torch.set_float32_matmul_precision(self.before)


_MATMUL_PRECISION = _MatmulPrecision()


def float32_products(precision: str | None) -> AbstractContextManager[None]:
    """Let float32 products be computed in TF32 where a device has it, for precision="tf32"."""
    return _MATMUL_PRECISION.high() if precision == "tf32" else nullcontext()
