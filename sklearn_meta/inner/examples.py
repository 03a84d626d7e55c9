"""Labelled rows as tensors, of one task or of a stack of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Examples", "join", "one_hot", "pad", "stack", "widen"]


class Examples(NamedTuple):
    """The support or the query of one task (B = ()) or of a stack of B tasks.

    Attributes
    ----------
    X : Tensor of shape (*B, n, ...)
        Inputs.
    y : Tensor of shape (*B, n, k)
        One-hot labels (k = n_way) or targets (k = n_outputs).
    weight : Tensor of shape (*B, n)
        Sample weights; 0 = padding, so that ragged tasks stack.
    """

    X: Tensor
    y: Tensor
    weight: Tensor


def one_hot(codes: NDArray[np.intp], n_columns: int) -> NDArray[np.bool_]:
    """Return codes (...) as rows (..., n_columns) with a single True: a byte a number at first."""
    rows = np.zeros((*codes.shape, n_columns), dtype=bool)
    np.put_along_axis(rows, codes[..., None], True, -1)
    return rows


def join(support: Examples, query: Examples) -> Examples:
    """Put the rows of support and query together.

    Parameters
    ----------
    support, query : Examples
        Of one task, or of a stack of tasks B.

    Returns
    -------
    examples : Examples
        With X of shape (*B, n_support + n_query, ...), the support first.
    """
    rows = support.weight.ndim - 1
    return Examples(*(torch.cat(pair, rows) for pair in zip(support, query, strict=True)))


def pad(examples: Examples, n_rows: int, n_columns: int) -> Examples:
    """Append rows of weight 0, and columns of zeros to y.

    Parameters
    ----------
    examples : Examples
        Of one task, (n, ...).
    n_rows, n_columns : int
        The sizes wanted, at least those that `examples` has.

    Returns
    -------
    examples : Examples
        With X of shape (n_rows, ...) and y of shape (n_rows, n_columns).
    """
    X, y, weight = examples
    more, wider = n_rows - len(X), n_columns - y.shape[-1]
    if more == 0 and wider == 0:
        return examples
    return Examples(
        torch.cat([X, X.new_zeros(more, *X.shape[1:])]),
        torch.nn.functional.pad(y, (0, wider, 0, more)),
        torch.nn.functional.pad(weight, (0, more)),
    )


def widen(examples: Examples, n_rows: int, n_columns: int) -> Examples:
    """Append rows of weight 0, and columns of zeros to y, to every task of a stack.

    Parameters
    ----------
    examples : Examples
        Of a stack of tasks (B,).
    n_rows, n_columns : int
        The sizes wanted, at least those that `examples` has.

    Returns
    -------
    examples : Examples
        With X of shape (B, n_rows, ...) and y of shape (B, n_rows, n_columns).
    """
    X, y, weight = examples
    more, wider = n_rows - X.shape[1], n_columns - y.shape[-1]
    if more == 0 and wider == 0:
        return examples
    return Examples(
        torch.cat([X, X.new_zeros(len(X), more, *X.shape[2:])], 1),
        torch.nn.functional.pad(y, (0, wider, 0, more)),
        torch.nn.functional.pad(weight, (0, more)),
    )


def stack(tasks: Sequence[Examples]) -> Examples:
    """Stack tasks of different sizes along a new leading axis, padded to the largest.

    Parameters
    ----------
    tasks : sequence of Examples
        Each of one task.

    Returns
    -------
    examples : Examples
        With B = (len(tasks),).

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.inner import Examples, stack
    >>> small = Examples(torch.ones(1, 2), torch.ones(1, 1), torch.ones(1))
    >>> large = Examples(torch.ones(3, 2), torch.ones(3, 1), torch.ones(3))
    >>> stack([small, large]).weight
    tensor([[1., 0., 0.],
            [1., 1., 1.]])
    """
    n_rows = max(len(task.X) for task in tasks)
    n_columns = max(task.y.shape[-1] for task in tasks)
    padded = [pad(task, n_rows, n_columns) for task in tasks]
    return Examples(*(torch.stack(part) for part in zip(*padded, strict=True)))
