"""Model-agnostic meta-learning: an initialisation from which a few gradient steps suffice."""

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
from sklearn_meta.inner import Everything, GradientLearner
from sklearn_meta.parameters import describe

__all__ = ["MAMLClassifier", "MAMLRegressor"]


@describe
@dataclass(eq=False, repr=False)
class MAMLClassifier(MetaClassifier):
    """Classifier that learns an initialisation from which a few gradient steps suffice.

    The outer loop learns the initial weights theta, the inner loop adapts them to the support by
    gradient descent, phi_(k+1) = phi_k - alpha grad L(phi_k), with L the mean cross-entropy. By
    default the output layer starts from the class prototypes of the support, for any number of
    classes (that is second-order Proto-MAML); ``head="fixed"`` is the layer of the paper. (The
    official code's alpha is smaller by a factor n_way: it sums over the rows and divides by the
    shots, so that its 0.4 for five ways is 2.0 here.)

    See Also
    --------
    MAMLRegressor : The same algorithm for regression.
    ANILClassifier : Adapts only the output layer.
    MAMLPlusPlusClassifier : Trains more stably, with learned step sizes.
    ProtoNetClassifier : Adapts without gradient steps.

    References
    ----------
    Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    ICML 2017, eq. 1 and algorithm 2. Heads: Ye and Chao, ICLR 2022, section 5; Triantafillou et
    al., "Meta-Dataset", ICLR 2020, section 3.

    Examples
    --------
    >>> from sklearn_meta import MAMLClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = MAMLClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float | None = inner_lr(None)
    inner_steps: int = inner_steps(5)
    first_order: bool = first_order(False)
    head: str = head("prototype")
    learned_lr: str | None = learned_lr()

    activation_checkpointing: bool = activation_checkpointing()

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return GradientLearner(
            self.make_loss(),
            self.make_head(),
            Everything(),
            make_rate(self.learned_lr, self.inner_lr, self.head),
            self.inner_steps,
            first_order_until=float(self.first_order),
            activation_checkpointing=self.activation_checkpointing,
        )


@describe
@dataclass(eq=False, repr=False)
class MAMLRegressor(MetaRegressor):
    """Regressor that learns an initialisation from which a few gradient steps suffice.

    The outer loop learns the initial weights theta, the inner loop adapts them to the support by
    gradient descent, phi_(k+1) = phi_k - alpha grad L(phi_k), with L the mean squared error of
    standardised targets.

    See Also
    --------
    MAMLClassifier : The same algorithm for classification.
    ANILRegressor : Adapts only the output layer.
    MAMLPlusPlusRegressor : Trains more stably, with learned step sizes.
    CAVIARegressor : Adapts only a context vector.

    References
    ----------
    Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    ICML 2017, eq. 1 and algorithm 2.

    Examples
    --------
    >>> from sklearn_meta import MAMLRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = MAMLRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
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
            Everything(),
            make_rate(self.learned_lr, self.inner_lr),
            self.inner_steps,
            first_order_until=float(self.first_order),
            activation_checkpointing=self.activation_checkpointing,
        )
