"""Write your own algorithm
========================

Write your own meta-learner: an equation, an estimator, and checks.

.. code-block:: bash

    python examples/plot_05_write_your_own_algorithm.py

A prototypical network classifies a row by the nearest prototype, the mean of the support rows of a
class. The mean of one or two rows is noisy. If class means have the distribution N(m, t^2 I) around
a common mean m, and rows have the distribution N(c_k, s^2 I) around the mean of their class, the
best estimate of a class mean is ::

    c_k = (n_k z_k + lambda m) / (n_k + lambda),    lambda = s^2 / t^2,

where z_k is the mean of the n_k support rows of class k. The algorithm below learns lambda, the
scale of the distances and the embedding. The script prints its accuracy and that of a prototypical
network. docs/own_algorithm.md explains the classes.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
import torch

from sklearn_meta import ProtoNetClassifier
from sklearn_meta.base import MetaClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.functional import prototypes, squared_euclidean
from sklearn_meta.inner import Algorithm
from sklearn_meta.parameters import describe, param, real
from sklearn_meta.testing import check_meta_learner

# %%
# The algorithm: pure functions of tensors.


@dataclass(frozen=True)
class ShrunkenPrototypes(Algorithm):
    lam: float

    def init(self, f, n_outputs, generator):
        start = {"log_lambda": torch.tensor(math.log(self.lam)), "log_scale": torch.zeros(())}
        return f.init(generator) | start

    def adapt(self, f, theta, support):
        n = (support.weight.unsqueeze(-1) * support.y).sum(-2).unsqueeze(-1)  # (*B, n_way, 1)
        z = prototypes(f(theta, support.X), support.y, support.weight)  # 0 for classes without rows
        m = z.sum(-2, keepdim=True) / (n > 0).sum(-2, keepdim=True)
        lam = theta["log_lambda"].exp()
        return {"c": (n * z + lam * m) / (n + lam), "present": n.squeeze(-1) > 0}

    def predict(self, f, theta, phi, X):
        logits = -theta["log_scale"].exp() * squared_euclidean(f(theta, X), phi["c"])
        return logits.masked_fill(~phi["present"].unsqueeze(-2), -torch.inf)


# %%
# The estimator: it declares the parameter and makes the algorithm.


@describe
@dataclass(eq=False, repr=False)
class ShrunkenPrototypesClassifier(MetaClassifier):
    """Classifier by class means that are shrunken towards their common mean."""

    lam: float = param(1.0, real(0, open_left=True), "training", "Initial value of lambda.")

    def make_algorithm(self):
        return ShrunkenPrototypes(self.make_loss(), self.lam)


# %%
# Check the estimator, and compare it with a prototypical network.


def main(max_meta_iter: int = 500, picture: str | None = None) -> dict[str, float]:
    check_meta_learner(ShrunkenPrototypesClassifier(hidden_layer_sizes=8))
    print("ShrunkenPrototypesClassifier passes all checks of meta-learners")
    tasks = make_blob_tasks(300, n_way=10, n_shot=1, random_state=0)
    accuracy, scores = {}, {}
    for cls in (ProtoNetClassifier, ShrunkenPrototypesClassifier):
        clf = cls(n_shot=1, max_meta_iter=max_meta_iter, random_state=0).meta_fit(tasks[:200])
        scores[cls.__name__] = clf.score_tasks(tasks[200:])
        accuracy[cls.__name__] = float(scores[cls.__name__].mean())
        print(f"{cls.__name__:30} {100 * accuracy[cls.__name__]:.1f} % on 100 new tasks")
    lam = float(clf.theta_["log_lambda"])
    print(f"learned: log lambda = {lam:.2f}, log scale = {float(clf.theta_['log_scale']):.2f}")
    if picture:
        draw(scores, picture)
    return accuracy


# %%
# Plot the accuracies of all new tasks.


def draw(scores: dict[str, np.ndarray], picture: str) -> None:
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(4.5, 4.2), layout="constrained")
    for name, values in scores.items():
        ax.plot(np.sort(values), label=f"{name}, mean {values.mean():.2f}")
    ax.set(xlabel="100 new tasks, sorted", ylabel="accuracy")
    ax.legend(frameon=False, fontsize=8)
    fig.savefig(picture, dpi=120)


# %%
# Run the script.

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-meta-iter", type=int, default=500)
    parser.add_argument("--picture", default=None, help="file for a plot of the accuracies")
    main(**vars(parser.parse_args()))
