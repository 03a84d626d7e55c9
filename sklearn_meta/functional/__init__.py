"""Pure functions of tensors, written for one task and for stacks of tasks alike."""

from sklearn_meta.functional.descent import Params, descend
from sklearn_meta.functional.linear import linear
from sklearn_meta.functional.losses import cross_entropy, squared_error
from sklearn_meta.functional.prototypes import (
    classes_present,
    cosine_distance,
    prototypes,
    squared_euclidean,
)

__all__ = [
    "Params",
    "classes_present",
    "cosine_distance",
    "cross_entropy",
    "descend",
    "linear",
    "prototypes",
    "squared_error",
    "squared_euclidean",
]
