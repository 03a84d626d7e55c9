"""Kernels of stacks of tasks: (*B, n, d) and (*B, m, d) to (*B, n, m)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "linear_kernel",
    "matern_kernel",
    "rbf_kernel",
    "spectral_mixture_kernel",
    "tanimoto_kernel",
]

TINY = 1e-24  # a squared distance below which two rows are the same


def linear_kernel(X: Tensor, Z: Tensor, length_scale: Tensor | float = 1.0) -> Tensor:
    """Compute the linear kernel, k(x, z) = sum_j x_j z_j / l_j^2.

    Parameters
    ----------
    X : Tensor of shape (*B, n, d)
        Rows.
    Z : Tensor of shape (*B, m, d)
        Other rows.
    length_scale : float, or Tensor of shape (), (d,), (*B, 1) or (*B, d), default=1.0
        The unit l of the features.

    Returns
    -------
    K : Tensor of shape (*B, n, m)
        A product of each row of X with each row of Z.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import linear_kernel
    >>> linear_kernel(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[11.,  2.]])
    """
    return _scaled(X, length_scale) @ _scaled(Z, length_scale).mT


def rbf_kernel(X: Tensor, Z: Tensor, length_scale: Tensor | float = 1.0) -> Tensor:
    """Compute the squared exponential kernel, k(x, z) = exp(-sum_j (x_j - z_j)^2 / (2 l_j^2)).

    Parameters
    ----------
    X : Tensor of shape (*B, n, d)
        Rows.
    Z : Tensor of shape (*B, m, d)
        Other rows.
    length_scale : float, or Tensor of shape (), (d,), (*B, 1) or (*B, d), default=1.0
        The length scale l, one for all features or one for each.

    Returns
    -------
    K : Tensor of shape (*B, n, m)
        Between 0 and 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import rbf_kernel
    >>> rbf_kernel(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0]]))
    tensor([[1.0000],
            [0.6065]])
    """
    squares, unit = _squares(X, Z, length_scale)
    return (squares * (-0.5 * unit)).exp()


def matern_kernel(
    X: Tensor, Z: Tensor, length_scale: Tensor | float = 1.0, nu: float = 2.5
) -> Tensor:
    """Compute a Matern kernel of the distance r = |(x - z) / l|.

    k is (1 + a + a^2 / 3) exp(-a) with a = sqrt(5) r for nu = 2.5, and (1 + a) exp(-a) with
    a = sqrt(3) r for nu = 1.5.

    Parameters
    ----------
    X : Tensor of shape (*B, n, d)
        Rows.
    Z : Tensor of shape (*B, m, d)
        Other rows.
    length_scale : float, or Tensor of shape (), (d,), (*B, 1) or (*B, d), default=1.0
        The length scale l, one for all features or one for each.
    nu : {1.5, 2.5}, default=2.5
        How smooth the functions are.

    Returns
    -------
    K : Tensor of shape (*B, n, m)
        Between 0 and 1.

    Raises
    ------
    ValueError
        If `nu` is neither of them.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import matern_kernel
    >>> matern_kernel(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0]]))
    tensor([[1.0000],
            [0.5240]])
    """
    if nu not in (1.5, 2.5):
        raise ValueError(f"matern_kernel: nu must be 1.5 or 2.5. Got {nu!r} instead.")
    squares, unit = _squares(X, Z, length_scale)
    a = (
        (squares * (2 * nu * unit)).clamp(min=TINY).sqrt()
    )  # no infinite slope where rows are the same
    return (1 + a + a.square() / 3 if nu == 2.5 else 1 + a) * (-a).exp()


def spectral_mixture_kernel(
    X: Tensor, Z: Tensor, weights: Tensor, frequencies: Tensor, bandwidths: Tensor
) -> Tensor:
    r"""Compute the kernel whose spectral density is a mixture of q Gaussians.

    With the differences :math:`\tau = x - z`,
    :math:`k = \sum_q w_q \exp(-2 \pi^2 \sum_j \tau_j^2 s_{qj}^2) \cos(2 \pi \mu_q^\top \tau)`.

    Parameters
    ----------
    X : Tensor of shape (*B, n, d)
        Rows.
    Z : Tensor of shape (*B, m, d)
        Other rows.
    weights : Tensor of shape (q,)
        Variances w of the components, positive.
    frequencies : Tensor of shape (q, d)
        Means mu of the Gaussians, in cycles per unit of a feature.
    bandwidths : Tensor of shape (q, d)
        Standard deviations s of the Gaussians.

    Returns
    -------
    K : Tensor of shape (*B, n, m)
        At most the sum of the weights.

    Notes
    -----
    Wilson and Adams, "Gaussian Process Kernels for Pattern Discovery and Extrapolation", ICML 2013.
    Their equation 12 has a product of cosines of the features, which is the same for one feature.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import spectral_mixture_kernel
    >>> w, mu, s = torch.ones(1), torch.tensor([[0.5]]), torch.zeros(1, 1)  # cos(pi (x - z))
    >>> spectral_mixture_kernel(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0]]), w, mu, s)
    tensor([[ 1.],
            [-1.]])
    """
    X, Z = X.unsqueeze(-3), Z.unsqueeze(-3)  # (*B, 1, n, d)
    s, mu = bandwidths.unsqueeze(-2), frequencies.unsqueeze(-1)  # (q, 1, d), (q, d, 1)
    decay = (-2 * math.pi**2 * squared_distances(X * s, Z * s)).exp()
    phase = 2 * math.pi * ((X @ mu) - (Z @ mu).mT)  # (*B, q, n, m)
    return (weights[:, None, None] * decay * phase.cos()).sum(-3)


def tanimoto_kernel(X: Tensor, Z: Tensor) -> Tensor:
    """Compute the Tanimoto kernel, k(x, z) = x.z / (|x|^2 + |z|^2 - x.z).

    Of rows of 0 and 1 it is the size of the intersection of two sets over that of their union.

    Parameters
    ----------
    X : Tensor of shape (*B, n, d)
        Counts, or 0 and 1.
    Z : Tensor of shape (*B, m, d)
        Other rows.

    Returns
    -------
    K : Tensor of shape (*B, n, m)
        Between 0 and 1 for counts. Two rows of zeros have 1.

    Notes
    -----
    Ralaivola, Swamidass, Saigo and Baldi, "Graph Kernels for Chemical Informatics", Neural
    Networks 2005. It is positive semi-definite for all real rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import tanimoto_kernel
    >>> tanimoto_kernel(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[0.0, 1.0, 1.0]]))
    tensor([[0.3333]])
    """
    products = X @ Z.mT
    squares = X.square().sum(-1).unsqueeze(-1) + Z.square().sum(-1).unsqueeze(-2)
    union = squares - products
    return torch.where(union > 0, products / torch.where(union > 0, union, 1.0), 1.0)


def rbf_derivatives(squares: Tensor) -> tuple[Tensor, ...]:
    """Return k of squared distances, dk / dlog l and d2k / dlog l^2."""
    k = (-squares / 2).exp()
    return k, squares * k, (squares.square() - 2 * squares) * k


def matern_derivatives(squares: Tensor) -> tuple[Tensor, ...]:
    """Return the same for the Matern kernel with nu = 2.5, a function of a = sqrt(5) r."""
    a2 = (5 * squares).clamp(min=TINY)
    a = a2.sqrt()
    decay = (-a).exp()
    k, first = (1 + a + a2 / 3) * decay, a2 * (1 + a) / 3 * decay
    return k, first, a2 * (a2 - 2 * a - 2) / 3 * decay


def squared_distances(X: Tensor, Z: Tensor, length_scale: Tensor | float = 1.0) -> Tensor:
    """Compute |(x - z) / l|^2, up to rounding: it may be slightly below zero."""
    squares, unit = _squares(X, Z, length_scale)
    return squares * unit


def _squares(X: Tensor, Z: Tensor, length_scale: Tensor | float) -> tuple[Tensor, Tensor | float]:
    """Return squares and a unit, whose product is |(x - z) / l|^2.

    Squares take one matrix product, around the mean of Z: far from the origin they would cancel.
    """
    same = Z is X
    unit: Tensor | float
    if isinstance(length_scale, Tensor) and length_scale.ndim > 0 and length_scale.shape[-1] > 1:
        X, unit = _scaled(X, length_scale), 1.0
        Z = X if same else _scaled(Z, length_scale)
    elif isinstance(length_scale, Tensor) and length_scale.ndim > 0:
        unit = length_scale.unsqueeze(-1).pow(-2)
    else:
        unit = length_scale**-2
    centre = Z.mean(-2, keepdim=True).detach()  # distances do not depend on it
    if same:
        squares: Tensor = _SquaresOfPairs.apply(X - centre)
        return squares, unit
    X, Z = X - centre, Z - centre
    sums = X.square().sum(-1).unsqueeze(-1) + Z.square().sum(-1).unsqueeze(-2)
    return torch.sub(sums, X @ Z.mT, alpha=2), unit


class _SquaresOfPairs(torch.autograd.Function):
    """|x_i - x_j|^2 of all pairs of rows, with a derivative that takes half of the time."""

    @staticmethod
    def forward(ctx: Any, X: Tensor) -> Tensor:
        """Compute |x_i|^2 + |x_j|^2 - 2 x_i.x_j."""
        ctx.save_for_backward(X)
        products = X @ X.mT
        squares = products.diagonal(dim1=-2, dim2=-1)
        return torch.sub(squares.unsqueeze(-1) + squares.unsqueeze(-2), products, alpha=2)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        """Compute 2 sum_j (g_ij + g_ji) (x_i - x_j) as one product."""
        (X,), (g,) = ctx.saved_tensors, upstream
        A = torch.add(g, g.mT).mul_(-2)
        A.diagonal(dim1=-2, dim2=-1).sub_(A.sum(-1))  # rows sum to 0
        return A @ X


def _scaled(X: Tensor, length_scale: Tensor | float) -> Tensor:
    """Divide features by their length scales, of one task or of each."""
    if isinstance(length_scale, Tensor) and length_scale.ndim > 0:
        length_scale = length_scale.unsqueeze(-2)
    return X / length_scale
