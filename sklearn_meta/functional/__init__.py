"""Pure functions of tensors, for one task or for a stack of tasks."""

from sklearn_meta.functional.checkpointing import checkpointed, in_chunks
from sklearn_meta.functional.descent import (
    Loss,
    Optimizer,
    StepSize,
    adam,
    gradient,
    minimise,
    subtract,
)
from sklearn_meta.functional.implicit import conjugate_gradients, hessian_product
from sklearn_meta.functional.learned_update import gated_update, lstm_cell, preprocess
from sklearn_meta.functional.losses import (
    LOSSES,
    absolute_error,
    brier_score,
    cross_entropy,
    gaussian_nll,
    huber_loss,
    squared_error,
)
from sklearn_meta.functional.params import Params, as_params, as_vector, linear, with_gradient
from sklearn_meta.functional.prototypes import (
    class_means,
    class_sums,
    classes_present,
    cosine_distance,
    posterior_prototypes,
    posterior_shares,
    prototypes,
    squared_euclidean,
)
from sklearn_meta.functional.ridge import ridge

__all__ = [
    "LOSSES",
    "Loss",
    "Optimizer",
    "Params",
    "StepSize",
    "absolute_error",
    "adam",
    "as_params",
    "as_vector",
    "brier_score",
    "checkpointed",
    "class_means",
    "class_sums",
    "classes_present",
    "conjugate_gradients",
    "cosine_distance",
    "cross_entropy",
    "gated_update",
    "gaussian_nll",
    "gradient",
    "hessian_product",
    "huber_loss",
    "in_chunks",
    "linear",
    "lstm_cell",
    "minimise",
    "posterior_prototypes",
    "posterior_shares",
    "preprocess",
    "prototypes",
    "ridge",
    "squared_error",
    "squared_euclidean",
    "subtract",
    "with_gradient",
]
