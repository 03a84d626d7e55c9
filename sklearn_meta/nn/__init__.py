"""Backbones, the layers they are made of, and the wrapper that calls any module functionally."""

from sklearn_meta.nn.backbone import Backbone, Network, RowNetwork, build_backbone
from sklearn_meta.nn.conv4 import Conv4
from sklearn_meta.nn.layers import Conv2d, Linear, TaskBatchNorm, TaskGroupNorm, TaskLayerNorm
from sklearn_meta.nn.mlp import ACTIVATIONS, MLP

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Backbone",
    "Conv2d",
    "Conv4",
    "Linear",
    "Network",
    "RowNetwork",
    "TaskBatchNorm",
    "TaskGroupNorm",
    "TaskLayerNorm",
    "build_backbone",
]
