"""Activation checkpointing: the same numbers and gradients with less memory."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sklearn_meta.functional import checkpointed, gradient, subtract
from sklearn_meta.functional.generators import Generators, drawing, seeded
from sklearn_meta.outer.memory import peak_bytes


def plain(function, params):
    return function(params)


def slope(p, w):
    """x -> x - dL/dx, with L a function of x and of a tensor that is no argument."""
    x = p["x"]
    (g,) = torch.autograd.grad((x.tanh() * w).square().sum(), x, create_graph=True)
    return x - 0.1 * g


def leaves():
    rng = torch.Generator().manual_seed(0)
    draw = (torch.randn(5, dtype=torch.float64, generator=rng) for _ in range(2))
    return [t.requires_grad_() for t in draw]


def test_numbers_and_gradients_are_the_same_also_through_tensors_that_are_no_arguments():
    x, v = leaves()
    results = []
    for call in (plain, checkpointed):
        w = v.exp()  # in the graph
        y = call(lambda p, w=w: slope(p, w), {"x": x})
        y = call(lambda p, w=w: slope(p, w), {"x": y})
        results.append((y, *torch.autograd.grad(y.square().sum(), [x, v])))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert results[0][2].abs().min() > 0


def test_second_derivatives_are_the_same():
    x, _ = leaves()
    results = []
    for call in (plain, checkpointed):
        y = call(lambda p: p["x"].pow(4), {"x": x})
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        results.append(torch.autograd.grad(g.sum(), x)[0])
    assert torch.equal(*results)
    torch.testing.assert_close(results[0], 12 * x.square())


def test_the_function_is_recomputed_once_and_only_if_needed():
    calls = []

    def function(p):
        calls.append(p)
        return p["x"].sin().exp()

    x, _ = leaves()
    y = checkpointed(function, {"x": x})
    assert len(calls) == 1
    y.sum().backward(retain_graph=True)
    assert len(calls) == 2
    y.sum().backward()
    assert len(calls) == 2


def test_an_argument_that_needs_no_gradient_gets_none():
    x, w = leaves()
    present = torch.tensor([True, False, True, True, False])
    w = w.detach()
    params = {"x": x, "w": w, "present": present}
    y = checkpointed(lambda p: torch.where(p["present"], p["x"] * p["w"], 0.0).exp(), params)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(present, w * (x * w).exp(), 0.0))


def test_recomputation_repeats_random_numbers_and_leaves_the_generator():
    def noisy(p):
        with drawing():
            return (p["x"] * torch.rand(5, dtype=torch.float64)).exp()

    x, _ = leaves()
    with seeded(Generators(3)) as generators:
        noisy({"x": x})
        y = checkpointed(noisy, {"x": x})
        again = noisy({"x": x.detach()})
    with ThreadPoolExecutor(1) as pool:  # as the backward pass of a GPU
        pool.submit(y.sum().backward).result()
    with seeded(Generators(3)), drawing():
        _, drawn, later = (torch.rand(5, dtype=x.dtype) for _ in range(3))
    torch.testing.assert_close(x.grad, drawn * (x * drawn).exp())
    torch.testing.assert_close(again, (x.detach() * later).exp())
    assert generators.n_draws == 3


@pytest.mark.parametrize("backward", [True, False])
def test_nothing_outlives_the_graph(backward):
    seen = []

    def function(p):
        (g,) = torch.autograd.grad(p["x"].sin().sum(), p["x"], create_graph=True)
        middle = g.exp()
        seen.append(weakref.ref(middle))
        return middle.cos()

    x, _ = leaves()
    gc.disable()  # so that cycles would stay
    try:
        y = checkpointed(function, {"x": x})
        assert seen[0]() is None  # freed, or owned by the graph alone
        if backward:
            y.sum().backward()
        del y
        assert all(reference() is None for reference in seen)
    finally:
        gc.enable()


def test_an_error_of_the_function_is_raised_and_leaves_nothing_behind():
    def function(p):
        p["x"].exp().sin()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        checkpointed(function, {"x": leaves()[0]})


@pytest.mark.parametrize("n_rows", [1000, 4000])
def test_memory_of_a_descent_grows_by_the_parameters_and_not_by_the_rows(n_rows):
    X = torch.linspace(-1, 1, n_rows, dtype=torch.float64).unsqueeze(-1)
    start = torch.ones(1, 50, dtype=torch.float64, requires_grad=True)

    def loss(p):
        return (X @ p["w"]).tanh().square().mean()

    def slopes(phi):
        return gradient(loss, phi, create_graph=True)

    def peak(steps, call):
        def run():
            phi = {"w": start}
            for _ in range(steps):
                phi = subtract(phi, 0.1, call(slopes, phi))
            torch.autograd.grad(phi["w"].sum(), start)

        return peak_bytes(run)

    a_step, again = ((peak(12, call) - peak(2, call)) / 10 for call in (plain, checkpointed))
    assert a_step >= 2 * n_rows * start.nbytes
    assert again <= 20 * start.nbytes
