"""Draw the plots of docs/inspection.md, in about two minutes.

python docs/images/inspection.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

from sklearn_meta import ANILRegressor, MAMLRegressor, PooledRegressor
from sklearn_meta.datasets import make_sinusoid_tasks
from sklearn_meta.inspection import (
    AdaptationCurveDisplay,
    LearningHistoryDisplay,
    TaskDistanceDisplay,
    TaskMapDisplay,
    TaskScoreDisplay,
    TransferGainDisplay,
)
from sklearn_meta.model_selection import TaskEstimator

ERROR = "neg_mean_squared_error"


def main(
    folder: Path = Path(__file__).parent, max_meta_iter: int = 5000, n_test: int = 100
) -> None:
    """Meta-train on sinusoids, and draw the plots."""
    matplotlib.use("Agg")
    tasks = make_sinusoid_tasks(500 + 2 * n_test, n_rows=30, n_support=10, random_state=0)
    train, valid, test = tasks[:500], tasks[500:-n_test], tasks[-n_test:]
    settings = {
        "hidden_layer_sizes": (40, 40),
        "norm": None,
        "n_support": 10,
        "max_meta_iter": max_meta_iter,
        "random_state": 0,
    }
    maml = MAMLRegressor(inner_lr=0.02, inner_steps=1, **settings)
    anil = ANILRegressor(inner_lr=0.02, inner_steps=1, **settings).meta_fit(train)
    pooled = PooledRegressor(**settings).meta_fit(train)
    maml.meta_fit(train, validation_tasks=valid)
    of_pooled, of_maml, of_anil = (
        TaskEstimator(est, scoring=ERROR, prefit=True).fit(test).score_tasks(test)
        for est in (pooled, maml, anil)
    )
    some, by_parameters = test[:60], {"metric": "parameter", "estimator": maml}
    gains = {"values": (of_maml - of_pooled)[:60], "value_name": "gain over pooled"}
    displays = {
        "learning_history": LearningHistoryDisplay.from_estimator(maml, show_meta_lr=True),
        "adaptation_curve": AdaptationCurveDisplay.from_estimator(
            {"MAML": maml, "ANIL": anil},
            test,
            scoring=ERROR,
            baseline={"pooled": of_pooled},
        ),
        "task_scores": TaskScoreDisplay.from_estimator(maml, test, scoring=ERROR),
        "task_scores_paired": TaskScoreDisplay.from_estimator(
            {"MAML": maml, "ANIL": anil}, test, scoring=ERROR
        ),
        "transfer_gain": TransferGainDisplay.from_scores(
            of_maml, of_anil, baseline="ANIL", score_name="negative squared error"
        ),
        "task_distances": TaskDistanceDisplay.from_tasks(test[:24], **by_parameters),
        "task_map": TaskMapDisplay.from_tasks(some, **by_parameters, **gains),
    }
    for name, display in displays.items():
        display.figure_.savefig(folder / f"{name}.png", dpi=110)


if __name__ == "__main__":
    main()
