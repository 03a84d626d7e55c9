"""JAX (jit, vmap) with optax, on the problems of problems.py, for speed.py."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from problems import Problem


def jax(problem: Problem) -> Any:
    """Return two functions: loss and gradient, and an iteration with Adam of optax.

    Both wait for their results. Return None if jax or optax is not installed.
    """
    if any(importlib.util.find_spec(name) is None for name in ("jax", "optax")):
        return None
    import jax as package
    import jax.numpy as jnp
    import optax

    def mlp(p: Any, X: Any, head: bool = True) -> Any:
        pairs = list(zip(p[::2], p[1::2], strict=True))
        for weight, bias in pairs[: len(pairs) - head]:
            X = package.nn.relu(X @ weight.T + bias)
        return X @ p[-2].T + p[-1] if head else X

    def conv4(p: Any, X: Any) -> Any:
        X = X[:, None]
        for i in range(4):
            X = package.lax.conv_general_dilated(X, p[2 * i], (1, 1), "SAME")
            X = X + p[2 * i + 1][:, None, None]
            G = X.reshape(len(X), 8, -1)
            G = (G - G.mean(-1, keepdims=True)) / jnp.sqrt(G.var(-1, keepdims=True) + 1e-5)
            X = G.reshape(X.shape) * p[8 + 2 * i][:, None, None] + p[9 + 2 * i][:, None, None]
            window = (1, 1, 2, 2)
            X = package.lax.reduce_window(X, -jnp.inf, package.lax.max, window, window, "VALID")
            X = package.nn.relu(X)
        return X.reshape(len(X), -1) @ p[-2].T + p[-1]

    net = conv4 if problem.kind == "conv4" else mlp

    def loss(prediction: Any, y: Any) -> Any:
        if problem.regression:
            return jnp.mean((prediction - y) ** 2)
        return -(y * package.nn.log_softmax(prediction)).sum(-1).mean()

    def risk(p: Any, Xs: Any, ys: Any, Xq: Any, yq: Any) -> Any:
        if not problem.steps:
            c = (ys.T @ mlp(p, Xs, False)) / ys.sum(0)[:, None]
            distance = ((mlp(p, Xq, False)[:, None] - c) ** 2).sum(-1)
            return loss(-distance, yq)
        for _ in range(problem.steps):
            grads = package.grad(lambda q: loss(net(q, Xs), ys))(p)
            p = [a - problem.lr * g for a, g in zip(p, grads, strict=True)]
        return loss(net(p, Xq), yq)

    def mean_risk(p: Any, episode: Any) -> Any:
        return package.vmap(risk, (None, 0, 0, 0, 0))(p, *episode).mean()

    adam = optax.adam(1e-3)
    gradient = package.jit(package.value_and_grad(mean_risk))

    @package.jit
    def iteration(p: Any, state: Any, episode: Any) -> Any:
        value, grads = package.value_and_grad(mean_risk)(p, episode)
        moves, state = adam.update(grads, state)
        return optax.apply_updates(p, moves), state, value

    # copies: the iteration must not share memory with torch
    start = [jnp.asarray(np.array(t.detach().cpu())) for t in problem.theta.values()]
    (Xs, ys, _), (Xq, yq, _) = problem.support, problem.query
    episode = [jnp.asarray(np.array(t.cpu())) for t in (Xs, ys, Xq, yq)]
    current = {"p": start, "state": adam.init(start)}

    def once() -> Any:
        return package.block_until_ready(gradient(start, episode))

    def with_adam() -> None:
        current["p"], current["state"], value = iteration(current["p"], current["state"], episode)
        package.block_until_ready((current["p"], value))

    return once, with_adam
