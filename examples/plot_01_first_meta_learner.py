"""A first meta-learner on handwritten characters
==============================================

Recognise characters of new alphabets from one drawing of each.

.. code-block:: bash

    python examples/plot_01_first_meta_learner.py

A prototypical network learns from handwritten characters of 24 alphabets. It then meets tasks of 5
or 20 characters from ten other alphabets. In each task it gets one labelled drawing of each
character (the support), and classifies drawings by other people (the query). The script prints the
mean accuracy, with its 95 % interval over tasks, next to that of three baselines. It also saves a
picture of a typical task, that of median accuracy, with the predictions.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from string import ascii_uppercase

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from sklearn_meta import FewShotTasks, ProtoNetClassifier
from sklearn_meta.datasets import load_characters
from sklearn_meta.nn import Conv4

MISTAKE = "#d55e00"  # vermilion, which colour-blind readers can tell from black
SUPPORT = "#cfe6f5"  # light blue, the paper of labelled drawings


def main(max_meta_iter: int = 300, n_tasks: int = 100, picture: str = "plot_01.png") -> dict:
    # 1. The data: alphabets to learn from, and other alphabets for the tests.
    old = load_characters(subset="background")
    new = load_characters(subset="evaluation")
    train_tasks = FewShotTasks(old.images, old.target, n_way=20, n_shot=1, n_query=5)
    test_tasks = {
        n_way: FewShotTasks(new.images, new.target, n_way=n_way, n_shot=1, n_query=5).sample(
            n_tasks, random_state=0
        )
        for n_way in (5, 20)
    }

    # 2. Learn to learn, once.
    network = {"backbone": partial(Conv4, channels=32), "scaling": None}
    clf = ProtoNetClassifier(
        **network, meta_lr=3e-3, meta_batch_size=1, max_meta_iter=max_meta_iter, random_state=0
    )
    begin = time.perf_counter()
    clf.meta_fit(train_tasks)
    seconds = time.perf_counter() - begin
    alphabets = f"{len(old.target_names)} characters of {len(old.alphabet_names)} alphabets"
    print(f"meta-trained on {alphabets}, in {seconds:.0f} s\n")

    # 3. Adapt to new tasks, and compare with estimators that learn each task from its support.
    few = max(n_tasks // 10, 2)  # training from scratch takes 200 gradient steps in each task
    learners = {
        "ProtoNetClassifier, meta-trained": (clf, n_tasks),
        f"same network, from scratch ({few} tasks)": (
            ProtoNetClassifier(**network, random_state=0),  # without meta_fit
            few,
        ),
        "nearest neighbour on pixels": (KNeighborsClassifier(1), n_tasks),
        "logistic regression on pixels": (LogisticRegression(), n_tasks),
    }
    title = f"accuracy on {len(new.alphabet_names)} other alphabets, %"
    print(f"{title:42}{'5-way 1-shot':>16}{'20-way 1-shot':>16}")
    results = {}
    for name, (estimator, n_scored) in learners.items():
        row = f"{name:42}"
        for n_way, tasks in test_tasks.items():
            scores = 100 * accuracies(estimator, tasks[:n_scored])
            half = 1.96 * scores.std(ddof=1) / np.sqrt(len(scores))
            results[name, n_way] = scores.mean(), half
            row += f"{scores.mean():9.1f} ± {half:4.1f}"
        print(row)
    draw(clf, typical_task(clf, new, n_tasks), picture)
    return results


def accuracies(estimator, tasks) -> np.ndarray:
    """Fit the support of each task, and return the accuracies on the queries."""
    if hasattr(estimator, "score_tasks"):
        return estimator.score_tasks(tasks)
    flat = [(t.X_support.reshape(len(t.X_support), -1), t.y_support) for t in tasks]
    queries = [(t.X_query.reshape(len(t.X_query), -1), t.y_query) for t in tasks]
    return np.array(
        [estimator.fit(*rows).score(*query) for rows, query in zip(flat, queries, strict=True)]
    )


def typical_task(estimator, characters, n_tasks: int):
    """Return that of n_tasks tasks of ten characters whose accuracy is the median."""
    pool = FewShotTasks(characters.images, characters.target, n_way=10, n_shot=1, n_query=3)
    tasks = pool.sample(n_tasks, random_state=0)
    order = np.argsort(estimator.score_tasks(tasks), kind="stable")
    return tasks[order[n_tasks // 2]]


def draw(estimator, task, picture: str) -> None:
    """Plot the support of a task in the first row, and below it the query with predictions."""
    try:
        import matplotlib
    except ImportError:
        print("\nFor the picture: pip install matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap

    y_pred = estimator.fit(task.X_support, task.y_support).predict(task.X_query)
    labels = np.unique(task.y_support)
    letters = dict(zip(labels, ascii_uppercase, strict=False))
    n_rows = 1 + len(task.y_query) // len(labels)
    fig, axes = plt.subplots(n_rows, len(labels), figsize=(8, 0.95 * n_rows + 0.5))
    fig.subplots_adjust(left=0.14, right=0.99, top=0.87, bottom=0.02, wspace=0.12, hspace=0.32)
    for column, label in zip(axes.T, labels, strict=True):
        support = task.X_support[task.y_support == label][0]
        column[0].imshow(support, cmap=ListedColormap([SUPPORT, "black"]))
        column[0].set_title(letters[label], fontsize=12, fontweight="bold", pad=3)
        for ax, i in zip(column[1:], np.flatnonzero(task.y_query == label), strict=True):
            right = y_pred[i] == label
            ax.imshow(task.X_query[i], cmap="gray_r")
            look = {"color": "black"} if right else {"color": MISTAKE, "fontweight": "bold"}
            ax.set_title(letters[y_pred[i]], fontsize=10, pad=3, **look)
            ax.spines[:].set(color="0.8" if right else MISTAKE, linewidth=0.8 if right else 3)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    for row, text in ((0, "one labelled\ndrawing"), (2, "predictions\nfor drawings\nby others")):
        axes[row, 0].set_ylabel(text, rotation=0, ha="right", va="center", labelpad=8)
    fig.suptitle(
        f"A typical task of {len(labels)} new characters: {np.sum(y_pred == task.y_query)} of "
        f"{len(y_pred)} predictions are right",
        fontsize=12,
    )
    fig.savefig(picture, dpi=150)
    print(f"\nsaved {picture}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-meta-iter", type=int, default=300)
    parser.add_argument("--n-tasks", type=int, default=100)
    parser.add_argument("--picture", default="plot_01.png")
    args = parser.parse_args()
    main(args.max_meta_iter, args.n_tasks, args.picture)
