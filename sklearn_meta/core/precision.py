"""Fewer bits in the products of meta-training, for those who ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.core.backbone import RowNetwork
from sklearn_meta.functional import Params

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


@contextmanager
def fewer_bits(precision: str | None) -> Iterator[None]:
    """Let float32 products be taken in TF32 on devices that have it, for precision="tf32".

    Parameters
    ----------
    precision : {"tf32", "bf16"} or None
        Of the estimator; all but "tf32" change nothing here.

    Yields
    ------
    None
        With torch's global setting, which is put back in the end.
    """
    before = torch.get_float32_matmul_precision()
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
