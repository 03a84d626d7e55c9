"""Compare the time of a meta-iteration with code that a user could write or install instead.

    pip install ".[bench]"
    python examples/benchmarks/speed.py --output docs/results/speed.md

The script measures loss and second-order meta-gradient of a meta-batch with this package,
uncompiled and compiled; a loop over tasks; higher, TorchOpt and JAX (jit, vmap, optax) if they are
installed; and hand-written code for stacked tasks. All must compute the same loss. They run
alternately, and the table has medians and their ratios. Further tables show how the time grows
with the problem, how much time skorch and the data add to an iteration of `meta_fit`, and which
share of the machine's rate of matrix multiplication is reached.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import costs
import numpy as np
import problems
import rivals
import rivals_jax
import torch
from problems import Problem
from skorch.callbacks import Callback
from torch.utils.flop_counter import FlopCounterMode

import sklearn_meta
from sklearn_meta import MAMLRegressor
from sklearn_meta.datasets import make_sinusoid_tasks
from sklearn_meta.outer.compiled import CompiledGradient, gradient
from sklearn_meta.outer.objective import meta_gradient

EAGER, COMPILED, LOOP, JAX, BARE = "sklearn_meta", "compiled", "loop over tasks", "JAX", "bare"
ADAM = " + Adam"
PAUSE = 0.01  # seconds


def eager(problem: Problem) -> Callable[[], Any]:
    part = partial(gradient, partial(problem.algorithm.objective, problem.f))
    episode = problem.theta, problem.support, problem.query
    if problem.chunk is None:
        return lambda: part(*episode)
    return lambda: meta_gradient(part, *episode, problem.chunk, {})


def compiled(problem: Problem) -> tuple[Callable[[], Any], float]:
    """Compile the meta-gradient, and measure the time that this takes."""
    way = CompiledGradient(padding=True)
    args = (problem.algorithm, problem.f, problem.theta, problem.support, problem.query)
    way(*args)
    begin = time.perf_counter()
    way(*args)
    return lambda: way(*args), time.perf_counter() - begin


def with_adam(
    problem: Problem, run: Callable[[], Any], max_norm: float | None = None
) -> Callable[[], None]:
    """Make a full iteration as in `meta_fit`, on a copy of theta."""
    theta = [p.detach().clone() for p in problem.theta.values()]
    optimizer = torch.optim.Adam(theta, lr=1e-3, fused=True)

    def iteration() -> None:
        _, grads = run()
        for p, g in zip(theta, grads.values(), strict=True):
            p.grad = g
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(theta, max_norm)
        optimizer.step()

    return iteration


def alternate(ways: dict[str, Callable[[], Any]], repeats: int, seconds: float) -> dict[str, float]:
    """Measure the median time of each in ms; slow ones run less often, for at most `seconds`.

    Each round has a random order and pauses, because threads that wait for more work, such as those
    of JAX, slow down the next measurement.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    every = {}
    for name, way in ways.items():  # once to warm up, once to estimate the time
        way()
        begin = time.perf_counter()
        way()
        every[name] = max(1, round(repeats * (time.perf_counter() - begin) / seconds))
    rng = random.Random(0)
    for i in range(repeats):
        for name in rng.sample(list(ways), len(ways)):
            if i % every[name] == 0:
                time.sleep(PAUSE)
                begin = time.perf_counter()
                ways[name]()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                times[name].append(time.perf_counter() - begin)
    return {name: 1000 * float(np.median(took)) for name, took in times.items()}


def side_by_side(problem: Problem, args: argparse.Namespace, *, compile: bool) -> dict[str, float]:
    ways: dict[str, Callable[[], Any]] = {EAGER: eager(problem)}
    if compile:
        ways[COMPILED], took = compiled(problem)
    others = {LOOP: rivals.loop, BARE: rivals.bare}
    others |= {"higher": rivals.higher, "TorchOpt": rivals.torchopt}
    ways |= {name: way for name, make in others.items() if (way := make(problem)) is not None}
    both = rivals_jax.jax(problem)
    if both is not None:
        ways[JAX] = both[0]
    losses = {
        name: float(np.mean(np.asarray(way()[0].cpu() if name != JAX else way()[0])))
        for name, way in ways.items()
    }
    if not np.allclose(list(losses.values()), losses[EAGER], rtol=1e-3):
        raise SystemExit(f"the losses differ: {losses}")
    if compile:  # otherwise the share of Adam is negligible
        ways |= {name + ADAM: with_adam(problem, ways[name]) for name in (EAGER, COMPILED)}
        if both is not None:
            ways[JAX + ADAM] = both[1]
    print(f"{problem.name}: {', '.join(ways)} take turns", flush=True)
    ms_of = alternate(ways, args.repeats, args.seconds)
    if compile:
        ms_of["(compiling, s)"] = took
        saved = (ms_of[EAGER] - ms_of[COMPILED]) / 1000
        ms_of["(iterations to break even)"] = took / saved if saved > 0 else float("inf")
    return ms_of


def table(problem: Problem, ms_of: dict[str, float]) -> list[str]:
    lines = [f"| {problem.name} | ms | times {EAGER} |", "| --- | --- | --- |"]
    for name, ms in ms_of.items():
        ratio = "" if name.startswith("(") else f"{ms / ms_of[EAGER]:.2f}"
        lines.append(f"| {name} | {ms:.2f} | {ratio} |")
    return [*lines, ""]


def growth(args: argparse.Namespace) -> list[str]:
    """Measure how the time of an uncompiled iteration grows with each size of the problem."""
    changes = {
        "tasks": ("n_tasks", (1, 5, 25, 125, 625)),
        "inner steps": ("steps", (1, 2, 5, 10, 20)),
        "rows of support and query": ("n_query", (5, 10, 50, 250)),
        "width": ("widths", (20, 40, 160, 320)),
    }
    lines = ["| sinusoid, eager: ms by | |", "| --- | --- |"]
    for what, (name, values) in changes.items():
        ways = {}
        for value in values:
            change: dict[str, Any] = {name: (value, value) if name == "widths" else value}
            if name == "n_query":
                change["n_support"] = value
            ways[str(value)] = eager(problems.sinusoid(**change))
        ms_of = alternate(ways, max(args.repeats // 4, 1), args.seconds)
        lines.append(f"| {what} | {', '.join(f'{v}: {ms:.1f}' for v, ms in ms_of.items())} |")
    return [*lines, ""]


def in_meta_fit(problem: Problem, n_iter: int, **params: Any) -> tuple[float, float]:
    """Measure median times in ms of an iteration of `meta_fit` and of the bare step in it.

    The bare step computes all tasks at once, clips the gradient and applies Adam. Epochs of
    `meta_fit` alternate with the same number of bare steps, without pauses.
    """
    run = compiled(problem)[0] if params.get("compile") else eager(problem)
    step = with_adam(problem, run, max_norm=10.0)
    times: list[float] = []

    def bare(net: Any, **kwargs: Any) -> None:
        begin = time.perf_counter()
        for _ in range(n_iter):
            step()
        times.append(time.perf_counter() - begin)

    tasks = make_sinusoid_tasks(n_tasks=1000, n_rows=20, random_state=0)
    tasks = [type(t)(t.X.astype(np.float32), t.y.astype(np.float32)) for t in tasks]
    reg = MAMLRegressor(
        hidden_layer_sizes=(40, 40),
        norm=None,
        n_support=10,
        n_query=10,
        meta_batch_size=25,
        iters_per_epoch=n_iter,
        max_meta_iter=9 * n_iter,
        callbacks=[EpochEnd(bare)],
        random_state=0,
        **params,
    )
    took = reg.meta_fit(tasks).history_[1:, "dur"]
    return tuple(1000 * float(np.median(each)) / n_iter for each in (took, times[1:]))


class EpochEnd(Callback):
    """Call a function at the end of each epoch."""

    def __init__(self, call: Callable[..., None]) -> None:
        self.call = call

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.call(net)


def operations(problem: Problem) -> int:
    """Count the operations of products and convolutions; the count of grouped ones is wrong."""
    with FlopCounterMode(display=False) as counter:
        rivals.loop(problem)()
    return counter.get_total_flops()


def matmul_rate(args: argparse.Namespace) -> float:
    """Measure the best rate of a batched matrix product, in operations per second."""
    best = 0.0
    for m, k, n in ((64, 576, 980), (64, 576, 4096), (512, 512, 512)):
        A, B = torch.rand(8, m, k, device=args.device), torch.rand(8, k, n, device=args.device)
        (ms,) = alternate({"": partial(torch.bmm, A, B)}, args.repeats, args.seconds).values()
        best = max(best, 2 * 8 * m * k * n / (ms / 1000))
    return best


def bars(name: str, ms_of: dict[str, float]) -> list[str]:
    """Format the ratios."""
    pairs = [
        (LOOP, EAGER, "a loop over tasks takes {:.1f} times as long"),
        (EAGER, BARE, "eager takes {:.2f} times as long as bare stacked code"),
        (JAX, EAGER, "JAX takes {:.2f} times as long as eager"),
        (COMPILED + ADAM, JAX + ADAM, "compiled, with Adam, takes {:.2f} times JAX's time"),
    ]
    return [
        f"- {name}: {text.format(ms_of[a] / ms_of[b])}"
        for a, b, text in pairs
        if a in ms_of and b in ms_of
    ]


# problems, and whether to compile them: on a CPU compilation does not help Conv4
TIMED: dict[str, tuple[Callable[[], Problem], bool]] = {
    "sinusoid": (problems.sinusoid, True),
    "omniglot": (problems.omniglot, False),
    "assays": (partial(problems.assays, 5), True),
    "assays-protonet": (partial(problems.assays, 0), True),
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument(
        "--seconds", type=float, default=20, help="largest time of each alternative"
    )
    parser.add_argument("--only", nargs="+", default=list(TIMED), choices=list(TIMED))
    parser.add_argument(
        "--iterations", type=int, default=200, help="iterations in an epoch of meta_fit"
    )
    parser.add_argument(
        "--repeats-of-learners", type=int, default=0, help="repeats of the costs of all estimators"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--output", type=Path, help="Markdown file to write the tables to")
    args = parser.parse_args(argv)

    lines = [
        "## Time of a meta-iteration",
        "",
        f"`python examples/benchmarks/speed.py --repeats {args.repeats} "
        f"--seconds {args.seconds:g} --only {' '.join(args.only)} --device {args.device}`",
        "",
        f"sklearn_meta {sklearn_meta.__version__}, torch {torch.__version__}, "
        f"{datetime.datetime.now(datetime.timezone.utc).date()}, {os.cpu_count()} CPU cores "
        f"({platform.machine()}), {torch.get_num_threads()} threads. Medians of one run; times in "
        "ms depend on the machine, ratios less so. Second order, five inner steps.",
        "",
    ]
    summary: list[str] = []
    rate = matmul_rate(args)
    for name, (make, compile) in TIMED.items():
        if name not in args.only:
            continue
        problem = make().to(args.device)
        ms_of = side_by_side(problem, args, compile=compile and not args.no_compile)
        lines += table(problem, ms_of)
        print(*table(problem, ms_of), sep="\n", flush=True)
        summary += bars(problem.name, ms_of)
        share = operations(problem) / (ms_of[EAGER] / 1000) / rate
        summary.append(
            f"- {problem.name}: {100 * share:.0f} % of the {rate / 1e9:.0f} GFLOP/s that a batched "
            "matrix product reaches here"
        )
        if problem.regression:
            lines += growth(args)
            for way, params in ((EAGER, {}), (COMPILED, {"compile": True})):
                if way in ms_of:
                    ms, step = in_meta_fit(problem, args.iterations, device=args.device, **params)
                    summary.append(
                        f"- {way}: an iteration of meta_fit takes {ms:.2f} ms, {ms - step:.2f} ms "
                        f"({100 * (ms / step - 1):.0f} %) more than its step, clipped, with Adam"
                    )
    lines += summary
    if args.repeats_of_learners:
        lines += costs.report(args.repeats_of_learners)
    text = "\n".join(lines) + "\n"
    print(text)
    if args.output is not None:
        args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
