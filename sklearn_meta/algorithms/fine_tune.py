"""Fine-tuning, a baseline: pre-train on all tasks together, then continue on the new one.

min_theta E_T L(f_theta, D_T),    then steps of SGD or Adam on L(phi, D_support) from theta
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sklearn_meta.base import MetaClassifier, MetaRegressor, inner_loop
from sklearn_meta.functional import Optimizer, adam
from sklearn_meta.inner import (
    AdaptedPart,
    FineTune,
    FixedHead,
    FullNetwork,
    Head,
    HeadOnly,
    PrototypeHead,
    ZeroHead,
)
from sklearn_meta.parameters import describe, option, param

__all__ = ["FineTuneClassifier", "FineTuneRegressor"]

ADAPTS: dict[str, AdaptedPart] = {"all": FullNetwork(), "head": HeadOnly()}
HEADS: dict[str, Head] = {"zero": ZeroHead(), "prototype": PrototypeHead()}
OPTIMIZERS: dict[str, Optimizer] = {"sgd": torch.optim.SGD, "adam": adam}
STEPS, STEPS_IF_SHARED = 100, 10


def adapts() -> Any:
    """Declare which weights `fit` trains."""
    return param(
        "all",
        option(*ADAPTS),
        "adaptation",
        """Which weights `fit` trains: the full network, or only the new output layer, which is
        faster because the support is embedded once.""",
    )


def inner_optimizer() -> Any:
    """Declare the optimiser of `fit`."""
    return param("sgd", option(*OPTIMIZERS), "adaptation", "Optimiser of the steps of `fit`.")


@describe
@dataclass(eq=False, repr=False)
class FineTuneClassifier(MetaClassifier):
    """Classifier that is pre-trained on all classes of all tasks, then fine-tuned on the new task.

    A baseline: `meta_fit` trains one network on the rows of all tasks together, by the mean
    cross-entropy over the labels of all tasks. The same label in two tasks counts as the same
    class, so labels that are local to a task, a "class 0" in each, teach it little. The output
    layer that was trained on them is dropped, and a new task may have any labels. `fit` starts a
    new output layer and takes `inner_steps` steps on the support, in full batches.

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

    adapts: str = adapts()
    head: str = param(
        "zero",
        option(*HEADS),
        "adaptation",
        """Where the new output layer starts: from zeros, or from the class prototypes
        (w_k = 2 c_k, b_k = -|c_k|^2).""",
    )
    inner_optimizer: str = inner_optimizer()
    inner_lr: float = inner_loop.inner_lr(0.01)
    inner_steps: int | None = inner_loop.inner_steps(
        None,
        """Number of steps; 0 predicts with the network as it starts. None is 100, or 10 where
        labels are shared: the output layer then continues from the one that was pre-trained, and
        many steps on few rows make probabilities too extreme.""",
    )

    shared_labels: ClassVar[bool] = True

    def make_algorithm(self) -> FineTune:
        """Make the algorithm that the parameters describe."""
        return self.build(
            FineTune,
            head=HEADS[self.head],
            adapts=ADAPTS[self.adapts],
            trained=FixedHead(),
            optimizer=OPTIMIZERS[self.inner_optimizer],
            inner_steps=STEPS if self.inner_steps is None else self.inner_steps,
            steps_if_shared=STEPS_IF_SHARED if self.inner_steps is None else self.inner_steps,
        )


@describe
@dataclass(eq=False, repr=False)
class FineTuneRegressor(MetaRegressor):
    """Regressor that is pre-trained on all tasks together, then fine-tuned on the new one.

    A baseline: `meta_fit` trains one network on the rows of all tasks together, by the mean
    squared error; `fit` takes `inner_steps` steps on the support from there, in full batches.

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

    adapts: str = adapts()
    inner_optimizer: str = inner_optimizer()
    inner_lr: float = inner_loop.inner_lr(0.01)
    inner_steps: int = inner_loop.inner_steps(
        100, "Number of steps; 0 predicts with the network as it starts."
    )

    def make_algorithm(self) -> FineTune:
        """Make the algorithm that the parameters describe."""
        return self.build(
            FineTune,
            adapts=ADAPTS[self.adapts],
            trained=self.make_head(),
            optimizer=OPTIMIZERS[self.inner_optimizer],
        )
