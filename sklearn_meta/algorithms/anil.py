"""ANIL, almost no inner loop: only the output layer adapts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_params import UnrolledParams, gradient_learner
from sklearn_meta.base.params_doc import describe_shared
from sklearn_meta.inner import GradientLearner, HeadAlone

__all__ = ["ANILClassifier", "ANILRegressor"]


@describe_shared
@dataclass(eq=False, repr=False)
class ANILClassifier(UnrolledParams, MetaClassifier):
    """Classifier that meta-learns its features and adapts only the output layer.

    As MAML, but the inner loop moves the output layer w only:
    w_(k+1) = w_k - alpha grad_w L(w_k, f_theta(support)). The features do not change, so steps
    cost next to nothing; the outer loop learns features that are good for such steps.

    Parameters
    ----------
    inner_lr : float or None, default=None
        The step alpha; None: 0.01 for ``head="prototype"``, else 0.4. Free to change after
        `meta_fit`.
    {inner_steps}
    {first_order}
    {head}
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

    inner_lr: float | None = None
    inner_steps: int = 5
    first_order: bool = False
    head: str = "shared"
    learned_lr: str | None = None

    _structural: ClassVar[tuple[str, ...]] = (*MetaClassifier._structural, "head", "learned_lr")
    _training: ClassVar[tuple[str, ...]] = (*MetaClassifier._training, "first_order")

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return gradient_learner(self, HeadAlone())


@describe_shared
@dataclass(eq=False, repr=False)
class ANILRegressor(UnrolledParams, MetaRegressor):
    """Regressor that meta-learns its features and adapts only the output layer.

    As MAML, but the inner loop moves the output layer w only:
    w_(k+1) = w_k - alpha grad_w L(w_k, f_theta(support)). The features do not change, so steps
    cost next to nothing.

    Parameters
    ----------
    inner_lr : float, default=0.01
        The step alpha. Free to change after `meta_fit`.
    {inner_steps}
    {first_order}
    {learned_lr}
    {network}
    {outer}
    {n_support}
    {checkpoint}

    Attributes
    ----------
    {attributes}

    Raises
    ------
    {raises}

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

    inner_lr: float = 0.01
    inner_steps: int = 5
    first_order: bool = False
    learned_lr: str | None = None

    _structural: ClassVar[tuple[str, ...]] = (*MetaRegressor._structural, "learned_lr")
    _training: ClassVar[tuple[str, ...]] = (*MetaRegressor._training, "first_order")

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return gradient_learner(self, HeadAlone())
