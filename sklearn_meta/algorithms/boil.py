"""BOIL: only the backbone adapts."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_loop import (
    activation_checkpointing,
    first_order,
    inner_lr,
    inner_steps,
    learned_lr,
    make_rate,
)
from sklearn_meta.inner import Body, GradientLearner
from sklearn_meta.parameters import describe, option, param

__all__ = ["BOILClassifier", "BOILRegressor"]


@describe
@dataclass(eq=False, repr=False)
class BOILClassifier(MetaClassifier):
    """Classifier that adapts the backbone and leaves the output layer as it is.

    As MAML, but the output layer w stays at its start and the backbone alone moves:
    phi_(k+1) = phi_k - alpha grad_phi L(w, f_phi_k(support)). Features must change to fit a new
    task, which is said to help where new tasks are unlike the old ones.

    See Also
    --------
    BOILRegressor : The same algorithm for regression.
    MAMLClassifier : Adapts all layers.
    ANILClassifier : Adapts only the output layer.

    References
    ----------
    Oh, Yoo, Kim and Yun, "BOIL: Towards Representation Change for Few-shot Learning", ICLR 2021,
    section 3.

    Examples
    --------
    >>> from sklearn_meta import BOILClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = BOILClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float | None = inner_lr(None)
    inner_steps: int = inner_steps(5)
    first_order: bool = first_order(False)
    head: str = param(
        "prototype",
        option("prototype", "fixed"),
        "structural",
        """Where the output layer stays: at the class prototypes, or at one learned vector for each
        class position, which limits the number of classes and depends on their order. (One vector
        for all classes could not tell them apart.)""",
    )
    learned_lr: str | None = learned_lr()

    activation_checkpointing: bool = activation_checkpointing()

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return GradientLearner(
            self.make_loss(),
            self.make_head(),
            Body(),
            make_rate(self.learned_lr, self.inner_lr, self.head),
            self.inner_steps,
            first_order_until=float(self.first_order),
            activation_checkpointing=self.activation_checkpointing,
        )


@describe
@dataclass(eq=False, repr=False)
class BOILRegressor(MetaRegressor):
    """Regressor that adapts the backbone and leaves the output layer as it is.

    As MAML, but the output layer w stays at its start and the backbone alone moves:
    phi_(k+1) = phi_k - alpha grad_phi L(w, f_phi_k(support)). Features must change to fit a new
    task, which is said to help where new tasks are unlike the old ones.

    See Also
    --------
    BOILClassifier : The same algorithm for classification.
    MAMLRegressor : Adapts all layers.
    ANILRegressor : Adapts only the output layer.

    References
    ----------
    Oh, Yoo, Kim and Yun, "BOIL: Towards Representation Change for Few-shot Learning", ICLR 2021,
    section 3.

    Examples
    --------
    >>> from sklearn_meta import BOILRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = BOILRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
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
            Body(),
            make_rate(self.learned_lr, self.inner_lr),
            self.inner_steps,
            first_order_until=float(self.first_order),
            activation_checkpointing=self.activation_checkpointing,
        )
