"""Run every check that needs a GPU, and write one page about them.

    pip install ".[bench,test]" "jax[cuda12]"
    python examples/benchmarks/gpu.py --write docs/results/gpu.md

The parts are

- laws: the tests of tests/test_devices.py on the device, which compare every algorithm and every
  estimator with the CPU;
- sinusoid, conv4: the time of a meta-iteration, plain and compiled, beside a loop over tasks, other
  packages and JAX on the same device, as speed.py measures it, all in full float32;
- graphs: what compilation changes in the result, and how many kernels the host launches with it;
- precision: the meta-gradient and its time in float32, TF32 and bfloat16, beside float64, and the
  accuracy on Omniglot after the same number of iterations in each;
- omniglot: ProtoNet and MAML beside their published accuracy.

A part that fails leaves its error on the page, and the others run. `--device cpu` with a small
budget rehearses the script where there is no GPU. Omniglot is found as `fetch_omniglot` describes.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import omniglot
import problems
import speed
import torch
from problems import Problem

import sklearn_meta as sm
from sklearn_meta._devices import resolve_device
from sklearn_meta.inner import Examples
from sklearn_meta.outer.compiled import CompiledGradient
from sklearn_meta.outer.objective import HalfNetwork, float32_products

ROOT = Path(__file__).parents[2]
LOOP_BAR, JAX_BAR = 20.0, 1.0  # times as fast as the loop; at most this share of JAX's time
ACCURACY_BARS = {"ProtoNet, 60-way": 98.8, "MAML, 5-way": 98.0}  # per cent, 5-way 1-shot
N_TASKS = 32  # of a meta-batch of images
PRECISIONS = (None, "tf32", "bf16")

# the protocols of the papers; MAML starts from a shared vector and not from prototypes
PROTOCOLS = {
    "ProtoNet, 60-way": omniglot.LEARNERS["ProtoNet"]._replace(
        params={"meta_batch_size": 1, "iters_per_epoch": 100},
        episodes={"n_way": 60, "n_shot": 1, "n_query": 5},
    ),
    "MAML, 5-way": omniglot.LEARNERS["MAML"]._replace(
        params={"meta_batch_size": 32, "iters_per_epoch": 100},
        episodes={"n_way": 5, "n_shot": 1, "n_query": 15},
    ),
    "MAML, 20-way": omniglot.LEARNERS["MAML"]._replace(
        params={"meta_batch_size": 16, "iters_per_epoch": 100},
        episodes={"n_way": 20, "n_shot": 1, "n_query": 5},
    ),
}


@dataclass
class Page:
    """Sections of text, and the bars with what was measured: (bar, measured, whether it is met)."""

    lines: list[str] = field(default_factory=list)
    bars: list[tuple[str, str, bool | None]] = field(default_factory=list)

    def add(self, *lines: str) -> None:
        self.lines += lines

    def bar(self, name: str, measured: str, met: bool | None) -> None:
        self.bars.append((name, measured, met))


# ---- laws ----------------------------------------------------------------------------------------


def laws(page: Page, args: argparse.Namespace) -> None:
    """Run the device tests in a process of their own, and count them."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "tests/test_devices.py", "-m", "", "-q"]
        command += ["-p", "no:cacheprovider", f"--junitxml={report}"]
        env = os.environ | {"SKLEARN_META_TEST_DEVICES": args.device}
        if args.tests:
            command += ["-k", args.tests]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        if not report.exists():
            raise RuntimeError(f"pytest wrote no report: {(done.stdout + done.stderr)[-2000:]}")
        cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    n_passed = len(cases) - len(failed) - len(skipped)
    counts = f"{n_passed} passed, {len(failed)} failed, {len(skipped)} skipped"
    page.add(f"`tests/test_devices.py` on {args.device}: {counts}.", "")
    for case in failed:
        reason = next(iter(case)).get("message", "").splitlines()
        page.add(f"- {case.get('name')}: {reason[0] if reason else 'failed'}")
    for reason in sorted({case.find("skipped").get("message", "") for case in skipped}):
        page.add(f"- skipped: {reason}")
    page.bar("laws: all device tests pass", counts, not failed and n_passed > 0)


# ---- times ---------------------------------------------------------------------------------------


def timed(make: Callable[[], Problem], page: Page, args: argparse.Namespace) -> Any:
    """Measure a problem beside its rivals, in full float32 everywhere."""
    # the sizes of chunks are for a CPU
    problem = replace(make().to(args.device), chunk=None)
    with full_float32():
        ms_of = speed.side_by_side(problem, args, compile=not args.no_compile)
    page.add(*speed.table(problem, ms_of), *speed.bars(problem.name, ms_of), "")
    on_jax = jax_platform()
    page.add(f"JAX: {'not installed' if on_jax is None else f'on its platform {on_jax!r}'}.")
    return ms_of


def sinusoid(page: Page, args: argparse.Namespace) -> None:
    ms_of = timed(problems.sinusoid, page, args)
    for way, params in ((speed.EAGER, {}), (speed.COMPILED, {"compile": True})):
        if way in ms_of:
            ms, step = speed.in_meta_fit(
                problems.sinusoid().to(args.device),
                args.iterations_of_epoch,
                device=args.device,
                **params,
            )
            page.add(
                "", f"{way}: an iteration of `meta_fit` takes {ms:.2f} ms, its step {step:.2f}."
            )


def conv4(page: Page, args: argparse.Namespace) -> None:
    ms_of = timed(partial(problems.omniglot, args.n_tasks), page, args)
    ways = [way for way in (speed.EAGER, speed.COMPILED) if way in ms_of]
    best = min(ways, key=ms_of.__getitem__)
    name = f"Conv4, {args.n_tasks} tasks"
    times = ms_of[speed.LOOP] / ms_of[best]
    page.bar(
        f"{name}: at least {LOOP_BAR:g} times as fast as a loop over tasks",
        f"{times:.1f} times ({best})",
        times >= LOOP_BAR,
    )
    share, on_gpu = None, resolve_device(args.device).type == "cuda"
    if speed.JAX in ms_of and (jax_platform() in ("gpu", "cuda")) == on_gpu:
        share = ms_of[best] / ms_of[speed.JAX]
    measured = "no JAX on this device" if share is None else f"{share:.2f} ({best})"
    met = None if share is None else share <= JAX_BAR
    page.bar(f"{name}: at most {JAX_BAR:g} of the time of JAX", measured, met)


@contextmanager
def full_float32() -> Iterator[None]:
    """Let neither torch nor JAX compute products or convolutions in TF32, as both do by default."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        if importlib.util.find_spec("jax") is None:
            yield
        else:
            import jax

            with jax.default_matmul_precision("highest"):
                yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def jax_platform() -> str | None:
    """Return where JAX computes; None if it is not installed."""
    if importlib.util.find_spec("jax") is None:
        return None
    import jax

    return str(jax.devices()[0].platform)


# ---- compilation ---------------------------------------------------------------------------------


def graphs(page: Page, args: argparse.Namespace) -> None:
    """Compare compiled with plain meta-gradients, and count what the host launches."""
    page.add(
        "| problem | compiling, s | loss off by | gradient off by | launches, plain "
        "| launches, compiled | CUDA graphs replayed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    )
    names = {"sinusoid": problems.sinusoid, "Conv4": partial(problems.omniglot, args.n_tasks)}
    for name, make in names.items():
        problem = replace(make().to(args.device), chunk=None)
        plain = speed.eager(problem)
        way, begin = CompiledGradient(padding=True), time.perf_counter()
        run = partial(
            way, problem.algorithm, problem.f, problem.theta, problem.support, problem.query
        )
        with full_float32():
            run(), run()  # the first iteration is not compiled
            took = time.perf_counter() - begin
            if way.is_broken:
                raise RuntimeError(f"{name} could not be compiled")
            first, second = run(), run()  # the results of the first must survive the second
            expected = plain()
            off = [relative_error(flat(each), flat(expected)) for each in (first, second)]
            losses = [relative_error(each[0], expected[0]) for each in (first, second)]
            n_plain, _ = launches(plain)
            n_compiled, n_replayed = launches(run)
        page.add(
            f"| {name} | {took:.0f} | {max(losses):.1e} | {max(off):.1e} | {n_plain} "
            f"| {n_compiled} | {n_replayed} |"
        )
        page.bar(f"{name}: compiled gradient within 1e-3", f"{max(off):.1e}", max(off) < 1e-3)
        if resolve_device(args.device).type == "cuda":
            page.bar(f"{name}: a CUDA graph is replayed", f"{n_replayed} times", n_replayed > 0)


def launches(run: Callable[[], Any]) -> tuple[int, int]:
    """Count the kernels and the CUDA graphs that the host launches in a call."""
    run()
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    names = [event.name for event in profile.events()]
    kernels = sum("LaunchKernel" in name for name in names)
    return kernels, sum("GraphLaunch" in name for name in names)


def flat(result: Any) -> torch.Tensor:
    """Return the gradient of losses and gradient as one vector, in float64 on the CPU."""
    return torch.cat([g.flatten().double().cpu() for g in result[1].values()])


def relative_error(value: torch.Tensor, expected: torch.Tensor) -> float:
    value, expected = value.double().cpu(), expected.double().cpu()
    return float((value - expected).norm() / expected.norm())


# ---- precision -----------------------------------------------------------------------------------


def precision(page: Page, args: argparse.Namespace) -> None:
    """Measure what TF32 and bfloat16 change, in the gradient and after training."""
    page.add(
        "`precision=` of the estimators is `None`, `tf32` or `bf16`. torch computes convolutions "
        "of float32 in TF32 by default (`torch.backends.cudnn.allow_tf32`); the first row does "
        "not.",
        "",
        "| problem | precision | gradient off float64 by | ms |",
        "| --- | --- | --- | --- |",
    )
    names = {"sinusoid": problems.sinusoid, "Conv4": partial(problems.omniglot, args.n_tasks)}
    for name, make in names.items():
        problem = replace(make().to(args.device), chunk=None)
        exact = flat(speed.eager(in_float64(problem))())
        with full_float32():
            of_ways = {
                "float32, nothing in TF32": (
                    relative_error(flat(speed.eager(problem)()), exact),
                    milliseconds(speed.eager(problem), args),
                )
            }
        for kind in PRECISIONS:
            f = HalfNetwork(problem.f) if kind == "bf16" else problem.f
            run = speed.eager(replace(problem, f=f))
            with float32_products(kind):
                of_ways[str(kind)] = relative_error(flat(run()), exact), milliseconds(run, args)
        for kind, (error, ms) in of_ways.items():
            page.add(f"| {name} | {kind} | {error:.1e} | {ms:.2f} |")
    page.add(
        "",
        "| learner | precision | iterations | minutes | 5-way 1-shot | 20-way 1-shot |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    iterations = args.iterations
    for kind in PRECISIONS:  # the first run says how many iterations the others take
        name = f"ProtoNet, {kind}"
        entry = PROTOCOLS["ProtoNet, 60-way"]
        entry = entry._replace(params=entry.params | {"precision": kind})
        minutes = 0.1 * args.budget
        result = trained({name: entry}, minutes, args, iterations)[0]
        iterations = iterations or result["iterations"]
        cells = " | ".join(result["cells"])
        page.add(
            f"| ProtoNet | {kind} | {result['iterations']} | {result['minutes']:.1f} | {cells} |"
        )


def in_float64(problem: Problem) -> Problem:
    theta = {k: p.detach().double().requires_grad_() for k, p in problem.theta.items()}
    support, query = (
        Examples(*(t.double() for t in part)) for part in (problem.support, problem.query)
    )
    return replace(problem, theta=theta, support=support, query=query)


def milliseconds(run: Callable[[], Any], args: argparse.Namespace) -> float:
    (ms,) = speed.alternate({"": run}, args.repeats, args.seconds).values()
    return ms


# ---- Omniglot ------------------------------------------------------------------------------------


def trained(
    entries: dict[str, Any], minutes: float, args: argparse.Namespace, iterations: int | None
) -> list[dict[str, Any]]:
    """Meta-train and score entries as omniglot.py does."""
    omniglot.LEARNERS.update(entries)
    options = argparse.Namespace(
        jobs=1,
        seed=0,
        device=args.device,
        iterations=iterations,
        tasks=args.tasks,
        keep=None,
    )
    return [omniglot.run(name, minutes, options) for name in entries]


def full_protocol(page: Page, args: argparse.Namespace) -> None:
    """Train ProtoNet and MAML as their papers do, and compare with what they published."""
    minutes = 0.65 * args.budget / len(PROTOCOLS)
    runs = trained(PROTOCOLS, minutes, args, args.iterations)
    page.add(
        f"Accuracy in % on {args.tasks} tasks of Vinyals' test characters, ± the 95 % interval "
        "over tasks; in brackets, the same model without inner steps. MAML is second order with "
        "five inner steps. Its models are trained for one of the two settings, as published.",
        "",
    )
    for name, entry in PROTOCOLS.items():
        page.add(f"- {name}: {entry.params}, episodes of {entry.episodes}")
    page.add("", *omniglot.table(runs))
    for result in runs:
        name, cell = result["name"], result["cells"][0]
        if name in ACCURACY_BARS:
            least, score = ACCURACY_BARS[name], float(cell.split()[0]) if cell else None
            measured = cell or str(result["iterations"])
            met = score is not None and score >= least
            page.bar(f"{name}: at least {least} % in 5-way 1-shot", measured, met)


# ---- the page ------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Page, argparse.Namespace], None]] = {
    "laws": laws,
    "sinusoid": sinusoid,
    "conv4": conv4,
    "graphs": graphs,
    "precision": precision,
    "omniglot": full_protocol,
}


def run_part(name: str, args: argparse.Namespace) -> tuple[Page, str]:
    """Run a part; return its page, and a row of the table of parts."""
    page, error, on_gpu = Page(), None, torch.cuda.is_available()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    begin = time.monotonic()
    print(f"{name} ...", flush=True)
    try:
        PARTS[name](page, args)
    except (Exception, SystemExit) as caught:  # the other parts shall run
        traceback.print_exc()
        error = f"{type(caught).__name__}: {caught}".replace("|", "/").splitlines()
        page.add("", f"**Failed**: {' '.join(error)[:1000]}")
    minutes = (time.monotonic() - begin) / 60
    peak = f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if on_gpu else "no GPU"
    outcome = "done" if error is None else "failed"
    return page, f"| {name} | {outcome} | {minutes:.1f} | {peak} |"


def machine(device: str) -> str:
    resolved = resolve_device(device)
    if resolved.type != "cuda":
        return f"No GPU was used: this is a rehearsal of the script on device {device!r}."
    major, minor = torch.cuda.get_device_capability(resolved)
    memory = torch.cuda.get_device_properties(resolved).total_memory / 2**30
    return (
        f"{torch.cuda.get_device_name(resolved)}, {memory:.0f} GiB, capability {major}.{minor}, "
        f"CUDA {torch.version.cuda}."
    )


def write(rows: list[str], pages: dict[str, Page], args: argparse.Namespace) -> str:
    words = {True: "met", False: "**not met**", None: "not measured"}
    bars = [bar for page in pages.values() for bar in page.bars]
    lines = [
        "# On a GPU",
        "",
        f"    python examples/benchmarks/gpu.py {' '.join(args.command)}",
        "",
        machine(args.device),
        f"sklearn_meta {sm.__version__}, torch {torch.__version__}, "
        f"{datetime.datetime.now(datetime.timezone.utc).date()}, {os.cpu_count()} CPU cores "
        f"({platform.machine()}).",
        "",
        "| part | | minutes | peak of tensors on the GPU |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        "| bar | measured | |",
        "| --- | --- | --- |",
        *(f"| {name} | {measured} | {words[met]} |" for name, measured, met in bars),
    ]
    for name, page in pages.items():
        lines += ["", f"## {name}", "", *page.lines]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> dict[str, Page]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--write", type=Path, help="Markdown file to write the page to")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--budget", type=float, default=240.0, help="minutes of training")
    parser.add_argument(
        "--iterations", type=int, help="iterations of each training, instead of the budget"
    )
    parser.add_argument("--tasks", type=int, default=600, help="test tasks in each setting")
    parser.add_argument("--n-tasks", type=int, default=N_TASKS, help="tasks of a Conv4 meta-batch")
    parser.add_argument("--repeats", type=int, default=200, help="of each time")
    parser.add_argument("--seconds", type=float, default=20, help="largest time of an alternative")
    parser.add_argument("--iterations-of-epoch", type=int, default=200, help="in meta_fit")
    parser.add_argument("--no-compile", action="store_true", help="compile nothing in times")
    parser.add_argument("--tests", help="which device tests, as the option -k of pytest")
    args = parser.parse_args(argv)
    args.command = sys.argv[1:] if argv is None else argv
    # JAX would otherwise take most of the GPU's memory
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        resolve_device(args.device)
    except ValueError as error:
        parser.error(str(error))
    pages, rows = {}, []
    for name in args.only:
        pages[name], row = run_part(name, args)
        rows.append(row)
        text = write(rows, pages, args)  # after each part: a run that is killed leaves the others
        if args.write is not None:
            args.write.write_text(text, encoding="utf-8")
    print(text)
    return pages


if __name__ == "__main__":
    main()
