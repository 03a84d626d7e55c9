"""Fewer bits in the products of meta-training, for those who ask for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.functional import Params
from sklearn_meta.nn.backbone import RowNetwork

__all__ = ["HalfNetwork", "fewer_bits"]


@dataclass(frozen=True)
class HalfNetwork:
    """A network whose products are taken in bfloat16; features come out as its rows went in.

    Losses, output layer and the steps of the inner loop keep all bits.

    Parameters
    ----------
    f : RowNetwork
        The network.
    """

    f: RowNetwork

    @property
    def n_features_out(self) -> int:
        """Length of a row's features."""
        return self.f.n_features_out

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        return self.f.row_shape

    @property
    def transductive(self) -> bool:
        """Whether rows see each other through batch statistics."""
        return self.f.transductive

    def init(self, generator: torch.Generator) -> Params:
        """Draw the network's parameters, with all bits."""
        return self.f.init(generator)

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        """Embed rows."""
        # without its cache: weights change in the inner loop
        with torch.autocast(X.device.type, torch.bfloat16, cache_enabled=False):
            return self.f(params, X).to(X.dtype)


class _SharedSetting:
    """torch's precision of float32 products, which all threads of a process share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_users = 0
        self.before = ""

    @contextmanager
    def high(self) -> Iterator[None]:
        """Hold it at "high" until the last user has left; only then is it put back."""
        with self.lock:
            if self.n_users == 0:
                self.before = torch.get_float32_matmul_precision()
                torch.set_float32_matmul_precision("high")
            self.n_users += 1
        try:
            yield
        finally:
            with self.lock:
                self.n_users -= 1
                if self.n_users == 0:
                    torch.set_float32_matmul_precision(self.before)


_FLOAT32_PRODUCTS = _SharedSetting()


def fewer_bits(precision: str | None) -> AbstractContextManager[None]:
    """Let float32 products be taken in TF32 on devices that have it, for precision="tf32".

    The setting belongs to the process: torch has none for a thread.
    """
    return _FLOAT32_PRODUCTS.high() if precision == "tf32" else nullcontext()
