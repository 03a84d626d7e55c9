"""Layers whose parameters may have a leading task axis: one network for all tasks, or one each.

Each is an ordinary torch layer until :func:`torch.func.functional_call` replaces its parameters by
stacked ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sklearn_meta.functional import linear
from sklearn_meta.functional.generators import current_generators, is_training

__all__ = [
    "Conv2d",
    "Dropout",
    "Linear",
    "TaskBatchNorm",
    "TaskGroupNorm",
    "TaskLayerNorm",
    "image_layout",
]


class Linear(nn.Linear):
    """Affine layer: `X` (*B, n, in), weight (out, in) or (B, out, in), with a bias.

    Parameters
    ----------
    *args : tuple
        Arguments of :class:`torch.nn.Linear`.
    **kwargs : dict
        Further arguments of :class:`torch.nn.Linear`; `bias` must be True.

    Raises
    ------
    ValueError
        If `bias` is False.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.nn import Linear
    >>> layer = Linear(3, 2)
    >>> stacked = {"weight": torch.zeros(5, 2, 3), "bias": torch.zeros(5, 2)}  # of five tasks
    >>> torch.func.functional_call(layer, stacked, (torch.ones(5, 4, 3),)).shape
    torch.Size([5, 4, 2])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.bias is None:
            raise ValueError(
                "The Linear of sklearn_meta has a bias. torch.nn.Linear can be without, and runs "
                "under vmap."
            )

    def forward(self, X: Tensor) -> Tensor:
        """Map the last axis of `X`.

        Parameters
        ----------
        X : Tensor of shape (*B, n, in)
            Rows.

        Returns
        -------
        Tensor of shape (*B, n, out)
            The rows mapped by the weights of their task.
        """
        return linear(X, self.weight, self.bias)


class Dropout(nn.Module):
    """Set a share of the numbers to zero in meta-training, and divide the others by 1 - p.

    It draws from the generators of meta-training. Elsewhere, it changes nothing.

    Parameters
    ----------
    p : float
        The share, at least 0 and less than 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, X: Tensor) -> Tensor:
        """Drop numbers.

        Parameters
        ----------
        X : Tensor of shape (...)
            Activations.

        Returns
        -------
        Tensor of shape (...)
            The same outside of meta-training.
        """
        if self.p == 0 or not is_training():
            return X
        generator = current_generators().on(X.device)
        scale = torch.empty_like(X).bernoulli_(1 - self.p, generator=generator).div_(1 - self.p)
        return X * scale


class Conv2d(nn.Conv2d):
    """Convolution of images, with one kernel for all tasks or one each.

    With one kernel, `X` is (rows, channels, height, width). With one for each task, the tasks lie
    side by side in the channels, `X` (n, B * channels, height, width), and become the groups of a
    single convolution. It pads with zeros.

    Parameters
    ----------
    *args : tuple
        Arguments of :class:`torch.nn.Conv2d`.
    **kwargs : dict
        Further arguments of :class:`torch.nn.Conv2d`; `padding_mode` must be "zeros".

    Raises
    ------
    ValueError
        If `padding_mode` is not "zeros".
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.padding_mode != "zeros":
            raise ValueError(
                f"The Conv2d of sklearn_meta pads by zeros; got padding_mode={self.padding_mode!r}."
                " torch.nn.Conv2d has other modes, and runs under vmap."
            )

    def forward(self, X: Tensor) -> Tensor:
        """Convolve each image with the kernel of its task.

        Parameters
        ----------
        X : Tensor of shape (n, channels, height, width)
            Images. If each task has its own kernel, the tasks lie side by side in the channels.

        Returns
        -------
        Tensor of shape (n, out_channels, out_height, out_width)
            Filtered images, with tasks as in `X`.
        """
        B = len(self.weight) if self.weight.ndim == 5 else 1
        weight = self.weight.flatten(0, -4)
        bias = None if self.bias is None else self.bias.flatten()
        groups = B * self.groups
        return F.conv2d(X, weight, bias, self.stride, self.padding, self.dilation, groups)


def image_layout(
    B: tuple[int, ...], conv: nn.Module
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return how to merge the images of tasks B for :class:`Conv2d`, and how to split them again.

    If the convolution has a kernel for each task, tasks lie side by side in the channels, and
    otherwise one below the other.
    """
    beside = conv.weight.ndim == 5

    def merge(X: Tensor) -> Tensor:  # (*B, n, channels, height, width)
        if beside:
            return X.movedim(0, 1).flatten(1, 2)
        X = X.flatten(0, -4)
        # with channels last in memory, convolutions and pooling on a CPU take a fifth less time
        return X.to(memory_format=torch.channels_last) if X.device.type == "cpu" else X

    def split(X: Tensor) -> Tensor:
        if beside:
            return X.unflatten(1, (*B, -1)).movedim(1, 0)
        return X.unflatten(0, (*B, -1)) if B else X

    return merge, split


class TaskLayerNorm(nn.LayerNorm):
    """Layer normalisation of vectors `X` (*B, n, channels), each row by its own statistics.

    Parameters
    ----------
    channels : int
        Length of the vectors.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, X: Tensor) -> Tensor:
        """Normalise, scale and shift each row.

        Parameters
        ----------
        X : Tensor of shape (*B, n, channels)
            Rows.

        Returns
        -------
        Tensor of shape (*B, n, channels)
            Normalised rows.
        """
        if self.weight.ndim == 1:
            return super().forward(X)
        normed = F.layer_norm(X, self.normalized_shape, eps=self.eps)
        return torch.addcmul(self.bias.unsqueeze(-2), normed, self.weight.unsqueeze(-2))


class TaskGroupNorm(nn.GroupNorm):
    """Group normalisation of images, each image by the statistics of groups of its channels.

    `X` has the same form as for :class:`Conv2d`, with tasks side by side where each has its own
    parameters.

    Parameters
    ----------
    groups : int
        Number of groups, which must divide the number of channels.
    channels : int
        Number of channels.
    """

    def __init__(self, groups: int, channels: int) -> None:
        super().__init__(groups, channels)

    def forward(self, X: Tensor) -> Tensor:
        """Normalise, scale and shift each image.

        Parameters
        ----------
        X : Tensor of shape (n, channels, height, width)
            Images, as for :class:`Conv2d`.

        Returns
        -------
        Tensor of shape (n, channels, height, width)
            Normalised images.
        """
        B = len(self.weight) if self.weight.ndim == 2 else 1
        weight, bias = self.weight.flatten(), self.bias.flatten()
        return F.group_norm(X, B * self.num_groups, weight, bias, self.eps)


class TaskBatchNorm(nn.Module):
    """Batch normalisation by the statistics of the rows of each task, without running statistics.

    It is transductive: predictions for several rows together differ from predictions row by row,
    and padding would change them.

    Parameters
    ----------
    channels : int
        Number of channels.
    pixel_axes : int
        Number of axes after the channels: 0 for vectors, 2 for images.
    """

    transductive = True

    def __init__(self, channels: int, pixel_axes: int = 0) -> None:
        super().__init__()
        self.pixel_axes = pixel_axes
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, X: Tensor) -> Tensor:
        """Normalise over rows and pixels, scale and shift.

        Parameters
        ----------
        X : Tensor of shape (*B, n, channels, ...)
            Rows or images of each task.

        Returns
        -------
        Tensor of shape (*B, n, channels, ...)
            Normalised rows or images.
        """
        axes = (-2 - self.pixel_axes, *range(-self.pixel_axes, 0))
        mean = X.mean(axes, keepdim=True)
        variance = X.var(axes, correction=0, keepdim=True)
        normed = (X - mean) * (variance + 1e-5).rsqrt()
        weight, bias = (
            p.reshape(*p.shape[:-1], 1, -1, *[1] * self.pixel_axes)
            for p in (self.weight, self.bias)
        )
        return torch.addcmul(bias, normed, weight)
