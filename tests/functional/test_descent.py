"""Optimisers of torch as an inner loop: numbers may lie in memory in any order."""

import pytest
import torch

from sklearn_meta.functional import adam, descent, minimise

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
    found = minimise(loss, {"W": start}, kind, 3, **options)["W"]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_does_not_walk_on_rounding_errors(dtype):
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


def test_steps_without_a_graph_are_those_with_one():
    w, v = torch.randn(2, 3, 4, dtype=torch.float64).unbind()

    def loss(p):  # both share one gradient, the third has a broadcast one, the last none
        return (p["w"] + p["v"]).pow(3).sum(-1) + p["u"].sum(-1) + p["z"].pow(2).sum(-1)

    start = {"w": w, "v": v, "u": w.clone(), "z": v.clone()}
    plain = [{k: p.clone() for k, p in phi.items()} for phi in descent(loss, start, [0.1] * 3)]
    leaves = {k: p.clone().requires_grad_() for k, p in start.items()}
    for phi, expected in zip(plain, descent(loss, leaves, [0.1] * 3), strict=True):
        torch.testing.assert_close(phi, {k: p.detach() for k, p in expected.items()})
    kept = list(descent(lambda p: p["w"].pow(2).sum(-1), {"w": w}, [0.1] * 3))
    for k, phi in enumerate(kept):  # earlier ones stay as they are
        torch.testing.assert_close(phi["w"].detach(), w * 0.8**k)
        assert phi["w"].grad_fn is None
