"""How many tasks fit into one stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_meta.functional import Params
from sklearn_meta.nn.backbone import RowNetwork
from sklearn_meta.outer.state import to_torch

__all__ = ["numbers_of_a_row", "tasks_at_once"]

# numbers in one stack: on a CPU few enough for its caches, on a GPU enough to fill it
AT_ONCE = {"cpu": 2**21, "cuda": 2**26}
COPIES = 3  # of a task's parameters: before a step, its gradient, after it

Size = Callable[[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]], int]


def tasks_at_once(
    est: Any, f: RowNetwork, theta: Mapping[str, NDArray[Any]], device: torch.device
) -> Size:
    """Estimate what a task takes: its own parameters, and what its rows leave for the gradient.

    Parameters
    ----------
    est : BaseMetaLearner
        Whose `task_chunk_size`, if it is not None, is the most.
    f : RowNetwork
        The backbone.
    theta : mapping of ndarray
        Meta-parameters.
    device : torch.device
        Where the stack lies.

    Returns
    -------
    callable
        From the rows of support and query of tasks and their labels, in order, to how many of them
        go into the next stack; at least one.
    """
    n_params = COPIES * sum(p.size for p in theta.values())
    with torch.inference_mode(False):  # the caller may be in it
        a_row = numbers_of_a_row(f, to_torch(theta, device, torch.float32), device)
    most = getattr(est, "task_chunk_size", None)
    at_once = AT_ONCE.get(device.type, AT_ONCE["cpu"])

    def size(
        n_support: NDArray[np.intp], n_query: NDArray[np.intp], n_columns: NDArray[np.intp]
    ) -> int:
        rows = np.maximum.accumulate(n_support) + np.maximum.accumulate(n_query)  # padded
        width = a_row + np.maximum.accumulate(n_columns)
        numbers = (n_params + rows * width) * np.arange(1, len(rows) + 1)
        fit = max(1, int(np.searchsorted(numbers, at_once, side="right")))
        return fit if most is None else min(fit, int(most))

    return size


def numbers_of_a_row(f: RowNetwork, theta: Params, device: torch.device) -> int:
    """Count what a row leaves in memory for the gradient, by sending two through the network.

    Parameters
    ----------
    f : RowNetwork
        The backbone.
    theta : dict of Tensor
        Meta-parameters.
    device : torch.device
        Where they lie.

    Returns
    -------
    int
        Numbers, those of the row itself among them.
    """
    kept: dict[int, int] = {}
    own = {p.data_ptr() for p in theta.values()}

    def keep(tensor: torch.Tensor) -> None:  # counted, and let go: a graph would hold itself
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.numel()

    with torch.enable_grad():
        X = torch.zeros(2, *f.row_shape, dtype=torch.float32, device=device)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda nothing: nothing):
            params = {k: p.detach().requires_grad_(p.is_floating_point()) for k, p in theta.items()}
            Z = f(params, X)
    return (sum(kept.values()) + X.numel() + Z.numel()) // 2
