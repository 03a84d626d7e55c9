"""The parameters of an inner loop by gradients: what they may be, and the parts they stand for."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Any

from sklearn_meta.base.params_doc import describe_shared
from sklearn_meta.base.shared_params import SharedParams
from sklearn_meta.functional import cross_entropy, squared_error
from sklearn_meta.inner.adapts import Adapts
from sklearn_meta.inner.gradient import GradientLearner
from sklearn_meta.inner.heads import FixedHead, Head, LinearHead, PrototypeHead, SharedHead
from sklearn_meta.inner.rates import FixedRate, ParameterRate, Rate, ScalarRate, TensorStepRate
from sklearn_meta.parameters import Check, integer, option, real

__all__ = [
    "HEADS",
    "INNER_LR",
    "InnerLoopParams",
    "UnrolledParams",
    "gradient_learner",
    "head_of",
    "task_loss_of",
]

HEADS: dict[str, Head] = {
    "prototype": PrototypeHead(),
    "shared": SharedHead(),
    "fixed": FixedHead(),
}
RATES: dict[str | None, type[Rate]] = {
    None: FixedRate,
    "scalar": ScalarRate,
    "tensor": TensorStepRate,
    "parameter": ParameterRate,
}
# prototypes start at logits of the size of |z|^2: the same step would overshoot
INNER_LR = {"prototype": 0.01, "shared": 0.4, "fixed": 0.4}
INNER_CHECKS: dict[str, Check] = {
    "inner_steps": integer(0),
    "first_order": option(True, False),
    "head": option(*HEADS),
    "learned_lr": option(*RATES),
    "checkpoint": option(True, False),
}


@describe_shared
class InnerLoopParams(SharedParams, ABC):
    """Mixin that checks `inner_lr`, `inner_steps`, `head` and similar parameters.

    An estimator lists it before :class:`MetaClassifier` or :class:`MetaRegressor`.

    Parameters
    ----------
    {network}
    {outer}
    """

    def _param_checks(self) -> dict[str, Check]:
        by_head = hasattr(self, "head")  # the default step, None, depends on it
        checks = INNER_CHECKS | {"inner_lr": real(0, open_left=True, none=by_head)}
        own = {name: check for name, check in checks.items() if hasattr(self, name)}
        return super()._param_checks() | own

    def _without_effect(self) -> tuple[str, ...]:
        learned = getattr(self, "learned_lr", None) is not None
        return (*super()._without_effect(), "inner_lr") if learned else super()._without_effect()

    def has_fixed_n_way(self) -> bool:
        """Return whether the output layer limits the number of classes."""
        return getattr(self, "head", None) == "fixed"


@dataclass(eq=False, repr=False, kw_only=True)
class UnrolledParams(InnerLoopParams, ABC):
    """The same for learners whose meta-gradient goes through the steps of the inner loop."""

    checkpoint: bool = False


def head_of(est: Any) -> Head:
    """Give the output layer that an estimator asks for.

    Parameters
    ----------
    est : BaseMetaLearner
        A classifier with a parameter `head`, or a regressor.

    Returns
    -------
    Head
        A linear one for a regressor.
    """
    return HEADS[est.head] if est.target_type == "class" else LinearHead()


def task_loss_of(est: Any) -> Any:
    """Give the task loss of an estimator.

    Parameters
    ----------
    est : BaseMetaLearner
        A classifier or a regressor.

    Returns
    -------
    callable
        Cross-entropy, or squared error.
    """
    return cross_entropy if est.target_type == "class" else squared_error


def gradient_learner(
    est: Any,
    adapts: Adapts,
    *,
    head: Head | None = None,
    learned_lr: str | None = None,
    **parts: Any,
) -> GradientLearner:
    """Put together the learner that an estimator's parameters ask for.

    Parameters
    ----------
    est : BaseMetaLearner
        With `inner_lr` and `inner_steps`, and maybe `head`, `first_order`, `learned_lr`,
        `checkpoint`.
    adapts : Adapts
        What adapts.
    head : Head or None, default=None
        None: as the parameters say.
    learned_lr : str or None, default=None
        Where the estimator has no parameter of this name.
    **parts : dict
        More fields of :class:`~sklearn_meta.inner.GradientLearner`.

    Returns
    -------
    GradientLearner
        Ready to use.
    """
    lr = INNER_LR[est.head] if est.inner_lr is None else est.inner_lr
    rate: Any = RATES[getattr(est, "learned_lr", learned_lr)]
    order = {"first_order_until": float(est.first_order)} if hasattr(est, "first_order") else {}
    return GradientLearner(
        task_loss_of(est),
        head_of(est) if head is None else head,
        adapts,
        rate(lr),
        est.inner_steps,
        checkpoint=bool(getattr(est, "checkpoint", False)),
        **(order | parts),
    )
