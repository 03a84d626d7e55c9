"""Problems for speed.py, and functions of plain torch that compute the same meta-iterations.

A problem is an episode of random rows (the time depends only on shapes), an algorithm and its
theta. The networks here take parameters as a list, in the order of theta.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_meta.algorithms import MAML, ProtoNet
from sklearn_meta.functional import cross_entropy, squared_error, squared_euclidean
from sklearn_meta.inner import (
    Algorithm,
    Examples,
    FixedHead,
    FixedRate,
    LinearHead,
    build_backbone,
)

Net = Callable[[list[Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """A second-order meta-iteration (or one of ProtoNet) on a stack of tasks."""

    name: str
    algorithm: Algorithm
    f: Any
    theta: dict[str, Tensor]
    support: Examples
    query: Examples
    net: Net  # network of one task, with the weights of theta
    kind: str  # "mlp" or "conv4"
    steps: int  # 0: prototypes
    lr: float
    chunk: int | None  # tasks at once if meta_fit splits a meta-batch (on a CPU)

    def to(self, device: str) -> Problem:
        """Return the problem on another device."""
        theta = {k: p.detach().to(device).requires_grad_() for k, p in self.theta.items()}
        support, query = (Examples(*(t.to(device) for t in e)) for e in (self.support, self.query))
        return replace(self, theta=theta, support=support, query=query)

    @property
    def regression(self) -> bool:
        return self.algorithm.criterion is squared_error


def mlp(p: list[Tensor], X: Tensor) -> Tensor:
    for weight, bias in zip(p[:-2:2], p[1:-2:2], strict=True):
        X = F.linear(X, weight, bias).relu()
    return F.linear(X, p[-2], p[-1])


def body(p: list[Tensor], X: Tensor) -> Tensor:
    """Compute the MLP without its output layer."""
    for weight, bias in zip(p[::2], p[1::2], strict=True):
        X = F.linear(X, weight, bias).relu()
    return X


def conv4(p: list[Tensor], X: Tensor) -> Tensor:
    X = X.unsqueeze(1)
    for i in range(4):
        X = F.conv2d(X, p[2 * i], p[2 * i + 1], padding=1)
        X = F.group_norm(X, 8, p[8 + 2 * i], p[9 + 2 * i])
        X = F.max_pool2d(X, 2 if X.shape[-1] > 1 else 1).relu()
    return F.linear(X.flatten(1), p[-2], p[-1])


def problem(
    name: str,
    kind: str,
    row_shape: tuple[int, ...],
    *,
    n_tasks: int,
    n_support: int,
    n_query: int,
    n_way: int = 0,
    widths: tuple[int, ...] = (),
    steps: int = 5,
    lr: float = 0.01,
    chunk: int | None = None,
) -> Problem:
    """Make a problem; with `n_way` 0 it is a regression, otherwise rows are counted by class."""
    rng = torch.Generator().manual_seed(0)
    f = build_backbone(
        kind,
        row_shape,
        0,
        hidden_layer_sizes=widths,
        activation="relu",
        norm="group" if kind == "conv4" else None,
    )
    if n_way == 0:
        alg: Algorithm = MAML(squared_error, LinearHead(), FixedRate(lr), steps)
    elif steps:
        alg = MAML(cross_entropy, FixedHead(), FixedRate(lr), steps)
    else:
        alg = ProtoNet(cross_entropy, squared_euclidean)
    theta = {k: p.requires_grad_() for k, p in alg.init(f, max(n_way, 1), rng).items()}

    def rows(n: int) -> Examples:
        X = torch.rand(n_tasks, n * max(n_way, 1), *row_shape, generator=rng)
        if n_way:
            y = torch.eye(n_way).repeat_interleave(n, 0).expand(n_tasks, -1, -1)
        else:
            y = torch.sin(5 * X[..., :1])
        return Examples(X, y, torch.ones(X.shape[:2]))

    net = conv4 if kind == "conv4" else mlp if steps else body
    return Problem(name, alg, f, theta, rows(n_support), rows(n_query), net, kind, steps, lr, chunk)


def sinusoid(**changes: Any) -> Problem:
    sizes = {"n_tasks": 25, "n_support": 10, "n_query": 10, "widths": (40, 40)} | changes
    return problem("sinusoid: MLP 1-40-40-1", "mlp", (1,), **sizes)


def omniglot(n_tasks: int = 16) -> Problem:
    return problem(
        f"Omniglot: Conv4, 5-way 1-shot, {n_tasks} tasks",
        "conv4",
        (28, 28),
        n_tasks=n_tasks,
        n_support=1,
        n_query=15,
        n_way=5,
        chunk=3,
        lr=0.001,  # with 0.01, rounding determines the steps in some tasks of random pixels
    )


def assays(steps: int, n_tasks: int = 8, n_rows: int = 32) -> Problem:
    name = f"assays: MLP 2048-512-256, {'MAML' if steps else 'ProtoNet'}"
    return problem(
        name,
        "mlp",
        (2048,),
        n_tasks=n_tasks,
        n_support=n_rows,
        n_query=n_rows,
        n_way=2,
        widths=(512, 256),
        steps=steps,
        chunk=4 if steps else None,
    )


def loss_of(problem: Problem, prediction: Tensor, y: Tensor) -> Tensor:
    """Compute the mean loss of one task, or of each task of a stack."""
    if problem.regression:
        return (prediction - y).square().mean((-2, -1))
    return -(y * prediction.log_softmax(-1)).sum(-1).mean(-1)
