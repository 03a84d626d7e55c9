"""MAML: an initialisation theta from which a few gradient steps suffice.

    phi_0 = theta,    phi_(k+1) = phi_k - alpha grad L(phi_k, D_support)       (eq. 1)
    min_theta E_T L(phi_K, D_query)                                            (algorithm 2)

Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
ICML 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sklearn_meta.base import MetaClassifier, MetaRegressor, inner_loop
from sklearn_meta.functional import Params
from sklearn_meta.inner import AdaptedPart, Examples, FullNetwork, GradientLearner, Network
from sklearn_meta.parameters import describe

__all__ = ["MAML", "MAMLClassifier", "MAMLRegressor"]


@dataclass(frozen=True)
class MAML(GradientLearner):
    """Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning", ICML 2017, eq. 1 and algorithm 2."""

    adapts: AdaptedPart = field(default=FullNetwork(), init=False)

    def iterates(self, f: Network, theta: Params, support: Examples) -> Iterator[Params]:
        """Iterate phi_(k+1) = phi_k - alpha grad L(phi_k, D_support) from phi_0 = theta."""
        phi, constant, loss = self.inner_problem(f, theta, support)
        grad = self.inner_gradient(loss, theta)
        yield constant | phi
        for k in range(self.inner_steps):
            phi = self.step(phi, self.rate.at(theta, k), grad(phi))  # phi - alpha grad L, eq. 1
            yield constant | phi


@describe
@dataclass(eq=False, repr=False)
class MAMLClassifier(MetaClassifier):
    """Classifier that learns an initialisation from which a few gradient steps suffice.

    The outer loop learns the initial weights theta. The inner loop adapts them to the support by
    gradient descent, phi_(k+1) = phi_k - alpha grad L(phi_k). By default the output layer of every
    class starts from one learned vector (UNICORN-MAML), so that there may be any number of classes
    in any order, and without steps all of them are equally likely; ``head="fixed"`` is the layer of
    the paper. The first step moves the output layer alone, because equal rows of it pass no
    gradient to the features, so that it takes two steps or more to change these. The official code
    divides a sum over the rows by the shots, so that its alpha of 0.4 for five ways is 2.0 here,
    where L is a mean.

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
    >>> clf = MAMLClassifier(hidden_layer_sizes=16, max_meta_iter=5, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float | None = inner_loop.inner_lr(None)
    inner_steps: int = inner_loop.inner_steps(5)
    first_order: bool = inner_loop.first_order(False)
    head: str = inner_loop.head("shared")
    learned_lr: str | None = inner_loop.learned_lr()
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> MAML:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate(self.learned_lr, self.inner_lr, self.head)
        return self.build(MAML, rate=rate)


@describe
@dataclass(eq=False, repr=False)
class MAMLRegressor(MetaRegressor):
    """Regressor that learns an initialisation from which a few gradient steps suffice.

    The algorithm is that of :class:`MAMLClassifier`, with a linear output layer that is
    meta-learned too, and the loss of standardised targets.

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
    >>> reg = MAMLRegressor(hidden_layer_sizes=16, max_meta_iter=5, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_lr: float = inner_loop.inner_lr(0.01)
    inner_steps: int = inner_loop.inner_steps(5)
    first_order: bool = inner_loop.first_order(False)
    learned_lr: str | None = inner_loop.learned_lr()
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> MAML:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate(self.learned_lr, self.inner_lr)
        return self.build(MAML, rate=rate)
