"""Recomputation of activations: the same losses and meta-gradients."""

import dataclasses
from functools import partial

import pytest
import torch
from torch import nn

from sklearn_meta.algorithms import ANIL, BOIL, MAML, MAMLPlusPlus, MetaSGD
from sklearn_meta.functional import cross_entropy, squared_error
from sklearn_meta.inner import (
    Backbone,
    Examples,
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
from sklearn_meta.outer.memory import peak_bytes

PROTOTYPE, SHARED = (cross_entropy, PrototypeHead()), (cross_entropy, SharedHead())
LINEAR = (squared_error, LinearHead())
LEARNERS = {
    "maml": MAML(*PROTOTYPE, FixedRate(0.1), 3),
    "fomaml": MAML(*PROTOTYPE, FixedRate(0.1), 3, True),
    "metasgd": MetaSGD(*LINEAR, ParameterRate(0.1), 3),
    "anil": ANIL(*PROTOTYPE, FixedRate(0.1), 3),
    "boil": BOIL(*PROTOTYPE, ScalarRate(0.1), 3),
    "maml++": MAMLPlusPlus(
        *SHARED, TensorStepRate(0.1), 3, multi_step_until=0.5, first_order_until=0.1
    ).at(0.25),
}
BACKBONES = {
    "mlp": ((3,), lambda: MLP((3,), (4, 3), activation="tanh")),
    "conv4": ((4, 4), lambda: Conv4((4, 4), channels=6, groups=2)),
    "foreign": ((3,), lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))),
}
SIZES = [(3, 7, 9), (2, 5, 6), (3, 4, 13)]  # way, support and query rows


def draw(learner, backbone="mlp", sizes=SIZES):
    """Return the network, theta, and the support and query of some tasks."""
    row_shape, make = BACKBONES[backbone]
    rng = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=rng)

    def rows(n, n_way):
        labels = nn.functional.one_hot(torch.arange(n) % n_way, n_way).double()
        y = labels if learner.criterion is cross_entropy else normal(n, 2)
        return Examples(normal(n, *row_shape), y, normal(n).abs() + 0.5)

    with torch.random.fork_rng():
        torch.manual_seed(1)
        f = Backbone(make(), row_shape)
    theta = {k: p + 0.3 * normal(*p.shape) for k, p in learner.init(f, 2, rng).items()}
    pairs = [(rows(n_s, way), rows(n_q, way)) for way, n_s, n_q in sizes]
    return f, theta, [s for s, _ in pairs], [q for _, q in pairs]


def losses_and_gradients(learner, f, theta, support, query):
    theta = {k: p.detach().requires_grad_() for k, p in theta.items()}
    losses = learner.objective(f, theta, support, query)
    grads = torch.autograd.grad(losses.sum(), list(theta.values()), materialize_grads=True)
    return [losses.detach(), *grads]


def assert_same(learner, *problem):
    again = dataclasses.replace(learner, activation_checkpointing=True)
    pairs = zip(*(losses_and_gradients(alg, *problem) for alg in (learner, again)), strict=True)
    for a, b in pairs:
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 1e-12 * max(a.abs().max(), 1e-3)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", LEARNERS)
def test_recomputation_changes_nothing(name, backbone):
    f, theta, supports, queries = draw(LEARNERS[name], backbone)
    assert_same(LEARNERS[name], f, theta, stack(supports), stack(queries))
    assert_same(LEARNERS[name], f, theta, supports[0], queries[0])  # without a stack


@pytest.mark.parametrize("name", sorted(set(LEARNERS) - {"anil"}))  # its steps are small anyway
def test_memory_of_a_step_is_that_of_the_parameters(name):
    learner = LEARNERS[name]
    f, theta, *rows = draw(learner, "mlp", [(3, 600, 30)] * 2)
    support, query = map(stack, rows)

    def peak(steps, **options):
        alg = dataclasses.replace(learner, inner_steps=steps, **options).at(0.25)
        run = partial(losses_and_gradients, alg, f, theta, support, query)
        return peak_bytes(run)

    phi_bytes = 2 * sum(p.nbytes for k, p in theta.items() if not k.startswith("rate."))
    a_step = (peak(4, activation_checkpointing=True) - peak(2, activation_checkpointing=True)) / 2
    assert a_step <= 3 * phi_bytes
    if name != "fomaml":  # which keeps no step
        assert (peak(4) - peak(2)) / 2 >= 10 * a_step
