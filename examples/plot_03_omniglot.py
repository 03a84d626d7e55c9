"""Omniglot: new characters from one drawing of each
=================================================

Classify new handwritten characters of Omniglot, in about two minutes.

.. code-block:: bash

    python examples/plot_03_omniglot.py

Each task has five characters, with one labelled drawing of each. The script meta-trains two
estimators on some characters and prints their accuracy on tasks of other characters. If the data
set cannot be downloaded, it prints a message and stops. examples/benchmarks/omniglot.py compares
all estimators, with longer training.
"""

from __future__ import annotations

import argparse

import numpy as np

from sklearn_meta import FewShotTasks, ProtoMAMLClassifier, ProtoNetClassifier
from sklearn_meta.datasets import fetch_omniglot

# %%
# Meta-train both estimators, and adapt to tasks of other characters.


def main(
    proto_iter: int = 400, maml_iter: int = 100, n_tasks: int = 100, picture: str | None = None
) -> dict[str, float]:
    try:
        data = fetch_omniglot(split="vinyals")
    except OSError as error:
        print(f"Skipped, no Omniglot here: {error}")
        return {}
    train, test = data.subset == "train", data.subset == "test"
    tests = FewShotTasks(data.images[test], data.target[test]).sample(n_tasks, random_state=0)
    learners = {
        "ProtoNetClassifier": (
            ProtoNetClassifier(backbone="conv4", meta_batch_size=1, max_meta_iter=proto_iter),
            FewShotTasks(data.images[train], data.target[train], n_way=20, n_query=5),
        ),
        "ProtoMAMLClassifier": (
            ProtoMAMLClassifier(backbone="conv4", meta_batch_size=2, max_meta_iter=maml_iter),
            FewShotTasks(data.images[train], data.target[train], n_way=5, n_query=5),
        ),
    }
    accuracies = {}
    for name, (estimator, tasks) in learners.items():
        estimator.set_params(random_state=0).meta_fit(tasks)
        accuracies[name] = float(estimator.score_tasks(tests).mean())
        print(f"{name:20} {100 * accuracies[name]:.1f} % on five unseen characters, one row each")
    if picture:
        draw(tests[0], learners["ProtoNetClassifier"][0], picture)
    return accuracies


# %%
# Draw the support of a task, and a few of its queries under their predicted character.


def draw(task, clf, picture: str) -> None:
    import matplotlib.pyplot as plt

    predicted = clf.fit(task.X_support, task.y_support).predict(task.X_query)
    fig, axes = plt.subplots(4, len(task.y_support), figsize=(5, 4.2), layout="constrained")
    for column, label in zip(axes.T, clf.classes_, strict=True):
        queries = np.flatnonzero(predicted == label)[: len(column) - 1]
        images = [task.X_support[task.y_support == label][0], *task.X_query[queries]]
        right = [True, *(task.y_query[queries] == label)]
        for ax, image, is_right in zip(column, images, right, strict=False):
            ax.imshow(image, cmap="gray_r")
            if not is_right:
                ax.set_title("wrong", fontsize=8, pad=2, color="#d55e00")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    axes[0, 0].set_ylabel("labelled")
    axes[2, 0].set_ylabel("recognised as this")
    fig.savefig(picture, dpi=120)


# %%
# Run the script.

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proto-iter", type=int, default=400)
    parser.add_argument("--maml-iter", type=int, default=100)
    parser.add_argument("--picture", default=None, help="file for a picture of a task")
    main(**vars(parser.parse_args()))
