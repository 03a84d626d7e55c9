"""Pre-train on all tasks together, fine-tune on the new one: the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_params import InnerLoopParams
from sklearn_meta.base.params_doc import describe_shared
from sklearn_meta.functional import Optimizer, adam, cross_entropy, squared_error
from sklearn_meta.inner import (
    Adapts,
    Criterion,
    Everything,
    FineTune,
    FixedHead,
    Head,
    HeadAlone,
    LinearHead,
    PrototypeHead,
    ZeroHead,
)
from sklearn_meta.parameters import Check, option, real

__all__ = ["FineTuneClassifier", "FineTuneRegressor"]

ADAPTS: dict[str, Adapts] = {"all": Everything(), "head": HeadAlone()}
HEADS: dict[str, Head] = {"zero": ZeroHead(), "prototype": PrototypeHead()}
OPTIMIZERS: dict[str, Optimizer] = {"sgd": torch.optim.SGD, "adam": adam}
CHECKS: dict[str, Check] = {
    "inner_lr": real(0, open_left=True),
    "inner_optimizer": option(*OPTIMIZERS),
    "adapts": option(*ADAPTS),
}


def _fine_tune(est: Any, criterion: Criterion, head: Head, trained: Head) -> FineTune:
    return FineTune(
        criterion,
        head,
        ADAPTS[est.adapts],
        trained=trained,
        optimizer=OPTIMIZERS[est.inner_optimizer],
        inner_lr=est.inner_lr,
        inner_steps=est.inner_steps,
    )


@describe_shared
@dataclass(eq=False, repr=False)
class FineTuneClassifier(InnerLoopParams, MetaClassifier):
    """Classifier that is pre-trained on all classes of all tasks, then fine-tuned on the new task.

    A baseline: `meta_fit` trains one network on the rows of all tasks together, by the mean
    cross-entropy over the labels of all tasks. The same label in two tasks is taken for the same
    class there (so names local to a task, a "class 0" in each, teach it little); the output layer
    that was trained on them is dropped, and a new task may have any labels. `fit` starts a new
    output layer and takes `inner_steps` steps on the support, in full batches.

    Parameters
    ----------
    adapts : {"all", "head"}, default="all"
        What `fit` trains: all of the network, or the new output layer alone (faster: no step
        embeds the support again).
    head : {"zero", "prototype"}, default="zero"
        Where the new output layer starts: from zeros, or from the class prototypes (w_k = 2 c_k,
        b_k = -|c_k|^2).
    inner_optimizer : {"sgd", "adam"}, default="sgd"
        What takes the steps of `fit`.
    inner_lr : float, default=0.01
        Its step.
    inner_steps : int, default=100
        How many steps; 0 gives what the head starts from. These five are free to change after
        `meta_fit`.
    {network}
    {outer}
    {n_shot}

    Attributes
    ----------
    {classes}
    {attributes}

    Raises
    ------
    {raises}

    See Also
    --------
    FineTuneRegressor : The same baseline for regression.
    PooledClassifier : Does not adapt to the support.
    BaselinePlusPlusClassifier : Fine-tunes an output layer of cosine similarities.

    References
    ----------
    Chen, Liu, Kira, Wang and Huang, "A Closer Look at Few-shot Classification", ICLR 2019
    (Baseline). Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
    Networks", ICML 2017, section 5.2 (the fine-tuning baseline).

    Examples
    --------
    >>> from sklearn_meta import FineTuneClassifier
    >>> from sklearn_meta.datasets import load_digits_tasks
    >>> digits = load_digits_tasks(n_test_tasks=1)
    >>> clf = FineTuneClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(digits.meta_train)
    >>> (task,) = digits.test_tasks
    >>> clf.fit(task.X_support, task.y_support).predict(task.X_query).shape
    (75,)
    """

    adapts: str = "all"
    head: str = "zero"
    inner_optimizer: str = "sgd"
    inner_lr: float = 0.01
    inner_steps: int = 100

    shared_labels: ClassVar[bool] = True

    def make_algorithm(self) -> FineTune:
        """Make the algorithm that the parameters describe."""
        return _fine_tune(self, cross_entropy, HEADS[self.head], FixedHead())

    def _param_checks(self) -> dict[str, Check]:
        return super()._param_checks() | CHECKS | {"head": option(*HEADS)}


@describe_shared
@dataclass(eq=False, repr=False)
class FineTuneRegressor(InnerLoopParams, MetaRegressor):
    """Regressor that is pre-trained on all tasks together, then fine-tuned on the new one.

    A baseline: `meta_fit` trains one network on the rows of all tasks together, by the mean
    squared error; `fit` takes `inner_steps` steps on the support from there, in full batches.

    Parameters
    ----------
    adapts : {"all", "head"}, default="all"
        What `fit` trains: all of the network, or the output layer.
    inner_optimizer : {"sgd", "adam"}, default="sgd"
        What takes the steps of `fit`.
    inner_lr : float, default=0.01
        Its step, on standardised targets.
    inner_steps : int, default=100
        How many steps; 0 gives the predictions of :class:`~sklearn_meta.PooledRegressor`. These
        four are free to change after `meta_fit`.
    {network}
    {outer}
    {n_support}

    Attributes
    ----------
    {attributes}

    Raises
    ------
    {raises}

    See Also
    --------
    FineTuneClassifier : The same baseline for classification.
    PooledRegressor : Does not adapt to the support.

    References
    ----------
    Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    ICML 2017, section 5.1 (the baseline pre-trained on all tasks).

    Examples
    --------
    >>> from sklearn_meta import FineTuneRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = FineTuneRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    adapts: str = "all"
    inner_optimizer: str = "sgd"
    inner_lr: float = 0.01
    inner_steps: int = 100

    def make_algorithm(self) -> FineTune:
        """Make the algorithm that the parameters describe."""
        return _fine_tune(self, squared_error, LinearHead(), LinearHead())

    def _param_checks(self) -> dict[str, Check]:
        return super()._param_checks() | CHECKS
