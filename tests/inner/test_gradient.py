"""Steps of gradient learners."""

import pytest
import torch

from sklearn_meta.algorithms import MAML
from sklearn_meta.functional import squared_error, subtract
from sklearn_meta.inner import FixedRate, LinearHead

LEARNER = MAML(squared_error, LinearHead(), FixedRate(0.1), 1)
SHAPES = {"small": (3, 4), "large": (300, 400)}


def draw(shape):
    rng = torch.Generator().manual_seed(0)
    return [{k: torch.randn(*shape, generator=rng) for k in "ab"} for _ in range(2)]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("needs_graph", [False, True])
def test_a_step_is_phi_minus_alpha_grad_and_leaves_phi(shape, needs_graph):
    phi, grads = draw(shape)
    start = {k: p.clone() for k, p in phi.items()}
    expected = subtract(phi, 0.5, grads)
    phi = {k: p.requires_grad_(needs_graph) for k, p in phi.items()}
    moved = LEARNER.step(phi, 0.5, grads)
    for k in phi:
        assert torch.equal(moved[k], expected[k])
        assert torch.equal(phi[k], start[k])
        assert moved[k].requires_grad == needs_graph


def test_gradients_that_share_memory_do_not_disturb_one_another():
    phi, grads = draw(SHAPES["large"])
    shared = {"a": grads["a"], "b": grads["a"]}
    expected = subtract(phi, 0.5, shared)
    assert torch.equal(LEARNER.step(phi, 0.5, shared)["b"], expected["b"])
    broadcast = {k: torch.ones(1, 1).expand(*SHAPES["large"]) for k in "ab"}
    expected = subtract(phi, 0.5, broadcast)
    assert torch.equal(LEARNER.step(phi, 0.5, broadcast)["a"], expected["a"])
