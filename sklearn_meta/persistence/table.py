"""A column of texts as two arrays: their bytes, and where each ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Texts"]


class Texts(Sequence[str]):
    """Texts of which one is read without reading the others.

    Parameters
    ----------
    blob : ndarray of uint8
        All bytes, one text after the other.
    ends : ndarray of uint64 of shape (n_texts,)
        Where each ends.

    Raises
    ------
    ValueError
        If they do not go together.
    """

    def __init__(self, blob: NDArray[Any], ends: NDArray[Any]) -> None:
        if blob.dtype != np.uint8 or ends.dtype != np.uint64 or (blob.ndim, ends.ndim) != (1, 1):
            raise ValueError(f"texts of {blob.dtype} and {ends.dtype}")
        if not (ends[1:] >= ends[:-1]).all() or (len(ends) and ends[-1] > len(blob)):
            raise ValueError("texts that do not follow one another")
        self.blob, self.ends = blob, ends

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Put texts into two arrays.

        Parameters
        ----------
        texts : sequence of str
            Any.

        Returns
        -------
        Texts
            The same; the bytes are padded to a multiple of eight.
        """
        parts = [text.encode() for text in texts]
        ends = np.cumsum([len(part) for part in parts], dtype=np.uint64)
        blob = b"".join(parts)
        return cls(np.frombuffer(blob.ljust(-(-len(blob) // 8) * 8, b"\0"), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        if not 0 <= i < len(self):
            raise IndexError(i)
        start = int(self.ends[i - 1]) if i else 0
        return self.blob[start : int(self.ends[i])].tobytes().decode()
