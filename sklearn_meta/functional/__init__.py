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
from sklearn_meta.functional.gaussian_process import (
    cholesky,
    gp_condition,
    gp_covariance,
    gp_posterior,
    gp_predict,
    log_marginal_likelihood,
)
from sklearn_meta.functional.implicit import conjugate_gradients, hessian_product
from sklearn_meta.functional.kernels import (
    linear_kernel,
    matern_kernel,
    rbf_kernel,
    spectral_mixture_kernel,
    tanimoto_kernel,
)
from sklearn_meta.functional.learned_update import gated_update, lstm_cell, preprocess
from sklearn_meta.functional.logistic import logistic_regression
from sklearn_meta.functional.losses import (
    LOSSES,
    absolute_error,
    brier_score,
    cross_entropy,
    gaussian_nll,
    huber_loss,
    relation_error,
    squared_error,
)
from sklearn_meta.functional.params import Params, as_params, as_vector, linear, with_gradient
from sklearn_meta.functional.prototypes import (
    class_means,
    class_scatters,
    class_sums,
    classes_present,
    cosine_distance,
    posterior_prototypes,
    posterior_shares,
    prototypes,
    shrunk_covariances,
    squared_euclidean,
    squared_mahalanobis,
)
from sklearn_meta.functional.ridge import ridge
from sklearn_meta.functional.svm import crammer_singer

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
    "cholesky",
    "class_means",
    "class_scatters",
    "class_sums",
    "classes_present",
    "conjugate_gradients",
    "cosine_distance",
    "crammer_singer",
    "cross_entropy",
    "gated_update",
    "gaussian_nll",
    "gp_condition",
    "gp_covariance",
    "gp_posterior",
    "gp_predict",
    "gradient",
    "hessian_product",
    "huber_loss",
    "in_chunks",
    "linear",
    "linear_kernel",
    "log_marginal_likelihood",
    "logistic_regression",
    "lstm_cell",
    "matern_kernel",
    "minimise",
    "posterior_prototypes",
    "posterior_shares",
    "preprocess",
    "prototypes",
    "rbf_kernel",
    "relation_error",
    "ridge",
    "shrunk_covariances",
    "spectral_mixture_kernel",
    "squared_error",
    "squared_euclidean",
    "squared_mahalanobis",
    "subtract",
    "tanimoto_kernel",
    "with_gradient",
]
