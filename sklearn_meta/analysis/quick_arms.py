"""What a report tries on tasks: closed forms that pool, learn alone, or learn across tasks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier

from sklearn_meta.analysis.pooled import LabelCoefficients, Pooled
from sklearn_meta.model_selection import TaskComparison, compare
from sklearn_meta.model_selection.comparison import HierarchicalClassifier, HierarchicalRegressor
from sklearn_meta.tasks import Task

__all__ = ["GROUPS", "QuickArm", "compare_arms", "quick_arms"]

GROUPS = {
    "guess": "guessing",
    "pool": "one model for all tasks",
    "alone": "each task learned alone",
    "meta": "learning across tasks",
}
KINDS = {"guess": "pooled", "pool": "pooled", "alone": "per-task", "meta": "meta"}
ALPHAS = tuple(np.logspace(-4, 3, 8).tolist())
MOST_LABELS = 10  # each is an output of a regression with random coefficients
EM: dict[str, Any] = {"max_iter": 100, "tol": 1e-3}  # a verdict needs no more digits


class QuickArm(NamedTuple):
    """An estimator, what kind of learning it stands for, and what it sees of the inputs."""

    group: str
    view: str
    estimator: Any


def quick_arms(
    labels: Sequence[Any] | None, *, n_outputs: int | None, seed: int
) -> dict[str, QuickArm]:
    """Make the arms for a set of tasks.

    Parameters
    ----------
    labels : sequence or None
        Those that all tasks have; only where there are some, arms pool classes.
    n_outputs : int or None
        Targets a row; None: labels.
    seed : int
        Of the trees.

    Returns
    -------
    dict of str to QuickArm
        By the name that a person reads.
    """
    if n_outputs is not None:
        trees = HistGradientBoostingRegressor(random_state=seed)
        trees = trees if n_outputs == 1 else MultiOutputRegressor(trees)
        prior = HierarchicalRegressor(**EM)
        return {
            "the mean of all tasks": QuickArm("guess", "scaled", Pooled(DummyRegressor())),
            "one linear model": QuickArm("pool", "scaled", Pooled(RidgeCV(ALPHAS))),
            "one set of boosted trees": QuickArm("pool", "axes", Pooled(trees)),
            "a line for each task": QuickArm("alone", "scaled", RidgeCV(ALPHAS)),
            "a curve for each task": QuickArm("alone", "curves", RidgeCV(ALPHAS)),
            "lines toward a shared mean": QuickArm("meta", "axes", prior),
            "curves toward a shared mean": QuickArm("meta", "curves", prior),
        }
    logistic, means = LogisticRegression(), HierarchicalClassifier()
    arms = {
        "logistic regression of each task": QuickArm("alone", "scaled", logistic),
        "the nearest row of each task": QuickArm("alone", "scaled", KNeighborsClassifier(1)),
        "class means in shared axes": QuickArm("meta", "axes", means),
        "class means in shared curves": QuickArm("meta", "curves", means),
    }
    if labels is None:
        return arms
    trees = HistGradientBoostingClassifier(class_weight="balanced", random_state=seed)
    balanced = LogisticRegression(class_weight="balanced")
    arms["one logistic regression"] = QuickArm("pool", "scaled", Pooled(balanced))
    arms["one set of boosted trees"] = QuickArm("pool", "axes", Pooled(trees))
    if len(labels) <= MOST_LABELS:
        prior = LabelCoefficients(**EM)
        arms["lines toward a shared mean"] = QuickArm("meta", "axes", prior)
        arms["curves toward a shared mean"] = QuickArm("meta", "curves", prior)
    return arms


def compare_arms(
    arms: Mapping[str, QuickArm], seen: Mapping[str, Sequence[Task]], **how: Any
) -> TaskComparison:
    """Compare arms, each on the tasks as it sees them; they get the same rows all the same.

    Parameters
    ----------
    arms : dict of str to QuickArm
        By name.
    seen : dict of str to sequence of Task
        The tasks, by view.
    **how : dict
        Of :func:`~sklearn_meta.model_selection.compare`.

    Returns
    -------
    TaskComparison
        Of all arms, under the kinds that `compare` has; chance is that of balanced accuracy.
    """
    found = []
    with warnings.catch_warnings():
        # a query that lacks a class is judged by the other classes
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
        for view in dict.fromkeys(arm.view for arm in arms.values()):
            own = {name: arm.estimator for name, arm in arms.items() if arm.view == view}
            found.append(compare(own, seen[view], baselines=(), **how))
    kinds = {name: KINDS[arm.group] for name, arm in arms.items()}
    records = tuple(record for part in found for record in part.records)
    tasks = next(iter(seen.values()))
    chance = float(np.mean([1 / len(np.unique(t.y)) for t in tasks]))
    is_error = found[0].metric.startswith("neg_")
    return replace(found[0], records=records, kinds=kinds, chance=None if is_error else chance)
