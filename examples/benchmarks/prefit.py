"""Measure a grid search over the inner loop whose candidates share one meta-training.

    python examples/benchmarks/prefit.py

The script meta-trains once, and then searches twelve inner loops (learning rates and numbers of
steps) with `TaskEstimator(prior, prefit=True)` on other tasks, by three-fold cross-validation. It
measures both in one run, so that the ratio to twelve meta-trainings does not depend on the
machine. Without `prefit`, the same search would meta-train 37 times: for each candidate and fold,
and once for the best candidate.
"""

from __future__ import annotations

import argparse
import time

import torch
from sklearn.model_selection import GridSearchCV

from sklearn_meta import MAMLRegressor
from sklearn_meta.datasets import make_sinusoid_tasks
from sklearn_meta.model_selection import TaskEstimator, TaskKFold

GRID = {
    "estimator__inner_lr": [0.001, 0.003, 0.01, 0.03],
    "estimator__inner_steps": [1, 5, 10],
}
N_CANDIDATES, N_FOLDS = 12, 3


def main(
    max_meta_iter: int = 1000, n_tasks: int = 30, scoring: str | None = None
) -> dict[str, float]:
    tasks = make_sinusoid_tasks(1000 + N_FOLDS * n_tasks, n_rows=40, n_support=10, random_state=0)
    reg = MAMLRegressor(max_meta_iter=max_meta_iter, random_state=0)

    begin = time.perf_counter()
    reg.meta_fit(tasks[:1000])
    training = time.perf_counter() - begin

    search = GridSearchCV(
        TaskEstimator(reg, scoring=scoring, prefit=True),
        GRID,
        cv=TaskKFold(N_FOLDS),
        error_score="raise",
    )
    begin = time.perf_counter()
    search.fit(tasks[1000:])
    searching = time.perf_counter() - begin

    share = 100 * searching / (N_CANDIDATES * training)
    threads, tested = torch.get_num_threads(), f"{N_FOLDS} folds of {n_tasks} tasks"
    print(f"| {max_meta_iter} iterations, {tested}, scoring={scoring}, {threads} threads | s |")
    print("| --- | --- |")
    print(f"| one meta-training | {training:.2f} |")
    print(f"| {N_CANDIDATES} candidates with prefit | {searching:.2f} |")
    print(f"| share of {N_CANDIDATES} meta-trainings | {share:.2f} % |")
    print(f"best: {search.best_params_}, score {search.best_score_:.3f}")
    return {"training": training, "searching": searching, "share": share}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-meta-iter", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=30, help="held-out tasks of each fold")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads")
    parser.add_argument("--scoring", default=None, help="name of a scorer of scikit-learn")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)  # more threads are slower on small tensors
    main(args.max_meta_iter, args.tasks, args.scoring)
