"""The four-layer convolutional backbone of the few-shot literature."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sklearn_meta.nn.layers import Conv2d, TaskBatchNorm, TaskGroupNorm, image_layout

__all__ = ["Conv4"]


class Conv4(nn.Module):
    """Four blocks of 3x3 convolution, normalisation, ReLU and 2x2 max-pooling, then flattened.

    Vinyals et al., "Matching Networks for One Shot Learning", NeurIPS 2016, section 4.1.1.

    Parameters
    ----------
    row_shape : tuple of int
        Shape of one row, (height, width) or (channels, height, width). Pooling leaves an axis of
        length 1 as it is.
    channels : int, default=64
        Number of channels of each block.
    norm : {"group", "batch"} or None, default="group"
        "group" normalises each image by groups of its channels. "batch" uses the statistics of the
        rows of each task, as in the papers, which is transductive.
    groups : int, default=8
        Number of groups for ``norm="group"``.

    Raises
    ------
    ValueError
        If the rows are not images, or a parameter is out of range.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.nn import Conv4
    >>> Conv4((28, 28), channels=16)(torch.zeros(5, 28, 28)).shape
    torch.Size([5, 16])
    """

    stacks = True  # its layers take parameters with a leading task axis

    def __init__(
        self,
        row_shape: tuple[int, ...],
        channels: int = 64,
        *,
        norm: str | None = "group",
        groups: int = 8,
    ) -> None:
        super().__init__()
        if len(row_shape) not in (2, 3):
            raise ValueError(
                "Conv4 takes images, rows of shape (height, width) or (channels, height, width); "
                f"got rows of shape {row_shape}."
            )
        if norm not in ("group", "batch", None):
            raise ValueError(f"norm of Conv4 must be 'group', 'batch' or None. Got {norm!r}.")
        if norm == "group" and channels % groups:
            raise ValueError(f"groups={groups} does not divide channels={channels}.")
        self.image_ndim = len(row_shape)
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        width = 1 if len(row_shape) == 2 else row_shape[0]
        for _ in range(4):
            self.convs.append(Conv2d(width, channels, kernel_size=3, padding=1))
            if norm == "group":
                self.norms.append(TaskGroupNorm(groups, channels))
            elif norm == "batch":
                self.norms.append(TaskBatchNorm(channels, pixel_axes=2))
            else:
                self.norms.append(nn.Identity())
            width = channels

    def forward(self, X: Tensor) -> Tensor:
        """Embed images.

        Parameters
        ----------
        X : Tensor of shape (*B, n, ...)
            Images, each of shape `row_shape`.

        Returns
        -------
        Tensor of shape (*B, n, n_features_out)
            Features of the last block, flattened.
        """
        X = X.unsqueeze(-3) if self.image_ndim == 2 else X
        merge, split = image_layout(X.shape[:-4], self.convs[0])
        X = merge(X)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            X = conv(X)
            X = merge(norm(split(X))) if isinstance(norm, TaskBatchNorm) else norm(X)
            window = tuple(min(2, side) for side in X.shape[-2:])
            X = F.max_pool2d(X, window).relu()  # = pooling after ReLU, on a quarter of the pixels
        return split(X).flatten(-3)
