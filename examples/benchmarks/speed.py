"""One second-order meta-iteration on 25 sinusoid tasks, five inner steps: three ways, one run.

    python examples/benchmarks/speed.py --output docs/results/speed.md

Alternates between this package, a bare hand-stacked implementation and a loop over tasks with the
same autograd calls (what a user writes first), and prints medians and their ratios. All three must
give the same loss. Then the share of an iteration of `meta_fit` that drawing episodes takes, and
the time of a meta-iteration of every learner as a multiple of first-order MAML's (costs.py).
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from pathlib import Path

import costs
import numpy as np
import torch
import torch.nn.functional as F

import sklearn_meta
from sklearn_meta import MAMLRegressor
from sklearn_meta.core import (
    Everything,
    Examples,
    FixedRate,
    GradientLearner,
    LinearHead,
    build_backbone,
)
from sklearn_meta.core.episodes import FromTasks, Rows
from sklearn_meta.core.packed import pack_tasks
from sklearn_meta.datasets import make_sinusoid_tasks
from sklearn_meta.functional import squared_error

B, N, STEPS, LR = 25, 10, 5, 0.01


def bare(theta, Xs, ys, Xq, yq):
    """The lower bound: stacked weights and nothing around them."""

    def net(p, X):
        h = torch.baddbmm(p[1].unsqueeze(1), X, p[0].mT).relu()
        h = torch.baddbmm(p[3].unsqueeze(1), h, p[2].mT).relu()
        return torch.baddbmm(p[5].unsqueeze(1), h, p[4].mT)

    p = [t.expand(B, *t.shape) for t in theta]
    for _ in range(STEPS):
        loss = (net(p, Xs) - ys).square().mean((1, 2)).sum()
        grads = torch.autograd.grad(loss, p, create_graph=True)
        p = [a - LR * g for a, g in zip(p, grads, strict=True)]
    return (net(p, Xq) - yq).square().mean((1, 2)).mean()


def loop(theta, Xs, ys, Xq, yq):
    """One task after the other."""

    def net(p, X):
        h = F.linear(X, p[0], p[1]).relu()
        return F.linear(F.linear(h, p[2], p[3]).relu(), p[4], p[5])

    total = 0.0
    for b in range(B):
        p = theta
        for _ in range(STEPS):
            loss = (net(p, Xs[b]) - ys[b]).square().mean()
            grads = torch.autograd.grad(loss, p, create_graph=True)
            p = [a - LR * g for a, g in zip(p, grads, strict=True)]
        total = total + (net(p, Xq[b]) - yq[b]).square().mean()
    return total / B


def milliseconds_of_data(n_iter: int = 500) -> tuple[float, float]:
    """Median time to draw a meta-batch, and mean time of a whole iteration of meta_fit."""
    tasks = make_sinusoid_tasks(n_tasks=1000, n_rows=2 * N, random_state=0)
    reg = MAMLRegressor(
        inner_lr=LR,
        inner_steps=STEPS,
        hidden_layer_sizes=(40, 40),
        norm=None,
        n_support=N,
        n_query=N,
        meta_batch_size=B,
        iters_per_epoch=n_iter,
        max_meta_iter=2 * n_iter,
        random_state=0,
    )
    iteration = 1000 * reg.meta_fit(tasks).history_[-1]["dur"] / n_iter
    packed = pack_tasks(tasks, None, np.float64, torch.device("cpu"), labels=False)
    source, rng = FromTasks(packed, Rows((N, N), N)), np.random.RandomState(0)
    times = []
    for _ in range(n_iter):
        begin = time.perf_counter()
        source.draw(B, rng)
        times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times)), iteration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--repeats-of-learners", type=int, default=15)
    parser.add_argument("--output", type=Path, help="Markdown file to write the tables to")
    args = parser.parse_args()
    repeats = args.repeats

    torch.manual_seed(0)
    X = torch.rand(2, B, N, 1) * 10 - 5
    amplitude, phase = torch.rand(B, 1, 1) * 4.9 + 0.1, torch.rand(B, 1, 1) * torch.pi
    (Xs, Xq), (ys, yq) = X, amplitude * torch.sin(X - phase)
    f = build_backbone("mlp", (1,), 0, hidden_layer_sizes=(40, 40), activation="relu", norm=None)
    maml = GradientLearner(squared_error, LinearHead(), Everything(), FixedRate(LR), STEPS)
    theta = maml.init(f, 1, torch.Generator().manual_seed(0))
    theta = {k: p.requires_grad_() for k, p in theta.items()}
    support, query = Examples(Xs, ys, torch.ones(B, N)), Examples(Xq, yq, torch.ones(B, N))
    numbers = list(theta.values())
    ways = {
        "sklearn_meta": lambda: maml.loss(f, theta, support, query).mean(),
        "bare, hand-stacked": lambda: bare(numbers, Xs, ys, Xq, yq),
        "loop over tasks": lambda: loop(numbers, Xs, ys, Xq, yq),
    }
    losses = {name: way().item() for name, way in ways.items()}
    if not np.allclose(list(losses.values()), losses["sklearn_meta"], rtol=1e-4):
        raise SystemExit(f"the losses differ: {losses}")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(repeats):
        for name, way in ways.items():
            if name == "loop over tasks" and i % 5:
                continue  # it takes as long as all the others
            begin = time.perf_counter()
            torch.autograd.grad(way(), numbers)
            seconds[name].append(time.perf_counter() - begin)
    median = {name: 1000 * float(np.median(times)) for name, times in seconds.items()}
    ours = median["sklearn_meta"]
    draw, iteration = milliseconds_of_data()
    lines = [
        "## Time of a meta-iteration",
        "",
        f"`python examples/benchmarks/speed.py --repeats {repeats} "
        f"--repeats-of-learners {args.repeats_of_learners}`",
        "",
        f"sklearn_meta {sklearn_meta.__version__}, torch {torch.__version__}, "
        f"{datetime.datetime.now(datetime.timezone.utc).date()}, {os.cpu_count()} CPU cores "
        f"({platform.machine()}), {torch.get_num_threads()} threads. Medians of one run; times in "
        "ms depend on the machine, ratios less so.",
        "",
        f"| 25 sinusoid tasks, second order, {STEPS} steps | ms | times sklearn_meta |",
        "| --- | --- | --- |",
        *(f"| {name} | {ms:.2f} | {ms / ours:.2f} |" for name, ms in median.items()),
        "",
        f"Drawing episodes takes {draw:.2f} ms of the {iteration:.2f} ms of an iteration of "
        f"`meta_fit` ({100 * draw / iteration:.1f} %).",
        *costs.report(args.repeats_of_learners),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.output is not None:
        args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
