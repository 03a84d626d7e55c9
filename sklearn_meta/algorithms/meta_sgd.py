"""Meta-SGD: a learned step for each weight."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_loop import (
    activation_checkpointing,
    first_order,
    head,
    inner_lr,
    inner_steps,
    make_rate,
)
from sklearn_meta.inner import Everything, GradientLearner
from sklearn_meta.parameters import describe

__all__ = ["MetaSGDClassifier", "MetaSGDRegressor"]

LARGEST_LR = """Largest of the step sizes to start from: each is drawn from
U(inner_lr / 20, inner_lr)."""


@describe
@dataclass(eq=False, repr=False)
class MetaSGDClassifier(MetaClassifier):
    """Classifier that learns an initialisation and a step size for each weight.

    The outer loop learns the initial weights theta and a step for each weight,
    phi = theta - alpha o grad L(theta), of either sign: a direction as well as a length. One step
    is the published design; more use the same alpha again. The steps of the output layer are shared
    by the classes, so that there may be any number of them.

    See Also
    --------
    MetaSGDRegressor : The same algorithm for regression.
    MAMLClassifier : Uses one fixed step size.
    LSTMMetaLearnerClassifier : Learns the whole update rule.

    References
    ----------
    Li, Zhou, Chen and Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017, eq. 1
    and algorithm 1.

    Examples
    --------
    >>> from sklearn_meta import MetaSGDClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = MetaSGDClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float | None = inner_lr(None, LARGEST_LR, "training")
    inner_steps: int = inner_steps(1)
    first_order: bool = first_order(False)
    head: str = head("prototype")

    activation_checkpointing: bool = activation_checkpointing()

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return GradientLearner(
            self.make_loss(),
            self.make_head(),
            Everything(),
            make_rate("parameter", self.inner_lr, self.head),
            self.inner_steps,
            first_order_until=float(self.first_order),
            activation_checkpointing=self.activation_checkpointing,
        )


@describe
@dataclass(eq=False, repr=False)
class MetaSGDRegressor(MetaRegressor):
    """Regressor that learns an initialisation and a step size for each weight.

    The outer loop learns the initial weights theta and a step for each weight,
    phi = theta - alpha o grad L(theta), of either sign: a direction as well as a length. One step
    is the published design; more use the same alpha again.

    See Also
    --------
    MetaSGDClassifier : The same algorithm for classification.
    MAMLRegressor : Uses one fixed step size.
    LSTMMetaLearnerRegressor : Learns the whole update rule.

    References
    ----------
    Li, Zhou, Chen and Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017, eq. 1
    and algorithm 1.

    Examples
    --------
    >>> from sklearn_meta import MetaSGDRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = MetaSGDRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_lr: float = inner_lr(0.02, LARGEST_LR, "training")
    inner_steps: int = inner_steps(1)
    first_order: bool = first_order(False)

    activation_checkpointing: bool = activation_checkpointing()

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return GradientLearner(
            self.make_loss(),
            self.make_head(),
            Everything(),
            make_rate("parameter", self.inner_lr),
            self.inner_steps,
            first_order_until=float(self.first_order),
            activation_checkpointing=self.activation_checkpointing,
        )
