"""Ridge regression in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_meta._devices import exact_dtype

__all__ = ["ridge"]

LEAST_PENALTY = 1e-10  # as a share of the sum of squares


def with_ones(Z: Tensor) -> Tensor:
    """Append a column of ones to features, whose weights are then an intercept."""
    return torch.nn.functional.pad(Z, (0, 1), value=1.0)


def ridge(
    Z: Tensor, y: Tensor, weight: Tensor, penalty: Tensor, offset: Tensor | None = None
) -> Tensor:
    """Compute W = argmin_W sum_i w_i |y_i - a_i - W' z_i|^2 + penalty |W|^2.

    With A = diag(w)^(1/2) Z and b = diag(w)^(1/2) (y - a), it is (A'A + penalty I)^-1 A'b, or, by
    Woodbury's identity, A'(AA' + penalty I)^-1 b: the smaller of the two matrices is factorised.

    Parameters
    ----------
    Z : Tensor of shape (*B, n, d)
        Features. There is no intercept: append a column of ones for one, which is then penalised.
    y : Tensor of shape (*B, n, k)
        Targets.
    weight : Tensor of shape (*B, n)
        Weights of the rows; 0 = padding.
    penalty : Tensor of shape () or (*B,)
        Positive; at least 1e-10 of the sum of the squares of all features counts.
    offset : Tensor of shape (*B, n, k), default=None
        Predictions a of the targets, to which W'z is added. None is zero.

    Returns
    -------
    W : Tensor of shape (*B, d, k)
        In the dtype of `Z`, factorised in float64. Zero without rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import ridge
    >>> Z, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
    >>> ridge(Z, y, torch.ones(2), torch.tensor(5.0))
    tensor([[1.]])
    """
    exact = exact_dtype(Z)
    root = weight.to(exact).sqrt().unsqueeze(-1)
    residuals = y if offset is None else y - offset
    A, b = root * Z.to(exact), root * residuals.to(exact)
    n, d = A.shape[-2:]
    gram = A @ A.mT if n <= d else A.mT @ A
    # rounding errors of equal rows would exceed a tiny penalty
    size = torch.diagonal(gram, dim1=-2, dim2=-1).sum(-1).detach()
    least = LEAST_PENALTY * size
    shift = torch.maximum(penalty.to(exact), least)[..., None, None]
    identity = torch.eye(min(n, d), dtype=exact, device=Z.device)
    factor, _ = torch.linalg.cholesky_ex(gram + shift * identity)  # of NaN it makes NaN
    if n <= d:
        return (A.mT @ torch.cholesky_solve(b, factor)).to(Z.dtype)
    return torch.cholesky_solve(A.mT @ b, factor).to(Z.dtype)
