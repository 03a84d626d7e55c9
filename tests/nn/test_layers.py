"""Stacked layers are loops of the layers of torch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sklearn_meta import nn as stacked

B, N = 3, 5
CONV = {"kernel_size": 3, "padding": 1}
# ours, torch's own, and the shape of one row
VECTORS = {
    "linear": (lambda: stacked.Linear(4, 6), lambda: nn.Linear(4, 6), (4,)),
    "layer": (lambda: stacked.TaskLayerNorm(4), lambda: nn.LayerNorm(4), (4,)),
    "batch": (lambda: stacked.TaskBatchNorm(4), lambda: nn.BatchNorm1d(4), (4,)),
    "batch2d": (lambda: stacked.TaskBatchNorm(4, 2), lambda: nn.BatchNorm2d(4), (4, 3, 2)),
}
BESIDE = {  # tasks side by side in the channels
    "conv": (lambda: stacked.Conv2d(4, 6, **CONV), lambda: nn.Conv2d(4, 6, **CONV), (4, 5, 3)),
    "strided": (
        lambda: stacked.Conv2d(4, 2, 2, stride=2),
        lambda: nn.Conv2d(4, 2, 2, stride=2),
        (4, 5, 4),
    ),
    "group": (lambda: stacked.TaskGroupNorm(2, 4), lambda: nn.GroupNorm(2, 4), (4, 3, 2)),
}


def draw(ours, theirs, row_shape):
    """Return our layer, a list of torch's own, their parameters stacked, and rows."""
    rng = torch.Generator().manual_seed(0)
    layer, modules = ours().double(), [theirs().double().train() for _ in range(B)]
    for module in modules:
        for p in module.parameters():
            p.data = torch.randn(p.shape, dtype=p.dtype, generator=rng)
    params = {
        k: torch.stack([m.get_parameter(k).detach() for m in modules]).requires_grad_()
        for k, _ in layer.named_parameters()
    }
    return layer, modules, params, torch.randn(B, N, *row_shape, dtype=torch.float64, generator=rng)


def loop(modules, params, X):
    """Return the outputs of torch's own layers, one task after the other."""
    tasks = [{k: p[i] for k, p in params.items()} for i in range(B)]
    calls = [torch.func.functional_call(modules[0], p, (x,)) for p, x in zip(tasks, X, strict=True)]
    return torch.stack(calls)


def assert_same_with_gradients(out, expected, params):
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    grads = [
        torch.autograd.grad((weight * z).sum(), list(params.values()), retain_graph=True)
        for z in (out, expected)
    ]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", VECTORS)
def test_layers_with_stacked_parameters_are_a_loop_of_torch_layers(name):
    layer, modules, params, X = draw(*VECTORS[name])
    out = torch.func.functional_call(layer, params, (X,))
    assert_same_with_gradients(out, loop(modules, params, X), params)


@pytest.mark.parametrize("name", BESIDE)
def test_image_layers_with_tasks_side_by_side_are_a_loop_of_torch_layers(name):
    layer, modules, params, X = draw(*BESIDE[name])
    beside = X.movedim(0, 1).flatten(1, 2)
    out = torch.func.functional_call(layer, params, (beside,)).unflatten(1, (B, -1)).movedim(1, 0)
    assert_same_with_gradients(out, loop(modules, params, X), params)


@pytest.mark.parametrize("name", [*VECTORS, *BESIDE])
def test_layers_without_a_task_axis_are_torch_layers(name):
    layer, modules, _, X = draw(*(VECTORS | BESIDE)[name])
    layer.load_state_dict(dict(modules[0].named_parameters()))
    torch.testing.assert_close(layer(X[0]), modules[0](X[0]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", VECTORS)
def test_one_layer_for_all_tasks_is_a_loop_of_it(name):
    layer, _, _, X = draw(*VECTORS[name])
    expected = torch.stack([layer(x) for x in X])
    torch.testing.assert_close(layer(X), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", sorted(stacked.ACTIVATIONS))
@pytest.mark.parametrize("norm", ["layer", "batch", None])
def test_mlp_is_a_sequence_of_torch_layers(norm, activation):
    rng = torch.Generator().manual_seed(0)
    net = stacked.MLP((3,), (4, 5), activation=activation, norm=norm).double()
    for p in net.parameters():
        p.data = torch.randn(p.shape, dtype=p.dtype, generator=rng)
    X = torch.randn(6, 3, dtype=torch.float64, generator=rng)
    Z, layers = X, list(net)
    while layers:
        layer = layers.pop(0)
        Z = F.linear(Z, layer.weight, layer.bias)
        if norm == "layer":
            layer = layers.pop(0)
            Z = F.layer_norm(Z, Z.shape[1:], layer.weight, layer.bias)
        elif norm == "batch":
            layer = layers.pop(0)
            Z = F.batch_norm(Z, None, None, layer.weight, layer.bias, training=True)
        Z = stacked.ACTIVATIONS[activation]()(Z)
        layers.pop(0)
    torch.testing.assert_close(net(X), Z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_mlp_has_a_linear_map_for_each_hidden_layer(n_layers):
    net = stacked.MLP((3,), [7] * n_layers, norm=None)
    X = torch.ones(2, 3)
    assert sum(isinstance(m, nn.Linear) for m in net.modules()) == n_layers
    assert net(X).shape == (2, 7 if n_layers else 3)
    if n_layers == 0:
        assert torch.equal(net(X), X)


@pytest.mark.parametrize(
    ("row_shape", "n_features_out"),
    [
        ((28, 28), 16),
        ((16, 16), 16),
        ((40, 33), 64),
        ((3, 32, 32), 64),
        ((1, 1), 16),
        ((2, 1, 5), 16),
    ],
)
def test_conv4_halves_the_sides_four_times(row_shape, n_features_out):
    for norm in ("group", "batch", None):
        net = stacked.Conv4(row_shape, channels=16, norm=norm)
        for lead in ((), (2,), (2, 3)):
            shape = net(torch.zeros(*lead, 4, *row_shape)).shape
            assert shape == (*lead, 4, n_features_out), norm


@pytest.mark.parametrize("norm", ["group", "batch", None])
@pytest.mark.parametrize("row_shape", [(9, 8), (2, 8, 9)])
def test_conv4_with_stacked_parameters_is_a_loop(norm, row_shape):
    rng = torch.Generator().manual_seed(0)
    nets = [stacked.Conv4(row_shape, channels=6, norm=norm, groups=2).double() for _ in range(B)]
    for net in nets:
        for p in net.parameters():
            p.data = torch.randn(p.shape, dtype=p.dtype, generator=rng)
    params = {
        k: torch.stack([dict(net.named_parameters())[k] for net in nets])
        for k, _ in nets[0].named_parameters()
    }
    X = torch.randn(B, N, *row_shape, dtype=torch.float64, generator=rng)
    out = torch.func.functional_call(nets[0], params, (X,))
    expected = torch.stack([net(x) for net, x in zip(nets, X, strict=True)])
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    assert out.std() > 0.1


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: stacked.MLP((2, 3)), r"vectors, .* got rows of shape \(2, 3\)"),
        (lambda: stacked.MLP(()), r"got rows of shape \(\)"),
        (lambda: stacked.MLP((3,), activation="rely"), r"activation must be one of .*'rely'"),
        (lambda: stacked.MLP((3,), norm="group"), r"norm of an MLP must be .*'group'"),
        (lambda: stacked.Conv4((784,)), r"takes images, .* got rows of shape \(784,\)"),
        (lambda: stacked.Conv4((1, 2, 3, 4)), r"got rows of shape \(1, 2, 3, 4\)"),
        (lambda: stacked.Conv4((8, 8), norm="layer"), r"norm of Conv4 must be .*'layer'"),
        (lambda: stacked.Conv4((8, 8), 12, groups=8), r"groups=8 does not divide channels=12"),
    ],
)
def test_bad_parameters_are_named(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_a_stacked_convolution_has_the_options_of_the_layer():
    torch.manual_seed(0)
    nets = [stacked.Conv2d(2, 4, 3, padding=1, dilation=2, groups=2).double() for _ in range(3)]
    twins = [torch.nn.Conv2d(2, 4, 3, padding=1, dilation=2, groups=2).double() for _ in range(3)]
    for net, twin in zip(nets, twins, strict=True):
        twin.load_state_dict(net.state_dict())
    X = torch.randn(3, 5, 2, 8, 8, dtype=torch.float64)
    params = {
        k: torch.stack([dict(n.named_parameters())[k] for n in nets]) for k in ("weight", "bias")
    }
    beside = torch.func.functional_call(nets[0], params, (X.movedim(0, 1).flatten(1, 2),))
    expected = torch.stack([twin(x) for twin, x in zip(twins, X, strict=True)])
    assert torch.allclose(beside.unflatten(1, (3, 4)).movedim(1, 0), expected, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: stacked.Conv2d(1, 2, 3, padding_mode="circular"),
        lambda: stacked.Linear(1, 2, bias=False),
    ],
)
def test_options_that_the_stacked_layers_lack_are_refused(make):
    with pytest.raises(ValueError, match="of sklearn_meta"):
        make()
