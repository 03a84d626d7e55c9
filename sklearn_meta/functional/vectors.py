"""All parameters of a task as one vector, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_meta.functional.descent import Params

__all__ = ["as_params", "as_vector"]


def as_vector(params: Params, n_axes: int) -> Tensor:
    """Line up the coordinates of all parameters.

    Parameters
    ----------
    params : dict of Tensor of shape (*B, ...)
        One copy for each task.
    n_axes : int
        How many axes B has.

    Returns
    -------
    Tensor of shape (*B, n_coordinates)
        In the order of the dict.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import as_vector
    >>> as_vector({"w": torch.zeros(5, 2, 3), "b": torch.zeros(5)}, 1).shape
    torch.Size([5, 7])
    """
    return torch.cat([p.reshape(*p.shape[:n_axes], -1) for p in params.values()], -1)


def as_params(vector: Tensor, like: Params) -> Params:
    """Turn the vector of :func:`as_vector` into parameters again (views: nothing is moved).

    Parameters
    ----------
    vector : Tensor of shape (*B, n_coordinates)
        Of each task.
    like : dict of Tensor of shape (*B, ...)
        With the names and the shapes.

    Returns
    -------
    dict of Tensor of shape (*B, ...)
        Like `like`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import as_params, as_vector
    >>> params = {"w": torch.ones(5, 2, 3), "b": torch.zeros(5)}
    >>> as_params(as_vector(params, 1), params)["w"].shape
    torch.Size([5, 2, 3])
    """
    sizes = [p[(0,) * (vector.ndim - 1)].numel() for p in like.values()]
    parts = zip(like.items(), vector.split(sizes, -1), strict=True)
    return {k: part.reshape(p.shape) for (k, p), part in parts}
