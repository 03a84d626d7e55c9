"""What is compared: the estimators given, and the baselines made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from sklearn_meta.algorithms import (
    BaselinePlusPlusClassifier,
    FineTuneClassifier,
    FineTuneRegressor,
    PooledClassifier,
    PooledRegressor,
)
from sklearn_meta.model_selection.comparison.gaussian_classes import HierarchicalClassifier
from sklearn_meta.model_selection.comparison.guess import GuessClassifier, GuessRegressor
from sklearn_meta.model_selection.comparison.random_coefficients import HierarchicalRegressor
from sklearn_meta.model_selection.given import learner_of
from sklearn_meta.outer.outer_loop import OuterLoop
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.tasks import Task

__all__ = ["BASELINES", "Arm", "baseline_arms", "given_arms"]

BASELINES = ("per-task", "pooled", "fine-tune", "hierarchical", "guess")
KINDS: dict[str, tuple[type, ...]] = {
    "pooled": (PooledClassifier, PooledRegressor),
    "fine-tune": (FineTuneClassifier, FineTuneRegressor, BaselinePlusPlusClassifier),
    "hierarchical": (HierarchicalClassifier, HierarchicalRegressor),
    "guess": (GuessClassifier, GuessRegressor),
}
MOST_FEATURES = 100  # of a regression with random coefficients: EM inverts so large a matrix a task
Folds = Sequence[tuple[Any, Any]]


@dataclass(frozen=True)
class Arm:
    """One of the things compared; `trains` says whether it learns across tasks."""

    name: str
    estimator: Any
    kind: str
    trains: bool

    @property
    def pools(self) -> bool:
        """Whether it has transformers that are fitted once, to the rows of all training tasks."""
        est = self.estimator
        return isinstance(est, MetaPipeline) and est.transform_scope == "pooled"


def given_arms(estimators: Any) -> list[Arm]:
    """Name the estimators given, and find out what kind each is.

    Parameters
    ----------
    estimators : estimator, sequence of them, or dict by name
        As `compare` takes them.

    Returns
    -------
    arms : list of Arm
        In the order given.

    Raises
    ------
    TypeError
        If something is no estimator.
    ValueError
        If there is none, or classifiers and regressors are mixed.
    """
    if isinstance(estimators, Mapping):
        named = dict(estimators)
    else:
        listed = [estimators] if hasattr(estimators, "get_params") else list(estimators)
        named = {}
        for est in listed:
            name = type(est.steps[-1][1] if isinstance(est, Pipeline) else est).__name__
            n = 1 + sum(other.partition(" ")[0] == name for other in named)
            named[name if n == 1 else f"{name} {n}"] = est
    if not named:
        raise ValueError("estimators is empty; compare needs at least one.")
    for name, est in named.items():
        if not (hasattr(est, "get_params") and hasattr(est, "fit")) or isinstance(est, type):
            raise TypeError(f"compare needs estimators with fit and predict; {name!r} is {est!r}.")
        if not (is_classifier(est) or is_regressor(est)):
            raise TypeError(f"{name!r} is neither a classifier nor a regressor: {est!r}.")
    sides = {name: is_classifier(est) for name, est in named.items()}
    if len(set(sides.values())) > 1:
        raise ValueError(
            "Classifiers and regressors cannot be compared with one another; got the classifiers "
            f"{[n for n, c in sides.items() if c]} and the regressors "
            f"{[n for n, c in sides.items() if not c]}."
        )
    return [Arm(n, est, _kind(est), hasattr(est, "meta_fit")) for n, est in named.items()]


def _kind(est: Any) -> str:
    if not hasattr(est, "meta_fit"):
        return "per-task"
    learner = learner_of(est)
    return next((kind for kind, classes in KINDS.items() if isinstance(learner, classes)), "meta")


def baseline_arms(
    baselines: Any, given: Sequence[Arm], tasks: Sequence[Task], folds: Folds, scoring: Any
) -> tuple[list[Arm], list[str]]:
    """Make the baselines asked for.

    Parameters
    ----------
    baselines : "auto" or sequence of str
        As `compare` takes it.
    given : sequence of Arm
        From :func:`given_arms`; the network is that of the first with a `meta_fit`.
    tasks : sequence of Task
        All of them.
    folds : sequence of (train, test)
        Positions of tasks.
    scoring : str, callable or None
        What a guess is to be good for.

    Returns
    -------
    arms : list of Arm
        Those that can be had.
    notes : list of str
        Why others cannot.

    Raises
    ------
    ValueError
        If a name is unknown, or taken by an estimator given.
    """
    named = np.iterable(baselines) and not isinstance(baselines, str)
    asked = BASELINES if not named else tuple(baselines)
    if (not named and baselines != "auto") or set(asked) - set(BASELINES):
        raise ValueError(
            f"The 'baselines' parameter of compare must be 'auto' or some of {BASELINES}. "
            f"Got {baselines!r} instead."
        )
    if taken := [arm.name for arm in given if arm.name in asked]:
        raise ValueError(f"{taken[0]!r} names both a baseline and an estimator given.")
    source = next(
        (a.estimator for a in given if isinstance(learner_of(a.estimator), OuterLoop)), None
    )
    classify = is_classifier(given[0].estimator)
    guess = GuessClassifier if classify else GuessRegressor
    makers = {
        "per-task": lambda: source,
        "pooled": lambda: _like(source, PooledClassifier if classify else PooledRegressor),
        "fine-tune": lambda: _like(source, FineTuneClassifier if classify else FineTuneRegressor),
        "hierarchical": lambda: _in_place(
            source, HierarchicalClassifier() if classify else HierarchicalRegressor()
        ),
        "guess": lambda: _in_place(source, guess(scoring=scoring)),
    }
    arms, notes = [], []
    for name in asked:
        if reason := _unfit(name, source, tasks, folds, classify):
            notes.append(f"The baseline {name!r} is left out: {reason}.")
        else:
            arms.append(Arm(name, makers[name](), name, name != "per-task"))
    return arms, notes


def _unfit(name: str, source: Any, tasks: Any, folds: Folds, classify: bool) -> str | None:
    if name == "guess":
        return None
    if name == "hierarchical":
        width = int(np.prod(np.shape(tasks[0].X)[1:]))
        if isinstance(source, MetaPipeline) or classify or width <= MOST_FEATURES:
            return None
        return f"there are {width} features, and it takes up to {MOST_FEATURES}"
    if source is None:
        return "no meta-learner of this package was given, whose network it takes"
    if name == "pooled" and classify:
        for train, test in folds:
            known = {k for i in train for k in np.unique(tasks[i].y).tolist()}
            for i in test:
                if new := set(np.unique(tasks[i].y).tolist()) - known:
                    return f"task {i} has the label {min(new, key=str)!r}, new to the others"
    return None


def _like(source: Any, kind: type) -> Any:
    """Make a learner of another kind with the same network and outer loop, in the same pipeline."""
    learner = learner_of(source)
    shared = [f.name for f in fields(OuterLoop)]
    shared += [name for name in ("n_shot", "n_support") if hasattr(learner, name)]
    return _in_place(
        source, kind(**{name: clone(getattr(learner, name), safe=False) for name in shared})
    )


def _in_place(source: Any, learner: Any) -> Any:
    if not isinstance(source, MetaPipeline):
        return learner
    return clone(source).reset_meta().set_params(**{source.steps[-1][0]: learner})
