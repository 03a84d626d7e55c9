"""Reptile: theta moves towards the weights that tasks arrive at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_loop import head, inner_lr, inner_steps
from sklearn_meta.functional import Optimizer, Params, adam, minimise, with_gradient
from sklearn_meta.inner import Adapts, Everything, Examples, InnerLoop, Network, join
from sklearn_meta.inner.algorithm import BODY
from sklearn_meta.parameters import describe, option, param

__all__ = ["Reptile", "ReptileClassifier", "ReptileRegressor"]

OPTIMIZERS: dict[str, tuple[Optimizer, dict[str, Any]]] = {
    "adam": (adam, {"betas": (0.0, 0.999)}),
    "sgd": (torch.optim.SGD, {}),
}


@dataclass(frozen=True)
class Reptile(InnerLoop):
    """Nichol, Achiam and Schulman, "On First-Order Meta-Learning Algorithms", 2018, algorithm 2.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer starts.
    inner_optimizer : {"adam", "sgd"}
        Takes the inner steps; Adam without momentum, its state new for each task.
    inner_lr : float
        Its step.
    inner_steps : int
        Steps k; with one step of SGD it is joint training.
    """

    adapts: Adapts = field(default=Everything(), init=False)
    inner_optimizer: str
    inner_lr: float
    inner_steps: int

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Take k steps on L(phi, D) from phi_0(theta)."""
        phi_0, staying, loss = self.inner(f, theta, support)
        return staying | self._walk(loss, phi_0)

    def _walk(self, loss: Callable[[Params], Tensor], phi_0: Params) -> Params:
        kind, options = OPTIMIZERS[self.inner_optimizer]
        return minimise(loss, phi_0, kind, self.inner_steps, lr=self.inner_lr, **options)

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """L(phi, D), with gradient theta - phi, for D = support and query together.

        Gradient descent on its mean over tasks is theta <- theta + epsilon mean(phi - theta).
        """
        rows = join(support, query)
        phi_0, staying, loss = self.inner(f, theta, rows)
        phi = self._walk(loss, phi_0)
        change = {k: p - phi[k] for k, p in phi_0.items()}
        of_body = {k: g for k, g in change.items() if k.startswith(BODY)}
        grads = of_body | self.head.back(change, theta, rows)
        return with_gradient(self.risk(f, theta, staying | phi, rows), theta, grads)


LR = "Step size of the inner loop."
STEPS = """Number of inner steps, each on all rows; 0 predicts with the prior. One step of "sgd" is
joint training, which does not learn to learn."""


def inner_optimizer() -> Any:
    """Declare the optimiser of the inner loop."""
    return param(
        "adam",
        option(*OPTIMIZERS),
        "adaptation",
        """Optimiser of the inner steps, in `fit` too. Adam is without momentum, beta_1 = 0, and
        starts anew for each task. (The official code carries its second moments from task to task
        in training, not in evaluation, and draws mini-batches.)""",
    )


@describe
@dataclass(eq=False, repr=False)
class ReptileClassifier(MetaClassifier):
    """Classifier that moves an initialisation towards the weights adapted to each task.

    The inner loop trains a copy phi of the weights theta on a task; the outer loop moves theta
    there, theta <- theta + epsilon mean_T (phi_T - theta). No gradient goes through the inner
    loop. In meta-training a task's support and query are one set of rows, so that a task has more
    of them than in `fit`.

    See Also
    --------
    ReptileRegressor : The same algorithm for regression.
    MAMLClassifier : Differentiates through the inner steps.
    FineTuneClassifier : Trains on all tasks together before it adapts.

    Notes
    -----
    `meta_lr` is epsilon, the step of :class:`torch.optim.SGD`.

    References
    ----------
    Nichol, Achiam and Schulman, "On First-Order Meta-Learning Algorithms", 2018, algorithm 2.

    Examples
    --------
    >>> from sklearn_meta import ReptileClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = ReptileClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float = inner_lr(0.002, LR)
    inner_steps: int = inner_steps(10, STEPS)
    inner_optimizer: str = inner_optimizer()
    head: str = head("shared")
    meta_lr: float = field(default=1.0, kw_only=True)
    meta_lr_schedule: str = field(default="linear", kw_only=True)
    max_grad_norm: float | None = field(default=None, kw_only=True)

    default_optimizer: ClassVar[type[torch.optim.Optimizer]] = torch.optim.SGD

    def make_algorithm(self) -> Reptile:
        """Make the algorithm that the parameters describe."""
        return Reptile(
            self.make_loss(),
            self.make_head(),
            self.inner_optimizer,
            self.inner_lr,
            self.inner_steps,
        )


@describe
@dataclass(eq=False, repr=False)
class ReptileRegressor(MetaRegressor):
    """Regressor that moves an initialisation towards the weights adapted to each task.

    The inner loop trains a copy phi of the weights theta on a task; the outer loop moves theta
    there, theta <- theta + epsilon mean_T (phi_T - theta). No gradient goes through the inner
    loop. In meta-training a task's support and query are one set of rows, so that a task has more
    of them than in `fit`.

    See Also
    --------
    ReptileClassifier : The same algorithm for classification.
    MAMLRegressor : Differentiates through the inner steps.
    FineTuneRegressor : Trains on all tasks together before it adapts.

    Notes
    -----
    `meta_lr` is epsilon, the step of :class:`torch.optim.SGD`.

    References
    ----------
    Nichol, Achiam and Schulman, "On First-Order Meta-Learning Algorithms", 2018, algorithm 2.

    Examples
    --------
    >>> from sklearn_meta import ReptileRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = ReptileRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_lr: float = inner_lr(0.01, LR)
    inner_steps: int = inner_steps(10, STEPS)
    inner_optimizer: str = inner_optimizer()
    meta_lr: float = field(default=1.0, kw_only=True)
    meta_lr_schedule: str = field(default="linear", kw_only=True)
    max_grad_norm: float | None = field(default=None, kw_only=True)

    default_optimizer: ClassVar[type[torch.optim.Optimizer]] = torch.optim.SGD

    def make_algorithm(self) -> Reptile:
        """Make the algorithm that the parameters describe."""
        return Reptile(
            self.make_loss(),
            self.make_head(),
            self.inner_optimizer,
            self.inner_lr,
            self.inner_steps,
        )
