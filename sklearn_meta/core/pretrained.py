"""Pre-train one network on all tasks, then walk on from there on each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.core.algorithm import Network
from sklearn_meta.core.examples import Examples, join
from sklearn_meta.core.heads import Head
from sklearn_meta.core.with_head import InnerLoop
from sklearn_meta.functional import Params, minimise

__all__ = ["FineTune"]


@dataclass(frozen=True)
class FineTune(InnerLoop):
    """Pre-train, min_theta E_T L(f_theta, D_T); then walk down L(phi, D_support) from there.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer of a new task starts.
    adapts : Adapts
        Which parameters adapt.
    trained : Head
        The output layer of the pre-training, over the labels of all tasks.
    optimizer : class of torch.optim
        Of the inner loop.
    inner_lr : float
        Its step.
    inner_steps : int
        How many steps, each on all support rows.
    options : tuple of (str, float), default=()
        More parameters of the optimiser.
    """

    trained: Head
    optimizer: type[torch.optim.Optimizer]
    inner_lr: float
    inner_steps: int
    options: tuple[tuple[str, float], ...] = ()

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Theta: the weights of the network that is pre-trained."""
        return f.init(generator) | self.trained.init(n_outputs, f.n_features_out, generator)

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """L(f_theta, D), with support and query alike."""
        return self.risk(f, theta, {}, join(support, query))

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Phi: what `inner_steps` steps make of the start."""
        start, staying, loss = self.inner(f, theta, support)
        options = dict(self.options, lr=self.inner_lr)
        return staying | minimise(loss, start, self.optimizer, self.inner_steps, **options)
