"""Grid search, pipelines and cross-validation
===========================================

Use a meta-fitted estimator in scikit-learn's grid search, pipelines and cross-validation.

.. code-block:: bash

    python examples/plot_04_grid_search_and_pipeline.py

These tools clone an estimator before they fit it. `clone` keeps what `meta_fit` learned, so that
each fit adapts the meta-fitted estimator to the rows of one task. The script compares with an
estimator that was not meta-fitted and is trained from scratch.
"""

from __future__ import annotations

import argparse
import warnings

from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_meta import ColdFitWarning, ProtoMAMLClassifier
from sklearn_meta.datasets import make_blob_tasks

# %%
# Meta-train once. The tools of scikit-learn then work on the rows of a new task.


def main(max_meta_iter: int = 300, picture: str | None = None) -> dict[str, float]:
    tasks = make_blob_tasks(n_tasks=60, n_way=3, n_rows=20, n_shot=5, random_state=0)
    clf = ProtoMAMLClassifier(max_meta_iter=max_meta_iter, random_state=0)
    clf.meta_fit(tasks[:50])
    new = tasks[50]

    search = GridSearchCV(clf, {"inner_lr": [0.01, 0.1], "inner_steps": [1, 5]}, cv=3)
    search.fit(new.X_support, new.y_support)
    print(f"best inner loop for this task: {search.best_params_}")

    identity = FunctionTransformer()  # replace it by any transformer
    pipeline = make_pipeline(identity, clf)
    scores = cross_val_score(pipeline, new.X_support, new.y_support, cv=3)
    scratch = make_pipeline(identity, ProtoMAMLClassifier(random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ColdFitWarning)  # no meta_fit on purpose
        cold = cross_val_score(scratch, new.X_support, new.y_support, cv=3)
    accuracies = {
        "grid search": float(search.score(new.X_query, new.y_query)),
        "pipeline, cross-validated": float(scores.mean()),
        "the same without meta_fit": float(cold.mean()),
    }
    for name, score in accuracies.items():
        print(f"{name:28} accuracy {score:.2f}")
    if picture:
        draw(accuracies, picture)
    return accuracies


def draw(accuracies: dict[str, float], picture: str) -> None:
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(7, 2.2), layout="constrained")
    bars = ax.barh(list(accuracies), list(accuracies.values()), color=["C0", "C0", "0.7"])
    ax.bar_label(bars, fmt="%.2f", padding=3)
    ax.set(xlabel="accuracy on one new task", xlim=(0, 1.1))
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    fig.savefig(picture, dpi=120)


# %%
# Run the script.

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", default=None, help="file for a plot of the accuracies")
    main(picture=parser.parse_args().picture)
