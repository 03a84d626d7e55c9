"""ResNet12 is the network of the papers, written once more with torch's layers."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sklearn_meta
from sklearn_meta import MAMLClassifier, ProtoNetClassifier
from sklearn_meta.nn import ResNet12, build_backbone


class Block(nn.Module):
    def __init__(self, width, wider, norm):
        super().__init__()
        self.conv1 = nn.Conv2d(width, wider, 3, padding=1, bias=norm is nn.Identity)
        self.norm1 = norm(wider)
        self.conv2 = nn.Conv2d(wider, wider, 3, padding=1, bias=norm is nn.Identity)
        self.norm2 = norm(wider)
        self.conv3 = nn.Conv2d(wider, wider, 3, padding=1, bias=norm is nn.Identity)
        self.norm3 = norm(wider)
        self.downsample = nn.Conv2d(width, wider, 1, bias=norm is nn.Identity)
        self.norm4 = norm(wider)

    def forward(self, x):
        out = F.leaky_relu(self.norm1(self.conv1(x)), 0.1)
        out = F.leaky_relu(self.norm2(self.conv2(out)), 0.1)
        out = self.norm3(self.conv3(out))
        out = F.leaky_relu(out + self.norm4(self.downsample(x)), 0.1)
        return F.max_pool2d(out, 2)


def twin(channels, norm):
    widths = [3, *channels]
    blocks = [Block(a, b, norm) for a, b in pairwise(widths)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


NORMS = {
    "group": lambda wider: nn.GroupNorm(8, wider),
    "batch": lambda wider: nn.BatchNorm2d(wider, track_running_stats=False),
    None: nn.Identity,
}


def copy_weights(net, other):
    """Both list a block's convolutions and normalisations, in different orders."""

    def by_kind(block, names):
        layers = [block.get_submodule(name) for name in names]
        return [p for layer in layers for p in layer.parameters()]

    ours = [f"{kind}.{k}" for kind in ("convs", "norms") for k in range(3)]
    ours += ["shortcut", "shortcut_norm"]
    theirs = [f"{kind}{k}" for kind in ("conv", "norm") for k in (1, 2, 3)] + [
        "downsample",
        "norm4",
    ]
    for block, twin_block in zip(net.blocks, other, strict=False):
        pairs = zip(by_kind(block, ours), by_kind(twin_block, theirs), strict=True)
        for p, q in pairs:
            nn.init.normal_(p, std=0.3)
            q.data = p.data.clone()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("channels", [(8, 16), (64, 160, 320, 640)])
def test_a_network_of_torch_layers_with_the_same_weights(norm, channels):
    torch.manual_seed(0)
    side = 84 if len(channels) == 2 else 32
    net, other = ResNet12((3, side, side), channels, norm=norm), twin(channels, NORMS[norm])
    copy_weights(net, other)
    X = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected = other(X)
        torch.testing.assert_close(net(X), expected, rtol=1e-5, atol=1e-5 * expected.abs().max())


def test_it_has_the_size_of_the_papers():
    f = build_backbone("resnet12", (3, 84, 84), 0, norm="layer")  # group, for images
    assert f.n_features_out == 640
    n_weights = sum(p.numel() for p in f.init(torch.Generator()).values())
    assert n_weights == sum(
        p.numel() for p in twin((64, 160, 320, 640), NORMS["group"]).parameters()
    )
    assert 12.4e6 < n_weights < 12.5e6


@pytest.mark.parametrize("row_shape", [(28, 28), (1, 5, 5), (3, 40, 33), (1, 1)])
def test_any_side(row_shape):
    net = ResNet12(row_shape, (4, 6), groups=2)
    assert net(torch.zeros(2, 3, *row_shape)).shape == (2, 3, 6)


@pytest.mark.parametrize(
    ("row_shape", "params", "message"),
    [
        ((4,), {}, "ResNet12 takes images"),
        ((3, 8, 8), {"norm": "layer"}, "norm of ResNet12 must be"),
        ((3, 8, 8), {"groups": 7}, "groups=7 does not divide"),
    ],
)
def test_bad_parameters_are_refused(row_shape, params, message):
    with pytest.raises(ValueError, match=message):
        ResNet12(row_shape, **params)


def images(n, dtype=np.float32):
    rng = np.random.RandomState(0)
    y = np.arange(n) % 2
    return (rng.normal(size=(n, 3, 8, 8)) + y[:, None, None, None]).astype(dtype), y


def narrow(row_shape):
    return ResNet12(row_shape, channels=(4, 8), groups=2)


def test_second_order_steps_through_it():
    X, y = images(12)
    est = MAMLClassifier(backbone=narrow, max_meta_iter=2, inner_steps=2, random_state=0)
    est.meta_fit([(X, y)] * 3).fit(X, y)
    assert est.predict(X).shape == (12,)
    assert (
        est.phi_["backbone.blocks.0.convs.0.weight"]
        != est.theta_["backbone.blocks.0.convs.0.weight"]
    ).any()


@pytest.mark.slow
def test_the_named_network_is_saved_and_loaded(tmp_path):
    X, y = images(12)
    est = ProtoNetClassifier(backbone="resnet12", max_meta_iter=1, n_shot=1, random_state=0)
    est.meta_fit([(X, y)] * 2).fit(X, y).save(tmp_path / "file")
    same = sklearn_meta.load(tmp_path / "file")
    assert np.array_equal(same.predict_proba(X), est.predict_proba(X))
    assert same.transform(X).shape == (12, 640)
