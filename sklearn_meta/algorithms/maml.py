"""Model-agnostic meta-learning: an initialisation from which a few gradient steps suffice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_params import UnrolledParams, gradient_learner
from sklearn_meta.base.params_doc import describe_shared
from sklearn_meta.inner import Everything, GradientLearner

__all__ = ["MAMLClassifier", "MAMLRegressor"]


@describe_shared
@dataclass(eq=False, repr=False)
class MAMLClassifier(UnrolledParams, MetaClassifier):
    """Classifier that learns an initialisation from which a few gradient steps suffice.

    The outer loop learns the initial weights theta, the inner loop adapts them to the support by
    gradient descent, phi_(k+1) = phi_k - alpha grad L(phi_k), with L the mean cross-entropy. By
    default the output layer starts from the class prototypes of the support, for any number of
    classes (that is second-order Proto-MAML); ``head="fixed"`` is the layer of the paper. (The
    official code's alpha is smaller by a factor n_way: it sums over the rows and divides by the
    shots, so that its 0.4 for five ways is 2.0 here.)

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

    inner_lr: float | None = None
    inner_steps: int = 5
    first_order: bool = False
    head: str = "prototype"
    learned_lr: str | None = None

    _structural: ClassVar[tuple[str, ...]] = (*MetaClassifier._structural, "head", "learned_lr")
    _training: ClassVar[tuple[str, ...]] = (*MetaClassifier._training, "first_order")

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return gradient_learner(self, Everything())


@describe_shared
@dataclass(eq=False, repr=False)
class MAMLRegressor(UnrolledParams, MetaRegressor):
    """Regressor that learns an initialisation from which a few gradient steps suffice.

    The outer loop learns the initial weights theta, the inner loop adapts them to the support by
    gradient descent, phi_(k+1) = phi_k - alpha grad L(phi_k), with L the mean squared error of
    standardised targets.

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

    inner_lr: float = 0.01
    inner_steps: int = 5
    first_order: bool = False
    learned_lr: str | None = None

    _structural: ClassVar[tuple[str, ...]] = (*MetaRegressor._structural, "learned_lr")
    _training: ClassVar[tuple[str, ...]] = (*MetaRegressor._training, "first_order")

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return gradient_learner(self, Everything())
