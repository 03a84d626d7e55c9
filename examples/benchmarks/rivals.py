"""Code and packages that a user could use instead of sklearn_meta, for the problems of problems.py.

Each function returns a function without arguments that computes the mean query loss and its
gradient with respect to theta. It returns None if its package is not installed or cannot solve the
problem.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from problems import Problem, loss_of
from torch import Tensor, nn

Way = Callable[[], tuple[Tensor, Any]]


def loop(problem: Problem) -> Way:
    """Loop over tasks with torch.autograd.grad, as learn2learn does, without its overhead."""
    theta = list(problem.theta.values())

    def risk(b: int) -> Tensor:
        Xs, ys, Xq, yq = (
            t[b] for t in (problem.support.X, problem.support.y, problem.query.X, problem.query.y)
        )
        if not problem.steps:
            c = (ys.T @ problem.net(theta, Xs)) / ys.sum(0).unsqueeze(-1)
            Z = problem.net(theta, Xq)
            distance = (Z.unsqueeze(1) - c).square().sum(-1)
            return loss_of(problem, -distance, yq)
        p = theta
        for _ in range(problem.steps):
            loss = loss_of(problem, problem.net(p, Xs), ys)
            grads = torch.autograd.grad(loss, p, create_graph=True)
            p = [a - problem.lr * g for a, g in zip(p, grads, strict=True)]
        return loss_of(problem, problem.net(p, Xq), yq)

    def run() -> tuple[Tensor, Any]:
        n = len(problem.support.X)
        loss = torch.stack([risk(b) for b in range(n)]).mean()
        return loss.detach(), torch.autograd.grad(loss, theta)

    return run


def bare(problem: Problem) -> Way | None:
    """Use stacked weights without anything else: the lower bound for torch without compilation."""
    if problem.kind != "mlp" or not problem.steps:
        return None
    theta, B = list(problem.theta.values()), len(problem.support.X)
    (Xs, ys, _), (Xq, yq, _) = problem.support, problem.query

    def net(p: list[Tensor], X: Tensor) -> Tensor:
        for weight, bias in zip(p[:-2:2], p[1:-2:2], strict=True):
            X = torch.baddbmm(bias.unsqueeze(1), X, weight.mT).relu()
        return torch.baddbmm(p[-1].unsqueeze(1), X, p[-2].mT)

    def run() -> tuple[Tensor, Any]:
        p = [t.expand(B, *t.shape) for t in theta]
        for _ in range(problem.steps):
            loss = loss_of(problem, net(p, Xs), ys).sum()
            grads = torch.autograd.grad(loss, p, create_graph=True)
            p = [a - problem.lr * g for a, g in zip(p, grads, strict=True)]
        loss = loss_of(problem, net(p, Xq), yq).mean()
        return loss.detach(), torch.autograd.grad(loss, theta)

    return run


def _module(problem: Problem) -> nn.Module:
    """Make an ordinary module with the weights theta, for higher and torchopt."""
    p, layers = [t.detach() for t in problem.theta.values()], []
    if problem.kind == "conv4":
        layers.append(nn.Unflatten(1, (1, 28)))
        for i in range(4):
            conv = nn.Conv2d(*p[2 * i].shape[1::-1], 3, padding=1)
            norm = nn.GroupNorm(8, len(p[8 + 2 * i]))
            for layer, at in ((conv, 2 * i), (norm, 8 + 2 * i)):
                layer.weight, layer.bias = nn.Parameter(p[at]), nn.Parameter(p[at + 1])
            layers += [conv, norm, nn.MaxPool2d(2), nn.ReLU()]
        layers.append(nn.Flatten())
    weights = p[-2:] if problem.kind == "conv4" else p
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        layer = nn.Linear(*weight.shape[::-1])
        layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def higher(problem: Problem) -> Way | None:
    """Use higher (archived in 2021)."""
    if not problem.steps or importlib.util.find_spec("higher") is None:
        return None
    import higher as package

    net = _module(problem)
    optimizer = torch.optim.SGD(net.parameters(), lr=problem.lr)
    (Xs, ys, _), (Xq, yq, _) = problem.support, problem.query

    def run() -> tuple[Tensor, Any]:
        net.zero_grad()
        total = Xs.new_zeros(())
        for b in range(len(Xs)):
            with package.innerloop_ctx(net, optimizer, copy_initial_weights=False) as (g, steps):
                for _ in range(problem.steps):
                    steps.step(loss_of(problem, g(Xs[b]), ys[b]))
                loss = loss_of(problem, g(Xq[b]), yq[b]) / len(Xs)
                loss.backward()
                total += loss.detach()
        return total, [p.grad for p in net.parameters()]

    return run


def torchopt(problem: Problem) -> Way | None:
    """Use the differentiable SGD of TorchOpt."""
    if not problem.steps or importlib.util.find_spec("torchopt") is None:
        return None
    import torchopt as package

    net = _module(problem)
    inner = package.MetaSGD(net, lr=problem.lr)
    (Xs, ys, _), (Xq, yq, _) = problem.support, problem.query
    theta = list(net.parameters())

    def run() -> tuple[Tensor, Any]:
        start = package.extract_state_dict(net, by="reference")
        state = package.extract_state_dict(inner, by="reference")
        losses = []
        for b in range(len(Xs)):
            for _ in range(problem.steps):
                inner.step(loss_of(problem, net(Xs[b]), ys[b]))
            losses.append(loss_of(problem, net(Xq[b]), yq[b]))
            package.recover_state_dict(net, start)
            package.recover_state_dict(inner, state)
        loss = torch.stack(losses).mean()
        return loss.detach(), torch.autograd.grad(loss, theta)

    return run
