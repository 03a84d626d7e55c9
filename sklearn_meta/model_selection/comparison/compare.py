"""The honest comparison of meta-learners with the simple arms, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv

from sklearn_meta.exceptions import TaskError
from sklearn_meta.model_selection.comparison.arms import (
    Arm,
    baseline_arms,
    given_arms,
)
from sklearn_meta.model_selection.comparison.cells import Cell, warn_of_failures
from sklearn_meta.model_selection.comparison.draws import check_sizes, draw_rows
from sklearn_meta.model_selection.comparison.metric import metric_of
from sklearn_meta.model_selection.comparison.result import Record, TaskComparison
from sklearn_meta.model_selection.comparison.run import run_all
from sklearn_meta.model_selection.given import support_range
from sklearn_meta.outer.failures import check_error_score
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.tasks import Task, TaskDistribution, as_tasks
from sklearn_meta.tasks.convert import collect_tasks

__all__ = ["compare"]

Folds = list[tuple[list[int], list[int]]]


def compare(
    estimators: Any,
    tasks: Any,
    y: Any = None,
    groups: Any = None,
    *,
    cv: Any = 5,
    support_sizes: Any = None,
    seeds: Any = 3,
    baselines: Any = "auto",
    scoring: Any = None,
    error_score: Any = np.nan,
    cache_dir: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> TaskComparison:
    """Compare meta-learners with the simple arms on tasks held out, by the same rows for everyone.

    An estimator with `meta_fit` is meta-trained on the training tasks of each fold, from scratch,
    once for all support sizes. Any other is fitted to the support of each task held out, alone. All
    are judged by the query of that task: the same rows for every arm and size, with small supports
    part of the larger ones, so that all differences are paired. Nobody sees query labels. The
    verdict is about algorithms: whether they would differ on new tasks, and trained again.

    Parameters
    ----------
    estimators : estimator, sequence of them, or dict by name
        Meta-learners, pipelines with one, and scikit-learn's estimators, as many as you like; all
        classifiers or all regressors. Their `random_state` is set by the seed.
    tasks : sequence of tasks, or table of shape (n_rows, ...)
        As `meta_fit` takes them. Of a task with a fixed support, smaller supports are drawn from
        it, and the query stays.
    y, groups : array-like of shape (n_rows,), str or None, default=None
        Targets and tasks of the rows of a table, or the names of these columns.
    cv : int, splitter or iterable of (train, test), default=5
        Folds of tasks: an int takes them in the order in which they come. Positions are of tasks.
    support_sizes : int, sequence of int or None, default=None
        Rows of each class (rows in all of a regression) to learn a task from. None: as the tasks
        fix it, else the fewest that the first meta-learner is trained for.
    seeds : int or sequence of int, default=3
        How many, or which: of the rows drawn and of the estimators. Everything is trained again for
        each seed and fold, from weights of its own: its `random_state` is
        ``np.random.SeedSequence([seed, fold]).generate_state(1)[0]``. With one seed, intervals and
        verdict are of the models trained here, not of the algorithms.
    baselines : "auto" or sequence of str, default="auto"
        Ready-made arms. With the network and the outer loop of the first meta-learner: "per-task",
        trained from scratch on each support; "pooled", one for all tasks; "fine-tune", that
        one trained on. And "hierarchical": linear regressions with random coefficients
        (:class:`~sklearn_meta.model_selection.comparison.HierarchicalRegressor`), Gaussian classes
        with random means. "guess" looks at no input: base rates of the classes, a mean (or median)
        of the targets. "auto" takes all that there can be; `notes` says which cannot.
    scoring : str, callable or None, default=None
        None: accuracy, or R^2 of regressors. A name of scikit-learn's, or a callable
        ``(estimator, X, y) -> float``. R^2 on few rows has long tails: there, rather
        "neg_mean_squared_error".
    error_score : "raise" or float, default=np.nan
        What a task scores on which a fit or a score of one arm fails; NaN leaves it out there. A
        warning names arm and task. "raise" makes it an error.
    cache_dir : str, Path or None, default=None
        A folder in which each arm, fold and seed that is finished becomes a file. The same call
        later reads them, and trains only what is missing or has changed.
    n_jobs : int or None, default=None
        Arms, folds and seeds at once, by joblib.
    verbose : int, default=0
        1: a line for each arm, fold and seed finished, with the time left.

    Returns
    -------
    TaskComparison
        With every score, a table, a plot, and a verdict.

    Raises
    ------
    TaskError
        If a task cannot be used, or has too few rows; with ``error_score="raise"`` also if an arm
        fails on it. The message names it.
    ValueError
        If an argument cannot be used, or a task is in the training and the test part of a fold.

    Notes
    -----
    The baselines take the settings of the outer loop as they are; where these suit the meta-learner
    alone, give a tuned one of your own. Intervals are over tasks and trainings
    (:func:`~sklearn_meta.metrics.mean_interval`); in the verdict their levels are raised so that
    its claims about the best of several meta-learners, at all sizes, hold together at 95 %. What
    another set of training tasks would change is not in them.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn_meta import MAMLRegressor
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> from sklearn_meta.model_selection import compare
    >>> tasks = make_linear_tasks(30, noise=0.1, random_state=0).tasks
    >>> maml = MAMLRegressor(hidden_layer_sizes=8, max_meta_iter=20)
    >>> found = compare([maml, LinearRegression()], tasks, cv=3, seeds=1, support_sizes=10,
    ...                 baselines=["pooled"])
    >>> print(found.verdict)
    Meta-learning does not pay, for the models trained here: with 10 rows MAMLRegressor loses to
    the best of 2 simple arms (per-task LinearRegression) by ... of R^2 (95 %, 30 tasks); it hurts
    on 100 % of the tasks, and on 100 % by more than 0.1.
    The arms were trained too few times on the same tasks to see how much training varies: ...
    """
    given = given_arms(estimators)
    classify = is_classifier(given[0].estimator)
    metric = metric_of(scoring, classify)
    check_error_score(error_score, "compare")
    checked = _as_raw(given, tasks, y, groups, classify)
    folds = _folds(cv, len(checked))
    made, notes = baseline_arms(baselines, given, checked, folds, scoring)
    fewest = _fewest(given)
    sizes = check_sizes(support_sizes, checked, fewest, classify)
    least = 2 if metric.name == "r2" else 1
    how: dict[str, Any] = {"classify": classify, "least_query": least}
    draws = {s: draw_rows(checked, sizes, fewest, s, **how) for s in _seeds(seeds)}
    cells = [
        Cell(
            arm=arm,
            seed=seed,
            fold=fold,
            train=[checked[i] for i in train],
            held_out=[checked[i] for i in test],
            draws=[draw[i] for i in test],
            trained_on=train,
            positions=test,
            sizes=sizes,
            scoring=scoring,
            classify=classify,
            error_score=error_score,
        )
        for seed, draw in draws.items()
        for fold, (train, test) in enumerate(folds)
        for arm in (*given, *made)
    ]
    results = run_all(cells, cache_dir, n_jobs, verbose)
    warn_of_failures(
        [
            (cell.arm.name, what)
            for cell, judged in zip(cells, results, strict=True)
            for what in judged.failures
        ],
        error_score,
    )
    records = [
        Record(cell.arm.name, cell.seed, cell.fold, i, checked[i].name, size, score)
        for cell, judged in zip(cells, results, strict=True)
        for size, row in zip(sizes, judged.scores, strict=True)
        for i, score in zip(cell.positions, row, strict=True)
    ]
    return TaskComparison(
        records=tuple(records),
        kinds={arm.name: arm.kind for arm in (*given, *made)},
        baselines=tuple(arm.name for arm in made),
        sizes=sizes,
        unit="row a class" if classify else "row",
        metric=metric.name,
        chance=_chance(metric.name, cells),
        notes=(*notes, *_failures(records)),
    )


def _as_raw(given: Sequence[Arm], tasks: Any, y: Any, groups: Any, classify: bool) -> list[Task]:
    if isinstance(tasks, TaskDistribution):
        raise TaskError(f"compare holds out tasks that are there; use a sample of {tasks!r}.")
    if any(isinstance(arm.estimator, MetaPipeline) for arm in given):
        return collect_tasks(tasks, y, groups)  # its transformers know what X may hold
    return collect_tasks(as_tasks(tasks, y, groups, target_type="class" if classify else "real"))


def _folds(cv: Any, n_tasks: int) -> Folds:
    folds = []
    for fold, (train, test) in enumerate(check_cv(cv).split(list(range(n_tasks)))):
        try:
            both = [np.arange(n_tasks)[part].tolist() for part in (train, test)]
        except IndexError as error:
            raise ValueError(f"Fold {fold} of cv is not of the {n_tasks} tasks: {error}.") from None
        if shared := set(both[0]) & set(both[1]):
            raise ValueError(f"Fold {fold} of cv trains on task {min(shared)}, which it tests on.")
        if not all(both):
            raise ValueError(
                f"Fold {fold} of cv has {len(both[0])} tasks to train on and "
                f"{len(both[1])} to test on; both must be there."
            )
        folds.append((both[0], both[1]))
    if not folds:
        raise ValueError("cv has no folds; give at least one.")
    return folds


def _seeds(seeds: Any) -> list[int]:
    count = isinstance(seeds, (int, np.integer)) and not isinstance(seeds, bool)
    listed: list[Any] = list(range(seeds)) if count else list(seeds) if np.iterable(seeds) else []
    usable = all(isinstance(s, (int, np.integer)) and 0 <= s < 2**32 for s in listed)
    if not listed or not usable or len(set(listed)) < len(listed):
        raise ValueError(
            "The 'seeds' parameter of compare must be an int above 0, or different ints from 0 up "
            f"to 2**32 - 1. Got {seeds!r} instead."
        )
    return [int(seed) for seed in listed]


def _fewest(given: Sequence[Arm]) -> int | None:
    sizes = (support_range(arm.estimator) for arm in given)
    return next((size[0] for size in sizes if size is not None), None)


def _chance(metric: str, cells: Sequence[Cell]) -> float | None:
    """Score of guessing any label, or always the same one: nobody should be praised for it."""
    if metric != "accuracy":
        return 0.0 if metric == "r2" else None
    judged = [
        (task.y, draw.query) for c in cells for task, draw in zip(c.held_out, c.draws, strict=True)
    ]
    shares: dict[Any, list[float]] = {}
    for y, query in judged:
        for k, n in zip(*np.unique(y[query], return_counts=True), strict=True):
            shares.setdefault(k, []).append(n / len(query))
    any_label = sum(1 / len(np.unique(y)) for y, _ in judged)
    return float(max(any_label, *map(sum, shares.values())) / len(judged))


def _failures(records: Sequence[Record]) -> list[str]:
    failed: dict[tuple[str, Any], int] = {}
    for record in records:
        if not np.isfinite(record.score):
            key = record.estimator, record.support_size
            failed[key] = failed.get(key, 0) + 1
    return [
        f"{name!r} has no score for {n} of the supports of size {size}: these tasks are left out "
        "where it is compared."
        for (name, size), n in failed.items()
    ]
