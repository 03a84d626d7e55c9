"""A first meta-learner on handwritten characters
==============================================

Recognise characters of new alphabets from one drawing of each.

.. code-block:: bash

    python examples/plot_01_first_meta_learner.py

A prototypical network learns from handwritten characters of 24 alphabets. It then meets tasks of 5
or 20 characters from ten other alphabets. In each task it gets one labelled drawing of each
character (the support), and classifies drawings by other people (the query). The script prints the
mean accuracy, with its 95 % interval over tasks, next to that of three baselines. It also saves a
picture of one task with the predictions.
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
    draw(clf, test_tasks[20][0], picture)
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


def draw(estimator, task, picture: str) -> None:
    """Plot the support of a task in the first row, and below it the query with predictions."""
    try:
        import matplotlib
    except ImportError:
        print("\nFor the picture: pip install matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    y_pred = estimator.fit(task.X_support, task.y_support).predict(task.X_query)
    labels = np.unique(task.y_support)
    letters = dict(zip(labels, ascii_uppercase, strict=False))
    bold = {"fontsize": 9, "fontweight": "bold", "pad": 3}
    fig, axes = plt.subplots(6, len(labels), figsize=(10, 4.1))
    fig.subplots_adjust(left=0.105, right=0.995, top=0.84, bottom=0.01, wspace=0.12, hspace=0.12)
    for column, label in zip(axes.T, labels, strict=True):
        column[0].imshow(task.X_support[task.y_support == label][0], cmap="gray_r")
        column[0].set_title(letters[label], **bold)
        for ax, i in zip(column[1:], np.flatnonzero(task.y_query == label), strict=True):
            ax.imshow(task.X_query[i], cmap="gray_r")
            if y_pred[i] != label:
                ax.spines[:].set(color=MISTAKE, linewidth=2)
                ax.set_title(letters[y_pred[i]], loc="left", color=MISTAKE, **bold)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    for row, text in ((0, "one labelled\ndrawing"), (3, "drawings by\nother people")):
        axes[row, 0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9)
    fig.suptitle(
        f"Characters of new alphabets: {np.mean(y_pred == task.y_query):.0%} of the drawings are "
        "recognised from one labelled drawing of each character.\n"
        "Mistakes have a thick frame, with the predicted letter above it.",
        fontsize=10,
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
