"""Measure the numbers in the cards of ALPaCA and R2-D2, and in the guide to `TaskNovelty`.

    python examples/benchmarks/cards.py

The script prints the mean squared error of both learners on new sinusoids with noise of standard
deviation 0.1, and the error of ALPaCA on linear tasks relative to that of the Bayes estimator. It
also prints how well `TaskNovelty` distinguishes sinusoids of other families, as the area under the
ROC curve.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import SplineTransformer

from sklearn_meta import ALPaCARegressor, R2D2Regressor
from sklearn_meta.analysis import GaussianTaskDistribution, TaskNovelty
from sklearn_meta.datasets import make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.tasks import Task

NOISE = 0.1


def sinusoid_errors(learner: type, iterations: int, n_tasks: int, seed: int) -> list[float]:
    """Return the mean squared errors to noisy targets from 5 and from 10 points."""
    reg = learner(max_meta_iter=iterations, random_state=seed)
    reg.meta_fit(make_sinusoid_tasks(n_tasks, noise=NOISE, random_state=seed))
    errors = []
    for n in (5, 10):
        new = make_sinusoid_tasks(300, n + 100, noise=NOISE, n_support=n, random_state=1000 + seed)
        predictions = reg.predict_tasks(new)
        errors.append(
            np.mean([(y - task.y_query) ** 2 for y, task in zip(predictions, new, strict=True)])
        )
    return errors


def linear_ratio(iterations: int, n_tasks: int) -> float:
    """Return the error of ALPaCA from 8 rows, relative to that of the Bayes estimator."""
    family = {"mean": [1, -2, 0.5], "cov": np.diag([0.5, 1.5, 3]), "noise": 0.7**0.5}
    reg = ALPaCARegressor(backbone="identity", max_meta_iter=iterations, random_state=0)
    reg.meta_fit(make_linear_tasks(n_tasks, 30, **family, random_state=0).tasks)
    new = make_linear_tasks(n_tasks, 108, **family, n_support=8, random_state=1)
    truth = np.array([t.X_query @ w for t, w in zip(new.tasks, new.coef, strict=True)])
    best = np.array([t.X_query @ new.oracle(t.X_support, t.y_support) for t in new.tasks])
    ours = np.array(reg.predict_tasks(new.tasks))
    return np.mean((ours - truth) ** 2) / np.mean((best - truth) ** 2)


def novelty_aucs(n_tasks: int, seed: int) -> dict[str, float]:
    """Return the area under the ROC curve for families that differ from 240 known waves."""
    waves = make_sinusoid_tasks(240, noise=NOISE, random_state=seed)
    density = GaussianTaskDistribution(SplineTransformer(n_knots=10), tol=1e-4)
    novelty = TaskNovelty(density, n_support=10, random_state=seed).fit(waves)

    def family(noise: float = NOISE, **params) -> list[Task]:
        return make_sinusoid_tasks(n_tasks, 10, noise=noise, random_state=100 + seed, **params)

    others = {
        f"frequency {f}": [Task(t.X / f, t.y) for t in family(x_range=(-5 * f, 5 * f))]
        for f in (2, 1.5, 0.5)
    }
    others["amplitudes 5 to 10"] = family(amplitude=(5, 10))
    others["noise 1"] = family(1.0)
    others["phases pi to 2 pi"] = family(phase=(np.pi, 2 * np.pi))
    same = novelty.p_values(make_sinusoid_tasks(n_tasks, 10, noise=NOISE, random_state=200 + seed))
    truth = np.repeat([1, 0], n_tasks)
    return {
        name: roc_auc_score(truth, np.r_[same, novelty.p_values(tasks)])
        for name, tasks in others.items()
    }


PARTS = ("novelty", "linear", "R2-D2", "ALPaCA")


def main(n_seeds: int = 3, scale: float = 1.0, only: tuple[str, ...] = PARTS) -> dict[str, object]:
    iterations, n_tasks = max(1, round(1000 * scale)), max(10, round(1000 * scale))
    result: dict[str, object] = {}
    if "novelty" in only:
        aucs = [novelty_aucs(max(10, round(400 * scale)), seed) for seed in range(n_seeds)]
        result["novelty"] = {name: np.mean([a[name] for a in aucs]) for name in aucs[0]}
        for name, auc in result["novelty"].items():
            print(f"TaskNovelty, {name}: AUC {auc:.3f}", flush=True)
    if "linear" in only:
        result["linear"] = linear_ratio(iterations, 2 * n_tasks)
        print(f"ALPaCA on linear tasks: {result['linear']:.4f} times the Bayes error", flush=True)
    for name, learner, share in (("R2-D2", R2D2Regressor, 0.5), ("ALPaCA", ALPaCARegressor, 1)):
        if name in only:
            steps = max(1, round(share * iterations))
            errors = [sinusoid_errors(learner, steps, n_tasks, seed) for seed in range(n_seeds)]
            five, ten = result[name] = np.mean(errors, axis=0)
            print(f"{name}, {steps} iterations: error from 5 points {five:.3f}, from 10 {ten:.3f}")
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="share of iterations and tasks")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    args = parser.parse_args()
    main(args.seeds, args.scale, args.only)
