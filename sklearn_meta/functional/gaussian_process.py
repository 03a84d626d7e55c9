r"""Gaussian processes of stacks of tasks, in closed form.

The targets of a task are N(0, S), S = K + diag(noise / w): a row of weight w counts as w rows, and
one of weight 0 does not count at all. With S = L L' (Rasmussen and Williams, "Gaussian Processes
for Machine Learning", 2006, algorithm 2.1),

    alpha = S^-1 y,    E[f(x)] = k_x' alpha,    Var[f(x)] = k(x, x) - |L^-1 k_x|^2,
    log p(y) = -(y' alpha + log |S| + n log 2 pi) / 2.

Everything is computed in float64 (which "mps" does not have): in float32, factors of hundreds of
similar rows fail.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_meta._devices import exact
from sklearn_meta._warnings import warn

__all__ = [
    "cholesky",
    "gp_condition",
    "gp_covariance",
    "gp_posterior",
    "gp_predict",
    "log_marginal_likelihood",
]

LEAST_JITTER = 1e-10  # in units of the largest entry
LOG_2PI = math.log(2 * math.pi)


def cholesky(K: Tensor) -> Tensor:
    """Factor symmetric matrices, K = L L'.

    To a matrix that is not positive definite, a multiple of the identity is added: at first 1e-10
    of its largest entry, and ten times more in each further attempt.

    Parameters
    ----------
    K : Tensor of shape (*B, n, n)
        Symmetric matrices.

    Returns
    -------
    L : Tensor of shape (*B, n, n)
        Lower triangular. NaN only where K is not finite.

    Warns
    -----
    RuntimeWarning
        If something was added to a matrix.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import cholesky
    >>> cholesky(torch.tensor([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    L, failed = torch.linalg.cholesky_ex(K)
    if type(failed) is not Tensor or not failed.any():  # a compiler does not know the values
        return L
    finite = K.isfinite().flatten(-2).all(-1)
    largest = K.detach().abs().amax((-2, -1)).clamp(min=torch.finfo(K.dtype).tiny)
    jitter, eye = 0.0, torch.eye(K.shape[-1], dtype=K.dtype, device=K.device)
    while (wrong := (failed > 0) & finite).any():  # a dominant diagonal is positive definite
        jitter = max(10 * jitter, LEAST_JITTER)
        K = K + torch.where(wrong, jitter * largest, 0.0)[..., None, None] * eye
        L, failed = torch.linalg.cholesky_ex(K)
    if jitter > 0:
        warn(
            f"A covariance matrix is not positive definite: {jitter:.0e} of its largest entry was "
            "added to its diagonal. Check the kernel, or add noise.",
            RuntimeWarning,
        )
    return L.masked_fill(~finite[..., None, None], torch.nan)


def log_marginal_likelihood(K: Tensor, y: Tensor, noise: Tensor | float, weight: Tensor) -> Tensor:
    """Compute log p(y) of the targets of each task.

    Parameters
    ----------
    K : Tensor of shape (*B, n, n)
        Prior covariance of the rows.
    y : Tensor of shape (*B, n, k)
        Targets, less the prior mean; outputs are independent and have the same prior.
    noise : float, or Tensor of shape () or (*B,)
        Variance of the noise.
    weight : Tensor of shape (*B, n)
        Weights of the rows: one of weight 2 is the row twice, and one of weight 0 is not there.

    Returns
    -------
    log_likelihood : Tensor of shape (*B,)
        The sum over the outputs, in nats, in the dtype of `y`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import log_marginal_likelihood
    >>> y = torch.zeros(2, 1)  # log N(0; 0, 1) = -0.9189
    >>> log_marginal_likelihood(torch.zeros(2, 2), y, 1.0, torch.tensor([1.0, 0.0]))
    tensor(-0.9189)
    """
    return output_log_likelihoods(K, y, noise, weight).sum(-1).to(y.dtype)


def output_log_likelihoods(K: Tensor, y: Tensor, noise: Tensor | float, weight: Tensor) -> Tensor:
    """Compute log p of each output, (*B, k), in float64; see :func:`log_marginal_likelihood`."""
    rows = _observed(y, noise, weight)
    squares, log_det, _, _ = solve(K, rows.y, rows.variance, rows.absent)
    # w equal observations have the density of their mean, of variance noise / w, times a constant
    constant = LOG_2PI * exact(weight).sum(-1) + rows.weight.log().sum(-1)
    constant = constant + (rows.weight - 1).sum(-1) * rows.noise.log()
    return -0.5 * (squares + (log_det + constant).unsqueeze(-1))


def soft_floor(log_variance: Tensor, least: float) -> Tensor:
    """Return log(v + least): targets without noise would have an infinite likelihood."""
    return torch.logaddexp(log_variance, log_variance.new_tensor(least).log())


class _Solve(torch.autograd.Function):
    """A linear system with S = K + diag(v), whose derivatives need products alone."""

    @staticmethod
    def forward(
        ctx: Any, K: Tensor, y: Tensor, variance: Tensor, absent: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Factor S, with rows of the identity for padding."""
        L = cholesky(_covariance(K, variance, absent))
        eye = torch.eye(L.shape[-1], dtype=L.dtype, device=L.device)
        whitening = torch.linalg.solve_triangular(L, eye, upper=False)
        P = whitening.mT @ whitening  # in half of the time of cholesky_inverse
        P.diagonal(dim1=-2, dim2=-1).masked_fill_(absent, 0.0)  # padding has no derivatives
        A = P @ y
        ctx.save_for_backward(P, A)
        ctx.set_materialize_grads(False)
        return (y * A).sum(-2), 2 * L.diagonal(dim1=-2, dim2=-1).log().sum(-1), P, A

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        """Multiply by P and A, which are outputs, so that it can be differentiated again."""
        P, A = ctx.saved_tensors
        of_squares, of_log_det, of_P, of_A = upstream
        of_S, of_y = [], []
        if of_log_det is not None:
            of_S.append(of_log_det[..., None, None] * P)
        if of_squares is not None:
            scaled = A * of_squares.unsqueeze(-2)
            of_S.append(-_outer(scaled, A))
            of_y.append(2 * scaled)
        if of_P is not None:
            of_S.append(-(P @ of_P @ P))
        if of_A is not None:
            of_S.append(-_outer(P @ of_A, A))
            of_y.append(P @ of_A)
        if not of_S:
            return None, None, None, None
        total = sum(of_S[1:], of_S[0])
        return total, sum(of_y[1:], of_y[0]) if of_y else None, total.diagonal(0, -2, -1), None


def _outer(A: Tensor, B: Tensor) -> Tensor:
    """Compute A B', in a tenth of the time where both are vectors."""
    return A * B.mT if A.shape[-1] == 1 else A @ B.mT


def solve(
    K: Tensor, y: Tensor, variance: Tensor, absent: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return y' A (*B, k), log |S| (*B,), P = S^-1 and A = P y for S = K + diag(variance).

    Rows of padding, `absent` (*B, n), are zero in P and A, and do not count in log |S|.
    """
    result: tuple[Tensor, Tensor, Tensor, Tensor] = _Solve.apply(exact(K), y, variance, absent)
    return result


def _covariance(K: Tensor, variance: Tensor, absent: Tensor) -> Tensor:
    """Return K + diag(variance), with rows of the identity for padding."""
    S = K.masked_fill(absent.unsqueeze(-1) | absent.unsqueeze(-2), 0.0)
    S.diagonal(dim1=-2, dim2=-1).add_(torch.where(absent, 1.0, variance))
    return S


def gp_condition(
    K: Tensor, y: Tensor, noise: Tensor | float, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Condition a Gaussian process on the support: all that :func:`gp_predict` needs.

    Parameters
    ----------
    K : Tensor of shape (*B, n, n)
        Prior covariance of the support rows.
    y : Tensor of shape (*B, n, k)
        Targets, less the prior mean.
    noise : float, or Tensor of shape () or (*B,)
        Variance of the noise.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.

    Returns
    -------
    L : float64 Tensor of shape (*B, n, n)
        Factor of the covariance of the targets; that of a row of padding is a row of the identity.
    alpha : float64 Tensor of shape (*B, n, k)
        Weights of the rows in the posterior mean, 0 for padding.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import gp_condition
    >>> L, alpha = gp_condition(torch.ones(1, 1), torch.ones(1, 1), 1.0, torch.ones(1))
    >>> round(alpha.item(), 4)
    0.5
    """
    rows = _observed(y, noise, weight)
    L = cholesky(_covariance(exact(K), rows.variance, rows.absent))
    return L, torch.cholesky_solve(rows.y, L)


def gp_predict(
    L: Tensor, alpha: Tensor, K_query: Tensor, K_diag: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Predict query rows of a conditioned process.

    Parameters
    ----------
    L, alpha : Tensor
        Result of :func:`gp_condition`.
    K_query : Tensor of shape (*B, m, n)
        Prior covariance of the query rows with those of the support.
    K_diag : Tensor of shape (*B, m)
        Prior variance of the query rows.
    weight : Tensor of shape (*B, n)
        Weights of the support rows; 0 = padding.

    Returns
    -------
    mean : Tensor of shape (*B, m, k)
        Posterior mean of f, without the prior mean, in the dtype of `K_query`.
    variance : Tensor of shape (*B, m)
        Posterior variance of f, without noise; that of each output.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import gp_condition, gp_predict
    >>> one = torch.ones(1)
    >>> L, alpha = gp_condition(torch.ones(1, 1), torch.ones(1, 1), 1.0, one)
    >>> gp_predict(L, alpha, torch.ones(1, 1), one, one)
    (tensor([[0.5000]]), tensor([0.5000]))
    """
    whitened = _whitened(L, K_query, weight)
    mean = _among_present(K_query, weight) @ alpha
    variance = (exact(K_diag) - whitened.square().sum(-2)).clamp(min=0.0)
    return mean.to(K_query.dtype), variance.to(K_query.dtype)


def gp_covariance(L: Tensor, K_query: Tensor, K_joint: Tensor, weight: Tensor) -> Tensor:
    """Compute the posterior covariance of query rows of a conditioned process.

    Parameters
    ----------
    L : Tensor of shape (*B, n, n)
        Result of :func:`gp_condition`.
    K_query : Tensor of shape (*B, m, n)
        Prior covariance of the query rows with those of the support.
    K_joint : Tensor of shape (*B, m, m)
        Prior covariance of the query rows.
    weight : Tensor of shape (*B, n)
        Weights of the support rows; 0 = padding.

    Returns
    -------
    covariance : Tensor of shape (*B, m, m)
        Without noise, in the dtype of `K_query`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import gp_condition, gp_covariance
    >>> one, K = torch.ones(1), torch.ones(1, 1)
    >>> L, _ = gp_condition(K, K, 1.0, one)
    >>> gp_covariance(L, K, K, one)
    tensor([[0.5000]])
    """
    whitened = _whitened(L, K_query, weight)
    return (exact(K_joint) - whitened.mT @ whitened).to(K_query.dtype)


def gp_posterior(
    K: Tensor,
    K_query: Tensor,
    K_diag: Tensor,
    y: Tensor,
    noise: Tensor | float,
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    """Compute the posterior mean and variance of query rows.

    Parameters
    ----------
    K : Tensor of shape (*B, n, n)
        Prior covariance of the support rows.
    K_query : Tensor of shape (*B, m, n)
        Prior covariance of the query rows with those of the support.
    K_diag : Tensor of shape (*B, m)
        Prior variance of the query rows.
    y : Tensor of shape (*B, n, k)
        Targets of the support, less the prior mean.
    noise : float, or Tensor of shape () or (*B,)
        Variance of the noise.
    weight : Tensor of shape (*B, n)
        Weights of the support rows; 0 = padding.

    Returns
    -------
    mean : Tensor of shape (*B, m, k)
        Posterior mean of f, without the prior mean.
    variance : Tensor of shape (*B, m)
        Posterior variance of f, without noise; that of each output.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import gp_posterior, rbf_kernel
    >>> X, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [3.0]])
    >>> X_query, K_diag = torch.tensor([[0.0], [9.0]]), torch.ones(2)
    >>> K, K_query = rbf_kernel(X, X), rbf_kernel(X_query, X)
    >>> mean, variance = gp_posterior(K, K_query, K_diag, y, 1e-4, torch.ones(2))
    >>> mean.round(decimals=2).flatten(), variance.round(decimals=2)
    (tensor([1., 0.]), tensor([0., 1.]))
    """
    L, alpha = gp_condition(K, y, noise, weight)
    return gp_predict(L, alpha, K_query, K_diag, weight)


class _Rows(NamedTuple):
    """Targets and their noise, in float64."""

    y: Tensor  # (*B, n, k), 0 for padding
    noise: Tensor  # () or (*B,)
    variance: Tensor  # (*B, n), noise / w
    weight: Tensor  # (*B, n), 1 for padding
    absent: Tensor  # (*B, n), what is padding


def _observed(y: Tensor, noise: Tensor | float, weight: Tensor) -> _Rows:
    """Return the rows of a support."""
    absent = weight == 0
    w = exact(weight).masked_fill(absent, 1.0)
    noise = torch.as_tensor(noise, dtype=w.dtype, device=w.device)
    residuals = exact(y).masked_fill(absent.unsqueeze(-1), 0.0)
    return _Rows(residuals, noise, noise.unsqueeze(-1) / w, w, absent)


def _among_present(K_query: Tensor, weight: Tensor) -> Tensor:
    """Return covariances with the support in float64, 0 for padding."""
    return exact(K_query).masked_fill((weight == 0).unsqueeze(-2), 0.0)


def _whitened(L: Tensor, K_query: Tensor, weight: Tensor) -> Tensor:
    """Compute L^-1 k_x for each query row x, of shape (*B, n, m)."""
    K = _among_present(K_query, weight)
    return torch.linalg.solve_triangular(exact(L), K.mT, upper=False)
