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

from sklearn_meta import FewShotTasks, ProtoMAMLClassifier, ProtoNetClassifier
from sklearn_meta.datasets import fetch_omniglot


def main(proto_iter: int = 400, maml_iter: int = 100, n_tasks: int = 100) -> dict[str, float]:
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
    return accuracies


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proto-iter", type=int, default=400)
    parser.add_argument("--maml-iter", type=int, default=100)
    args = parser.parse_args()
    main(args.proto_iter, args.maml_iter)
