"""Measure how exact the meta-gradient of iMAML is, and its score, by its parameters.

    python examples/benchmarks/implicit.py --seeds 3 --iterations 200

The problems are sinusoids with ten support points and blobs with three support rows in each class,
with 40 tasks and default networks. After meta-training, the script measures on new tasks:

inner        the norm of the gradient after the inner loop, relative to the norm before it
system       the relative residual of the linear system
stopped      the share of tasks in which conjugate gradients met negative curvature
cosine       the cosine between the gradient of iMAML and the solution of the system by MINRES,
             which can solve systems with negative curvature
first order  the same cosine for the first-order gradient
score        the explained share of the squared targets, or the accuracy, on 200 new tasks

docs/algorithms/imaml.md contains the table.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import warnings

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, minres

import sklearn_meta as sm
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.functional import as_vector, conjugate_gradients, hessian_product
from sklearn_meta.inner import Examples, stack
from sklearn_meta.tasks import split_task

SETTINGS = [  # lam, multiple of the inner_lr in FAMILIES, cg_steps
    (0.5, 1.0, 5),
    (2.0, 1.0, 5),
    (2.0, 2.0, 5),
    (2.0, 1.0, 10),
    (4.0, 1.0, 5),
]
FAMILIES = {
    "sinusoids": (sm.IMAMLRegressor, 0.005, {}, make_sinusoid_tasks, {"n_support": 10}),
    "blobs": (
        sm.IMAMLClassifier,
        0.05,
        {"head": "prototype"},
        make_blob_tasks,
        {"n_shot": 3},
    ),
    "blobs, shared": (
        sm.IMAMLClassifier,
        0.05,
        {"head": "shared"},
        make_blob_tasks,
        {"n_shot": 3},
    ),
}


def examples(est: sm.IMAMLRegressor | sm.IMAMLClassifier, X: np.ndarray, y: np.ndarray) -> Examples:
    """Scale rows and encode targets as the estimator does."""
    scaling = est.meta_state.scaling
    encoded = est.encode_targets(y) if est.target_type == "class" else y[:, None]
    targets = encoded if est.target_type == "class" else scaling.targets(encoded)
    return Examples(
        torch.tensor(scaling.inputs(X)), torch.tensor(targets).double(), torch.ones(len(X)).double()
    )


def cosines(algorithm, f, theta, support: Examples, query: Examples) -> tuple[float, float]:
    """Compute the cosines of one task: of conjugate gradients, and of the first-order gradient."""
    phi_0, staying, loss = algorithm.inner_problem(f, theta, support)
    adapted = algorithm.adapt(f, theta, support)
    phi = {k: adapted[k].detach().requires_grad_() for k in phi_0}
    value = algorithm.risk(f, theta, staying | phi, query)
    grads = torch.autograd.grad(value.sum(), list(phi.values()), materialize_grads=True)
    g = as_vector(dict(zip(phi, grads, strict=True)), 1)
    H = hessian_product(loss, phi)

    def product(v: torch.Tensor) -> torch.Tensor:
        return v + H(v) / algorithm.lam

    v, _ = conjugate_gradients(product, g, algorithm.cg_steps)
    n = g.shape[-1]
    as_numpy = LinearOperator((n, n), lambda u: product(torch.tensor(u)[None])[0].numpy())
    exact, _ = minres(as_numpy, g[0].numpy(), maxiter=300)
    return tuple(float(torch.cosine_similarity(u[0], torch.tensor(exact), 0)) for u in (v, g))


def measure(family: str, setting: tuple, seed: int, n_iter: int) -> list[float]:
    """Meta-train, and measure the gradient and the score."""
    cls, lr, params, make, how = FAMILIES[family]
    lam, times, cg_steps = setting
    params = {**params, "lam": lam, "inner_lr": lr * times, "cg_steps": cg_steps}
    est = cls(**params, max_meta_iter=n_iter, random_state=seed).meta_fit(
        make(40, random_state=seed)
    )
    new = [split_task(t, **how, random_state=i) for i, t in enumerate(make(200, random_state=99))]
    parts = [
        stack([examples(est, getattr(t, f"X_{w}"), getattr(t, f"y_{w}")) for t in new[:50]])
        for w in ("support", "query")
    ]
    algorithm, f, theta = est.make_prior(est.meta_state.row_shape, est.meta_state.n_targets)
    theta = {k: torch.tensor(p) for k, p in theta.items()}
    by_name = algorithm.diagnostics(f, theta, *parts)
    each = [
        cosines(algorithm, f, theta, *(Examples(*(t[b : b + 1] for t in part)) for part in parts))
        for b in range(10)
    ]
    if est.target_type == "class":
        score = est.score_tasks(new).mean()
    else:
        predicted = est.predict_tasks(new)
        squares = sum(((p - t.y_query) ** 2).sum() for p, t in zip(predicted, new, strict=True))
        score = 1 - squares / sum((t.y_query**2).sum() for t in new)
    return [float(v.mean()) for v in by_name.values()] + [*np.mean(each, axis=0), float(score)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(
        f"sklearn_meta {sm.__version__}, torch {torch.__version__}, {platform.machine()}, "
        f"{datetime.date.today()}; {args.seeds} seeds, {args.iterations} meta-iterations"
    )
    print(
        "\n| tasks | lam | inner_lr | cg_steps | inner | system | stopped | cosine | first order | "
        "score |"
    )
    print("| --- |" + " --- |" * 9)
    for family in args.families:
        for setting in SETTINGS:
            rows = [measure(family, setting, s, args.iterations) for s in range(args.seeds)]
            lam, times, cg_steps = setting
            mean = np.mean(rows, axis=0)
            print(
                f"| {family} | {lam:g} | {FAMILIES[family][1] * times:g} | {cg_steps} | "
                + " | ".join(f"{v:.2f}" for v in mean[:-1])
                + f" | {mean[-1]:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
