"""Recurrent layers and attention in elementary operations, in place of torch's fused kernels."""

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
Cell = Callable[[Tensor, Weights, Weights], tuple[Tensor, ...]]  # of x, state and weights


class Unfused(TorchFunctionMode):
    """Replaces fused kernels in this thread: they have no second derivative or no `torch.vmap`.

    `nn.LSTM`, `nn.GRU`, `nn.RNN` and their cells, `nn.MultiheadAttention`, the layers of
    `nn.Transformer` and `scaled_dot_product_attention` then compute the same with operations that
    have both, on every device. Weights of attention stay on their way to it: there is no fast path.
    torch's own switches for its kernels are not used, because they hold for the whole process.

    Attributes
    ----------
    replaced : bool
        Whether there was anything to replace.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replaced = False

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        ours = REPLACEMENTS.get(func)
        self.replaced |= ours is not None
        return (ours or func)(*args, **(kwargs or {}))


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
    """Give what ``torch.lstm`` and its like do, with the arguments that torch's modules pass."""

    def run(X: Tensor, *args: Any) -> tuple[Tensor, ...]:
        sizes = None
        if isinstance(args[2], bool):  # a padded batch: time first, or rows first
            start, params, biases, n_layers, dropout, train, both, batch_first = args
        else:  # a packed one, with the number of rows that are left at each time
            sizes, start, params, biases, n_layers, dropout, train, both = args
            sizes, batch_first = sizes.tolist(), False
        start = [start] if isinstance(start, Tensor) else start
        X = X.transpose(0, 1) if batch_first else X
        n_ways = 1 + both
        n_own = len(params) // (n_layers * n_ways)
        ends = []
        for layer in range(n_layers):
            outputs = []
            for way in range(n_ways):
                k = layer * n_ways + way
                W, *own = params[k * n_own : (k + 1) * n_own]
                b = (own.pop(1),) if biases else ()
                first = [s[k] for s in start]
                Z, end = _one_way(cell, F.linear(X, W, *b), first, own, sizes, backwards=way == 1)
                outputs.append(Z)
                ends.append(end)
            X = torch.cat(outputs, -1)
            if layer < n_layers - 1:
                X = F.dropout(X, dropout, train)
        X = X.transpose(0, 1) if batch_first else X
        return X, *(torch.stack(parts) for parts in zip(*ends, strict=True))

    return run


def _one_way(
    cell: Cell,
    x: Tensor,
    state: Sequence[Tensor],
    weights: Weights,
    sizes: list[int] | None,
    *,
    backwards: bool,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Go through time in one direction; give the states h of all times, and the last state."""
    steps = x.unbind(0) if sizes is None else x.split(sizes)
    hidden = []
    for now in reversed(steps) if backwards else steps:
        n = now.shape[0]
        left = cell(now, [s[:n] for s in state], weights)
        hidden.append(left[0])
        if n == state[0].shape[0]:
            state = left
        else:  # shorter sequences have ended, or have not begun yet
            state = [torch.cat([s, old[n:]]) for s, old in zip(left, state, strict=True)]
    if backwards:
        hidden.reverse()
    return (torch.stack(hidden) if sizes is None else torch.cat(hidden)), state


def _cell(cell: Cell) -> Callable[..., Any]:
    """Give what ``torch.lstm_cell`` and its like do: one step."""

    def run(X: Tensor, state: Any, w_ih: Tensor, w_hh: Tensor, *biases: Tensor | None) -> Any:
        b_ih, b_hh = biases or (None, None)
        start = [state] if isinstance(state, Tensor) else state
        weights = [w_hh] if b_hh is None else [w_hh, b_hh]
        found = cell(F.linear(X, w_ih, b_ih), start, weights)
        return found[0] if isinstance(state, Tensor) else found

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
        attn_mask = ~attn_mask  # True takes part here, and is left out in MultiheadAttention
    scores = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if attn_mask is not None:
        scores = scores + _finite(attn_mask, scores.dtype)
    return F.dropout(scores.softmax(-1), dropout_p) @ value


def _finite(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Give what is added to scores: so low that it leaves out, but a row of it alone is no NaN."""
    lowest = torch.finfo(dtype).min / 4  # two of them may be added
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, lowest)
    return mask.to(dtype).clamp(min=lowest)


ARGUMENTS = inspect.signature(F.multi_head_attention_forward)


def _multi_head_attention(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """Attend as torch does where the weights of the attention are asked for: step by step."""
    bound = ARGUMENTS.bind(*args, **kwargs)
    bound.apply_defaults()
    asked, dtype = bound.arguments["need_weights"], bound.arguments["query"].dtype
    changes: dict[str, Any] = {"need_weights": True}
    for name in ("key_padding_mask", "attn_mask"):
        mask = bound.arguments[name]
        changes[name] = None if mask is None else _finite(mask, dtype)
    bound.arguments.update(changes)
    output, weights = F.multi_head_attention_forward(*bound.args, **bound.kwargs)
    return output, weights if asked else None


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
