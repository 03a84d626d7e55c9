"""Does meta-learning pay?
=======================

Compare meta-learners with simple estimators on three kinds of tasks.

.. code-block:: bash

    python examples/plot_07_does_it_pay.py

The tasks are linear regressions, sinusoids and handwritten digits. For each kind, the script prints
a table and a verdict, and it saves a plot of all three. With --cache FOLDER it stores results, so
that a second run, or a run after an interruption, does not repeat finished trainings.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from torch import nn

from sklearn_meta import MAMLRegressor, ProtoNetClassifier
from sklearn_meta.datasets import load_digits_tasks, make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.model_selection import TaskComparison, compare


class RidgeTowardMean(RegressorMixin, BaseEstimator):
    """Ridge regression toward the true mean of the weights of all tasks, which is a parameter."""

    def __init__(self, mean=(0.0,), alpha=1.0):
        self.mean, self.alpha = mean, alpha

    def fit(self, X, y):
        self.ridge_ = Ridge(self.alpha, fit_intercept=False).fit(X, y - X @ np.array(self.mean))
        return self

    def predict(self, X):
        return self.ridge_.predict(X) + X @ np.array(self.mean)


def network() -> nn.Module:
    """Make a network of two convolutions for rows of 64 pixels."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


# %%
# Each kind of tasks has its own meta-learner and its own simple estimators.


def linear(budget: float, n_tasks: int, **how) -> TaskComparison:
    """Compare on linear tasks with weights from N((1, 2, 3), diag(0.5, 1.5, 3)) and noise 0.7."""
    family = make_linear_tasks(
        2 * n_tasks, 40, mean=[1, 2, 3], cov=np.diag([0.5, 1.5, 3]), noise=0.7**0.5, random_state=0
    )
    maml = MAMLRegressor(
        hidden_layer_sizes=8,
        activation="identity",
        norm=None,
        inner_steps=1,
        inner_lr=0.1,
        n_support=8,
        meta_lr=0.01,
        max_meta_iter=max(1, round(500 * budget)),
    )
    compared = {
        "one-step MAML": maml,
        "least squares": LinearRegression(fit_intercept=False),
        "ridge toward the mean": RidgeTowardMean((1.0, 2.0, 3.0), 0.7 / (5 / 3)),
    }
    return compare(
        compared,
        family.tasks,
        cv=2,
        support_sizes=[6, 8, 16],
        scoring="neg_mean_squared_error",
        **how,
    )


def sinusoids(budget: float, n_tasks: int, **how) -> TaskComparison:
    """Compare on tasks A sin(x - phase), with 10 times as many training tasks as test tasks."""
    tasks = make_sinusoid_tasks(11 * n_tasks, 30, random_state=0)
    maml = MAMLRegressor(
        hidden_layer_sizes=(40, 40),
        norm=None,
        inner_steps=1,
        inner_lr=0.02,
        meta_batch_size=25,
        meta_lr=0.003,
        max_meta_iter=max(1, round(3000 * budget)),
    )
    n = 10 * n_tasks
    return compare(
        {"one-step MAML": maml, "two neighbours": KNeighborsRegressor(2)},
        tasks,
        cv=[(range(n), range(n, n + n_tasks))],
        support_sizes=[3, 5, 10],
        scoring="neg_mean_squared_error",
        **how,
    )


def digits(budget: float, n_tasks: int, **how) -> TaskComparison:
    """Compare on tasks of the digits 5 to 9, meta-trained on 0 to 4 and their quarter turns."""
    few = load_digits_tasks(n_way_train=10, n_shot=5, n_query=10, n_test_tasks=n_tasks)
    train = few.meta_train.sample(2 * n_tasks, random_state=0)
    proto = ProtoNetClassifier(
        backbone=network,
        scaling=None,
        meta_lr=3e-3,
        meta_batch_size=4,
        max_meta_iter=max(1, round(200 * budget)),
    )
    compared = {
        "ProtoNet": proto,
        "nearest neighbour": KNeighborsClassifier(1),
        "logistic regression": LogisticRegression(),
    }
    return compare(
        compared,
        [*train, *few.test_tasks],
        cv=[(range(len(train)), range(len(train), len(train) + n_tasks))],
        support_sizes=[1, 5],
        **how,
    )


# %%
# Compare on all kinds, and plot the scores.

FAMILIES = {"linear tasks": linear, "sinusoids": sinusoids, "digits never seen": digits}


def main(
    budget: float = 1.0,
    n_tasks: int = 100,
    seeds: int = 3,
    picture: str = "plot_07.png",
    cache: str | None = None,
) -> dict[str, TaskComparison]:
    comparisons = {}
    for name, family in FAMILIES.items():
        comparisons[name] = family(budget, n_tasks, seeds=seeds, cache_dir=cache)
        print(f"\n== {name}\n\n{comparisons[name]}")
    draw(comparisons, picture)
    return comparisons


def draw(comparisons: dict[str, TaskComparison], picture: str) -> None:
    """Plot scores against the size of the support, with one panel for each kind of tasks."""
    try:
        import matplotlib
    except ImportError:
        print("\nFor the picture: pip install matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(len(comparisons), figsize=(7.5, 9), layout="constrained")
    for ax, (name, comparison) in zip(axes, comparisons.items(), strict=True):
        comparison.plot(ax=ax)
        ax.set_title(name, loc="left")
    fig.savefig(picture, dpi=120)
    print(f"\nsaved {picture}")


# %%
# Run the script.

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--budget",
        type=float,
        default=1.0,
        help="share of the full number of meta-training iterations",
    )
    parser.add_argument("--n-tasks", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", default="plot_07.png")
    parser.add_argument("--cache")
    args = parser.parse_args()
    main(args.budget, args.n_tasks, args.seeds, args.picture, args.cache)
