"""Measure the Gaussian process learners: errors beside the best possible, intervals, and times.

    python examples/benchmarks/deep_kernel.py
    python examples/benchmarks/deep_kernel.py --parts speed

sinusoids    waves with noise of 0.1, a new one for each task of meta-training: the mean squared
             error to the wave from 5 and 10 points, beside that of the best linear estimator, which
             knows the family; and the share of noisy targets in intervals of 90 %
linear       linear regressions with Gaussian weights: the same beside the Bayes estimator
speed        the logarithm of the marginal likelihood of 64 tasks x 16 rows and its gradient, with
             GPyTorch where it is installed; and `fit` and `predict` on 20 rows x 20 features

With a budget of 1, meta-training of a network takes about three minutes on one core.
docs/algorithms/deep_kernel.md contains the tables.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
import warnings
from functools import partial

import numpy as np
import torch

import sklearn_meta as sm
from sklearn_meta.datasets import SinusoidTasks, make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.functional import log_marginal_likelihood, rbf_kernel

NOISE = 0.1
ROWS = {"n_support": (3, 12), "n_query": 10, "meta_batch_size": 16, "random_state": 0}
SINUSOIDS = {  # parameters, and meta-iterations with a budget of 1
    "spectral, inputs": ({"kernel": "spectral", "backbone": "identity"}, 2000),
    "spectral, 40-40": ({"kernel": "spectral", "hidden_layer_sizes": (40, 40)}, 8000),
    "rbf, 40-40": ({"kernel": "rbf", "hidden_layer_sizes": (40, 40)}, 8000),
    "matern, 40-40": ({"hidden_layer_sizes": (40, 40)}, 8000),
    "matern, 40-40, ADKF": ({"hidden_layer_sizes": (40, 40), "adapt": "hyperparameters"}, 4000),
}


def oracle_of_waves(task: sm.Task) -> np.ndarray:
    """Predict by the best linear estimator: A sin(x - phi) is N(m, S) in sin x and cos x."""
    amplitude = np.array([2.55, (5.0**3 - 0.1**3) / (3 * 4.9)])  # first and second moment
    mean = np.array([0.0, -amplitude[0] * 2 / np.pi])  # of A cos(phi) and -A sin(phi)
    cov = amplitude[1] / 2 * np.eye(2) - np.outer(mean, mean)
    X, Q = (np.c_[np.sin(x), np.cos(x)] for x in (task.X_support, task.X_query))
    precision = np.linalg.inv(cov) + X.T @ X / NOISE**2
    right = np.linalg.solve(cov, mean) + X.T @ task.y_support / NOISE**2
    return Q @ np.linalg.solve(precision, right)


def coverage(reg: sm.DeepKernelRegressor, tasks: list[sm.Task]) -> float:
    """Return the share of query targets in intervals of 90 %."""
    shares = []
    for task in tasks:
        low, high = (
            reg.fit(task.X_support, task.y_support).predict_quantiles(task.X_query, [0.05, 0.95]).T
        )
        shares.append(np.mean((low < task.y_query) & (task.y_query < high)))
    return float(np.mean(shares))


def error(predicted: list[np.ndarray], true: list[np.ndarray]) -> float:
    """Return the mean squared error."""
    return float(np.mean([np.mean((p - t) ** 2) for p, t in zip(predicted, true, strict=True)]))


def sinusoids(budget: float, names: list[str]) -> None:
    """Print the table of waves."""
    tests = {
        n: make_sinusoid_tasks(400, n + 100, noise=NOISE, n_support=n, random_state=7)
        for n in (5, 10)
    }

    # what a query misses of the wave is noise: errors are those to noisy targets less its variance
    def errors(predict) -> list[float]:
        return [
            error(predict(tasks), [t.y_query for t in tasks]) - NOISE**2 for tasks in tests.values()
        ]

    print("\n| learner | 5 points | 10 points | in 90 %, 5 | in 90 %, 10 | minutes |")
    print("| --- |" + " --- |" * 5)
    best = errors(lambda tasks: [oracle_of_waves(t) for t in tasks])
    print(f"| best linear estimator | {best[0]:.4f} | {best[1]:.4f} | | | |", flush=True)
    for name in names:
        params, n_iter = SINUSOIDS[name]
        reg = sm.DeepKernelRegressor(**ROWS, **params, max_meta_iter=max(1, round(n_iter * budget)))
        begin = time.perf_counter()
        reg.meta_fit(SinusoidTasks(n_rows=25, noise=NOISE))
        minutes = (time.perf_counter() - begin) / 60
        found = errors(reg.predict_tasks)
        covered = [coverage(reg, tasks[:200]) for tasks in tests.values()]
        cells = [f"{e:.4f}" for e in found] + [f"{100 * c:.1f} %" for c in covered]
        print(f"| {name} | {' | '.join(cells)} | {minutes:.1f} |", flush=True)


def linear(budget: float) -> None:
    """Print the table of linear regressions."""
    family = make_linear_tasks(1000, 30, cov=np.diag([0.5, 1.5, 3.0]), random_state=0)
    new = make_linear_tasks(1000, 108, cov=np.diag([0.5, 1.5, 3.0]), n_support=8, random_state=1)
    true = [t.y_query for t in new.tasks]
    best = error([t.X_query @ new.oracle(t.X_support, t.y_support) for t in new.tasks], true)
    print("\n| learner | error / Bayes | in 90 % |")
    print("| --- | --- | --- |")
    for name, params in {
        "linear, ARD": {"kernel": "linear", "ard": True, "mean": "linear"},
        "linear, ARD, ADKF": {"kernel": "linear", "ard": True, "adapt": "hyperparameters"},
        "matern, ARD": {"ard": True},
    }.items():
        reg = sm.DeepKernelRegressor(
            **params,
            **ROWS,
            backbone="identity",
            max_meta_iter=max(1, round(1000 * budget)),
        ).meta_fit(family.tasks)
        ratio = error(reg.predict_tasks(new.tasks), true) / best
        print(
            f"| {name} | {ratio:.4f} | {100 * coverage(reg, new.tasks[:300]):.1f} % |", flush=True
        )


def median_time(function, n: int = 100) -> float:
    """Return the median time of a call in milliseconds."""
    times = []
    for i in range(n + 5):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin if i >= 5 else np.nan)
    return 1e3 * float(np.nanmedian(times))


def speed() -> None:
    """Print times."""
    rng = torch.Generator().manual_seed(0)
    X, y = (torch.randn(64, 16, d, generator=rng, dtype=torch.float64) for d in (32, 1))
    weight = torch.ones(64, 16)
    params = [torch.tensor(v, dtype=torch.float64).requires_grad_() for v in (1.0, 5.0, 0.1)]

    def ours() -> tuple[torch.Tensor, ...]:
        rows = X.clone().requires_grad_()
        K = params[0] * rbf_kernel(rows, rows, params[1])
        log_p = log_marginal_likelihood(K, y, params[2], weight)
        return log_p, *torch.autograd.grad(log_p.sum(), [rows, *params])

    print("\n| | median, ms |")
    print("| --- | --- |")
    try:
        theirs = gpytorch_likelihood(X, y.squeeze(-1), [float(p) for p in params])
    except ImportError:
        print(f"| likelihood and gradient | {median_time(ours):.2f} |")
    else:
        for a, b in zip(ours()[:2], theirs(), strict=True):  # likelihoods, and gradients of rows
            torch.testing.assert_close(a, b, atol=1e-8, rtol=0)
        rounds = [(median_time(ours, 30), median_time(theirs, 30)) for _ in range(5)]
        a, b = np.median(rounds, axis=0)
        print(f"| likelihood and gradient | {a:.2f} |")
        print(f"| the same by GPyTorch | {b:.2f} ({b / a:.1f} times) |")
    tasks = make_linear_tasks(20, 40, 20, random_state=0).tasks
    labels = [sm.Task(t.X, (t.y > 0).astype(int)) for t in tasks]
    for cls, family in ((sm.DeepKernelRegressor, tasks), (sm.DeepKernelClassifier, labels)):
        for adapt in ("none", "hyperparameters"):
            est = cls(adapt=adapt, max_meta_iter=10, random_state=0).meta_fit(family)
            rows, targets = family[0].X[:20], family[0].y[:20]
            fit = median_time(partial(est.fit, rows, targets))
            predict = median_time(partial(est.predict, rows))
            print(f"| {cls.__name__}, adapt={adapt!r}: fit | {fit:.2f} |")
            print(f"| {cls.__name__}, adapt={adapt!r}: predict | {predict:.2f} |")


def gpytorch_likelihood(X: torch.Tensor, y: torch.Tensor, values: list[float]):
    """Return a function that computes the same likelihoods and gradients by GPyTorch."""
    import gpytorch

    class Model(gpytorch.models.ExactGP):
        def __init__(self, likelihood):
            super().__init__(X, y, likelihood)
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x):
            mean, covariance = self.mean_module(x), self.covar_module(x)
            return gpytorch.distributions.MultivariateNormal(mean, covariance)

    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    model = Model(likelihood).double()
    scale, length_scale, noise = (torch.tensor(v, dtype=torch.float64) for v in values)
    model.covar_module.outputscale, likelihood.noise = scale, noise
    model.covar_module.base_kernel.lengthscale = length_scale
    mll = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)

    def compute() -> tuple[torch.Tensor, torch.Tensor]:
        rows = X.clone().requires_grad_()
        model.set_train_data(rows, y, strict=False)
        log_p = mll(model(rows), y) * y.shape[-1]
        return log_p, torch.autograd.grad(log_p.sum(), [rows, *model.parameters()])[0]

    return compute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=1.0, help="multiple of the iterations")
    parser.add_argument("--parts", nargs="*", default=["sinusoids", "linear", "speed"])
    parser.add_argument("--learners", nargs="*", default=list(SINUSOIDS), choices=list(SINUSOIDS))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(
        f"sklearn_meta {sm.__version__}, torch {torch.__version__}, {platform.machine()}, "
        f"{datetime.date.today()}; budget {args.budget:g}"
    )
    if "sinusoids" in args.parts:
        sinusoids(args.budget, args.learners)
    if "linear" in args.parts:
        linear(args.budget)
    if "speed" in args.parts:
        speed()


if __name__ == "__main__":
    main()
