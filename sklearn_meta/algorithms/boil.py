"""BOIL: only the backbone adapts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_params import UnrolledParams, gradient_learner
from sklearn_meta.base.params_doc import describe_shared
from sklearn_meta.inner import Body, GradientLearner
from sklearn_meta.parameters import Check, option

__all__ = ["BOILClassifier", "BOILRegressor"]


@describe_shared
@dataclass(eq=False, repr=False)
class BOILClassifier(UnrolledParams, MetaClassifier):
    """Classifier that adapts the backbone and leaves the output layer as it is.

    As MAML, but the output layer w stays at its start and the backbone alone moves:
    phi_(k+1) = phi_k - alpha grad_phi L(w, f_phi_k(support)). Features must change to fit a new
    task, which is said to help where new tasks are unlike the old ones.

    Parameters
    ----------
    inner_lr : float or None, default=None
        The step alpha; None: 0.01 for ``head="prototype"``, 0.4 for "fixed". Free to change after
        `meta_fit`.
    {inner_steps}
    {first_order}
    head : {"prototype", "fixed"}, default="prototype"
        Where the output layer stays: at the class prototypes, or at one learned vector a class
        position, which limits the number of classes and depends on their order. (One vector for
        all classes could not tell them apart.) Structural.
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

    inner_lr: float | None = None
    inner_steps: int = 5
    first_order: bool = False
    head: str = "prototype"
    learned_lr: str | None = None

    _structural: ClassVar[tuple[str, ...]] = (*MetaClassifier._structural, "head", "learned_lr")
    _training: ClassVar[tuple[str, ...]] = (*MetaClassifier._training, "first_order")

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return gradient_learner(self, Body())

    def _param_checks(self) -> dict[str, Check]:
        return super()._param_checks() | {"head": option("prototype", "fixed")}


@describe_shared
@dataclass(eq=False, repr=False)
class BOILRegressor(UnrolledParams, MetaRegressor):
    """Regressor that adapts the backbone and leaves the output layer as it is.

    As MAML, but the output layer w stays at its start and the backbone alone moves:
    phi_(k+1) = phi_k - alpha grad_phi L(w, f_phi_k(support)). Features must change to fit a new
    task, which is said to help where new tasks are unlike the old ones.

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

    inner_lr: float = 0.01
    inner_steps: int = 5
    first_order: bool = False
    learned_lr: str | None = None

    _structural: ClassVar[tuple[str, ...]] = (*MetaRegressor._structural, "learned_lr")
    _training: ClassVar[tuple[str, ...]] = (*MetaRegressor._training, "first_order")

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return gradient_learner(self, Body())
