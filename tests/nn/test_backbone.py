"""Any network as a function of its parameters: a stack is a loop, and bad networks are refused."""

import functools
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_meta import FewShotTasks, ProtoNetClassifier
from sklearn_meta.nn import MLP, Backbone, Conv4, ResNet12, build_backbone

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


class Sequence(nn.Module):
    """Any layer of sequences, its last or all outputs as features."""

    def __init__(self, layer, *, time_first=False, last=False):
        super().__init__()
        self.layer, self.time_first, self.last = layer, time_first, last

    def forward(self, X):
        Z = self.layer(X.transpose(0, 1) if self.time_first else X)
        Z = Z[0] if isinstance(Z, tuple) else Z
        Z = Z.transpose(0, 1) if self.time_first else Z
        return Z[:, -1] if self.last else Z


class Packed(nn.Module):
    """Sequences of given lengths."""

    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(2, 3, bidirectional=True)

    def forward(self, X):
        lengths = 1 + torch.arange(len(X)).flip(0) % 4
        rows = nn.utils.rnn.pack_padded_sequence(X.transpose(0, 1), lengths, enforce_sorted=False)
        return self.layer(rows)[1].transpose(0, 1)


class Cells(nn.Module):
    """A step of each kind."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru, self.rnn = nn.LSTMCell(3, 4), nn.GRUCell(3, 4), nn.RNNCell(3, 4)

    def forward(self, X):
        h, c = self.lstm(X)
        return self.rnn(X, self.gru(X, self.lstm(X, (h, c))[0])) + c


class Attention(nn.Module):
    """Attention to earlier times."""

    def __init__(self, how):
        super().__init__()
        self.layer, self.how = nn.MultiheadAttention(2, 2, batch_first=True), how

    def forward(self, X):
        if self.how == "grouped":  # two heads of queries, one of keys
            Q = self.layer.out_proj(X).unflatten(-1, (2, 1)).transpose(-3, -2)
            K = X[:, None, :, :1]
            return nn.functional.scaled_dot_product_attention(Q, K, K, enable_gqa=True)
        if self.how == "plain":
            return nn.functional.scaled_dot_product_attention(
                X, X, self.layer.out_proj(X), is_causal=True
            )
        left_out = (torch.arange(4) > 2).expand(len(X), -1) if self.how == "padding" else None
        later = nn.Transformer.generate_square_subsequent_mask(4).to(X)
        mask = None if self.how == "padding" else later
        return self.layer(X, X, X, left_out, need_weights=False, attn_mask=mask)[0]


def encoder(**how):
    layer = nn.TransformerEncoderLayer(2, 2, 5, batch_first=True, **how)
    return Sequence(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))


SEQUENCES = {
    "lstm": lambda: Sequence(
        nn.LSTM(2, 3, num_layers=2, bidirectional=True, batch_first=True), last=True
    ),
    "lstm-projected": lambda: Sequence(nn.LSTM(2, 3, proj_size=2, bias=False), time_first=True),
    "gru": lambda: Sequence(nn.GRU(2, 3, bidirectional=True), time_first=True),
    "gru-layers": lambda: Sequence(nn.GRU(2, 3, num_layers=2, batch_first=True), last=True),
    "rnn": lambda: Sequence(nn.RNN(2, 3, nonlinearity="relu", batch_first=True)),
    "rnn-tanh": lambda: Sequence(nn.RNN(2, 3, bidirectional=True), time_first=True),
    "attention": lambda: Attention("mask"),
    "attention-padding": lambda: Attention("padding"),
    "attention-plain": lambda: Attention("plain"),
    "attention-grouped": lambda: Attention("grouped"),
    "encoder": lambda: encoder(dropout=0.0),
    "encoder-norm-first": lambda: encoder(norm_first=True, activation="gelu"),
}


def batch_norm(kind, width):
    return kind(width, track_running_stats=False)


def running_norm(kind, width):
    layer = kind(width)
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    return layer


def frozen(net, *layers):
    for layer in layers:
        net[layer].requires_grad_(False)
    return net


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
    "running": ((3,), lambda: nn.Sequential(nn.Linear(3, 4), running_norm(nn.BatchNorm1d, 4))),
    "running2d": (
        (2, 5, 4),
        lambda: nn.Sequential(nn.Conv2d(2, 3, 2), running_norm(nn.BatchNorm2d, 3), nn.ReLU()),
    ),
    "frozen": (
        (3,),
        lambda: frozen(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), 0),
    ),
    "frozen-mlp": ((3,), lambda: frozen(MLP((3,), (4, 2)), 0, 4)),
    "cells": ((3,), Cells),
    **{name: ((4, 2), make) for name, make in SEQUENCES.items()},
    "own-mlp": ((3,), lambda: MLP((3,), (4, 2))),
    "own-conv4": ((6, 5), lambda: Conv4((6, 5), channels=6, groups=2)),
    "own-resnet12": ((6, 5), lambda: ResNet12((6, 5), channels=(4, 6), groups=2)),
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
def test_separate_parameters_are_a_loop_over_the_tasks(name):
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
    values = f.constants | {k: p[0] for k, p in stacked.items()}
    module.load_state_dict(
        {k.removeprefix("backbone."): p for k, p in values.items()}, strict=name != "tied"
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


def test_batch_statistics_are_flagged_transductive():
    flagged = {name for name in FOREIGN if draw(name)[0].transductive}
    assert flagged == {name for name in FOREIGN if "batch" in name}


@pytest.mark.parametrize("name", ["batch", "batch2d"])
def test_batch_statistics_are_those_of_each_task(name):
    f, stacked, X = draw(name)
    theta = {k: p[0] for k, p in stacked.items()}
    expected = torch.stack([f(theta, x) for x in X])
    torch.testing.assert_close(f(theta, X), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_pickled_network_has_no_parameters_and_computes_the_same(name):
    f, stacked, X = draw(name)
    copy = pickle.loads(pickle.dumps(f))
    assert torch.equal(copy(stacked, X), f(stacked, X))
    assert copy.init(torch.Generator()) == {}


def test_the_initial_parameters_are_copies():
    f = build_backbone("mlp", (3,), 0, **MLP_PARAMS)
    for p in f.init(torch.Generator()).values():
        p.zero_()
    assert f.init(torch.Generator())["backbone.0.weight"].abs().sum() > 0


def test_parameters_of_other_modules_are_ignored():
    f, stacked, X = draw("linear")
    more = stacked | {"head.weight": torch.ones(1)}
    assert torch.equal(f(more, X), f(stacked, X))


BUILDERS = {
    "mlp": ("mlp", (3,)),
    "conv4": ("conv4", (8, 8)),
    "resnet12": ("resnet12", (8, 8)),
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


def test_a_module_is_copied_and_left_unchanged():
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    weight = module[0].weight.detach().clone()
    f = build_backbone(module, (3,), 0)
    assert module.training
    assert torch.equal(module[0].weight, weight)
    assert torch.equal(f.init(torch.Generator())["backbone.0.weight"], weight)


@pytest.mark.parametrize(
    ("norm", "module"), [("layer", "TaskGroupNorm"), ("batch", "TaskBatchNorm")]
)
def test_norm_applies_to_conv4(norm, module):
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
        ("resnet", r"'backbone' parameter must be 'mlp', .*'identity', .* Got 'resnet' instead"),
        (7, r"Got 7 instead"),
        (lambda: "a string", r"must make an nn.Module. It made 'a string'"),
        (lambda: None, r"It made None"),
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
def test_bad_networks_are_refused(backbone, complaint):
    with pytest.raises(ValueError, match=complaint):
        build_backbone(backbone, (3,), 0)


class Pictures(nn.Module):
    """A network of images whose constructor does not take their shape."""

    def __init__(self, width=4, n_channels=1):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(n_channels, width, 3), nn.AdaptiveAvgPool2d(1))

    def forward(self, X):
        return self.body(X)


@pytest.mark.parametrize(
    ("make", "n_features"),
    [(Pictures, 4), (functools.partial(Pictures, width=6), 6), (Pictures(5), 5)],
)
def test_a_class_without_required_arguments_is_called_without_arguments(make, n_features):
    f = build_backbone(make, (1, 8, 8), 0)
    assert f.n_features_out == n_features
    assert f.module.body[0].in_channels == 1


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (nn.Linear, r"made: Linear\(\(3, 8\)\) raises .*missing 1 .*partial\(Linear, \.\.\.\)"),
        (lambda *, width: nn.Linear(8, width), r"<lambda>\(\) raises .*keyword-only.* 'width'"),
    ],
)
def test_an_error_names_the_arguments_of_a_class_or_function(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        build_backbone(make, (3, 8), 0)


@pytest.mark.parametrize(
    ("n_channels", "row_shape", "remedy"),
    [
        (
            1,
            (9, 8),
            r"instead\. Its Conv2d .*Pass X\[:, None\], or .*Unflatten\(1, \(1, 9\)\)\.$",
        ),
        (3, (9, 8), r"\(3, height, width\)\. Pass np\.repeat\(X\[:, None\], 3, axis=1\), which"),
        (1, (72,), r"Its Conv2d takes rows of shape \(1, height, width\)\.$"),
        (3, (1, 9, 8), r"to have 3 channels, but got 1 channels instead\.$"),
    ],
)
def test_images_without_channels_get_a_remedy(n_channels, row_shape, remedy):
    with pytest.raises(ValueError, match=remedy):
        build_backbone(functools.partial(Pictures, n_channels=n_channels), row_shape, 0)


def test_other_errors_of_a_network_of_images_are_not_explained_by_channels():
    net = nn.Sequential(nn.Unflatten(1, (1, 9)), Pictures(), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"mat1 and mat2 .*\(2x4 and 3x2\)\.$"):
        build_backbone(net, (9, 8), 0)


@pytest.mark.parametrize("name", FOREIGN)
def test_first_and_second_derivatives_are_those_of_a_loop(name):
    f, stacked, X = draw(name)

    def slopes(params, X):
        params = {k: p.detach().requires_grad_() for k, p in params.items()}
        loss = f(params, X).square().sum()
        how = {"materialize_grads": True, "create_graph": True}
        first = torch.autograd.grad(loss, list(params.values()), **how)
        second = sum(g.square().sum() for g in first)
        return first + torch.autograd.grad(second, list(params.values()), **how)

    alone = [slopes({k: p[i] for k, p in stacked.items()}, X[i]) for i in range(B)]
    for actual, *expected in zip(slopes(stacked, X), *alone, strict=True):
        torch.testing.assert_close(actual, torch.stack(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "rnn-tanh", "lstm-projected", "cells"])
def test_gradients_of_recurrent_layers_are_those_of_torch(name):
    f, stacked, X = draw(name)
    module = FOREIGN[name][1]().double().eval()
    first_params = {k: p[0].requires_grad_() for k, p in stacked.items()}
    module.load_state_dict({k.removeprefix("backbone."): p for k, p in first_params.items()})
    for features, params in (
        (f(first_params, X[0]), first_params),
        (module(X[0]), dict(module.named_parameters())),
    ):
        grads = torch.autograd.grad(
            features.square().sum(), list(params.values()), create_graph=True
        )
        slope = sum(g.square().sum() for g in grads)
        second = torch.autograd.grad(slope, list(params.values()))
        if params is first_params:
            expected = grads + second
    torch.testing.assert_close(grads + second, expected, rtol=1e-10, atol=1e-10)


# torch.func.functional_call itself keeps the weights of a layer that has two names
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FOREIGN if name != "tied"])
def test_a_call_leaves_no_state(name):
    f, stacked, X = draw(name)
    mine = {k: p.clone() for k, p in stacked.items()}
    left = [weakref.ref(p) for p in mine.values()]
    f(mine, X)
    del mine
    gc.collect()
    assert not any(ref() is not None for ref in left)


class InPlace(nn.Module):
    """A network that torch.vmap refuses."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, X):
        out = torch.zeros(len(X), 3, dtype=X.dtype)
        out[:, 1:] = self.layer(X).tanh()
        return out


@pytest.mark.parametrize(
    ("make", "row_shape"), [(InPlace, (3,)), (Packed, (4, 2))], ids=["in-place", "packed"]
)
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_a_network_that_vmap_refuses_runs_task_by_task_with_one_warning(make, row_shape):
    f = build_backbone(make, row_shape, 0)
    rng = torch.Generator().manual_seed(0)
    stacked = {
        k: torch.randn(B, *p.shape, dtype=torch.float64, generator=rng)
        for k, p in f.init(rng).items()
    }
    X = torch.randn(B, N, *row_shape, dtype=torch.float64, generator=rng)
    name = make.__name__
    with pytest.warns(UserWarning, match=rf"The backbone {name} cannot be mapped .* for each task"):
        actual = f(stacked, X)
    expected = torch.stack([f({k: p[i] for k, p in stacked.items()}, X[i]) for i in range(B)])
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    assert torch.equal(f(stacked, X), actual)  # without a word
    module = make().double().eval()
    module.load_state_dict({k.removeprefix("backbone."): p[1] for k, p in stacked.items()})
    torch.testing.assert_close(actual[1], module(X[1]).flatten(1).detach(), rtol=1e-10, atol=1e-10)


def test_an_error_of_the_network_is_raised_unchanged():
    def broken(Z):
        if len(Z) > 2:
            raise ZeroDivisionError
        return Z

    f = build_backbone(lambda: Returns(broken), (3,), 0)
    stacked = {k: p.expand(B, *p.shape) for k, p in f.init(torch.Generator()).items()}
    with pytest.raises(ZeroDivisionError):
        f(stacked, torch.zeros(B, 5, 3))


def test_a_row_alone_has_no_batch_statistics():
    f, stacked, X = draw("batch")
    with pytest.raises(ValueError, match=r"backbone Sequential has batch statistics.*LayerNorm"):
        f({k: p[0] for k, p in stacked.items()}, X[0, :1])


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
def test_ambiguous_image_shapes_are_read_as_channels_first(shape):
    f = build_backbone("conv4", shape, 0, norm="group")
    assert f.module.convs[0].in_channels == (shape[0] if len(shape) == 3 else 1)


def test_a_network_for_channels_last_takes_them():
    assert build_backbone(ChannelsLast(), (8, 8, 3), 0).n_features_out == 2 * 6 * 6
