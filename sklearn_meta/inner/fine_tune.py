"""Pre-train one network on all tasks, then walk on from there on each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.functional import Optimizer, Params, adam, minimise
from sklearn_meta.inner.adapts import Everything
from sklearn_meta.inner.algorithm import Criterion, Network
from sklearn_meta.inner.examples import Examples, join
from sklearn_meta.inner.heads import Head
from sklearn_meta.inner.with_head import InnerLoop

__all__ = ["FineTune", "from_scratch", "joint_risk"]


def joint_risk(
    criterion: Criterion, head: Head, f: Network, theta: Params, support: Examples, query: Examples
) -> Tensor:
    """L(f_theta, D) of one network for all tasks, with support and query alike.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        The output layer, over the labels of all tasks.
    f : Network
        The backbone.
    theta : dict of Tensor
        Meta-parameters.
    support, query : Examples
        Of a stack of tasks B.

    Returns
    -------
    loss : Tensor of shape (*B,)
        One value a task.
    """
    rows = join(support, query)
    return criterion(head.outputs(f(theta, rows.X), theta), rows.y, rows.weight)


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
    optimizer : callable
        Of the inner loop, as in :func:`~sklearn_meta.functional.minimise`.
    inner_lr : float
        Its step.
    inner_steps : int
        How many steps, each on all support rows.
    options : tuple of (str, float), default=()
        More parameters of the optimiser.
    """

    trained: Head
    optimizer: Optimizer
    inner_lr: float
    inner_steps: int
    options: tuple[tuple[str, float], ...] = ()

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Theta: the weights of the network that is pre-trained."""
        return f.init(generator) | self.trained.init(n_outputs, f.n_features_out, generator)

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """L(f_theta, D), with support and query alike."""
        return joint_risk(self.criterion, self.trained, f, theta, support, query)

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Phi: what `inner_steps` steps make of the start."""
        start, staying, loss = self.inner(f, theta, support)
        options = dict(self.options, lr=self.inner_lr)
        return staying | minimise(loss, start, self.optimizer, self.inner_steps, **options)


def from_scratch(criterion: Criterion, head: Head) -> FineTune:
    """Make the baseline without meta-learning: from random weights, 200 steps of Adam at 0.01.

    What an estimator does in `fit` when it was never meta-fitted: the arm to compare with.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        The output layer.

    Returns
    -------
    FineTune
        Of weights that nothing has pre-trained.
    """
    return FineTune(
        criterion,
        head,
        Everything(),
        trained=head,
        optimizer=adam,
        inner_lr=0.01,
        inner_steps=200,
    )
