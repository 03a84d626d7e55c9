"""The algorithms agree with slow twins written out by hand, stacked and padded or not."""

import pytest
import torch
import torch.nn.functional as F
import twins

from sklearn_meta.algorithms import MAML, ProtoNet
from sklearn_meta.core import (
    Backbone,
    Examples,
    FixedHead,
    LinearHead,
    PrototypeHead,
    SharedHead,
    stack,
)
from sklearn_meta.functional import (
    cosine_distance,
    cross_entropy,
    squared_error,
    squared_euclidean,
)
from sklearn_meta.nn import MLP, Conv4

NETS = {
    "mlp": ((3,), lambda: MLP((3,), (5, 4), activation="tanh"), twins.mlp),
    "mlp-plain": (
        (3,),
        lambda: MLP((3,), (5, 4), activation="tanh", norm=None),
        lambda p, X: twins.mlp(p, X, norm=False),
    ),
    "conv4": ((6, 5), lambda: Conv4((6, 5), channels=6, groups=2), twins.conv4),
}
HEADS = {
    "shared": SharedHead(),
    "prototype": PrototypeHead(),
    "fixed": FixedHead(),
    "linear": LinearHead(),
}
SIZES = [(3, 7, 4), (2, 5, 6), (3, 4, 3)]


def draw(net, alg, real=False):
    """Return network, twin, theta, plain tasks ((X, y, weight) twice), and the same stacked."""
    row_shape, make, embed = NETS[net]
    rng = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=rng)

    def rows(n, n_way):
        y = normal(n, 2) if real else torch.arange(n) % n_way
        return normal(n, *row_shape), y, normal(n).abs() + 0.5

    def examples(part):
        one_hot = [F.one_hot(y).double() if y.ndim == 1 else y for _, y, _ in part]
        rows = zip(part, one_hot, strict=True)
        return stack([Examples(X, y, weight) for (X, _, weight), y in rows])

    with torch.random.fork_rng():
        torch.manual_seed(4)
        f = Backbone(make(), row_shape)
    start = alg.init(f, 2 if real else 3, rng)
    theta = {k: (p + 0.3 * normal(*p.shape)).requires_grad_() for k, p in start.items()}
    tasks = [(rows(n_s, n_way), rows(n_q, n_way)) for n_way, n_s, n_q in SIZES]
    return f, embed, theta, tasks, examples([s for s, _ in tasks]), examples([q for _, q in tasks])


def assert_same_losses_and_gradients(theta, losses, expected):
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=1e-10)
    found = torch.autograd.grad(losses.sum(), list(theta.values()))
    twin = torch.autograd.grad(expected.sum(), list(theta.values()))
    for k, a, b in zip(theta, found, twin, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=k)


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("first_order", [False, True], ids=["maml", "fomaml"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("net", NETS)
def test_maml_is_its_slow_twin(net, head, first_order, steps):
    real = head == "linear"
    criterion = squared_error if real else cross_entropy
    alg = MAML(criterion, HEADS[head], 0.2, steps, first_order)
    f, embed, theta, tasks, support, query = draw(net, alg, real)
    out = alg.predict(f, theta, alg.adapt(f, theta, support), query.X)
    expected = []
    for i, (s, (X, y, weight)) in enumerate(tasks):
        phi = twins.maml(embed, theta, s, head, 0.2, steps, first_order)
        logits = twins.network(embed, phi, X)
        torch.testing.assert_close(
            out[i, : len(X), : logits.shape[1]], logits, rtol=1e-10, atol=1e-10
        )
        expected.append(twins.task_loss(logits, y, weight))
    losses = alg.loss(f, theta, support, query)
    assert_same_losses_and_gradients(theta, losses, torch.stack(expected))


@pytest.mark.parametrize("distance", ["sqeuclidean", "cosine"])
@pytest.mark.parametrize("net", NETS)
def test_protonet_is_its_slow_twin(net, distance):
    alg = ProtoNet(
        cross_entropy, squared_euclidean if distance == "sqeuclidean" else cosine_distance
    )
    f, embed, theta, tasks, support, query = draw(net, alg)
    out = alg.predict(f, theta, alg.adapt(f, theta, support), query.X)
    expected = []
    for i, (s, (X, y, weight)) in enumerate(tasks):
        logits = twins.protonet(embed, theta, s, X, distance)
        torch.testing.assert_close(
            out[i, : len(X), : logits.shape[1]], logits, rtol=1e-10, atol=1e-10
        )
        expected.append(twins.task_loss(logits, y, weight))
    losses = alg.loss(f, theta, support, query)
    assert_same_losses_and_gradients(theta, losses, torch.stack(expected))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("net", NETS)
def test_first_order_predicts_the_same_but_has_another_meta_gradient(net, head):
    real = head == "linear"
    criterion = squared_error if real else cross_entropy
    grads, losses = [], []
    for first_order in (False, True):
        alg = MAML(criterion, HEADS[head], 0.2, 2, first_order)
        f, _, theta, _, support, query = draw(net, alg, real)
        loss = alg.loss(f, theta, support, query)
        losses.append(loss.detach())
        grads.append(
            torch.cat([g.ravel() for g in torch.autograd.grad(loss.sum(), theta.values())])
        )
    torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)
    second, first = grads
    assert (second - first).norm() > 1e-3 * second.norm()


def test_adapting_without_a_meta_gradient_is_adapting_with_one():
    alg = MAML(cross_entropy, SharedHead(), 0.2, 3, False)
    f, _, theta, _, support, _ = draw("mlp", alg)
    with_graph = alg.adapt(f, theta, support)
    without = alg.adapt(f, {k: p.detach() for k, p in theta.items()}, support)
    assert all(torch.equal(with_graph[k], without[k]) for k in with_graph)
    assert all(p.grad_fn is not None for p in with_graph.values())
    assert not any(without[k] is theta[k] for k in theta)
