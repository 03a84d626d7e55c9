"""Random numbers of networks come from seeded generators, in all threads and dtypes."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from sklearn_meta.functional.generators import (
    Generators,
    GeneratorsState,
    current_generators,
    drawing,
    seeded,
)

DRAWS = {
    "linear": lambda: nn.Linear(4, 3).weight,
    "lstm": lambda: nn.LSTM(3, 2).weight_hh_l0,
    "attention": lambda: nn.MultiheadAttention(4, 2).in_proj_weight,
    "embedding": lambda: nn.Embedding(3, 2).weight,
    "trunc_normal_": lambda: nn.init.trunc_normal_(torch.empty(3, 2)),
    "orthogonal_": lambda: nn.init.orthogonal_(torch.empty(3, 2)),
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(2, 2),
    "rand_like": lambda: torch.rand_like(torch.zeros(3)),
    "randn_like": lambda: torch.randn_like(torch.zeros(3)),
    "normal": lambda: torch.normal(0.0, 1.0, (3,)),
    "normal of tensors": lambda: torch.normal(torch.zeros(3), torch.ones(3)),
    "bernoulli": lambda: torch.bernoulli(torch.full((20,), 0.5)),
    "randint": lambda: torch.randint(0, 9, (8,)),
    "randperm": lambda: torch.randperm(20),
    "uniform_": lambda: torch.zeros(3).uniform_(),
    "exponential_": lambda: torch.ones(3).exponential_(),
    "dropout": lambda: nn.functional.dropout(torch.ones(20)),
    "torch.dropout": lambda: torch.dropout(torch.ones(20), 0.5, True),
    "normal distribution": lambda: torch.distributions.Normal(
        torch.zeros(3), torch.ones(3)
    ).rsample(),
}


def drawn(make, seed=0):
    with drawing(Generators(seed)):
        return make()


@pytest.mark.parametrize("make", DRAWS.values(), ids=DRAWS)
def test_only_the_seed_decides(make):
    before = torch.get_rng_state()
    first = drawn(make)
    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(drawn, make).result()
    torch.set_default_dtype(torch.float64)
    try:
        double = drawn(make)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(first, elsewhere)
    assert first.dtype == double.dtype
    assert torch.equal(first, double)
    assert not torch.equal(first, drawn(make, seed=1))
    assert torch.equal(before, torch.get_rng_state())


def test_the_numbers_equal_those_of_torch():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = nn.Linear(4, 3).weight
    assert torch.equal(drawn(lambda: nn.Linear(4, 3).weight, seed=5), expected)


def test_dropout_keeps_the_mean_and_evaluation_draws_nothing():
    generators = Generators(0)
    with drawing(generators):
        dropped = nn.functional.dropout(torch.ones(10_000), 0.25)
        assert generators.n_draws == 1
        still = nn.Dropout(0.5).eval()(torch.ones(3))
        assert generators.n_draws == 1
    assert set(dropped.tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs(dropped.mean() - 1) < 0.02
    assert torch.equal(still, torch.ones(3))


def test_an_explicit_generator_is_used():
    generator = torch.Generator().manual_seed(7)
    assert torch.equal(
        drawn(lambda: torch.rand(3, generator=generator)),
        torch.rand(3, generator=torch.Generator().manual_seed(7)),
    )


def test_each_task_draws_for_itself_under_vmap():
    def f(x):
        return x + torch.rand(3)

    noise = drawn(lambda: torch.vmap(f, randomness="different")(torch.zeros(2, 3)))
    assert not torch.equal(noise[0], noise[1])


def test_a_saved_generator_state_continues():
    generators = Generators(1)
    with seeded(generators), drawing():
        torch.rand(3)
        state = generators.state()
        expected = torch.rand(3)
    with seeded(Generators(2).restore(state)), drawing():
        assert torch.equal(torch.rand(3), expected)


def test_outside_of_seeded_every_call_draws_the_same():
    def call():
        with drawing():
            return torch.rand(3)

    assert torch.equal(call(), call())
    with seeded(Generators(0)) as generators:
        assert current_generators() is generators
        assert not torch.equal(call(), call())
    assert current_generators() is not generators


def test_shapes_alone_draw_nothing():
    generators = Generators(0)
    with torch.device("meta"), drawing(generators):
        assert nn.Linear(4, 3).weight.is_meta
        assert torch.rand(3).is_meta
    assert generators.n_draws == 0


def test_a_state_with_devices_of_another_machine_is_restored():
    before = Generators(3)
    torch.rand(2, generator=before.on(torch.device("cpu")))
    seed, of_device = before.state()
    state = GeneratorsState(seed, of_device | {"cuda:63": of_device["cpu"]})
    after = Generators(0).restore(state)
    draws = [torch.rand(4, generator=g.on(torch.device("cpu"))) for g in (before, after)]
    assert torch.equal(*draws)
    assert set(after.state().of_device) == {"cpu"}
