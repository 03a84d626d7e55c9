"""Drawings of 105 x 105 bits, reduced to smaller images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.datasets._archive import SIDE

__all__ = ["box_weights", "resample"]


def box_weights(size: int) -> NDArray[np.float64]:
    """Weights (size, 105) of the old pixels in each new one: rows sum to 1, columns have one entry.

    An old pixel counts, whole, in the new one that its centre falls in, and in the first of two
    where it falls on their border. That is Pillow's `BOX` (which resolves the border by rounding
    where 105 / size is no binary fraction; at 28 it is), what others have taken Omniglot down to
    28 pixels with. The exact mean of the area would differ from it by up to 0.29 a pixel.
    """
    twice_the_centre = 2 * np.arange(SIDE) + 1
    owner = (twice_the_centre * size - 1) // (2 * SIDE)  # whole numbers, so no border is missed
    member = owner == np.arange(size)[:, np.newaxis]
    weights: NDArray[np.float64] = member / member.sum(axis=1, keepdims=True)
    return weights


def resample(packed: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Reduce packed drawings (..., 1379) to images (n, size, size), each pixel in [0, 1]."""
    weights = box_weights(size)
    rows = packed.reshape(-1, packed.shape[-1])
    images = np.empty((len(rows), size, size), dtype=np.float32)
    for start in range(0, len(rows), 500):  # all of them in float64 would take 3 GB
        part = slice(start, start + 500)
        bits = np.unpackbits(rows[part], axis=-1, count=SIDE**2).reshape(-1, SIDE, SIDE)
        images[part] = weights @ bits.astype(np.float64) @ weights.T
    return images
