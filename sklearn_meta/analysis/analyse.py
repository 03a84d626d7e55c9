"""Should I meta-learn? One call that looks at the tasks and answers in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state

from sklearn_meta.analysis.distances import METRICS, NEED_ESTIMATOR, task_distances
from sklearn_meta.analysis.groups import as_lengths, find_groups, no_groups, told_apart
from sklearn_meta.analysis.quick_arms import QuickArm, compare_arms, quick_arms
from sklearn_meta.analysis.report import TaskReport
from sklearn_meta.analysis.report_advice import advice_for
from sklearn_meta.analysis.size_verdict import SizeVerdict, judge
from sklearn_meta.analysis.support_grid import fewer_rows, long_enough, shared_rows
from sklearn_meta.analysis.table import asked_kind
from sklearn_meta.analysis.views import seen_by, views_of
from sklearn_meta.exceptions import TaskError
from sklearn_meta.model_selection import TaskComparison
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.ranges import check_int
from sklearn_meta.tasks.validate import target_kind

__all__ = ["analyse"]

FEWEST, MOST_ROWS, N_FOLDS = 4, 500, 5  # tasks; rows of a task; folds of tasks


def analyse(
    tasks: Any,
    estimator: Any = None,
    *,
    target_type: str | None = None,
    metric: Any = "transfer",
    max_tasks: int = 200,
    random_state: Any = None,
    verbose: int = 0,
) -> TaskReport:
    """Look at a set of tasks, and say in plain words whether meta-learning should pay.

    Closed forms of three kinds learn from a few rows and predict the others of tasks held out, in
    five folds of tasks: one model for all tasks; each task alone; and learning across tasks (linear
    models of the features, and of Gaussian bumps, whose coefficients share a prior; class means in
    shared axes). Meta-learning pays at a size of support where the best of the last kind is ahead
    of the best of the others, by the 95 % interval over tasks and by enough to matter.

    Parameters
    ----------
    tasks : sequence of tasks
        At least 4, as :func:`~sklearn_meta.tasks.as_tasks` takes them, of any sizes. Of a task
        with a fixed support, smaller supports are drawn from it, and its query is predicted.
    estimator : meta-learner, default=None
        Takes part, meta-trained in each fold, beside the closed forms. None: these alone, in
        seconds.
    target_type : {"class", "real"}, default=None
        None: what `estimator` is for, else what `y` looks like.
    metric : str or callable, default="transfer"
        Of the distances in which groups are looked for, as
        :func:`~sklearn_meta.analysis.task_distances` takes it; one that needs no estimator.
    max_tasks : int, default=200
        Of more tasks, so many are drawn to look at.
    random_state : int, RandomState instance or None, default=None
        Of supports, folds, features and whatever else is drawn.
    verbose : int, default=0
        1: a line for each arm and fold finished, with the time left.

    Returns
    -------
    TaskReport
        `print` it, show it in a notebook, or write it by `to_html(path)`.

    Raises
    ------
    TaskError
        If tasks cannot be used, are fewer than 4, or have too few rows to learn from some and
        predict the others.
    TypeError
        If the estimator has no `meta_fit`, or is for targets of the other kind.
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    What closed forms cannot learn across tasks, a network perhaps can: "no" without an estimator
    means that there is no quick gain. Yes is yes: it was measured on tasks held out. The best of
    a few arms on the same tasks is a little optimistic; :func:`~sklearn_meta.model_selection.\
compare` is for figures.

    Examples
    --------
    >>> from sklearn_meta.analysis import analyse
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> report = analyse(make_sinusoid_tasks(40, 12, random_state=0), random_state=0)
    >>> report.pays, report.outliers
    (True, [])
    >>> print(report.sections()["Does meta-learning pay?"][0])
    Yes: with 2 to 5 rows meta-learning pays.
    """
    check_int(max_tasks, "max_tasks", "analyse", FEWEST)
    if not callable(metric) and metric not in (names := sorted({*METRICS} - NEED_ESTIMATOR)):
        raise ValueError(
            f"The 'metric' parameter of analyse must be one of {names} or callable. "
            f"Got {metric!r} instead."
        )
    kind, known = _checked(tasks, estimator, target_type)
    classify, rng, notes = kind == "class", check_random_state(random_state), []
    if len(known) > max_tasks:
        notes.append(f"{max_tasks} of the {len(known)} tasks were drawn to look at.")
        known = [known[i] for i in np.sort(rng.permutation(len(known))[:max_tasks])]
    if any(len(t) > MOST_ROWS for t in known):
        notes.append(f"Of longer tasks, {MOST_ROWS} rows beside a fixed support were looked at.")
    short = [fewer_rows(t, MOST_ROWS, rng) for t in known]
    used, sizes = long_enough(short, classify, FEWEST)
    if len(used) < len(short):
        notes.append(
            f"Tasks with too few rows for a support of {sizes[-1]} took no part in the comparison: "
            f"{len(short) - len(used)}."
        )
    if (share := shared_rows(used)) > 0:
        notes.append(
            f"{100 * share:.2g} % of the rows are in more than one task, with the same target: "
            "what learns from other tasks has seen them, and looks better than it is."
        )
    labels = _common_labels(used) if classify else None
    views, seed = views_of(used, rng), int(rng.randint(2**31 - 1))
    n_outputs = None if classify else int(np.prod(used[0].y.shape[1:]))
    arms, own = quick_arms(labels, n_outputs=n_outputs, seed=seed), None
    seen: dict[str, Sequence[Task]] = {name: seen_by(view, used) for name, view in views.items()}
    if estimator is not None:
        own, seen["given"] = type(estimator).__name__, used
        arms[own] = QuickArm("meta", "given", estimator)
    comparison = compare_arms(
        arms,
        seen,
        cv=KFold(min(N_FOLDS, len(used)), shuffle=True, random_state=seed),
        support_sizes=sizes,
        seeds=[seed],
        scoring="accuracy" if classify else "neg_mean_squared_error",
        verbose=verbose,
    )
    groups_of_arms = {name: arm.group for name, arm in arms.items()}
    verdicts = tuple(judge(comparison, groups_of_arms, size) for size in sizes)
    local = labels is not None and not _pool_learns(comparison, verdicts)
    shown, params = short, None if callable(metric) else {"target_type": kind}
    if metric == "transfer":
        straight = any(word in verdicts[-1].best["meta"] for word in ("axes", "lines"))
        shown = seen_by(views["axes" if straight else "curves"], short)
        params = {"target_type": kind, "labels": "match" if local else "auto"}
    distances = task_distances(shown, metric=metric, random_state=rng, metric_params=params)
    lengths = as_lengths(distances, metric)
    groups = find_groups(lengths, rng) if told_apart(distances) else no_groups(len(lengths))
    return TaskReport(
        names=tuple(f"task {i}" if t.name is None else t.name for i, t in enumerate(known)),
        kind=kind,
        n_rows=np.array([len(t) for t in known]),
        n_features=int(np.prod(known[0].X.shape[1:])),
        labels=labels,
        local_labels=local,
        comparison=comparison,
        groups_of_arms=groups_of_arms,
        verdicts=verdicts,
        variance=1.0 if classify else _variance(used),
        distances=distances,
        metric=metric if isinstance(metric, str) else getattr(metric, "__name__", "distance"),
        groups=groups,
        advice=advice_for(verdicts, kind, own, groups),
        notes=(*notes, *_rests_on(len(used), own)),
    )


def _checked(tasks: Any, estimator: Any, target_type: str | None) -> tuple[str, Sequence[Task]]:
    """Give the kind of target, and tasks of that kind."""
    if estimator is not None and (
        isinstance(estimator, type) or not hasattr(estimator, "meta_fit")
    ):
        raise TypeError(f"analyse takes a meta-learner with meta_fit; got {estimator!r}.")
    asked = asked_kind(estimator, target_type)
    if estimator is not None and asked_kind(estimator, None) != asked:
        raise TypeError(f"{estimator!r} is not for targets of target_type={target_type!r}.")
    found = as_tasks(tasks, target_type=asked)
    if len(found) < FEWEST:
        raise TaskError(f"analyse needs at least {FEWEST} tasks; got {len(found)}.")
    kind = asked or target_kind(found)
    return kind, as_tasks(found, target_type=kind)


def _common_labels(tasks: Sequence[Task]) -> tuple[Any, ...] | None:
    first, *others = [np.unique(t.y) for t in tasks]
    return tuple(first.tolist()) if all(np.array_equal(first, y) for y in others) else None


def _pool_learns(comparison: TaskComparison, verdicts: Sequence[SizeVerdict]) -> bool:
    """Whether one model for all tasks is ahead of guessing their labels."""
    scores = [comparison.interval(found.best["pool"], found.size) for found in verdicts]
    return any(score.low > (comparison.chance or 0.0) for score in scores)


def _variance(tasks: Sequence[Task]) -> float:
    """Mean over outputs, over the rows of all tasks; 1 if they are constant."""
    y = np.concatenate([np.reshape(t.y, (len(t), -1)) for t in tasks]).astype(np.float64)
    return float(np.var(y, axis=0).mean()) or 1.0


def _rests_on(n_tasks: int, own: str | None) -> list[str]:
    """Say what a reader must know of the verdict."""
    arms = "closed forms" if own is None else f"{own} and closed forms"
    said = [
        f"{arms[0].upper()}{arms[1:]} of scikit-learn's and of this package, on {n_tasks} tasks, "
        "each held out once; the best of each kind is a little optimistic."
    ]
    if n_tasks < 20:
        said.append(f"With {n_tasks} tasks, intervals are wide: a yes needs more.")
    if own is None:
        said.append(
            "A network may learn across tasks what closed forms cannot: to see, give "
            "analyse(tasks, estimator), or use compare."
        )
    return said
