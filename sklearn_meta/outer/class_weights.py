"""Weights of classes, which multiply those of the rows in the loss of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import compute_class_weight

from sklearn_meta.functional.prototypes import class_counts
from sklearn_meta.inner.algorithm import Examples
from sklearn_meta.outer.labels import LabelSpace

__all__ = ["ClassWeights", "class_weights_of_prior"]


@dataclass(frozen=True)
class ClassWeights:
    """Multiplies the weight of each row by that of its class."""

    # (n_columns,) or (*B, n_columns); None: in each stack the classes of a task weigh the same
    of_column: NDArray[np.float64] | None = None

    def __call__(self, rows: Examples) -> Examples:
        """Return rows (*B, n) with other weights; with balanced classes their sum stays."""
        y, weight = rows.y.to(rows.weight), rows.weight
        if self.of_column is not None:
            factor = torch.tensor(self.of_column, dtype=weight.dtype, device=weight.device)
        else:
            mass = class_counts(y, weight)
            n_present = (mass > 0).sum(-1, keepdim=True).clamp(min=1)
            mean = mass.sum(-1, keepdim=True) / n_present
            factor = torch.where(mass > 0, mean / torch.where(mass > 0, mass, 1.0), 1.0)
        return rows._replace(weight=weight * (y @ factor.unsqueeze(-1)).squeeze(-1))

    def of_shares(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the shares that classes have under their weights."""
        weighted = shares if self.of_column is None else shares * self.of_column
        return weighted / weighted.sum()


def class_weights_of_prior(
    class_weight: str | Mapping[Any, float] | None,
    labels: LabelSpace,
    shares: NDArray[np.float64] | None,  # of the classes that tasks share
) -> ClassWeights | None:
    """Return what `class_weight` means for the tasks of meta-training, and for new ones."""
    if class_weight is None:
        return None
    if not labels.is_shared:
        if isinstance(class_weight, Mapping):
            raise ValueError(
                "class_weight is a dict, which goes with labels that mean the same in all tasks; "
                "those of these tasks are local. Set labels='shared', or class_weight='balanced'."
            )
        return ClassWeights()
    classes = labels.shared_classes
    if isinstance(class_weight, Mapping):
        return ClassWeights(compute_class_weight(class_weight, classes=classes, y=classes))
    assert shares is not None
    return ClassWeights(1 / (len(classes) * shares))
