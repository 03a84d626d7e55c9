"""Proto-MAML: gradient steps from the prototypical network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sklearn_meta.base import MetaClassifier
from sklearn_meta.base.inner_params import UnrolledParams, gradient_learner
from sklearn_meta.base.params_doc import describe_shared
from sklearn_meta.inner import Everything, GradientLearner, PrototypeHead

__all__ = ["ProtoMAMLClassifier"]


@describe_shared
@dataclass(eq=False, repr=False)
class ProtoMAMLClassifier(UnrolledParams, MetaClassifier):
    """Classifier that takes gradient steps from the nearest-prototype classifier.

    The inner loop starts where the prototypical network ends: the output layer of a task is
    w_k = 2 c_k, b_k = -|c_k|^2 with c_k the class means of the embedded support, so that the first
    logits are -|f(x) - c_k|^2; then backbone and output layer descend together. The gradient flows
    through the prototypes into the embedding. :class:`MAMLClassifier` with ``head="prototype"`` is
    the same with the gradients of second order.

    Parameters
    ----------
    inner_lr : float, default=0.01
        The step alpha. The logits grow with the length of the features, so that steps that suit
        other heads overshoot here. Free to change after `meta_fit`.
    {inner_steps}
    {first_order}
    {learned_lr}
    {network}
    {outer}
    {n_shot}
    {checkpoint}

    Attributes
    ----------
    {classes}
    {attributes}

    Raises
    ------
    {raises}

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

    inner_lr: float = 0.01
    inner_steps: int = 5
    first_order: bool = True
    learned_lr: str | None = None

    _structural: ClassVar[tuple[str, ...]] = (*MetaClassifier._structural, "learned_lr")
    _training: ClassVar[tuple[str, ...]] = (*MetaClassifier._training, "first_order")

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return gradient_learner(self, Everything(), head=PrototypeHead())
