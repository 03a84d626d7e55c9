"""Proto-MAML: gradient steps from the prototypical network.

    w_k = 2 c_k,    b_k = -|c_k|^2,    c_k = mean of f_theta(x) over the support rows of class k
    phi_0 = (theta, w, b),    phi_(t+1) = phi_t - alpha grad L(phi_t, D_support)    (section 3)

The first logits w_k f(x) + b_k are -|f(x) - c_k|^2 up to a constant. Triantafillou et al.,
"Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few Examples", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sklearn_meta.base import MetaClassifier, inner_loop
from sklearn_meta.functional import Params
from sklearn_meta.inner import (
    AdaptedPart,
    Examples,
    FullNetwork,
    GradientLearner,
    Head,
    Network,
    PrototypeHead,
)
from sklearn_meta.parameters import describe

__all__ = ["ProtoMAML", "ProtoMAMLClassifier"]


@dataclass(frozen=True)
class ProtoMAML(GradientLearner):
    """Triantafillou et al., "Meta-Dataset", ICLR 2020, section 3."""

    head: Head = field(default=PrototypeHead(), kw_only=True)  # w_k = 2 c_k, b_k = -|c_k|^2
    adapts: AdaptedPart = field(default=FullNetwork(), init=False)

    def iterates(self, f: Network, theta: Params, support: Examples) -> Iterator[Params]:
        """Iterate phi_(t+1) = phi_t - alpha grad L(phi_t, D_support) from the prototypes."""
        phi, constant, loss = self.inner_problem(f, theta, support)
        grad = self.inner_gradient(loss, theta)
        yield constant | phi
        for t in range(self.inner_steps):
            phi = self.step(phi, self.rate.at(theta, t), grad(phi))  # phi - alpha grad L
            yield constant | phi


@describe
@dataclass(eq=False, repr=False)
class ProtoMAMLClassifier(MetaClassifier):
    """Classifier that takes gradient steps from the nearest-prototype classifier.

    The inner loop starts from the prototypical network: the output layer of a task is w_k = 2 c_k,
    b_k = -|c_k|^2 with c_k the class means of the embedded support, so that the first logits are
    -|f(x) - c_k|^2; then backbone and output layer descend together. The gradient flows through the
    prototypes into the embedding. :class:`MAMLClassifier` with ``head="prototype"`` is the same
    with second-order gradients.

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
    >>> clf = ProtoMAMLClassifier(hidden_layer_sizes=16, max_meta_iter=5, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float = inner_loop.inner_lr(
        0.01,
        """Step size alpha. The logits grow with the length of the features, so that steps that
        suit other heads overshoot here.""",
    )
    inner_steps: int = inner_loop.inner_steps(5)
    first_order: bool = inner_loop.first_order(True)
    learned_lr: str | None = inner_loop.learned_lr()
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> ProtoMAML:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate(self.learned_lr, self.inner_lr)
        return self.build(ProtoMAML, head=PrototypeHead(), rate=rate)
