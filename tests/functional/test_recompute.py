"""A graph that forgets: the same numbers and gradients, less memory, nothing left behind."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sklearn_meta.functional import descent, recomputed
from sklearn_meta.functional.generators import Generators, drawing, seeded
from sklearn_meta.outer.memory import peak_bytes


def slopes(x, w):
    """x -> x - dL/dx, with L a function of x and of something from elsewhere."""
    (g,) = torch.autograd.grad((x.tanh() * w).square().sum(), x, create_graph=True)
    return (x - 0.1 * g,)


def leaves():
    rng = torch.Generator().manual_seed(0)
    draw = (torch.randn(5, dtype=torch.float64, generator=rng) for _ in range(2))
    return [t.requires_grad_() for t in draw]


def test_numbers_and_gradients_are_the_same_also_through_what_the_function_has_from_elsewhere():
    x, v = leaves()
    found = []
    for call in (lambda f, *args: f(*args), recomputed):
        w = v.exp()  # in the graph
        (y,) = call(lambda x, w=w: slopes(x, w), x)
        (y,) = call(lambda x, w=w: slopes(x, w), y)
        found.append((y, *torch.autograd.grad(y.square().sum(), [x, v])))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert found[0][2].abs().min() > 0


def test_a_derivative_of_a_derivative_goes_through_too():
    x, _ = leaves()
    found = []
    for call in (lambda f, *args: f(*args), recomputed):
        (y,) = call(lambda x: (x.pow(4),), x)
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        found.append(torch.autograd.grad(g.sum(), x)[0])
    assert torch.equal(*found)
    torch.testing.assert_close(found[0], 12 * x.square())


def test_the_function_is_called_again_once_and_only_if_it_is_needed():
    calls = []

    def function(x):
        calls.append(x)
        return (x.sin().exp(),)

    x, _ = leaves()
    (y,) = recomputed(function, x)
    assert len(calls) == 1
    y.sum().backward(retain_graph=True)
    assert len(calls) == 2
    y.sum().backward()
    assert len(calls) == 2


def test_an_argument_that_needs_no_gradient_gets_none():
    x, w = leaves()
    present = torch.tensor([True, False, True, True, False])
    w = w.detach()
    (y,) = recomputed(lambda x, w, p: (torch.where(p, x * w, 0.0).exp(),), x, w, present)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(present, w * (x * w).exp(), 0.0))


def test_chance_is_the_same_the_second_time_and_goes_on_as_if_there_were_none():
    def noisy(x):
        with drawing():
            return ((x * torch.rand(5, dtype=x.dtype)).exp(),)

    x, _ = leaves()
    with seeded(Generators(3)) as generators:
        noisy(x)
        (y,) = recomputed(noisy, x)
        (again,) = noisy(x.detach())
    with ThreadPoolExecutor(1) as pool:  # as the backward pass of a GPU
        pool.submit(y.sum().backward).result()
    with seeded(Generators(3)), drawing():
        _, drawn, then = (torch.rand(5, dtype=x.dtype) for _ in range(3))
    torch.testing.assert_close(x.grad, drawn * (x * drawn).exp())
    torch.testing.assert_close(again, (x.detach() * then).exp())
    assert generators.n_draws == 3


@pytest.mark.parametrize("backward", [True, False])
def test_nothing_outlives_the_graph(backward):
    seen = []

    def function(x):
        (g,) = torch.autograd.grad(x.sin().sum(), x, create_graph=True)
        middle = g.exp()
        seen.append(weakref.ref(middle))
        return (middle.cos(),)

    x, _ = leaves()
    gc.disable()  # so that cycles would stay
    try:
        (y,) = recomputed(function, x)
        assert seen[0]() is None  # forgotten, or held by no one but the graph
        if backward:
            y.sum().backward()
        del y
        assert all(reference() is None for reference in seen)
    finally:
        gc.enable()


def test_an_error_of_the_function_goes_through_and_leaves_nothing():
    def function(x):
        x.exp().sin()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        recomputed(function, *leaves()[:1])


@pytest.mark.parametrize("n_rows", [1000, 4000])
def test_memory_of_a_descent_grows_by_the_parameters_and_not_by_the_rows(n_rows):
    X = torch.linspace(-1, 1, n_rows, dtype=torch.float64).unsqueeze(-1)
    start = torch.ones(1, 50, dtype=torch.float64, requires_grad=True)

    def loss(p):
        return (X @ p["w"]).tanh().square().mean()

    def peak(steps, checkpoint):
        def run():
            options = {"create_graph": True, "checkpoint": checkpoint}
            *_, phi = descent(loss, {"w": start}, [0.1] * steps, **options)
            torch.autograd.grad(phi["w"].sum(), start)

        return peak_bytes(run)

    a_step, again = ((peak(12, how) - peak(2, how)) / 10 for how in (False, True))
    assert a_step >= 2 * n_rows * start.nbytes
    assert again <= 20 * start.nbytes
