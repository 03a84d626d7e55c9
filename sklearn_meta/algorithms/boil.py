"""BOIL: only the backbone adapts, the output layer w stays where it starts.

    phi_(k+1) = phi_k - alpha grad_phi L(w, f_phi_k(D_support))                (section 3)

Oh, Yoo, Kim and Yun, "BOIL: Towards Representation Change for Few-shot Learning", ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sklearn_meta.base import MetaClassifier, MetaRegressor, inner_loop
from sklearn_meta.functional import Params
from sklearn_meta.inner import AdaptedPart, BackboneOnly, Examples, GradientLearner, Network
from sklearn_meta.inner.heads import MeanHead
from sklearn_meta.parameters import describe, option, param

__all__ = ["BOIL", "BOILClassifier", "BOILRegressor"]


@dataclass(frozen=True)
class BOIL(GradientLearner):
    """Oh, Yoo, Kim and Yun, "BOIL", ICLR 2021, section 3."""

    adapts: AdaptedPart = field(default=BackboneOnly(), init=False)

    def iterates(self, f: Network, theta: Params, support: Examples) -> Iterator[Params]:
        """Iterate phi_(k+1) = phi_k - alpha grad_phi L(w, f_phi_k(D_support))."""
        phi, w, loss = self.inner_problem(f, theta, support)
        if not phi:
            raise ValueError(
                "BOIL adapts only the backbone, but the backbone has no parameters. Pass "
                "hidden_layer_sizes with at least one layer, or a backbone with weights."
            )
        grad = self.inner_gradient(loss, theta)
        yield w | phi
        for k in range(self.inner_steps):
            phi = self.step(phi, self.rate.at(theta, k), grad(phi))  # phi - alpha grad_phi L
            yield w | phi

    def with_new_labels(self) -> BOIL | None:
        """Return the algorithm, unless new labels would keep one vector that all of them share."""
        head = self.head.with_new_labels()
        return None if isinstance(head, MeanHead) else replace(self, head=head)


@describe
@dataclass(eq=False, repr=False)
class BOILClassifier(MetaClassifier):
    """Classifier that adapts the backbone and leaves the output layer as it is.

    As in MAML, the inner loop is gradient descent, but of the backbone only:
    phi_(k+1) = phi_k - alpha grad_phi L(w, f_phi_k(support)), where the output layer w stays at its
    start. Features must change to fit a new task, which is reported to help where new tasks are
    unlike those of meta-training.

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
    >>> clf = BOILClassifier(hidden_layer_sizes=16, max_meta_iter=5, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float | None = inner_loop.inner_lr(None)
    inner_steps: int = inner_loop.inner_steps(5)
    first_order: bool = inner_loop.first_order(False)
    head: str = param(
        "fixed",
        option("prototype", "fixed"),
        "structural",
        """Where the output layer stays: at one learned vector for each class position ("fixed", as
        in the paper), which limits the number of classes to those of meta-training and depends on
        their order, or at the class prototypes, for any number of classes. (One vector for all
        classes could not distinguish them.)""",
    )
    learned_lr: str | None = inner_loop.learned_lr()
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> BOIL:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate(self.learned_lr, self.inner_lr, self.head)
        return self.build(BOIL, rate=rate)


@describe
@dataclass(eq=False, repr=False)
class BOILRegressor(MetaRegressor):
    """Regressor that adapts the backbone and leaves the output layer as it is.

    The algorithm is that of :class:`BOILClassifier`, with a linear output layer.

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
    >>> reg = BOILRegressor(hidden_layer_sizes=16, max_meta_iter=5, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_lr: float = inner_loop.inner_lr(0.01)
    inner_steps: int = inner_loop.inner_steps(5)
    first_order: bool = inner_loop.first_order(False)
    learned_lr: str | None = inner_loop.learned_lr()
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> BOIL:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate(self.learned_lr, self.inner_lr)
        return self.build(BOIL, rate=rate)
