"""Validation episodes of tasks that are read anew in every epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from sklearn_meta.outer.module import refuse_padding

__all__ = ["ReadBatches"]


class ReadBatches(Dataset):
    """The same episodes in every epoch, as those of `FixedBatches`, but none is kept.

    Parameters
    ----------
    batches : callable
        Gives an iterator of (tuple of Tensor, bool): support and query, flat, and whether they
        are padded.
    n_batches : int
        How many.
    transductive : bool
        Whether padding must be refused.
    """

    def __init__(
        self,
        batches: Callable[[], Iterator[tuple[tuple[Tensor, ...], bool]]],
        n_batches: int,
        transductive: bool,
    ) -> None:
        self.batches, self.n_batches, self.transductive = batches, n_batches, transductive

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"batches": tuple, "n_batches": 0}  # a pickled net has no tasks

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        for batch, ragged in self.batches():
            if ragged and self.transductive:
                refuse_padding()
            yield batch, batch[2][:, 0]
