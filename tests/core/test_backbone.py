"""Any network as a function of its parameters: stacked = a loop, and what is refused."""

import functools
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_meta import FewShotTasks, ProtoNetClassifier
from sklearn_meta.core import Backbone, build_backbone
from sklearn_meta.nn import MLP, Conv4

B, N = 3, 5
MLP_PARAMS = {"hidden_layer_sizes": (4, 2), "activation": "tanh", "norm": "layer"}


class Tied(nn.Module):
    """Two layers with the same weights."""

    def __init__(self):
        super().__init__()
        self.first = self.second = nn.Linear(3, 3)

    def forward(self, X):
        return self.second(torch.tanh(self.first(X)))


class Idle(nn.Module):
    """A parameter that nothing uses."""

    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, X):
        return self.used(X)


def batch_norm(kind, width):
    return kind(width, track_running_stats=False)


FOREIGN = {
    "linear": ((3,), lambda: nn.Linear(3, 4)),
    "sequential": ((3,), lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU())),
    "dropout": ((3,), lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))),
    "conv": ((2, 6, 5), lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.GroupNorm(1, 3), nn.Tanh())),
    "sequence": ((2, 7), lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.AdaptiveAvgPool1d(2))),
    "tied": ((3,), Tied),
    "idle": ((3,), Idle),
    "bilinear": ((2, 3), lambda: nn.Sequential(nn.Linear(3, 2), nn.Flatten(), nn.Linear(4, 2))),
    "batch": ((3,), lambda: nn.Sequential(nn.Linear(3, 4), batch_norm(nn.BatchNorm1d, 4))),
    "batch2d": (
        (2, 5, 4),
        lambda: nn.Sequential(nn.Conv2d(2, 3, 2), batch_norm(nn.BatchNorm2d, 3), nn.Flatten()),
    ),
    "own-mlp": ((3,), lambda: MLP((3,), (4, 2))),
    "own-conv4": ((6, 5), lambda: Conv4((6, 5), channels=6, groups=2)),
}


def draw(name):
    row_shape, make = FOREIGN[name]
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        f = build_backbone(make, row_shape, 0)
    theta = f.init(rng)
    stacked = {
        k: p.double() + 0.3 * torch.randn(B, *p.shape, dtype=torch.float64, generator=rng)
        for k, p in theta.items()
    }
    return f, stacked, torch.randn(B, N, *row_shape, dtype=torch.float64, generator=rng)


@pytest.mark.parametrize("name", FOREIGN)
def test_parameters_of_their_own_are_a_loop_over_the_tasks(name):
    f, stacked, X = draw(name)
    out = f(stacked, X)
    assert out.shape == (B, N, f.n_features_out)
    for i in range(B):
        alone = f({k: p[i] for k, p in stacked.items()}, X[i])
        torch.testing.assert_close(out[i], alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FOREIGN)
def test_one_task_is_the_module_itself(name):
    f, stacked, X = draw(name)
    module = FOREIGN[name][1]().double().eval()
    module.load_state_dict(
        {k.removeprefix("backbone."): p[0] for k, p in stacked.items()}, strict=name != "tied"
    )
    expected = module(X[0]).flatten(1).detach()
    out = f({k: p[0] for k, p in stacked.items()}, X[0])
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in FOREIGN if "batch" not in name])
def test_one_network_for_all_tasks_is_a_loop_over_them(name):
    f, stacked, X = draw(name)
    theta = {k: p[0] for k, p in stacked.items()}
    expected = torch.stack([f(theta, x) for x in X])
    torch.testing.assert_close(f(theta, X), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FOREIGN)
def test_batch_statistics_are_flagged_transductive(name):
    assert draw(name)[0].transductive == ("batch" in name)


@pytest.mark.parametrize("name", ["batch", "batch2d"])
def test_batch_statistics_are_those_of_each_task(name):
    f, stacked, X = draw(name)
    theta = {k: p[0] for k, p in stacked.items()}
    expected = torch.stack([f(theta, x) for x in X])
    torch.testing.assert_close(f(theta, X), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_pickled_network_leaves_its_numbers_behind_and_computes_the_same(name):
    f, stacked, X = draw(name)
    copy = pickle.loads(pickle.dumps(f))
    assert torch.equal(copy(stacked, X), f(stacked, X))
    assert copy.init(torch.Generator()) == {}


def test_the_initial_parameters_are_copies():
    f = build_backbone("mlp", (3,), 0, **MLP_PARAMS)
    for p in f.init(torch.Generator()).values():
        p.zero_()
    assert f.init(torch.Generator())["backbone.0.weight"].abs().sum() > 0


def test_more_parameters_than_the_backbones_may_be_given():
    f, stacked, X = draw("linear")
    more = stacked | {"head.weight": torch.ones(1)}
    assert torch.equal(f(more, X), f(stacked, X))


BUILDERS = {
    "mlp": ("mlp", (3,)),
    "conv4": ("conv4", (8, 8)),
    "module": (nn.Linear(3, 2), (3,)),
    "class": (Idle, (3,)),
    "function": (lambda: nn.Linear(3, 2), (3,)),
    "function-of-row-shape": (lambda row_shape: nn.Linear(row_shape[0], 2), (3,)),
    "function-with-a-default": (lambda width=2: nn.Linear(3, width), (3,)),
    "class-of-row-shape": (MLP, (3,)),
    "partial": (functools.partial(MLP, hidden_layer_sizes=(2,)), (3,)),
    "keyword-only": (lambda row_shape, *, width=2: nn.Linear(*row_shape, width), (3,)),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_building_depends_on_the_seed_alone_and_leaves_the_global_generator(name):
    backbone, row_shape = BUILDERS[name]
    before = torch.get_rng_state()
    first = build_backbone(backbone, row_shape, 5, **MLP_PARAMS)
    assert torch.equal(before, torch.get_rng_state())
    with torch.random.fork_rng():
        torch.manual_seed(99)
        second = build_backbone(backbone, row_shape, 5, **MLP_PARAMS)
    third = build_backbone(backbone, row_shape, 6, **MLP_PARAMS)
    params = [f.init(torch.Generator()) for f in (first, second, third)]
    assert params[0].keys() == params[1].keys()
    assert all(torch.equal(params[0][k], params[1][k]) for k in params[0])
    same = all(torch.equal(params[0][k], params[2][k]) for k in params[0])
    assert same == (name == "module")  # a module brings its own numbers


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_lazy_layers_are_drawn_from_the_seed_and_leave_the_global_generator():
    def lazy():
        return nn.Sequential(nn.LazyLinear(4), nn.Tanh())

    before = torch.get_rng_state()
    first = build_backbone(lazy, (3,), 5)
    assert torch.equal(before, torch.get_rng_state())
    with torch.random.fork_rng():
        torch.manual_seed(99)
        second = build_backbone(lazy, (3,), 5)
    params = [f.init(torch.Generator()) for f in (first, second)]
    assert params[0]["backbone.0.weight"].shape == (4, 3)
    assert all(torch.equal(params[0][k], params[1][k]) for k in params[0])


def test_a_generator_is_put_back_when_building_fails():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        build_backbone(lambda: nn.Linear(3, 1 // 0), (3,), 0)
    assert torch.equal(before, torch.get_rng_state())


def test_the_module_given_is_copied_and_left_alone():
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    weight = module[0].weight.detach().clone()
    f = build_backbone(module, (3,), 0)
    assert module.training
    assert torch.equal(module[0].weight, weight)
    assert torch.equal(f.init(torch.Generator())["backbone.0.weight"], weight)


@pytest.mark.parametrize(
    ("norm", "module"), [("layer", "TaskGroupNorm"), ("batch", "TaskBatchNorm")]
)
def test_norm_serves_conv4_too(norm, module):
    f = build_backbone("conv4", (8, 8), 0, **(MLP_PARAMS | {"norm": norm}))
    assert {type(m).__name__ for m in f.module.norms} == {module}


class Returns(nn.Module):
    """Whatever a function makes of the rows."""

    def __init__(self, what):
        super().__init__()
        self.layer, self.what = nn.Linear(3, 2), what

    def forward(self, X):
        return self.what(self.layer(X))


@pytest.mark.parametrize(
    ("backbone", "complaint"),
    [
        ("resnet", r"'backbone' parameter must be 'mlp', 'conv4', .* Got 'resnet' instead"),
        (7, r"Got 7 instead"),
        (lambda: "a string", r"must make an nn.Module. It made 'a string'"),
        (lambda: None, r"It made None"),
        (nn.BatchNorm1d(3), r"BatchNorm1d keeps buffers \(running_mean, .*Use LayerNorm"),
        (nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), r"keeps buffers \(1.running_mean"),
        (nn.Linear(4, 2), r"Linear does not take rows of shape \(3,\)"),
        (nn.Conv2d(1, 2, 3), r"Conv2d does not take rows of shape \(3,\)"),
        (Returns(lambda Z: (Z, Z)), r"must map a batch of rows .* gave <class 'tuple'>"),
        (Returns(lambda Z: Z.sum()), r"gave torch.Size\(\[\]\)"),
        (Returns(lambda Z: Z.sum(1)), r"gave torch.Size\(\[2\]\)"),
        (Returns(lambda Z: Z.sum(0, keepdim=True)), r"gave torch.Size\(\[1, 2\]\)"),
        (Returns(lambda Z: torch.cat([Z, Z])), r"gave torch.Size\(\[4, 2\]\)"),
        (Returns(lambda Z: None), r"gave <class 'NoneType'>"),
    ],
)
def test_what_cannot_serve_is_refused(backbone, complaint):
    with pytest.raises(ValueError, match=complaint):
        build_backbone(backbone, (3,), 0)


def test_features_of_several_axes_are_flattened():
    f = Backbone(nn.Conv2d(1, 2, 3), (1, 5, 6))
    assert f.n_features_out == 2 * 3 * 4
    assert f(f.init(torch.Generator()), torch.zeros(3, 7, 1, 5, 6)).shape == (3, 7, 24)


# ---- images with channels last ---------------------------------------------------------------


class ChannelsLast(nn.Module):
    """A network that is made for images with channels last."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, X):
        return self.conv(X.movedim(-1, -3)).flatten(-3)


CONVOLUTIONS = {
    "conv4": "conv4",
    "of a shape": lambda shape: nn.Sequential(nn.Conv2d(shape[0], 2, 1), nn.Flatten()),
    "lazy": nn.Sequential(nn.LazyConv2d(2, 1), nn.Flatten()),
    "of three channels": nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten()),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_images_with_channels_last_are_refused_with_the_remedy(name):
    X = np.random.RandomState(0).randint(256, size=(12, 8, 8, 3), dtype=np.uint8)
    y = np.arange(12) % 2
    est = ProtoNetClassifier(
        backbone=CONVOLUTIONS[name], max_meta_iter=1, n_shot=1, n_query=1, random_state=0
    )
    for call in (
        lambda: est.meta_fit([(X, y)] * 2),
        lambda: est.meta_fit(FewShotTasks(X, y, n_way=2, n_query=1)),
        lambda: est.fit(X, y),
    ):
        with pytest.raises(ValueError, match=r"channels last, .*pass np\.moveaxis\(X, -1, 1\)"):
            call()
    assert est.fit(np.moveaxis(X, -1, 1), y).predict(np.moveaxis(X, -1, 1)).shape == (12,)


@pytest.mark.parametrize(
    "shape", [(3, 4, 4), (4, 4, 4), (1, 1, 1), (3, 3, 1), (8, 8), (8, 8, 8), (8, 3, 8), (8, 8, 2)]
)
def test_shapes_that_may_have_channels_first_are_taken_so(shape):
    f = build_backbone("conv4", shape, 0, norm="group")
    assert f.module.convs[0].in_channels == (shape[0] if len(shape) == 3 else 1)


def test_a_network_for_channels_last_takes_them():
    assert build_backbone(ChannelsLast(), (8, 8, 3), 0).n_features_out == 2 * 6 * 6
