"""Resolve names of torch devices, and check their data types."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import torch

__all__ = ["check_dtype", "exact", "exact_dtype", "resolve_device", "torch_dtype"]


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device of this machine that a `device` parameter names; "auto" prefers a GPU."""
    if isinstance(device, str) and device == "auto":
        # not "mps", which has no float64: it is used where it is named, with float32 rows
        return torch.device("cuda" if is_available("cuda") else "cpu")
    resolved = None
    if isinstance(device, (str, torch.device)):  # torch would take a number as that of a GPU
        with suppress(RuntimeError):
            resolved = torch.device(device)
    if resolved is None:
        raise ValueError(
            "The 'device' parameter must be 'auto' or a torch device such as 'cpu', 'cuda', "
            f"'cuda:1' or 'mps'. Got {device!r} instead; this machine has {available()}."
        )
    n_devices = torch.cuda.device_count() if resolved.type == "cuda" else 1
    if not is_available(resolved.type) or (resolved.index or 0) >= n_devices:
        raise ValueError(
            f"device={str(device)!r} is not available on this machine, which has {available()}; "
            "device='auto' takes a GPU where there is one."
        )
    return resolved


def check_dtype(device: torch.device, dtype: Any) -> None:
    """Raise a ValueError if the device cannot compute in this dtype."""
    if device.type == "mps" and np.dtype(dtype) == np.float64:
        raise ValueError(
            "device='mps' has no float64, which X is computed in unless all of it is float32 "
            "(or bytes): pass X.astype(numpy.float32), or use device='cpu'."
        )


def exact_dtype(tensor: torch.Tensor) -> torch.dtype:
    """Return the dtype for factorisations: float64, but that of the tensor on "mps"."""
    return tensor.dtype if tensor.device.type == "mps" else torch.float64


def exact(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in the dtype for factorisations."""
    return tensor.to(exact_dtype(tensor))


@cache
def torch_dtype(dtype: Any) -> torch.dtype:
    """Return torch's dtype for a dtype of numpy."""
    return torch.from_numpy(np.empty(0, dtype)).dtype


def is_available(kind: str) -> bool:
    """Return whether the machine has a device of this type."""
    if kind == "cuda":
        return torch.cuda.is_available()
    if kind == "mps":
        return torch.backends.mps.is_available()
    return kind == "cpu"


def available() -> str:
    """Return the names of the devices of this machine, for errors."""
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if is_available("cuda") else []
    names = ["cpu", *gpus, *(["mps"] if is_available("mps") else [])]
    return ", ".join(map(repr, names))
