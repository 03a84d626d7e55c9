"""MAML++: MAML with learned step sizes, a loss after each step and annealed derivatives.

    phi_(k+1) = phi_k - alpha_(k, tensor) grad L(phi_k, D_support)             (LSLR)
    min_(theta, alpha) E_T sum_k v_k L(phi_k, D_query)                         (MSL)

Antoniou, Edwards and Storkey, "How to Train Your MAML", ICLR 2019, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier, MetaRegressor, inner_loop
from sklearn_meta.functional import Params
from sklearn_meta.inner import AdaptedPart, Examples, FullNetwork, GradientLearner, Network
from sklearn_meta.parameters import describe, param, real

__all__ = ["MAMLPlusPlus", "MAMLPlusPlusClassifier", "MAMLPlusPlusRegressor"]


@dataclass(frozen=True)
class MAMLPlusPlus(GradientLearner):
    """Antoniou, Edwards and Storkey, "How to Train Your MAML", ICLR 2019, section 4.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer starts.
    rate : Rate
        The step size alpha_k; :class:`~sklearn_meta.inner.TensorStepRate` in the paper.
    inner_steps : int
        Number of steps K.
    first_order : bool, default=False
        Whether the inner gradients are constants in the outer loop. `at` sets it.
    activation_checkpointing : bool, default=False
        Whether the outer loop stores only the parameters of each step.
    multi_step_until : float, default=0
        Share of meta-training after which only the loss after the last step counts.
    first_order_until : float, default=0
        Share of meta-training in which the inner gradients are constants.
    v : tuple of float, default=()
        Weights of the losses after each step, v_0, ..., v_K. `at` sets them; if empty, only the
        last step counts.
    """

    adapts: AdaptedPart = field(default=FullNetwork(), init=False)
    multi_step_until: float = 0.0
    first_order_until: float = 0.0
    v: tuple[float, ...] = ()

    def iterates(self, f: Network, theta: Params, support: Examples) -> Iterator[Params]:
        """Iterate phi_(k+1) = phi_k - alpha_k grad L(phi_k, D_support) from phi_0 = theta."""
        phi, constant, loss = self.inner_problem(f, theta, support)
        grad = self.inner_gradient(loss, theta)
        yield constant | phi
        for k in range(self.inner_steps):
            alpha_k = self.rate.at(theta, k)  # one number for each tensor and step, learned
            phi = self.step(phi, alpha_k, grad(phi))
            yield constant | phi

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute sum_k v_k L(phi_k, D_query)."""
        if not self.v:
            return super().objective(f, theta, support, query)
        iterates = zip(self.v, self.iterates(f, theta, support), strict=True)
        losses = [
            v_k * self.query_risk(f, theta, phi, support, query) for v_k, phi in iterates if v_k > 0
        ]
        return torch.stack(losses).sum(0)

    def at(self, progress: float) -> MAMLPlusPlus:
        """Anneal the order of the gradients, and the weights v_k as in the official code.

        Until e = `multi_step_until`, v_k = max((1 - progress / e) / K, 0.03 / K) for 0 < k < K, and
        v_K is the rest; then v_K = 1.
        """
        K, e = self.inner_steps, self.multi_step_until
        v = [0.0] * K + [1.0]
        if K > 0 and progress < e:
            early = max(1 - progress / e, 0.03) / K
            v = [0.0] + [early] * (K - 1) + [1 - (K - 1) * early]
        first_order = self.first_order_until >= 1 or progress < self.first_order_until
        return replace(self, first_order=first_order, v=tuple(v))


STARTING_LR = "Where the learned step sizes start."
STEPS = """Number of gradient steps; 0 predicts with the prior. Steps beyond those of meta-training
use the step sizes of the last one, also in a warm start."""


def multi_step_until() -> Any:
    """Declare for how long the losses after all steps count."""
    return param(
        0.15,
        real(0, 1),
        "training",
        """Share of meta-training in which the losses after all inner steps count; afterwards, the
        loss after the last step alone.""",
    )


def first_order_until() -> Any:
    """Declare for how long the inner gradients are constants."""
    return param(
        1 / 3,
        real(0, 1),
        "training",
        """Share of meta-training in which the inner gradients are constants: 1/3 are the paper's 50
        of 150 epochs. 0 is second order and 1 first order throughout.""",
    )


@describe
@dataclass(eq=False, repr=False)
class MAMLPlusPlusClassifier(MetaClassifier):
    """Classifier by MAML with learned step sizes and a loss after each step.

    MAML with four changes that stabilise its training: at first the loss after each inner step
    counts, sum_k v_k L(phi_k), and later the last one (multi-step loss); each tensor and inner step
    has a learned step size; gradients are of first order at first (derivative annealing); and
    `meta_lr` follows a cosine schedule. Of the paper, two things are left out: batch normalisation
    with statistics and biases for each step, because the backbones normalise by row, and the
    ensemble of the best five epochs that its results are of.

    See Also
    --------
    MAMLPlusPlusRegressor : The same algorithm for regression.
    MAMLClassifier : The algorithm without these additions.

    References
    ----------
    Antoniou, Edwards and Storkey, "How to Train Your MAML", ICLR 2019, section 4; the weights v_k
    are those of the official code.

    Examples
    --------
    >>> from sklearn_meta import MAMLPlusPlusClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = MAMLPlusPlusClassifier(hidden_layer_sizes=16, max_meta_iter=5, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float | None = inner_loop.inner_lr(None, STARTING_LR, "training")
    inner_steps: int = inner_loop.inner_steps(5, STEPS)
    multi_step_until: float = multi_step_until()
    first_order_until: float = first_order_until()
    head: str = inner_loop.head("shared")
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> MAMLPlusPlus:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate("tensor", self.inner_lr, self.head)
        return self.build(MAMLPlusPlus, rate=rate).at(0.0)


@describe
@dataclass(eq=False, repr=False)
class MAMLPlusPlusRegressor(MetaRegressor):
    """Regressor by MAML with learned step sizes and a loss after each step.

    The algorithm is that of :class:`MAMLPlusPlusClassifier`, with a linear output layer.

    See Also
    --------
    MAMLPlusPlusClassifier : The same algorithm for classification.
    MAMLRegressor : The algorithm without these additions.

    References
    ----------
    Antoniou, Edwards and Storkey, "How to Train Your MAML", ICLR 2019, section 4; the weights v_k
    are those of the official code.

    Examples
    --------
    >>> from sklearn_meta import MAMLPlusPlusRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = MAMLPlusPlusRegressor(hidden_layer_sizes=16, max_meta_iter=5, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_lr: float = inner_loop.inner_lr(0.01, STARTING_LR, "training")
    inner_steps: int = inner_loop.inner_steps(5, STEPS)
    multi_step_until: float = multi_step_until()
    first_order_until: float = first_order_until()
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> MAMLPlusPlus:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate("tensor", self.inner_lr)
        return self.build(MAMLPlusPlus, rate=rate).at(0.0)
