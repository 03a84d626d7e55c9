"""The learned update rule: its slow twin, its start without weights, and chunks of coordinates."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import twins
from torch import nn

from sklearn_meta import LSTMMetaLearnerClassifier, LSTMMetaLearnerRegressor
from sklearn_meta.algorithms import DirectRule, GatedRule, LSTMMetaLearner
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.functional import (
    as_params,
    as_vector,
    cross_entropy,
    lstm_cell,
    preprocess,
    squared_error,
)
from sklearn_meta.inner import (
    Backbone,
    Examples,
    FullNetwork,
    LinearHead,
    PrototypeHead,
    SharedHead,
    stack,
)
from sklearn_meta.nn import MLP, Conv4

H = 3
RULES = {"gated": GatedRule(H), "direct": DirectRule(H)}
HEADS = {"shared": SharedHead(), "prototype": PrototypeHead(), "linear": LinearHead()}
NETS = {
    "mlp": ((3,), lambda: MLP((3,), (5, 4), activation="tanh"), twins.mlp),
    "conv4": ((6, 5), lambda: Conv4((6, 5), channels=6, groups=2), twins.conv4),
}
SIZES = [(3, 7, 4), (2, 5, 6), (3, 4, 3)]  # (n_way, support rows, query rows)


def draw(net, head, rule="gated", steps=3, first_order=True, chunk_size=None):
    """Return the learner, network, theta, plain tasks ((X, y, weight) twice), and them stacked."""
    row_shape, make, _ = NETS[net]
    rng, real = torch.Generator().manual_seed(3), head == "linear"

    def normal(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=rng)

    def rows(n, n_way):
        y = normal(n, 2) if real else torch.arange(n) % n_way
        return normal(n, *row_shape), y, normal(n).abs() + 0.5

    def examples(X, y, weight):
        return Examples(X, y if real else F.one_hot(y).double(), weight)

    with torch.random.fork_rng():
        torch.manual_seed(4)
        f = Backbone(make(), row_shape)
    criterion = squared_error if real else cross_entropy
    alg = LSTMMetaLearner(
        criterion, HEADS[head], FullNetwork(), RULES[rule], steps, first_order, chunk_size
    )
    start = alg.init(f, 2 if real else 3, rng)
    theta = {k: p + 0.3 * normal(*p.shape) for k, p in start.items()}
    tasks = [(rows(n_s, n_way), rows(n_q, n_way)) for n_way, n_s, n_q in SIZES]
    support, query = (
        stack([examples(*part) for part in side]) for side in zip(*tasks, strict=True)
    )
    return alg, f, theta, tasks, support, query


def meta_gradient(alg, f, theta, support, query):
    theta = {k: p.detach().clone().requires_grad_() for k, p in theta.items()}
    losses = alg.loss(f, theta, support, query)
    grads = torch.autograd.grad(losses.sum(), list(theta.values()))
    return losses.detach(), dict(zip(theta, grads, strict=True))


def assert_same(a, b, tol=1e-10):
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


# ---- the rule, coordinate by coordinate --------------------------------------------------------


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_preprocessing_is_continuous_where_its_cases_meet(sign):
    at = sign * math.exp(-10)
    below, above = (preprocess(torch.tensor(at * s).double()) for s in (1 - 1e-9, 1 + 1e-9))
    meeting = torch.tensor([-1.0, sign]).double()
    assert_same(below, meeting, 2e-9)
    assert_same(above, meeting, 2e-9)


@pytest.mark.parametrize("p", [10.0, 3.0])
def test_the_preprocessing_is_that_of_the_paper(p):
    x = torch.cat([10.0 ** torch.arange(-8, 5).double(), torch.zeros(1).double()])
    x = torch.cat([x, -x]).requires_grad_()
    expected = []
    for value in x.tolist():
        if abs(value) >= math.exp(-p):
            expected.append([math.log(abs(value)) / p, math.copysign(1, value)])
        else:
            expected.append([-1.0, math.exp(p) * value])
    actual = preprocess(x, p)
    assert_same(actual, torch.tensor(expected, dtype=x.dtype), 1e-12)
    assert torch.autograd.grad(actual.sum(), x)[0].isfinite().all()


def coordinates(n=11, seed=0):
    """Return the weights of a rule, and c, gradient, loss and state of some coordinates."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=rng)

    theta = {k: 3 * normal(*p.shape) for k, p in GatedRule(H).init(rng).items()}
    theta |= {k: 3 * normal(*p.shape) for k, p in DirectRule(H).init(rng).items()}
    return theta, (normal(n), normal(n), normal(n).abs(), normal(n, H), normal(n, H), normal(n, 2))


def test_the_first_layer_is_torchs_lstm():
    theta, (_, grad, loss, h, s, _) = coordinates()
    cell = nn.LSTMCell(4, H, dtype=torch.float64)
    weight, bias = theta["lstm.weight"], theta["lstm.bias"]
    weights = {
        "weight_ih": weight[:, :4],
        "weight_hh": weight[:, 4:],
        "bias_ih": bias,
        "bias_hh": torch.zeros_like(bias),
    }
    x = torch.stack([preprocess(v)[:, i] for v in (grad, loss) for i in range(2)], 1)
    expected = torch.func.functional_call(cell, weights, (x, (h, s)))
    for actual in (lstm_cell(x, h, s, weight, bias), GatedRule(H).hidden(theta, grad, loss, h, s)):
        for a, b in zip(actual, expected, strict=True):
            assert_same(a, b, 1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_permuting_the_coordinates_permutes_their_moves(rule):
    theta, rows = coordinates()
    rows = rows if rule == "gated" else rows[:-1]
    order = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    after = RULES[rule].step(theta, *rows)
    for a, b in zip(after, RULES[rule].step(theta, *(t[order] for t in rows)), strict=True):
        assert_same(a[order], b, 1e-12)
    assert len(after[0].unique()) == 11


def test_inputs_of_the_gates_are_hidden_state_weight_and_previous_gate():
    theta, rows = coordinates()
    _, h, _, gates = GatedRule(H).step(theta, *rows)
    c, *_, before = rows
    weight, bias = theta["lstm.gates.weight"], theta["lstm.gates.bias"]
    for n in range(len(c)):
        for gate in range(2):
            z = torch.cat([h[n], c[n : n + 1], before[n, gate : gate + 1]])
            assert_same(gates[n, gate], torch.sigmoid(weight[gate] @ z + bias[gate]), 1e-12)


def test_flattening_parameters_is_undone():
    params = {"a": torch.rand(2, 3, 4, 5), "b": torch.rand(2, 3), "c": torch.rand(2, 3, 6)}
    vector = as_vector(params, 2)
    assert vector.shape == (2, 3, 27)
    again = as_params(vector, params)
    assert all(torch.equal(again[k], p) for k, p in params.items())


def test_the_rule_starts_as_slow_descent_that_forgets_little():
    theta = GatedRule().init(torch.Generator().manual_seed(0))
    bias_I, bias_F = theta.pop("lstm.gates.bias").tolist()
    assert -5 < bias_I < -4
    assert 4 < bias_F < 5
    assert theta["lstm.weight"].shape == (80, 24)
    assert theta["lstm.gates.weight"].shape == (2, 22)
    assert all(p.abs().max() <= 0.01 for p in theta.values())
    assert all(p.abs().max() > 0.008 for p in theta.values())


# ---- the inner loop ----------------------------------------------------------------------------


def descent_with_decay(net, theta, support, head, rate, decay, steps):
    """Gradient descent with weight decay, written out, of one task."""
    X, y, weight = support
    weights = {k: p for k, p in theta.items() if not k.startswith("lstm.")}
    phi = twins.maml(NETS[net][2], weights, support, head, 0, 0, True)[0]
    for _ in range(steps):
        loss = twins.task_loss(twins.network(NETS[net][2], phi, X), y, weight)
        grads = torch.autograd.grad(loss, list(phi.values()))
        moves = zip(phi.items(), grads, strict=True)
        phi = {k: (decay * p - rate * g).detach().requires_grad_() for (k, p), g in moves}
    return phi


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("net", NETS)
def test_without_gate_weights_it_is_gradient_descent_with_decay(net, head, first_order):
    alg, f, theta, tasks, support, query = draw(net, head, steps=4, first_order=first_order)
    theta["lstm.gates.weight"].zero_()
    theta = {k: p.requires_grad_() for k, p in theta.items()}
    rate, decay = theta["lstm.gates.bias"].sigmoid().tolist()
    out = alg.predict(f, theta, alg.adapt(f, theta, support), query.X)
    for i, (s, (X, _, _)) in enumerate(tasks):
        phi = descent_with_decay(net, theta, s, head, rate, decay, 4)
        expected = twins.network(NETS[net][2], phi, X)
        assert_same(out[i, : len(X), : expected.shape[1]], expected, 1e-12)


def twin(net, theta, support, head, rule, steps, first_order, fed=None):
    """Return phi of one task, each tensor moved by itself; and what the rule was fed.

    With `fed`, those gradients and losses are used in place of new ones.
    """
    embed, (X, y, weight) = NETS[net][2], support
    rule_weights = {k: p for k, p in theta.items() if k.startswith("lstm.")}
    start = {k: p for k, p in theta.items() if k not in rule_weights}
    phi = twins.maml(embed, start, support, head, 0, 0, True)[0]
    cell = nn.LSTMCell(4, H, dtype=torch.float64)
    weights = {
        "weight_ih": theta["lstm.weight"][:, :4],
        "weight_hh": theta["lstm.weight"][:, 4:],
        "bias_ih": theta["lstm.bias"],
        "bias_hh": torch.zeros_like(theta["lstm.bias"]),
    }
    zeros = {k: torch.zeros(p.numel(), H, dtype=p.dtype) for k, p in phi.items()}
    states = {k: (z, z) for k, z in zeros.items()}
    i = {k: torch.zeros_like(p).flatten() for k, p in phi.items()}
    f = dict(i)
    seen = []
    for step in range(steps):
        if fed is None:
            loss = twins.task_loss(twins.network(embed, phi, X), y, weight)
            grads = torch.autograd.grad(loss, list(phi.values()), create_graph=True)
            seen.append((loss, dict(zip(phi, grads, strict=True))))
            if first_order:
                seen[-1] = loss.detach(), {k: g.detach() for k, g in seen[-1][1].items()}
        loss, grads = (fed or seen)[step]
        for k, p in phi.items():
            c, g = p.flatten(), grads[k].flatten()
            x = torch.cat([paper_preprocess(g), paper_preprocess(loss.expand(len(g)))], 1)
            states[k] = torch.func.functional_call(cell, weights, (x, states[k]))
            h = states[k][0]
            if rule == "direct":
                w, b = theta["lstm.move.weight"][0], theta["lstm.move.bias"]
                phi = phi | {k: p + 0.1 * (h @ w + b).view_as(p)}
                continue
            W_I, W_F = theta["lstm.gates.weight"]
            b_I, b_F = theta["lstm.gates.bias"]
            i[k] = torch.sigmoid(torch.cat([h, c[:, None], i[k][:, None]], 1) @ W_I + b_I)
            f[k] = torch.sigmoid(torch.cat([h, c[:, None], f[k][:, None]], 1) @ W_F + b_F)
            phi = phi | {k: (f[k] * c - i[k] * g).view_as(p)}
    return phi, seen


def paper_preprocess(x, p=10):
    large = x.abs() >= math.exp(-p)
    size = torch.where(large, x, torch.ones_like(x)).abs().log() / p
    first = torch.where(large, size, -torch.ones_like(x))
    return torch.stack([first, torch.where(large, x.sign(), math.exp(p) * x)], 1)


@pytest.mark.parametrize("first_order", [True, False], ids=["first", "second"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("net", "head"), [*(("mlp", head) for head in HEADS), ("conv4", "shared")])
def test_the_learner_equals_its_slow_twin(net, head, rule, first_order):
    alg, f, theta, tasks, support, query = draw(net, head, rule, 3, first_order)
    losses, grads = meta_gradient(alg, f, theta, support, query)
    theta = {k: p.requires_grad_() for k, p in theta.items()}
    expected = []
    for s, (X, y, weight) in tasks:
        phi, _ = twin(net, theta, s, head, rule, 3, first_order)
        expected.append(twins.task_loss(twins.network(NETS[net][2], phi, X), y, weight))
    assert_same(losses, torch.stack(expected).detach())
    wanted = torch.autograd.grad(sum(expected), list(theta.values()))
    for (k, a), b in zip(grads.items(), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=k)
        assert b.abs().max() > 1e-8 or not k.startswith("lstm."), k


@pytest.mark.slow
@pytest.mark.parametrize("head", ["shared", "linear"])
def test_the_first_order_meta_gradient_treats_gradients_and_losses_as_constants(head):
    alg, f, theta, tasks, support, query = draw("mlp", head, "gated", 2, True)
    _, grads = meta_gradient(alg, f, theta, support, query)
    live = {k: p.requires_grad_() for k, p in theta.items()}
    fed = [twin("mlp", live, s, head, "gated", 2, True)[1] for s, _ in tasks]

    def loss(theta):
        total = 0.0
        for (s, (X, y, weight)), held in zip(tasks, fed, strict=True):
            phi, _ = twin("mlp", theta, s, head, "gated", 2, True, held)
            total += twins.task_loss(twins.network(twins.mlp, phi, X), y, weight).detach()
        return total

    rng, e = torch.Generator().manual_seed(2), 1e-5
    for k, p in theta.items():
        v = torch.randn(p.shape, dtype=p.dtype, generator=rng)
        v /= v.norm()
        numeric = (loss(theta | {k: p + e * v}) - loss(theta | {k: p - e * v})) / (2 * e)
        torch.testing.assert_close((grads[k] * v).sum(), numeric, rtol=1e-6, atol=1e-8, msg=k)


def test_first_order_predicts_the_same_but_has_another_meta_gradient():
    result = []
    for first_order in (True, False):
        alg, f, theta, _, support, query = draw("mlp", "shared", first_order=first_order)
        losses, grads = meta_gradient(alg, f, theta, support, query)
        result.append((losses, torch.cat([g.flatten() for g in grads.values()])))
    (losses, first), (same, second) = result
    assert_same(losses, same, 1e-12)
    assert (first - second).norm() > 1e-3 * second.norm()


@pytest.mark.parametrize("first_order", [True, False], ids=["first", "second"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chunk_size", [5, 50, 10_000])
def test_chunk_size_does_not_change_results(chunk_size, rule, first_order):
    alg, f, theta, _, support, query = draw("mlp", "shared", rule, 2, first_order)
    losses, grads = meta_gradient(alg, f, theta, support, query)
    chunked = dataclasses.replace(alg, chunk_size=chunk_size)
    others, other_grads = meta_gradient(chunked, f, theta, support, query)
    assert_same(losses, others, 1e-12)
    for k, grad in grads.items():
        assert_same(grad, other_grads[k], 1e-12)


def saved_bytes(alg, f, theta, support, query):
    """Bytes that autograd keeps, each storage once."""
    saved = {}

    def keep(t):
        saved[t.untyped_storage().data_ptr()] = t.untyped_storage()  # alive: no address twice
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        alg.loss(f, {k: p.requires_grad_() for k, p in theta.items()}, support, query)
    return sum(storage.nbytes() for storage in saved.values())


def test_chunks_bound_the_memory_to_the_state():
    alg, f, theta, _, support, query = draw("conv4", "shared", steps=4)
    alg = dataclasses.replace(alg, rule=GatedRule(20))
    theta |= {k: p.double() for k, p in alg.rule.init(torch.Generator().manual_seed(0)).items()}
    n = as_vector(alg.inner_problem(f, theta, support).phi_0, 1).numel()
    per_step = {}
    for chunk_size in (None, 100):
        bytes_of = [
            saved_bytes(
                dataclasses.replace(alg, chunk_size=chunk_size, inner_steps=steps),
                *(f, theta, support, query),
            )
            for steps in (2, 4)
        ]
        per_step[chunk_size] = (bytes_of[1] - bytes_of[0]) / 2 / n / 8  # numbers a coordinate
    assert 100 < per_step[None] < 200
    assert 40 < per_step[100] < 50  # h, s, gates, c, gradient and loss


def test_adapting_without_a_meta_gradient_is_adapting_with_one():
    alg, f, theta, _, support, _ = draw("mlp", "shared")
    without = alg.adapt(f, theta, support)
    with_graph = alg.adapt(f, {k: p.requires_grad_() for k, p in theta.items()}, support)
    assert all(torch.equal(with_graph[k], p) for k, p in without.items())
    assert all(p.grad_fn is not None for p in with_graph.values() if p.is_floating_point())
    assert all(p.grad_fn is None for p in without.values())


def test_a_direct_rule_without_weights_does_not_move():
    alg, f, theta, _, support, _ = draw("mlp", "linear", "direct")
    theta["lstm.move.weight"].zero_()
    theta["lstm.move.bias"].zero_()
    prior = dataclasses.replace(alg, inner_steps=0)
    phi, phi_0 = alg.adapt(f, theta, support), prior.adapt(f, theta, support)
    assert all(torch.equal(phi[k], p) for k, p in phi_0.items())


# ---- the estimators ----------------------------------------------------------------------------

ESTIMATORS = {
    "classifier": (LSTMMetaLearnerClassifier, make_blob_tasks),
    "regressor": (LSTMMetaLearnerRegressor, make_sinusoid_tasks),
}


def fitted(kind, **params):
    cls, make = ESTIMATORS[kind]
    tasks = make(n_tasks=9, random_state=0)
    few = {"hidden_layer_sizes": 5, "hidden_size": 2, "max_meta_iter": 3, "random_state": 0}
    est = cls(**(few | params))
    return est.meta_fit(tasks[:8]), tasks[8]


def outputs_of(est, task):
    return est.predict_proba(task.X) if hasattr(est, "predict_proba") else est.predict(task.X)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_steps_and_chunks_but_not_the_rule_may_change_after_meta_fit(kind, rule):
    est, task = fitted(kind, rule=rule)
    outputs = [
        outputs_of(est.set_params(inner_steps=steps).fit(task.X, task.y), task)
        for steps in (0, 5, 30)
    ]
    assert not any((a == b).all() for a, b in pairwise(outputs))
    again = outputs_of(est.set_params(chunk_size=13).fit(task.X, task.y), task)
    np.testing.assert_allclose(again, outputs[-1], rtol=1e-10, atol=1e-10)
    for name, value in (("rule", "direct" if rule == "gated" else "gated"), ("hidden_size", 4)):
        was = getattr(est, name)
        with pytest.raises(ValueError, match=f"{name!r} parameter .* was changed"):
            est.set_params(**{name: value}).fit(task.X, task.y)
        est.set_params(**{name: was})


@pytest.mark.parametrize(
    ("name", "value"), [("rule", "plain"), ("hidden_size", 0), ("chunk_size", 0)]
)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_bad_parameters_are_refused(kind, name, value):
    with pytest.raises(ValueError, match=f"{name!r} parameter of LSTMMetaLearner"):
        fitted(kind, **{name: value})


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_meta_training_moves_start_and_rule(kind):
    est, _ = fitted(kind)
    before, _ = fitted(kind, meta_lr=1e-12)
    moved = set(est.theta_)
    if kind == "classifier":  # the same bias for all classes has no effect
        moved -= {"head.bias"}
    for name in moved:
        assert abs(est.theta_[name] - before.theta_[name]).max() > 1e-4, name
