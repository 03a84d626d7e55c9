"""A learned update rule: an LSTM that updates each coordinate of theta separately.

Functions of coordinates, (N, ...), of any number of tensors and tasks: all share the weights of the
rule, and each has its own state. Ravi and Larochelle, "Optimization as a Model for Few-Shot
Learning", ICLR 2017, section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sklearn_meta.functional.params import linear

__all__ = ["gated_update", "lstm_cell", "preprocess"]


def preprocess(x: Tensor, p: float = 10.0) -> Tensor:
    """Scale numbers of any size: logarithm and sign of large ones, small ones themselves.

    (log|x| / p, sign x) if |x| >= e^-p, else (-1, e^p x): section 3.2, after Andrychowicz et al.,
    "Learning to learn by gradient descent by gradient descent", NeurIPS 2016, appendix A. Both
    cases are log(max(|x|, e^-p)) / p and e^p x cut at -1 and 1, which are continuous.

    Parameters
    ----------
    x : Tensor of shape (...)
        Gradients, or losses.
    p : float, default=10.0
        Numbers below e^-p are small.

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
    """Compute one step of an LSTM, like :class:`torch.nn.LSTMCell`.

    s_t = sigma(z_f) o s_(t-1) + sigma(z_i) o tanh(z_g), h_t = sigma(z_o) o tanh(s_t), with
    (z_i, z_f, z_g, z_o) = W [x_t, h_(t-1)] + b.

    Parameters
    ----------
    x : Tensor of shape (N, d)
        Inputs.
    h, s : Tensor of shape (N, hidden_size)
        Output and cell before the step.
    weight : Tensor of shape (4 * hidden_size, d + hidden_size)
        The weights W.
    bias : Tensor of shape (4 * hidden_size,)
        The bias b.

    Returns
    -------
    h, s : Tensor of shape (N, hidden_size)
        Output and cell after the step.

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
    """Update theta as the cell of an LSTM: theta_t = f_t o theta_(t-1) - i_t o grad_t (eq. 2).

    i_t = sigma(W_I [h_t, theta_(t-1), i_(t-1)] + b_I), f_t = sigma(W_F [h_t, theta_(t-1), f_(t-1)]
    + b_F), section 3.1. The gradient is not preprocessed. Without weights this is gradient descent
    with rate sigma(b_I) and decay sigma(b_F).

    Parameters
    ----------
    theta, grad : Tensor of shape (N,)
        The cell before the step, and the gradient at it.
    h : Tensor of shape (N, hidden_size)
        Output of the first layer, which sees gradient and loss.
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
