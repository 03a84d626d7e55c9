"""The twelve-layer residual backbone of the few-shot literature."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from sklearn_meta.nn.layers import Conv2d, TaskBatchNorm, TaskGroupNorm, image_layout

__all__ = ["ResNet12"]

SLOPE = 0.1  # of the leaky ReLU


class ResNet12(nn.Module):
    """Four residual blocks of three 3x3 convolutions each, then the mean over all pixels.

    A block convolves, normalises and applies a leaky ReLU of slope 0.1 three times, adds a
    normalised 1x1 convolution of its input before the last ReLU, and halves the sides by
    max-pooling. This is the standard network for images of 84x84 pixels. DropBlock, by which the
    papers regularise it, is left out, because networks run in evaluation mode here.

    Oreshkin, Rodriguez and Lacoste, "TADAM", NeurIPS 2018; Lee, Maji, Ravichandran and Soatto,
    "Meta-Learning with Differentiable Convex Optimization", CVPR 2019.

    Parameters
    ----------
    row_shape : tuple of int
        Shape of one row, (height, width) or (channels, height, width). Pooling leaves an axis of
        length 1 as it is.
    channels : sequence of int, default=(64, 160, 320, 640)
        Number of channels of each block.
    norm : {"group", "batch"} or None, default="group"
        "group" normalises each image by groups of its channels. "batch" uses the statistics of the
        rows of each task, which is transductive (the papers train with those of a meta-batch).
    groups : int, default=8
        Number of groups for ``norm="group"``.

    Raises
    ------
    ValueError
        If the rows are not images, or a parameter is out of range.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.nn import ResNet12
    >>> ResNet12((3, 84, 84), channels=(8, 16))(torch.zeros(2, 3, 84, 84)).shape
    torch.Size([2, 16])
    """

    stacks = True  # its layers take parameters with a leading task axis

    def __init__(
        self,
        row_shape: tuple[int, ...],
        channels: tuple[int, ...] = (64, 160, 320, 640),
        *,
        norm: str | None = "group",
        groups: int = 8,
    ) -> None:
        super().__init__()
        if len(row_shape) not in (2, 3):
            raise ValueError(
                "ResNet12 takes images, rows of shape (height, width) or (channels, height, "
                f"width); got rows of shape {row_shape}."
            )
        if norm not in ("group", "batch", None):
            raise ValueError(f"norm of ResNet12 must be 'group', 'batch' or None. Got {norm!r}.")
        if norm == "group" and any(width % groups for width in channels):
            raise ValueError(f"groups={groups} does not divide channels={tuple(channels)}.")
        self.image_ndim = len(row_shape)
        self.blocks = nn.ModuleList()
        width = 1 if len(row_shape) == 2 else row_shape[0]
        for wider in channels:
            self.blocks.append(_Block(width, wider, norm, groups))
            width = wider

    def forward(self, X: Tensor) -> Tensor:
        """Embed images.

        Parameters
        ----------
        X : Tensor of shape (*B, n, ...)
            Images, each of shape `row_shape`.

        Returns
        -------
        Tensor of shape (*B, n, channels[-1])
            Mean of the last block over the pixels.
        """
        X = X.unsqueeze(-3) if self.image_ndim == 2 else X
        first = self.blocks[0]
        assert isinstance(first, _Block)
        merge, split = image_layout(X.shape[:-4], first.shortcut)

        def normalise(norm: nn.Module, X: Tensor) -> Tensor:
            return merge(norm(split(X))) if isinstance(norm, TaskBatchNorm) else norm(X)

        X = merge(X)
        for block in self.blocks:
            X = block(X, normalise)
        return split(X.mean((-2, -1), keepdim=True)).flatten(-3)


class _Block(nn.Module):
    """The layers of a residual block."""

    def __init__(self, width: int, wider: int, norm: str | None, groups: int) -> None:
        super().__init__()

        def conv(width: int, size: int) -> Conv2d:
            layer = Conv2d(width, wider, size, padding=size // 2, bias=norm is None)
            # as in the official code of MetaOptNet
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="leaky_relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            return layer

        def norm_layer() -> nn.Module:
            if norm == "group":
                return TaskGroupNorm(groups, wider)
            return TaskBatchNorm(wider, pixel_axes=2) if norm == "batch" else nn.Identity()

        self.convs = nn.ModuleList(conv(width if k == 0 else wider, 3) for k in range(3))
        self.norms = nn.ModuleList(norm_layer() for _ in range(3))
        self.shortcut, self.shortcut_norm = conv(width, 1), norm_layer()

    def forward(self, X: Tensor, normalise: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
        shortcut = normalise(self.shortcut_norm, self.shortcut(X))
        for conv, norm in zip(self.convs[:2], self.norms[:2], strict=True):
            X = F.leaky_relu(normalise(norm, conv(X)), SLOPE)
        X = F.leaky_relu(normalise(self.norms[2], self.convs[2](X)) + shortcut, SLOPE)
        return F.max_pool2d(X, tuple(min(2, side) for side in X.shape[-2:]))
