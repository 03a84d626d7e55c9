"""MAML++: MAML that trains steadily."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_params import UnrolledParams, gradient_learner
from sklearn_meta.base.params_doc import describe_shared
from sklearn_meta.inner import Everything, GradientLearner, MultiStep
from sklearn_meta.parameters import Check, real

__all__ = ["MAMLPlusPlusClassifier", "MAMLPlusPlusRegressor"]

CHECKS: dict[str, Check] = {"multi_step_until": real(0, 1), "first_order_until": real(0, 1)}


def _learner(est: Any) -> GradientLearner:
    """Put MAML++ together: a step a tensor and inner step, a loss after each, annealing."""
    return gradient_learner(
        est,
        Everything(),
        learned_lr="tensor",
        outer=MultiStep(est.multi_step_until),
        first_order_until=est.first_order_until,
    )


@describe_shared
@dataclass(eq=False, repr=False)
class MAMLPlusPlusClassifier(UnrolledParams, MetaClassifier):
    """Classifier by MAML with learned step sizes and a loss after each step.

    MAML with four cures of its training: the loss after each inner step counts at first,
    sum_k v_k L(phi_k), with v moving to the last step (multi-step loss); a learned step for each
    tensor and inner step; first-order gradients at first, if wanted (derivative annealing); a
    cosine schedule of `meta_lr`. The paper's statistics and biases of batch normalisation by step
    are left out: the backbones normalise by row.

    Parameters
    ----------
    inner_lr : float or None, default=None
        Where the learned steps start; None: 0.01 for ``head="prototype"``, else 0.4. No effect
        after `meta_fit`.
    inner_steps : int, default=5
        Gradient steps; 0 gives the prior's predictions. Free to change after `meta_fit`: steps
        beyond those of meta-training take the last one's rates, also in a warm start.
    multi_step_until : float, default=0.15
        Share of meta-training in which the losses of all steps count. 0: the last one's, always.
    first_order_until : float, default=0
        Share of meta-training in which the inner gradients count as constants. 0 is second order
        and 1 first order throughout; the paper's 50 of 150 epochs are 1/3.
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
    MAMLPlusPlusRegressor : The same algorithm for regression.
    MAMLClassifier : The algorithm without these additions.

    References
    ----------
    Antoniou, Edwards and Storkey, "How to Train Your MAML", ICLR 2019, section 4; the weights v_k
    are those of the official code.

    Examples
    --------
    >>> from sklearn_meta import MAMLPlusPlusClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = MAMLPlusPlusClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float | None = None
    inner_steps: int = 5
    multi_step_until: float = 0.15
    first_order_until: float = 0.0
    head: str = "prototype"

    _structural: ClassVar[tuple[str, ...]] = (*MetaClassifier._structural, "head")
    _training: ClassVar[tuple[str, ...]] = (
        *MetaClassifier._training,
        "inner_lr",
        "multi_step_until",
        "first_order_until",
    )

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return _learner(self)

    def _param_checks(self) -> dict[str, Check]:
        return super()._param_checks() | CHECKS


@describe_shared
@dataclass(eq=False, repr=False)
class MAMLPlusPlusRegressor(UnrolledParams, MetaRegressor):
    """Regressor by MAML with learned step sizes and a loss after each step.

    MAML with four cures of its training: the loss after each inner step counts at first,
    sum_k v_k L(phi_k), with v moving to the last step (multi-step loss); a learned step for each
    tensor and inner step; first-order gradients at first, if wanted (derivative annealing); a
    cosine schedule of `meta_lr`. The paper's statistics and biases of batch normalisation by step
    are left out: the backbones normalise by row.

    Parameters
    ----------
    inner_lr : float, default=0.01
        Where the learned steps start. No effect after `meta_fit`.
    inner_steps : int, default=5
        Gradient steps; 0 gives the prior's predictions. Free to change after `meta_fit`: steps
        beyond those of meta-training take the last one's rates, also in a warm start.
    multi_step_until : float, default=0.15
        Share of meta-training in which the losses of all steps count. 0: the last one's, always.
    first_order_until : float, default=0
        Share of meta-training in which the inner gradients count as constants. 0 is second order
        and 1 first order throughout; the paper's 50 of 150 epochs are 1/3.
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
    MAMLPlusPlusClassifier : The same algorithm for classification.
    MAMLRegressor : The algorithm without these additions.

    References
    ----------
    Antoniou, Edwards and Storkey, "How to Train Your MAML", ICLR 2019, section 4; the weights v_k
    are those of the official code.

    Examples
    --------
    >>> from sklearn_meta import MAMLPlusPlusRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = MAMLPlusPlusRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_lr: float = 0.01
    inner_steps: int = 5
    multi_step_until: float = 0.15
    first_order_until: float = 0.0

    _training: ClassVar[tuple[str, ...]] = (
        *MetaRegressor._training,
        "inner_lr",
        "multi_step_until",
        "first_order_until",
    )

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return _learner(self)

    def _param_checks(self) -> dict[str, Check]:
        return super()._param_checks() | CHECKS
