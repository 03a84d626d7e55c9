"""Compare the time of a meta-iteration of every estimator with first-order MAML, for speed.py.

There are two problems, both with five inner steps: 25 sinusoid tasks with a 1-40-40-1 network, and
4 five-way one-shot tasks of 28x28 images with Conv4. If an estimator has the choice, its output
layer starts from one shared vector (Proto-MAML: from prototypes), and its gradients are second
order, except for the LSTM. The script measures loss and meta-gradient, alternates between the
estimators, and reports medians.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from sklearn_meta.inner import Algorithm, Examples
from sklearn_meta.testing import all_estimators

FIRST = "FOMAML"  # the reference of the ratios


def learners(kind: str) -> dict[str, Any]:
    """Make the estimators with an outer loop, with five inner steps if they have inner steps."""
    estimators = {
        name.removesuffix(kind): cls() for name, cls in all_estimators() if name.endswith(kind)
    }
    for name, est in estimators.items():
        params = est.get_params()
        wanted = {
            "hidden_layer_sizes": (40, 40),
            "backbone": "conv4" if kind == "Classifier" else "mlp",
            "norm": "layer" if kind == "Classifier" else None,
            "inner_steps": 5,
            "first_order": name == "LSTMMetaLearner",
            "head": "zero" if name == "FineTune" else "shared",
        }
        est.set_params(**{k: v for k, v in wanted.items() if k in params})
    first = type(estimators["MAML"])(**estimators["MAML"].get_params()).set_params(first_order=True)
    return {FIRST: first, **estimators}


def sinusoids(rng: torch.Generator) -> tuple[Any, Examples, Examples, int]:
    X = torch.rand(2, 25, 10, 1, generator=rng) * 10 - 5
    amplitude = torch.rand(25, 1, 1, generator=rng) * 4.9 + 0.1
    phase = torch.rand(25, 1, 1, generator=rng) * torch.pi
    y, weight = amplitude * torch.sin(X - phase), torch.ones(25, 10)
    return (1,), Examples(X[0], y[0], weight), Examples(X[1], y[1], weight), 1


def images(rng: torch.Generator) -> tuple[Any, Examples, Examples, int]:
    def rows(n_shot: int) -> Examples:
        X = torch.rand(4, 5 * n_shot, 28, 28, generator=rng)
        y = torch.eye(5).repeat_interleave(n_shot, 0).expand(4, -1, -1)
        return Examples(X, y, torch.ones(4, 5 * n_shot))

    return (28, 28), rows(1), rows(5), 5


def iteration(alg: Algorithm, f: Any, support: Examples, query: Examples, n_outputs: int) -> Any:
    theta = alg.init(f, n_outputs, torch.Generator().manual_seed(0))
    theta = {k: p.requires_grad_() for k, p in theta.items()}

    def run() -> None:
        loss = alg.objective(f, theta, support, query).mean()
        torch.autograd.grad(loss, list(theta.values()), allow_unused=True)

    return run


def report(repeats: int) -> list[str]:
    """Format a table of each problem in Markdown."""
    lines = []
    rng = torch.Generator().manual_seed(0)
    problems = {
        "sinusoid, MLP": ("Regressor", sinusoids(rng)),
        "5-way 1-shot, Conv4": ("Classifier", images(rng)),
    }
    for problem, (kind, (row_shape, support, query, n_outputs)) in problems.items():
        runs = {}
        for name, est in learners(kind).items():
            f = est.make_backbone(row_shape, 0)
            runs[name] = iteration(est.make_algorithm(), f, support, query, n_outputs)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for repeat in range(repeats + 1):
            for name, run in runs.items():
                begin = time.perf_counter()
                run()
                if repeat:
                    seconds[name].append(time.perf_counter() - begin)
        first = np.median(seconds[FIRST])
        lines += [
            "",
            f"| {problem}: {FIRST} {1000 * first:.1f} ms | a meta-iteration, times {FIRST} |",
            "| --- | --- |",
        ]
        for name in sorted(seconds, key=lambda name: np.median(seconds[name])):
            lines.append(f"| {name} | {np.median(seconds[name]) / first:.2f} |")
    return lines
