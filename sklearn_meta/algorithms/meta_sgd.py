"""Meta-SGD: a learned step for each weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_params import UnrolledParams, gradient_learner
from sklearn_meta.base.params_doc import describe_shared
from sklearn_meta.inner import Everything, GradientLearner

__all__ = ["MetaSGDClassifier", "MetaSGDRegressor"]


@describe_shared
@dataclass(eq=False, repr=False)
class MetaSGDClassifier(UnrolledParams, MetaClassifier):
    """Classifier that learns an initialisation and a step size for each weight.

    The outer loop learns the initial weights theta and a step for each weight,
    phi = theta - alpha o grad L(theta), of either sign: a direction as well as a length. One step
    is the published design; more use the same alpha again. The steps of the output layer are shared
    by the classes, so that there may be any number of them.

    Parameters
    ----------
    inner_lr : float or None, default=None
        The largest step of the start: each is drawn from U(inner_lr / 20, inner_lr); None: 0.01 for
        ``head="prototype"``, else 0.4. No effect after `meta_fit`.
    inner_steps : int, default=1
        Gradient steps; 0 gives the prior's predictions. Free to change after `meta_fit`.
    {first_order}
    {head}
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

    inner_lr: float | None = None
    inner_steps: int = 1
    first_order: bool = False
    head: str = "prototype"

    _structural: ClassVar[tuple[str, ...]] = (*MetaClassifier._structural, "head")
    _training: ClassVar[tuple[str, ...]] = (*MetaClassifier._training, "inner_lr", "first_order")

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return gradient_learner(self, Everything(), learned_lr="parameter")


@describe_shared
@dataclass(eq=False, repr=False)
class MetaSGDRegressor(UnrolledParams, MetaRegressor):
    """Regressor that learns an initialisation and a step size for each weight.

    The outer loop learns the initial weights theta and a step for each weight,
    phi = theta - alpha o grad L(theta), of either sign: a direction as well as a length. One step
    is the published design; more use the same alpha again.

    Parameters
    ----------
    inner_lr : float, default=0.02
        The largest step of the start: each is drawn from U(inner_lr / 20, inner_lr). No effect
        after `meta_fit`.
    inner_steps : int, default=1
        Gradient steps; 0 gives the prior's predictions. Free to change after `meta_fit`.
    {first_order}
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

    inner_lr: float = 0.02
    inner_steps: int = 1
    first_order: bool = False

    _training: ClassVar[tuple[str, ...]] = (*MetaRegressor._training, "inner_lr", "first_order")

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return gradient_learner(self, Everything(), learned_lr="parameter")
