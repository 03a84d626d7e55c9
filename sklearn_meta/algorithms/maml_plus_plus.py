"""MAML++: MAML that trains steadily."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_loop import (
    activation_checkpointing,
    head,
    inner_lr,
    inner_steps,
    make_rate,
)
from sklearn_meta.inner import Everything, GradientLearner, MultiStep
from sklearn_meta.parameters import describe, param, real

__all__ = ["MAMLPlusPlusClassifier", "MAMLPlusPlusRegressor"]

STARTING_LR = "Where the learned step sizes start."
STEPS = """Number of gradient steps; 0 predicts with the prior. Steps beyond those of meta-training
take the step sizes of the last one, also in a warm start."""


def multi_step_until() -> Any:
    """Declare for how long the losses of all steps count."""
    return param(
        0.15,
        real(0, 1),
        "training",
        """Share of meta-training in which the losses after all inner steps count; afterwards, the
        loss after the last step alone.""",
    )


def first_order_until() -> Any:
    """Declare for how long the inner gradients count as constants."""
    return param(
        0.0,
        real(0, 1),
        "training",
        """Share of meta-training in which the inner gradients count as constants. 0 is second
        order and 1 first order throughout; the paper's 50 of 150 epochs are 1/3.""",
    )


@describe
@dataclass(eq=False, repr=False)
class MAMLPlusPlusClassifier(MetaClassifier):
    """Classifier by MAML with learned step sizes and a loss after each step.

    MAML with four cures of its training: the loss after each inner step counts at first,
    sum_k v_k L(phi_k), with v moving to the last step (multi-step loss); a learned step for each
    tensor and inner step; first-order gradients at first, if wanted (derivative annealing); a
    cosine schedule of `meta_lr`. The paper's statistics and biases of batch normalisation by step
    are left out: the backbones normalise by row.

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
    >>> clf = MAMLPlusPlusClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float | None = inner_lr(None, STARTING_LR, "training")
    inner_steps: int = inner_steps(5, STEPS)
    multi_step_until: float = multi_step_until()
    first_order_until: float = first_order_until()
    head: str = head("prototype")

    activation_checkpointing: bool = activation_checkpointing()

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return GradientLearner(
            self.make_loss(),
            self.make_head(),
            Everything(),
            make_rate("tensor", self.inner_lr, self.head),
            self.inner_steps,
            first_order_until=self.first_order_until,
            outer=MultiStep(self.multi_step_until),
            activation_checkpointing=self.activation_checkpointing,
        )


@describe
@dataclass(eq=False, repr=False)
class MAMLPlusPlusRegressor(MetaRegressor):
    """Regressor by MAML with learned step sizes and a loss after each step.

    MAML with four cures of its training: the loss after each inner step counts at first,
    sum_k v_k L(phi_k), with v moving to the last step (multi-step loss); a learned step for each
    tensor and inner step; first-order gradients at first, if wanted (derivative annealing); a
    cosine schedule of `meta_lr`. The paper's statistics and biases of batch normalisation by step
    are left out: the backbones normalise by row.

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
    >>> reg = MAMLPlusPlusRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_lr: float = inner_lr(0.01, STARTING_LR, "training")
    inner_steps: int = inner_steps(5, STEPS)
    multi_step_until: float = multi_step_until()
    first_order_until: float = first_order_until()

    activation_checkpointing: bool = activation_checkpointing()

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return GradientLearner(
            self.make_loss(),
            self.make_head(),
            Everything(),
            make_rate("tensor", self.inner_lr),
            self.inner_steps,
            first_order_until=self.first_order_until,
            outer=MultiStep(self.multi_step_until),
            activation_checkpointing=self.activation_checkpointing,
        )
