"""Layers whose parameters may carry a leading task axis: one network for all tasks, or one each.

Each is an ordinary torch layer until its parameters are replaced, by
:func:`torch.func.functional_call`, with stacked ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sklearn_meta.functional import linear

__all__ = ["Conv2d", "Linear", "TaskBatchNorm", "TaskGroupNorm", "TaskLayerNorm"]


class Linear(nn.Linear):
    """Affine layer: `X` (*B, n, in), weight (out, in) or (B, out, in)."""

    def forward(self, X: Tensor) -> Tensor:
        """Map the last axis."""
        return linear(X, self.weight, self.bias)


class Conv2d(nn.Conv2d):
    """Convolution of images `X` (*B, n, channels, height, width).

    With one kernel a task, the tasks become the groups of a single grouped convolution.
    """

    def forward(self, X: Tensor) -> Tensor:
        """Convolve each image with its task's kernel."""
        if self.weight.ndim == 4:
            Z = F.conv2d(X.flatten(0, -4), self.weight, self.bias, self.stride, self.padding)
            return Z.unflatten(0, X.shape[:-3])
        assert self.bias is not None
        B = len(self.weight)
        Z = F.conv2d(
            X.movedim(0, 1).flatten(1, 2),  # (n, B * channels, height, width)
            self.weight.flatten(0, 1),
            self.bias.flatten(),
            self.stride,
            self.padding,
            groups=B,
        )
        return Z.unflatten(1, (B, -1)).movedim(1, 0)


class _Affine(nn.Module):
    """Scale and shift of channels: gamma, beta of shape (channels,) or (B, channels)."""

    def __init__(self, channels: int, channel_axis: int) -> None:
        super().__init__()
        self.channels, self.channel_axis = channels, channel_axis
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def affine(self, Z: Tensor) -> Tensor:
        """gamma Z + beta."""
        return torch.addcmul(self._over(self.bias), Z, self._over(self.weight))

    def _over(self, p: Tensor) -> Tensor:
        # (*B, channels) -> (*B, 1 row, channels, 1, ...): aligned with Z from the right
        shape = p.shape[:-1] + (1, self.channels) + (1,) * (-1 - self.channel_axis)
        return p.view(shape)

    def extra_repr(self) -> str:
        return f"{self.channels}, channel_axis={self.channel_axis}"


class TaskLayerNorm(_Affine):
    """Layer normalisation of vectors: each row by its own mean and variance.

    Parameters
    ----------
    channels : int
        Length of the vectors.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channel_axis=-1)

    def forward(self, Z: Tensor) -> Tensor:
        """Normalise, scale and shift `Z` (*B, n, channels)."""
        return self.affine(F.layer_norm(Z, (self.channels,)))


class TaskGroupNorm(_Affine):
    """Group normalisation of images: each image by the statistics of groups of its channels.

    Parameters
    ----------
    channels, groups : int
        Channels, and the number of groups that divides them.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels, channel_axis=-3)
        self.groups = groups

    def forward(self, Z: Tensor) -> Tensor:
        """Normalise, scale and shift `Z` (*B, n, channels, height, width)."""
        normed = F.group_norm(Z.flatten(0, -4), self.groups)
        return self.affine(normed.view(Z.shape))


class TaskBatchNorm(_Affine):
    """Batch normalisation by the statistics of the rows at hand, never by running ones.

    The rows of a task see each other: predictions for several rows differ from predictions row
    by row (they are transductive), and padding would change them.

    Parameters
    ----------
    channels : int
        Channels.
    channel_axis : int
        -1 for vectors, -3 for images.
    """

    transductive = True

    def forward(self, Z: Tensor) -> Tensor:
        """Normalise over rows and pixels, scale and shift."""
        rows_and_pixels = [a for a in range(self.channel_axis - 1, 0) if a != self.channel_axis]
        mean = Z.mean(rows_and_pixels, keepdim=True)
        variance = Z.var(rows_and_pixels, correction=0, keepdim=True)
        return self.affine((Z - mean) * (variance + 1e-5).rsqrt())
