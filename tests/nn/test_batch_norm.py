"""BatchNorm in a network of one's own: running statistics, statistics of the rows, or neither."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_meta import ProtoNetClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.nn import build_backbone, replace_batch_norm

BLOBS = list(make_blob_tasks(5, n_way=3, n_shot=3, n_features=4, random_state=0))
SHORT = {"max_meta_iter": 2, "random_state": 0}


def trained(layer):
    """A layer after some rows in training mode."""
    with torch.no_grad():
        for _ in range(20):
            layer(1 + 2 * torch.randn(16, layer.num_features))
    return layer


def net(**norm):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.BatchNorm1d(5, **norm)
        return nn.Sequential(nn.Linear(4, 5), trained(layer), nn.ReLU())


def test_running_statistics_normalise_row_by_row_and_stay():
    est = ProtoNetClassifier(backbone=net(), **SHORT).meta_fit(BLOBS)
    running = {k: p.numpy() for k, p in net().named_buffers()}
    assert est.meta_state.constants.keys() == {f"backbone.{k}" for k in running}
    assert all(
        np.array_equal(est.meta_state.constants[f"backbone.{k}"], running[k]) for k in running
    )
    assert {"backbone.1.weight", "backbone.1.bias"} <= est.theta_.keys()
    est.fit(BLOBS[0].X_support, BLOBS[0].y_support)
    X = BLOBS[0].X_query
    rows = np.concatenate([est.predict_proba(x[None]) for x in X])
    np.testing.assert_allclose(rows, est.predict_proba(X), atol=1e-12)


def test_without_running_statistics_it_takes_those_of_the_rows():
    est = ProtoNetClassifier(backbone=net(track_running_stats=False), **SHORT).meta_fit(BLOBS)
    assert len(est.meta_state.constants) == 0
    est.fit(BLOBS[0].X_support, BLOBS[0].y_support)
    X = BLOBS[0].X_query
    assert np.abs(est.predict_proba(X[:4]) - est.predict_proba(X)[:4]).max() > 1e-6
    with pytest.raises(ValueError, match="a single row has none"):
        est.predict(X[:1])


def test_statistics_that_were_never_trained_give_a_warning():
    fresh = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5))
    with pytest.warns(UserWarning, match=r"1 BatchNorm layers .* never .*replace_batch_norm"):
        est = ProtoNetClassifier(backbone=fresh, **SHORT).meta_fit(BLOBS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est.fit(BLOBS[0].X, BLOBS[0].y)
        ProtoNetClassifier(backbone=net(), **SHORT).meta_fit(BLOBS)


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_a_lazy_layer_without_running_statistics_is_transductive():
    for tracks in (True, False):

        def lazy(tracks=tracks):  # torch cannot copy a lazy buffer
            layer = nn.LazyBatchNorm1d(track_running_stats=tracks)
            return nn.Sequential(nn.LazyLinear(5), layer)

        assert build_backbone(lazy, (4,), 0).transductive != tracks


class Twice(nn.Module):
    """A layer with two names."""

    def __init__(self):
        super().__init__()
        self.conv, self.first = nn.Conv2d(2, 12, 1), nn.BatchNorm2d(12, eps=0.1)
        self.second = self.first

    def forward(self, X):
        return self.second(self.first(self.conv(X)))


def test_group_norm_replaces_batch_norm_and_keeps_its_weights():
    before = Twice().double().eval()
    nn.init.normal_(before.first.weight)
    before.first.bias.requires_grad_(False)
    untouched = copy.deepcopy(before)
    after = replace_batch_norm(before, groups=8)
    norm = after.first
    assert after.second is norm
    assert isinstance(norm, nn.GroupNorm)
    assert (norm.num_groups, norm.num_channels, norm.eps) == (6, 12, 0.1)
    assert torch.equal(norm.weight, before.first.weight)
    assert norm.weight is not before.first.weight
    assert (norm.weight.requires_grad, norm.bias.requires_grad) == (True, False)
    assert norm.weight.dtype == torch.float64
    assert not norm.training
    assert torch.equal(after.conv.weight, before.conv.weight)
    X = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    expected = before.conv(X)
    for _ in range(2):
        expected = nn.functional.group_norm(expected, 6, norm.weight, norm.bias, 0.1)
    torch.testing.assert_close(after(X), expected)
    assert before.state_dict().keys() == untouched.state_dict().keys()
    assert isinstance(before.first, nn.BatchNorm2d)


def test_vectors_are_normalised_as_a_whole():
    after = replace_batch_norm(nn.BatchNorm1d(8, affine=False))
    X = torch.randn(3, 8)
    torch.testing.assert_close(after(X), nn.functional.layer_norm(X, (8,)))
    assert list(after.parameters()) == []


def test_no_batch_norm_no_change():
    same = replace_batch_norm(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)))
    assert [type(layer) for layer in same] == [nn.Linear, nn.LayerNorm]


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_what_cannot_be_replaced_is_refused():
    with pytest.raises(ValueError, match="groups must be at least 1"):
        replace_batch_norm(nn.BatchNorm2d(4), groups=0)
    with pytest.raises(ValueError, match=r"layer '0' is lazy"):
        replace_batch_norm(nn.Sequential(nn.LazyBatchNorm2d()))
