"""The parameters of inner loops, each declared once for the estimators that have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn_meta.functional import LOSSES
from sklearn_meta.inner import (
    FixedHead,
    FixedRate,
    Head,
    ParameterRate,
    PrototypeHead,
    Rate,
    ScalarRate,
    SharedHead,
    TensorStepRate,
)
from sklearn_meta.parameters import Constraint, Role, integer, option, param, real

__all__ = [
    "HEADS",
    "activation_checkpointing",
    "first_order",
    "head",
    "inner_lr",
    "inner_steps",
    "learned_lr",
    "loss_constraint",
    "make_rate",
]

HEADS: dict[str, Head] = {
    "prototype": PrototypeHead(),
    "shared": SharedHead(),
    "fixed": FixedHead(),
}
RATES: dict[str | None, Callable[[float], Rate]] = {
    None: FixedRate,
    "scalar": ScalarRate,
    "tensor": TensorStepRate,
    "parameter": ParameterRate,
}
# logits of prototypes have the size of |z|^2: the step size of the others would overshoot
DEFAULT_LR = {"prototype": 0.01, "shared": 0.03, "fixed": 0.03}
DEPENDS_ON_HEAD = 'None is 0.01 for ``head="prototype"``, else 0.03.'


def make_rate(learned_lr: str | None, inner_lr: float | None, head: str | None = None) -> Rate:
    """Make the step size of an inner loop; `inner_lr=None` is the default of the head."""
    if inner_lr is None:
        assert head is not None
        inner_lr = DEFAULT_LR[head]
    return RATES[learned_lr](inner_lr)


def loss_constraint(target_type: str) -> Constraint:
    """Allow the names of the losses for this kind of target, and callables."""
    names = option(*LOSSES[target_type])
    return Constraint(
        lambda value: callable(value) or names.allows(value),
        f"{names.text}, or a callable",
        f"{names.kind} or callable",
    )


def inner_lr(
    default: float | None,
    description: str = "Step size alpha of the inner loop.",
    role: Role = "adaptation",
) -> Any:
    """Declare the step size; it has no effect after `meta_fit` where `learned_lr` replaces it."""

    def role_in(estimator: object) -> Role:
        return "training" if getattr(estimator, "learned_lr", None) is not None else role

    if default is None:
        description = f"{description} {DEPENDS_ON_HEAD}"
    constraint = real(0, open_left=True, none=default is None)
    return param(default, constraint, role_in if role == "adaptation" else role, description)


def inner_steps(
    default: int | None, description: str = "Number of gradient steps; 0 predicts with the prior."
) -> Any:
    """Declare the number of steps; None is a default that depends on the tasks."""
    return param(default, integer(0, none=default is None), "adaptation", description)


def first_order(default: bool) -> Any:
    """Declare whether the outer loop differentiates through the inner gradients."""
    description = "Treat the inner gradients as constants in the outer loop: cheaper, less exact."
    return param(default, option(True, False), "training", description)


def head(default: str) -> Any:
    """Declare where the output layer of a classifier starts."""
    return param(
        default,
        option(*HEADS),
        "structural",
        """Where the output layer starts: from the class prototypes (Proto-MAML), from one learned
        vector for all classes (UNICORN-MAML), or from one learned vector for each class position
        ("fixed"), which limits the number of classes and depends on their order.""",
    )


def learned_lr() -> Any:
    """Declare whether the step size is learned."""
    return param(
        None,
        option(*RATES),
        "structural",
        """Learn the step size along with theta, starting from `inner_lr`: one number, one for each
        tensor and inner step (MAML++), or one for each weight (Meta-SGD; drawn from
        U(inner_lr / 20, inner_lr)). `inner_lr` then has no effect after `meta_fit`.""",
    )


def activation_checkpointing() -> Any:
    """Declare whether the meta-gradient computes activations again to save memory."""
    return param(
        False,
        option(True, False),
        "runtime",
        """If True, the second-order meta-gradient stores only the weights after each inner step
        and computes the step again when it is needed. Memory then grows with the number of steps
        and weights, and no longer with the activations of the network. This takes longer and gives
        the same results. To save the state of a long run in a file, use `checkpoint_dir`.""",
        kw_only=True,
    )
