"""Gradient descent, and optimisers of torch, on the parameters of a stack of tasks."""

import pytest
import torch

from sklearn_meta.functional import adam, gradient, minimise, subtract

OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.1}),
    "adam": (torch.optim.Adam, {"lr": 0.1, "betas": (0.0, 0.999)}),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("order", ["rows", "columns", "expanded"])
def test_minimise_is_the_plain_optimiser_whatever_the_order_in_memory(optimizer, order):
    rng = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=rng)

    start = {
        "rows": normal(3, 4, 5),
        "columns": normal(3, 5, 4).mT,
        "expanded": normal(4, 5).expand(3, 4, 5),
    }[order]
    A, kind, options = normal(3, 4, 4), *OPTIMIZERS[optimizer]

    def loss(params):  # the gradient lies by columns
        return (params["W"].mT @ A).pow(4).sum((-2, -1)) / 100

    expected = []
    for i in range(3):
        W = start[i].clone().requires_grad_()
        moves = kind([W], foreach=False, fused=False, **options)
        for _ in range(3):
            moves.zero_grad()
            ((W.mT @ A[i]).pow(4).sum() / 100).backward()
            moves.step()
        expected.append(W.detach())
    actual = minimise(loss, {"W": start}, kind, 3, **options)["W"]
    torch.testing.assert_close(actual, torch.stack(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_does_not_step_on_rounding_errors(dtype):
    """Gradients of x - x / 3 * 3, zero in theory, and of a slope of one."""
    start = {"noise": torch.arange(1.0, 50.0, dtype=dtype), "slope": torch.zeros(49, dtype=dtype)}
    noise = 1e-8 * torch.sin(start["noise"]) if dtype is torch.float32 else 0 * start["noise"]

    def loss(params):
        return (noise * params["noise"]).sum(-1) + params["slope"].sum(-1)

    moved = minimise(loss, start, adam, 1, lr=0.1)
    assert (moved["noise"] - start["noise"]).abs().max() < 1e-5
    torch.testing.assert_close(moved["slope"], start["slope"] - 0.1, rtol=1e-3, atol=0)
    plain = minimise(loss, start, torch.optim.Adam, 1, lr=0.1)
    if dtype is torch.float32:
        assert (plain["noise"] - start["noise"]).abs().max() > 0.01


def descend(loss, params, alpha, steps, *, create_graph=False):
    for _ in range(steps):
        params = subtract(params, alpha, gradient(loss, params, create_graph=create_graph))
    return params


def test_steps_without_a_graph_are_those_with_one_and_change_no_argument():
    w, v = torch.randn(2, 3, 4, dtype=torch.float64).unbind()

    def loss(p):  # both share one gradient, the third has a broadcast one, the last none
        return (p["w"] + p["v"]).pow(3).sum(-1) + p["u"].sum(-1) + p["z"].pow(2).sum(-1)

    start = {"w": w, "v": v, "u": w.clone(), "z": v.clone()}
    copies = {k: p.clone() for k, p in start.items()}
    leaves = {k: p.clone().requires_grad_() for k, p in start.items()}
    plain, expected = descend(loss, start, 0.1, 3), descend(loss, leaves, 0.1, 3)
    torch.testing.assert_close(plain, {k: p.detach() for k, p in expected.items()})
    assert not any(p.requires_grad for p in [*plain.values(), *start.values()])
    assert all(torch.equal(start[k], copies[k]) for k in start)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_descent_on_a_quadratic_is_its_closed_form(steps, create_graph):
    # phi_k = w + (1 - lr h)^k (phi_0 - w), and d phi_k / d phi_0 = (1 - lr h)^k, or 1 first order
    h, w, start = torch.randn(3, 4, dtype=torch.float64).unbind()
    h, start = h.abs(), start.clone().requires_grad_()

    def loss(p):
        return 0.5 * h * (p["x"] - w).square()

    end = descend(loss, {"x": start}, 0.3, steps, create_graph=create_graph)["x"]
    shrink = (1 - 0.3 * h) ** steps
    torch.testing.assert_close(end, (w + shrink * (start - w)).detach())
    (jacobian,) = torch.autograd.grad(end.sum(), start)
    torch.testing.assert_close(jacobian, shrink if create_graph else torch.ones_like(shrink))


def test_descent_is_torchs_sgd():
    X, y, start = (torch.randn(*shape, dtype=torch.float64) for shape in ((6, 3), (6,), (3,)))
    p = start.clone().requires_grad_()
    sgd = torch.optim.SGD([p], lr=0.1)
    for _ in range(5):
        sgd.zero_grad()
        (X @ p - y).square().mean().backward()
        sgd.step()
    end = descend(lambda q: (X @ q["p"] - y).square().mean(), {"p": start}, 0.1, 5)["p"]
    torch.testing.assert_close(end, p.detach())


def test_the_step_size_may_be_a_tensor_or_one_for_each_parameter_and_learned():
    alpha = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    start = torch.tensor(2.0, dtype=torch.float64)
    for step_size in (alpha, {"x": alpha}):
        end = descend(lambda p: p["x"].square(), {"x": start}, step_size, 1, create_graph=True)["x"]
        torch.testing.assert_close(end, start * 0.5)
        torch.testing.assert_close(torch.autograd.grad(end, alpha)[0], -2 * start)


def test_parameters_that_the_loss_does_not_use_are_unchanged():
    params = {"used": torch.ones(2), "idle": torch.ones(3)}
    end = descend(lambda p: p["used"].square().sum(), params, 0.1, 3)
    torch.testing.assert_close(end, {"used": params["used"] * 0.8**3, "idle": params["idle"]})
