"""Should I meta-learn? One call that looks at the tasks and answers in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state

from sklearn_meta.analysis.distances import METRICS, NEED_ESTIMATOR, task_distances
from sklearn_meta.analysis.groups import as_lengths, find_groups, no_groups, told_apart
from sklearn_meta.analysis.quick_arms import QuickArm, compare_arms, quick_arms
from sklearn_meta.analysis.report import TaskReport
from sklearn_meta.analysis.report_advice import advice_for
from sklearn_meta.analysis.report_notes import caveats_for, notes_for
from sklearn_meta.analysis.size_verdict import SizeVerdict, judge
from sklearn_meta.analysis.support_grid import at_hand, sizes_by_tasks
from sklearn_meta.analysis.table import asked_kind
from sklearn_meta.analysis.views import as_numbers, numbered, seen_by, take_rows, views_of
from sklearn_meta.model_selection import TaskComparison
from sklearn_meta.model_selection.comparison import Record
from sklearn_meta.model_selection.given import learner_of
from sklearn_meta.parameters import check_parameter, integer
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import target_kind

__all__ = ["analyse"]

FEWEST, N_FOLDS = 4, 5  # tasks, and folds of them


def analyse(
    tasks: Any,
    estimator: Any = None,
    *,
    y: Any = None,
    groups: Any = None,
    target_type: str | None = None,
    metric: Any = "transfer",
    max_tasks: int = 200,
    random_state: Any = None,
    verbose: int = 0,
) -> TaskReport:
    """Look at a set of tasks, and say in plain words whether meta-learning should pay.

    Quick learners of three kinds learn from a few rows and predict the others of tasks held out,
    in five folds of tasks: one model for all tasks; each task alone; and learning across tasks
    (linear models of the features, and of Gaussian bumps, whose coefficients share a prior; class
    means in shared axes). Meta-learning pays at a size of support where the best of the last kind
    is ahead of the best of the others, by the 95 % interval over tasks and by enough to matter.
    Tasks that are unlike all others do not count in this: all is done once more without them. A
    size of support is tried where nine tasks in ten, or 20 of them, have the rows for it.

    Parameters
    ----------
    tasks : sequence of tasks, or table of shape (n_rows, ...)
        At least 4, as :func:`~sklearn_meta.tasks.as_tasks` takes them, of any sizes. Of a task
        with a fixed support, smaller supports are drawn from it, and its query is predicted.
    estimator : meta-learner or MetaPipeline, default=None
        Takes part, meta-trained in each fold, beside the quick learners. None: these alone, in
        seconds. With a pipeline, rows may hold whatever its transformers take; where these are not
        numbers, the quick learners see what the transformers, fitted once to all rows without
        their labels, make of them.
    y, groups : array-like of shape (n_rows,), str or None, default=None
        Targets and tasks of the rows of a table, or the names of these columns.
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
        1: a line for each arm and fold finished; those that see the inputs alike take turns.

    Returns
    -------
    TaskReport
        `print` it, show it in a notebook, or write it by `to_html(path)`.

    Raises
    ------
    TaskError
        If tasks cannot be used, or fewer than 4 have the rows to learn from some and predict the
        others.
    TypeError
        If the estimator has no `meta_fit`, or is for targets of the other kind.
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    What quick learners cannot learn across tasks, a network perhaps can: "no" without an estimator
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
    check_parameter("max_tasks", max_tasks, integer(FEWEST), "analyse")
    if not callable(metric) and metric not in (known_ones := sorted({*METRICS} - NEED_ESTIMATOR)):
        raise ValueError(
            f"The 'metric' parameter of analyse must be one of {known_ones} or callable. "
            f"Got {metric!r} instead."
        )
    kind = _asked(estimator, target_type)
    given_tasks, raw = as_numbers(tasks, y, groups, estimator, kind)
    kind = kind or target_kind(given_tasks)
    classify, rng = kind == "class", check_random_state(random_state)
    kept, numbers, notes = at_hand(numbered(given_tasks), classify, FEWEST, max_tasks, rng)
    known = [take_rows(given_tasks[i], rows) for i, rows in zip(numbers, kept, strict=True)]
    if raw is not None:
        notes.append("Quick learners see the rows as the transformers of the pipeline make them.")
    by_size = sizes_by_tasks(known, classify)
    places = by_size[0].places  # the tasks of larger supports are among them
    used = [known[i] for i in places]
    if len(used) < len(known):
        notes.append(
            f"Tasks with too few rows for a support of {by_size[0].sizes[-1]} took no part in the "
            f"comparison: {len(known) - len(used)}."
        )
    notes += [
        f"{len(group.places)} of these tasks have the rows for a support of {group.sizes[0]} or "
        "more, and only they were compared there."
        for group in by_size[1:]
    ]
    labels = _common_labels(used) if classify else None
    views, seed = views_of(used, rng), int(rng.randint(2**31 - 1))
    n_outputs = None if classify else int(np.prod(used[0].y.shape[1:]))
    arms, given = quick_arms(labels, n_outputs=n_outputs, seed=seed), None
    seen: dict[str, Sequence[Task]] = {name: seen_by(view, used) for name, view in views.items()}
    if estimator is not None:
        given = type(learner_of(estimator)).__name__
        seen["given"] = used
        if raw is not None:
            seen["given"] = [take_rows(raw[numbers[i]], kept[i]) for i in places]
        arms[given] = QuickArm("meta", "given", estimator)
    scoring = "balanced_accuracy" if classify else "neg_mean_squared_error"

    def compared(kept: Sequence[int]) -> TaskComparison:
        parts: list[TaskComparison] = []
        for group in by_size:
            own = [k for k in kept if places[k] in set(group.places)]
            if len(own) < FEWEST and parts:
                continue
            part = compare_arms(
                arms,
                {view: [shown[k] for k in own] for view, shown in seen.items()},
                cv=KFold(min(N_FOLDS, len(own)), shuffle=True, random_state=seed),
                support_sizes=group.sizes,
                seeds=[seed],
                scoring=scoring,
                verbose=verbose,
            )
            parts.append(replace(part, records=_numbered(part.records, own)))
        return replace(
            parts[0],
            records=tuple(record for part in parts for record in part.records),
            sizes=tuple(size for part in parts for size in part.sizes),
        )

    comparison = compared(range(len(used)))
    groups_of_arms = {name: arm.group for name, arm in arms.items()}
    at_most = judge(comparison, groups_of_arms, by_size[-1].sizes[-1])
    local = labels is not None and not _pool_learns(comparison, at_most)
    if metric == "transfer":
        straight = any(word in at_most.best["meta"] for word in ("axes", "lines"))
        shown = seen_by(views["axes" if straight else "curves"], known)
        params = {"target_type": kind, "labels": "match" if local else "auto"}
        distances = task_distances(shown, metric=metric, random_state=rng, metric_params=params)
    else:
        distances = _other_distances(known, metric, kind, rng)
    lengths = as_lengths(distances, metric)
    found = find_groups(lengths, rng) if told_apart(distances) else no_groups(len(lengths))
    usual = [k for k, i in enumerate(places) if found.labels[i] >= 0]
    if len(usual) < len(used):
        comparison = compared(usual)
    variance = 1.0
    if not classify:
        variance = _variance([used[k] for k in usual])
        distances *= _variance(known) / variance if metric == "transfer" else 1.0
    report = TaskReport(
        names=tuple(
            f"task {i}" if t.name is None else str(t.name)
            for t, i in zip(known, numbers, strict=True)
        ),
        kind=kind,
        n_rows=np.array([len(t) for t in known]),
        n_features=int(np.prod(known[0].X.shape[1:])),
        labels=labels,
        local_labels=local,
        comparison=comparison,
        given=given,
        groups_of_arms=groups_of_arms,
        verdicts=tuple(
            judge(comparison, groups_of_arms, size) for size in comparison.sizes if size is not None
        ),
        variance=variance,
        distances=distances,
        metric=metric if isinstance(metric, str) else getattr(metric, "__name__", "own metric"),
        groups=found,
        advice="",
        caveats=tuple(caveats_for([used[k] for k in usual], int(np.sum(found.labels < 0)))),
        notes=(*notes, *notes_for(len(usual), given)),
    )
    return replace(report, advice=advice_for(report))


def _asked(estimator: Any, target_type: str | None) -> str | None:
    """Give the kind of target that the user says, if he does."""
    if estimator is None:
        return asked_kind(None, target_type)
    if isinstance(estimator, type) or not hasattr(estimator, "meta_fit"):
        raise TypeError(f"analyse takes a meta-learner with meta_fit; got {estimator!r}.")
    asked = asked_kind(estimator, target_type)
    if asked_kind(estimator, None) != asked:
        raise TypeError(f"{estimator!r} is not for targets of target_type={target_type!r}.")
    return asked


def _other_distances(
    tasks: Sequence[Task], metric: Any, kind: str, rng: np.random.RandomState
) -> NDArray[np.float64]:
    params = None if callable(metric) else {"target_type": kind}
    found = task_distances(tasks, metric=metric, random_state=rng, metric_params=params)
    if not np.isfinite(found).all():
        raise ValueError(f"metric={metric!r} gave distances that are not finite.")
    return found


def _common_labels(tasks: Sequence[Task]) -> tuple[Any, ...] | None:
    first, *others = [np.unique(t.y) for t in tasks]
    return tuple(first.tolist()) if all(np.array_equal(first, y) for y in others) else None


def _numbered(records: Sequence[Record], places: Sequence[int]) -> tuple[Record, ...]:
    """Renumber the tasks of some sizes as all sizes number them."""
    return tuple(record._replace(task=places[record.task]) for record in records)


def _pool_learns(comparison: TaskComparison, at_most: SizeVerdict) -> bool:
    """Whether one model for all tasks is ahead of guessing their labels."""
    own = comparison.interval(at_most.best["pool"], at_most.size, method="t")
    return bool(own.low > (comparison.chance or 0.0))


def _variance(tasks: Sequence[Task]) -> float:
    """Mean over outputs, over the rows of all tasks; 1 if they are constant."""
    y = np.concatenate([np.reshape(t.y, (len(t), -1)) for t in tasks]).astype(np.float64)
    return float(np.var(y, axis=0).mean()) or 1.0
