"""An update rule that is learned: an LSTM that treats each coordinate of theta by itself.

Functions of coordinates, (N, ...), of any number of tensors and tasks: all share the weights of the
rule, each has a state of its own. Ravi and Larochelle, "Optimization as a Model for Few-Shot
Learning", ICLR 2017, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sklearn_meta.functional.linear import linear

__all__ = ["gated_update", "in_chunks", "lstm_cell", "preprocess"]


def preprocess(x: Tensor, p: float = 10.0) -> Tensor:
    """Bring numbers of any size to one scale: size and sign where large, the number where small.

    (log|x| / p, sign x) if |x| >= e^-p, else (-1, e^p x): section 3.2, after Andrychowicz et al.,
    "Learning to learn by gradient descent by gradient descent", NeurIPS 2016, appendix A. Both
    cases are log(max(|x|, e^-p)) / p and e^p x cut at -1 and 1, which are continuous.

    Parameters
    ----------
    x : Tensor of shape (...)
        Gradients, or losses.
    p : float, default=10.0
        Numbers below e^-p count as small.

    Returns
    -------
    Tensor of shape (..., 2)
        Both numbers.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import preprocess
    >>> preprocess(torch.tensor([1.0, 0.0]))
    tensor([[ 0.,  1.],
            [-1.,  0.]])
    """
    size = x.abs().clamp(min=math.exp(-p)).log() / p
    return torch.stack([size, (math.exp(p) * x).clamp(-1, 1)], -1)


def lstm_cell(
    x: Tensor, h: Tensor, s: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of an ordinary LSTM, as :class:`torch.nn.LSTMCell` takes it.

    s_t = sigma(z_f) o s_(t-1) + sigma(z_i) o tanh(z_g), h_t = sigma(z_o) o tanh(s_t), with
    (z_i, z_f, z_g, z_o) = W [x_t, h_(t-1)] + b.

    Parameters
    ----------
    x : Tensor of shape (N, d)
        Inputs.
    h, s : Tensor of shape (N, hidden_size)
        Output and cell before.
    weight : Tensor of shape (4 * hidden_size, d + hidden_size)
        The weights W.
    bias : Tensor of shape (4 * hidden_size,)
        The bias b.

    Returns
    -------
    h, s : Tensor of shape (N, hidden_size)
        Output and cell after.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import lstm_cell
    >>> zeros = torch.zeros(3, 1)
    >>> h, s = lstm_cell(zeros, zeros, zeros + 1, torch.ones(4, 2), torch.zeros(4))
    >>> s.mT
    tensor([[0.5000, 0.5000, 0.5000]])
    """
    xh, parts = torch.cat([x, h], -1), zip(weight.chunk(4), bias.chunk(4), strict=True)
    z_i, z_f, z_g, z_o = (linear(xh, W, b) for W, b in parts)  # parts of one product are strided
    s = z_f.sigmoid() * s + z_i.sigmoid() * z_g.tanh()
    return z_o.sigmoid() * s.tanh(), s


def gated_update(
    theta: Tensor, grad: Tensor, h: Tensor, gates: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Theta as the cell of an LSTM: theta_t = f_t o theta_(t-1) - i_t o grad_t (eq. 2).

    i_t = sigma(W_I [h_t, theta_(t-1), i_(t-1)] + b_I), f_t = sigma(W_F [h_t, theta_(t-1), f_(t-1)]
    + b_F), section 3.1. The gradient is the raw one. Without weights this is gradient descent with
    rate sigma(b_I) and decay sigma(b_F).

    Parameters
    ----------
    theta, grad : Tensor of shape (N,)
        The cell before, and the gradient there.
    h : Tensor of shape (N, hidden_size)
        What the first layer makes of gradient and loss.
    gates : Tensor of shape (N, 2)
        Gates i_(t-1) and f_(t-1), after the sigmoid, as the paper writes them (the official code
        feeds back the input of the sigmoid).
    weight : Tensor of shape (2, hidden_size + 2)
        Weights W_I and W_F.
    bias : Tensor of shape (2,)
        Biases b_I and b_F.

    Returns
    -------
    theta : Tensor of shape (N,)
        The cell after the step.
    gates : Tensor of shape (N, 2)
        Gates i_t and f_t.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import gated_update
    >>> theta, grad, h = torch.tensor([4.0]), torch.tensor([1.0]), torch.zeros(1, 20)
    >>> gated_update(theta, grad, h, torch.zeros(1, 2), torch.zeros(2, 22), torch.zeros(2))
    (tensor([1.5000]), tensor([[0.5000, 0.5000]]))
    """
    of_h, of_theta, of_gate = weight.split([h.shape[-1], 1, 1], -1)
    z = linear(h, of_h, bias) + theta.unsqueeze(-1) * of_theta.mT + gates * of_gate.mT
    gates = z.sigmoid()
    i, f = gates.unbind(-1)
    return f * theta - i * grad, gates


def in_chunks(
    function: Callable[..., tuple[Tensor, ...]], chunk_size: int | None, *rows: Tensor
) -> tuple[Tensor, ...]:
    """Apply a function of rows to some of them at a time, so that memory is bounded.

    Where a graph is built, a chunk keeps its inputs alone and is computed again in the backward
    pass. Rows that are no more than a chunk are left as they are, and keep everything.

    Parameters
    ----------
    function : callable
        From tensors (N, ...) to a tuple of tensors (N, ...), each row by itself.
    chunk_size : int or None
        How many rows at a time; None: all.
    *rows : Tensor of shape (N, ...)
        Arguments of the function.

    Returns
    -------
    tuple of Tensor of shape (N, ...)
        What the function gives for all rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.functional import in_chunks
    >>> in_chunks(lambda x: (2 * x,), 2, torch.arange(5))
    (tensor([0, 2, 4, 6, 8]),)
    """
    if chunk_size is None or len(rows[0]) <= chunk_size:
        return function(*rows)
    parts = [
        checkpoint(function, *chunk, use_reentrant=False, preserve_rng_state=False)
        for chunk in zip(*(t.split(chunk_size) for t in rows), strict=True)
    ]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))
