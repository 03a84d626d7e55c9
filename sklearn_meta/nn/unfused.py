"""Recurrent layers and attention in elementary operations, instead of torch's fused kernels."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["Unfused"]

Weights = Sequence[Tensor]  # of one layer and direction, without those of the input
Cell = Callable[[Tensor, Weights, Weights], tuple[Tensor, ...]]  # (x, state, weights) -> state


class Unfused(TorchFunctionMode):
    """Replace the fused kernels of this thread that lack a second derivative or `torch.vmap`.

    `nn.LSTM`, `nn.GRU`, `nn.RNN` and their cells, `nn.MultiheadAttention`, the layers of
    `nn.Transformer` and `scaled_dot_product_attention` then compute the same with operations that
    have both, on every device. torch's own switches would change the whole process. `replaced` is
    True as soon as a kernel was replaced.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replaced = False

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        replacement = REPLACEMENTS.get(func)
        self.replaced |= replacement is not None
        return (replacement or func)(*args, **(kwargs or {}))


# ---- recurrent layers ------------------------------------------------------------------------


def _lstm_step(x: Tensor, state: Weights, weights: Weights) -> tuple[Tensor, ...]:
    (h, c), (W, *b) = state, weights
    project = b.pop() if b and b[-1].ndim == W.ndim else None  # proj_size
    i, f, g, o = (x + F.linear(h, W, *b)).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if project is None else F.linear(h, project)), c


def _gru_step(x: Tensor, state: Weights, weights: Weights) -> tuple[Tensor, ...]:
    (h,) = state
    r, z, n = x.chunk(3, -1)
    r_h, z_h, n_h = F.linear(h, *weights).chunk(3, -1)
    n = (n + (r + r_h).sigmoid() * n_h).tanh()
    return (n + (z + z_h).sigmoid() * (h - n),)


def _tanh_step(x: Tensor, state: Weights, weights: Weights) -> tuple[Tensor, ...]:
    return ((x + F.linear(state[0], *weights)).tanh(),)


def _relu_step(x: Tensor, state: Weights, weights: Weights) -> tuple[Tensor, ...]:
    return ((x + F.linear(state[0], *weights)).relu(),)


def _layers(cell: Cell) -> Callable[..., tuple[Tensor, ...]]:
    """Return a function like ``torch.lstm``, with the arguments that torch's modules pass."""

    def run(X: Tensor, *args: Any) -> tuple[Tensor, ...]:
        sizes = None
        if isinstance(args[2], bool):  # a padded batch: time first, or rows first
            start, params, biases, n_layers, dropout, train, both, batch_first = args
        else:  # a packed one, with the number of rows that are left at each time
            sizes, start, params, biases, n_layers, dropout, train, both = args
            sizes, batch_first = sizes.tolist(), False
        start = [start] if isinstance(start, Tensor) else start
        X = X.transpose(0, 1) if batch_first else X
        n_directions = 1 + both
        n_weights = len(params) // (n_layers * n_directions)
        ends = []
        for layer in range(n_layers):
            outputs = []
            for direction in range(n_directions):
                k = layer * n_directions + direction
                W, *weights = params[k * n_weights : (k + 1) * n_weights]
                b = (weights.pop(1),) if biases else ()
                first, x = [s[k] for s in start], F.linear(X, W, *b)
                Z, end = _scan(cell, x, first, weights, sizes, backwards=direction == 1)
                outputs.append(Z)
                ends.append(end)
            X = torch.cat(outputs, -1)
            if layer < n_layers - 1:
                X = F.dropout(X, dropout, train)
        X = X.transpose(0, 1) if batch_first else X
        return X, *(torch.stack(parts) for parts in zip(*ends, strict=True))

    return run


def _scan(
    cell: Cell,
    x: Tensor,
    state: Sequence[Tensor],
    weights: Weights,
    sizes: list[int] | None,
    *,
    backwards: bool,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run a cell through time in one direction; return h at all times, and the last state."""
    steps = x.unbind(0) if sizes is None else x.split(sizes)
    hidden = []
    for x_t in reversed(steps) if backwards else steps:
        n = x_t.shape[0]
        new = cell(x_t, [s[:n] for s in state], weights)
        hidden.append(new[0])
        if n == state[0].shape[0]:
            state = new
        else:  # shorter sequences have ended, or have not begun yet
            state = [torch.cat([s, old[n:]]) for s, old in zip(new, state, strict=True)]
    if backwards:
        hidden.reverse()
    return (torch.stack(hidden) if sizes is None else torch.cat(hidden)), state


def _cell(cell: Cell) -> Callable[..., Any]:
    """Return a function like ``torch.lstm_cell``: one step."""

    def run(X: Tensor, state: Any, w_ih: Tensor, w_hh: Tensor, *biases: Tensor | None) -> Any:
        b_ih, b_hh = biases or (None, None)
        start = [state] if isinstance(state, Tensor) else state
        weights = [w_hh] if b_hh is None else [w_hh, b_hh]
        new = cell(F.linear(X, w_ih, b_ih), start, weights)
        return new[0] if isinstance(state, Tensor) else new

    return run


# ---- attention -------------------------------------------------------------------------------


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(Q K^T / sqrt(d) + mask) V."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    if is_causal:
        shape = query.shape[-2], key.shape[-2]
        attn_mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = ~attn_mask  # here True means to attend, in MultiheadAttention to ignore
    scores = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if attn_mask is not None:
        scores = scores + _finite(attn_mask, scores.dtype)
    return F.dropout(scores.softmax(-1), dropout_p) @ value


def _finite(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what to add to scores: so low that it masks, but finite so that no row is NaN."""
    lowest = torch.finfo(dtype).min / 4  # two of them may be added
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, lowest)
    return mask.to(dtype).clamp(min=lowest)


ARGUMENTS = inspect.signature(F.multi_head_attention_forward)


def _multi_head_attention(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """Compute attention as torch does where it returns the weights: without a fused kernel."""
    bound = ARGUMENTS.bind(*args, **kwargs)
    bound.apply_defaults()
    need_weights, dtype = bound.arguments["need_weights"], bound.arguments["query"].dtype
    changes: dict[str, Any] = {"need_weights": True}
    for name in ("key_padding_mask", "attn_mask"):
        mask = bound.arguments[name]
        changes[name] = None if mask is None else _finite(mask, dtype)
    bound.arguments.update(changes)
    output, weights = F.multi_head_attention_forward(*bound.args, **bound.kwargs)
    return output, weights if need_weights else None


REPLACEMENTS: dict[Any, Callable[..., Any]] = {
    torch.lstm: _layers(_lstm_step),
    torch.gru: _layers(_gru_step),
    torch.rnn_tanh: _layers(_tanh_step),
    torch.rnn_relu: _layers(_relu_step),
    torch.lstm_cell: _cell(_lstm_step),
    torch.gru_cell: _cell(_gru_step),
    torch.rnn_tanh_cell: _cell(_tanh_step),
    torch.rnn_relu_cell: _cell(_relu_step),
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _multi_head_attention,
}
