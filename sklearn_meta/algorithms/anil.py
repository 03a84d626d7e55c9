"""ANIL, almost no inner loop: only the output layer adapts."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_loop import (
    activation_checkpointing,
    first_order,
    head,
    inner_lr,
    inner_steps,
    learned_lr,
    make_rate,
)
from sklearn_meta.inner import GradientLearner, HeadAlone
from sklearn_meta.parameters import describe

__all__ = ["ANILClassifier", "ANILRegressor"]


@describe
@dataclass(eq=False, repr=False)
class ANILClassifier(MetaClassifier):
    """Classifier that meta-learns its features and adapts only the output layer.

    As MAML, but the inner loop moves the output layer w only:
    w_(k+1) = w_k - alpha grad_w L(w_k, f_theta(support)). The features do not change, so steps
    cost next to nothing; the outer loop learns features that are good for such steps.

    See Also
    --------
    ANILRegressor : The same algorithm for regression.
    MAMLClassifier : Adapts all layers.
    BOILClassifier : Adapts all layers but the output layer.

    References
    ----------
    Raghu, Raghu, Bengio and Vinyals, "Rapid Learning or Feature Reuse? Towards Understanding the
    Effectiveness of MAML", ICLR 2020, section 4.

    Examples
    --------
    >>> from sklearn_meta import ANILClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = ANILClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float | None = inner_lr(None)
    inner_steps: int = inner_steps(5)
    first_order: bool = first_order(False)
    head: str = head("shared")
    learned_lr: str | None = learned_lr()

    activation_checkpointing: bool = activation_checkpointing()

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return GradientLearner(
            self.make_loss(),
            self.make_head(),
            HeadAlone(),
            make_rate(self.learned_lr, self.inner_lr, self.head),
            self.inner_steps,
            first_order_until=float(self.first_order),
            activation_checkpointing=self.activation_checkpointing,
        )


@describe
@dataclass(eq=False, repr=False)
class ANILRegressor(MetaRegressor):
    """Regressor that meta-learns its features and adapts only the output layer.

    As MAML, but the inner loop moves the output layer w only:
    w_(k+1) = w_k - alpha grad_w L(w_k, f_theta(support)). The features do not change, so steps
    cost next to nothing.

    See Also
    --------
    ANILClassifier : The same algorithm for classification.
    MAMLRegressor : Adapts all layers.
    BOILRegressor : Adapts all layers but the output layer.

    References
    ----------
    Raghu, Raghu, Bengio and Vinyals, "Rapid Learning or Feature Reuse? Towards Understanding the
    Effectiveness of MAML", ICLR 2020, section 4.

    Examples
    --------
    >>> from sklearn_meta import ANILRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = ANILRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_lr: float = inner_lr(0.01)
    inner_steps: int = inner_steps(5)
    first_order: bool = first_order(False)
    learned_lr: str | None = learned_lr()

    activation_checkpointing: bool = activation_checkpointing()

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return GradientLearner(
            self.make_loss(),
            self.make_head(),
            HeadAlone(),
            make_rate(self.learned_lr, self.inner_lr),
            self.inner_steps,
            first_order_until=float(self.first_order),
            activation_checkpointing=self.activation_checkpointing,
        )
