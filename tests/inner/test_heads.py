"""The start of the output layer."""

import pytest
import torch

from sklearn_meta.algorithms import ANIL
from sklearn_meta.functional import cross_entropy, linear, prototypes, squared_euclidean
from sklearn_meta.inner import (
    Backbone,
    CosineHead,
    Examples,
    FixedHead,
    LinearHead,
    ParameterRate,
    PrototypeHead,
    SharedHead,
    TensorStepRate,
    copies,
)
from sklearn_meta.nn import MLP

HEADS = [SharedHead(), PrototypeHead(), FixedHead(), LinearHead()]
F = Backbone(MLP((4,), ()), (4,))


def support(*lead, n=6, n_way=3, n_present=3):
    rng = torch.Generator().manual_seed(0)
    X = torch.randn(*lead, n, 4, dtype=torch.float64, generator=rng)
    y = torch.nn.functional.one_hot(torch.arange(n) % n_present, n_way).double()
    return Examples(X, y.expand(*lead, n, n_way), X.new_ones(*lead, n))


def start(head, examples, n_outputs=3):
    rng = torch.Generator().manual_seed(1)
    theta = {k: p.double() + 0.5 for k, p in head.init(n_outputs, 4, rng).items()}
    return theta, head.start(F, theta, examples)


@pytest.mark.parametrize("lead", [(), (2,)])
@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_every_task_gets_a_row_for_each_of_its_classes(head, lead):
    _, phi = start(head, support(*lead))
    assert {k: p.shape for k, p in phi.items()} == {
        "head.weight": (*lead, 3, 4),
        "head.bias": (*lead, 3),
    }


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_the_start_depends_on_the_generator_alone(head):
    before = torch.get_rng_state()
    first, second, third = (head.init(3, 4, torch.Generator().manual_seed(i)) for i in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert all(p.abs().max() <= 4**-0.5 for p in first.values())
    if first:
        assert not torch.equal(first["head.weight"], third["head.weight"])


@pytest.mark.parametrize("head", HEADS[:3], ids=repr)
def test_absent_classes_have_logits_of_minus_infinity(head):
    examples = support(2, n_present=2)
    _, phi = start(head, examples)
    assert all(p.isfinite().all() for p in phi.values())
    logits = head.outputs(examples.X, phi | head.present(examples))
    assert (logits[..., 2] == -torch.inf).all()
    assert logits[..., :2].isfinite().all()


def test_the_prototype_head_is_the_nearest_prototype_classifier():
    examples = support(2)
    _, phi = start(PrototypeHead(), examples)
    logits = linear(examples.X, phi["head.weight"], phi["head.bias"])
    distances = squared_euclidean(examples.X, prototypes(*examples))
    torch.testing.assert_close(logits.softmax(-1), (-distances).softmax(-1), rtol=1e-12, atol=1e-12)


def test_the_shared_head_is_one_vector_for_every_class():
    theta, phi = start(SharedHead(), support(2, n_way=5, n_present=5))
    assert theta["head.weight"].shape == (1, 4)
    assert torch.equal(phi["head.weight"], theta["head.weight"].expand(2, 5, 4))
    assert torch.equal(phi["head.bias"], theta["head.bias"].expand(2, 5))


def test_a_fixed_head_serves_fewer_classes_and_refuses_more():
    theta, phi = start(FixedHead(), support(n_way=2, n_present=2))
    assert torch.equal(phi["head.weight"], theta["head.weight"][:2])
    with pytest.raises(ValueError, match=r"has 4 classes, .* at most 3"):
        start(FixedHead(), support(n_way=4, n_present=4))


def test_copies_are_equal_with_separate_gradients():
    theta = {"w": torch.arange(3.0, dtype=torch.float64, requires_grad=True)}
    copy = copies(theta, support(2))["w"]
    assert torch.equal(copy, theta["w"].expand(2, 3))
    scale = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    each = torch.autograd.grad((scale * copy).sum(), copy, retain_graph=True)[0]
    assert torch.equal(each, scale.expand(2, 3))
    assert torch.equal(torch.autograd.grad((scale * copy).sum(), theta["w"])[0], each.sum(0))


@pytest.mark.parametrize("rate", [ParameterRate(0.1), TensorStepRate(0.1)], ids=["all", "tensor"])
@pytest.mark.parametrize("head", [SharedHead(), PrototypeHead(), CosineHead(None)], ids=repr)
def test_learned_rates_know_the_numbers_of_the_head(head, rate):
    alg = ANIL(cross_entropy, head, rate, 1)
    theta = alg.init(F, 3, torch.Generator().manual_seed(0))
    examples = Examples(*(t.float() for t in support(2)))
    phi = alg.adapt(F, theta, examples)
    names = {k for k in phi if k.startswith("head.") and phi[k].is_floating_point()}
    assert {f"rate.{k}" for k in names} == {k for k in theta if k.startswith("rate.")}
