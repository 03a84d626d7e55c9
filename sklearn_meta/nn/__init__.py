"""Backbones, and the layers they are made of, that take parameters with a leading task axis."""

from sklearn_meta.nn.conv4 import Conv4
from sklearn_meta.nn.layers import Conv2d, Linear, TaskBatchNorm, TaskGroupNorm, TaskLayerNorm
from sklearn_meta.nn.mlp import ACTIVATIONS, MLP

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Conv2d",
    "Conv4",
    "Linear",
    "TaskBatchNorm",
    "TaskGroupNorm",
    "TaskLayerNorm",
]
