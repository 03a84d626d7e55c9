"""A first meta-learner: classify new digits from one or five images of each.

    python examples/plot_01_first_meta_learner.py

The script meta-trains two estimators on tasks of the digits 0 to 4. It then tests them, and four
baselines, on tasks of the digits 5 to 9. In each test task an estimator adapts to one or five
labelled images of each digit (the support), and classifies other images (the query). The script
prints the mean accuracy with its 95 % interval over tasks, and saves a picture of one task with the
predictions of the prototypical network.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from torch import nn

from sklearn_meta import ProtoMAMLClassifier, ProtoNetClassifier
from sklearn_meta.datasets import load_digits_tasks


def network() -> nn.Module:
    """Make a network of two convolutions. Any torch network can be a backbone."""
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def accuracies(estimator, tasks) -> np.ndarray:
    """Fit the support of each task, and return the accuracies on the queries."""
    if hasattr(estimator, "score_tasks"):
        return estimator.score_tasks(tasks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NearestCentroid warns if a class has one row
        return np.array(
            [estimator.fit(t.X_support, t.y_support).score(t.X_query, t.y_query) for t in tasks]
        )


def main(
    max_meta_iter: int = 250,
    n_tasks: int = 200,
    test_classes: tuple[int, ...] = (5, 6, 7, 8, 9),
    picture: str = "plot_01.png",
) -> dict:
    digits = partial(load_digits_tasks, n_test_tasks=n_tasks, test_classes=test_classes)
    images = partial(digits, flatten=False)
    meta_train = images(n_way_train=10, n_shot=(1, 5), n_query=5).meta_train
    shared = {
        "backbone": network,
        "scaling": None,
        "meta_lr": 3e-3,
        "meta_batch_size": 4,
        "max_meta_iter": max_meta_iter,
        "random_state": 0,
    }
    proto = ProtoNetClassifier(**shared)
    maml = ProtoMAMLClassifier(**shared)
    few = n_tasks // 6
    learners = {
        "ProtoNetClassifier, meta-learned": (proto, images, n_tasks),
        "ProtoMAMLClassifier, meta-learned": (maml, images, n_tasks),
        f"the same network, from scratch ({few} tasks)": (clone(proto), images, few),
        "nearest centroid, raw pixels": (NearestCentroid(), digits, n_tasks),
        "nearest neighbour, raw pixels": (KNeighborsClassifier(1), digits, n_tasks),
        "logistic regression, per task": (LogisticRegression(), digits, n_tasks),
    }
    begin = time.perf_counter()
    for estimator in (proto, maml):
        estimator.meta_fit(meta_train)
    seconds = time.perf_counter() - begin
    train_classes = sorted(set(range(10)) - set(test_classes))
    print(f"meta-trained on the digits {spell(train_classes)}, in {seconds:.0f} s\n")
    print(f"{'accuracy on tasks of ' + spell(test_classes) + ', unseen, %':44}", end="")
    print(f"{'1-shot':>14}{'5-shot':>14}")
    results = {}
    for name, (estimator, load, n_scored) in learners.items():
        row = f"{name:44}"
        for n_shot in (1, 5):
            scores = 100 * accuracies(estimator, load(n_shot=n_shot).test_tasks[:n_scored])
            half = 1.96 * scores.std(ddof=1) / np.sqrt(len(scores))
            results[name, n_shot] = scores.mean(), half
            row += f"{scores.mean():8.1f} ± {half:3.1f}"
        print(row)
    draw(proto, images(n_shot=5).test_tasks[0], picture)
    return results


def spell(numbers) -> str:
    """Join numbers by commas."""
    return ", ".join(map(str, numbers))


def draw(estimator, task, picture: str) -> None:
    """Plot the support of a task, and its query with predictions."""
    try:
        import matplotlib
    except ImportError:
        print("\nFor the picture: pip install matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    estimator.fit(task.X_support, task.y_support)
    y_pred = estimator.predict(task.X_query)
    fig, axes = plt.subplots(5, 12, figsize=(9, 4.4), layout="constrained")
    for row, label in zip(axes, np.unique(task.y_support), strict=True):
        of_support = task.X_support[task.y_support == label]
        panels = [(x, f"{label}", "black") for x in of_support[:4]]
        query = np.flatnonzero(task.y_query == label)[:8]
        for i in query:
            right = y_pred[i] == label
            panels.append((task.X_query[i], f"{y_pred[i]}", "tab:blue" if right else "tab:red"))
        for ax, (x, text, colour) in zip(row, panels, strict=True):
            ax.imshow(x.reshape(8, 8), cmap="gray_r")
            ax.set_title(text, fontsize=9, color=colour)
            ax.set_xticks([])
            ax.set_yticks([])
    fig.suptitle("Support (left four columns) and predicted query; wrong ones in red")
    fig.savefig(picture, dpi=120)
    print(f"\nsaved {picture}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-meta-iter", type=int, default=250)
    parser.add_argument("--n-tasks", type=int, default=200)
    parser.add_argument("--test-classes", type=int, nargs="+", default=(5, 6, 7, 8, 9))
    parser.add_argument("--picture", default="plot_01.png")
    args = parser.parse_args()
    main(args.max_meta_iter, args.n_tasks, tuple(args.test_classes), args.picture)
