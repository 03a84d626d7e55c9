"""ANIL, almost no inner loop: only the output layer w adapts, the features f_theta stay.

    w_(k+1) = w_k - alpha grad_w L(w_k, f_theta(D_support))                    (section 4)

Raghu, Raghu, Bengio and Vinyals, "Rapid Learning or Feature Reuse? Towards Understanding the
Effectiveness of MAML", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sklearn_meta.base import MetaClassifier, MetaRegressor, inner_loop
from sklearn_meta.functional import Params
from sklearn_meta.inner import AdaptedPart, Examples, GradientLearner, HeadOnly, Network
from sklearn_meta.parameters import describe

__all__ = ["ANIL", "ANILClassifier", "ANILRegressor"]


@dataclass(frozen=True)
class ANIL(GradientLearner):
    """Raghu et al., "Rapid Learning or Feature Reuse?", ICLR 2020, section 4."""

    adapts: AdaptedPart = field(default=HeadOnly(), init=False)

    def iterates(self, f: Network, theta: Params, support: Examples) -> Iterator[Params]:
        """Iterate w_(k+1) = w_k - alpha grad_w L(w_k, f_theta(D_support))."""
        w, constant, loss = self.inner_problem(f, theta, support)  # embeds the support once
        grad = self.inner_gradient(loss, theta)
        yield constant | w
        for k in range(self.inner_steps):
            w = self.step(w, self.rate.at(theta, k), grad(w))  # w - alpha grad_w L, section 4
            yield constant | w


@describe
@dataclass(eq=False, repr=False)
class ANILClassifier(MetaClassifier):
    """Classifier that meta-learns its features and adapts only the output layer.

    As in MAML, the inner loop is gradient descent, but of the output layer w only:
    w_(k+1) = w_k - alpha grad_w L(w_k, f_theta(support)). The features do not change, so that a
    step costs little; the outer loop learns features that suit such steps.

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

    inner_lr: float | None = inner_loop.inner_lr(None)
    inner_steps: int = inner_loop.inner_steps(5)
    first_order: bool = inner_loop.first_order(False)
    head: str = inner_loop.head("shared")
    learned_lr: str | None = inner_loop.learned_lr()
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> ANIL:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate(self.learned_lr, self.inner_lr, self.head)
        return self.build(ANIL, rate=rate)


@describe
@dataclass(eq=False, repr=False)
class ANILRegressor(MetaRegressor):
    """Regressor that meta-learns its features and adapts only the output layer.

    The algorithm is that of :class:`ANILClassifier`, with a linear output layer.

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

    inner_lr: float = inner_loop.inner_lr(0.01)
    inner_steps: int = inner_loop.inner_steps(5)
    first_order: bool = inner_loop.first_order(False)
    learned_lr: str | None = inner_loop.learned_lr()
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> ANIL:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate(self.learned_lr, self.inner_lr)
        return self.build(ANIL, rate=rate)
