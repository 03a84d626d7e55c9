"""Meta-SGD: a learned step size for each weight, along with the initialisation.

    phi = theta - alpha o grad L(theta, D_support)                             (eq. 1)
    min_(theta, alpha) E_T L(phi, D_query)                                     (algorithm 1)

Li, Zhou, Chen and Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sklearn_meta.base import MetaClassifier, MetaRegressor, inner_loop
from sklearn_meta.functional import Params
from sklearn_meta.inner import AdaptedPart, Examples, FullNetwork, GradientLearner, Network
from sklearn_meta.parameters import describe

__all__ = ["MetaSGD", "MetaSGDClassifier", "MetaSGDRegressor"]


@dataclass(frozen=True)
class MetaSGD(GradientLearner):
    """Li, Zhou, Chen and Li, "Meta-SGD", 2017, eq. 1 and algorithm 1, with any number of steps."""

    adapts: AdaptedPart = field(default=FullNetwork(), init=False)

    def iterates(self, f: Network, theta: Params, support: Examples) -> Iterator[Params]:
        """Iterate phi_(k+1) = phi_k - alpha o grad L(phi_k, D_support) from phi_0 = theta."""
        phi, constant, loss = self.inner_problem(f, theta, support)
        grad = self.inner_gradient(loss, theta)
        yield constant | phi
        for k in range(self.inner_steps):
            alpha = self.rate.at(theta, k)  # one number for each weight, learned
            phi = self.step(phi, alpha, grad(phi))  # phi - alpha o grad L, eq. 1
            yield constant | phi


LARGEST_LR = """Largest of the step sizes to start from: each is drawn from
U(inner_lr / 20, inner_lr)."""


@describe
@dataclass(eq=False, repr=False)
class MetaSGDClassifier(MetaClassifier):
    """Classifier that learns an initialisation and a step size for each weight.

    The outer loop learns the initial weights theta and a step size for each weight,
    phi = theta - alpha o grad L(theta), of either sign: a direction as well as a length. The paper
    takes one step; further steps use the same alpha. By default the output layer starts from one
    learned vector for each class position, as in the paper, which limits the number of classes to
    those of meta-training. The classes share the step sizes of the output layer.

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

    inner_lr: float | None = inner_loop.inner_lr(None, LARGEST_LR, "training")
    inner_steps: int = inner_loop.inner_steps(1)
    first_order: bool = inner_loop.first_order(False)
    head: str = inner_loop.head("fixed")
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> MetaSGD:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate("parameter", self.inner_lr, self.head)
        return self.build(MetaSGD, rate=rate)


@describe
@dataclass(eq=False, repr=False)
class MetaSGDRegressor(MetaRegressor):
    """Regressor that learns an initialisation and a step size for each weight.

    The algorithm is that of :class:`MetaSGDClassifier`, with a linear output layer that has a step
    size for each of its weights too.

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

    inner_lr: float = inner_loop.inner_lr(0.02, LARGEST_LR, "training")
    inner_steps: int = inner_loop.inner_steps(1)
    first_order: bool = inner_loop.first_order(False)
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> MetaSGD:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate("parameter", self.inner_lr)
        return self.build(MetaSGD, rate=rate)
