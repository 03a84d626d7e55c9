"""The meta-objective as torch and skorch see it: a module from an episode to one loss a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import Algorithm, Examples
from sklearn_meta.nn.backbone import RowNetwork
from sklearn_meta.outer.compiled import CompiledGradient
from sklearn_meta.outer.episodes import EpisodeSource
from sklearn_meta.outer.meta_gradient import chunks, gradient, meta_gradient, with_meta_gradient
from sklearn_meta.outer.scaling import standardise_tasks

__all__ = ["EpisodicModule", "FixedBatches", "MeanOverTasks", "MetaBatches", "no_loader"]


class EpisodicModule(nn.Module):
    """Theta as torch parameters, and the loss of the tasks of a meta-batch.

    Parameters
    ----------
    algorithm : Algorithm
        The meta-learner.
    f : Network
        The backbone.
    theta : dict of Tensor
        Where the outer loop starts.
    scale_tasks : tuple of bool
        Whether inputs, and targets, are standardised by each task's own support.
    progress : callable
        Gives the share of meta-training that is done.
    chunk : int or None, default=None
        Tasks that are stacked at once; None: all of a meta-batch.
    compiled : CompiledGradient or None, default=None
        Works out the meta-gradient by compiled graphs.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        f: RowNetwork,
        theta: Params,
        scale_tasks: tuple[bool, bool],
        progress: Callable[[], float],
        chunk: int | None = None,
        compiled: CompiledGradient | None = None,
    ) -> None:
        super().__init__()
        self.algorithm, self.f, self.scale_tasks = algorithm, f, scale_tasks
        self.progress, self.chunk, self.compiled = progress, chunk, compiled
        self.nothing = 0.0  # loss of predicting nothing, on the first meta-batch
        self._names = {k: k.replace(".", "/") for k in theta}  # torch allows no dots
        for k, p in theta.items():
            self.register_parameter(self._names[k], nn.Parameter(p.clone()))

    def theta(self) -> Params:
        """Meta-parameters by their names."""
        return {k: getattr(self, name) for k, name in self._names.items()}

    def diagnostics(self, batch: tuple[Tensor, ...]) -> dict[str, float]:
        """Mean of the algorithm's diagnostics over the tasks that are computed at once."""
        support, query = next(chunks(*self._standardised(batch), self.chunk or len(batch[0])))
        algorithm = self.algorithm.at(self.progress())
        found = algorithm.diagnostics(self.f, self.theta(), support, query)
        return {name: float(value.mean()) for name, value in found.items()}

    def _standardised(self, batch: tuple[Tensor, ...]) -> tuple[Examples, Examples]:
        support, query = Examples(*batch[:3]), Examples(*batch[3:])
        if self.scale_tasks[0]:
            axes = (-2,) if support.X.ndim == 3 else tuple(range(1 - support.X.ndim, 0))
            Xs, Xq = standardise_tasks(support.X, query.X, support.weight, axes)
            support, query = support._replace(X=Xs), query._replace(X=Xq)
        if self.scale_tasks[1]:
            ys, yq = standardise_tasks(support.y, query.y, support.weight, (-2,))
            support, query = support._replace(y=ys), query._replace(y=yq)
        return support, query

    def forward(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Objective of each task, of shape (B,); in validation the meta-loss."""
        support, query = self._standardised(batch)
        theta = self.theta()
        if self.training:
            if self.progress() == 0:
                self.nothing = self._of_zeros(query)
            algorithm, size = self.algorithm.at(self.progress()), self.chunk or len(query.y)
            objective = partial(algorithm.objective, self.f)
            if self.compiled is not None:
                part = partial(self.compiled, algorithm, self.f)
            elif size < len(query.y):
                part = partial(gradient, objective)
            else:  # nothing around the plain way
                return objective(theta, support, query)
            return with_meta_gradient(theta, *meta_gradient(part, theta, support, query, size))
        theta = {k: p.detach() for k, p in theta.items()}  # no graph through theta
        with torch.enable_grad():  # the inner loop needs gradients, in validation too
            parts = chunks(support, query, self.chunk or len(query.y))
            return torch.cat([self.algorithm.loss(self.f, theta, *p).detach() for p in parts])

    def _of_zeros(self, query: Examples) -> float:
        """Mean loss of predicting nothing, a task at a time: y may have very many columns."""
        losses = [
            self.algorithm.criterion(torch.zeros_like(y), y, weight)
            for y, weight in zip(query.y, query.weight, strict=True)
        ]
        return float(torch.stack(losses).mean())


class MeanOverTasks(nn.Module):
    """The meta-objective, E_T L: the criterion that skorch sees."""

    def forward(self, losses: Tensor, _: Tensor) -> Tensor:
        """Average the tasks' losses."""
        return losses.mean()


class MetaBatches(Dataset):
    """The meta-batches of an epoch, dressed as a dataset that is its own loader.

    Parameters
    ----------
    source : EpisodeSource
        Where tasks come from.
    n_tasks : int
        Tasks a meta-batch.
    iters_per_epoch, max_iter : int
        Meta-batches an epoch, and in all.
    seed : int
        Of the episodes.
    transductive : bool
        Whether padding must be refused.
    """

    def __init__(
        self,
        source: EpisodeSource,
        n_tasks: int,
        iters_per_epoch: int,
        max_iter: int,
        seed: int,
        transductive: bool,
    ) -> None:
        self.source, self.n_tasks = source, n_tasks
        self.iters_per_epoch, self.max_iter = iters_per_epoch, max_iter
        self.rng = np.random.RandomState(seed)
        self.transductive = transductive
        self.n_iter = 0  # counted by a callback, when an iteration is done

    def progress(self) -> float:
        """Share of the iterations that are done."""
        return self.n_iter / self.max_iter

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"source": None}  # a pickled net does not carry the tasks

    def __len__(self) -> int:
        return self.iters_per_epoch

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        for _ in range(min(self.iters_per_epoch, self.max_iter - self.n_iter)):
            support, query, ragged = self.source.draw(self.n_tasks, self.rng)
            if ragged and self.transductive:
                refuse_padding()
            yield (*support, *query), support.weight[:, 0]  # no targets: the loss has its own


class FixedBatches(Dataset):
    """The same episodes in every epoch, for validation.

    Parameters
    ----------
    batches : list of (tuple of Tensor, bool)
        Support and query, flat, and whether they are padded.
    transductive : bool
        Whether padding must be refused.
    """

    def __init__(self, batches: list[tuple[tuple[Tensor, ...], bool]], transductive: bool) -> None:
        if transductive and any(ragged for _, ragged in batches):
            refuse_padding()
        self.batches = [batch for batch, _ in batches]

    def __getstate__(self) -> dict[str, Any]:
        return {"batches": []}  # a pickled net does not carry the tasks

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        for batch in self.batches:
            yield batch, batch[2][:, 0]


def refuse_padding() -> None:
    """Say why batch statistics and ragged episodes do not go together.

    Raises
    ------
    ValueError
        Always.
    """
    raise ValueError(
        "Batch statistics (norm='batch', or BatchNorm in a backbone of your own) are those of the "
        "rows of a task, which padding would change, but the tasks of a meta-batch differ in rows "
        "or classes. Use norm='layer' (or 'group'; LayerNorm or GroupNorm in a backbone of your "
        "own), or tasks and n_shot, n_query that give every task the same number of rows."
    )


def no_loader(dataset: Any, **kwargs: Any) -> Any:
    """Stand in for torch's DataLoader: the rows are on the device already.

    Parameters
    ----------
    dataset : MetaBatches or FixedBatches
        Its own loader.
    **kwargs : dict
        What skorch tells a loader; not needed.

    Returns
    -------
    dataset
        As it came.
    """
    return dataset
