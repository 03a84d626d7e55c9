"""Pre-train one network on all tasks, then continue on the support of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sklearn_meta.functional import Optimizer, Params, adam, minimise
from sklearn_meta.inner.algorithm import Criterion, Examples, join
from sklearn_meta.inner.gradient import FullNetwork, InnerLoop
from sklearn_meta.inner.heads import Head
from sklearn_meta.nn import Network

__all__ = ["FineTune", "from_scratch", "joint_risk"]


def joint_risk(
    criterion: Criterion, head: Head, f: Network, theta: Params, support: Examples, query: Examples
) -> Tensor:
    """Compute L(f_theta, D) of one network for all tasks, on support and query together.

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
        Support and query of a stack of tasks B.

    Returns
    -------
    loss : Tensor of shape (*B,)
        One value for each task.
    """
    rows = join(support, query)
    return criterion(head.outputs(f(theta, rows.X), theta), rows.y, rows.weight)


@dataclass(frozen=True)
class FineTune(InnerLoop):
    """Pre-train, min_theta E_T L(f_theta, D_T); then minimise L(phi, D_support) from theta.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer of a new task starts.
    adapts : AdaptedPart
        Which parameters adapt.
    trained : Head
        The output layer of the pre-training, over the labels of all tasks.
    optimizer : callable
        Optimiser of the inner loop, as in :func:`~sklearn_meta.functional.minimise`.
    inner_lr : float
        Its step size.
    inner_steps : int
        Number of steps, each on all support rows.
    options : tuple of (str, float), default=()
        Further parameters of the optimiser.
    steps_if_shared : int, default=None
        Number of steps where labels are shared; None is `inner_steps`.
    """

    trained: Head
    optimizer: Optimizer
    inner_lr: float
    inner_steps: int
    options: tuple[tuple[str, float], ...] = ()
    steps_if_shared: int | None = None

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the network that is pre-trained."""
        return f.init(generator) | self.trained.init(n_outputs, f.n_features_out, generator)

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute L(f_theta, D) on support and query together."""
        return joint_risk(self.criterion, self.trained, f, theta, support, query)

    def with_shared_labels(self) -> FineTune:
        """Return the algorithm that continues with the output layer of the pre-training."""
        head = self.trained.with_shared_labels()
        steps = self.inner_steps if self.steps_if_shared is None else self.steps_if_shared
        return replace(self, head=head, trained=head, inner_steps=steps)

    def with_new_labels(self) -> FineTune:
        """Return this algorithm, whose output layer starts from the support alone."""
        return self

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Take `inner_steps` steps of the optimiser on L(phi, D_support)."""
        phi_0, constant, loss = self.inner_problem(f, theta, support)
        options = dict(self.options, lr=self.inner_lr)
        return constant | minimise(loss, phi_0, self.optimizer, self.inner_steps, **options)


def from_scratch(criterion: Criterion, head: Head) -> FineTune:
    """Make the baseline without meta-learning: from random weights, 200 steps of Adam at 0.01.

    This is the `fit` of an estimator that was never meta-fitted.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        The output layer.

    Returns
    -------
    FineTune
        An algorithm whose theta was not trained.
    """
    return FineTune(
        criterion,
        head,
        FullNetwork(),
        trained=head,
        optimizer=adam,
        inner_lr=0.01,
        inner_steps=200,
    )
