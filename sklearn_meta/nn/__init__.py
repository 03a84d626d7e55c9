"""Backbones, the layers they are made of, and the wrapper that calls any module functionally."""

from sklearn_meta.nn.backbone import Backbone, Network, RowNetwork, build_backbone
from sklearn_meta.nn.batch_norm import replace_batch_norm
from sklearn_meta.nn.conv4 import Conv4
from sklearn_meta.nn.layers import Conv2d, Linear, TaskBatchNorm, TaskGroupNorm, TaskLayerNorm
from sklearn_meta.nn.mlp import ACTIVATIONS, MLP
from sklearn_meta.nn.resnet12 import ResNet12

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Backbone",
    "Conv2d",
    "Conv4",
    "Linear",
    "Network",
    "ResNet12",
    "RowNetwork",
    "TaskBatchNorm",
    "TaskGroupNorm",
    "TaskLayerNorm",
    "build_backbone",
    "replace_batch_norm",
]
