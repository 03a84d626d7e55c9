"""Batch normalisation in a module of the user's own: which statistics it takes."""

from __future__ import annotations

import copy
from typing import TypeVar, get_args

import torch
from torch import nn

from sklearn_meta._warnings import warn
from sklearn_meta.functional import Params

__all__ = ["has_batch_statistics", "replace_batch_norm", "warn_untrained_statistics"]

M = TypeVar("M", bound=nn.Module)

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
BATCH_NORMS = get_args(BatchNorm)
MEAN, VARIANCE = "running_mean", "running_var"


def replace_batch_norm(module: M, groups: int = 8) -> M:
    """Copy a module with GroupNorm in place of its BatchNorm layers.

    GroupNorm normalises each row by its own statistics, so that predictions do not depend on other
    rows. Scales and shifts keep their weights, and all other layers are copied as they are.
    Features of a pretrained network change, because its running statistics are gone: train it, or
    leave BatchNorm where it is and its running statistics are used.

    Parameters
    ----------
    module : nn.Module
        Any module, which is not modified.
    groups : int, default=8
        Largest number of groups of channels. A layer has the largest number up to it that divides
        its channels. A BatchNorm1d becomes a GroupNorm of one group (a layer normalisation),
        because a group of a vector that is a single number would always be 0.

    Returns
    -------
    nn.Module
        The copy.

    Raises
    ------
    ValueError
        If `groups` is below 1, or a lazy layer does not know its number of channels yet.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_meta.nn import replace_batch_norm
    >>> net = nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU())
    >>> replace_batch_norm(net)[1].num_groups
    6
    """
    if groups < 1:
        raise ValueError(f"groups must be at least 1. Got {groups}.")
    replacements: dict[int, nn.Module] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, (nn.LazyBatchNorm1d, nn.LazyBatchNorm2d, nn.LazyBatchNorm3d)):
            raise ValueError(
                f"The layer {name!r} is lazy: call the module once, so that it has its shape."
            )
        if isinstance(layer, BATCH_NORMS):
            replacements[id(layer)] = _group_norm(layer, groups)
    return copy.deepcopy(module, replacements)  # a layer with two names stays one layer


def _group_norm(layer: BatchNorm, groups: int) -> nn.GroupNorm:
    channels = layer.num_features
    most = 1 if isinstance(layer, nn.BatchNorm1d) else groups
    n_groups = max(n for n in range(1, most + 1) if channels % n == 0)
    norm = nn.GroupNorm(n_groups, channels, layer.eps, layer.affine)
    if layer.affine:  # with their dtype, device and requires_grad
        norm.weight, norm.bias = copy.deepcopy(layer.weight), copy.deepcopy(layer.bias)
    return norm.train(layer.training)


def has_batch_statistics(module: nn.Module) -> bool:
    """Return whether a module in evaluation mode normalises by the rows that it is called with."""
    return any(
        getattr(layer, "transductive", False)
        or (isinstance(layer, BATCH_NORMS) and layer.running_mean is None)
        for layer in module.modules()
    )


def warn_untrained_statistics(constants: Params) -> None:
    """Warn if running statistics have the values of a new layer, which normalise nothing."""
    new = [
        k
        for k, mean in constants.items()
        if k.endswith(MEAN)
        and not mean.any()
        and bool(constants.get(k.removesuffix(MEAN) + VARIANCE, torch.zeros(1)).eq(1).all())
    ]
    if new:
        warn(
            f"The running statistics of {len(new)} BatchNorm layers of the backbone have never "
            f"been trained ({new[0]} is 0), and meta_fit leaves them as they are, so that these "
            "layers do not normalise. Use sklearn_meta.nn.replace_batch_norm(module), a pretrained "
            "network, or BatchNorm(track_running_stats=False) for the statistics of each task.",
            UserWarning,
        )
