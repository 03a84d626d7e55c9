"""Pure functions of tensors, written for one task and for stacks of tasks alike."""

from sklearn_meta.functional.descent import Optimizer, Params, adam, descend, descent, minimise
from sklearn_meta.functional.implicit import conjugate_gradients, hessian_product
from sklearn_meta.functional.learned_update import (
    gated_update,
    in_chunks,
    lstm_cell,
    preprocess,
)
from sklearn_meta.functional.linear import linear
from sklearn_meta.functional.losses import (
    LOSSES,
    absolute_error,
    brier_score,
    cross_entropy,
    huber_loss,
    squared_error,
)
from sklearn_meta.functional.prototypes import (
    classes_present,
    cosine_distance,
    prototypes,
    squared_euclidean,
)
from sklearn_meta.functional.recompute import recomputed
from sklearn_meta.functional.surrogate import with_gradient
from sklearn_meta.functional.vectors import as_params, as_vector

__all__ = [
    "LOSSES",
    "Optimizer",
    "Params",
    "absolute_error",
    "adam",
    "as_params",
    "as_vector",
    "brier_score",
    "classes_present",
    "conjugate_gradients",
    "cosine_distance",
    "cross_entropy",
    "descend",
    "descent",
    "gated_update",
    "hessian_product",
    "huber_loss",
    "in_chunks",
    "linear",
    "lstm_cell",
    "minimise",
    "preprocess",
    "prototypes",
    "recomputed",
    "squared_error",
    "squared_euclidean",
    "with_gradient",
]
