"""Class prototypes and the distances to them."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_meta._devices import exact

__all__ = [
    "class_means",
    "class_scatters",
    "class_sums",
    "classes_present",
    "cosine_distance",
    "posterior_prototypes",
    "posterior_shares",
    "prototypes",
    "shrunk_covariances",
    "squared_euclidean",
    "squared_mahalanobis",
]


def class_sums(Z: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the sums S_k = sum_i w_i y_ik z_i of the rows of each class, and their weights n_k.

    Prototypes and shares of classes depend on the rows through these alone, and those of two sets
    of rows are the sums of each.

    Parameters
    ----------
    Z : Tensor of shape (*B, n, d)
        Embedded support rows.
    y : Tensor of shape (*B, n, n_way)
        One-hot labels.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.

    Returns
    -------
    sums : Tensor of shape (*B, n_way, d)
        Sums S_k, zero for classes that are padding.
    counts : Tensor of shape (*B, n_way)
        Weights n_k = sum_i w_i y_ik.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import class_sums
    >>> Z, y = torch.tensor([[1.], [3.], [5.]]), torch.tensor([[1., 0.], [1., 0.], [0., 1.]])
    >>> class_sums(Z, y, torch.ones(3))
    (tensor([[4.],
            [5.]]), tensor([2., 1.]))
    """
    # y may be by far the largest: no copy of it
    return y.mT @ (weight.unsqueeze(-1) * Z), class_counts(y, weight)


def class_means(sums: Tensor, counts: Tensor) -> Tensor:
    """Compute the mean of each class, S_k / n_k.

    Parameters
    ----------
    sums : Tensor of shape (*B, n_way, d)
        Sums S_k of the rows of a class.
    counts : Tensor of shape (*B, n_way)
        Weights n_k of these rows.

    Returns
    -------
    c : Tensor of shape (*B, n_way, d)
        Zero for classes without rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import class_means
    >>> class_means(torch.tensor([[4.0], [0.0]]), torch.tensor([2.0, 0.0])).ravel()
    tensor([2., 0.])
    """
    return sums / torch.where(counts > 0, counts, 1.0).unsqueeze(-1)


def class_scatters(Z: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Compute the scatter of each class, T_k = sum_i w_i y_ik (z_i - c_k) (z_i - c_k)'.

    Parameters
    ----------
    Z : Tensor of shape (*B, n, d)
        Embedded support rows.
    y : Tensor of shape (*B, n, n_way)
        One-hot labels.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.

    Returns
    -------
    scatter : Tensor of shape (*B, n_way, d, d)
        Around the means c_k; zero for classes of fewer than two rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import class_scatters
    >>> Z, y = torch.tensor([[1.], [3.], [5.]]), torch.tensor([[1., 0.], [1., 0.], [0., 1.]])
    >>> class_scatters(Z, y, torch.ones(3)).ravel()
    tensor([2., 0.])
    """
    centred = (Z - y @ prototypes(Z, y, weight)).unsqueeze(-3)  # (*B, 1, n, d)
    mass = (weight.unsqueeze(-1) * y).mT.unsqueeze(-2)  # (*B, n_way, 1, n)
    return (centred.mT * mass) @ centred


def classes_present(y: Tensor, weight: Tensor) -> Tensor:
    """Return which classes of the stack a task has: those with a row of positive weight.

    Parameters
    ----------
    y : Tensor of shape (*B, n, n_way)
        One-hot labels.
    weight : Tensor of shape (*B, n)
        Weights of the rows.

    Returns
    -------
    present : bool Tensor of shape (*B, n_way)
        False for classes that are padding.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import classes_present
    >>> classes_present(torch.eye(3), torch.tensor([1.0, 0.5, 0.0]))
    tensor([ True,  True, False])
    """
    return class_counts(y, weight) > 0


def prototypes(Z: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean embedding of each class, c_k = sum_i w_i y_ik z_i / sum_i w_i y_ik.

    Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, eq. 1.

    Parameters
    ----------
    Z : Tensor of shape (*B, n, d)
        Embedded support rows.
    y : Tensor of shape (*B, n, n_way)
        One-hot labels.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.

    Returns
    -------
    c : Tensor of shape (*B, n_way, d)
        Zero for classes that are padding.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import prototypes
    >>> Z, y = torch.tensor([[1.], [3.], [5.]]), torch.tensor([[1., 0.], [1., 0.], [0., 1.]])
    >>> prototypes(Z, y, torch.ones(3)).ravel()
    tensor([2., 5.])
    """
    return class_means(*class_sums(Z, y, weight))


def posterior_prototypes(sums: Tensor, counts: Tensor, mean: Tensor, strength: Tensor) -> Tensor:
    """Compute the posterior mean of each class mean, (s m_k + S_k) / (s + n_k).

    The class means of tasks are drawn from N(m_k, I / s), and rows from N(c_k, I).

    Parameters
    ----------
    sums : Tensor of shape (*B, n_classes, d)
        Sums S_k of the support rows of a class, as of :func:`class_sums`.
    counts : Tensor of shape (*B, n_classes)
        Weights n_k of these rows.
    mean : Tensor of shape (n_classes, d)
        Prior means m.
    strength : Tensor of shape ()
        Number s of rows that the prior counts as, positive.

    Returns
    -------
    c : Tensor of shape (*B, n_classes, d)
        The prior means for a class without rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import posterior_prototypes
    >>> sums, counts = torch.tensor([[4.], [0.]]), torch.tensor([2., 0.])
    >>> prior = torch.tensor([[0.], [7.]]), torch.tensor(2.0)
    >>> posterior_prototypes(sums, counts, *prior).ravel()
    tensor([1., 7.])
    """
    return (strength * mean + sums) / (strength + counts).unsqueeze(-1)


def posterior_shares(counts: Tensor, prior_counts: Tensor) -> Tensor:
    """Compute the posterior mean of the share of each class, (a_k + n_k) / sum_j (a_j + n_j).

    The shares of tasks are drawn from a Dirichlet distribution with concentration a.

    Parameters
    ----------
    counts : Tensor of shape (*B, n_classes)
        Weights n_k of the support rows of a class, as of :func:`class_sums`.
    prior_counts : Tensor of shape (n_classes,)
        Concentration a: the rows of each class that the prior counts as, positive.

    Returns
    -------
    shares : Tensor of shape (*B, n_classes)
        They sum to 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import posterior_shares
    >>> posterior_shares(torch.tensor([1., 0.]), torch.tensor([1., 2.]))
    tensor([0.5000, 0.5000])
    """
    mass = prior_counts + counts
    return mass / mass.sum(-1, keepdim=True)


def shrunk_covariances(sums: Tensor, counts: Tensor, scatter: Tensor) -> Tensor:
    """Compute covariances of classes, Q_k = lambda_k S_k + (1 - lambda_k) S + I.

    S_k is the covariance of the rows of class k, and S that of all rows of the task. The share of
    the former is lambda_k = n_k / (n_k + 1). Bateni et al., "Improved Few-Shot Visual
    Classification", CVPR 2020 (Simple CNAPS), section 4.1, with beta = 1.

    Parameters
    ----------
    sums : Tensor of shape (*B, n_way, d)
        Sums of the rows of each class, as of :func:`class_sums`.
    counts : Tensor of shape (*B, n_way)
        Weights n_k of these rows.
    scatter : Tensor of shape (*B, n_way, d, d)
        Scatters of these rows, as of :func:`class_scatters`.

    Returns
    -------
    Q : Tensor of shape (*B, n_way, d, d)
        Positive definite; the identity in a task of fewer than two rows.

    Notes
    -----
    S_k is the scatter divided by n_k - 1, or by n_k / 2 if weights make n_k less than 2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import shrunk_covariances
    >>> sums, counts = torch.tensor([[4.], [5.]]), torch.tensor([2., 1.])
    >>> shrunk_covariances(sums, counts, torch.tensor([[[2.]], [[0.]]])).ravel()
    tensor([3.6667, 3.0000])
    """
    n = counts.sum(-1, keepdim=True)
    away = class_means(sums, counts) - class_means(sums.sum(-2, keepdim=True), n)
    between = away.mT @ (counts.unsqueeze(-1) * away)
    of_task = (scatter.sum(-3) + between) / _degrees_of_freedom(n).unsqueeze(-1)
    of_class = scatter / _degrees_of_freedom(counts)[..., None, None]
    share = (counts / (counts + 1))[..., None, None]
    identity = torch.eye(sums.shape[-1], dtype=sums.dtype, device=sums.device)
    return share * of_class + (1 - share) * of_task.unsqueeze(-3) + identity


def _degrees_of_freedom(n: Tensor) -> Tensor:
    """Divisor n - 1 of a scatter; at least n / 2, as weights may be below 1; 1 without rows."""
    return torch.where(n > 0, torch.maximum(n - 1, n / 2), 1.0)


def class_counts(y: Tensor, weight: Tensor) -> Tensor:
    """Return the weight n_k = sum_i w_i y_ik of each class, (*B, n_way)."""
    return (y.mT @ weight.unsqueeze(-1)).squeeze(-1)


def squared_euclidean(Z: Tensor, c: Tensor) -> Tensor:
    """Compute squared Euclidean distances |z_i - c_k|^2.

    Parameters
    ----------
    Z : Tensor of shape (*B, n, d)
        Embedded rows.
    c : Tensor of shape (*B, n_way, d)
        Prototypes.

    Returns
    -------
    distances : Tensor of shape (*B, n, n_way)
        Expanded as |z|^2 - 2 z.c + |c|^2, one matrix product instead of n * n_way differences,
        around the mean prototype: far from the origin the squares would cancel.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import squared_euclidean
    >>> squared_euclidean(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [1.0, 0.0]]))
    tensor([[25.,  1.]])
    """
    n_present = c.any(-1, keepdim=True).sum(-2, keepdim=True).clamp(min=1)  # others are zero
    centre = (c.sum(-2, keepdim=True) / n_present).detach()  # distances do not depend on it
    Z, c = Z - centre, c - centre
    squares = Z.square().sum(-1).unsqueeze(-1) + c.square().sum(-1).unsqueeze(-2)
    return squares - 2 * Z @ c.mT


def cosine_distance(Z: Tensor, c: Tensor) -> Tensor:
    """Compute cosine distances 1 - cos(z_i, c_k).

    Parameters
    ----------
    Z : Tensor of shape (*B, n, d)
        Embedded rows.
    c : Tensor of shape (*B, n_way, d)
        Prototypes.

    Returns
    -------
    distances : Tensor of shape (*B, n, n_way)
        Between 0 and 2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import cosine_distance
    >>> cosine_distance(torch.tensor([[2.0, 0.0]]), torch.tensor([[5.0, 0.0], [0.0, 1.0]]))
    tensor([[0., 1.]])
    """
    unit = torch.nn.functional.normalize
    return 1 - unit(Z, dim=-1) @ unit(c, dim=-1).mT


def squared_mahalanobis(Z: Tensor, c: Tensor, Q: Tensor) -> Tensor:
    """Compute squared Mahalanobis distances (z_i - c_k)' Q_k^-1 (z_i - c_k).

    Parameters
    ----------
    Z : Tensor of shape (*B, n, d)
        Embedded rows.
    c : Tensor of shape (*B, n_way, d)
        Prototypes.
    Q : Tensor of shape (*B, n_way, d, d)
        Covariances of the classes, positive definite.

    Returns
    -------
    distances : Tensor of shape (*B, n, n_way)
        In the dtype of `Z`; `Q` is inverted in float64.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import squared_mahalanobis
    >>> Z, c, Q = torch.tensor([[5.0]]), torch.tensor([[1.0]]), torch.tensor([[[4.0]]])
    >>> squared_mahalanobis(Z, c, Q)
    tensor([[4.]])
    """
    precision = torch.linalg.inv_ex(exact(Q))[0].to(Z.dtype)
    away = Z.unsqueeze(-3) - c.unsqueeze(-2)  # (*B, n_way, n, d)
    return ((away @ precision) * away).sum(-1).mT
