"""Weighted losses of one task or of a stack of tasks: one value for each task.

A new loss needs a function here and its name in LOSSES, and a test in tests/functional.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = [
    "LOSSES",
    "absolute_error",
    "brier_score",
    "cross_entropy",
    "gaussian_nll",
    "huber_loss",
    "relation_error",
    "squared_error",
]


def cross_entropy(logits: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean cross-entropy of a task.

    L = - sum_i w_i sum_k y_ik log softmax_k(logits_i) / sum_i w_i.

    Parameters
    ----------
    logits : Tensor of shape (*B, n, n_way)
        Minus infinity for a class that the task does not have.
    y : Tensor of shape (*B, n, n_way)
        One-hot labels, or probabilities.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.

    Returns
    -------
    loss : Tensor of shape (*B,)
        In nats.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import cross_entropy
    >>> cross_entropy(torch.zeros(1, 2), torch.tensor([[1., 0.]]), torch.ones(1))
    tensor(0.6931)
    """
    mass = _shares(weight).unsqueeze(-1) * y
    # 0 * log 0 = 0: a class that the task lacks has log-probability minus infinity, and rows of
    # padding (weight 0) may have its label
    log_p = logits.log_softmax(-1).masked_fill(mass == 0, 0.0)
    return -(mass * log_p).sum((-2, -1))


def squared_error(mean: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean squared error of a task.

    L = sum_i w_i |mean_i - y_i|^2 / (n_outputs sum_i w_i).

    Parameters
    ----------
    mean, y : Tensor of shape (*B, n, n_outputs)
        Predictions and targets.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.

    Returns
    -------
    loss : Tensor of shape (*B,)
        In squared units of `y`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import squared_error
    >>> squared_error(torch.zeros(2, 1), torch.tensor([[1.], [3.]]), torch.ones(2))
    tensor(5.)
    """
    share = _shares(weight).unsqueeze(-1) / y.shape[-1]
    return (share * (mean - y).square()).sum((-2, -1))


def brier_score(logits: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean Brier score of a task.

    L = sum_i w_i |softmax(logits_i) - y_i|^2 / sum_i w_i.

    Parameters
    ----------
    logits : Tensor of shape (*B, n, n_way)
        Minus infinity for a class that the task does not have.
    y : Tensor of shape (*B, n, n_way)
        One-hot labels, or probabilities.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.

    Returns
    -------
    loss : Tensor of shape (*B,)
        From 0 to 2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import brier_score
    >>> brier_score(torch.zeros(1, 2), torch.tensor([[1., 0.]]), torch.ones(1))
    tensor(0.5000)
    """
    share = _shares(weight).unsqueeze(-1)
    return (share * (logits.softmax(-1) - y).square()).sum((-2, -1))


def relation_error(log_scores: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean squared error of scores of how well rows and classes match.

    L = sum_i w_i sum_k (exp(log_scores_ik) - y_ik)^2 / sum_i w_i, which is lowest for the
    probabilities of the classes. Sung et al., "Learning to Compare: Relation Network for Few-Shot
    Learning", CVPR 2018, eq. 2.

    Parameters
    ----------
    log_scores : Tensor of shape (*B, n, n_way)
        Logarithms of scores from 0 to 1, such as logarithms of sigmoids; minus infinity for a class
        that the task does not have.
    y : Tensor of shape (*B, n, n_way)
        One-hot labels, or probabilities.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.

    Returns
    -------
    loss : Tensor of shape (*B,)
        From 0 to n_way.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import relation_error
    >>> relation_error(torch.zeros(1, 2), torch.tensor([[1., 0.]]), torch.ones(1))
    tensor(1.)
    """
    share = _shares(weight).unsqueeze(-1)
    return (share * (log_scores.exp() - y).square()).sum((-2, -1))


def absolute_error(mean: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean absolute error of a task.

    L = sum_i w_i |mean_i - y_i|_1 / (n_outputs sum_i w_i).

    Parameters
    ----------
    mean, y : Tensor of shape (*B, n, n_outputs)
        Predictions and targets.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.

    Returns
    -------
    loss : Tensor of shape (*B,)
        In units of `y`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import absolute_error
    >>> absolute_error(torch.zeros(2, 1), torch.tensor([[1.], [3.]]), torch.ones(2))
    tensor(2.)
    """
    share = _shares(weight).unsqueeze(-1) / y.shape[-1]
    return (share * (mean - y).abs()).sum((-2, -1))


def huber_loss(mean: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean Huber loss of a task.

    A residual r counts r^2 / 2 if |r| <= 1, and |r| - 1/2 otherwise.

    Parameters
    ----------
    mean, y : Tensor of shape (*B, n, n_outputs)
        Predictions and targets.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.

    Returns
    -------
    loss : Tensor of shape (*B,)
        Weighted mean over rows, and mean over outputs.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import huber_loss
    >>> huber_loss(torch.zeros(2, 1), torch.tensor([[1.], [3.]]), torch.ones(2))
    tensor(1.5000)
    """
    share = _shares(weight).unsqueeze(-1) / y.shape[-1]
    size = (mean - y).abs()
    return (share * torch.where(size <= 1, size.square() / 2, size - 0.5)).sum((-2, -1))


def gaussian_nll(output: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean negative log-likelihood of a task under normal distributions.

    L = sum_i w_i sum_k (v_ik + (mean_ik - y_ik)^2 exp(-v_ik)) / (2 n_outputs sum_i w_i), without
    the constant log(2 pi) / 2.

    Parameters
    ----------
    output : Tensor of shape (*B, n, 2 n_outputs)
        Means, then log-variances v; without the latter, v = 0.
    y : Tensor of shape (*B, n, n_outputs)
        Targets.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.

    Returns
    -------
    loss : Tensor of shape (*B,)
        In nats; it may be negative.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import gaussian_nll
    >>> gaussian_nll(torch.tensor([[1., 0.]]), torch.tensor([[3.]]), torch.ones(1))
    tensor(2.)
    """
    k = y.shape[-1]
    share = _shares(weight).unsqueeze(-1) / (2 * k)
    squares = (output[..., :k] - y).square()
    if output.shape[-1] == k:
        return (share * squares).sum((-2, -1))
    log_variance = output[..., k:]
    return (share * (log_variance + squares * (-log_variance).exp())).sum((-2, -1))


# by the kind of target and the name that an estimator's `loss` takes
LOSSES: dict[str, dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "class": {"cross_entropy": cross_entropy, "brier_score": brier_score},
    "real": {
        "squared_error": squared_error,
        "absolute_error": absolute_error,
        "huber": huber_loss,
        "gaussian": gaussian_nll,
    },
}


def _shares(weight: Tensor) -> Tensor:
    """w_i / sum_j w_j, divided once, outside of the differentiated part; 0 without rows."""
    total = weight.sum(-1, keepdim=True)
    return weight / torch.where(total > 0, total, 1.0)
