"""Is the learned update rule better than SGD and Adam with the same number of steps?

    python examples/benchmarks/learned_update.py --budget 15 --seeds 3

The script meta-trains the LSTM meta-learner on sinusoids (5 support rows, network 1-40-40-1) and
on handwritten digits (10-way episodes for 5-way 1-shot tasks, two convolutions). It then adapts to
new tasks by the learned rule, and by SGD and Adam, which start from the learned and from random
initial weights. The learning rates of SGD and Adam are chosen on other tasks of the same kind. New
tasks of digits contain new digits, or new rows of the digits of meta-training, for which half of
the rows are held out. With --cost, the script measures the time and memory of a meta-gradient and
compares with FOMAML.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

import sklearn_meta
from sklearn_meta import (
    FewShotTasks,
    LSTMMetaLearnerClassifier,
    LSTMMetaLearnerRegressor,
    Task,
)
from sklearn_meta.algorithms import MAML, GatedRule, LSTMMetaLearner
from sklearn_meta.datasets import load_digits_tasks, make_sinusoid_tasks
from sklearn_meta.functional import as_vector, cross_entropy, squared_error
from sklearn_meta.inner import (
    Algorithm,
    Backbone,
    Examples,
    FineTune,
    FixedRate,
    FullNetwork,
    LinearHead,
    PrototypeHead,
    SharedHead,
    stack,
)
from sklearn_meta.nn import MLP, Conv4

RATES = {
    "SGD": (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
    "Adam": (0.0003, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.3),
}
STARTS = "the LSTM's start", "a random start"
X_SD, Y_SD = 2.887, 2.062  # standard deviations of the sinusoids


def convolutions() -> nn.Module:
    """Make a network of two convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


class Sinusoids:
    """Sinusoids, scored by the mean squared error in units of y."""

    name = "sinusoids, 5 rows, mean squared error"
    kinds = ("new sinusoids",)
    criterion, head, better = staticmethod(squared_error), LinearHead(), -1

    def __init__(self, steps: int) -> None:
        self.meta_train = self.tasks(20_000, 20, 0, None)
        self.estimator = LSTMMetaLearnerRegressor(
            inner_steps=steps,
            hidden_layer_sizes=(40, 40),
            norm=None,
            scaling=None,
            n_support=5,
            meta_batch_size=4,
            meta_lr=0.003,
        )

    def tasks(self, n: int, n_rows: int, seed: int, n_support: int | None = 5) -> list[Task]:
        def scaled(t: Task) -> Task:
            X, y = (t.X / X_SD).astype(np.float32), (t.y / Y_SD).astype(np.float32)
            return Task(X, y, support=t.support)

        drawn = make_sinusoid_tasks(n, n_rows, n_support=n_support, random_state=seed)
        return [scaled(t) for t in drawn]

    def new_tasks(self, kind: str, n: int, seed: int) -> list[Task]:
        return self.tasks(n, 105, 1000 + seed)

    def network(self) -> Backbone:
        return Backbone(MLP((1,), (40, 40), norm=None), (1,))

    def targets(self, y: np.ndarray) -> np.ndarray:
        return y[:, None]

    def score(self, output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return Y_SD**2 * (output - y).square().mean((-2, -1))


class Digits:
    """Digits, scored by the accuracy in per cent."""

    kinds = ("digits never seen", "new rows of the digits of meta-training")
    criterion, better = staticmethod(cross_entropy), 1

    def __init__(self, steps: int, head: str) -> None:
        self.name = f"digits, 5-way 1-shot, accuracy (%), head={head!r}"
        self.head = {"prototype": PrototypeHead(), "shared": SharedHead()}[head]
        data = load_digits_tasks(flatten=False)
        pool = data.meta_train
        X, y = pool.X[pool.rows], np.repeat(pool.classes_, pool.sizes)
        train, test = np.array_split(np.random.RandomState(0).permutation(len(X)), 2)
        self.meta_train = FewShotTasks(X[train], y[train], n_way=10, n_shot=1, n_query=5)
        same_digits = FewShotTasks(X[test], y[test], n_way=5, n_shot=1, n_query=15)
        self.pools = dict(zip(self.kinds, (data.meta_test, same_digits), strict=True))
        self.estimator = LSTMMetaLearnerClassifier(
            inner_steps=steps,
            head=head,
            backbone=convolutions,
            scaling=None,
            meta_batch_size=2,
            meta_lr=0.003,
        )

    def new_tasks(self, kind: str, n: int, seed: int) -> list[Task]:
        return self.pools[kind].sample(n, 1000 + seed)

    def network(self) -> Backbone:
        return Backbone(convolutions(), (1, 8, 8))

    def targets(self, y: np.ndarray) -> np.ndarray:
        return np.eye(5, dtype=np.float32)[np.unique(y, return_inverse=True)[1]]

    def score(self, output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 100 * (output.argmax(-1) == y.argmax(-1)).float().mean(-1)


Domain = Sinusoids | Digits


def scores(of: Domain, alg: Algorithm, theta: dict, tasks: list[Task]) -> np.ndarray:
    """Adapt to the support of each task, and score its query."""

    def examples(X: np.ndarray, y: np.ndarray) -> Examples:
        return Examples(torch.tensor(X), torch.tensor(of.targets(y)), torch.ones(len(X)))

    f, parts = of.network(), []
    for i in range(0, len(tasks), 25):
        some = tasks[i : i + 25]
        support = stack([examples(t.X_support, t.y_support) for t in some])
        query = stack([examples(t.X_query, t.y_query) for t in some])
        phi = alg.adapt(f, theta, support)
        with torch.no_grad():
            parts.append(of.score(alg.predict(f, theta, phi, query.X), query.y))
    return torch.cat(parts).nan_to_num(nan=torch.inf).numpy().astype(float)


def optimiser(of: Domain, name: str, lr: float, steps: int) -> Algorithm:
    if name == "Adam":
        return FineTune(
            of.criterion,
            of.head,
            FullNetwork(),
            trained=of.head,
            optimizer=torch.optim.Adam,
            inner_lr=lr,
            inner_steps=steps,
        )
    return MAML(of.criterion, of.head, FixedRate(lr), steps, True)


def one_seed(
    of: Domain, steps: int, n_iter: int, seed: int, n_tasks: int, n_tuning: int = 100
) -> dict:
    """Score the rule, SGD and Adam on the same tasks of each kind."""
    est = clone(of.estimator).set_params(max_meta_iter=n_iter, random_state=seed)
    est.meta_fit(of.meta_train)
    learned = {k: torch.tensor(v) for k, v in est.theta_.items()}
    rule = LSTMMetaLearner(of.criterion, of.head, FullNetwork(), GatedRule(), steps)
    torch.manual_seed(seed)
    random = rule.init(of.network(), 1, torch.Generator().manual_seed(seed))
    results = {}
    for kind in of.kinds:
        tuning = of.new_tasks(kind, n_tuning, 500 + seed)
        tests = of.new_tasks(kind, n_tasks, seed)
        results[kind] = {"LSTM": scores(of, rule, learned, tests)}
        for start, theta in zip(STARTS, (learned, random), strict=True):
            for name, rates in RATES.items():
                tried = {}
                for lr in rates:
                    alg = optimiser(of, name, lr, steps)
                    tried[lr] = of.better * scores(of, alg, theta, tuning).mean()
                alg = optimiser(of, name, max(tried, key=tried.__getitem__), steps)
                results[kind][f"{name} from {start}"] = scores(of, alg, theta, tests)
        means = ", ".join(f"{name}: {x.mean():.3f}" for name, x in results[kind].items())
        print(f"seed {seed}, {kind}: {means}", flush=True)
    return results


def interval(x: np.ndarray) -> str:
    return f"{x.mean():.2f} ± {1.96 * x.std(ddof=1) / np.sqrt(len(x)):.2f}"


def compare(of: Domain, args: argparse.Namespace, n_iter: int | None) -> list[str]:
    """Format a table of all rules and seeds; the number of iterations follows from the budget."""
    if n_iter is None:
        trial = clone(of.estimator).set_params(max_meta_iter=30, random_state=0)
        seconds = trial.meta_fit(of.meta_train).history_[-1]["dur"] / 30
        n_iter = int(60 * args.budget / args.seeds / 3 / seconds)
    print(f"{of.name}: {n_iter} meta-iterations", flush=True)
    begin = time.monotonic()
    seeds = [one_seed(of, args.steps, n_iter, seed, args.tasks) for seed in range(args.seeds)]
    minutes = (time.monotonic() - begin) / 60
    lines = [
        f"### {of.name[0].upper()}{of.name[1:]}",
        "",
        f"{args.steps} steps, {n_iter} meta-iterations of {of.estimator.meta_batch_size} tasks, "
        f"{args.tasks} test tasks for each seed; {minutes:.1f} minutes in total.",
        "",
    ]
    for kind in of.kinds:
        lines.append(f"| {kind} | " + " | ".join(f"seed {i}" for i in range(args.seeds)) + " |")
        lines.append("| --- " * (args.seeds + 1) + "|")
        for rule in seeds[0][kind]:
            row = [interval(results[kind][rule]) for results in seeds]
            lines.append(f"| {rule} | " + " | ".join(row) + " |")
        gains = {
            start: [gain(results[kind], of.better, start) for results in seeds] for start in STARTS
        }
        for start, of_seeds in gains.items():
            cells = " | ".join(map(interval, of_seeds))
            lines.append(f"| LSTM's gain on the better from {start} | {cells} |")
        lines += ["", *(verdict(of_seeds, start) for start, of_seeds in gains.items()), ""]
    return lines


def gain(scores_of: dict, better: int, start: str) -> np.ndarray:
    """Compute the difference between the LSTM and the better of SGD and Adam on each task."""
    rivals = [rule for rule in scores_of if rule.endswith(start)]
    best = max(rivals, key=lambda rule: better * scores_of[rule].mean())
    return better * (scores_of["LSTM"] - scores_of[best])


def verdict(gains: list[np.ndarray], start: str) -> str:
    z = [g.mean() / (g.std(ddof=1) / np.sqrt(len(g))) for g in gains]
    won, lost = sum(v > 1.96 for v in z), sum(v < -1.96 for v in z)
    return (
        f"With {len(z)} seeds, the LSTM is better than SGD and Adam from {start} {won} times, and "
        f"worse {lost} times, beyond the interval of its gain."
    )


# ---- costs -------------------------------------------------------------------------------------


def saved_bytes(alg: Algorithm, f: Backbone, theta: dict, data: tuple) -> int:
    """Count the bytes that autograd stores for the backward pass."""
    storages = {}

    def save(t: torch.Tensor) -> torch.Tensor:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage()
        return t

    with torch.autograd.graph.saved_tensors_hooks(save, lambda t: t):
        alg.loss(f, theta, *data)
    return sum(s.nbytes() for s in storages.values())


def cost(steps: int = 5) -> list[str]:
    """Measure processor time and memory of a meta-gradient."""

    def rows(B: int, n: int, *shape: int) -> Examples:
        X = torch.randn(B, n, *shape)
        y = torch.randn(B, n, 1) if shape == (1,) else torch.eye(5).repeat(B, n // 5, 1)
        return Examples(X, y, torch.ones(B, n))

    torch.manual_seed(0)
    cases = {
        "sinusoid, 1-40-40-1, 25 tasks": (
            Backbone(MLP((1,), (40, 40), norm=None), (1,)),
            (squared_error, LinearHead()),
            (rows(25, 5, 1), rows(25, 15, 1)),
        ),
        "Conv4, 28 x 28, 5-way 1-shot, 1 task": (
            Backbone(Conv4((28, 28)), (28, 28)),
            (cross_entropy, SharedHead()),
            (rows(1, 5, 28, 28), rows(1, 75, 28, 28)),
        ),
    }
    lines = [
        f"| {steps} steps, float32, one thread | ms | times FOMAML | bytes a coordinate and step |",
        "| --- | --- | --- | --- |",
    ]
    for name, (f, task, data) in cases.items():
        sgd = (*task, FixedRate(0.01))
        lstm = (*task, FullNetwork(), GatedRule(), steps)
        algorithms = {
            "FOMAML": MAML(*sgd, steps, True),
            "MAML": MAML(*sgd, steps),
            "LSTM": LSTMMetaLearner(*lstm, chunk_size=None),
            "LSTM, chunks of 65536": LSTMMetaLearner(*lstm),
            "LSTM, chunks of 8192": LSTMMetaLearner(*lstm, chunk_size=8192),
            "LSTM, second order": LSTMMetaLearner(*lstm, first_order=False, chunk_size=None),
        }
        theta = algorithms["LSTM"].init(f, 1, torch.Generator().manual_seed(0))
        n = as_vector(algorithms["LSTM"].inner_problem(f, theta, data[0]).phi_0, 1).numel()
        theta = {k: p.requires_grad_() for k, p in theta.items()}
        base = None
        for label, alg in algorithms.items():
            seconds = []
            for _ in range(5):
                begin = time.process_time()
                loss = alg.loss(f, theta, *data).sum()
                torch.autograd.grad(loss, list(theta.values()), materialize_grads=True)
                seconds.append(time.process_time() - begin)
            base = base or min(seconds)
            fewer = clone_of(alg, inner_steps=steps - 1)
            memory = saved_bytes(alg, f, theta, data) - saved_bytes(fewer, f, theta, data)
            lines.append(
                f"| {name}: {label} | {1000 * min(seconds):.0f} | {min(seconds) / base:.1f} | "
                f"{memory / n:.0f} |"
            )
        lines.append(f"| ({n} coordinates) | | | |")
    return lines


def clone_of(alg: Algorithm, **changes: int) -> Algorithm:
    return type(alg)(**(vars(alg) | changes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=15.0, help="minutes of meta-training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=600, help="test tasks of each seed")
    parser.add_argument(
        "--sinusoid-iterations", type=int, help="number of iterations, instead of the budget"
    )
    parser.add_argument(
        "--digits-iterations", type=int, help="number of iterations, instead of the budget"
    )
    parser.add_argument("--only", choices=("sinusoids", "prototype", "shared"))
    parser.add_argument("--cost", action="store_true", help="measure only time and memory")
    parser.add_argument("--output", type=Path, help="Markdown file to write the table to")
    args = parser.parse_args()
    torch.set_num_threads(1)
    defaults = vars(parser.parse_args([]))
    options = [
        f"--{k.replace('_', '-')}" + ("" if v is True else f" {v}")
        for k, v in vars(args).items()
        if v != defaults[k] and k != "output"
    ]
    lines = [
        "## The learned update rule against SGD and Adam",
        "",
        f"`{' '.join(['python examples/benchmarks/learned_update.py', *options])}`",
        "",
        f"sklearn_meta {sklearn_meta.__version__}, torch {torch.__version__}, "
        f"{datetime.datetime.now(datetime.timezone.utc).date()}, {os.cpu_count()} CPU cores "
        f"({platform.machine()}), one thread.",
        "",
    ]
    if args.cost:
        lines += cost()
    else:
        if args.only in (None, "sinusoids"):
            lines += compare(Sinusoids(args.steps), args, args.sinusoid_iterations)
        for head in ("prototype", "shared"):
            if args.only in (None, head):
                lines += compare(Digits(args.steps, head), args, args.digits_iterations)
    table = "\n".join(lines) + "\n"
    print(table)
    if args.output is not None:
        args.output.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
