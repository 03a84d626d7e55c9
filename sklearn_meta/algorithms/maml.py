"""Model-agnostic meta-learning: an initialisation from which a few gradient steps suffice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_meta.core import (
    Algorithm,
    Examples,
    FixedHead,
    Head,
    LinearHead,
    MetaClassifier,
    MetaRegressor,
    Network,
    PrototypeHead,
    SharedHead,
    copies,
)
from sklearn_meta.core.params import Check, integer, option, real
from sklearn_meta.core.params_doc import describe_shared, store
from sklearn_meta.functional import Params, cross_entropy, descend, linear, squared_error

__all__ = ["MAML", "MAMLClassifier", "MAMLRegressor"]

HEADS: dict[str, Head] = {
    "prototype": PrototypeHead(),
    "shared": SharedHead(),
    "fixed": FixedHead(),
}
# prototypes start at logits of the size of |z|^2: the same step would overshoot
INNER_LR = {"prototype": 0.01, "shared": 0.4, "fixed": 0.4}


@dataclass(frozen=True)
class MAML(Algorithm):
    """Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning", ICML 2017, eq. 1 and algorithm 1."""

    head: Head
    inner_lr: float
    inner_steps: int
    first_order: bool

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Theta: the initial weights of the network."""
        return f.init(generator) | self.head.init(n_outputs, f.n_features_out, generator)

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """phi_0 = theta,  phi_(k+1) = phi_k - alpha grad L(phi_k, D_support)."""

        def loss(phi: Params) -> Tensor:
            prediction = self.predict(f, theta, phi, support.X)
            return self.criterion(prediction, support.y, support.weight)

        phi = copies(theta, support) | self.head.start(f, theta, support)
        learning = any(p.requires_grad for p in theta.values())  # else d phi/d theta is unused
        second_order = learning and not self.first_order
        return descend(loss, phi, self.inner_lr, self.inner_steps, create_graph=second_order)

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """f_phi(X)."""
        return linear(f(phi, X), phi["head.weight"], phi["head.bias"])


@describe_shared
class MAMLClassifier(MetaClassifier):
    """Classifier that learns an initialisation from which a few gradient steps suffice.

    The outer loop learns the initial weights theta, the inner loop adapts them to the support by
    gradient descent, phi_(k+1) = phi_k - alpha grad L(phi_k), with L the mean cross-entropy. (The
    official code's alpha is smaller by a factor n_way: it sums over the rows and divides by the
    shots, so that its 0.4 for five ways is 2.0 here.)

    Parameters
    ----------
    inner_lr : float or None, default=None
        The step alpha; None: 0.01 for ``head="prototype"``, else 0.4. Free to change after
        `meta_fit`.
    inner_steps : int, default=5
        Gradient steps; 0 gives the prior's predictions. Free to change after `meta_fit`.
    first_order : bool, default=False
        Treat the inner gradients as constants in the outer loop (FOMAML): cheaper, less exact.
    head : {"prototype", "shared", "fixed"}, default="prototype"
        Where the output layer starts: from the class prototypes (Proto-MAML), every class from
        one learned vector (UNICORN-MAML), or, as in the original, from one learned vector a class
        position, which limits the number of classes and depends on their order. Structural.
    {network}
    {episodes}
    {outer}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the support.
    {attributes}

    Raises
    ------
    TaskError
        From `meta_fit`, if a task cannot be used.
    ValueError
        If a parameter or a support cannot be used.

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

    _structural = (*MetaClassifier._structural, "head")
    _training = (*MetaClassifier._training, "first_order")

    def __init__(
        self,
        inner_lr: float | None = None,
        inner_steps: int = 5,
        first_order: bool = False,
        head: str = "prototype",
        *,
        backbone: str | nn.Module | Callable[..., nn.Module] = "mlp",
        hidden_layer_sizes: int | Sequence[int] = (64, 64),
        activation: str = "relu",
        norm: str | None = "layer",
        scaling: str | None = "pooled",
        n_shot: int | tuple[int, int] = (1, 5),
        n_query: int = 15,
        meta_lr: float = 1e-3,
        meta_lr_schedule: str = "cosine",
        max_meta_iter: int = 1000,
        iters_per_epoch: int = 100,
        meta_batch_size: int | None = None,
        max_grad_norm: float | None = 10.0,
        early_stopping: bool = False,
        patience: int = 10,
        callbacks: list[Any] | None = None,
        net_params: dict[str, Any] | None = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        store(self, locals())

    def _algorithm(self) -> MAML:
        return MAML(
            cross_entropy,
            HEADS[self.head],
            INNER_LR[self.head] if self.inner_lr is None else self.inner_lr,
            self.inner_steps,
            self.first_order,
        )

    def _param_checks(self) -> dict[str, Check]:
        free = {"inner_lr": real(0, open_left=True, none=True), "head": option(*HEADS)}
        return super()._param_checks() | _inner_checks() | free


@describe_shared
class MAMLRegressor(MetaRegressor):
    """Regressor that learns an initialisation from which a few gradient steps suffice.

    The outer loop learns the initial weights theta, the inner loop adapts them to the support by
    gradient descent, phi_(k+1) = phi_k - alpha grad L(phi_k), with L the mean squared error of
    standardised targets.

    Parameters
    ----------
    inner_lr : float, default=0.1
        The step alpha. Free to change after `meta_fit`.
    inner_steps : int, default=5
        Gradient steps; 0 gives the prior's predictions. Free to change after `meta_fit`.
    first_order : bool, default=False
        Treat the inner gradients as constants in the outer loop (FOMAML): cheaper, less exact.
    {network}
    {episodes}
    {outer}

    Attributes
    ----------
    {attributes}

    Raises
    ------
    TaskError
        From `meta_fit`, if a task cannot be used.
    ValueError
        If a parameter or a support cannot be used.

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

    _training = (*MetaRegressor._training, "first_order")

    def __init__(
        self,
        inner_lr: float = 0.1,
        inner_steps: int = 5,
        first_order: bool = False,
        *,
        backbone: str | nn.Module | Callable[..., nn.Module] = "mlp",
        hidden_layer_sizes: int | Sequence[int] = (64, 64),
        activation: str = "relu",
        norm: str | None = "layer",
        scaling: str | None = "pooled",
        n_support: int | tuple[int, int] = (5, 10),
        n_query: int = 15,
        meta_lr: float = 1e-3,
        meta_lr_schedule: str = "cosine",
        max_meta_iter: int = 1000,
        iters_per_epoch: int = 100,
        meta_batch_size: int | None = None,
        max_grad_norm: float | None = 10.0,
        early_stopping: bool = False,
        patience: int = 10,
        callbacks: list[Any] | None = None,
        net_params: dict[str, Any] | None = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        store(self, locals())

    def _algorithm(self) -> MAML:
        return MAML(squared_error, LinearHead(), self.inner_lr, self.inner_steps, self.first_order)

    def _param_checks(self) -> dict[str, Check]:
        return super()._param_checks() | _inner_checks()


def _inner_checks() -> dict[str, Check]:
    return {
        "inner_lr": real(0, open_left=True),
        "inner_steps": integer(0),
        "first_order": option(True, False),
    }
