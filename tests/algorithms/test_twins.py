"""The algorithms agree with slow twins written out by hand, stacked and padded or not."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
import twins

from sklearn_meta.algorithms import (
    ANIL,
    BOIL,
    CAVIA,
    MAML,
    MAMLPlusPlus,
    MetaSGD,
    ProtoMAML,
    ProtoNet,
)
from sklearn_meta.algorithms.cavia import Context, WithContext
from sklearn_meta.functional import (
    cosine_distance,
    cross_entropy,
    squared_error,
    squared_euclidean,
)
from sklearn_meta.inner import (
    Backbone,
    Examples,
    FixedHead,
    FixedRate,
    LinearHead,
    ParameterRate,
    PrototypeHead,
    ScalarRate,
    SharedHead,
    TensorStepRate,
    stack,
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
    "mlp-context": ((5,), lambda: MLP((5,), (5, 4), activation="tanh"), twins.mlp),
}
ALL = ("backbone.", "head.")
HEADS = {
    "shared": SharedHead(),
    "prototype": PrototypeHead(),
    "fixed": FixedHead(),
    "linear": LinearHead(),
}


def maml(criterion, head, lr, steps, first_order):
    """Return MAML or FOMAML."""
    rate = FixedRate(lr)
    return MAML(criterion, head, rate, steps, first_order)


SIZES = [(3, 7, 4), (2, 5, 6), (3, 4, 3)]


def draw(net, alg, real=False):
    """Return network, twin, theta, plain tasks ((X, y, weight) twice), and the same stacked."""
    row_shape, make, embed = NETS[net]
    rng = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=rng)

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
    if "context" in net:  # rows are two numbers shorter than the network's
        tasks = [[(X[:, 2:], y, weight) for X, y, weight in task] for task in tasks]
    return f, embed, theta, tasks, examples([s for s, _ in tasks]), examples([q for _, q in tasks])


def assert_same_losses_and_gradients(theta, losses, expected):
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=1e-10)
    actual = torch.autograd.grad(losses.sum(), list(theta.values()))
    twin = torch.autograd.grad(expected.sum(), list(theta.values()))
    for k, a, b in zip(theta, actual, twin, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=k)


ON_CONVOLUTIONS = ("shared", "linear")  # the other heads do not see the network


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("first_order", [False, True], ids=["maml", "fomaml"])
@pytest.mark.parametrize(
    ("net", "head"),
    [*(("mlp", head) for head in HEADS), *(("conv4", head) for head in ON_CONVOLUTIONS)],
)
def test_maml_is_its_slow_twin(net, head, first_order, steps):
    real = head == "linear"
    criterion = squared_error if real else cross_entropy
    alg = maml(criterion, HEADS[head], 0.2, steps, first_order)
    f, embed, theta, tasks, support, query = draw(net, alg, real)
    out = alg.predict(f, theta, alg.adapt(f, theta, support), query.X)
    expected = []
    for i, (s, (X, y, weight)) in enumerate(tasks):
        phi = twins.maml(embed, theta, s, head, 0.2, steps, first_order)[-1]
        logits = twins.network(embed, phi, X)
        torch.testing.assert_close(
            out[i, : len(X), : logits.shape[1]], logits, rtol=1e-10, atol=1e-10
        )
        expected.append(twins.task_loss(logits, y, weight))
    losses = alg.loss(f, theta, support, query)
    assert_same_losses_and_gradients(theta, losses, torch.stack(expected))


PARTS = {  # the algorithm, what adapts, the step size, and the step size written out
    "anil": (ANIL, ("head.",), FixedRate(0.2), lambda theta: 0.2),
    "boil": (BOIL, ("backbone.",), FixedRate(0.2), lambda theta: 0.2),
    "learned": (MAML, ALL, ScalarRate(0.2), lambda theta: theta["rate.all"]),
    "meta-sgd": (
        MetaSGD,
        ALL,
        ParameterRate(0.2),
        lambda theta: lambda name, step: theta[f"rate.{name}"],
    ),
    "maml++": (
        MAMLPlusPlus,
        ALL,
        TensorStepRate(0.2),
        lambda theta: lambda name, step: theta[f"rate.{name}"][min(step, 1)],
    ),
    "anil, each its step": (
        ANIL,
        ("head.",),
        ParameterRate(0.2),
        lambda theta: lambda name, step: theta[f"rate.{name}"],
    ),
}


@pytest.mark.parametrize("first_order", [False, True], ids=["second", "first"])
@pytest.mark.parametrize(
    ("net", "head"),
    [("mlp", "shared"), ("mlp", "prototype"), ("mlp-plain", "linear"), ("conv4", "shared")],
)
@pytest.mark.parametrize("parts", PARTS)
def test_learners_of_other_parts_are_their_slow_twins(parts, net, head, first_order):
    real = head == "linear"
    criterion = squared_error if real else cross_entropy
    kind, moves, rate, by_hand = PARTS[parts]
    alg = kind(criterion, HEADS[head], rate, 2, first_order)
    f, embed, theta, tasks, support, query = draw(net, alg, real)
    alg = dataclasses.replace(alg, inner_steps=3)  # one more than in meta-training
    expected = []
    for s, (X, y, weight) in tasks:
        path = twins.maml(embed, theta, s, head, by_hand(theta), 3, first_order, moves)
        expected.append(twins.task_loss(twins.network(embed, path[-1], X), y, weight))
    losses = alg.loss(f, theta, support, query)
    assert_same_losses_and_gradients(theta, losses, torch.stack(expected))


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.49, 0.6])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_multi_step_loss_is_that_of_the_official_code(steps, progress):
    def official(step, epoch, epochs, n):  # get_per_step_loss_importance_vector
        if step < n - 1:
            return max(1 / n - epoch * (1 / n / epochs), 0.03 / n)
        return min(1 / n + epoch * ((n - 1) * (1 / n / epochs)), 1 - (n - 1) * 0.03 / n)

    alg = MAMLPlusPlus(
        cross_entropy,
        SharedHead(),
        TensorStepRate(0.2),
        steps,
        multi_step_until=0.5,
        first_order_until=0.3,
    ).at(progress)
    f, embed, theta, tasks, support, query = draw("mlp", alg)
    first_order = progress < 0.3

    def rate(name, step):
        return theta[f"rate.{name}"][step]

    v = [official(k, progress, 0.5, steps) for k in range(steps)]
    if progress >= 0.5:
        v = [0.0] * (steps - 1) + [1.0]
    assert sum(v) == pytest.approx(1)
    expected = []
    for s, (X, y, weight) in tasks:
        path = twins.maml(embed, theta, s, "shared", rate, steps, first_order)[1:]
        losses = [twins.task_loss(twins.network(embed, phi, X), y, weight) for phi in path]
        expected.append(sum(a * b for a, b in zip(v, losses, strict=True)))
    losses = alg.objective(f, theta, support, query)
    assert_same_losses_and_gradients(theta, losses, torch.stack(expected))


@pytest.mark.parametrize("first_order", [False, True], ids=["second", "first"])
def test_cavia_is_its_slow_twin(first_order):
    alg = CAVIA(squared_error, LinearHead(), Context(2), FixedRate(1.5), 2, first_order)
    f, embed, theta, tasks, support, query = draw("mlp-context", alg, real=True)
    wide = WithContext(f, 2)
    expected = []
    for (Xs, ys, ws), (Xq, yq, wq) in tasks:
        c = torch.zeros(2, dtype=torch.float64, requires_grad=True)

        def output(X, c):
            return twins.network(embed, theta, torch.cat([X, c.expand(len(X), 2)], 1))

        for _ in range(2):
            loss = twins.task_loss(output(Xs, c), ys, ws)
            (g,) = torch.autograd.grad(loss, c, create_graph=True)
            c = c - 1.5 * (g.detach() if first_order else g)
        expected.append(twins.task_loss(output(Xq, c), yq, wq))
    losses = alg.loss(wide, theta, support, query)
    assert_same_losses_and_gradients(theta, losses, torch.stack(expected))


@pytest.mark.parametrize("distance", ["sqeuclidean", "cosine"])
@pytest.mark.parametrize("net", ["mlp", "conv4"])
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
@pytest.mark.parametrize("net", ["mlp"])
def test_first_order_predicts_the_same_but_has_another_meta_gradient(net, head):
    real = head == "linear"
    criterion = squared_error if real else cross_entropy
    grads, losses = [], []
    for first_order in (False, True):
        alg = maml(criterion, HEADS[head], 0.2, 2, first_order)
        f, _, theta, _, support, query = draw(net, alg, real)
        loss = alg.loss(f, theta, support, query)
        losses.append(loss.detach())
        grads.append(
            torch.cat([g.ravel() for g in torch.autograd.grad(loss.sum(), theta.values())])
        )
    torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)
    second, first = grads
    assert (second - first).norm() > 1e-3 * second.norm()


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("until", [0.0, 0.5, 1.0])
def test_first_order_until_anneals_the_order(until, progress):
    def gradient(alg):
        f, _, theta, _, support, query = draw("mlp", alg, False)
        theta = {k: p.requires_grad_() for k, p in theta.items()}
        losses = alg.objective(f, theta, support, query)
        return torch.autograd.grad(losses.sum(), theta["backbone.0.weight"])[0]

    first, second = (maml(cross_entropy, HEADS["shared"], 0.2, 2, order) for order in (True, False))
    parts = second.criterion, second.head, second.rate, second.inner_steps
    annealed = MAMLPlusPlus(*parts, first_order_until=until).at(progress)
    expected = first if until == 1 or progress < until else second
    assert torch.equal(gradient(annealed), gradient(expected))


@pytest.mark.parametrize("first_order", [False, True])
def test_proto_maml_is_maml_from_the_prototypes(first_order):
    proto = ProtoMAML(cross_entropy, FixedRate(0.2), 2, first_order)
    f, _, theta, _, support, query = draw("mlp", proto)
    expected = maml(cross_entropy, PrototypeHead(), 0.2, 2, first_order)
    losses = proto.objective(f, theta, support, query)
    assert_same_losses_and_gradients(theta, losses, expected.objective(f, theta, support, query))


def test_a_head_that_adapts_alone_embeds_the_support_once():
    alg = ANIL(cross_entropy, HEADS["prototype"], FixedRate(0.1), 3)
    f, _, theta, _, support, _ = draw("mlp", alg, False)
    seen = []

    class Counting:
        n_features_out = f.n_features_out

        def __call__(self, params, X):
            seen.append(X)
            return f(params, X)

    actual = alg.adapt(Counting(), theta, support)
    assert len(seen) == 1
    expected = alg.adapt(f, theta, support)
    assert all(torch.equal(actual[k], expected[k]) for k in expected)


def test_adapting_without_a_meta_gradient_is_adapting_with_one():
    alg = maml(cross_entropy, SharedHead(), 0.2, 3, False)
    f, _, theta, _, support, _ = draw("mlp", alg)
    with_graph = alg.adapt(f, theta, support)
    without = alg.adapt(f, {k: p.detach() for k, p in theta.items()}, support)
    assert all(torch.equal(with_graph[k], without[k]) for k in with_graph)
    assert all(p.grad_fn is not None for p in with_graph.values() if p.is_floating_point())
    assert not any(without[k] is theta[k] for k in theta)
