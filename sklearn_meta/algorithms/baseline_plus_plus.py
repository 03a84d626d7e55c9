"""Baseline++: an output layer of cosines, pre-trained on all classes and trained anew on a task.

    p(y = k | x) = softmax_k( s g_k cos(f(x), w_k) )

Chen, Liu, Kira, Wang and Huang, "A Closer Look at Few-shot Classification", ICLR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from sklearn_meta.base import MetaClassifier, inner_loop
from sklearn_meta.inner import CosineHead, FineTune, HeadOnly
from sklearn_meta.parameters import describe, param, real

__all__ = ["BaselinePlusPlusClassifier"]

# of SGD, in the official code of Chen et al.
OFFICIAL = (("momentum", 0.9), ("dampening", 0.9), ("weight_decay", 1e-3))


@describe
@dataclass(eq=False, repr=False)
class BaselinePlusPlusClassifier(MetaClassifier):
    """Cosine classifier, pre-trained on all classes, with a new output layer for each task.

    A baseline: `meta_fit` trains one network on the rows of all tasks together, with the logits
    s g_k cos(f(x), w_k) of an output layer over the labels of all tasks; the same label in two
    tasks counts as the same class. `fit` leaves the backbone as it is and trains a new output layer
    of that form, by SGD with momentum 0.9, dampening 0.9 and weight decay 0.001.

    Unlike in the official code, predictions are deterministic and do not depend on the order of the
    classes: the new w_k start from the class means of the normalised features, with g_k = 1, rather
    than at random, and a step takes all rows of the support, where the official epoch takes one
    step of 0.01 for every four rows; therefore the step is larger. Without `meta_fit`, `fit` trains
    the backbone from scratch under an ordinary linear output layer.

    See Also
    --------
    FineTuneClassifier : Fine-tunes a linear output layer.
    ProtoNetClassifier : Learns the embedding from episodes.

    References
    ----------
    Chen, Liu, Kira, Wang and Huang, "A Closer Look at Few-shot Classification", ICLR 2019.

    Examples
    --------
    >>> from sklearn_meta import BaselinePlusPlusClassifier
    >>> from sklearn_meta.datasets import load_digits_tasks
    >>> digits = load_digits_tasks(n_test_tasks=1)
    >>> clf = BaselinePlusPlusClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(digits.meta_train)
    >>> (task,) = digits.test_tasks
    >>> clf.fit(task.X_support, task.y_support).predict(task.X_query).shape
    (75,)
    """

    scale: float | None = param(
        None,
        real(0, open_left=True, none=True),
        "structural",
        "Scale s of the cosines; None is 2 for up to 200 classes, else 10.",
    )
    inner_lr: float = inner_loop.inner_lr(0.1, "Step size of SGD.")
    inner_steps: int = inner_loop.inner_steps(
        100, "Number of steps; 0 predicts with the nearest class mean by cosine."
    )

    shared_labels: ClassVar[bool] = True

    def make_algorithm(self) -> FineTune:
        """Make the algorithm that the parameters describe."""
        head = CosineHead(self.scale)
        return self.build(
            FineTune,
            head=head,
            adapts=HeadOnly(),
            trained=head,
            optimizer=torch.optim.SGD,
            options=OFFICIAL,
        )
