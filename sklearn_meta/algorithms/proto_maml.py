"""Proto-MAML: gradient steps from the prototypical network."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn_meta.base import MetaClassifier
from sklearn_meta.base.inner_loop import (
    activation_checkpointing,
    first_order,
    inner_lr,
    inner_steps,
    learned_lr,
    make_rate,
)
from sklearn_meta.inner import Everything, GradientLearner, PrototypeHead
from sklearn_meta.parameters import describe

__all__ = ["ProtoMAMLClassifier"]


@describe
@dataclass(eq=False, repr=False)
class ProtoMAMLClassifier(MetaClassifier):
    """Classifier that takes gradient steps from the nearest-prototype classifier.

    The inner loop starts where the prototypical network ends: the output layer of a task is
    w_k = 2 c_k, b_k = -|c_k|^2 with c_k the class means of the embedded support, so that the first
    logits are -|f(x) - c_k|^2; then backbone and output layer descend together. The gradient flows
    through the prototypes into the embedding. :class:`MAMLClassifier` with ``head="prototype"`` is
    the same with the gradients of second order.

    See Also
    --------
    MAMLClassifier : Offers other output layers and second-order gradients.
    ProtoNetClassifier : Uses the prototypes without gradient steps.

    References
    ----------
    Triantafillou et al., "Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
    Examples", ICLR 2020, section 3.

    Examples
    --------
    >>> from sklearn_meta import ProtoMAMLClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = ProtoMAMLClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float = inner_lr(
        0.01,
        """Step size alpha. The logits grow with the length of the features, so that steps that
        suit other heads overshoot here.""",
    )
    inner_steps: int = inner_steps(5)
    first_order: bool = first_order(True)
    learned_lr: str | None = learned_lr()

    activation_checkpointing: bool = activation_checkpointing()

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return GradientLearner(
            self.make_loss(),
            PrototypeHead(),
            Everything(),
            make_rate(self.learned_lr, self.inner_lr),
            self.inner_steps,
            first_order_until=float(self.first_order),
            activation_checkpointing=self.activation_checkpointing,
        )
