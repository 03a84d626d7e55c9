"""Reptile: theta moves towards the weights that the inner loop adapts to each task.

    phi_T = k steps of SGD or Adam on L(phi, D_T) from theta
    theta <- theta + epsilon mean_T (phi_T - theta)                            (algorithm 2)

Nichol, Achiam and Schulman, "On First-Order Meta-Learning Algorithms", 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier, MetaRegressor, inner_loop
from sklearn_meta.functional import Loss, Optimizer, Params, adam, minimise, with_gradient
from sklearn_meta.inner import (
    AdaptedPart,
    Examples,
    FullNetwork,
    InnerLoop,
    LabelHead,
    Network,
    join,
)
from sklearn_meta.nn.backbone import BODY
from sklearn_meta.parameters import describe, option, param, real

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
        Optimiser of the inner steps: Adam without momentum, with a new state for each task, or SGD.
    inner_lr : float
        Its step size.
    inner_steps : int
        Number of steps k. One step of SGD is joint training.
    lr_if_shared : float, default=None
        The step size where labels are shared; None is `inner_lr`.
    """

    adapts: AdaptedPart = field(default=FullNetwork(), init=False)
    inner_optimizer: str
    inner_lr: float
    inner_steps: int
    lr_if_shared: float | None = None

    def with_shared_labels(self) -> Reptile:
        """Return the algorithm with a learned row of the output layer for each label."""
        lr = self.inner_lr if self.lr_if_shared is None else self.lr_if_shared
        return replace(self, head=LabelHead(), inner_lr=lr)

    def with_new_labels(self) -> Reptile:
        """Return the algorithm that starts new labels from the mean of the learned rows."""
        return replace(self, head=LabelHead().with_new_labels())

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Take k steps on L(phi, D) from phi_0(theta)."""
        phi_0, constant, loss = self.inner_problem(f, theta, support)
        return constant | self._minimise(loss, phi_0)

    def _minimise(self, loss: Loss, phi_0: Params) -> Params:
        optimizer, options = OPTIMIZERS[self.inner_optimizer]
        return minimise(loss, phi_0, optimizer, self.inner_steps, lr=self.inner_lr, **options)

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute L(phi, D), with gradient theta - phi, for D = support and query together.

        Gradient descent on its mean over tasks is theta <- theta + epsilon mean(phi - theta).
        """
        rows = join(support, query)
        phi_0, constant, loss = self.inner_problem(f, theta, rows)
        phi = self._minimise(loss, phi_0)
        change = {k: p - phi[k] for k, p in phi_0.items()}  # theta - phi
        grads = {k: g for k, g in change.items() if k.startswith(BODY)}
        grads |= self.head.pull_back(change, theta, rows)
        return with_gradient(self.risk(f, theta, constant | phi, rows), theta, grads)


LR = "Step size of the inner loop."
DEFAULT_LR, LR_IF_SHARED = 0.002, 0.0002
STEPS = """Number of inner steps, each on all rows; 0 predicts with the prior. One step of "sgd" is
joint training, which does not learn to learn."""


def inner_optimizer() -> Any:
    """Declare the optimiser of the inner loop."""
    return param(
        "adam",
        option(*OPTIMIZERS),
        "adaptation",
        """Optimiser of the inner steps, also in `fit`. Adam is without momentum, beta_1 = 0, and
        has a new state for each task. (The official code carries its second moments from task to
        task in training, not in evaluation, and draws mini-batches.)""",
    )


@describe
@dataclass(eq=False, repr=False)
class ReptileClassifier(MetaClassifier):
    """Classifier that moves an initialisation towards the weights adapted to each task.

    The inner loop trains a copy phi of the weights theta on a task. The outer loop moves theta
    towards it, theta <- theta + epsilon mean_T (phi_T - theta). No gradient goes through the inner
    loop. In meta-training, support and query of a task are one set of rows, so that a task has more
    rows than in `fit`.

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
    >>> clf = ReptileClassifier(hidden_layer_sizes=16, max_meta_iter=5, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float | None = param(
        None,
        real(0, open_left=True, none=True),
        "adaptation",
        f"""{LR} None is {DEFAULT_LR}, or {LR_IF_SHARED} where labels are shared: larger steps learn
        the rows of a few tasks by heart.""",
    )
    inner_steps: int = inner_loop.inner_steps(10, STEPS)
    inner_optimizer: str = inner_optimizer()
    head: str = inner_loop.head("shared")
    meta_lr: float = field(default=1.0, kw_only=True)
    meta_lr_schedule: str = field(default="linear", kw_only=True)
    max_grad_norm: float | None = field(default=None, kw_only=True)

    default_optimizer: ClassVar[type[torch.optim.Optimizer]] = torch.optim.SGD

    def make_algorithm(self) -> Reptile:
        """Make the algorithm that the parameters describe."""
        lr = self.inner_lr
        return self.build(
            Reptile,
            inner_lr=DEFAULT_LR if lr is None else lr,
            lr_if_shared=LR_IF_SHARED if lr is None else lr,
        )


@describe
@dataclass(eq=False, repr=False)
class ReptileRegressor(MetaRegressor):
    """Regressor that moves an initialisation towards the weights adapted to each task.

    The algorithm is that of :class:`ReptileClassifier`, with a linear output layer.

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
    >>> reg = ReptileRegressor(hidden_layer_sizes=16, max_meta_iter=5, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_lr: float = inner_loop.inner_lr(0.01, LR)
    inner_steps: int = inner_loop.inner_steps(10, STEPS)
    inner_optimizer: str = inner_optimizer()
    meta_lr: float = field(default=1.0, kw_only=True)
    meta_lr_schedule: str = field(default="linear", kw_only=True)
    max_grad_norm: float | None = field(default=None, kw_only=True)

    default_optimizer: ClassVar[type[torch.optim.Optimizer]] = torch.optim.SGD

    def make_algorithm(self) -> Reptile:
        """Make the algorithm that the parameters describe."""
        return self.build(Reptile)
