"""An affine map whose weights may differ from task to task."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["linear"]


def linear(X: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Affine map X W^T + b.

    Parameters
    ----------
    X : Tensor of shape (*B, n, d)
        Rows.
    weight : Tensor of shape (*B, m, d) or (m, d)
        One map a task, or one for all.
    bias : Tensor of shape (*B, m) or (m,)
        Likewise.

    Returns
    -------
    Tensor of shape (*B, n, m)
        The mapped rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import linear
    >>> X = torch.ones(2, 3, 4)  # two tasks, three rows, four features
    >>> linear(X, torch.ones(2, 5, 4), torch.zeros(2, 5)).shape
    torch.Size([2, 3, 5])
    """
    if weight.ndim == 2:
        return torch.nn.functional.linear(X, weight, bias)
    return torch.baddbmm(bias.unsqueeze(-2), X, weight.mT)
